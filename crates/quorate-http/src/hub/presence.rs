//! Who is in a room: the roster of its topic over every instance, as clients see it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use quorate::presence::{InstanceId, Member, PresenceWatch, Roster};
use quorate::{Fleet, PresenceEvent};
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

use super::identity::ClientInfo;
use super::seam::{RoomEvent, RoomEventKind};
use crate::frame::{MemberFrame, PresenceFrame};
use crate::problem::Problem;

/// Changes within this time become one frame.
const COALESCE: Duration = Duration::from_millis(100);

/// Larger rosters are told as a number.
const MOST_NAMED: usize = 500;

/// The roster of a room.
#[derive(Debug)]
pub(crate) struct Attendance {
    topic: Arc<str>,
    roster: quorate::presence::Presence,
    /// Whether it is watched: once somebody wants to be told.
    watched: OnceCell<()>,
    known: Mutex<Known>,
}

/// What is known of a roster, and how often it has changed.
#[derive(Debug, Default)]
struct Known {
    /// Shared with the updates that may have to name all of them.
    members: Arc<Named>,
    version: u64,
    whole: Arc<OnceLock<Arc<RoomEvent>>>,
}

/// The same id on two instances is two members.
type Named = BTreeMap<(String, InstanceId), MemberFrame>;

/// What to tell of a change.
#[derive(Debug)]
pub(crate) struct Update {
    pub(crate) version: u64,
    /// What has changed.
    pub(crate) changes: Arc<RoomEvent>,
    whole: Whole,
}

impl Update {
    /// The whole roster, for those who have not been told of the change before.
    pub(crate) fn whole(&self) -> Arc<RoomEvent> {
        self.whole.event()
    }
}

/// The whole of a roster, encoded once for all who are told of it.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) version: u64,
    topic: Arc<str>,
    members: Arc<Named>,
    event: Arc<OnceLock<Arc<RoomEvent>>>,
}

impl Whole {
    pub(crate) fn event(&self) -> Arc<RoomEvent> {
        let encode = || {
            let members = &self.members;
            let frame = if members.len() > MOST_NAMED {
                PresenceFrame::count(&self.topic, members.len())
            } else {
                PresenceFrame::whole(&self.topic, &members.values().collect::<Vec<_>>())
            };
            event(&frame)
        };
        self.event.get_or_init(encode).clone()
    }
}

fn event(frame: &PresenceFrame<'_>) -> Arc<RoomEvent> {
    Arc::new(RoomEvent::new(RoomEventKind::Presence, frame.to_text()))
}

/// What clients are told of a member.
fn named(member: &Member) -> ((String, InstanceId), MemberFrame) {
    let info: Value = serde_json::from_slice(&member.info).unwrap_or_default();
    let part = |name: &str| info.get(name).filter(|part| !part.is_null()).cloned();
    let frame = MemberFrame {
        client: member.id.clone(),
        user: part("user").and_then(|user| user.as_str().map(str::to_owned)),
        info: part("info"),
    };
    ((member.id.clone(), member.instance), frame)
}

impl Attendance {
    pub(crate) fn new(fleet: &Fleet, topic: Arc<str>) -> Self {
        Self {
            roster: fleet.presence(&format!("hub:{topic}")),
            topic,
            watched: OnceCell::new(),
            known: Mutex::default(),
        }
    }

    /// Puts a client on the roster, for as long as the membership lives.
    pub(crate) async fn join(
        &self,
        client: &ClientInfo,
    ) -> Result<quorate::presence::Membership, Problem> {
        let identity = client.identity();
        let info = serde_json::json!({
            "user": identity.map(super::identity::Identity::user),
            "info": identity.map(super::identity::Identity::info),
        });
        let joined = self.roster.join(client.client_id(), info.to_string());
        joined.await.map_err(|error| Problem::from(&error))
    }

    /// Begins to watch the roster, the first time: `follow` is given what is to be watched from then on.
    pub(crate) async fn watch(&self, follow: impl FnOnce(Watch)) -> Result<(), Problem> {
        let begin = async {
            let mut watched = self.roster.watch().await?;
            if let Some(PresenceEvent::Resync(roster)) = watched.next().await {
                self.known.lock().replace(&roster);
            }
            follow(Watch { watched });
            Ok::<_, quorate::Error>(())
        };
        let begun = self.watched.get_or_try_init(|| begin).await;
        begun.copied().map_err(|error| Problem::from(&error))
    }

    /// The whole roster as it is known here.
    pub(crate) fn now(&self) -> Whole {
        self.known.lock().whole(&self.topic)
    }

    /// Waits for changes, and notes those that come together. `None`: the fleet was closed.
    pub(crate) async fn changed(&self, watch: &mut Watch) -> Option<Update> {
        loop {
            let mut changes = Changes::default();
            changes.note(watch.watched.next().await?);
            let until = Instant::now() + COALESCE;
            while let Ok(event) = timeout_at(until, watch.watched.next()).await {
                changes.note(event?);
            }
            let mut known = self.known.lock();
            if known.apply(&mut changes) {
                return Some(known.update(&self.topic, &changes));
            }
        }
    }

    /// Who is there, for who asks: how many, and who unless they are too many.
    pub(crate) async fn look(&self) -> Result<(usize, Option<Vec<MemberFrame>>), Problem> {
        let failed = |error| Problem::from(&error);
        let count = self.roster.count().await.map_err(failed)?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > MOST_NAMED {
            return Ok((count, None));
        }
        let roster = self.roster.members().await.map_err(failed)?;
        let members: Vec<_> = roster
            .members
            .iter()
            .map(|member| named(member).1)
            .collect();
        Ok((members.len(), Some(members)))
    }
}

/// A roster being watched.
#[derive(Debug)]
pub(crate) struct Watch {
    watched: PresenceWatch,
}

/// What has changed, as the difference between two moments: who came and left again is in none of them.
#[derive(Debug, Default)]
struct Changes {
    /// Everybody, where the whole roster came.
    whole: Option<Named>,
    /// `None`: left.
    members: BTreeMap<(String, InstanceId), Option<MemberFrame>>,
    joined: Vec<MemberFrame>,
    left: Vec<MemberFrame>,
}

impl Changes {
    fn note(&mut self, event: PresenceEvent) {
        match event {
            PresenceEvent::Joined(member) | PresenceEvent::Updated(member) => {
                let (key, frame) = named(&member);
                self.members.insert(key, Some(frame));
            }
            PresenceEvent::Left(member) => {
                self.members.insert(named(&member).0, None);
            }
            PresenceEvent::Resync(roster) => {
                self.members.clear();
                self.whole = Some(roster.members.iter().map(named).collect());
            }
            _ => {}
        }
    }
}

impl Known {
    fn replace(&mut self, roster: &Roster) {
        self.members = Arc::new(roster.members.iter().map(named).collect());
        self.whole = Arc::default();
    }

    /// Applies changes, and leaves in them what really is one. Whether something is.
    fn apply(&mut self, changes: &mut Changes) -> bool {
        if let Some(whole) = changes.whole.take() {
            for key in self.members.keys().filter(|key| !whole.contains_key(*key)) {
                changes.members.entry(key.clone()).or_insert(None);
            }
            for (key, frame) in whole {
                changes.members.entry(key).or_insert(Some(frame));
            }
        }
        // Nobody has the updates of before any more, most of the time.
        let members = Arc::make_mut(&mut self.members);
        for (key, now) in std::mem::take(&mut changes.members) {
            match now {
                Some(frame) if members.get(&key) == Some(&frame) => {}
                Some(frame) => {
                    changes.joined.push(frame.clone());
                    members.insert(key, frame);
                }
                None => changes.left.extend(members.remove(&key)),
            }
        }
        let changed = !(changes.joined.is_empty() && changes.left.is_empty());
        if changed {
            self.version += 1;
            self.whole = Arc::default();
        }
        changed
    }

    fn whole(&self, topic: &Arc<str>) -> Whole {
        Whole {
            version: self.version,
            topic: topic.clone(),
            members: self.members.clone(),
            event: self.whole.clone(),
        }
    }

    fn update(&self, topic: &Arc<str>, changes: &Changes) -> Update {
        let count = self.members.len();
        let before = count + changes.left.len();
        let whole = self.whole(topic);
        let changes = if count.max(before) <= MOST_NAMED {
            let (joined, left) = (&changes.joined, &changes.left);
            event(&PresenceFrame::changes(topic, count, joined, left))
        } else {
            // A number, or, if there are few enough again, who they are: that was not told before.
            whole.event()
        };
        Update {
            version: self.version,
            changes,
            whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member(id: u8, info: u8) -> Member {
        let info = format!(r#"{{"user":"u{id}","info":{info}}}"#);
        Member::new(
            format!("c-{id}"),
            info,
            InstanceId::parse("0000000000000001").unwrap(),
        )
    }

    /// What a client makes of frames.
    fn follow(roster: &mut BTreeMap<String, Value>, frame: &str) {
        let frame: Value = serde_json::from_str(frame).unwrap();
        let list = |name: &str| frame[name].as_array().cloned().unwrap_or_default();
        let id = |member: &Value| member["client"].as_str().unwrap().to_owned();
        if frame.get("members").is_some() {
            roster.clear();
        }
        for member in list("members").into_iter().chain(list("joined")) {
            roster.insert(id(&member), member);
        }
        for member in list("left") {
            roster.remove(&id(&member));
        }
        assert_eq!(frame["count"], roster.len());
    }

    #[test]
    fn the_whole_is_encoded_once_for_all_until_it_changes() {
        let topic: Arc<str> = "room".into();
        let mut known = Known::default();
        let come = |known: &mut Known, id| {
            let mut changes = Changes::default();
            changes.note(PresenceEvent::Joined(member(id, 0)));
            assert!(known.apply(&mut changes));
            known.update(&topic, &changes)
        };
        let update = come(&mut known, 1);
        let (one, other) = (known.whole(&topic).event(), known.whole(&topic).event());
        assert!(Arc::ptr_eq(&one, &other));
        assert!(Arc::ptr_eq(&one, &update.whole()));
        let newer = come(&mut known, 2).whole();
        assert!(!Arc::ptr_eq(&one, &newer));
        assert!(newer.frame.contains(r#""count":2"#), "{}", newer.frame);
        assert!(Arc::ptr_eq(&one, &update.whole()), "what it was then");
    }

    #[test]
    fn large_rosters_are_a_number_and_named_again_when_they_shrink() {
        let topic: Arc<str> = "room".into();
        let mut known = Known::default();
        let mut changes = Changes::default();
        let many = |n: usize| {
            Member::new(
                format!("c-{n}"),
                "",
                InstanceId::parse("0000000000000001").unwrap(),
            )
        };
        for n in 0..=MOST_NAMED {
            changes.note(PresenceEvent::Joined(many(n)));
        }
        assert!(known.apply(&mut changes));
        let update = known.update(&topic, &changes);
        let count = r#"{"event":"presence","topic":"room","count":501}"#;
        assert_eq!(update.changes.frame.as_str(), count);
        assert_eq!(update.whole().frame.as_str(), count);
        let mut changes = Changes::default();
        changes.note(PresenceEvent::Left(many(7)));
        assert!(known.apply(&mut changes));
        let frame = known.update(&topic, &changes).changes.frame.clone();
        let frame: Value = serde_json::from_str(&frame).unwrap();
        assert_eq!(frame["members"].as_array().unwrap().len(), MOST_NAMED);
    }

    proptest! {
        /// Whoever is told of every change, and whoever is told of the whole now and then, know the same.
        #[test]
        fn changes_and_wholes_agree(
            batches in proptest::collection::vec(
                proptest::collection::vec((0_u8..6, 0_u8..3, any::<bool>()), 1..6), 1..20,
            ),
        ) {
            let topic: Arc<str> = "room".into();
            let mut known = Known::default();
            let (mut told, mut truth) = (BTreeMap::new(), BTreeMap::new());
            for batch in batches {
                let mut changes = Changes::default();
                for (id, info, here) in batch {
                    let member = member(id, info);
                    if here {
                        truth.insert(id, info);
                        changes.note(PresenceEvent::Joined(member));
                    } else {
                        truth.remove(&id);
                        changes.note(PresenceEvent::Left(member));
                    }
                }
                let changed = known.apply(&mut changes);
                let update = known.update(&topic, &changes);
                if changed {
                    follow(&mut told, &update.changes.frame);
                }
                let mut whole = BTreeMap::new();
                follow(&mut whole, &update.whole().frame);
                prop_assert_eq!(&whole, &told);
                let ids: Vec<_> = told.keys().cloned().collect();
                prop_assert_eq!(ids, truth.keys().map(|id| format!("c-{id}")).collect::<Vec<_>>());
                for (id, info) in &truth {
                    prop_assert_eq!(&told[&format!("c-{id}")]["info"], *info);
                }
            }
        }
    }
}
