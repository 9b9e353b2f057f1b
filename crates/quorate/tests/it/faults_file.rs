//! A process that is killed at any moment loses nothing that it answered.

use std::collections::HashMap;
use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use quorate::{Fleet, StoreSpec};
use quorate_testing::harness::file_url;

const COUNTS: StoreSpec<str, i64> = StoreSpec::new("counts");
const TEXTS: StoreSpec<str, String> = StoreSpec::new("texts");
/// In the process that will be killed: where its home is.
const HOME: &str = "QUORATE_TEST_COUNTS_IN";
const NAME: &str = "faults_file::fault_a_killed_process_has_lost_nothing_that_it_answered";
const ANSWERED: &str = "answered ";
const TASKS: usize = 4;
const KILLS: usize = 20;

/// A value over several pages, that shows if it is of one piece.
fn large(number: i64) -> String {
    format!("{number};").repeat(5_000)
}

/// Counts, and says so after each answer, until it is killed.
async fn count_for_ever(path: &Path) {
    let fleet = Fleet::connect(&file_url(path)).await.unwrap();
    let tasks = (0..TASKS).map(|task| count(fleet.clone(), task));
    futures_util::future::join_all(tasks).await;
}

async fn count(fleet: Fleet, task: usize) {
    let name = task.to_string();
    let (counts, texts) = (fleet.store(&COUNTS), fleet.store(&TEXTS));
    let mut counted = counts.get(&name).await.unwrap().unwrap_or(0);
    loop {
        // First what the process before may not have come to.
        texts.set(&name, &large(counted)).await.unwrap();
        println!("{ANSWERED}text {task} {counted}");
        counted = counts.increment(&name, 1).await.unwrap();
        println!("{ANSWERED}count {task} {counted}");
    }
}

struct Counting(Child);

impl Counting {
    fn begin(path: &Path) -> Self {
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(HOME, path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Kills it after so many answers, and gives the last of each kind.
    fn kill_after(mut self, answers: usize) -> HashMap<String, i64> {
        let lines = BufReader::new(self.0.stdout.take().unwrap()).lines();
        let mut last = HashMap::new();
        let mut seen = 0;
        for line in lines {
            let line = line.unwrap();
            // The harness of tests writes into the same line.
            let Some((_, answer)) = line.split_once(ANSWERED) else {
                continue;
            };
            // The very last line may be cut off.
            if let Some((what, number)) = answer.rsplit_once(' ') {
                last.insert(what.to_owned(), number.parse().unwrap_or(0));
            }
            seen += 1;
            if seen == answers {
                // What is in the pipe was answered as well.
                self.0.kill().unwrap();
            }
        }
        self.0.wait().unwrap();
        assert!(seen >= answers, "it ended by itself");
        last
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        // It has ended, unless the test fails.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn fault_a_killed_process_has_lost_nothing_that_it_answered() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Some(path) = env::var_os(HOME) {
        runtime.block_on(count_for_ever(Path::new(&path)));
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("home.redb");
    for round in 0..KILLS {
        let answers = 1 + rand_below(8 * (round + 1));
        let answered = Counting::begin(&path).kill_after(answers);
        runtime.block_on(check(&path, &answered));
    }
}

async fn check(path: &Path, answered: &HashMap<String, i64>) {
    let fleet = Fleet::connect(&file_url(path)).await.unwrap();
    for task in 0..TASKS {
        let name = task.to_string();
        let counted = fleet.store(&COUNTS).get(&name).await.unwrap().unwrap_or(0);
        // At most one more was under way.
        let said = answered.get(&format!("count {task}")).copied();
        let said = said.unwrap_or(counted);
        assert!(
            (said..=said + 1).contains(&counted),
            "{said} was answered, {counted} is there"
        );
        let said = answered.get(&format!("text {task}")).copied();
        let Some(text) = fleet.store(&TEXTS).get(&name).await.unwrap() else {
            assert_eq!(said, None);
            continue;
        };
        let written: i64 = text.split(';').next().unwrap().parse().unwrap();
        assert_eq!(text, large(written), "of one piece");
        assert!((counted - 1..=counted).contains(&written));
        assert!(
            said.is_none_or(|said| written >= said),
            "{said:?} {written}"
        );
    }
    fleet.close().await;
}

/// Another moment each time.
fn rand_below(below: usize) -> usize {
    let nanos = std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
    usize::try_from(nanos).unwrap_or(0) / 1000 % below
}
