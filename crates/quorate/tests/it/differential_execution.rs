//! The scripts of executions do what the pure functions do.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use quorate::execution::CallId;
use quorate_testing::servers::ServerKind;

use crate::agreement::{Home, Subject, agree, options};

/// Steps are so long that the real time which passes on the server between two of them is nothing.
const HOUR: Duration = Duration::from_secs(3600);

const TASKS: [&str; 6] = ["a", "ab", "a-1", "a-10", "%{}", "running 0 0"];

#[derive(Clone, Debug)]
enum Step {
    Begin {
        id: usize,
        hours: Option<u32>,
    },
    BeginTask {
        task: usize,
        id: usize,
        hours: Option<u32>,
    },
    Abandon {
        task: usize,
        attempt: Option<u64>,
    },
    Commit {
        task: usize,
        id: usize,
        result: Bytes,
    },
    Dispose {
        id: usize,
        hours: Option<u32>,
    },
    Elapse {
        halves: u32,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (task, id) = (|| 0..TASKS.len(), || 0..4_usize);
    let hours = || proptest::option::of(1..6_u32);
    let result = proptest::collection::vec(any::<u8>(), 0..6);
    let step = prop_oneof![
        3 => (id(), hours()).prop_map(|(id, hours)| Step::Begin { id, hours }),
        8 => (task(), id(), hours())
            .prop_map(|(task, id, hours)| Step::BeginTask { task, id, hours }),
        4 => (task(), proptest::option::of(0..4_u64))
            .prop_map(|(task, attempt)| Step::Abandon { task, attempt }),
        4 => (task(), id(), result)
            .prop_map(|(task, id, result)| Step::Commit { task, id, result: result.into() }),
        1 => (id(), hours()).prop_map(|(id, hours)| Step::Dispose { id, hours }),
        // Odd halves: a moment never falls on an end, where microseconds would decide.
        3 => (0..3_u32).prop_map(|halves| Step::Elapse { halves: 2 * halves + 1 }),
    ];
    proptest::collection::vec(step, 1..60)
}

fn time(hours: Option<u32>) -> Option<Duration> {
    hours.map(|hours| HOUR * hours)
}

#[derive(Default)]
struct Executions;

impl Subject for Executions {
    type Step = Step;
    type Names = [CallId; 4];

    fn names() -> Self::Names {
        std::array::from_fn(|_| CallId::random())
    }

    async fn answer(&mut self, home: &Home, step: &Step, ids: &Self::Names) -> String {
        let (port, key) = (home.fleet.execution_port(), home.key("checkout:order"));
        let answer = match step {
            Step::Begin { id, hours } => {
                let begun = port.begin(&key, ids[*id], time(*hours), options());
                format!("{:?}", begun.await.unwrap())
            }
            Step::BeginTask { task, id, hours } => {
                let (id, lease) = (ids[*id], time(*hours));
                let begun = port.begin_task(&key, TASKS[*task], id, lease, options());
                format!("{:?}", begun.await.unwrap())
            }
            Step::Abandon { task, attempt } => {
                let abandoned = port.abandon_task(&key, TASKS[*task], *attempt, options());
                format!("{:?}", abandoned.await.unwrap())
            }
            Step::Commit { task, id, result } => {
                let (id, result) = (ids[*id], result.clone());
                let committed = port.commit(&key, TASKS[*task], id, result, options());
                format!("{:?}", committed.await.unwrap())
            }
            Step::Dispose { id, hours } => {
                let disposed = port.dispose(&key, ids[*id], time(*hours), options());
                format!("{:?}", disposed.await.unwrap())
            }
            Step::Elapse { halves } => home.elapse(HOUR / 2 * *halves),
        };
        let mut in_progress = vec![port.is_in_progress(&key, options()).await.unwrap()];
        for task in TASKS {
            let task = port.is_task_in_progress(&key, task, options()).await;
            in_progress.push(task.unwrap());
        }
        let results = port.results(&key, options()).await.unwrap();
        for task in TASKS {
            let result = port.result(&key, task, options()).await.unwrap();
            assert_eq!(result.as_ref(), results.get(task));
        }
        format!("{answer}; {in_progress:?}; {results:?}")
    }
}

const ROUNDS: usize = 40;

#[tokio::test]
async fn execution_scripts_agree_on_redis() {
    agree::<Executions>(ServerKind::Redis, ROUNDS, steps()).await;
}

#[tokio::test]
async fn execution_scripts_agree_on_valkey() {
    agree::<Executions>(ServerKind::Valkey, ROUNDS, steps()).await;
}

#[tokio::test]
async fn execution_scripts_agree_on_a_cluster() {
    agree::<Executions>(ServerKind::RedisCluster, ROUNDS, steps()).await;
}
