//! Who is on a topic, as clients see it.

use serde::Serialize;
use serde_json::Value;

use super::control::to_json;
use super::request::RequestId;

/// A member.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct MemberFrame {
    pub(crate) client: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) info: Option<Value>,
}

/// A roster, or what has changed in it.
#[derive(Debug, Serialize)]
pub(crate) struct PresenceFrame<'a> {
    event: &'static str,
    topic: &'a str,
    count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Vec<&'a MemberFrame>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    joined: Option<&'a [MemberFrame]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<&'a [MemberFrame]>,
}

impl<'a> PresenceFrame<'a> {
    /// Too many to name.
    pub(crate) const fn count(topic: &'a str, count: usize) -> Self {
        Self {
            event: "presence",
            topic,
            count,
            members: None,
            joined: None,
            left: None,
        }
    }

    /// Everybody: replaces what was known.
    pub(crate) fn whole(topic: &'a str, members: &[&'a MemberFrame]) -> Self {
        Self {
            members: Some(members.to_vec()),
            ..Self::count(topic, members.len())
        }
    }

    /// Who came, or said something new of itself, and who left.
    pub(crate) fn changes(
        topic: &'a str,
        count: usize,
        joined: &'a [MemberFrame],
        left: &'a [MemberFrame],
    ) -> Self {
        Self {
            joined: Some(joined),
            left: Some(left),
            ..Self::count(topic, count)
        }
    }

    pub(crate) fn to_text(&self) -> String {
        to_json(self)
    }
}

/// The answer to who asks.
#[derive(Debug, Serialize)]
pub(crate) struct PresenceAnswer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<&'a RequestId>,
    pub(crate) ok: bool,
    pub(crate) topic: &'a str,
    pub(crate) count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) members: Option<Vec<MemberFrame>>,
}

impl PresenceAnswer<'_> {
    pub(crate) fn to_text(&self) -> String {
        to_json(self)
    }
}
