//! The scripts of consumer groups do what the pure functions do: random sequences of operations get the
//! same answers on a server and in process.

use std::time::Duration;

use proptest::prelude::*;
use quorate::events::Channel;
use quorate::history::{
    Append, Content, From, PageLimit, Settle, Settlement, Take, TakeId, TakeReply, Taken,
};
use quorate::{Keep, Key, Position};
use quorate_testing::servers::ServerKind;

use crate::agreement::{Home, Subject, agree, options};

const SEQUENCES: usize = 60;
/// Steps are so long that the real time which passes on the server between two of them is nothing.
const HOUR: Duration = Duration::from_secs(3600);
/// A quarter: a moment never falls on an end, where microseconds would decide.
const QUARTER: Duration = Duration::from_secs(900);

#[derive(Clone, Debug)]
enum Step {
    Append {
        size: usize,
        hours: u32,
        messages: u32,
    },
    Join(Place),
    Take {
        take: u8,
        messages: u32,
        bytes: u64,
        hours: u32,
        again: Option<u32>,
    },
    Settle {
        settlements: Vec<(u64, u8, Verb)>,
        again: bool,
    },
    Status,
    Delete,
    Elapse {
        quarters: u32,
    },
}

#[derive(Clone, Debug)]
enum Place {
    Beginning,
    Latest(u32),
    /// After the `nth` position handed out so far, or of another epoch or message.
    After {
        nth: usize,
        epoch: i64,
        mark: u32,
    },
}

#[derive(Clone, Copy, Debug)]
enum Verb {
    Acknowledge,
    Extend(u32),
    Retry(u32),
    Return,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let append = (0..400_usize, 1..9_u32, prop_oneof![Just(4_u32), Just(200)]);
    let append = append.prop_map(|(size, hours, messages)| Step::Append {
        size,
        hours,
        messages,
    });
    let after = (
        any::<usize>(),
        prop_oneof![8 => Just(0_i64), 1 => Just(-5), 1 => Just(5)],
        prop_oneof![8 => Just(0_u32), 1 => Just(1)],
    );
    let join = prop_oneof![
        2 => Just(Place::Beginning),
        1 => (0..4_u32).prop_map(Place::Latest),
        2 => after.prop_map(|(nth, epoch, mark)| Place::After { nth, epoch, mark }),
    ];
    let take = (
        any::<u8>(),
        1..6_u32,
        prop_oneof![Just(700_u64), Just(1 << 20)],
        1..5_u32,
        proptest::option::weighted(0.3, 0..3_u32),
    );
    let take = take.prop_map(|(take, messages, bytes, hours, again)| Step::Take {
        take: take % 6,
        messages,
        bytes,
        hours,
        again,
    });
    let verb = prop_oneof![
        3 => Just(Verb::Acknowledge),
        1 => (1..4_u32).prop_map(Verb::Extend),
        1 => (0..4_u32).prop_map(Verb::Retry),
        1 => Just(Verb::Return),
    ];
    let settlements = proptest::collection::vec((0..14_u64, 0..6_u8, verb), 1..12);
    let settle = (settlements, proptest::bool::weighted(0.3))
        .prop_map(|(settlements, again)| Step::Settle { settlements, again });
    let step = prop_oneof![
        20 => append,
        4 => join.prop_map(Step::Join),
        20 => take,
        20 => settle,
        4 => Just(Step::Status),
        1 => Just(Step::Delete),
        8 => (0..8_u32).prop_map(|quarters| Step::Elapse { quarters: 2 * quarters + 1 }),
    ];
    proptest::collection::vec(step, 1..90)
}

/// The positions that were given out.
#[derive(Default)]
struct Groups {
    positions: Vec<Position>,
}

impl Groups {
    /// Epochs differ between homes; whether one is that of the first message does not.
    fn epoch(&self, epoch: u64) -> bool {
        self.positions.first().map(|first| first.epoch()) == Some(epoch)
    }

    async fn append(
        &mut self,
        home: &Home,
        key: &Key,
        (size, hours, messages): (usize, u32, u32),
    ) -> String {
        let channel = Channel {
            name: "group-tests".into(),
            sharded: false,
        };
        let keep = Keep {
            time: HOUR * hours,
            messages,
            bytes: 1 << 20,
        };
        let number = u128::try_from(self.positions.len()).unwrap();
        let message = vec![0; 40 + size].into();
        let append = Append::new(channel, message, number.to_be_bytes(), keep);
        let port = home.fleet.history_port();
        let appended = port.append(key, append, options()).await.unwrap();
        self.positions.push(appended.position);
        format!("appended {}", appended.position.offset())
    }

    fn place(&self, place: &Place) -> Option<From> {
        Some(match place {
            Place::Beginning => From::Beginning,
            Place::Latest(count) => From::Latest(*count),
            Place::After { nth, epoch, mark } => {
                let at = self.positions.get(nth % self.positions.len().max(1))?;
                let other = (at.epoch().wrapping_add_signed(*epoch), at.mark() ^ mark);
                From::After(Position::new(other.0, at.offset(), other.1))
            }
        })
    }

    fn shown(&self, taken: &Taken) -> String {
        let handed = taken.deliveries.iter().map(|it| {
            let content = match &it.content {
                Content::Message(message) => format!("{} bytes", message.len()),
                Content::Gone(missed) => format!("{missed:?} missing"),
            };
            (it.offset, it.attempt, content)
        });
        let handed: Vec<_> = handed.collect();
        let eighths = taken.next.map(|next| (next.as_secs_f64() / 450.0).round());
        let epoch = self.epoch(taken.epoch);
        format!("taken {handed:?} of {epoch}, next {eighths:?}")
    }
}

impl Subject for Groups {
    type Step = Step;
    type Names = ();

    fn names() -> Self::Names {}

    async fn answer(&mut self, home: &Home, step: &Step, (): &Self::Names) -> String {
        let port = home.fleet.group_port().unwrap();
        let key = home.key("topic");
        match step {
            Step::Append {
                size,
                hours,
                messages,
            } => self.append(home, &key, (*size, *hours, *messages)).await,
            Step::Join(place) => {
                let Some(from) = self.place(place) else {
                    return "no position yet".to_owned();
                };
                let joined = port.join(&key, "group", from, options()).await;
                format!("joined {}", joined.unwrap())
            }
            Step::Take {
                take,
                messages,
                bytes,
                hours,
                again,
            } => {
                let take = Take {
                    id: TakeId::from_bytes([*take; 8]),
                    limit: PageLimit {
                        messages: *messages,
                        bytes: *bytes,
                    },
                    visibility: HOUR * *hours + QUARTER / 2,
                    again: again.map(|hours| HOUR * hours + QUARTER / 4),
                };
                match port.take(&key, "group", take, options()).await.unwrap() {
                    TakeReply::Taken(taken) => self.shown(&taken),
                    TakeReply::Deleted => "deleted".to_owned(),
                }
            }
            Step::Settle { settlements, again } => {
                let settlements: Vec<_> = settlements.iter().map(settlement).collect();
                let settled = port.settle(&key, "group", &settlements, *again, options());
                format!("settled {:?}", settled.await.unwrap())
            }
            Step::Status => match port.status(&key, "group", options()).await.unwrap() {
                Some(status) => format!(
                    "pending {}, lag {}, at {}-{}",
                    status.pending,
                    status.lag,
                    self.epoch(status.position.epoch()),
                    status.position.offset()
                ),
                None => "no group".to_owned(),
            },
            Step::Delete => {
                let deleted = port.delete(&key, "group", options()).await;
                format!("deleted {}", deleted.unwrap())
            }
            Step::Elapse { quarters } => home.elapse(QUARTER * *quarters),
        }
    }
}

fn settlement((offset, take, verb): &(u64, u8, Verb)) -> Settlement {
    Settlement {
        offset: *offset,
        take: TakeId::from_bytes([*take; 8]),
        settle: match *verb {
            Verb::Acknowledge => Settle::Acknowledge,
            Verb::Extend(hours) => Settle::Extend(HOUR * hours + QUARTER / 2),
            Verb::Retry(hours) => Settle::Retry(HOUR * hours + QUARTER / 2),
            Verb::Return => Settle::Return,
        },
    }
}

async fn group_scripts_agree_with_the_pure_functions(kind: ServerKind) {
    agree::<Groups>(kind, SEQUENCES, steps()).await;
}

#[tokio::test]
async fn group_scripts_agree_on_redis() {
    group_scripts_agree_with_the_pure_functions(ServerKind::Redis).await;
}

#[tokio::test]
async fn group_scripts_agree_on_valkey() {
    group_scripts_agree_with_the_pure_functions(ServerKind::Valkey).await;
}

#[tokio::test]
async fn group_scripts_agree_on_a_cluster() {
    group_scripts_agree_with_the_pure_functions(ServerKind::RedisCluster).await;
}
