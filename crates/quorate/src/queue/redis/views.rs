//! What the scripts of queues tell of jobs to who operates them.

use std::time::Duration;

use quorate_link::{Frame, Lane};

use super::super::job::{JobId, JobState, LeaseNumber};
use super::super::note::LogLine;
use super::super::state::QueueTotals;
use super::super::view::{JobDetails, JobPage, JobPlace, JobView, QueueStats, Spot};
use super::RedisQueues;
use super::packed::{Body, bytes, double, maybe, to_body, to_end, to_state, whole};
use crate::clock::Micros;
use crate::error::Result;
use crate::glob;
use crate::key::{Namespace, hash_tag, untag};
use crate::port::CallOptions;
use crate::redis::{from_link, unexpected};
use crate::scan::{ScanCursor, ScanPage};

/// Keys that a server looks at for one page of a scan.
const LOOKED_AT: &[u8] = b"500";

/// What the rank of a job that is aside is added to: `ASIDE` of `library.lua`.
const ASIDE: i64 = 8_000_000_000_000_000;

/// The number of the key that has the jobs of a place.
pub(super) const fn key_of(place: JobPlace) -> &'static [u8] {
    match place {
        JobPlace::Ready => b"3",
        JobPlace::Due => b"4",
        JobPlace::Limited => b"-4",
        JobPlace::Active => b"5",
        JobPlace::Ended => b"6",
        JobPlace::Dead => b"13",
    }
}

/// A job's place in a list, as its score and its member.
pub(super) fn pack_spot(place: JobPlace, spot: Option<Spot>) -> (String, Vec<u8>) {
    let Some(spot) = spot else {
        return Default::default();
    };
    let mut member = Vec::with_capacity(24);
    if place == JobPlace::Active {
        member.extend(double(spot.lease).to_be_bytes());
    }
    member.extend(spot.id.bytes());
    let score = if place == JobPlace::Limited {
        // It is whatever somebody wrote into a cursor.
        spot.score.saturating_add(ASIDE)
    } else {
        spot.score
    };
    (score.to_string(), member)
}

pub(super) fn to_page(reply: &Frame, place: JobPlace) -> Option<JobPage> {
    let [more, jobs] = reply.as_array()? else {
        return None;
    };
    let jobs = jobs.as_array()?.chunks(6).map(|it| to_listed(it, place));
    let jobs = jobs.collect::<Option<Vec<_>>>()?;
    let last = jobs.last().filter(|_| more.as_int() == Some(1));
    Some(JobPage {
        next: last.map(|(_, spot)| spot.cursor()),
        jobs: jobs.into_iter().map(|(view, _)| view).collect(),
    })
}

fn to_listed(parts: &[Frame], place: JobPlace) -> Option<(JobView, Spot)> {
    let [member, score, job, tries, end, progress] = parts else {
        return None;
    };
    let (member, score) = (bytes(member)?, score.as_str()?.parse::<i64>().ok()?);
    let (lease, id) = member.split_at_checked(member.len().checked_sub(16)?)?;
    let id = JobId::from_bytes(id.try_into().ok()?);
    let lease = match lease {
        [] => LeaseNumber::new(0),
        lease => LeaseNumber::new(whole(f64::from_be_bytes(lease.try_into().ok()?))),
    };
    let state = match place {
        JobPlace::Ready => JobState::Ready,
        JobPlace::Due => JobState::Due(Micros::new(score.try_into().ok()?)),
        JobPlace::Limited => JobState::Limited,
        JobPlace::Active => JobState::Active {
            cancelled: end.as_int() == Some(1),
        },
        JobPlace::Ended | JobPlace::Dead => JobState::Ended(to_end(bytes(end)?)?),
    };
    let view = JobView {
        id,
        state,
        details: to_details(job, tries)?,
        progress: maybe(progress)?.cloned(),
        log: Vec::new(),
        entries: 0,
        messages: 0,
    };
    let lease = lease.get();
    let score = if place == JobPlace::Limited {
        score.saturating_sub(ASIDE)
    } else {
        score
    };
    Some((view, Spot { score, lease, id }))
}

pub(super) fn to_view(reply: &Frame, id: JobId) -> Option<JobView> {
    let [place, job, tries, progress, log, entries, messages] = reply.as_array()? else {
        return None;
    };
    let log = maybe(log)?.map_or(Some(Vec::new()), |log| to_log(log));
    Some(JobView {
        id,
        state: to_state(place)?,
        details: to_details(job, tries)?,
        progress: maybe(progress)?.cloned(),
        log: log?,
        entries: entries.as_int()?.try_into().ok()?,
        messages: messages.as_int()?.try_into().ok()?,
    })
}

#[expect(
    clippy::option_option,
    reason = "nothing there is not the same as not understood"
)]
fn to_details(job: &Frame, tries: &Frame) -> Option<Option<JobDetails>> {
    let Some(job) = maybe(job)? else {
        return Some(None);
    };
    let body = to_body(job)?;
    let (failed, error) = match maybe(tries)? {
        Some(tries) => {
            let (failed, error) = tries.split_first_chunk::<8>()?;
            let failed = u32::try_from(whole(f64::from_le_bytes(*failed))).ok()?;
            (failed, Some(std::str::from_utf8(error).ok()?.to_owned()))
        }
        None => (0, None),
    };
    let Body {
        queued,
        keep,
        expires,
        attempts,
        priority,
        group,
        unique,
        member_of,
        input,
    } = body;
    Some(Some(JobDetails {
        queued,
        input,
        attempts,
        failed,
        error,
        priority,
        group,
        unique,
        member_of,
        expires,
        keep,
    }))
}

/// Line by line: when, in which attempt, how long, itself.
fn to_log(mut log: &[u8]) -> Option<Vec<LogLine>> {
    let mut lines = Vec::new();
    while !log.is_empty() {
        let (at, rest) = log.split_first_chunk::<8>()?;
        let (attempt, rest) = rest.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (text, rest) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
        lines.push(LogLine {
            at: Micros::new(whole(f64::from_le_bytes(*at))),
            attempt: u32::from_le_bytes(*attempt),
            text: std::str::from_utf8(text).ok()?.to_owned(),
        });
        log = rest;
    }
    Some(lines)
}

impl RedisQueues {
    /// Some of the queues of a namespace.
    pub(super) async fn scan(
        &self,
        namespace: &Namespace,
        prefix: &str,
        from: Option<&ScanCursor>,
        options: CallOptions,
    ) -> Result<ScanPage> {
        let area = glob::escape(&namespace.qualify("queue:{"));
        let pattern = format!("{area}{}*}}", glob::escape(&hash_tag(prefix)));
        let cursor = from.map_or("0", ScanCursor::as_str);
        let parts: [&[u8]; 8] = [
            b"SCAN",
            cursor.as_bytes(),
            b"MATCH",
            pattern.as_bytes(),
            b"COUNT",
            LOOKED_AT,
            b"TYPE",
            b"string",
        ];
        let options = options.link().lane(Lane::Bulk);
        let reply = self.link.call(&parts, &options).await.map_err(from_link)?;
        to_names(&reply, namespace).ok_or_else(|| unexpected(&reply))
    }
}

/// Names of queues, and where the next page of them begins.
fn to_names(reply: &Frame, namespace: &Namespace) -> Option<ScanPage> {
    let [next, keys] = reply.as_array()? else {
        return None;
    };
    let names = keys.as_array()?.iter().filter_map(|key| {
        let tag = namespace.strip(key.as_str()?)?.strip_prefix("queue:{")?;
        let tag = tag.strip_suffix('}').filter(|tag| !tag.contains('}'))?;
        Some(untag(tag))
    });
    let next = next.as_str()?;
    Some(ScanPage {
        names: names.collect(),
        next: (next != "0").then(|| ScanCursor::new(next)),
    })
}

pub(super) fn to_stats(reply: &Frame) -> Option<QueueStats> {
    let (last, numbers) = reply.as_array()?.split_last()?;
    let last = match &bytes(last)?[..] {
        [] => None,
        id => Some(JobId::from_bytes(id.try_into().ok()?)),
    };
    let numbers = numbers.iter().map(|it| it.as_str()?.parse::<i64>().ok());
    let numbers = numbers.collect::<Option<Vec<_>>>()?;
    let [
        ready,
        due,
        active,
        ended,
        dead,
        idle,
        paused,
        waited,
        next_due,
        pushed,
        succeeded,
        failed,
        died,
        cancelled,
        expired,
        deferred,
        open_groups,
        effects,
        effects_waited,
        limited,
    ] = numbers[..]
    else {
        return None;
    };
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let span = |micros: i64| u64::try_from(micros).ok().map(Duration::from_micros);
    Some(QueueStats {
        ready: count(ready),
        due: count(due),
        limited: count(limited),
        active: count(active),
        ended: count(ended),
        dead: count(dead),
        idle: count(idle),
        paused: paused == 1,
        waited: span(waited),
        last,
        next_due: span(next_due),
        open_groups: count(open_groups),
        effects: count(effects),
        effects_waited: span(effects_waited),
        totals: QueueTotals {
            pushed: count(pushed),
            succeeded: count(succeeded),
            failed: count(failed),
            dead: count(died),
            cancelled: count(cancelled),
            expired: count(expired),
            deferred: count(deferred),
        },
    })
}
