//! RFC 9111, section 5: what requests and responses say. One line for each requirement.

use super::table::{Requirement as R, check};

#[tokio::test(start_paused = true)]
async fn rfc9111_5_2_1_requests() {
    check(&[
        R(
            "5.2.1.1: max-age: not older than that",
            &["200 | cache-control: max-age=60"],
            &[
                "GET / => run",
                "wait 10",
                "GET / | cache-control: max-age=10 => hit",
                "wait 1",
                "GET / | cache-control: max-age=10 => run",
            ],
        ),
        R(
            "5.2.1.2: max-stale: stale by so much",
            &["200 | cache-control: max-age=60 | etag: \"a\""],
            &[
                "GET / => run",
                "wait 70",
                "GET / | cache-control: max-stale=20 => stale",
                "GET / | cache-control: max-stale => stale",
                "GET / | cache-control: max-stale=5 => run",
            ],
        ),
        R(
            "5.2.1.3: min-fresh: fresh for so much longer",
            &["200 | cache-control: max-age=60"],
            &[
                "GET / => run",
                "wait 10",
                "GET / | cache-control: min-fresh=50 => hit",
                "GET / | cache-control: min-fresh=51 => run",
            ],
        ),
        R(
            "5.2.1.4: no-cache: not without asking",
            &["200 | cache-control: max-age=60 | etag: \"a\"", "304"],
            &[
                "GET / => run",
                "GET / | cache-control: no-cache => valid",
                "GET / => hit",
            ],
        ),
        R(
            "5.2.1.4: and what then is made is kept",
            &["200 | cache-control: max-age=60"],
            &[
                "GET / => run",
                "GET / | cache-control: no-cache => run",
                "GET / => hit",
            ],
        ),
        R(
            "5.2.1.4: and if that fails, what is there stays",
            &["200 | cache-control: max-age=60", "503"],
            &[
                "GET / => run",
                "GET / | cache-control: no-cache => run",
                "GET / => again",
            ],
        ),
        R(
            "5.2.1.5: no-store: past the cache",
            &["200 | cache-control: max-age=60"],
            &[
                "GET / | cache-control: no-store => run",
                "GET / => run",
                "GET / | cache-control: no-store => run",
            ],
        ),
        R(
            "5.2.1.7: only-if-cached: 504 where there is nothing",
            &["200 | cache-control: max-age=60"],
            &[
                "GET / | cache-control: only-if-cached => timeout",
                "GET / => run",
                "GET / | cache-control: only-if-cached => hit",
                "wait 61",
                "GET / | cache-control: only-if-cached => timeout",
            ],
        ),
        R(
            "5.4: Pragma is no-cache where Cache-Control says nothing",
            &["200 | cache-control: max-age=60"],
            &[
                "GET / => run",
                "GET / | pragma: no-cache => run",
                "GET / | pragma: no-cache | cache-control: max-age=60 => hit",
            ],
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn rfc9111_5_2_2_responses() {
    check(&[
        R(
            "5.2.2.1: max-age",
            &["200 | cache-control: max-age=60"],
            &[
                "GET / => run",
                "wait 59",
                "GET / => hit",
                "wait 2",
                "GET / => run",
            ],
        ),
        R(
            "5.2.2.2: must-revalidate: never stale",
            &[
                "200 | cache-control: max-age=60, must-revalidate, stale-if-error=60 | etag: \"a\"",
                "503",
            ],
            &[
                "GET / => run",
                "wait 61",
                "GET / | cache-control: max-stale => run",
            ],
        ),
        R(
            "5.2.2.3: must-understand: no-store does not count where the status is understood",
            &["200 | cache-control: max-age=60, must-understand, no-store"],
            &["GET / => run", "GET / => hit"],
        ),
        R(
            "5.2.2.3: and nothing is stored where it is not",
            &["299 | cache-control: max-age=60, must-understand"],
            &["GET / => run", "GET / => run"],
        ),
        R(
            "5.2.2.4: no-cache: asked for each time",
            &[
                "200 | cache-control: max-age=60, no-cache | etag: \"a\"",
                "304",
            ],
            &["GET / => run", "GET / => valid", "GET / => valid"],
        ),
        R(
            "5.2.2.4: with names of fields as without",
            &[
                "200 | cache-control: max-age=60, no-cache=\"x\" | etag: \"a\"",
                "304",
            ],
            &["GET / => run", "GET / => valid"],
        ),
        R(
            "5.2.2.5: no-store: not stored",
            &["200 | cache-control: max-age=60, no-store"],
            &["GET / => run", "GET / => run"],
        ),
        R(
            "5.2.2.7: private: not stored",
            &["200 | cache-control: max-age=60, private"],
            &["GET / => run", "GET / => run"],
        ),
        R(
            "5.2.2.7: with names of fields as without",
            &["200 | cache-control: max-age=60, private=\"x\""],
            &["GET / => run", "GET / => run"],
        ),
        R(
            "5.2.2.8: proxy-revalidate: never stale",
            &["200 | cache-control: max-age=60, proxy-revalidate | etag: \"a\""],
            &[
                "GET / => run",
                "wait 61",
                "GET / | cache-control: max-stale => run",
            ],
        ),
        R(
            "5.2.2.10: s-maxage: nor stale, for a shared cache",
            &["200 | cache-control: s-maxage=60, stale-while-revalidate=60 | etag: \"a\""],
            &["GET / => run", "wait 61", "GET / => run"],
        ),
        R(
            "5.2: names are alike in any case, and arguments may be quoted",
            &["200 | cache-control: MAX-AGE=\"60\""],
            &["GET / => run", "GET / => hit"],
        ),
        R(
            "5.2.3: what is unknown is ignored",
            &["200 | cache-control: x, max-age=60, y=\"no-store, private\""],
            &["GET / => run", "GET / => hit"],
        ),
    ])
    .await;
}
