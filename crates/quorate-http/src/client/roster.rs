//! Who is on a topic: rosters put together from what the server says, and what changed between two of
//! them. Each step is a pure function.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

/// A client that is on a topic.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct ClientMember {
    /// The id of its connection.
    pub client: String,
    /// The user's id, if it said who it is.
    #[serde(default)]
    pub user: Option<String>,
    /// What the service shows of the user; `null` if nothing.
    #[serde(default)]
    pub info: Value,
}

/// Who is on a topic, and what changed since the last event of this kind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientPresence {
    /// How many clients there are.
    pub count: u64,
    /// All of them, ordered by client id; `None` where there are too many to name.
    pub members: Option<Vec<ClientMember>>,
    /// Who came since the last event, or changed what is shown of it. The first event names everybody.
    pub joined: Vec<ClientMember>,
    /// Who left since the last event.
    pub left: Vec<ClientMember>,
}

/// A presence event as it stands in a frame.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct PresenceChange {
    pub(super) count: u64,
    #[serde(default)]
    pub(super) members: Option<Vec<ClientMember>>,
    #[serde(default)]
    pub(super) joined: Vec<ClientMember>,
    #[serde(default)]
    pub(super) left: Vec<LeftMember>,
}

/// Of who left, the id is enough.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum LeftMember {
    Id(String),
    Member { client: String },
}

/// Who is on a topic, as far as the server says so. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Roster {
    count: u64,
    members: Option<Arc<BTreeMap<String, ClientMember>>>,
}

impl Roster {
    /// A whole roster, as the answer to a question has it.
    pub(super) fn whole(count: u64, members: Option<Vec<ClientMember>>) -> Self {
        let by_client = |members: Vec<ClientMember>| {
            let named = members
                .into_iter()
                .map(|member| (member.client.clone(), member));
            Arc::new(named.collect())
        };
        Self {
            count,
            members: members.map(by_client),
        }
    }

    /// The roster after a change. Changes to a roster that is not known whole leave only their count.
    pub(super) fn after(&self, change: PresenceChange) -> Self {
        if change.members.is_some() {
            return Self::whole(change.count, change.members);
        }
        let nothing_named = change.joined.is_empty() && change.left.is_empty();
        let members = match &self.members {
            Some(members) if !nothing_named => {
                let mut members = BTreeMap::clone(members);
                for left in change.left {
                    let (LeftMember::Id(client) | LeftMember::Member { client }) = left;
                    members.remove(&client);
                }
                for member in change.joined {
                    members.insert(member.client.clone(), member);
                }
                Some(Arc::new(members))
            }
            // A count alone: unless it is ours already, there are too many to name.
            Some(members) if members.len() as u64 == change.count => Some(members.clone()),
            _ => None,
        };
        Self {
            count: change.count,
            members,
        }
    }

    /// What to tell somebody who has seen `before`; `None` if that is nothing.
    pub(super) fn since(&self, before: Option<&Self>) -> Option<ClientPresence> {
        if before == Some(self) {
            return None;
        }
        let empty = BTreeMap::new();
        let then = before.and_then(|it| it.members.as_deref());
        let now = self.members.as_deref();
        let named = now.is_some() && (before.is_none() || then.is_some());
        let (then, now) = (then.unwrap_or(&empty), now.unwrap_or(&empty));
        let (mut joined, mut left) = (Vec::new(), Vec::new());
        if named {
            let is_new = |member: &&ClientMember| then.get(&member.client) != Some(*member);
            joined.extend(now.values().filter(is_new).cloned());
            let is_gone = |member: &&ClientMember| !now.contains_key(&member.client);
            left.extend(then.values().filter(is_gone).cloned());
        }
        Some(ClientPresence {
            count: self.count,
            members: self
                .members
                .as_ref()
                .map(|it| it.values().cloned().collect()),
            joined,
            left,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member(client: &str) -> ClientMember {
        ClientMember {
            client: client.into(),
            user: None,
            info: Value::Null,
        }
    }

    fn change(text: &str) -> PresenceChange {
        serde_json::from_str(text).unwrap()
    }

    fn names(members: &[ClientMember]) -> Vec<&str> {
        members.iter().map(|it| it.client.as_str()).collect()
    }

    #[test]
    fn changes_are_told_since_what_was_seen_and_a_whole_roster_replaces() {
        let first = Roster::default().after(change(
            r#"{"count":2,"members":[{"client":"a"},{"client":"b","user":"ada"}]}"#,
        ));
        let told = first.since(None).unwrap();
        assert_eq!((names(&told.joined), told.left.len()), (vec!["a", "b"], 0));
        assert_eq!(told.members.unwrap()[1].user.as_deref(), Some("ada"));

        let second = first.after(change(
            r#"{"count":2,"joined":[{"client":"c"}],"left":["a"]}"#,
        ));
        let third = second.after(change(r#"{"count":1,"left":[{"client":"b"}]}"#));
        let told = third.since(Some(&first)).unwrap();
        assert_eq!(
            (names(&told.joined), names(&told.left)),
            (vec!["c"], vec!["a", "b"])
        );

        // A connection later: what happened meanwhile shows as a difference.
        let whole = third.after(change(r#"{"count":1,"members":[{"client":"d"}]}"#));
        let told = whole.since(Some(&third)).unwrap();
        assert_eq!(
            (names(&told.joined), names(&told.left)),
            (vec!["d"], vec!["c"])
        );
        assert_eq!(whole.since(Some(&whole)), None);
    }

    #[test]
    fn too_many_to_name_is_a_count_and_nobody_seems_to_have_left() {
        let first = Roster::whole(1, Some(vec![member("a")]));
        let many = first.after(change(r#"{"count":12345}"#));
        let told = many.since(Some(&first)).unwrap();
        assert_eq!(
            (told.count, told.members, told.left.len()),
            (12345, None, 0)
        );
        // Changes to what is not known whole do not make it whole.
        let still = many.after(change(r#"{"count":12346,"joined":[{"client":"z"}]}"#));
        assert_eq!(
            still,
            Roster {
                count: 12346,
                members: None
            }
        );
    }

    proptest! {
        /// Whoever applies what it is told, however rarely it looks, knows the roster.
        #[test]
        fn what_is_told_adds_up(steps in proptest::collection::vec((0_u8..6, any::<bool>(), any::<bool>()), 0..40)) {
            let mut roster = Roster::whole(0, Some(Vec::new()));
            let (mut seen, mut told): (Option<Roster>, BTreeMap<String, ClientMember>) = (None, BTreeMap::new());
            for (client, joins, looks) in steps {
                let mut members = roster.members.as_deref().cloned().unwrap();
                let name = client.to_string();
                let change = if joins {
                    members.insert(name.clone(), member(&name));
                    PresenceChange { count: members.len() as u64, members: None, joined: vec![member(&name)], left: vec![] }
                } else {
                    members.remove(&name);
                    PresenceChange { count: members.len() as u64, members: None, joined: vec![], left: vec![LeftMember::Id(name)] }
                };
                roster = roster.after(change);
                if looks && let Some(presence) = roster.since(seen.as_ref()) {
                    for member in presence.left { told.remove(&member.client); }
                    for member in presence.joined { told.insert(member.client.clone(), member); }
                    seen = Some(roster.clone());
                    prop_assert_eq!(presence.members.unwrap(), told.values().cloned().collect::<Vec<_>>());
                }
            }
        }
    }
}
