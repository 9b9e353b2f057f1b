//! Executions under fire: lost replies, what is left on the server and in a file, and the process that ends.

use std::env;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use quorate::execution::{Begun, Committed, TaskBegun};
use quorate::{ErrorKind, Executions, Fleet, Outcome, TestClock};
use quorate_testing::harness::{file_url, namespace};
use quorate_testing::proxy::Proxy;
use quorate_testing::servers::{Server, ServerKind, shared};

const ORDER: &str = "order-42";
const HOUR: Duration = Duration::from_secs(3600);

/// A server, a proxy before it, and executions through that.
async fn behind_a_proxy() -> (Server, Proxy, Executions) {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let builder = Fleet::builder()
        .url(proxy.url())
        .command_timeout(Duration::from_secs(2))
        .retry_delay(Duration::from_millis(50))
        .max_reconnect_delay(Duration::from_millis(100));
    let checkouts = builder.build().await.unwrap().executions("checkout");
    // Known to the server, so that the reply that is lost is that of the call.
    checkouts.begin("warm").await.unwrap();
    checkouts.begin_task("warm", "a").await.unwrap();
    checkouts.abandon_task("warm", "a").await.unwrap();
    checkouts.commit_result("warm", "a", &1).await.unwrap();
    checkouts.dispose("warm").await.unwrap();
    (server, proxy, checkouts)
}

/// Each is sent again, changes nothing the second time, and is answered as the first time.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_call_of_an_engine_with_a_lost_reply_is_answered_as_if_it_were_not() {
    let (_server, proxy, checkouts) = behind_a_proxy().await;
    proxy.cut_before_reply();
    assert_eq!(checkouts.begin(ORDER).await.unwrap(), Begun::New);
    proxy.cut_before_reply();
    let begun = checkouts.begin_task(ORDER, "charge").await.unwrap();
    assert_eq!(begun, TaskBegun::Begun { attempt: 1 });
    proxy.cut_before_reply();
    let abandoned = checkouts.abandon_task(ORDER, "charge").attempt(1).await;
    assert!(abandoned.unwrap());
    proxy.cut_before_reply();
    let begun = checkouts.begin_task(ORDER, "charge").lease(HOUR).await;
    assert_eq!(begun.unwrap(), TaskBegun::Begun { attempt: 2 });
    proxy.cut_before_reply();
    let committed = checkouts.commit_result(ORDER, "charge", "paid").await;
    assert_eq!(committed.unwrap(), Committed::Stored);
    proxy.cut_before_reply();
    let result = checkouts.result::<String>(ORDER, "charge").await.unwrap();
    assert_eq!(result.as_deref(), Some("paid"));
    proxy.cut_before_reply();
    assert_eq!(checkouts.results(ORDER).await.unwrap().len(), 1);
    proxy.cut_before_reply();
    assert!(checkouts.dispose(ORDER).await.unwrap());
    assert_eq!(checkouts.begin(ORDER).await.unwrap(), Begun::Over);
}

/// What could take a task, or an execution, from who has begun it in between.
#[tokio::test(flavor = "multi_thread")]
async fn fault_what_would_undo_something_is_not_repeated_when_its_reply_is_lost() {
    let (_server, proxy, checkouts) = behind_a_proxy().await;
    let forgetful = checkouts.clone().remember(Duration::ZERO);
    checkouts.begin(ORDER).await.unwrap();
    checkouts.begin_task(ORDER, "charge").await.unwrap();
    proxy.cut_before_reply();
    let abandoned = checkouts.abandon_task(ORDER, "charge").await;
    let in_progress = checkouts.is_task_in_progress(ORDER, "charge").await;
    assert!(!in_progress.unwrap(), "it was applied");
    proxy.cut_before_reply();
    let disposed = forgetful.dispose(ORDER).await;
    for error in [abandoned.unwrap_err(), disposed.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::ConnectionLost);
        assert_eq!(error.outcome(), Outcome::Unknown);
    }
    assert_eq!(checkouts.begin(ORDER).await.unwrap(), Begun::New);
}

/// On the server there is what the document says, for as long as it says, and nothing when it is over.
#[tokio::test]
async fn an_execution_is_two_keys_that_end_together() {
    let server = shared(ServerKind::Redis).await.unwrap();
    let namespace = namespace();
    let builder = Fleet::builder().url(server.url()).namespace(&*namespace);
    let fleet = builder.build().await.unwrap();
    let redis = fleet.redis().unwrap();
    let left = async || {
        let pattern = format!("{namespace}*");
        let keys = redis.command(&["KEYS", &pattern]).await.unwrap();
        let keys = keys.as_array().unwrap().iter();
        let mut left = Vec::new();
        for key in keys.map(|key| key.as_str().unwrap().to_owned()) {
            let time = redis.command(&["PTTL", &key]).await.unwrap();
            left.push((key, time.as_int().unwrap()));
        }
        left.sort();
        left
    };
    let keys =
        ["", ":results"].map(|rest| format!("{namespace}:execution:{{checkout:or%7Bder}}{rest}"));
    let checkouts = fleet.executions("checkout");
    for (executions, least, most) in [
        (checkouts.clone().ttl(HOUR), 3_590_000, 3_600_000),
        (checkouts.clone(), -1, -1),
    ] {
        let executions = executions.remember(Duration::ZERO);
        executions.begin("or{der").await.unwrap();
        executions.commit_result("or{der", "a b", &7).await.unwrap();
        let found = left().await;
        assert!(found.iter().map(|(key, _)| key).eq(&keys), "{found:?}");
        let within = |time: i64| (least..=most).contains(&time);
        assert!(found.iter().all(|(_, time)| within(*time)), "{found:?}");
        let value = redis.command(&["HGET", &keys[1], "a b"]).await.unwrap();
        assert_eq!(value.as_str(), Some("7"));
        executions.dispose("or{der").await.unwrap();
        assert!(left().await.is_empty(), "nothing is left");
    }
    checkouts.begin("or{der").await.unwrap();
    checkouts.dispose("or{der").await.unwrap();
    let found = left().await;
    assert!(
        matches!(&found[..], [(key, 3_590_000..=3_600_000)] if *key == keys[0]),
        "{found:?}"
    );
}

/// What somebody else wrote into the hash of results is shown, and left alone.
#[tokio::test]
async fn a_result_that_is_no_json_is_shown_with_where_it_is() {
    let server = shared(ServerKind::Redis).await.unwrap();
    let builder = Fleet::builder().url(server.url()).namespace(namespace());
    let fleet = builder.build().await.unwrap();
    let checkouts = fleet.executions("checkout");
    checkouts.begin(ORDER).await.unwrap();
    let key = format!(
        "{}:execution:{{checkout:{ORDER}}}:results",
        fleet.namespace()
    );
    let redis = fleet.redis().unwrap();
    redis
        .command(&["HSET", &key, "charge", "oops"])
        .await
        .unwrap();
    let error = checkouts.result::<u32>(ORDER, "charge").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    let says = format!(
        "failed to parse JSON for key \"{key}\" field \"charge\": expected value at line 1 column 1. \
         Raw value: \"oops\""
    );
    assert_eq!(error.message(), Some(&*says));
}

/// With their tasks and results, also when they are opened again much later; what has ended is not.
#[tokio::test]
async fn executions_of_a_file_outlive_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let url = file_url(&directory.path().join("home.redb"));
    let fleet = Fleet::connect(&url).await.unwrap();
    let (checkouts, brief) = (
        fleet.executions("checkout"),
        fleet.executions("brief").ttl(HOUR),
    );
    for executions in [&checkouts, &brief] {
        executions.begin(ORDER).await.unwrap();
        executions.begin_task(ORDER, "charge").await.unwrap();
        executions
            .begin_task(ORDER, "mail")
            .lease(HOUR)
            .await
            .unwrap();
        executions
            .commit_result(ORDER, "stock", &vec![1, 2])
            .await
            .unwrap();
    }
    checkouts.begin("over").await.unwrap();
    checkouts.commit_result("over", "stock", &1).await.unwrap();
    checkouts.dispose("over").await.unwrap();
    fleet.close().await;

    // The home's time goes on from where it was.
    let open_later = async |time: Duration| {
        let clock = TestClock::new();
        clock.advance(time);
        let builder = Fleet::builder().url(&*url).test_clock(clock);
        builder.build().await.unwrap()
    };
    let fleet = open_later(HOUR / 2).await;
    for name in ["checkout", "brief"] {
        let executions = fleet.executions(name);
        assert_eq!(executions.begin(ORDER).await.unwrap(), Begun::InProgress);
        for task in ["charge", "mail"] {
            let begun = executions.begin_task(ORDER, task).await.unwrap();
            assert_eq!(begun, TaskBegun::InProgress);
        }
        let results = executions.results(ORDER).await.unwrap();
        assert!(results.tasks().eq(["stock"]));
        assert_eq!(results.get("stock").unwrap(), Some(vec![1, 2]));
    }
    let checkouts = fleet.executions("checkout");
    assert_eq!(checkouts.begin("over").await.unwrap(), Begun::Over);
    // Written for certain, and so is the time.
    assert_eq!(checkouts.begin("another").await.unwrap(), Begun::New);
    fleet.close().await;

    let fleet = open_later(HOUR / 4 * 3).await;
    let brief = fleet.executions("brief");
    assert!(
        brief.is_in_progress(ORDER).await.unwrap(),
        "it made progress"
    );
    fleet.close().await;

    let fleet = open_later(HOUR * 2).await;
    let (checkouts, brief) = (fleet.executions("checkout"), fleet.executions("brief"));
    assert!(checkouts.is_in_progress(ORDER).await.unwrap());
    let begun = checkouts.begin_task(ORDER, "mail").await.unwrap();
    assert_eq!(begun, TaskBegun::Begun { attempt: 2 });
    assert_eq!(checkouts.begin("over").await.unwrap(), Begun::New);
    assert_eq!(brief.begin(ORDER).await.unwrap(), Begun::New);
    for (executions, id) in [(&checkouts, "over"), (&brief, ORDER)] {
        assert!(executions.results(id).await.unwrap().is_empty());
        let begun = executions.begin_task(id, "stock").await.unwrap();
        assert_eq!(begun, TaskBegun::Begun { attempt: 1 });
    }
    fleet.close().await;
}

/// 3 000 executions of 20 KiB pass through it, 100 of which are there at once.
#[tokio::test]
async fn a_file_has_the_size_of_the_executions_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("home.redb");
    let clock = TestClock::new();
    let builder = Fleet::builder()
        .url(file_url(&path))
        .test_clock(clock.clone());
    let fleet = builder.build().await.unwrap();
    let ending = fleet
        .executions("ending")
        .ttl(HOUR)
        .remember(Duration::ZERO);
    let value = "x".repeat(10 << 10);
    for round in 0..30 {
        let run = |number: usize| {
            let (ending, value) = (&ending, &value);
            async move {
                let execution = format!("{round}-{number}");
                ending.begin(&execution).await.unwrap();
                for task in ["a", "b"] {
                    ending.commit_result(&execution, task, value).await.unwrap();
                }
                // Half of them are disposed of, the others end by themselves.
                if number.is_multiple_of(2) {
                    ending.dispose(&execution).await.unwrap();
                }
            }
        };
        futures_util::future::join_all((0..100).map(run)).await;
        clock.advance(HOUR);
    }
    fleet.close().await;
    let builder = Fleet::builder().url(file_url(&path)).test_clock(clock);
    builder.build().await.unwrap().close().await;
    let bytes = std::fs::metadata(&path).unwrap().len();
    assert!(bytes <= 8 << 20, "{bytes} bytes");
}

/// In the process that will be killed: the home.
const HOME: &str = "QUORATE_TEST_EXECUTIONS_ON";
const NAMESPACE: &str = "QUORATE_TEST_EXECUTIONS_IN";
const NAME: &str =
    "faults_execution::fault_a_killed_engine_is_taken_over_and_repeats_no_step_that_is_done";
const LEASE: Duration = Duration::from_secs(1);
const STEPS: usize = 100;
/// In the same process: how many steps it does at most. Some are left, however late it is killed.
const MOST: &str = "QUORATE_TEST_EXECUTIONS_STEPS";
/// And how many more that is than those after which it is killed.
const AHEAD: usize = 20;

/// A small engine: does what is not done, in order. It waits, to be killed, when it has done so many steps.
async fn replay(fleet: &Fleet, most: usize) {
    let checkouts = fleet.executions("checkout");
    checkouts.begin(ORDER).await.unwrap();
    let mut done = 0;
    for step in 0..STEPS {
        let task = format!("step-{step}");
        loop {
            if done == most {
                std::future::pending::<()>().await;
            }
            match checkouts
                .begin_task(ORDER, &task)
                .lease(LEASE)
                .await
                .unwrap()
            {
                TaskBegun::Begun { attempt } => {
                    let value = (step, attempt, std::process::id());
                    let committed = checkouts.commit_result(ORDER, &task, &value).await;
                    if committed.unwrap() == Committed::Stored {
                        println!("{ANSWERED}{step} {attempt}");
                        done += 1;
                    }
                }
                TaskBegun::Done => break,
                // Of who was killed: until the lease is over.
                TaskBegun::InProgress => tokio::time::sleep(Duration::from_millis(20)).await,
                TaskBegun::Unknown => panic!("it was begun"),
            }
        }
    }
}

const ANSWERED: &str = "answered ";

struct Engine(Child);

impl Engine {
    fn begin(url: &str, namespace: &str, most: usize) -> Self {
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(HOME, url)
            .env(NAMESPACE, namespace)
            .env(MOST, most.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Kills it after so many answers, and gives them: which step, and which attempt.
    fn kill_after(mut self, answers: usize) -> Vec<(usize, u64)> {
        use std::io::{BufRead, BufReader};
        let lines = BufReader::new(self.0.stdout.take().unwrap()).lines();
        let mut answered = Vec::new();
        for line in lines {
            let line = line.unwrap();
            // The harness of tests writes into the same line.
            let Some((_, answer)) = line.split_once(ANSWERED) else {
                continue;
            };
            let parsed = answer
                .split_once(' ')
                .and_then(|(step, attempt)| Some((step.parse().ok()?, attempt.parse().ok()?)));
            // The very last line may be cut off.
            answered.extend(parsed);
            if answered.len() == answers {
                // What is in the pipe was answered as well.
                self.0.kill().unwrap();
            }
        }
        answered
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It has ended, unless the test fails.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Nothing is stuck, and what was answered as stored is the result that is there.
#[test]
fn fault_a_killed_engine_is_taken_over_and_repeats_no_step_that_is_done() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let connect = |url: String, namespace: String| async move {
        let builder = Fleet::builder().url(url).namespace(namespace);
        builder.build().await.unwrap()
    };
    if let (Some(url), Some(namespace)) = (env::var_os(HOME), env::var_os(NAMESPACE)) {
        let (url, namespace) = (url.into_string().unwrap(), namespace.into_string().unwrap());
        let fleet = runtime.block_on(connect(url, namespace));
        let most = env::var(MOST).unwrap().parse().unwrap();
        runtime.block_on(replay(&fleet, most));
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = file_url(&directory.path().join("home.redb"));
    let server = runtime.block_on(Server::start(ServerKind::Redis)).unwrap();
    for url in [server.url(), file] {
        let namespace = namespace();
        let mut answered = Vec::new();
        for answers in [3, 7, 12] {
            let engine = Engine::begin(&url, &namespace, answers + AHEAD);
            answered.extend(engine.kill_after(answers));
        }
        let fleet = runtime.block_on(connect(url, namespace));
        runtime.block_on(check(&fleet, &answered));
        runtime.block_on(fleet.close());
    }
}

async fn check(fleet: &Fleet, answered: &[(usize, u64)]) {
    replay(fleet, usize::MAX).await;
    let results = fleet.executions("checkout").results(ORDER).await.unwrap();
    assert_eq!(results.len(), STEPS);
    let mut steps: Vec<_> = answered.iter().map(|(step, _)| *step).collect();
    steps.dedup();
    assert_eq!(
        steps.len(),
        answered.len(),
        "each is stored once: {answered:?}"
    );
    for (step, attempt) in answered {
        let result = results.get::<(usize, u64, u32)>(&format!("step-{step}"));
        let (stored, of, process) = result.unwrap().unwrap();
        assert_eq!((stored, of), (*step, *attempt));
        assert_ne!(process, std::process::id(), "it was not done again");
    }
    let last = results.get::<(usize, u64, u32)>(&format!("step-{}", STEPS - 1));
    assert_eq!(
        last.unwrap().unwrap().2,
        std::process::id(),
        "some was left to do"
    );
}
