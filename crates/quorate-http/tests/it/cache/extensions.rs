//! RFC 5861 (stale content), RFC 9211 (Cache-Status), RFC 9213 (targeted fields) and RFC 9875 (groups).

use quorate_http::cache::ResponseCacheBuilder;

use super::site::{Site, response};
use super::table::{Requirement as R, check};

#[tokio::test(start_paused = true)]
async fn rfc5861_stale_content() {
    check(&[
        R(
            "3: stale-while-revalidate: given while a new one is made",
            &["200 | cache-control: max-age=60, stale-while-revalidate=30"],
            &[
                "GET / => run",
                "wait 70",
                "GET / => stale & age: 70",
                "GET / => new",
            ],
        ),
        R(
            "3: not after that",
            &["200 | cache-control: max-age=60, stale-while-revalidate=30"],
            &["GET / => run", "wait 91", "GET / => run"],
        ),
        R(
            "3: by validation, where that can be",
            &[
                "200 | cache-control: max-age=60, stale-while-revalidate=30 | etag: \"a\"",
                "304",
            ],
            &[
                "GET / => run",
                "wait 70",
                "GET / => stale",
                "GET / => hit & age: 0",
            ],
        ),
        R(
            "4: stale-if-error: stands in for 500, 502, 503, 504",
            &[
                "200 | cache-control: max-age=60, stale-if-error=600",
                "500",
                "502",
                "503",
                "504",
            ],
            &[
                "GET / => run",
                "wait 70",
                "GET / => error & age: 70",
                "GET / => error",
                "GET / => error",
                "GET / => error",
            ],
        ),
        R(
            "4: not for other answers",
            &["200 | cache-control: max-age=60, stale-if-error=600", "404"],
            &["GET / => run", "wait 70", "GET / => run"],
        ),
        R(
            "4: nor after that",
            &["200 | cache-control: max-age=60, stale-if-error=600", "503"],
            &["GET / => run", "wait 661", "GET / => run"],
        ),
        R(
            "4: a request may ask for it",
            &["200 | cache-control: max-age=60 | etag: \"a\"", "503"],
            &[
                "GET / => run",
                "wait 70",
                "GET / | cache-control: stale-if-error=60 => error",
                "GET / => run",
            ],
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn rfc9211_cache_status() {
    check(&[
        R("2.1: hit, with ttl", &["200 | cache-control: max-age=60"],
            &["GET / => run", "wait 10", "GET / => hit & cache-status: quorate; hit; ttl=50"]),
        R("2.2: fwd=uri-miss, and stored", &["200 | cache-control: max-age=60"],
            &["GET / => run & cache-status: quorate; fwd=uri-miss; stored"]),
        R("2.2: fwd=vary-miss", &["200 | cache-control: max-age=60 | vary: x-a"],
            &["GET / => run", "GET / | x-a: 1 => run & cache-status: quorate; fwd=vary-miss; stored"]),
        R("2.2: fwd=method", &["200"], &["POST / => run & cache-status: quorate; fwd=method"]),
        R("2.2: fwd=bypass", &["200"], &["GET / | cache-control: no-store => run & cache-status: quorate; fwd=bypass"]),
        R("2.2: fwd=request", &["200 | cache-control: max-age=60"],
            &["GET / => run", "GET / | cache-control: no-cache => run & cache-status: quorate; fwd=request; stored"]),
        R("2.2, 2.3: fwd=stale, with fwd-status", &["200 | cache-control: max-age=60 | etag: \"a\"", "304"],
            &["GET / => run", "wait 61", "GET / => valid & cache-status: quorate; fwd=stale; fwd-status=304; stored"]),
        R("2.4: a negative ttl", &["200 | cache-control: max-age=60, stale-while-revalidate=60"],
            &["GET / => run", "wait 65", "GET / => stale & cache-status: quorate; hit; ttl=-5"]),
        R("2: not stored is not said to be", &["200 | cache-control: private"], &["GET / => run & cache-status: quorate; fwd=uri-miss"]),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn rfc9213_targeted_fields() {
    check(&[
        R(
            "2.2: CDN-Cache-Control replaces Cache-Control",
            &["200 | cache-control: no-store | cdn-cache-control: max-age=60"],
            &["GET / => run", "GET / => hit & cache-control: no-store"],
        ),
        R(
            "2.2: also where it says less",
            &["200 | cache-control: max-age=60 | cdn-cache-control: no-store"],
            &["GET / => run", "GET / => run"],
        ),
        R(
            "2.2: and Expires",
            &["200 | expires: {now+60} | cdn-cache-control: private"],
            &["GET / => run", "GET / => run"],
        ),
        R(
            "2.2: not where it cannot be read",
            &["200 | cache-control: max-age=60 | cdn-cache-control: max-age=0,,"],
            &["GET / => run", "GET / => hit"],
        ),
        R(
            "2.2: nor where it is empty",
            &["200 | cache-control: max-age=60 | cdn-cache-control:"],
            &["GET / => run", "GET / => hit"],
        ),
        R(
            "2.1: parameters are ignored",
            &["200 | cdn-cache-control: max-age=60;x=1"],
            &["GET / => run", "GET / => hit"],
        ),
        R(
            "2.1: stale content is allowed by it",
            &["200 | cdn-cache-control: max-age=60, stale-while-revalidate=60"],
            &["GET / => run", "wait 61", "GET / => stale"],
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn rfc9875_groups() {
    check(&[
        R(
            "2, 3: an unsafe request ends the groups it names",
            &[
                "200 | cache-control: max-age=60 | cache-groups: \"a\", \"b\"",
                "200 | cache-group-invalidation: \"b\"",
            ],
            &["GET /x => run", "POST /y => run", "GET /x => run"],
        ),
        R(
            "3: a safe one does not",
            &[
                "200 | cache-control: max-age=60 | cache-groups: \"a\"",
                "200 | cache-group-invalidation: \"a\"",
            ],
            &["GET /x => run", "GET /y => run", "GET /x => again"],
        ),
        R(
            "2: names are compared as they are",
            &[
                "200 | cache-control: max-age=60 | cache-groups: \"a\"",
                "200 | cache-group-invalidation: \"A\"",
            ],
            &["GET /x => run", "POST /y => run", "GET /x => again"],
        ),
        R(
            "2: groups are those of an origin",
            &[
                "200 | cache-control: max-age=60 | cache-groups: \"a\"",
                "200 | cache-group-invalidation: \"a\"",
            ],
            &[
                "GET http://h/x => run",
                "POST http://other/y => run",
                "GET http://h/x => again",
            ],
        ),
        R(
            "2: 32 groups of 32 characters",
            &[
                GROUPS,
                "200 | cache-group-invalidation: \"group-of-a-name-with-32-letters31\"",
            ],
            &[
                "GET /x => run",
                "GET /x => hit",
                "POST /y => run",
                "GET /x => run",
            ],
        ),
        R(
            "2: a field that cannot be read names none",
            &["200 | cache-control: max-age=60 | cache-groups: \"a", "200"],
            &["GET /x => run", "GET /x => hit"],
        ),
    ])
    .await;
}

/// As many groups as have to be supported.
const GROUPS: &str = concat!(
    "200 | cache-control: max-age=60 | cache-groups: ",
    "\"group-of-a-name-with-32-letters00\", \"group-of-a-name-with-32-letters01\", \"group-of-a-name-with-32-letters02\", \"group-of-a-name-with-32-letters03\", ",
    "\"group-of-a-name-with-32-letters04\", \"group-of-a-name-with-32-letters05\", \"group-of-a-name-with-32-letters06\", \"group-of-a-name-with-32-letters07\", ",
    "\"group-of-a-name-with-32-letters08\", \"group-of-a-name-with-32-letters09\", \"group-of-a-name-with-32-letters10\", \"group-of-a-name-with-32-letters11\", ",
    "\"group-of-a-name-with-32-letters12\", \"group-of-a-name-with-32-letters13\", \"group-of-a-name-with-32-letters14\", \"group-of-a-name-with-32-letters15\", ",
    "\"group-of-a-name-with-32-letters16\", \"group-of-a-name-with-32-letters17\", \"group-of-a-name-with-32-letters18\", \"group-of-a-name-with-32-letters19\", ",
    "\"group-of-a-name-with-32-letters20\", \"group-of-a-name-with-32-letters21\", \"group-of-a-name-with-32-letters22\", \"group-of-a-name-with-32-letters23\", ",
    "\"group-of-a-name-with-32-letters24\", \"group-of-a-name-with-32-letters25\", \"group-of-a-name-with-32-letters26\", \"group-of-a-name-with-32-letters27\", ",
    "\"group-of-a-name-with-32-letters28\", \"group-of-a-name-with-32-letters29\", \"group-of-a-name-with-32-letters30\", \"group-of-a-name-with-32-letters31\"",
);

/// Where the host says nothing, it says nothing of what is ended either.
#[tokio::test(start_paused = true)]
async fn hosts_that_are_alike_end_what_is_kept_for_all() {
    for ending in [
        "200 | cache-group-invalidation: \"g\"",
        "201 | location: /x",
        "201 | location: https://a.example/x",
        "200 | content-location: http://c.example/x",
    ] {
        let site = Site::new(ResponseCacheBuilder::ignore_host, move |parts, _| {
            let kept = "200 | cache-control: max-age=60 | cache-groups: \"g\"";
            let is_change = parts.method == "POST";
            std::future::ready(response(if is_change { ending } else { kept }, "x"))
        });
        site.send("GET http://a.example/x").await;
        assert!(
            site.send("GET http://b.example/x")
                .await
                .cache()
                .contains("hit")
        );
        site.send("POST http://b.example/y").await;
        let after = site.send("GET http://c.example/x").await;
        assert!(!after.cache().contains("hit"), "{ending}");
    }
}
