//! What the scripts of queues do with groups is what the pure functions do: two queues, whose jobs leave each other jobs.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use quorate::queue::{
    Ask, Bring, Condition, Effect, EffectName, Gate, JobId, JobPlace, JobState, LeaseNumber, Left,
    MOST_BROUGHT, MemberOf, NewJob, QueueLimits, QueueStats, Said, Settled, Settlement, Work,
};
use quorate::{Key, Micros};
use quorate_testing::servers::ServerKind;

use crate::agreement::{Home, Subject, agree, options};

const HOUR: Duration = Duration::from_secs(3600);
const IDS: u8 = 12;

#[derive(Clone, Debug)]
enum Step {
    Push(bool, Vec<u8>),
    /// What it says of the first of what is or was delivered, in order.
    Turn(bool, Vec<How>, usize, bool),
    /// Effects that were handed out, so many of the first of them, and whether they stay to be performed again; whether that is
    /// said.
    Perform(usize, bool, bool),
    /// Whether what is to be brought is wanted.
    Take(bool, bool),
    Told(bool, u8),
    LookGroup(bool, u8, bool),
    Cancel(bool, u8),
    Remove(bool, u8),
    Purge(bool, JobPlace),
    Redrive(bool, u8),
    Fsck(bool),
    Stats(bool),
    Elapse(u32),
}

#[derive(Clone, Debug)]
enum How {
    Left(Vec<Leaves>, Vec<Says>, u32),
    Done,
    Dead,
    Failed,
    Silent,
}

#[derive(Clone, Debug)]
struct Leaves {
    is_post: bool,
    id: u8,
    hours: u32,
    keep: u32,
    after: Option<(bool, usize, Vec<u8>)>,
}

#[derive(Clone, Copy, Debug)]
enum Says {
    Set(u8),
    Append(u8),
    Fix(u8),
}

fn leaves() -> impl Strategy<Value = Leaves> {
    let on = proptest::collection::btree_set(0..IDS, 1..4);
    let after = (any::<bool>(), 0..3_usize, on).prop_map(|(succeeds, least, on)| {
        (succeeds, least.min(on.len()), on.into_iter().collect())
    });
    let hours = prop_oneof![3 => Just(0), 1 => 1..3_u32];
    (
        any::<bool>(),
        0..IDS,
        hours,
        0..3_u32,
        proptest::option::of(after),
    )
        .prop_map(|(is_post, id, hours, keep, after)| Leaves {
            is_post,
            id,
            hours,
            keep,
            after,
        })
}

fn how() -> impl Strategy<Value = How> {
    let says = prop_oneof![
        1 => any::<u8>().prop_map(Says::Set),
        3 => any::<u8>().prop_map(Says::Append),
        1 => any::<u8>().prop_map(Says::Fix),
    ];
    let left = proptest::collection::vec(leaves(), 0..5);
    let said = proptest::collection::vec(says, 0..3);
    prop_oneof![
        5 => (left, said, 0..4_u32).prop_map(|(left, said, keep)| How::Left(left, said, keep)),
        3 => Just(How::Done),
        1 => Just(How::Dead),
        1 => Just(How::Failed),
        1 => Just(How::Silent),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let queue = any::<bool>;
    let place = || {
        proptest::sample::select(vec![
            JobPlace::Ready,
            JobPlace::Due,
            JobPlace::Dead,
            JobPlace::Ended,
        ])
    };
    let step = prop_oneof![
        3 => (queue(), proptest::collection::vec(0..IDS, 1..3)).prop_map(|(queue, ids)| Step::Push(queue, ids)),
        8 => (queue(), proptest::collection::vec(how(), 0..4), 0..4_usize, queue())
            .prop_map(|(queue, how, want, takes)| Step::Turn(queue, how, want, takes)),
        7 => (0..6_usize, proptest::bool::weighted(0.3), proptest::bool::weighted(0.8))
            .prop_map(|(many, keep, say)| Step::Perform(many, keep, say)),
        2 => (queue(), queue()).prop_map(|(queue, want)| Step::Take(queue, want)),
        1 => (queue(), 0..IDS).prop_map(|(queue, id)| Step::Told(queue, id)),
        2 => (queue(), 0..IDS, queue()).prop_map(|(queue, id, wait)| Step::LookGroup(queue, id, wait)),
        1 => (queue(), 0..IDS).prop_map(|(queue, id)| Step::Cancel(queue, id)),
        1 => (queue(), 0..IDS).prop_map(|(queue, id)| Step::Remove(queue, id)),
        1 => (queue(), place()).prop_map(|(queue, place)| Step::Purge(queue, place)),
        1 => (queue(), 0..IDS).prop_map(|(queue, id)| Step::Redrive(queue, id)),
        2 => queue().prop_map(Step::Fsck),
        2 => queue().prop_map(Step::Stats),
        3 => (0..3_u32).prop_map(|halves| Step::Elapse(2 * halves + 1)),
    ];
    proptest::collection::vec(step, 1..100)
}

fn id(number: u8) -> JobId {
    JobId::from_bytes([number; 16])
}

fn name(is_post: bool) -> &'static str {
    if is_post { "post" } else { "mail" }
}

fn job(number: u8) -> NewJob {
    NewJob {
        id: id(number),
        input: Bytes::from(vec![number; 3]),
        delay: Duration::ZERO,
        priority: 0,
        group: String::new(),
        attempts: 2,
        expires: None,
        keep: HOUR,
        member_of: None,
        unique: None,
    }
}

/// A delivery, and the group of what it leaves.
type Held = (JobId, LeaseNumber, MemberOf);

#[derive(Default)]
struct Groups {
    held: BTreeMap<bool, Vec<Held>>,
    /// What is to be performed, and by which queue it was handed out.
    effects: Vec<(bool, Effect)>,
    turns: u64,
}

impl Groups {
    fn settled(&self, home: &Home, is_post: bool, how: &[How]) -> Vec<Settled> {
        let held = self.held.get(&is_post).into_iter().flatten();
        let said = held.zip(how).filter_map(|((id, lease, group), how)| {
            let (id, lease, settlement) = (*id, *lease, settlement(home, group, how)?);
            Some(Settled {
                id,
                lease,
                settlement,
            })
        });
        said.collect()
    }

    /// Remembers what is to be performed. Says what it is, whatever order it came in.
    fn took(&mut self, is_post: bool, effects: Vec<Effect>) -> String {
        let mut text: Vec<_> = effects.iter().map(|it| format!("{it:?}")).collect();
        text.sort();
        let mut effects: Vec<_> = effects.into_iter().map(|it| (is_post, it)).collect();
        effects.sort_by_key(|(_, it)| it.name());
        self.effects.extend(effects);
        text.join("\n")
    }

    async fn turn(
        &mut self,
        home: &Home,
        is_post: bool,
        settled: Vec<Settled>,
        want: usize,
        takes_groups: bool,
    ) -> String {
        self.turns += 1;
        let ask = Ask {
            worker: 1,
            number: self.turns,
            settled,
            want,
            lease: HOUR,
            takes_groups,
            limits: QueueLimits::NONE,
        };
        let (port, key) = (home.fleet.queue_port(), home.key(name(is_post)));
        let turn = port.turn(&key, &ask, options()).await.unwrap();
        let held = turn.delivered.iter().map(|it| {
            let own = || MemberOf {
                queue: key.name().to_owned(),
                group: it.id,
            };
            (it.id, it.lease, it.member_of.clone().unwrap_or_else(own))
        });
        let held: Vec<_> = held.collect();
        let delivered: Vec<_> = turn
            .delivered
            .iter()
            .map(|it| format!("{} {:?} {:?}", it.id, it.input, it.member_of))
            .collect();
        self.held.entry(is_post).or_default().splice(0..0, held);
        let mut groups = turn.groups;
        groups.sort();
        let effects = self.took(is_post, turn.effects);
        format!("{:?} {delivered:?} {effects} {groups:?}", turn.settled)
    }

    async fn perform(&mut self, home: &Home, many: usize, keep: bool, say: bool) -> String {
        let some: Vec<_> = self.effects.iter().take(many).cloned().collect();
        if !keep {
            self.effects.drain(..some.len());
        }
        let (port, mut text) = (home.fleet.queue_port(), String::new());
        for (from, effect) in some {
            let to = Key::new(home.fleet.namespace(), effect.queue()).unwrap();
            let performed = vec![effect.name()];
            match effect {
                Effect::Push(_, job) => {
                    let pushed = port.push(&to, &[job], options()).await.unwrap();
                    text.push_str(&format!("{pushed:?} "));
                }
                Effect::Ended(_, ended) => {
                    let bring = Bring {
                        ended: vec![ended],
                        want: MOST_BROUGHT,
                        ..Bring::default()
                    };
                    let effects = port.bring(&to, &bring, options()).await.unwrap();
                    text.push_str(&self.took(to.name().starts_with("post"), effects));
                }
            }
            if say {
                text.push_str(&self.bring(home, from, performed, MOST_BROUGHT).await);
            }
        }
        text
    }

    async fn bring(
        &mut self,
        home: &Home,
        is_post: bool,
        performed: Vec<EffectName>,
        want: usize,
    ) -> String {
        let key = home.key(name(is_post));
        let bring = Bring {
            performed,
            want,
            ..Bring::default()
        };
        let effects = home.fleet.queue_port().bring(&key, &bring, options()).await;
        self.took(is_post, effects.unwrap())
    }
}

fn settlement(home: &Home, group: &MemberOf, how: &How) -> Option<Settlement> {
    let result = Bytes::from_static(b"done");
    Some(match how {
        How::Left(left, said, keep) => {
            let left = left.iter().map(|it| left_job(home, group, it)).collect();
            let said = said.iter().map(|it| match it {
                Says::Set(value) => Said::Set(Bytes::from(vec![*value; 2])),
                Says::Append(value) => Said::Append(Bytes::from(vec![*value; 3])),
                Says::Fix(value) => Said::Fix(Bytes::from(vec![*value])),
            });
            let (group, said) = (group.clone(), said.collect());
            let work = Some(Box::new(Work { group, left, said }));
            Settlement::Succeeded {
                result,
                keep: HOUR * *keep,
                work,
            }
        }
        How::Done => Settlement::Succeeded {
            result,
            keep: HOUR,
            work: None,
        },
        How::Dead => Settlement::Dead("never".to_owned()),
        How::Failed => Settlement::Failed {
            after: Duration::ZERO,
            error: "no".to_owned(),
        },
        How::Silent => return None,
    })
}

fn left_job(home: &Home, group: &MemberOf, it: &Leaves) -> Left {
    let gate = |(succeeds, least, on): &(bool, usize, Vec<u8>)| {
        let least = u32::try_from(*least).unwrap();
        let condition = if *succeeds {
            Condition::Succeeded(least)
        } else {
            Condition::Done(least)
        };
        let on = on.iter().copied().map(id).collect();
        Gate { condition, on }
    };
    Left {
        queue: home.name(name(it.is_post)),
        job: NewJob {
            delay: HOUR * it.hours,
            keep: HOUR * it.keep,
            member_of: Some(group.clone()),
            ..job(it.id)
        },
        after: it.after.as_ref().map(gate),
    }
}

/// With whether anybody is late for what is to be brought, but without moments.
fn counted(mut stats: QueueStats) -> String {
    let is_late = stats.effects_waited.take().is_some();
    (stats.waited, stats.next_due) = (None, None);
    format!("{stats:?} {is_late}")
}

/// Without moments.
fn shown(state: Option<JobState>) -> String {
    match state {
        Some(JobState::Due(_)) => format!("{:?}", JobState::Due(Micros::new(0))),
        state => format!("{state:?}"),
    }
}

impl Subject for Groups {
    type Step = Step;
    type Names = ();

    fn names() {}

    async fn answer(&mut self, home: &Home, step: &Step, (): &()) -> String {
        let port = home.fleet.queue_port();
        let key = |is_post: &bool| home.key(name(*is_post));
        let answer = match step {
            Step::Push(queue, ids) => {
                let jobs: Vec<_> = ids.iter().copied().map(job).collect();
                format!(
                    "{:?}",
                    port.push(&key(queue), &jobs, options()).await.unwrap()
                )
            }
            Step::Turn(queue, how, want, takes_groups) => {
                let settled = self.settled(home, *queue, how);
                self.turn(home, *queue, settled, *want, *takes_groups).await
            }
            Step::Perform(many, keep, say) => self.perform(home, *many, *keep, *say).await,
            Step::Take(queue, is_wanted) => {
                // All of it: in which order it is handed out, moments decide that differ.
                let want = if *is_wanted { MOST_BROUGHT } else { 0 };
                self.bring(home, *queue, Vec::new(), want).await
            }
            Step::Told(queue, number) => {
                let bring = Bring {
                    told: vec![id(*number)],
                    ..Bring::default()
                };
                format!(
                    "{:?}",
                    port.bring(&key(queue), &bring, options()).await.unwrap()
                )
            }
            Step::LookGroup(queue, number, wait) => {
                let view = port
                    .look_group(&key(queue), id(*number), *wait, options())
                    .await;
                format!("{:?}", view.unwrap())
            }
            Step::Cancel(queue, number) => shown(
                port.cancel(&key(queue), id(*number), options())
                    .await
                    .unwrap(),
            ),
            Step::Remove(queue, number) => {
                let ids = [id(*number)];
                format!(
                    "{:?}",
                    port.remove(&key(queue), &ids, options()).await.unwrap()
                )
            }
            Step::Purge(queue, place) => {
                format!(
                    "{:?}",
                    port.purge(&key(queue), *place, 2, options()).await.unwrap()
                )
            }
            Step::Redrive(queue, number) => {
                let ids = [id(*number)];
                format!(
                    "{:?}",
                    port.redrive(&key(queue), &ids, options()).await.unwrap()
                )
            }
            Step::Fsck(queue) => {
                let (mut strays, mut next) = (Vec::new(), None);
                loop {
                    let page = port
                        .fsck(&key(queue), next.as_ref(), false, options())
                        .await
                        .unwrap();
                    strays.extend(page.strays);
                    next = page.next;
                    if next.is_none() {
                        break format!("{strays:?}");
                    }
                }
            }
            Step::Stats(queue) => counted(port.stats(&key(queue), options()).await.unwrap()),
            Step::Elapse(halves) => home.elapse_with_keys(HOUR / 2 * *halves).await,
        };
        let is_looked_at = !matches!(
            step,
            Step::LookGroup(..) | Step::Fsck(_) | Step::Stats(_) | Step::Take(..)
        );
        let mut states = Vec::new();
        for number in (0..IDS).filter(|_| is_looked_at) {
            let queue = key(&(number % 2 == 0));
            let view = port.look_group(&queue, id(number), false, options()).await;
            states.push(format!("{:?}", view.unwrap()));
        }
        format!("{answer}; {states:#?}")
    }
}

const ROUNDS: usize = 20;

#[tokio::test]
async fn group_scripts_agree_on_redis() {
    agree::<Groups>(ServerKind::Redis, ROUNDS, steps()).await;
}

#[tokio::test]
async fn group_scripts_agree_on_valkey() {
    agree::<Groups>(ServerKind::Valkey, ROUNDS, steps()).await;
}

#[tokio::test]
async fn group_scripts_agree_on_a_cluster() {
    agree::<Groups>(ServerKind::RedisCluster, ROUNDS, steps()).await;
}
