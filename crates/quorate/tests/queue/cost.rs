//! What the server is asked to do for plain jobs.

use std::collections::BTreeMap;

use quorate::{Fleet, QueueSpec};
use quorate_testing::servers::{Server, ServerKind};

const NUMBERS: QueueSpec<u32> = QueueSpec::new("numbers");
const JOBS: u32 = 100;

/// How often each command was called, by clients and by scripts.
pub(crate) async fn commands(server: &Server) -> BTreeMap<String, u64> {
    let info = server.command(&["INFO", "commandstats"]).await.unwrap();
    let line = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let calls = rest.split_once(',')?.0.parse().ok()?;
        Some((name.to_owned(), calls))
    };
    info.as_str().unwrap().lines().filter_map(line).collect()
}

/// Of a hundred jobs together, all that is done with them is a few commands; that there are groups costs them none.
#[tokio::test]
async fn plain_jobs_pay_nothing_for_groups() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = Fleet::connect(&server.url()).await.unwrap();
    let queue = fleet.queue(&NUMBERS);
    let inputs: Vec<_> = (0..JOBS).collect();
    let most = usize::try_from(JOBS).unwrap();
    // The first time scripts are sent in full.
    for round in 0..2 {
        let before = commands(&server).await;
        queue.push_many(&inputs).await.unwrap();
        let claimed = queue.claim(most).await.unwrap();
        let settled = claimed.into_iter().map(|it| (it.receipt, Ok(())));
        assert_eq!(queue.settle(settled).await.unwrap().len(), most);
        let after = commands(&server).await;
        let calls = after.iter().map(|(name, calls)| {
            let calls = calls - before.get(name).copied().unwrap_or(0);
            (name.as_str(), calls)
        });
        let calls: BTreeMap<_, _> = calls.filter(|(_, calls)| *calls > 0).collect();
        let of = |name| calls.get(name).copied().unwrap_or(0);
        if round == 1 {
            // What jobs are and where; never what is to be brought elsewhere, or a group.
            assert_eq!(
                (of("hmget"), of("hget"), of("hgetall")),
                (3, 0, 0),
                "{calls:?}"
            );
            assert_eq!(
                (of("evalsha"), of("hset"), of("hdel")),
                (3, 2, 1),
                "{calls:?}"
            );
            assert_eq!((of("zadd"), of("exists")), (4, 1), "{calls:?}");
            // Nor a journal or an inbox.
            assert_eq!((of("llen"), of("unlink")), (0, 0), "{calls:?}");
            // And as long as nobody listens, nobody is told.
            assert_eq!(of("spublish"), 0, "{calls:?}");
        }
    }
}

/// One message for each step, and of a queue that nobody uses only for as long as somebody listens that anybody does.
#[tokio::test]
async fn who_listens_costs_a_message_for_each_step_and_leaves_nothing_behind() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = Fleet::connect(&server.url()).await.unwrap();
    let queue = fleet.queue(&NUMBERS);
    let events = queue.events().await.unwrap();
    let key = quorate::Key::new(fleet.namespace(), "numbers").unwrap();
    let key = key.unit("queue", "");
    let left = server.command(&["PTTL", &key]).await.unwrap();
    let left = left.as_integer().unwrap();
    assert!(left > 0 && left <= 10_000, "{left} ms");

    let inputs: Vec<_> = (0..JOBS).collect();
    let most = usize::try_from(JOBS).unwrap();
    let before = commands(&server).await.get("spublish").copied();
    queue.push_many(&inputs).await.unwrap();
    let claimed = queue.claim(most).await.unwrap();
    let settled = claimed.into_iter().map(|it| (it.receipt, Ok(())));
    queue.settle(settled).await.unwrap();
    let after = commands(&server).await.get("spublish").copied();
    assert_eq!((before, after), (None, Some(3)));
    let left = server.command(&["PTTL", &key]).await.unwrap();
    assert_eq!(left.as_integer(), Some(-1), "it has jobs");
    drop(events);
}
