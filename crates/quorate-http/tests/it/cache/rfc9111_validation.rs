//! RFC 9111, sections 4.3 and 4.4: validation and invalidation. One line for each requirement.

use super::table::{Requirement as R, check};

#[tokio::test(start_paused = true)]
async fn rfc9111_4_3_validation() {
    check(&[
        R("4.3.1: what is stale is validated by its entity tag", &["200 | cache-control: max-age=60 | etag: \"a\"", "304 | etag: \"a\""],
            &["GET / => run", "wait 61", "GET / => valid", "GET / => hit"]),
        R("4.3.1: and by its date of change", &["200 | cache-control: max-age=60 | last-modified: {now-9}", "304"],
            &["GET / => run", "wait 61", "GET / => valid"]),
        R("4.3.3: a new answer takes its place", &["200 | cache-control: max-age=60 | etag: \"a\"", "200 | cache-control: max-age=60 | etag: \"b\""],
            &["GET / => run", "wait 61", "GET / => run & etag: \"b\"", "GET / => hit & etag: \"b\""]),
        R("4.3.4: a 304 freshens what is there, with its fields",
            &["200 | cache-control: max-age=60 | etag: \"a\" | x-a: 1", "304 | cache-control: max-age=600 | x-a: 2"],
            &["GET / => run", "wait 61", "GET / => valid & x-a: 2", "wait 500", "GET / => hit & x-a: 2 & cache-control: max-age=600"]),
        R("3.2: but for those about the content's form", &["200 | cache-control: max-age=60 | etag: \"a\" | content-type: a/b", "304 | content-type: c/d | content-length: 7"],
            &["GET / => run", "wait 61", "GET / => valid & content-type: a/b", "GET / => hit & content-type: a/b"]),
        R("4.3.4: a 304 about something else freshens nothing",
            &["200 | cache-control: max-age=60 | etag: \"a\"", "304 | etag: \"b\"", "200 | cache-control: max-age=60 | etag: \"b\""],
            &["GET / => run", "wait 61", "GET / | x: 1 => two"]),
        R("4.3.2: a client that has it is told so", &["200 | cache-control: max-age=60 | etag: \"a\""],
            &["GET / => run", "GET / | if-none-match: W/\"a\" => not modified & etag: \"a\" & cache-control: max-age=60",
              "GET / | if-none-match: \"b\", * => not modified", "GET / | if-none-match: \"b\" => hit"]),
        R("4.3.2: also by date", &["200 | cache-control: max-age=60 | last-modified: {now-100}"],
            &["GET / => run", "GET / | if-modified-since: {now-50} => not modified", "GET / | if-modified-since: {now-200} => hit"]),
        R("4.3.2: the entity tag before the date", &["200 | cache-control: max-age=60 | last-modified: {now-100} | etag: \"a\""],
            &["GET / => run", "GET / | if-modified-since: {now-50} | if-none-match: \"b\" => hit"]),
        R("4.3.2: other conditions are the service's", &["200 | cache-control: max-age=60 | etag: \"a\""],
            &["GET / => run", "GET / | if-match: \"a\" => run", "GET / | if-unmodified-since: {now} => run"]),
        R("4.3.3: a failure is passed on, and what is there stays", &["200 | cache-control: max-age=60 | etag: \"a\"", "503", "304"],
            &["GET / => run", "wait 61", "GET / => run", "GET / => validated"]),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn rfc9111_4_3_5_head() {
    check(&[
        R(
            "a HEAD freshens what has its validator",
            &[
                "200 | cache-control: max-age=60 | etag: \"a\" | x-a: 1",
                "200 | cache-control: max-age=600 | etag: \"a\" | x-a: 2",
            ],
            &[
                "GET / => run",
                "wait 61",
                "HEAD / => run",
                "wait 500",
                "GET / => again & x-a: 2 & cache-control: max-age=600",
            ],
        ),
        R(
            "also by its date of change",
            &["200 | cache-control: max-age=60 | last-modified: Sat, 21 Nov 2020 10:00:00 GMT"],
            &["GET / => run", "wait 61", "HEAD / => run", "GET / => again"],
        ),
        R(
            "and the length, where it says one",
            &[
                "200 | cache-control: max-age=60 | etag: \"a\"",
                "200 | cache-control: max-age=60 | etag: \"a\" | content-length: 8",
            ],
            &["GET / => run", "wait 61", "HEAD / => run", "GET / => again"],
        ),
        R(
            "one with another validator ends it",
            &[
                "200 | cache-control: max-age=60 | etag: \"a\"",
                "200 | cache-control: max-age=60 | etag: \"b\"",
            ],
            &[
                "GET / => run",
                "HEAD / | cache-control: no-cache => run",
                "GET / => run & etag: \"b\"",
            ],
        ),
        R(
            "so does one with another date of change",
            &[
                "200 | cache-control: max-age=60 | last-modified: Sat, 21 Nov 2020 10:00:00 GMT",
                "200 | cache-control: max-age=60 | last-modified: Sun, 22 Nov 2020 10:00:00 GMT",
            ],
            &[
                "GET / => run",
                "HEAD / | cache-control: no-cache => run",
                "GET / => run",
            ],
        ),
        R(
            "so does one of another length",
            &[
                "200 | cache-control: max-age=60 | etag: \"a\"",
                "200 | cache-control: max-age=60 | etag: \"a\" | content-length: 9",
            ],
            &[
                "GET / => run",
                "HEAD / | cache-control: no-cache => run",
                "GET / => run",
            ],
        ),
        R(
            "one that says nothing of it changes nothing",
            &[
                "200 | cache-control: max-age=60 | x-a: 1",
                "200 | cache-control: max-age=600 | x-a: 2",
            ],
            &[
                "GET / => run",
                "HEAD / | cache-control: no-cache => run",
                "GET / => again & x-a: 1",
                "wait 61",
                "GET / => run",
            ],
        ),
        R(
            "nor does one that is not 200, or not for others",
            &[
                "200 | cache-control: max-age=60 | etag: \"a\"",
                "404 | etag: \"b\"",
                "200 | cache-control: private | etag: \"b\"",
                "200 | cache-control: max-age=60 | etag: \"b\"",
            ],
            &[
                "GET / => run",
                "HEAD / | cache-control: no-cache => run",
                "HEAD / | cache-control: no-cache => run",
                "HEAD / | cache-control: no-cache | authorization: x => run",
                "GET / => again",
            ],
        ),
        R(
            "what it varies by counts",
            &[
                "200 | cache-control: max-age=60 | vary: x-a | etag: \"1\"",
                "200 | cache-control: max-age=60 | vary: x-a | etag: \"2\"",
            ],
            &[
                "GET / | x-a: 1 => run",
                "HEAD / | x-a: 2 | cache-control: no-cache => run",
                "GET / | x-a: 1 => again",
            ],
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn rfc9111_4_4_invalidation() {
    check(&[
        R(
            "4.4: a request that changes something ends what is there",
            &["200 | cache-control: max-age=60"],
            &[
                "GET /a => run",
                "GET /a => hit",
                "POST /a => run",
                "GET /a => run",
            ],
        ),
        R(
            "4.4: whatever its method is called",
            &["200 | cache-control: max-age=60"],
            &["GET /a => run", "FROB /a => run", "GET /a => run"],
        ),
        R(
            "4.4: not if it failed",
            &["200 | cache-control: max-age=60", "404", "500", "200"],
            &[
                "GET /a => run",
                "PUT /a => run",
                "DELETE /a => run",
                "GET /a => again",
            ],
        ),
        R(
            "4.4: a redirection is a success",
            &["200 | cache-control: max-age=60", "303 | location: /b"],
            &["GET /a => run", "POST /a => run", "GET /a => run"],
        ),
        R(
            "4.4: what Location names ends, too",
            &["200 | cache-control: max-age=60", "201 | location: /b?c"],
            &["GET /b?c => run", "POST /a => run", "GET /b?c => run"],
        ),
        R(
            "4.4: and what Content-Location names",
            &[
                "200 | cache-control: max-age=60",
                "200 | content-location: b",
            ],
            &[
                "GET http://h/x/b => run",
                "POST http://h/x/a => run",
                "GET http://h/x/b => run",
            ],
        ),
        R(
            "4.4: not on another origin",
            &[
                "200 | cache-control: max-age=60",
                "200 | content-location: http://other/b",
            ],
            &[
                "GET http://other/b => run",
                "POST http://h/a => run",
                "GET http://other/b => again",
            ],
        ),
        R(
            "4.4: variants end with the rest",
            &["200 | cache-control: max-age=60 | vary: x-a"],
            &[
                "GET /a | x-a: 1 => run",
                "GET /a | x-a: 2 => run",
                "POST /a => run",
                "GET /a | x-a: 3 => run",
                "GET /a | x-a: 1 => run",
                "GET /a | x-a: 2 => run",
            ],
        ),
        R(
            "4.4: safe methods end nothing",
            &["200 | cache-control: max-age=60"],
            &[
                "GET /a => run",
                "OPTIONS /a => run",
                "TRACE /a => run",
                "GET /a => again",
            ],
        ),
    ])
    .await;
}
