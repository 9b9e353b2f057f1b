//! What a claimed job leaves to others when it is settled.

use quorate::JobId;
use quorate::queue::{Condition, Leaves};
use quorate_http::{Problem, Rejection};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{PushBody, queue};
use crate::app::App;

/// A job that another leaves: it is queued when that has succeeded, in its group.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LeaveBody {
    /// The queue that gets it.
    queue: String,
    /// It, as a push has it. It has no uniqueness key; its delay counts from when it is queued.
    job: PushBody,
    /// What it waits for, if not for nothing.
    after: Option<AfterBody>,
}

/// Jobs of the group that have to end before another is queued. When that can't come any more, it is cancelled.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AfterBody {
    /// They: ids, or the numbers of jobs in the same `leave`, from 0, that stand before this one.
    #[schema(value_type = Vec<Object>)]
    jobs: Vec<JobName>,
    /// How they have to end.
    #[serde(default)]
    condition: End,
    /// How many of them. Default: all.
    least: Option<u32>,
}

/// A job that is known, or one that is left beside.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "must be ids, or numbers of jobs before this one"
)]
enum JobName {
    Nth(usize),
    Id(String),
}

/// How jobs have to end.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum End {
    /// They are done.
    #[default]
    Succeeded,
    /// Whichever way.
    Ended,
}

/// What a job says of the value of its group, which is a list: any JSON of at most 1 MiB.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SaidBody {
    /// This is the next of it.
    #[schema(value_type = Object)]
    Append(Box<RawValue>),
    /// This is all of it.
    #[schema(value_type = Object)]
    Set(Box<RawValue>),
    /// This is all of it, and what anybody says from now on changes nothing.
    #[schema(value_type = Object)]
    Fix(Box<RawValue>),
}

/// Leaves all of them, in their order.
pub(super) fn leave_all(
    app: &App,
    done: &Leaves,
    leave: Vec<LeaveBody>,
    named: impl Fn(String) -> Problem,
) -> Result<Vec<JobId>, Rejection> {
    let mut left = Vec::new();
    for (nth, one) in leave.into_iter().enumerate() {
        let named = |rule: &str| named(format!("leave[{nth}].{rule}"));
        let queue = queue(app, &one.queue)?;
        let input = one.job.into_input();
        let input = input.map_err(|rule| named(&format!("job.{rule}")))?;
        let job = match &one.after {
            None => done.leave(&queue, &input)?,
            Some(after) => {
                let jobs = after.jobs(&left).map_err(|rule| named(&rule))?;
                done.after(after.condition(), jobs).leave(&queue, &input)?
            }
        };
        left.push(job.id());
    }
    Ok(left)
}

/// Says all of it, in its order.
pub(super) fn say_all(done: &Leaves, said: &[SaidBody]) -> quorate::Result<()> {
    said.iter().try_for_each(|one| match one {
        SaidBody::Append(value) => done.append_group_value(value),
        SaidBody::Set(value) => done.set_group_value(value),
        SaidBody::Fix(value) => done.fix_group_value(value),
    })
}

impl AfterBody {
    /// The ids of those it names, or the rule that is broken.
    fn jobs(&self, left: &[JobId]) -> Result<Vec<JobId>, String> {
        if self.jobs.is_empty() {
            return Err("after.jobs must be given".to_owned());
        }
        let names = self.jobs.iter().enumerate();
        let named = |(at, name): (usize, &JobName)| match name {
            JobName::Nth(nth) => left.get(*nth).copied().ok_or_else(|| {
                format!("after.jobs[{at}] must be the number of a job before this one")
            }),
            JobName::Id(text) => JobId::parse(text).ok_or_else(|| {
                format!("after.jobs[{at}] must be 32 hexadecimal digits, small ones")
            }),
        };
        names.map(named).collect()
    }

    const fn condition(&self) -> Condition {
        match (self.condition, self.least) {
            (End::Succeeded, None) => Condition::AllSucceeded,
            (End::Succeeded, Some(least)) => Condition::Succeeded(least),
            (End::Ended, None) => Condition::AllDone,
            (End::Ended, Some(least)) => Condition::Done(least),
        }
    }
}
