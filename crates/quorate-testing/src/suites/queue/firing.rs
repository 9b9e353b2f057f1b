//! What schedules queue, and when.

use std::time::Duration;

use futures_util::future::join_all;
use quorate::Micros;
use quorate::queue::{Fired, Firing, JobState, NewJob, Pushed, Unique, UniqueScope};

use super::{HOUR, MINUTE, Queue, SECOND, inputs, job, options};
use crate::harness::Home;

fn firing(after: Option<Micros>, moment: Option<Micros>, job: Option<NewJob>) -> Firing {
    Firing {
        schedule: "nightly".to_owned(),
        after,
        moment,
        job,
    }
}

impl Queue {
    async fn fire(&self, it: &Firing) -> (Fired, Micros) {
        self.port.fire(&self.key, it, options()).await.unwrap()
    }

    /// Lets the schedule begin now; that moment.
    async fn begin(&self) -> Micros {
        let (fired, now) = self.fire(&firing(None, None, None)).await;
        assert_eq!(fired, Fired::Done(None));
        now
    }
}

/// Whoever asks, and however often.
pub async fn a_moment_is_fired_once(home: Home) {
    let queue = Queue::new(&home);
    let begun = queue.begin().await;
    home.elapse(MINUTE).await;
    let moment = begun.plus(SECOND);
    let all: Vec<_> = (0..10)
        .map(|_| firing(Some(begun), Some(moment), Some(job("a"))))
        .collect();
    let fired = join_all(all.iter().map(|it| queue.fire(it))).await;
    let did = |it: &&(Fired, Micros)| it.0 == Fired::Done(Some(Pushed::New));
    assert_eq!(fired.iter().filter(did).count(), 1);
    let late = |it: &&(Fired, Micros)| it.0 == Fired::Other(Some(moment));
    assert_eq!(fired.iter().filter(late).count(), 9);
    // One whose reply was lost learns that it has been.
    assert_eq!(queue.fire(&all[0]).await.0, Fired::Other(Some(moment)));
    assert_eq!(inputs(&queue.take(1, 1, 9).await), ["a"]);
}

/// By the clock of the home.
pub async fn a_moment_that_has_not_come_is_not_fired(home: Home) {
    let queue = Queue::new(&home);
    let begun = queue.begin().await;
    let next = firing(Some(begun), Some(begun.plus(HOUR)), Some(job("a")));
    for _ in 0..2 {
        let Fired::NotYet(wait) = queue.fire(&next).await.0 else {
            panic!("it has not come");
        };
        assert!(wait > HOUR - MINUTE && wait <= HOUR, "{wait:?}");
    }
    assert!(queue.take(1, 1, 9).await.is_empty());
    home.elapse(HOUR + SECOND).await;
    let (fired, now) = queue.fire(&next).await;
    assert_eq!(fired, Fired::Done(Some(Pushed::New)));
    assert!(now.since(begun) > HOUR);
    assert_eq!(inputs(&queue.take(1, 2, 9).await), ["a"]);
}

/// As a push of it would be: later, or not at all where another has its key. The moment is over all the same.
pub async fn what_is_fired_is_pushed_as_it_says(home: Home) {
    let queue = Queue::new(&home);
    let begun = queue.begin().await;
    home.elapse(HOUR).await;
    let unique = |delay| NewJob {
        delay,
        unique: Some(Unique {
            key: "one".to_owned(),
            scope: UniqueScope::UntilEnded,
        }),
        ..job("a")
    };
    let (first, second) = (unique(HOUR), unique(Duration::ZERO));
    let moment = |nth| begun.plus(SECOND * nth);
    let fired = queue
        .fire(&firing(Some(begun), Some(moment(1)), Some(first.clone())))
        .await;
    assert_eq!(fired.0, Fired::Done(Some(Pushed::New)));
    assert!(matches!(queue.look(first.id).await, Some(JobState::Due(_))));
    let fired = queue
        .fire(&firing(Some(moment(1)), Some(moment(2)), Some(second)))
        .await;
    assert_eq!(fired.0, Fired::Done(Some(Pushed::Same(first.id))));
    let known = firing(Some(moment(2)), Some(moment(3)), Some(first));
    assert_eq!(queue.fire(&known).await.0, Fired::Done(Some(Pushed::Known)));
    let schedules = queue.port.schedules(&queue.key, options()).await.unwrap();
    assert_eq!(schedules, [("nightly".to_owned(), moment(3))]);
}

/// Each by itself; what was forgotten begins anew.
pub async fn schedules_are_listed_and_forgotten(home: Home) {
    let queue = Queue::new(&home);
    let none = queue.port.schedules(&queue.key, options()).await.unwrap();
    assert!(none.is_empty());
    let begun = queue.begin().await;
    for name in ["b", "a"] {
        let other = Firing {
            schedule: name.to_owned(),
            ..firing(None, Some(begun), None)
        };
        assert_eq!(queue.fire(&other).await.0, Fired::Done(None));
    }
    let all = queue.port.schedules(&queue.key, options()).await.unwrap();
    let names = ["a", "b", "nightly"].map(|name| (name.to_owned(), begun));
    assert_eq!(all, names);
    for is_known in [true, false] {
        let gone = queue.port.unschedule(&queue.key, "a", options()).await;
        assert_eq!(gone.unwrap(), is_known);
    }
    let left = queue.port.schedules(&queue.key, options()).await.unwrap();
    assert_eq!(left, names[1..]);
    let next = firing(None, Some(begun.plus(SECOND)), None);
    let again = Firing {
        schedule: "a".to_owned(),
        ..firing(Some(begun), None, None)
    };
    assert_eq!(queue.fire(&again).await.0, Fired::Other(None));
    assert_eq!(queue.fire(&next).await.0, Fired::Other(Some(begun)));
}

/// Before anything is done.
pub async fn a_moment_that_cannot_be_is_refused(home: Home) {
    let queue = Queue::new(&home);
    let now = queue.begin().await;
    let named = |schedule: &str| Firing {
        schedule: schedule.to_owned(),
        ..firing(None, None, None)
    };
    let endless = NewJob {
        attempts: 0,
        ..job("a")
    };
    let long = "x".repeat(129);
    for (field, it) in [
        ("schedule", named("")),
        ("schedule", named("a b")),
        ("schedule", named(&long)),
        ("moment", firing(Some(now), Some(now), None)),
        ("attempts", firing(Some(now), None, Some(endless))),
    ] {
        let error = queue.port.fire(&queue.key, &it, options()).await;
        let error = error.unwrap_err();
        assert!(error.to_string().contains(field), "{field}: {error}");
    }
    let error = queue.port.unschedule(&queue.key, "a b", options()).await;
    assert!(error.unwrap_err().to_string().contains("schedule"));
}
