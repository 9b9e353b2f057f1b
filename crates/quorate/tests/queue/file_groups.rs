//! Groups in the home in a file: what is there again, and goes on.

use std::time::Duration;

use bytes::Bytes;
use quorate::queue::{
    Ask, Bring, Condition, Effect, EffectName, Gate, GroupView, JobId, Left, MOST_BROUGHT,
    MemberOf, NewJob, QueueLimits, QueuePort, Said, Settled, Settlement, Work,
};
use quorate::{CallOptions, Fleet, Key};
use quorate_testing::harness::file_url;

const HOUR: Duration = Duration::from_secs(3600);

fn options() -> CallOptions {
    CallOptions::until(tokio::time::Instant::now() + Duration::from_secs(5))
}

fn job(group: Option<MemberOf>) -> NewJob {
    NewJob {
        id: JobId::random(),
        input: Bytes::from_static(b"input"),
        delay: Duration::ZERO,
        priority: 0,
        group: String::new(),
        attempts: 3,
        expires: None,
        keep: HOUR,
        member_of: group,
        unique: None,
    }
}

fn done(work: Option<Work>) -> Settlement {
    Settlement::Succeeded {
        result: Bytes::new(),
        keep: HOUR,
        work: work.map(Box::new),
    }
}

/// The home after its process was gone.
struct Opened {
    fleet: Fleet,
    key: Key,
    turns: u64,
}

impl Opened {
    async fn at(url: &str) -> Self {
        let fleet = Fleet::connect(url).await.unwrap();
        let key = Key::new(fleet.namespace(), "mail").unwrap();
        Self {
            fleet,
            key,
            turns: 0,
        }
    }

    fn port(&self) -> std::sync::Arc<dyn QueuePort> {
        self.fleet.queue_port()
    }

    /// Takes jobs, settles them so, and returns what is to be brought.
    async fn settle(&mut self, count: usize, how: impl Fn(JobId) -> Settlement) -> Vec<Effect> {
        let mut ask = Ask {
            worker: 1,
            number: self.turns + 1,
            settled: Vec::new(),
            want: count,
            lease: HOUR,
            takes_groups: false,
            limits: QueueLimits::NONE,
        };
        let turn = self.port().turn(&self.key, &ask, options()).await.unwrap();
        assert_eq!(turn.delivered.len(), count);
        let settled = turn.delivered.iter().map(|it| Settled {
            id: it.id,
            lease: it.lease,
            settlement: how(it.id),
        });
        self.turns += 2;
        (ask.settled, ask.want, ask.number) = (settled.collect(), 0, self.turns);
        let turn = self.port().turn(&self.key, &ask, options()).await.unwrap();
        assert_eq!(turn.settled, vec![true; count]);
        turn.effects
    }

    async fn effects(&mut self) -> Vec<Effect> {
        let bring = Bring {
            want: MOST_BROUGHT,
            ..Bring::default()
        };
        self.port()
            .bring(&self.key, &bring, options())
            .await
            .unwrap()
    }

    async fn tell(&mut self, effect: &Effect) -> Vec<Effect> {
        let Effect::Ended(_, ended) = effect else {
            panic!("{effect:?}");
        };
        let bring = Bring {
            ended: vec![ended.clone()],
            performed: vec![effect.name()],
            want: MOST_BROUGHT,
            ..Bring::default()
        };
        self.port()
            .bring(&self.key, &bring, options())
            .await
            .unwrap()
    }

    async fn look(&self, group: JobId) -> Option<GroupView> {
        let port = self.port();
        let seen = port.look_group(&self.key, group, false, options()).await;
        seen.unwrap()
    }
}

/// What was to be brought, who waits for whom, and its value; and it is over, and told of, when it would have been.
#[tokio::test]
async fn groups_are_there_again() {
    let place = tempfile::tempdir().unwrap();
    let url = file_url(&place.path().join("home.redb"));
    let mut home = Opened::at(&url).await;
    let first = job(None);
    let group = MemberOf {
        queue: "mail".to_owned(),
        group: first.id,
    };
    let pushed = home.port();
    pushed
        .push(&home.key, std::slice::from_ref(&first), options())
        .await
        .unwrap();
    let (one, two) = (job(Some(group.clone())), job(Some(group.clone())));
    let after = Gate {
        condition: Condition::AllSucceeded,
        on: vec![one.id],
    };
    let left = |job: &NewJob, after: Option<Gate>| Left {
        queue: "mail".to_owned(),
        job: job.clone(),
        after,
    };
    let work = Work {
        group: group.clone(),
        left: vec![left(&one, None), left(&two, Some(after))],
        said: vec![
            Said::Append(Bytes::from_static(b"1")),
            Said::Append(Bytes::from_static(b"2")),
        ],
    };
    let told = home.settle(1, |_| done(Some(work.clone()))).await;
    drop(pushed);
    home.fleet.close().await;

    // Nobody has brought it, so it is handed out at once.
    let mut home = Opened::at(&url).await;
    assert_eq!(home.effects().await, told);
    assert_eq!(home.look(first.id).await.unwrap().open, 1);
    let queued = home.tell(&told[0]).await;
    assert_eq!(queued, [Effect::Push("mail".to_owned(), one.clone())]);
    home.fleet.close().await;

    let mut home = Opened::at(&url).await;
    let view = home.look(first.id).await.unwrap();
    assert_eq!(
        (view.open, view.succeeded, &*view.values),
        (2, 1, &["1".into(), Bytes::from("2")][..])
    );
    assert_eq!(home.effects().await, queued);
    home.port()
        .push(&home.key, std::slice::from_ref(&one), options())
        .await
        .unwrap();
    let told = home.settle(1, |_| done(None)).await;
    let queued = home.tell(&told[0]).await;
    assert_eq!(queued, [Effect::Push("mail".to_owned(), two.clone())]);
    // That it was queued need not be said: that it has ended says so.
    home.port()
        .push(&home.key, std::slice::from_ref(&two), options())
        .await
        .unwrap();
    let told = home.settle(1, |_| done(None)).await;
    assert_eq!(told[0].name(), EffectName::Ended(two.id));
    home.tell(&told[0]).await;
    home.fleet.close().await;

    let mut home = Opened::at(&url).await;
    let view = home.look(first.id).await.unwrap();
    assert_eq!((view.open, view.succeeded, view.values.len()), (0, 3, 2));
    assert_eq!(home.effects().await, []);
    let ask = Ask {
        worker: 1,
        number: 1,
        settled: Vec::new(),
        want: 0,
        lease: HOUR,
        takes_groups: true,
        limits: QueueLimits::NONE,
    };
    let turn = home.port().turn(&home.key, &ask, options()).await.unwrap();
    assert_eq!(turn.groups, [first.id]);
}
