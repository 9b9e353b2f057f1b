//! The scripts of kept topics do what the pure functions do: random sequences of operations get the
//! same answers on a server and in process.

use std::time::Duration;

use proptest::prelude::*;
use quorate::events::Channel;
use quorate::history::{Append, From, PageLimit, Replay};
use quorate::{Keep, Position};
use quorate_testing::servers::ServerKind;

use crate::agreement::{Home, Subject, agree, options};

const SEQUENCES: usize = 40;
/// Steps are so long that the real time which passes on the server between two of them is nothing.
const HOUR: Duration = Duration::from_secs(3600);

#[derive(Clone, Debug)]
enum Step {
    Append {
        /// Few ids, so that some repeat.
        id: u8,
        size: usize,
        hours: u32,
        messages: u32,
        bytes: u64,
        again: Option<u32>,
    },
    Read {
        from: Place,
        messages: u32,
        bytes: u64,
    },
    /// Odd halves: a moment never falls on the end of a message, where microseconds would decide.
    Elapse { halves: u32 },
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

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let append = (
        any::<u8>(),
        0..400_usize,
        1..5_u32,
        prop_oneof![Just(3_u32), Just(200)],
        prop_oneof![Just(600_u64), Just(100_000)],
        proptest::option::weighted(0.3, 0..3_u32),
    );
    let append = append.prop_map(|(id, size, hours, messages, bytes, again)| Step::Append {
        id: id % 24,
        size,
        hours,
        messages,
        bytes,
        again,
    });
    let after = (
        any::<usize>(),
        prop_oneof![8 => Just(0_i64), 1 => Just(-5), 1 => Just(5)],
        prop_oneof![8 => Just(0_u32), 1 => Just(1)],
    );
    let place = prop_oneof![
        1 => Just(Place::Beginning),
        1 => (0..6_u32).prop_map(Place::Latest),
        3 => after.prop_map(|(nth, epoch, mark)| Place::After { nth, epoch, mark }),
    ];
    let read = (place, 1..40_u32, prop_oneof![Just(500_u64), Just(1 << 20)]).prop_map(
        |(from, messages, bytes)| Step::Read {
            from,
            messages,
            bytes,
        },
    );
    let step = prop_oneof![
        5 => append,
        4 => read,
        1 => (0..3_u32).prop_map(|halves| Step::Elapse { halves: 2 * halves + 1 }),
    ];
    proptest::collection::vec(step, 1..60)
}

/// The positions that were given out.
#[derive(Default)]
struct Histories {
    positions: Vec<Position>,
    /// Epochs differ between homes; their order does not.
    epochs: Vec<u64>,
}

impl Histories {
    fn epoch(&mut self, position: Position) -> usize {
        if position.is_origin() {
            return usize::MAX;
        }
        if !self.epochs.contains(&position.epoch()) {
            self.epochs.push(position.epoch());
        }
        self.epochs
            .iter()
            .position(|it| *it == position.epoch())
            .unwrap()
    }

    fn shown(&mut self, position: Position) -> String {
        let epoch = self.epoch(position);
        format!("{epoch}-{}-{:x}", position.offset(), position.mark())
    }
}

impl Subject for Histories {
    type Step = Step;
    type Names = ();

    fn names() -> Self::Names {}

    async fn answer(&mut self, home: &Home, step: &Step, (): &Self::Names) -> String {
        let port = home.fleet.history_port();
        let key = home.key("topic");
        match step {
            Step::Append {
                id,
                size,
                hours,
                messages,
                bytes,
                again,
            } => {
                let channel = Channel {
                    name: "history-tests".into(),
                    sharded: false,
                };
                let keep = Keep {
                    time: HOUR * *hours,
                    messages: *messages,
                    bytes: *bytes,
                };
                let mut message = vec![*id; 40 + size];
                message[13..29].fill(0);
                let mut append = Append::new(channel, message.into(), [*id; 16], keep);
                // An hour and a half: in which hour something was is known for sure.
                append.again = again.map(|hours| HOUR * hours + HOUR / 2 + HOUR / 4);
                match port.append(&key, append, options()).await {
                    Ok(appended) => {
                        self.positions.push(appended.position);
                        self.shown(appended.position)
                    }
                    Err(error) => format!("{:?}", error.outcome()),
                }
            }
            Step::Read {
                from,
                messages,
                bytes,
            } => {
                let from = match from {
                    Place::Beginning => From::Beginning,
                    Place::Latest(count) => From::Latest(*count),
                    Place::After { nth, epoch, mark } => {
                        if self.positions.is_empty() {
                            return "no position yet".to_owned();
                        }
                        let at = self.positions[nth % self.positions.len()];
                        let other = (at.epoch().wrapping_add_signed(*epoch), at.mark() ^ mark);
                        From::After(Position::new(other.0, at.offset(), other.1))
                    }
                };
                let limit = PageLimit {
                    messages: *messages,
                    bytes: *bytes,
                };
                match port.read(&key, from, limit, options()).await.unwrap() {
                    Replay::Lost { top } => format!("lost, top {}", self.shown(top)),
                    Replay::Page {
                        messages,
                        first,
                        top,
                    } => {
                        if top.is_origin() {
                            self.positions.push(top);
                        }
                        let offsets = messages.iter().map(|message| {
                            let offset = u64::from_le_bytes(message[21..29].try_into().unwrap());
                            (offset, message[29], message.len())
                        });
                        let offsets = offsets.collect::<Vec<_>>();
                        format!("{offsets:?} from {first}, top {}", self.shown(top))
                    }
                }
            }
            Step::Elapse { halves } => home.elapse(HOUR / 2 * *halves),
        }
    }
}

async fn history_scripts_agree_with_the_pure_functions(kind: ServerKind) {
    agree::<Histories>(kind, SEQUENCES, steps()).await;
}

#[tokio::test]
async fn history_scripts_agree_on_redis() {
    history_scripts_agree_with_the_pure_functions(ServerKind::Redis).await;
}

#[tokio::test]
async fn history_scripts_agree_on_valkey() {
    history_scripts_agree_with_the_pure_functions(ServerKind::Valkey).await;
}

#[tokio::test]
async fn history_scripts_agree_on_a_cluster() {
    history_scripts_agree_with_the_pure_functions(ServerKind::RedisCluster).await;
}
