//! What every backend for presence promises.

mod leases;
mod members;
mod watching;

pub use leases::*;
pub use members::*;
pub use watching::*;

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate::presence::InstanceId;
use quorate::{Fleet, Member, Membership, PresenceEvent, PresenceWatch, Roster};

use crate::harness::within;

/// Makes one test per clause of the presence contract: `presence_suite!(module, harness)`. The harness's homes
/// have the lease [`PRESENCE_LEASE`](crate::harness::PRESENCE_LEASE).
#[macro_export]
macro_rules! presence_suite {
    ($module:ident, $harness:expr) => {
        $crate::__suite!(
            $module,
            $harness,
            $crate::suites::presence,
            [
                a_member_is_seen_on_every_instance,
                a_member_that_left_is_not_there,
                an_update_replaces_the_info,
                joining_again_replaces_the_info_and_takes_over,
                one_id_on_two_instances_is_two_members,
                a_watch_begins_with_the_whole_roster,
                a_watch_yields_every_change,
                changes_at_once_reach_a_watch_one_by_one,
                a_watch_that_falls_behind_gets_the_whole_roster,
                a_dropped_watch_listens_no_more,
                a_dropped_membership_leaves,
                a_dropped_join_leaves_nobody,
                a_detached_member_stays_until_it_is_named,
                renewal_keeps_members_beyond_their_lease,
                a_lost_instance_is_not_read_once_its_lease_ends,
                a_lost_instance_is_removed_by_those_who_watch,
                a_lost_instance_is_removed_by_those_who_are_there,
                an_instance_whose_lease_ended_joins_again,
                closing_leaves_every_roster,
                a_large_roster_is_read_whole,
                a_roster_read_while_it_changes_is_of_one_moment,
                rosters_are_apart,
                bad_input_is_refused_with_the_rule,
            ]
        );
    };
}

const ROOM: &str = "room:42";

async fn join(fleet: &Fleet, id: &str) -> Membership {
    fleet.presence(ROOM).join(id, "").await.unwrap()
}

async fn watch(fleet: &Fleet) -> Watched {
    let mut watch = fleet.presence(ROOM).watch().await.unwrap();
    let Some(PresenceEvent::Resync(roster)) = within("the roster", watch.next()).await else {
        panic!("a watch begins with the whole roster")
    };
    let mut watched = Watched {
        watch,
        known: BTreeMap::new(),
        resyncs: 0,
    };
    watched.replace(roster);
    watched
}

/// Ids, in order.
async fn present(fleet: &Fleet) -> Vec<String> {
    let roster = fleet.presence(ROOM).members().await.unwrap();
    assert_eq!(roster.count, roster.members.len() as u64);
    let mut ids: Vec<_> = roster.members.into_iter().map(|it| it.id).collect();
    ids.sort();
    ids
}

/// A watch, and what is known by applying its events.
struct Watched {
    watch: PresenceWatch,
    known: BTreeMap<(InstanceId, String), Bytes>,
    resyncs: usize,
}

impl Watched {
    fn replace(&mut self, roster: Roster) {
        let members = roster.members.into_iter();
        self.known = members.map(|it| ((it.instance, it.id), it.info)).collect();
    }

    /// Applies one event, and says what it was. Panics if it does not fit what is known.
    async fn next(&mut self) -> String {
        let event = within("an event", self.watch.next()).await;
        let key = |it: &Member| (it.instance, it.id.clone());
        match event.expect("the stream goes on") {
            PresenceEvent::Joined(it) => {
                assert_eq!(self.known.insert(key(&it), it.info), None, "{}", it.id);
                format!("+{}", it.id)
            }
            PresenceEvent::Updated(it) => {
                assert!(self.known.insert(key(&it), it.info).is_some(), "{}", it.id);
                format!("={}", it.id)
            }
            PresenceEvent::Left(it) => {
                assert_eq!(self.known.remove(&key(&it)), Some(it.info), "{}", it.id);
                format!("-{}", it.id)
            }
            PresenceEvent::Resync(roster) => {
                self.resyncs += 1;
                self.replace(roster);
                "whole".to_owned()
            }
            other => panic!("{other:?}"),
        }
    }

    async fn until(&mut self, condition: impl Fn(&Self) -> bool) {
        while !condition(self) {
            self.next().await;
        }
    }
}
