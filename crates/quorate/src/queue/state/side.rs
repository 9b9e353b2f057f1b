//! What of a queue has a row of its own in the file of its home, so that a change of it does not write the others: its name, a
//! pure function there and back.

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;

use super::super::group::EffectName;
use super::super::job::JobId;
use super::QueueState;
use super::group::rows::GroupRow;
use super::journals::{Kind, LineName};

/// What has a row of its own. In the order of their names, those of jobs are before what is kept beside them: who is forgotten when the
/// home is opened is gone by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side<'a> {
    Job(JobId),
    /// What was noted of a job.
    Notes(JobId),
    /// An entry of a journal, or a message of an inbox.
    Line(LineName),
    /// Who has a uniqueness key.
    Unique(&'a str),
    /// A part of a job group.
    Group(JobId, GroupRow),
    /// What is to be brought elsewhere.
    Effect(EffectName),
    /// The last moment of a schedule.
    Schedule(&'a str),
    /// What counts of what was begun of a fairness group.
    Begun(&'a str),
}

#[cfg(feature = "file")]
impl<'a> Side<'a> {
    /// Reads the form that `Display` writes; `None` for anything else.
    pub(super) fn parse(name: &'a str) -> Option<Self> {
        match name.split_once(' ') {
            Some(("unique", key)) => Some(Self::Unique(key)),
            Some(("schedule", name)) => Some(Self::Schedule(name)),
            Some(("begun", group)) => Some(Self::Begun(group)),
            Some(("notes", id)) => JobId::parse(id).map(Self::Notes),
            Some(("journal", line)) => to_line(Kind::Entry, line),
            Some(("inbox", line)) => to_line(Kind::Message, line),
            Some(("group", id)) => Some(Self::Group(JobId::parse(id)?, GroupRow::Head)),
            Some(("member", ids)) => {
                let (group, id) = ids.split_once(' ')?;
                let part = GroupRow::Member(JobId::parse(id)?);
                Some(Self::Group(JobId::parse(group)?, part))
            }
            Some(("value", rest)) => {
                let (group, nth) = rest.split_once(' ')?;
                let part = GroupRow::Value(nth.parse().ok()?);
                Some(Self::Group(JobId::parse(group)?, part))
            }
            Some(("tells", id)) => Some(Self::Effect(EffectName::Ended(JobId::parse(id)?))),
            Some(("pushes", id)) => Some(Self::Effect(EffectName::Push(JobId::parse(id)?))),
            Some(_) => None,
            None => JobId::parse(name).map(Self::Job),
        }
    }
}

/// The id of a job and the number of a line.
#[cfg(feature = "file")]
fn to_line<'a>(kind: Kind, line: &str) -> Option<Side<'a>> {
    let (id, nth) = line.split_once(' ')?;
    Some(Side::Line((JobId::parse(id)?, kind, nth.parse().ok()?)))
}

impl fmt::Display for Side<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(id) => write!(f, "{id}"),
            Self::Notes(id) => write!(f, "notes {id}"),
            Self::Line((id, Kind::Entry, nth)) => write!(f, "journal {id} {nth}"),
            Self::Line((id, Kind::Message, nth)) => write!(f, "inbox {id} {nth}"),
            Self::Unique(key) => write!(f, "unique {key}"),
            Self::Group(id, GroupRow::Head) => write!(f, "group {id}"),
            Self::Group(id, GroupRow::Member(member)) => write!(f, "member {id} {member}"),
            Self::Group(id, GroupRow::Value(nth)) => write!(f, "value {id} {nth}"),
            Self::Effect(EffectName::Ended(id)) => write!(f, "tells {id}"),
            Self::Effect(EffectName::Push(id)) => write!(f, "pushes {id}"),
            Self::Schedule(name) => write!(f, "schedule {name}"),
            Self::Begun(group) => write!(f, "begun {group}"),
        }
    }
}

impl QueueState {
    /// Whether anything has changed, since that was last asked, that outlives the process.
    pub(in crate::queue) fn is_changed(&mut self) -> bool {
        std::mem::take(&mut self.turned)
            || !self.changed.is_empty()
            || !self.uniques.changed().is_empty()
            || !self.notes.changed().is_empty()
            || self.journals.is_changed()
            || !self.groups.changed().is_empty()
            || !self.outbox.changed().is_empty()
            || !self.schedules.changed().is_empty()
            || !self.limiting.changed().is_empty()
    }

    /// Forgets what came, changed or went since this was last asked.
    pub(in crate::queue) fn forget_changed(&mut self) {
        self.changed.clear();
        self.uniques.changed().clear();
        self.notes.changed().clear();
        self.journals.forget_changed();
        self.groups.changed().clear();
        self.outbox.changed().clear();
        self.schedules.changed().clear();
        self.limiting.changed().clear();
    }

    /// The names of the side rows of what came, changed or went since this was last asked.
    pub(in crate::queue) fn take_changed(&mut self) -> Vec<String> {
        let mut names = named(&mut self.changed, |id| Side::Job(*id));
        names.extend(named(self.uniques.changed(), |key| Side::Unique(key)));
        names.extend(named(self.notes.changed(), |id| Side::Notes(*id)));
        let mut lines = self.journals.take_changed();
        names.extend(named(&mut lines, |line| Side::Line(*line)));
        names.extend(named(self.groups.changed(), |(id, part)| {
            Side::Group(*id, *part)
        }));
        names.extend(named(self.outbox.changed(), |name| Side::Effect(*name)));
        names.extend(named(self.schedules.changed(), |name| Side::Schedule(name)));
        names.extend(named(self.limiting.changed(), |group| Side::Begun(group)));
        names
    }
}

/// The names of side rows that changed, each once, and takes note that they were asked for.
fn named<T: Eq + Hash>(changed: &mut Vec<T>, side: impl Fn(&T) -> Side<'_>) -> Vec<String> {
    let changed: HashSet<_> = changed.drain(..).collect();
    changed.iter().map(|it| side(it).to_string()).collect()
}
