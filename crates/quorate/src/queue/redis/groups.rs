//! Groups and effects as the scripts of queues pack them, there and back: see `outbox.lua` and `groups.lua`.

use std::time::Duration;

use bytes::{BufMut, Bytes};
use quorate_link::Frame;

use super::super::ask::Ask;
use super::super::group::{
    Bring, Condition, Effect, EffectName, Gate, GroupView, Left, MemberEnd, MemberEnded, Said, Work,
};
use super::super::job::{JobId, MemberOf, NewJob, Settlement};
use super::super::state::AWAITED;
use super::RedisQueues;
use super::keys::group_keys;
use super::packed::{bytes, double, pack, pack_member, to_member, to_new, whole};
use crate::clock::whole_micros;
use crate::error::Result;
use crate::key::Key;
use crate::port::CallOptions;
use crate::redis::{Script, micros, unexpected};

static LOOK_GROUP: Script = Script::new(include_str!("../scripts/look_group.lua"));

impl RedisQueues {
    pub(super) async fn group_of(
        &self,
        queue: &Key,
        group: JobId,
        wait: bool,
        options: CallOptions,
    ) -> Result<Option<GroupView>> {
        let [key, _] = group_keys(queue, group);
        let (wait, awaited): (&[u8], _) = (if wait { b"1" } else { b"0" }, micros(AWAITED));
        let (keys, arguments) = ([key.as_bytes()], [wait, awaited.as_bytes()]);
        let look = self.scripts.run(&LOOK_GROUP, &keys, &arguments, options);
        match look.await? {
            Frame::Null => Ok(None),
            reply => to_group(&reply).map(Some).ok_or_else(|| unexpected(&reply)),
        }
    }
}

/// What the jobs leave that are settled.
pub(super) fn works_of(ask: &Ask) -> impl Iterator<Item = &Work> {
    ask.settled.iter().filter_map(|it| match &it.settlement {
        Settlement::Succeeded { work, .. } => work.as_deref(),
        _ => None,
    })
}

/// Which keys its group has if it begins one, the group, what is left, and the result of the job.
pub(super) fn pack_work(key: usize, work: &Work, result: &[u8]) -> Vec<u8> {
    let member = pack_member(&work.group);
    let left = pack_left(&work.left, &work.said);
    let mut packed = few(key).to_le_bytes().to_vec();
    packed.extend(lengthy(
        &[&[short(member.len())], &member[..], &left].concat(),
    ));
    packed.extend(result);
    packed
}

/// Nothing, if nothing is left.
fn pack_left(left: &[Left], said: &[Said]) -> Vec<u8> {
    let mut packed = Vec::new();
    if left.is_empty() && said.is_empty() {
        return packed;
    }
    packed.put_u16_le(few(said.len()));
    for it in said {
        packed.push(match it {
            Said::Set(_) => b's',
            Said::Append(_) => b'a',
            Said::Fix(_) => b'f',
        });
        packed.extend(lengthy(it.value()));
    }
    packed.put_u16_le(few(left.len()));
    for it in left {
        pack_gate(it.after.as_ref(), &mut packed);
        packed.extend(it.job.id.bytes());
        packed.extend(lengthy(&pack_push(&it.queue, &it.job)));
    }
    packed
}

fn pack_gate(gate: Option<&Gate>, packed: &mut Vec<u8>) {
    let on = gate.map_or(&[][..], |gate| &gate.on);
    let least = gate.map(|gate| gate.condition.least(on.len()));
    packed.push(match least {
        None => b'-',
        Some((_, false)) => b'd',
        Some((_, true)) => b's',
    });
    packed.put_u32_le(least.map_or(0, |(least, _)| least));
    packed.put_u16_le(few(on.len()));
    on.iter().for_each(|id| packed.extend(id.bytes()));
}

/// A job for a queue, as an effect has it.
fn pack_push(queue: &str, job: &NewJob) -> Vec<u8> {
    let mut packed = vec![short(queue.len())];
    packed.extend(queue.as_bytes());
    packed.put_f64_le(double(whole_micros(job.delay)));
    packed.extend(pack(job));
    packed
}

/// The arguments of `bring.lua` behind the channel, and the groups whose keys it needs.
pub(super) fn pack_bring(it: &Bring) -> (Vec<Vec<u8>>, Vec<JobId>) {
    let number = |number: usize| number.to_string().into_bytes();
    let mut packed = vec![number(it.want), number(it.performed.len())];
    packed.extend(it.performed.iter().map(|name| pack_name(*name)));
    packed.push(number(it.told.len()));
    packed.extend(it.told.iter().map(|id| id.bytes().to_vec()));
    let mut groups: Vec<_> = it.ended.iter().map(|it| it.group).collect();
    groups.sort_unstable();
    groups.dedup();
    for it in &it.ended {
        let nth = groups.binary_search(&it.group).map_or(0, |nth| nth + 1);
        packed.extend([
            it.group.bytes().to_vec(),
            number(nth),
            it.id.bytes().to_vec(),
            vec![letter(it.end)],
            pack_left(&it.left, &it.said),
        ]);
    }
    (packed, groups)
}

fn pack_name(name: EffectName) -> Vec<u8> {
    let (kind, id) = match name {
        EffectName::Ended(id) => (b'E', id),
        EffectName::Push(id) => (b'P', id),
    };
    [&[kind][..], &id.bytes()].concat()
}

const fn letter(end: MemberEnd) -> u8 {
    match end {
        MemberEnd::Succeeded => b'S',
        MemberEnd::Dead => b'D',
        MemberEnd::Cancelled => b'C',
        MemberEnd::Expired => b'E',
    }
}

/// Behind its length.
fn lengthy(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("more work was refused");
    [&length.to_le_bytes()[..], text].concat()
}

fn short(length: usize) -> u8 {
    u8::try_from(length).expect("a longer name was refused")
}

fn few(number: usize) -> u16 {
    u16::try_from(number).expect("more were refused")
}

/// Reads what was packed, from the front.
struct Reader(Bytes);

impl Reader {
    fn take(&mut self, length: usize) -> Option<Bytes> {
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?[..].try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn few(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn lengthy(&mut self) -> Option<Bytes> {
        let length = u32::from_le_bytes(self.array()?);
        self.take(usize::try_from(length).ok()?)
    }

    fn id(&mut self) -> Option<JobId> {
        self.array().map(JobId::from_bytes)
    }

    /// The name of a queue behind its length, and so many bytes that belong to it.
    fn queue(&mut self, more: usize) -> Option<Bytes> {
        let length = self.byte()?;
        self.take(usize::from(length) + more)
    }
}

pub(super) fn to_effects(reply: &Frame) -> Option<Vec<Effect>> {
    reply.as_array()?.chunks(2).map(to_effect).collect()
}

fn to_effect(parts: &[Frame]) -> Option<Effect> {
    let [name, effect] = parts else {
        return None;
    };
    let (kind, id) = bytes(name)?.split_first()?;
    let id = JobId::from_bytes(id.try_into().ok()?);
    let effect = bytes(effect)?.clone();
    match kind {
        b'E' => to_ended(id, effect),
        b'P' => to_push(id, effect).map(|(queue, job)| Effect::Push(queue, job)),
        _ => None,
    }
}

fn to_push(id: JobId, packed: Bytes) -> Option<(String, NewJob)> {
    let mut reader = Reader(packed);
    let queue = text(&reader.queue(0)?)?;
    let delay = Duration::from_micros(whole(f64::from_le_bytes(reader.array()?)));
    Some((queue, to_new(id, delay, &reader.0)?))
}

fn to_ended(id: JobId, packed: Bytes) -> Option<Effect> {
    let mut reader = Reader(packed);
    let MemberOf { queue, group } = to_member(&reader.queue(16)?)?;
    let end = match reader.byte()? {
        b'S' => MemberEnd::Succeeded,
        b'D' => MemberEnd::Dead,
        b'C' => MemberEnd::Cancelled,
        b'E' => MemberEnd::Expired,
        _ => return None,
    };
    let (left, said) = to_left(reader)?;
    let ended = MemberEnded {
        group,
        id,
        end,
        left,
        said,
    };
    Some(Effect::Ended(queue, ended))
}

fn to_left(mut reader: Reader) -> Option<(Vec<Left>, Vec<Said>)> {
    if reader.0.is_empty() {
        return Some(Default::default());
    }
    let said = (0..reader.few()?).map(|_| {
        let (mode, value) = (reader.byte()?, reader.lengthy()?);
        Some(match mode {
            b's' => Said::Set(value),
            b'a' => Said::Append(value),
            b'f' => Said::Fix(value),
            _ => return None,
        })
    });
    let said = said.collect::<Option<_>>()?;
    let left = (0..reader.few()?).map(|_| {
        let after = to_gate(&mut reader)?;
        let (id, job) = (reader.id()?, reader.lengthy()?);
        let (queue, job) = to_push(id, job)?;
        Some(Left { queue, job, after })
    });
    let left = left.collect::<Option<_>>()?;
    reader.0.is_empty().then_some((left, said))
}

#[expect(
    clippy::option_option,
    reason = "nothing there is not the same as not understood"
)]
fn to_gate(reader: &mut Reader) -> Option<Option<Gate>> {
    let mode = reader.byte()?;
    let least = u32::from_le_bytes(reader.array()?);
    let on = (0..reader.few()?).map(|_| reader.id());
    let on = on.collect::<Option<Vec<_>>>()?;
    let condition = match mode {
        b'-' => return Some(None),
        // All of them is as many as there are.
        b'd' => Condition::Done(least),
        b's' => Condition::Succeeded(least),
        _ => return None,
    };
    Some(Some(Gate { condition, on }))
}

pub(super) fn to_ids(reply: &Frame) -> Option<Vec<JobId>> {
    let id = |frame| Some(JobId::from_bytes(bytes(frame)?[..].try_into().ok()?));
    reply.as_array()?.iter().map(id).collect()
}

/// What `look_group.lua` tells: the fields of a hash, in any order.
fn to_group(reply: &Frame) -> Option<GroupView> {
    let (mut head, mut values) = (None, Vec::new());
    for field in fields(reply)? {
        let (name, value) = field?;
        match name.split_first()? {
            (b'h', []) => head = Some(to_head(value)?),
            (b'v', nth) => values.push((u32::from_be_bytes(nth.try_into().ok()?), value.clone())),
            _ => {}
        }
    }
    values.sort_unstable_by_key(|(nth, _)| *nth);
    let values = values.into_iter().map(|(_, value)| value).collect();
    Some(GroupView { values, ..head? })
}

/// A hash as either protocol tells it.
fn fields(reply: &Frame) -> Option<Vec<Option<(&Bytes, &Bytes)>>> {
    let both = |name, value| Some((bytes(name)?, bytes(value)?));
    match reply {
        Frame::Map(pairs) => Some(
            pairs
                .iter()
                .map(|(name, value)| both(name, value))
                .collect(),
        ),
        reply => {
            let pairs = reply.as_array()?.chunks(2);
            Some(
                pairs
                    .map(|pair| both(pair.first()?, pair.get(1)?))
                    .collect(),
            )
        }
    }
}

fn to_head(packed: &Bytes) -> Option<GroupView> {
    let (numbers, fixed) = packed.split_at_checked(80)?;
    let number = |at: usize| {
        let part = numbers.get(at * 8..at * 8 + 8)?.try_into().ok()?;
        Some(whole(f64::from_le_bytes(part)))
    };
    Some(GroupView {
        open: number(2)?,
        succeeded: number(3)?,
        dead: number(4)?,
        cancelled: number(5)?,
        expired: number(6)?,
        values: Vec::new(),
        is_fixed: fixed == [1],
        dropped: number(9)?,
    })
}

fn text(bytes: &Bytes) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}
