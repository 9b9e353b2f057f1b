//! What schedules promise.

#![expect(
    clippy::disallowed_methods,
    reason = "a clause ends before its runtime does"
)]

use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;
use quorate::queue::{JobPlace, Timetable};
use quorate::{CancellationToken, ErrorKind, JobOptions, Queue, QueueSpec};

use super::HOUR;
use crate::harness::{Home, eventually, within};

/// The times for which something was queued.
const TIMES: QueueSpec<SystemTime> = QueueSpec::new("times");
const MINUTE: Duration = Duration::from_secs(60);

fn same(time: SystemTime) -> SystemTime {
    time
}

/// What is queued, in order.
async fn queued(times: &Queue<SystemTime>) -> Vec<SystemTime> {
    let jobs = times.list(JobPlace::Ready).try_collect::<Vec<_>>().await;
    let input = |job: &quorate::queue::JobRecord<SystemTime>| job.input().unwrap().unwrap();
    let mut queued: Vec<_> = jobs.unwrap().iter().map(input).collect();
    queued.sort();
    queued
}

/// Ten hours and a half ago, then each hour, and for the last time half an hour ago.
struct Past {
    times: Queue<SystemTime>,
    begin: SystemTime,
}

impl Past {
    async fn of(home: &Home) -> Self {
        let times = home.fleet().queue(&TIMES);
        // Whatever the clock of this process says.
        let now = times.schedule("now", Timetable::following(|_| None), same);
        now.run(CancellationToken::new()).await.unwrap();
        let now = times.schedules().await.unwrap()[0].last;
        let begin = now - 10 * HOUR - 30 * MINUTE;
        Self { times, begin }
    }

    fn timetable(&self) -> Timetable {
        let (first, last) = (self.begin, self.begin + 10 * HOUR);
        Timetable::following(move |after| {
            let mut times = (0..=10).map(|hours| first + HOUR * hours);
            times.find(|time| *time > after && *time <= last)
        })
    }

    /// Lets a schedule begin then, and nobody run it since.
    async fn begin(&self, home: &Home, name: &str) {
        let micros = self.begin.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let micros = u64::try_from(micros.as_micros()).unwrap();
        let firing = quorate::queue::Firing {
            schedule: name.to_owned(),
            after: None,
            moment: Some(quorate::Micros::new(micros - 1)),
            job: None,
        };
        let key = quorate::Key::new(home.fleet().namespace(), "times").unwrap();
        let port = home.fleet().queue_port();
        let options = crate::suites::queue::options();
        port.fire(&key, &firing, options).await.unwrap();
    }
}

/// However many instances run it, and none is left out.
pub async fn each_time_of_a_schedule_is_one_job(home: Home) {
    let every = Duration::from_millis(40);
    let stop = CancellationToken::new();
    let mut running = Vec::new();
    for name in ["one", "two", "three"] {
        let times = home.instance(name).await.queue(&TIMES);
        let schedule = times.schedule("often", Timetable::every(every).unwrap(), same);
        running.push(tokio::spawn(schedule.run(stop.clone())));
    }
    let times = home.fleet().queue(&TIMES);
    eventually("six times have come", async || {
        times.stats().await.unwrap().ready >= 6
    })
    .await;
    stop.cancel();
    for it in running {
        within("the end of the schedule", it)
            .await
            .unwrap()
            .unwrap();
    }
    let queued = queued(&times).await;
    let apart = queued.windows(2).map(|two| two[1].duration_since(two[0]));
    assert!(
        apart.into_iter().all(|it| it.unwrap() == every),
        "{queued:?}"
    );
    let last = times.schedules().await.unwrap();
    assert_eq!(
        (last.len(), &*last[0].name, Some(&last[0].last)),
        (1, "often", queued.last())
    );
}

/// The last ones, as many as are asked for, once.
pub async fn missed_times_are_made_up_for(home: Home) {
    let past = Past::of(&home).await;
    let end = past.begin + 10 * HOUR;
    for (name, catch_up, hours) in [
        ("none", 0, 0),
        ("one", 1, 1),
        ("three", 3, 3),
        ("all", 99, 11),
    ] {
        past.begin(&home, name).await;
        for expected in [hours, 0] {
            let schedule = past.times.schedule(name, past.timetable(), same);
            // It ends with its timetable.
            let run = schedule.catch_up(catch_up).run(CancellationToken::new());
            within("the end of the timetable", run).await.unwrap();
            let times = (0..expected).rev().map(|hour| end - HOUR * hour);
            assert_eq!(
                queued(&past.times).await,
                times.collect::<Vec<_>>(),
                "{name}"
            );
            past.times.purge(JobPlace::Ready, 99).await.unwrap();
        }
    }
}

/// What was before it begins was not missed.
pub async fn a_new_schedule_makes_up_for_nothing(home: Home) {
    let past = Past::of(&home).await;
    let schedule = past.times.schedule("new", past.timetable(), same);
    let run = schedule.catch_up(9).run(CancellationToken::new());
    within("the end of the timetable", run).await.unwrap();
    assert!(queued(&past.times).await.is_empty());
    // Forgotten, it is new again.
    past.begin(&home, "old").await;
    assert!(past.times.unschedule("old").await.unwrap());
    let schedule = past.times.schedule("old", past.timetable(), same);
    let run = schedule.catch_up(9).run(CancellationToken::new());
    within("the end of the timetable", run).await.unwrap();
    assert!(queued(&past.times).await.is_empty());
}

/// Where they say so, no time has a job while that of another goes on.
pub async fn jobs_of_a_schedule_have_options(home: Home) {
    let past = Past::of(&home).await;
    past.begin(&home, "one").await;
    let schedule = past.times.schedule("one", past.timetable(), same);
    let schedule = schedule.options(JobOptions::new().unique("one").tags(["late"]));
    let run = schedule.catch_up(3).run(CancellationToken::new());
    within("the end of the timetable", run).await.unwrap();
    let end = past.begin + 10 * HOUR;
    assert_eq!(queued(&past.times).await, [end - 2 * HOUR]);
}

/// Before it runs.
pub async fn a_schedule_that_cannot_run_is_refused(home: Home) {
    let times = home.fleet().queue(&TIMES);
    let never = || Timetable::following(|_| None);
    let still = Timetable::following(Some);
    for (field, schedule) in [
        ("schedule", times.schedule("a b", never(), same)),
        (
            "timeout",
            times
                .schedule("a", never(), same)
                .options(JobOptions::new().timeout(Duration::ZERO)),
        ),
        ("timetable", times.schedule("a", still, same)),
    ] {
        let run = schedule.run(CancellationToken::new());
        let error = within("the refusal", run).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(field), "{field}: {error}");
    }
}
