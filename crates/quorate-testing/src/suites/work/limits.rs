//! Limits over all workers of a queue.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate::queue::{QueueLimits, StartRate};
use quorate::{Fleet, Job, QueueSpec};

use super::{AT_ONCE, NUMBERS, Running, SECOND, numbers, run, say};
use crate::harness::Home;

/// How many ran at once, of each group.
#[derive(Clone, Default)]
struct AtOnce(Arc<Mutex<HashMap<String, (u32, u32)>>>);

impl AtOnce {
    fn begin(&self, group: &str) {
        let mut all = self.0.lock().unwrap();
        let (now, most) = all.entry(group.to_owned()).or_default();
        *now += 1;
        *most = (*most).max(*now);
    }

    fn end(&self, group: &str) {
        self.0.lock().unwrap().get_mut(group).unwrap().0 -= 1;
    }

    fn most(&self, group: &str) -> u32 {
        self.0
            .lock()
            .unwrap()
            .get(group)
            .map_or(0, |(_, most)| *most)
    }
}

/// Counts what runs at once, in all and of each group, in two instances with room for more.
async fn count(home: &Home, spec: &QueueSpec<u32, String>) -> (AtOnce, [Running; 2]) {
    let counts = AtOnce::default();
    let worker = |fleet: &Fleet| {
        let counts = counts.clone();
        let handler = move |job: Job<u32>| {
            let counts = counts.clone();
            async move {
                let group = job.fairness_group().to_owned();
                counts.begin("all");
                counts.begin(&group);
                tokio::time::sleep(Duration::from_millis(1)).await;
                counts.end(&group);
                counts.end("all");
                Ok(String::new())
            }
        };
        run(fleet.queue(spec).worker(handler).concurrency(8))
    };
    let other = home.instance("other").await;
    let running = [worker(home.fleet()), worker(&other)];
    (counts, running)
}

/// Whatever room each of them has; and everything is done.
pub async fn limits_hold_over_all_workers(home: Home) {
    let spec = NUMBERS.max_active(3);
    let (counts, running) = count(&home, &spec).await;
    let jobs = home.fleet().queue(&spec).push_many(&[0; 60]).await.unwrap();
    for job in &jobs {
        job.result().await.unwrap();
    }
    for it in running {
        it.stop().await;
    }
    // A job is active for longer than its handler runs.
    assert!(
        (1..=3).contains(&counts.most("all")),
        "{}",
        counts.most("all")
    );
}

/// While those of other groups go on.
pub async fn limits_of_groups_hold_over_all_workers(home: Home) {
    let spec = NUMBERS.max_active_per_group(1);
    let (counts, running) = count(&home, &spec).await;
    let queue = home.fleet().queue(&spec);
    let mut jobs = Vec::new();
    for nth in 0..45 {
        let group = ["a", "b", "c"][nth % 3];
        jobs.push(queue.push(&0).fairness_group(group).await.unwrap());
    }
    for job in &jobs {
        job.result().await.unwrap();
    }
    for it in running {
        it.stop().await;
    }
    let most = ["a", "b", "c"].map(|group| counts.most(group));
    assert_eq!(most, [1, 1, 1]);
}

/// Before the worker takes anything.
pub async fn limits_of_a_worker_are_refused_with_the_rule(home: Home) {
    let never = QueueSpec::<u32, String>::new("numbers")
        .backoff(AT_ONCE)
        .max_active(0);
    let error = home.fleet().queue(&never).worker(say);
    let error = error.run(quorate::CancellationToken::new()).await;
    let text = error.unwrap_err().to_string();
    assert!(text.contains("max_active must be at least 1"), "{text}");
    let limits = QueueLimits {
        starts: Some(StartRate::new(0, SECOND)),
        ..QueueLimits::NONE
    };
    let error = numbers(home.fleet()).claim(1).limits(limits).await;
    let text = error.unwrap_err().to_string();
    assert!(text.contains("max_starts: limit must be from 1"), "{text}");
}
