//! The scripts of rosters do what the pure functions do: random sequences of operations get the same
//! answers on a server and in process.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use quorate::presence::{InstanceId, Removal, RosterVersion, Standing};
use quorate_testing::servers::ServerKind;

use crate::agreement::{Home, Subject, agree, options};

const SEQUENCES: usize = 60;
/// Steps are so long that the real time which passes on the server between two of them is nothing, and so
/// short that no roster is forgotten.
const UNIT: Duration = Duration::from_secs(20);
const INSTANCES: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Join {
        roster: usize,
        who: usize,
        members: BTreeMap<u8, u8>,
        units: u32,
    },
    Leave {
        roster: usize,
        who: usize,
        ids: Vec<u8>,
    },
    Renew {
        roster: usize,
        who: usize,
        units: u32,
    },
    Remove {
        roster: usize,
        who: usize,
        removal: Removal,
    },
    Read {
        roster: usize,
    },
    /// Odd halves: a moment never falls on the end of a lease, where microseconds would decide.
    Elapse {
        halves: u32,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (roster, who, units) = (0..2_usize, 0..INSTANCES, 1..5_u32);
    let members = proptest::collection::btree_map(0..6_u8, 0..3_u8, 1..5);
    let ids = proptest::collection::btree_set(0..6_u8, 1..4);
    let removal = prop_oneof![3 => Just(Removal::IfEnded), 1 => Just(Removal::Now)];
    let step = prop_oneof![
        4 => (roster.clone(), who.clone(), members, units.clone())
            .prop_map(|(roster, who, members, units)| Step::Join { roster, who, members, units }),
        2 => (roster.clone(), who.clone(), ids).prop_map(|(roster, who, ids)| Step::Leave {
            roster,
            who,
            ids: ids.into_iter().collect(),
        }),
        2 => (roster.clone(), who.clone(), units)
            .prop_map(|(roster, who, units)| Step::Renew { roster, who, units }),
        2 => (roster.clone(), who, removal)
            .prop_map(|(roster, who, removal)| Step::Remove { roster, who, removal }),
        3 => roster.prop_map(|roster| Step::Read { roster }),
        2 => (0..3_u32).prop_map(|halves| Step::Elapse { halves: 2 * halves + 1 }),
    ];
    proptest::collection::vec(step, 1..50)
}

/// The epochs seen: they differ between homes, and must change together.
struct Rosters {
    epochs: Vec<u64>,
}

impl Default for Rosters {
    fn default() -> Self {
        Self { epochs: vec![0] }
    }
}

impl Rosters {
    fn version(&mut self, version: RosterVersion) -> String {
        let known = self.epochs.iter().position(|it| *it == version.epoch);
        let epoch = known.unwrap_or_else(|| {
            self.epochs.push(version.epoch);
            self.epochs.len() - 1
        });
        format!("version {} of epoch {epoch}", version.number)
    }

    fn standing(&mut self, standing: &Standing) -> String {
        let next = standing.next.map(|next| halves(next.remaining));
        let version = self.version(standing.version);
        let Standing {
            at,
            before,
            members,
            ..
        } = standing;
        format!("{version}, {members} members at {at:?} after {before:?}, next ends in {next:?}")
    }
}

impl Subject for Rosters {
    type Step = Step;
    type Names = Vec<InstanceId>;

    fn names() -> Self::Names {
        (0..INSTANCES).map(|_| InstanceId::random()).collect()
    }

    /// Without epochs, and fractions of a unit.
    async fn answer(&mut self, home: &Home, step: &Step, who: &Self::Names) -> String {
        let port = home.fleet.presence_port();
        let key = |roster: usize| home.key(&format!("roster-{roster}"));
        let standing = match step {
            Step::Join {
                roster,
                who: it,
                members,
                units,
            } => {
                let members: Vec<_> = members
                    .iter()
                    .map(|(id, info)| (format!("m{id}"), Bytes::from(vec![*info])))
                    .collect();
                let lease = UNIT * *units;
                port.join(&key(*roster), who[*it], lease, &members, options())
                    .await
            }
            Step::Leave {
                roster,
                who: it,
                ids,
            } => {
                let ids: Vec<_> = ids.iter().map(|id| format!("m{id}")).collect();
                port.leave(&key(*roster), who[*it], &ids, options()).await
            }
            Step::Renew {
                roster,
                who: it,
                units,
            } => {
                let lease = UNIT * *units;
                port.renew(&key(*roster), who[*it], lease, options()).await
            }
            Step::Remove {
                roster,
                who: it,
                removal,
            } => {
                port.remove(&key(*roster), who[*it], *removal, options())
                    .await
            }
            Step::Read { roster } => {
                let look = port.look(&key(*roster), options()).await.unwrap();
                let mut on: Vec<_> = look
                    .instances
                    .iter()
                    .map(|it| (it.instance, halves(it.remaining), it.members))
                    .collect();
                on.sort_unstable();
                let page = port
                    .page(&key(*roster), who, None, options())
                    .await
                    .unwrap();
                assert_eq!(page.version, look.version);
                assert_eq!(page.next, None);
                let mut members: Vec<_> = page
                    .members
                    .into_iter()
                    .map(|it| (it.instance, it.id, it.info))
                    .collect();
                members.sort_unstable();
                let version = self.version(look.version);
                return format!("{version}: {on:?}, {members:?}, ended {}", page.ended);
            }
            Step::Elapse { halves } => {
                return home.elapse(UNIT / 2 * *halves);
            }
        };
        self.standing(&standing.unwrap())
    }
}

fn halves(duration: Duration) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "some units")]
    let halves = (duration.as_secs_f64() / (UNIT.as_secs_f64() / 2.0)).round() as i64;
    halves
}

async fn presence_scripts_agree_with_the_pure_functions(kind: ServerKind) {
    agree::<Rosters>(kind, SEQUENCES, steps()).await;
}

#[tokio::test]
async fn presence_scripts_agree_on_redis() {
    presence_scripts_agree_with_the_pure_functions(ServerKind::Redis).await;
}

#[tokio::test]
async fn presence_scripts_agree_on_valkey() {
    presence_scripts_agree_with_the_pure_functions(ServerKind::Valkey).await;
}

#[tokio::test]
async fn presence_scripts_agree_on_a_cluster() {
    presence_scripts_agree_with_the_pure_functions(ServerKind::RedisCluster).await;
}
