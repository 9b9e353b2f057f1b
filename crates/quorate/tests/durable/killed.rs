//! Processes that do runs are killed at any moment: what is over is not done again, and everything comes to its end.

#![expect(
    clippy::disallowed_methods,
    reason = "a test ends before its runtime does"
)]

use std::collections::BTreeMap;
use std::env;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use quorate::{CancellationToken, Cx, DurableRuns, Failure, Fleet, Signal, Workflow};
use quorate_testing::harness::{file_url, namespace, within};
use quorate_testing::servers::{ServerKind, shared};

/// A run that kills whoever has it is not what is tried here: deliveries that die do not count.
const TRIPS: Workflow<u32, u64> = Workflow::new("trips").max_attempts(99);
const LEGS: Workflow<u32, u64> = Workflow::new("legs").max_attempts(99);
const GO: Signal<u64> = Signal::new("go");
const LEASE: Duration = Duration::from_secs(1);
const RUNS: u32 = 40;
const STEPS: u32 = 6;
const KILLS: usize = 6;
const DONE: &str = "done ";
/// In the process that will be killed: its home, the namespace there, and where it says what it did.
const HOME: &str = "QUORATE_TEST_RUNS_IN";
const NAMESPACE: &str = "QUORATE_TEST_RUNS_NAMESPACE";
const DIARY: &str = "QUORATE_TEST_RUNS_DIARY";

/// What every process has to do, and where it says that it did.
#[derive(Clone)]
struct Diary(PathBuf);

impl Diary {
    /// Does a step, which is seen from outside: a line that is there whatever becomes of the process.
    async fn step(&self, run: &str, step: u32) -> Result<u64, Failure> {
        let line = format!("{run} {step}\n");
        let mut file = OpenOptions::new().append(true).create(true).open(&self.0)?;
        file.write_all(line.as_bytes())?;
        println!("{DONE}{run} {step}");
        tokio::time::sleep(Duration::from_millis(2)).await;
        Ok(u64::from(step) + 1)
    }
}

/// Steps, one after the other and side by side, a signal, a child, a pause, and steps.
async fn trip(cx: Cx, number: u32, diary: Diary) -> Result<u64, Failure> {
    let (run, mut sum) = (cx.run_id().to_owned(), 0);
    for step in 0..STEPS {
        sum += cx.step("step", || diary.step(&run, step)).await?;
    }
    let side_by_side = cx.map("beside", 0..3_u32, |cx, lane| {
        let (diary, run) = (&diary, format!("{run}/{lane}"));
        async move {
            let mut sum = 0;
            for step in 0..3 {
                sum += cx.step("step", || diary.step(&run, step)).await?;
            }
            Ok(sum)
        }
    });
    let leg = cx.run_child(&LEGS, format!("{run}-leg"), &number);
    let (lanes, leg) = cx.join(side_by_side, leg).await?;
    cx.sleep("rest", Duration::from_millis(u64::from(number % 3) * 5))
        .await?;
    sum += cx.signal(&GO).await?;
    for step in STEPS..2 * STEPS {
        sum += cx.step("step", || diary.step(&run, step)).await?;
    }
    Ok(sum + leg + lanes.into_iter().sum::<u64>())
}

async fn leg(cx: Cx, _: u32, diary: Diary) -> Result<u64, Failure> {
    let (run, mut sum) = (cx.run_id().to_owned(), 0);
    for step in 0..3 {
        sum += cx.step("step", || diary.step(&run, step)).await?;
    }
    Ok(sum)
}

/// What a run comes to that nobody disturbs.
fn wanted(number: u32) -> u64 {
    let steps: u64 = (1..=u64::from(2 * STEPS)).sum();
    steps + 3 * 6 + 6 + u64::from(number)
}

async fn open(url: &str, namespace: &str) -> Fleet {
    let builder = Fleet::builder().url(url).namespace(namespace.to_owned());
    builder.build().await.unwrap()
}

fn durable(fleet: &Fleet, diary: &Path) -> DurableRuns {
    let (trips, legs) = (Diary(diary.to_owned()), Diary(diary.to_owned()));
    let durable = fleet
        .durable()
        .register(&TRIPS, move |cx, number| trip(cx, number, trips.clone()))
        .register(&LEGS, move |cx, number| leg(cx, number, legs.clone()))
        .lease(LEASE);
    durable.build().unwrap()
}

/// Starts this test again in a process of its own, and kills that after so many steps.
fn kill_after(steps: usize, test: &str, url: &str, namespace: &str, diary: &Path) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(HOME, url)
        .env(NAMESPACE, namespace)
        .env(DIARY, diary)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let done = lines.filter(|line| line.as_ref().is_ok_and(|line| line.contains(DONE)));
    // Where all is done there are no more, and it ends by itself.
    let _ = done.take(steps).count();
    child.kill().unwrap();
    child.wait().unwrap();
}

/// As a process that will be killed: works until that, or until there has been nothing to do for a while.
async fn work_until_killed(url: &str) {
    let fleet = open(url, &env::var(NAMESPACE).unwrap()).await;
    let diary = PathBuf::from(env::var(DIARY).unwrap());
    let working = durable(&fleet, &diary).work(CancellationToken::new());
    let _ = tokio::time::timeout(Duration::from_secs(15), working).await;
}

async fn survive(test: &'static str, url: String, namespace: String) {
    if let Ok(url) = env::var(HOME) {
        return work_until_killed(&url).await;
    }
    let place = tempfile::tempdir().unwrap();
    let diary = place.path().join("diary");
    let fleet = open(&url, &namespace).await;
    let runs = fleet.durable().build().unwrap();
    for number in 0..RUNS {
        let run = runs
            .start(&TRIPS, format!("trip-{number}"), &number)
            .await
            .unwrap();
        assert!(run.is_new());
        assert!(run.signal(&GO, &u64::from(number)).await.unwrap());
    }
    fleet.close().await;
    for round in 1..=KILLS {
        let (url, namespace, diary) = (url.clone(), namespace.clone(), diary.clone());
        let kill = move || kill_after(round * 25, test, &url, &namespace, &diary);
        tokio::task::spawn_blocking(kill).await.unwrap();
    }
    let (fleet, stop) = (open(&url, &namespace).await, CancellationToken::new());
    let durable = durable(&fleet, &diary);
    let working = tokio::spawn(durable.work(stop.clone()));
    for number in 0..RUNS {
        let run = durable.run(&TRIPS, format!("trip-{number}")).unwrap();
        let ended = run.result().timeout(Duration::from_secs(60)).await;
        assert_eq!(ended.unwrap().unwrap(), wanted(number), "trip {number}");
    }
    stop.cancel();
    within("the end of the worker", working)
        .await
        .unwrap()
        .unwrap();
    fleet.close().await;
    check(&std::fs::read_to_string(diary).unwrap());
}

/// In each part of each run, a step was done again only while it was under way: the next had not begun.
fn check(diary: &str) {
    let mut parts: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for line in diary.lines() {
        let (run, step) = line.split_once(' ').unwrap();
        parts.entry(run).or_default().push(step.parse().unwrap());
    }
    assert_eq!(parts.len(), RUNS as usize * (1 + 3 + 1));
    let mut again = 0;
    for (run, mut steps) in parts {
        assert!(
            steps.is_sorted(),
            "{run} did a step again that was over: {steps:?}"
        );
        let all = steps.len();
        steps.dedup();
        again += all - steps.len();
        let last = u32::try_from(steps.len()).unwrap();
        assert_eq!(steps, (0..last).collect::<Vec<_>>(), "{run}");
    }
    // Those that were under way when a process was killed, and hardly more.
    assert!(
        again <= KILLS * RUNS as usize * 3,
        "{again} steps were done again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_runs_of_killed_processes_go_on_in_a_file() {
    let place = tempfile::tempdir().unwrap();
    let url = file_url(&place.path().join("home.redb"));
    let test = "killed::fault_runs_of_killed_processes_go_on_in_a_file";
    survive(test, url, "killed".to_owned()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_runs_of_killed_processes_go_on_on_redis() {
    // The process that is killed finds the server by its address.
    let url = match env::var(HOME) {
        Ok(url) => url,
        Err(_) => shared(ServerKind::Redis).await.unwrap().url().to_owned(),
    };
    let test = "killed::fault_runs_of_killed_processes_go_on_on_redis";
    survive(test, url, namespace()).await;
}
