//! RFC 9111 (caching), sections 3 to 4.2: what is stored, for whom, and how long it is fresh. One line for each requirement.

use super::table::{Requirement as R, check};

#[tokio::test(start_paused = true)]
async fn rfc9111_3_what_is_stored() {
    check(&[
        R(
            "3: what says how long it is fresh is stored",
            &["200 | cache-control: max-age=60"],
            &[
                "GET / => run & cache-status: quorate; fwd=uri-miss; stored",
                "GET / => hit",
            ],
        ),
        R(
            "3: the method is understood: only GET, and HEAD answered with it",
            &["200 | cache-control: max-age=60"],
            &[
                "POST / => run",
                "POST / => run",
                "PUT / => run",
                "OPTIONS / => run",
                "OPTIONS / => run",
            ],
        ),
        R(
            "3: what neither says how long nor may be guessed at is not stored",
            &["302 | location: /x"],
            &["GET / => run", "GET / => run"],
        ),
        R(
            "3: any final status is stored that says how long",
            &["302 | location: /x | cache-control: max-age=60"],
            &["GET / => run", "GET / => hit & location: /x"],
        ),
        R(
            "3: a failure is stored that says how long",
            &["500 | cache-control: max-age=60"],
            &["GET / => run", "GET / => hit"],
        ),
        R(
            "3: public lets a status be stored that is not guessed at",
            &["302 | cache-control: public | last-modified: {now-1000}"],
            &["GET / => run", "GET / => hit"],
        ),
        R(
            "3.3: partial content is not stored",
            &["206 | content-range: bytes 0-1/9 | cache-control: max-age=60"],
            &["GET / => run", "GET / => run"],
        ),
        R(
            "3.3: a request for a part goes past the cache",
            &["200 | cache-control: max-age=60"],
            &[
                "GET / => run",
                "GET / | range: bytes=0-1 => run",
                "GET / => again & cache-status: quorate; hit; ttl=60",
            ],
        ),
        R(
            "3.1: fields of a connection are not stored",
            &["200 | cache-control: max-age=60 | connection: x-hop | x-hop: 1 | x-end: 1"],
            &[
                "GET / => run",
                "GET / => hit & x-end: 1 & x-hop: nothing & connection: nothing",
            ],
        ),
        R(
            "3.1: all other fields are stored",
            &["200 | cache-control: max-age=60, unknown=7 | x-own: 1 | etag: \"a\""],
            &[
                "GET / => run",
                "GET / => hit & x-own: 1 & etag: \"a\" & cache-control: max-age=60, unknown=7",
            ],
        ),
        R(
            "3.5: the answer to a request with credentials is not stored",
            &["200 | cache-control: max-age=60"],
            &[
                "GET / | authorization: x => run",
                "GET / => run",
                "GET / => hit",
            ],
        ),
        R(
            "3.5: nor does it freshen what is there, or end it",
            &["200 | cache-control: max-age=60 | etag: \"a\"", "304"],
            &[
                "GET / => run",
                "wait 61",
                "GET / | authorization: x => run & cache-status: quorate; fwd=stale",
                "GET / => valid",
                "GET / => hit",
            ],
        ),
        R(
            "3.5: unless it is public",
            &["200 | cache-control: max-age=60, public"],
            &["GET / | authorization: x => run", "GET / => hit"],
        ),
        R(
            "3.5: or says s-maxage",
            &["200 | cache-control: s-maxage=60"],
            &["GET / | authorization: x => run", "GET / => hit"],
        ),
        R(
            "3.5: or must be revalidated",
            &["200 | cache-control: max-age=60, must-revalidate"],
            &["GET / | authorization: x => run", "GET / => hit"],
        ),
        R(
            "3.5: what was stored without credentials may be given to who has some",
            &["200 | cache-control: max-age=60"],
            &["GET / => run", "GET / | authorization: x => hit"],
        ),
        R(
            "7.3: a response that sets a cookie is nobody else's",
            &["200 | cache-control: max-age=60 | set-cookie: a=1"],
            &["GET / => run", "GET / => run"],
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn rfc9111_4_1_vary() {
    check(&[
        R(
            "4.1: the fields that a response varies by must match",
            &["200 | cache-control: max-age=60 | vary: accept-language"],
            &[
                "GET / | accept-language: de => run",
                "GET / | accept-language: de => hit",
                "GET / | accept-language: fr => run",
                "GET / | accept-language: fr => hit",
                "GET / => run",
                "GET / => hit",
            ],
        ),
        R(
            "4.1: other fields need not",
            &["200 | cache-control: max-age=60 | vary: accept-language"],
            &["GET / | accept: a => run", "GET / | accept: b => hit"],
        ),
        R(
            "4.1: names are alike in any case, and lines are one",
            &["200 | cache-control: max-age=60 | vary: X-A | vary: x-b"],
            &[
                "GET / | x-a: 1 | x-b: 2 => run",
                "GET / | X-A: 1 | X-B: 2 => hit",
                "GET / | x-a: 1 | x-b: 3 => run",
            ],
        ),
        R(
            "4.1: several lines of a field are one value",
            &["200 | cache-control: max-age=60 | vary: x-a"],
            &[
                "GET / | x-a: 1 | x-a: 2 => run",
                "GET / | x-a: 1,2 => hit",
                "GET / | x-a: 2 | x-a: 1 => run",
            ],
        ),
        R(
            "4.1: variants stay when the first one is renewed",
            &["200 | cache-control: max-age=60 | vary: x-a | etag: \"a\""],
            &[
                "GET / | x-a: 1 => run",
                "wait 30",
                "GET / | x-a: 2 => run",
                "wait 31",
                "GET / | x-a: 1 => run",
                "GET / | x-a: 2 => again",
            ],
        ),
        R(
            "4.1: * matches nothing",
            &["200 | cache-control: max-age=60 | vary: *"],
            &["GET / => run", "GET / => run"],
        ),
        R(
            "4.1: a variant may vary by more than the first one",
            &[
                "200 | cache-control: max-age=60 | vary: x-a",
                "200 | cache-control: max-age=60 | vary: x-a, x-b",
            ],
            &[
                "GET / | x-a: 1 => run",
                "GET / | x-a: 2 | x-b: 1 => run",
                "GET / | x-a: 2 | x-b: 1 => hit",
                "GET / | x-a: 2 | x-b: 2 => run",
                "GET / | x-a: 2 | x-b: 2 => hit",
                "GET / | x-a: 1 => again",
            ],
        ),
        R(
            "2: method, host, path and query are the key",
            &["200 | cache-control: max-age=60"],
            &[
                "GET /a?b => run",
                "GET /a => run",
                "GET /a?b=1 => run",
                "GET /a?b | host: x => run",
                "GET /a?b => again",
            ],
        ),
        R(
            "2: HEAD is answered with what a GET was",
            &["200 | cache-control: max-age=60"],
            &[
                "HEAD / => run",
                "GET / => run",
                "HEAD / => head & content-length: 8",
            ],
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn rfc9111_4_2_freshness() {
    check(&[
        R(
            "4.2.1: s-maxage before max-age",
            &["200 | cache-control: max-age=10, s-maxage=60"],
            &[
                "GET / => run",
                "wait 30",
                "GET / => hit",
                "wait 31",
                "GET / => run",
            ],
        ),
        R(
            "4.2.1: max-age before Expires",
            &["200 | cache-control: max-age=60 | date: {now} | expires: {now+10}"],
            &["GET / => run", "wait 30", "GET / => hit"],
        ),
        R(
            "4.2.1: Expires from Date",
            &["200 | date: {now} | expires: {now+60}"],
            &[
                "GET / => run",
                "wait 50",
                "GET / => hit",
                "wait 11",
                "GET / => run",
            ],
        ),
        R(
            "5.3: an Expires that cannot be read is in the past",
            &["200 | expires: 0 | last-modified: {now-100000}"],
            &[
                "GET / => run",
                "GET / | cache-control: only-if-cached => timeout",
            ],
        ),
        R(
            "4.2.1: of times that contradict each other the shortest counts",
            &["200 | cache-control: max-age=60, max-age=10"],
            &["GET / => run", "wait 11", "GET / => run"],
        ),
        R(
            "4.2.1: a time that cannot be read is none",
            &["200 | cache-control: max-age=1h"],
            &["GET / => run", "GET / => run"],
        ),
        R(
            "4.2.2: what does not say it is fresh for a tenth of the time since it changed",
            &["200 | last-modified: {now-1000}"],
            &[
                "GET / => run",
                "wait 90",
                "GET / => hit",
                "wait 20",
                "GET / => run",
            ],
        ),
        R(
            "4.2.2: that is not guessed at without a date of change",
            &["200"],
            &["GET / => run", "GET / => run"],
        ),
        R(
            "4.2.2: nor where the response says it",
            &["200 | cache-control: max-age=5 | last-modified: {now-100000}"],
            &["GET / => run", "wait 6", "GET / => run"],
        ),
        R(
            "4.2.3: the age that it came with counts",
            &["200 | cache-control: max-age=60 | age: 50"],
            &[
                "GET / => run",
                "GET / => hit & age: 50",
                "wait 9",
                "GET / => hit & age: 59",
                "wait 2",
                "GET / => run",
            ],
        ),
        R(
            "4.2.3: so does the time since its date",
            &["200 | cache-control: max-age=60 | date: {now-50}"],
            &[
                "GET / => run",
                "wait 5",
                "GET / => hit",
                "wait 10",
                "GET / => run",
            ],
        ),
        R(
            "4: what is given from the cache says its age",
            &["200 | cache-control: max-age=60"],
            &[
                "GET / => run & age: nothing",
                "wait 7",
                "GET / => hit & age: 7",
            ],
        ),
        R(
            "4.2.4: stale is not given unless it may be",
            &["200 | cache-control: max-age=60"],
            &["GET / => run", "wait 61", "GET / => run"],
        ),
    ])
    .await;
}
