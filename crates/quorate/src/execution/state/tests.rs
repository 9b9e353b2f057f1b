//! What holds whatever is called, in whichever order and by whomever.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const START: Micros = Micros::new(1_000_000);

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn running(ttl: Option<Duration>) -> Execution {
    let mut execution = Execution::default();
    assert_eq!(execution.begin(START, CallId::random(), ttl), Begun::New);
    execution
}

fn begin(execution: &mut Execution, now: Micros, task: &str) -> TaskBegun {
    let begun = execution.begin_task(now, task, CallId::random(), None);
    begun.unwrap()
}

#[test]
fn a_call_that_is_made_again_is_answered_as_the_first_time() {
    let id = CallId::random();
    let mut execution = Execution::default();
    for _ in 0..2 {
        assert_eq!(execution.begin(START, id, None), Begun::New);
    }
    for _ in 0..2 {
        let begun = execution.begin_task(START, "a", id, None).unwrap();
        assert_eq!(begun, TaskBegun::Begun { attempt: 1 });
    }
    for _ in 0..2 {
        let committed = execution.commit(START, "a", id, text("1")).unwrap();
        assert_eq!(committed, Committed::Stored);
    }
    for _ in 0..2 {
        assert!(execution.dispose(START, id, Some(SECOND)));
    }
    assert!(!execution.dispose(START, CallId::random(), Some(SECOND)));
}

#[test]
fn what_is_full_stays_as_it_is() {
    let mut execution = running(None);
    for task in 0..MAX_TASKS {
        begin(&mut execution, START, &task.to_string());
    }
    let id = CallId::random();
    let before = execution.clone();
    let begun = execution.begin_task(START, "more", id, None);
    assert_eq!(begun, Err(Full::Tasks));
    let committed = execution.commit(START, "more", id, text("1"));
    assert_eq!(committed, Err(Full::Tasks));
    assert_eq!(execution, before);
    assert_eq!(begin(&mut execution, START, "0"), TaskBegun::InProgress);

    let mut execution = running(None);
    let large = Bytes::from(vec![b'0'; MAX_RESULTS_BYTES - 1]);
    let committed = execution.commit(START, "a", id, large).unwrap();
    assert_eq!(committed, Committed::Stored, "with its id it just fits");
    let before = execution.clone();
    let committed = execution.commit(START, "b", id, Bytes::new());
    assert_eq!(committed, Err(Full::Results));
    assert_eq!(execution, before);
}

#[test]
fn what_has_ended_leaves_nothing_but_the_names_of_what_goes() {
    let mut execution = running(Some(SECOND));
    begin(&mut execution, START, "a");
    let _ = execution.take_changed();
    let end = START.plus(SECOND);
    assert_eq!(execution.ends(START), Some(end));
    execution.forget();
    assert!(execution.take_changed().iter().eq(["a"]));
    assert_eq!(execution.ends(end), Some(end), "nothing is needed of it");
}

#[derive(Clone, Debug)]
enum Call {
    Begin,
    BeginTask(u8, Option<u32>),
    Abandon(u8, Option<u64>),
    Commit(u8, u8),
    Dispose(Option<u32>),
    Elapse(u32),
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let task = || 0..3_u8;
    let call = prop_oneof![
        2 => Just(Call::Begin),
        6 => (task(), proptest::option::of(1..4_u32)).prop_map(|(task, lease)| Call::BeginTask(task, lease)),
        3 => (task(), proptest::option::of(1..4_u64)).prop_map(|(task, attempt)| Call::Abandon(task, attempt)),
        3 => (task(), any::<u8>()).prop_map(|(task, value)| Call::Commit(task, value)),
        1 => proptest::option::of(1..4_u32).prop_map(Call::Dispose),
        3 => (1..4_u32).prop_map(Call::Elapse),
    ];
    proptest::collection::vec(call, 0..80)
}

proptest! {
    /// One at a time has a task, attempts are counted without a hole, and the first result stays.
    #[test]
    fn a_task_has_one_owner_and_one_result(calls in calls(), ttl in proptest::option::of(1..6_u32)) {
        let ttl = ttl.map(|seconds| SECOND * seconds);
        let mut execution = Execution::default();
        let mut now = START;
        let mut results: HashMap<String, Bytes> = HashMap::new();
        let mut attempts: HashMap<String, u64> = HashMap::new();
        for call in calls {
            if !execution.is_in_progress(now) {
                results.clear();
                attempts.clear();
            }
            let bytes = execution.head.as_ref().map_or(0, |head| head.bytes);
            match call {
                Call::Begin => {
                    let was_there = execution.is_in_progress(now);
                    let begun = execution.begin(now, CallId::random(), ttl);
                    prop_assert_eq!(begun == Begun::InProgress, was_there);
                    prop_assert_eq!(execution.is_in_progress(now), begun != Begun::Over);
                }
                Call::BeginTask(task, lease) => {
                    let task = task.to_string();
                    let had = execution.is_task_in_progress(now, &task);
                    let lease = lease.map(|seconds| SECOND * seconds);
                    let begun = execution.begin_task(now, &task, CallId::random(), lease).unwrap();
                    prop_assert_eq!(begun == TaskBegun::InProgress, had);
                    prop_assert_eq!(begun == TaskBegun::Done, results.contains_key(&task));
                    if let TaskBegun::Begun { attempt } = begun {
                        let before = attempts.insert(task.clone(), attempt).unwrap_or(0);
                        prop_assert_eq!(attempt, before + 1);
                        prop_assert!(execution.is_task_in_progress(now, &task));
                    }
                }
                Call::Abandon(task, attempt) => {
                    let task = task.to_string();
                    let had = execution.is_task_in_progress(now, &task);
                    let abandoned = execution.abandon_task(now, &task, attempt);
                    if attempt.is_none() {
                        prop_assert_eq!(abandoned, had);
                    }
                    prop_assert!(!abandoned || !execution.is_task_in_progress(now, &task));
                }
                Call::Commit(task, value) => {
                    let (task, value) = (task.to_string(), Bytes::from(value.to_string()));
                    let committed = execution.commit(now, &task, CallId::random(), value.clone()).unwrap();
                    prop_assert_eq!(committed == Committed::AlreadyDone, results.contains_key(&task));
                    if committed == Committed::Stored {
                        results.insert(task.clone(), value);
                    }
                    prop_assert!(!execution.is_task_in_progress(now, &task));
                }
                Call::Dispose(remember) => {
                    let was_there = execution.is_in_progress(now);
                    let remember = remember.map(|seconds| SECOND * seconds);
                    prop_assert_eq!(execution.dispose(now, CallId::random(), remember), was_there);
                    prop_assert!(!execution.is_in_progress(now));
                }
                Call::Elapse(seconds) => now = now.plus(SECOND * seconds),
            }
            if execution.is_in_progress(now) {
                let expected: BTreeMap<_, _> = results.clone().into_iter().collect();
                let counted: usize = expected.iter().map(|(task, result)| task.len() + result.len()).sum();
                prop_assert_eq!(execution.head.as_ref().map(|head| head.bytes), Some(counted), "after {}", bytes);
                prop_assert_eq!(execution.results(now), expected);
            } else {
                prop_assert!(execution.results(now).is_empty());
            }
        }
    }
}
