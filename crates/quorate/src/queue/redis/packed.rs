//! Jobs and deliveries as the scripts of queues pack them, there and back.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use quorate_link::Frame;

use super::super::ask::{Pushed, Turn};
use super::super::job::{
    Delivered, JobEnd, JobId, JobState, LeaseNumber, MemberOf, NewJob, Settled, Settlement,
};
use super::super::limits::QueueLimits;
use super::super::unique::{Unique, UniqueScope};
use super::groups::{pack_work, to_effects, to_ids};
use crate::clock::{Micros, whole_micros};
use crate::error::Result;
use crate::limit::Rate;
use crate::redis::{micros, unexpected};

/// A whole number as scripts pack it: all that occur are below 2^53.
#[expect(clippy::cast_precision_loss, reason = "what is greater was refused")]
pub(super) fn double(number: u64) -> f64 {
    number as f64
}

/// The number that a script packed.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "scripts pack whole numbers, and a strange one saturates"
)]
pub(super) const fn whole(number: f64) -> u64 {
    number as u64
}

/// Jobs as `push.lua` takes them: whether they are alike, and their ids, what is to be kept of them, and unless they are alike in how
/// long they are due.
pub(super) fn pack_jobs(jobs: &[NewJob]) -> (bool, Vec<Vec<u8>>) {
    let are_alike = are_alike(jobs);
    let mut packed: Vec<_> = jobs.iter().map(|job| job.id.bytes().to_vec()).collect();
    packed.extend(jobs.iter().map(pack));
    if !are_alike {
        packed.extend(jobs.iter().map(|job| micros(job.delay).into_bytes()));
    }
    (are_alike, packed)
}

/// Limits as `limits.lua` reads them; empty if there are none.
pub(super) fn pack_limits(limits: &QueueLimits) -> Result<Vec<u8>> {
    if *limits == QueueLimits::NONE {
        return Ok(Vec::new());
    }
    let (of_queue, of_groups) = limits.rates()?;
    let number = |it: Option<u32>| u64::from(it.unwrap_or(0));
    let rate = |it: Option<Rate>| it.map_or([0; 3], |it| [it.capacity, it.drained, it.token]);
    let active = [number(limits.active), number(limits.active_per_group)];
    let numbers = active.into_iter().chain(rate(of_queue));
    let numbers = numbers.chain(rate(of_groups));
    Ok(numbers.flat_map(|it| double(it).to_le_bytes()).collect())
}

/// Whether nothing but their inputs, and how they are tried, tells these jobs apart.
fn are_alike(jobs: &[NewJob]) -> bool {
    let Some(first) = jobs.first() else {
        return false;
    };
    let is_like = |job: &NewJob| {
        let is_plain = job.expires.is_none() && job.unique.is_none() && job.member_of.is_none();
        is_plain
            && whole_micros(job.delay) == 0
            && (job.priority, &job.group) == (first.priority, &first.group)
    };
    let mut ids = HashSet::with_capacity(jobs.len());
    jobs.iter().all(|job| is_like(job) && ids.insert(job.id))
}

/// What is kept of a job, but when it was queued.
pub(super) fn pack(job: &NewJob) -> Vec<u8> {
    let expires = job.expires.map_or(0, whole_micros);
    let member_of = job.member_of.as_ref().map(pack_member).unwrap_or_default();
    let unique = job.unique.as_ref().map(pack_unique).unwrap_or_default();
    let texts = [job.group.as_bytes(), &unique, &member_of];
    let mut packed = Vec::with_capacity(31 + texts.concat().len() + job.input.len());
    for number in [whole_micros(job.keep), expires, job.attempts.into()] {
        packed.extend(double(number).to_le_bytes());
    }
    packed.push(job.priority);
    for text in texts {
        let length = u16::try_from(text.len()).expect("a longer text was refused");
        packed.extend(length.to_le_bytes());
    }
    for text in texts {
        packed.extend(text);
    }
    packed.extend(&job.input);
    packed
}

/// Its scope as a letter, for how long if that is a time, and the key.
fn pack_unique(it: &Unique) -> Vec<u8> {
    let (letter, span) = match it.scope {
        UniqueScope::UntilEnded => (b'E', None),
        UniqueScope::UntilForgotten => (b'F', None),
        UniqueScope::Throttle(span) => (b'T', Some(double(whole_micros(span)).to_le_bytes())),
        UniqueScope::Debounce => (b'D', None),
    };
    let span = span.as_ref().map_or(&[][..], |span| span);
    [&[letter], span, it.key.as_bytes()].concat()
}

pub(super) fn pack_member(it: &MemberOf) -> Vec<u8> {
    [it.queue.as_bytes(), &it.group.bytes()].concat()
}

pub(super) fn to_member(packed: &[u8]) -> Option<MemberOf> {
    let (queue, group) = packed.split_last_chunk::<16>()?;
    let queue = std::str::from_utf8(queue).ok()?.to_owned();
    let group = JobId::from_bytes(*group);
    Some(MemberOf { queue, group })
}

fn to_unique(packed: &[u8]) -> Option<Unique> {
    let (letter, key) = packed.split_first()?;
    let (scope, key) = match letter {
        b'E' => (UniqueScope::UntilEnded, key),
        b'F' => (UniqueScope::UntilForgotten, key),
        b'D' => (UniqueScope::Debounce, key),
        b'T' => {
            let (span, key) = key.split_first_chunk::<8>()?;
            let span = Duration::from_micros(whole(f64::from_le_bytes(*span)));
            (UniqueScope::Throttle(span), key)
        }
        _ => return None,
    };
    let key = std::str::from_utf8(key).ok()?.to_owned();
    Some(Unique { key, scope })
}

/// What a text says that may be empty; `None` if it can't be read.
#[expect(
    clippy::option_option,
    reason = "nothing there is not the same as not understood"
)]
fn if_any<T>(text: &[u8], read: impl FnOnce(&[u8]) -> Option<T>) -> Option<Option<T>> {
    if text.is_empty() {
        return Some(None);
    }
    read(text).map(Some)
}

/// Bytes that need not be there; `None` for anything else.
#[expect(
    clippy::option_option,
    reason = "nothing there is not the same as not understood"
)]
pub(super) const fn maybe(frame: &Frame) -> Option<Option<&Bytes>> {
    match frame {
        Frame::Null => Some(None),
        Frame::Bulk(bytes) => Some(Some(bytes)),
        _ => None,
    }
}

/// What [`pack`] gave.
pub(super) fn to_new(id: JobId, delay: Duration, packed: &[u8]) -> Option<NewJob> {
    // As it is kept, behind when it was queued.
    let kept: Bytes = [&[0; 9], packed].concat().into();
    let body = to_body(&kept)?;
    Some(NewJob {
        id,
        input: body.input,
        delay,
        priority: body.priority,
        group: body.group,
        attempts: body.attempts,
        expires: body.expires.map(|span| Duration::from_micros(span.get())),
        keep: body.keep,
        member_of: body.member_of,
        unique: body.unique,
    })
}

/// A job as it is kept: behind a byte that says whether it is plain, numbers and texts.
pub(super) struct Body {
    pub(super) queued: Micros,
    pub(super) keep: Duration,
    pub(super) expires: Option<Micros>,
    pub(super) attempts: u32,
    pub(super) priority: u8,
    pub(super) group: String,
    pub(super) unique: Option<Unique>,
    pub(super) member_of: Option<MemberOf>,
    pub(super) input: Bytes,
}

/// Where the texts of a job begin, of which there are three.
const TEXTS: usize = 40;

pub(super) fn to_body(job: &Bytes) -> Option<Body> {
    let number = |at: usize| {
        let part = job.get(at * 8 + 1..at * 8 + 9)?.try_into().ok()?;
        Some(whole(f64::from_le_bytes(part)))
    };
    let mut from = TEXTS;
    let mut text = |nth: usize| {
        let at = TEXTS - 6 + nth * 2;
        let length = u16::from_le_bytes(job.get(at..at + 2)?.try_into().ok()?);
        let text = job.get(from..from + usize::from(length))?;
        from += text.len();
        Some(text)
    };
    let (group, unique, member_of) = (text(0)?, text(1)?, text(2)?);
    Some(Body {
        queued: Micros::new(number(0)?),
        keep: Duration::from_micros(number(1)?),
        expires: Some(number(2)?).filter(|at| *at > 0).map(Micros::new),
        attempts: number(3)?.try_into().ok()?,
        priority: *job.get(TEXTS - 7)?,
        group: std::str::from_utf8(group).ok()?.to_owned(),
        unique: if_any(unique, to_unique)?,
        member_of: if_any(member_of, to_member)?,
        input: job.slice(from..),
    })
}

/// Its lease number and its id.
const DELIVERY: usize = 24;

pub(super) fn pack_delivery(id: JobId, lease: LeaseNumber) -> [u8; DELIVERY] {
    let mut packed = [0; DELIVERY];
    packed[..8].copy_from_slice(&double(lease.get()).to_be_bytes());
    packed[8..].copy_from_slice(&id.bytes());
    packed
}

/// Settlements as `turn.lua` takes them.
pub(super) struct PackedSettled {
    /// How many are simple, for how long their results are kept, and all the rest.
    pub(super) arguments: Vec<Vec<u8>>,
    /// Which of the settlements each of them is.
    order: Vec<usize>,
}

/// Those that are simple first: of jobs that are not bound and were done, with results to be kept equally long. Of a job that is
/// there twice, the first counts, so order matters, and none is simple.
/// Where one leaves work, the keys of the group that may begin with it are, from `key` on, two for each.
pub(super) fn pack_settled(settled: &[Settled], mut key: usize) -> PackedSettled {
    let mut seen = HashSet::with_capacity(settled.len());
    let is_unordered = settled.iter().all(|it| seen.insert(it.id));
    let mut kept = None;
    let is_simple = |it: &Settled| match &it.settlement {
        Settlement::Succeeded {
            keep, work: None, ..
        } => is_unordered && !it.lease.is_bound() && kept.get_or_insert(*keep) == keep,
        _ => false,
    };
    let flags: Vec<_> = settled.iter().map(is_simple).collect();
    let which = |simple: bool| {
        let nth = flags.iter().enumerate();
        nth.filter(move |(_, flag)| **flag == simple)
            .map(|(nth, _)| nth)
    };
    let (simple, others): (Vec<_>, Vec<_>) = (which(true).collect(), which(false).collect());

    let mut arguments = Vec::with_capacity(2 + settled.len() * 3);
    arguments.push(simple.len().to_string().into_bytes());
    arguments.push(micros(kept.unwrap_or_default()).into_bytes());
    let deliveries = simple.iter().map(|nth| &settled[*nth]);
    arguments.extend(deliveries.map(|it| pack_delivery(it.id, it.lease).to_vec()));
    for nth in &simple {
        let (_, text) = pack_settlement(&settled[*nth].settlement, &mut key);
        let id = settled[*nth].id.bytes().to_vec();
        arguments.extend([id, [b"S", &text[..]].concat()]);
    }
    for nth in &others {
        let it = &settled[*nth];
        let (how, text) = pack_settlement(&it.settlement, &mut key);
        let delivery = pack_delivery(it.id, it.lease).to_vec();
        arguments.extend([delivery, how.into_bytes(), text.into_owned()]);
    }
    let order = [simple, others].concat();
    PackedSettled { arguments, order }
}

impl PackedSettled {
    /// What was said of each settlement, in the order in which they were given.
    fn in_order(&self, said: &[bool]) -> Option<Vec<bool>> {
        let mut flags = vec![false; self.order.len()];
        for (nth, said) in self.order.iter().zip(said) {
            flags[*nth] = *said;
        }
        (said.len() == flags.len()).then_some(flags)
    }
}

fn pack_settlement<'a>(settlement: &'a Settlement, key: &mut usize) -> (String, Cow<'a, [u8]>) {
    let text = |text: &'a str| Cow::from(text.as_bytes());
    match settlement {
        Settlement::Succeeded {
            result,
            keep,
            work: None,
        } => (format!("S{}", micros(*keep)), Cow::from(&result[..])),
        Settlement::Succeeded {
            result,
            keep,
            work: Some(work),
        } => {
            let packed = pack_work(*key, work, result);
            *key += 2;
            (format!("W{}", micros(*keep)), packed.into())
        }
        Settlement::Failed { after, error } => (format!("F{}", micros(*after)), text(error)),
        Settlement::Deferred(after) => (format!("R{}", micros(*after)), text("")),
        Settlement::Waiting { after, seen } => {
            let seen = seen.to_string().into_bytes();
            (format!("M{}", micros(*after)), seen.into())
        }
        Settlement::Cancelled => ("C0".to_owned(), text("")),
        Settlement::Dead(error) => ("D0".to_owned(), text(error)),
    }
}

/// What each byte of a reply says.
pub(super) fn each<T>(
    reply: &Frame,
    count: usize,
    read: impl Fn(u8) -> Option<T>,
) -> Option<Vec<T>> {
    let said = bytes(reply)?;
    let all = said
        .iter()
        .map(|byte| read(*byte))
        .collect::<Option<Vec<_>>>()?;
    (all.len() == count).then_some(all)
}

pub(super) fn to_pushed(reply: &Frame, count: usize) -> Option<Vec<Pushed>> {
    let [said, same] = reply.as_array()? else {
        return None;
    };
    let mut same = same.as_array()?.iter();
    let pushed = bytes(said)?.iter().map(|byte| match byte {
        b'0' => Some(Pushed::Known),
        b'1' => Some(Pushed::New),
        b'2' => {
            let id = bytes(same.next()?)?;
            Some(Pushed::Same(JobId::from_bytes(id[..].try_into().ok()?)))
        }
        _ => None,
    });
    let pushed = pushed.collect::<Option<Vec<_>>>()?;
    (pushed.len() == count && same.next().is_none()).then_some(pushed)
}

pub(super) fn flags(reply: &Frame, count: usize) -> Option<Vec<bool>> {
    each(reply, count, |byte| match byte {
        b'0' => Some(false),
        b'1' => Some(true),
        _ => None,
    })
}

pub(super) const fn bytes(frame: &Frame) -> Option<&Bytes> {
    match frame {
        Frame::Bulk(bytes) => Some(bytes),
        _ => None,
    }
}

pub(super) fn to_turn(reply: &Frame, settled: &PackedSettled) -> Option<Turn> {
    let [said, deliveries, jobs, extras, next, effects, groups] = reply.as_array()? else {
        return None;
    };
    let (deliveries, jobs) = (bytes(deliveries)?.chunks_exact(DELIVERY), jobs.as_array()?);
    let deliveries = deliveries.zip(jobs);
    let mut delivered = deliveries
        .map(|(one, job)| to_delivered(one, bytes(job)?))
        .collect::<Option<Vec<_>>>()?;
    for extra in extras.as_array()?.chunks_exact(3) {
        let nth = usize::try_from(extra[0].as_int()?).ok()?.checked_sub(1)?;
        let it = delivered.get_mut(nth)?;
        it.attempt = u32::try_from(extra[1].as_int()?).ok()?.checked_add(1)?;
        it.checkpoint = maybe(&extra[2])?.cloned();
    }
    let next = match next {
        Frame::Null => None,
        next => Some(Duration::from_micros(next.as_str()?.parse().ok()?)),
    };
    Some(Turn {
        settled: settled.in_order(&flags(said, settled.order.len())?)?,
        delivered,
        effects: to_effects(effects)?,
        groups: to_ids(groups)?,
        next,
    })
}

/// At its first attempt, without a checkpoint.
fn to_delivered(delivery: &[u8], job: &Bytes) -> Option<Delivered> {
    let (lease, id) = delivery.split_first_chunk::<8>()?;
    let body = to_body(job)?;
    Some(Delivered {
        id: JobId::from_bytes(id.try_into().ok()?),
        lease: LeaseNumber::new(whole(f64::from_be_bytes(*lease))),
        attempt: 1,
        attempts: body.attempts,
        queued: body.queued,
        input: body.input,
        group: body.group,
        keep: body.keep,
        member_of: body.member_of,
        checkpoint: None,
    })
}

pub(super) fn state(reply: &Frame) -> Result<Option<JobState>> {
    match reply {
        Frame::Null => Ok(None),
        reply => to_state(reply).map(Some).ok_or_else(|| unexpected(reply)),
    }
}

pub(super) fn to_state(reply: &Frame) -> Option<JobState> {
    let (place, rest) = reply.as_array()?.split_first()?;
    Some(match (place.as_str()?, rest) {
        ("ready", []) => JobState::Ready,
        ("due", [due]) => JobState::Due(Micros::new(due.as_str()?.parse().ok()?)),
        ("limited", [_]) => JobState::Limited,
        ("active", [cancelled]) => JobState::Active {
            cancelled: cancelled.as_int()? == 1,
        },
        ("ended", [end]) => JobState::Ended(to_end(bytes(end)?)?),
        _ => return None,
    })
}

pub(super) fn to_end(end: &Bytes) -> Option<JobEnd> {
    Some(match end.split_first()? {
        (b'S', _) => JobEnd::Succeeded(end.slice(1..)),
        (b'D', why) => JobEnd::Dead(std::str::from_utf8(why).ok()?.to_owned()),
        (b'C', []) => JobEnd::Cancelled,
        (b'E', []) => JobEnd::Expired,
        _ => return None,
    })
}
