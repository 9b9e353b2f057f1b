//! What no group takes.

use std::collections::HashSet;

use super::{Gate, Left, MAX_VALUE, MAX_WORK, MOST_SAID, Said, Work};
use crate::error::{Error, Result};
use crate::queue::ask::{check_job, check_number, check_queue};

/// Refuses work that no queue takes.
pub(in crate::queue) fn check_work(work: &Work) -> Result<()> {
    check_queue("group", &work.group.queue)?;
    if work
        .left
        .iter()
        .any(|it| it.job.member_of.as_ref() != Some(&work.group))
    {
        return refuse("left", "must be members of the same group");
    }
    check_left(&work.left, &work.said)
}

/// The same of its parts.
pub(super) fn check_left(left: &[Left], said: &[Said]) -> Result<()> {
    check_number("left", left.len())?;
    for it in left {
        check_queue("left", &it.queue)?;
        check_job(&it.job)?;
        if it.job.unique.is_some() {
            // Another job may have the key, and never ends as a member of this group.
            return refuse("left", "must have no uniqueness key");
        }
        it.after.as_ref().map_or(Ok(()), check_gate)?;
    }
    if said.len() > MOST_SAID {
        return refuse("said", format_args!("must be at most {MOST_SAID} values"));
    }
    if said.iter().any(|it| it.value().len() > MAX_VALUE) {
        return refuse("value", format_args!("must be at most {MAX_VALUE} bytes"));
    }
    let inputs = left.iter().map(|it| it.job.input.len());
    let values = said.iter().map(|it| it.value().len());
    if inputs.chain(values).sum::<usize>() > MAX_WORK {
        return refuse(
            "left",
            format_args!("must be at most {MAX_WORK} bytes together"),
        );
    }
    Ok(())
}

pub(super) fn check_gate(gate: &Gate) -> Result<()> {
    check_number("after", gate.on.len())?;
    let (least, _) = gate.condition.least(gate.on.len());
    if usize::try_from(least).is_ok_and(|least| least > gate.on.len()) {
        return refuse("after", "must not want more jobs than it names");
    }
    let mut seen = HashSet::new();
    if !gate.on.iter().all(|id| seen.insert(id)) {
        return refuse("after", "must name each job once");
    }
    Ok(())
}

fn refuse(field: &str, rule: impl std::fmt::Display) -> Result<()> {
    Err(Error::invalid(field, rule))
}
