//! `quorate doctor`.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use quorate::{Fleet, Secret, ServerInfo};
use serde::Serialize;

use crate::config::display_backend;
use crate::failure::Failure;

/// Not every promise holds on this server.
const NOT_ALL: u8 = 3;

/// Say what a server is, and which promises hold on it.
///
/// Exit codes: 0 all promises hold, perhaps with a condition; 1 the server cannot be reached or used;
/// 2 wrong input; 3 a promise does not hold.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server, such as redis://localhost; else QUORATE_BACKEND says it.
    url: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// The server is for caches alone (`cache_url`): it may evict.
    #[arg(long)]
    cache: bool,
    /// How long the server may take to answer.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// Whether a promise holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Holds {
    Yes,
    WithCondition,
    No,
}

#[derive(Debug, Serialize)]
struct Promise {
    promise: &'static str,
    holds: Holds,
    /// The condition, or why not.
    because: Option<String>,
}

#[derive(Debug, Serialize)]
struct Diagnosis {
    url: String,
    server: Description,
    promises: Vec<Promise>,
}

#[derive(Debug, Serialize)]
struct Description {
    flavour: String,
    version: String,
    mode: String,
    role: String,
    /// `None` in-process, where there is nothing to speak.
    protocol: Option<u8>,
    scripting: bool,
    sharded_pubsub: bool,
    eviction_policy: Option<String>,
    connected_clients: Option<u64>,
    used_memory_bytes: Option<u64>,
    round_trip_ms: f64,
}

pub(super) async fn run(args: Args) -> Result<ExitCode, Failure> {
    let url: Secret = args
        .url
        .or_else(|| std::env::var("QUORATE_BACKEND").ok())
        .filter(|url| !url.is_empty())
        .ok_or_else(|| Failure::usage("url must be given, or QUORATE_BACKEND set"))?
        .into();
    if url.reveal().starts_with("memory:") {
        if args.json {
            print_json(&embedded(&url))?;
        } else {
            println!("embedded: every promise holds, for one process and as long as it lives");
        }
        return Ok(ExitCode::SUCCESS);
    }
    if url.reveal().starts_with("file:") {
        return Err(Failure::usage(
            "url must be a server or memory: - what holds of a home in a file is in docs/guarantees.md",
        ));
    }
    let fleet = Fleet::builder()
        .url(url.clone())
        .service("quorate-doctor")
        .connect_timeout(args.timeout)
        .build()
        .await?;
    let health = fleet.health(args.timeout).await;
    let info = fleet.server();
    fleet.close().await;
    if let Some(error) = health.error {
        return Err(error.into());
    }
    let info = info.ok_or_else(|| Failure::failed("the server said nothing of itself"))?;
    let diagnosis = Diagnosis {
        url: display_backend(&url),
        server: describe(&info, health.response_time),
        promises: if args.cache {
            promises_to_caches(&Facts::of(&info))
        } else {
            promises(&Facts::of(&info))
        },
    };
    if args.json {
        print_json(&diagnosis)?;
    } else {
        print!("{}", diagnosis.to_text());
    }
    let all = diagnosis
        .promises
        .iter()
        .all(|promise| promise.holds != Holds::No);
    Ok(if all {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NOT_ALL)
    })
}

fn print_json(diagnosis: &Diagnosis) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(diagnosis)
        .map_err(|error| Failure::failed(error.to_string()))?;
    println!("{json}");
    Ok(())
}

/// This process, which is no server.
fn embedded(url: &Secret) -> Diagnosis {
    let facts = Facts {
        primary: true,
        scripting: true,
        sharded_pubsub: true,
        eviction_policy: Some("noeviction".to_owned()),
    };
    let promises = promises(&facts).into_iter().map(|promise| Promise {
        holds: Holds::WithCondition,
        because: Some("for one process, and as long as it lives".to_owned()),
        ..promise
    });
    Diagnosis {
        url: display_backend(url),
        server: Description {
            flavour: "embedded".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: "in-process".to_owned(),
            role: "primary".to_owned(),
            protocol: None,
            scripting: facts.scripting,
            sharded_pubsub: facts.sharded_pubsub,
            eviction_policy: facts.eviction_policy,
            connected_clients: None,
            used_memory_bytes: None,
            round_trip_ms: 0.0,
        },
        promises: promises.collect(),
    }
}

fn describe(info: &ServerInfo, round_trip: Duration) -> Description {
    Description {
        flavour: info.flavour.to_string(),
        version: info.version.to_string(),
        mode: info.mode.to_string(),
        role: format!("{:?}", info.role).to_lowercase(),
        protocol: Some(info.protocol),
        scripting: info.scripting,
        sharded_pubsub: info.sharded_pubsub,
        eviction_policy: info.eviction_policy.clone(),
        connected_clients: info.connected_clients,
        used_memory_bytes: info.used_memory,
        round_trip_ms: round_trip.as_secs_f64() * 1e3,
    }
}

/// What decides about the promises.
#[derive(Debug)]
struct Facts {
    primary: bool,
    scripting: bool,
    sharded_pubsub: bool,
    /// `None`: may not be read.
    eviction_policy: Option<String>,
}

impl Facts {
    fn of(info: &ServerInfo) -> Self {
        Self {
            primary: matches!(info.role, quorate::ServerRole::Primary),
            scripting: info.scripting,
            sharded_pubsub: info.sharded_pubsub,
            eviction_policy: info.eviction_policy.clone(),
        }
    }
}

/// Which promises hold, as a pure function of what the server is.
fn promises(facts: &Facts) -> Vec<Promise> {
    let promise = |promise, (holds, because): (Holds, Option<String>)| Promise {
        promise,
        holds,
        because,
    };
    let yes = || (Holds::Yes, None);
    let no = |why: &str| (Holds::No, Some(why.to_owned()));
    let kept = match facts.eviction_policy.as_deref() {
        Some("noeviction") => yes(),
        // These never take what has no expiry, but everything of ours that waits for somebody has one.
        Some(policy) => no(&format!(
            "maxmemory-policy is {policy}: under memory pressure the server may delete a held lock or an \
             entry of a store; set noeviction. For caches alone (`cache_url`) it may evict"
        )),
        None => (
            Holds::WithCondition,
            Some("only if maxmemory-policy is noeviction, which this user may not read".to_owned()),
        ),
    };
    let atomic = if !facts.primary {
        no("this is a replica, which refuses writes; connect to the primary")
    } else if facts.scripting {
        yes()
    } else {
        no("scripts are not allowed here; allow EVALSHA and EVAL for this user")
    };
    let exclusive = match (&atomic, &kept) {
        ((Holds::No, _), _) => atomic.clone(),
        (_, (Holds::No, _)) => kept.clone(),
        _ => (
            Holds::WithCondition,
            Some(
                "a failover may lose the newest locks: check the fencing token where it matters"
                    .to_owned(),
            ),
        ),
    };
    vec![
        promise(
            "events reach every subscribed instance at most once, and loss shows as a gap",
            yes(),
        ),
        promise(
            "sharded topics",
            if facts.sharded_pubsub {
                yes()
            } else {
                no("SSUBSCRIBE does not exist here, or is not allowed")
            },
        ),
        promise(ATOMIC, atomic.clone()),
        promise("what is stored stays until it expires", kept),
        promise("a lock has one holder at a time", exclusive),
        promise(
            "what was acknowledged survives a crash of the server",
            (
                Holds::WithCondition,
                Some("as far as appendonly and appendfsync of the server go".to_owned()),
            ),
        ),
        // Also where entries, or what is known of tags, are evicted: then they have ended.
        promise(INVALIDATED, atomic),
    ]
}

/// Those of a server that keeps nothing but caches.
fn promises_to_caches(facts: &Facts) -> Vec<Promise> {
    let room = match facts.eviction_policy.as_deref() {
        Some("noeviction") => Some(
            "only until memory is full: maxmemory-policy is noeviction; set allkeys-lru".to_owned(),
        ),
        Some(_) => None,
        None => Some(
            "only if maxmemory-policy is not noeviction, which this user may not read".to_owned(),
        ),
    };
    let holds = room.as_ref().map_or(Holds::Yes, |_| Holds::WithCondition);
    let of_caches = |promise: &Promise| [ATOMIC, INVALIDATED].contains(&promise.promise);
    let mut promises: Vec<_> = promises(facts).into_iter().filter(of_caches).collect();
    promises.push(Promise {
        promise: "there is room for what is new",
        holds,
        because: room,
    });
    promises
}

const ATOMIC: &str = "each change of a lock or an entry is atomic";
const INVALIDATED: &str = "what was invalidated is not read from a cache again";

impl Diagnosis {
    fn to_text(&self) -> String {
        let server = &self.server;
        let unknown = || "not readable by this user".to_owned();
        let mut text = format!("{}\n", self.url);
        for (name, value) in [
            ("server", format!("{} {}", server.flavour, server.version)),
            ("mode", format!("{}, {}", server.mode, server.role)),
            (
                "protocol",
                server
                    .protocol
                    .map_or_else(|| "none".to_owned(), |n| format!("RESP{n}")),
            ),
            ("scripts", yes_or_no(server.scripting)),
            ("sharded pub/sub", yes_or_no(server.sharded_pubsub)),
            (
                "eviction",
                server.eviction_policy.clone().unwrap_or_else(unknown),
            ),
            (
                "clients",
                server
                    .connected_clients
                    .map_or_else(unknown, |n| n.to_string()),
            ),
            (
                "memory",
                server
                    .used_memory_bytes
                    .map_or_else(unknown, |n| indicatif::HumanBytes(n).to_string()),
            ),
            ("round trip", format!("{:.2} ms", server.round_trip_ms)),
        ] {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {name:<16} {value}");
        }
        text.push_str("\npromises\n");
        for promise in &self.promises {
            let mark = match promise.holds {
                Holds::Yes => "holds",
                Holds::WithCondition => "holds if",
                Holds::No => "DOES NOT HOLD",
            };
            let _ = writeln!(text, "  {mark:<13}  {}", promise.promise);
            if let Some(because) = &promise.because {
                let _ = writeln!(text, "                 {because}");
            }
        }
        text
    }
}

fn yes_or_no(flag: bool) -> String {
    if flag { "yes" } else { "no" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(facts: &Facts) -> Vec<Holds> {
        promises(facts)
            .iter()
            .map(|promise| promise.holds)
            .collect()
    }

    fn good() -> Facts {
        Facts {
            primary: true,
            scripting: true,
            sharded_pubsub: true,
            eviction_policy: Some("noeviction".to_owned()),
        }
    }

    #[test]
    fn promises_follow_from_what_the_server_is() {
        use Holds::{No, WithCondition, Yes};
        assert_eq!(
            holds(&good()),
            [Yes, Yes, Yes, Yes, WithCondition, WithCondition, Yes]
        );
        let evicting = Facts {
            eviction_policy: Some("allkeys-lru".to_owned()),
            ..good()
        };
        assert_eq!(
            holds(&evicting),
            [Yes, Yes, Yes, No, No, WithCondition, Yes]
        );
        let because = promises(&evicting)[3].because.clone().unwrap();
        for says in ["allkeys-lru", "an entry of a store", "For caches alone"] {
            assert!(because.contains(says), "{because}");
        }
        let holds_of_caches = |facts: &Facts| -> Vec<_> {
            promises_to_caches(facts)
                .iter()
                .map(|it| it.holds)
                .collect()
        };
        assert_eq!(holds_of_caches(&evicting), [Yes, Yes, Yes]);
        assert_eq!(holds_of_caches(&good()), [Yes, Yes, WithCondition]);
        let unreadable = Facts {
            eviction_policy: None,
            ..good()
        };
        assert_eq!(holds(&unreadable)[3], WithCondition);
        for bad in [
            Facts {
                scripting: false,
                ..good()
            },
            Facts {
                primary: false,
                ..good()
            },
        ] {
            assert_eq!(holds(&bad)[2..5], [No, Yes, No]);
            assert_eq!(holds(&bad)[6], No);
        }
        let old = Facts {
            sharded_pubsub: false,
            ..good()
        };
        assert_eq!(holds(&old)[1], No);
    }
}
