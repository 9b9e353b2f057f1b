//! What is wrong with the keys of a queue on a server is found and put right.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use quorate::queue::{
    Ask, Effect, EffectName, JobEnd, JobId, JobState, NewJob, QueueLimits, QueuePort, Stray,
};
use quorate::{Fleet, Key};
use quorate_testing::harness::namespace;
use quorate_testing::servers::{ServerKind, shared};

use crate::agreement::options;

fn job() -> NewJob {
    NewJob {
        id: JobId::random(),
        input: Bytes::from_static(b"input"),
        delay: Duration::ZERO,
        priority: 0,
        group: String::new(),
        attempts: 3,
        expires: None,
        keep: Duration::from_secs(3600),
        member_of: None,
        unique: None,
    }
}

/// All that is wrong, page by page.
async fn fsck(port: &dyn QueuePort, key: &Key, repair: bool) -> HashSet<Stray> {
    let (mut strays, mut next) = (HashSet::new(), None);
    loop {
        let page = port.fsck(key, next.as_ref(), repair, options()).await;
        let page = page.unwrap();
        strays.extend(page.strays);
        next = page.next;
        if next.is_none() {
            return strays;
        }
    }
}

/// Whatever somebody did to the keys: afterwards each job is in one place, and all that can be done is.
#[tokio::test]
async fn strays_of_a_queue_are_found_and_put_right() {
    let server = shared(ServerKind::Redis).await.unwrap();
    let builder = Fleet::builder().url(server.url()).namespace(namespace());
    let fleet = builder.build().await.unwrap();
    let (port, key) = (
        fleet.queue_port(),
        Key::new(fleet.namespace(), "mail").unwrap(),
    );
    let jobs: Vec<_> = (0..300).map(|_| job()).collect();
    port.push(&key, &jobs, options()).await.unwrap();
    let cancelled = port.cancel(&key, jobs[9].id, options()).await;
    assert_eq!(cancelled.unwrap(), Some(JobState::Ended(JobEnd::Cancelled)));
    assert_eq!(fsck(&*port, &key, true).await, HashSet::new());

    let redis = fleet.redis().unwrap();
    let stranger = JobId::random();
    let (unplaced, bodiless, twice, over) = (jobs[0].id, jobs[1].id, jobs[2].id, jobs[9].id);
    let noted = JobId::random();
    let id = |id: JobId| id.bytes().to_vec();
    let holder = [&[0; 8], &stranger.bytes()[..]].concat();
    let note = [&noted.bytes()[..], b"p"].concat();
    let text = |text: &str| text.as_bytes().to_vec();
    let journal = format!("journal:{noted}");
    let (unsent, unknown) = (JobId::random(), JobId::random());
    let (aside, counted) = (jobs[5].id, JobId::random());
    let score = 8_000_000_000_000_003_f64.to_be_bytes();
    let no_longer_aside = [&b"\0\0"[..], &score, &stranger.bytes()].concat();
    let delivery = [&b"d"[..], &7_f64.to_be_bytes(), &counted.bytes()].concat();
    let name = |id: JobId| [&b"E"[..], &id.bytes()].concat();
    let member = [&b"\x04mail"[..], &stranger.bytes(), b"S"].concat();
    for (command, rest, parts) in [
        ("ZREM", "ready", vec![id(unplaced)]),
        ("HDEL", "jobs", vec![id(bodiless)]),
        ("ZADD", "due", vec![text("5"), id(twice)]),
        ("HSET", "results", vec![id(stranger), text("S")]),
        ("HSET", "tries", vec![id(stranger), text("12345678why")]),
        ("HSET", "notes", vec![note, text("half")]),
        ("RPUSH", &journal, vec![text("12345678entry")]),
        ("HSET", "unique", vec![text("order"), holder]),
        ("SADD", "cancelled", vec![id(stranger)]),
        ("HSET", "jobs", vec![id(over), text("0123456789")]),
        ("HSET", "effects", vec![name(unsent), member]),
        ("ZADD", "outbox", vec![text("5"), name(unknown)]),
        ("ZADD", "groups", vec![text("5"), id(stranger)]),
        ("ZADD", "due", vec![text("8000000000000007"), id(aside)]),
        ("ZREM", "ready", vec![id(aside)]),
        ("ZADD", "aside", vec![text("0"), no_longer_aside]),
        (
            "HSET",
            "counted",
            vec![delivery, text("shop"), text("gshop"), text("2")],
        ),
    ] {
        let name = format!("{}:queue:{{mail}}:{rest}", fleet.namespace());
        let mut all = vec![text(command), text(&name)];
        all.extend(parts);
        redis.command(&all).await.unwrap();
    }
    let expected = HashSet::from([
        Stray::Unplaced(unplaced),
        Stray::Member(bodiless),
        Stray::Twice(twice),
        Stray::Result(stranger),
        Stray::Tries(stranger),
        Stray::Note(noted),
        Stray::Journal(noted),
        Stray::Key("order".to_owned()),
        Stray::Cancelled(stranger),
        Stray::Body(over),
        Stray::Effect(unsent),
        Stray::Effect(unknown),
        Stray::Group(stranger),
        Stray::Aside(aside),
        Stray::Aside(stranger),
        Stray::Counted(counted),
        Stray::Count("shop".to_owned()),
        Stray::Count("aside".to_owned()),
        Stray::Count("counted".to_owned()),
        Stray::Count("effects".to_owned()),
        Stray::Count("tried".to_owned()),
        Stray::Count("noted".to_owned()),
        Stray::Count("cancelled".to_owned()),
    ]);
    assert_eq!(fsck(&*port, &key, false).await, expected);
    fsck(&*port, &key, true).await;
    assert_eq!(fsck(&*port, &key, false).await, HashSet::new());
    let ask = Ask {
        worker: 1,
        number: 1,
        settled: Vec::new(),
        want: 999,
        lease: Duration::from_secs(60),
        takes_groups: false,
        limits: QueueLimits::NONE,
    };
    let turn = port.turn(&key, &ask, options()).await.unwrap();
    let taken: HashSet<_> = turn.delivered.iter().map(|it| it.id).collect();
    assert_eq!((turn.delivered.len(), taken.len()), (298, 298));
    assert!(taken.contains(&unplaced) && taken.contains(&twice));
    let names: Vec<_> = turn.effects.iter().map(Effect::name).collect();
    assert_eq!(names, [EffectName::Ended(unsent)]);
}
