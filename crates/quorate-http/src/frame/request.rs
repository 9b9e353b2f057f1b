//! What clients say: a pure function of their text.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::problem::{Code, Problem};

/// Longest text a client may use as an id.
const LONGEST_ID: usize = 64;

/// The id that a client gave a request: a number, or text of at most 64 bytes. Written as it is in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RequestId(Box<str>);

impl RequestId {
    /// Reads an id. `None`: it is neither.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => Some(Self(number.to_string().into())),
            Value::String(text) if text.len() <= LONGEST_ID => Some(Self(value.to_string().into())),
            _ => None,
        }
    }

    /// As it stands in a frame, quotes included.
    pub(crate) fn as_json(&self) -> &str {
        &self.0
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// A client's frame.
#[derive(Debug)]
pub(crate) struct Request {
    /// To answer with.
    pub(crate) id: Option<RequestId>,
    /// What it asks for.
    pub(crate) verb: Verb,
}

/// What a client asks for. `params` are `Null` where there are none.
#[derive(Debug)]
pub(crate) enum Verb {
    Authenticate {
        token: String,
    },
    Subscribe {
        topic: String,
        params: Value,
        after: Option<String>,
        recent: Option<u32>,
        members: bool,
    },
    Unsubscribe {
        topic: String,
        params: Value,
    },
    Call {
        kind: String,
        data: Box<RawValue>,
    },
    Cancel {
        request: RequestId,
    },
    Publish {
        topic: String,
        params: Value,
        data: Box<RawValue>,
        event_type: Option<String>,
        echo: bool,
    },
    Presence {
        topic: String,
        params: Value,
    },
    History {
        topic: String,
        params: Value,
        after: Option<String>,
        limit: Option<u32>,
    },
    Ping,
}

impl Verb {
    /// Whether something is begun by it, which has to be finished.
    pub(crate) const fn is_work(&self) -> bool {
        !matches!(
            self,
            Self::Unsubscribe { .. } | Self::Cancel { .. } | Self::Ping
        )
    }
}

impl Request {
    /// The same frame, refused.
    pub(crate) fn refuse(self, problem: Problem) -> Box<Refused> {
        let kind = match self.verb {
            Verb::Call { kind, .. } => Some(kind),
            _ => None,
        };
        let id = self.id;
        Box::new(Refused { id, kind, problem })
    }
}

/// A frame that cannot be done, with what is needed to answer it.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) id: Option<RequestId>,
    /// The `type` it had, if any.
    pub(crate) kind: Option<String>,
    pub(crate) problem: Problem,
}

/// Reads a client's frame.
pub(crate) fn read_request(text: &str) -> Result<Request, Box<Refused>> {
    let refuse = |id, kind, rule: String| {
        let problem = Problem::new(Code::InvalidArgument, rule);
        Box::new(Refused { id, kind, problem })
    };
    let frame: Frame<'_> = match serde_json::from_str(text) {
        Ok(frame) => frame,
        // Whoever sends a list is told what is wrong with it, and not where.
        Err(_) if serde_json::from_str::<IgnoredAny>(text).is_ok() && !is_object(text) => {
            return Err(refuse(None, None, "frame must be a JSON object".to_owned()));
        }
        Err(error) => return Err(refuse(None, None, format!("frame must be JSON: {error}"))),
    };
    let mut members = Members::default();
    let read = members.read(frame);
    let Members { id, kind, .. } = &members;
    let (id, kind) = (id.clone(), kind.clone());
    match read.and_then(|()| members.verb()) {
        Ok(verb) => Ok(Request { id, verb }),
        Err(rule) => Err(refuse(id, kind, rule)),
    }
}

fn is_object(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

/// The members in the order they were written, not looked into yet.
struct Frame<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Frame<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Frame<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Frame<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Frame(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// What a frame may have. `null` is as good as absent, but for payloads.
#[derive(Default)]
struct Members {
    id: Option<RequestId>,
    kind: Option<String>,
    authenticate: Option<String>,
    subscribe: Option<String>,
    unsubscribe: Option<String>,
    publish: Option<String>,
    presence: Option<String>,
    history: Option<String>,
    cancel: Option<RequestId>,
    ping: Option<bool>,
    params: Value,
    data: Option<Box<RawValue>>,
    after: Option<String>,
    recent: Option<u32>,
    limit: Option<u32>,
    members: Option<bool>,
    echo: Option<bool>,
    event_type: Option<String>,
}

impl Members {
    /// Reads every member, so that errors name the one that is wrong. The id comes first: errors carry
    /// it wherever it stands.
    fn read(&mut self, Frame(members): Frame<'_>) -> Result<(), String> {
        let id = members.iter().rev().find(|(name, _)| name == "id");
        if let Some((_, raw)) = id
            && raw.get() != "null"
        {
            let rule = format!("id must be a number, or text of at most {LONGEST_ID} bytes");
            self.id = Some(request_id(raw).ok_or(rule)?);
        }
        for (name, raw) in members {
            self.member(&name, raw)?;
        }
        Ok(())
    }

    fn member(&mut self, name: &str, raw: &RawValue) -> Result<(), String> {
        match name {
            "id" => {}
            "data" => self.data = Some(raw.to_owned()),
            "params" => self.params = value(name, raw)?,
            "type" => self.kind = text(name, raw)?,
            "authenticate" => self.authenticate = text(name, raw)?,
            "subscribe" => self.subscribe = text(name, raw)?,
            "unsubscribe" => self.unsubscribe = text(name, raw)?,
            "publish" => self.publish = text(name, raw)?,
            "presence" => self.presence = text(name, raw)?,
            "history" => self.history = text(name, raw)?,
            "after" => self.after = text(name, raw)?,
            "event_type" => self.event_type = text(name, raw)?,
            "recent" => self.recent = count(name, raw)?,
            "limit" => self.limit = count(name, raw)?,
            "members" => self.members = truth(name, raw)?,
            "echo" => self.echo = truth(name, raw)?,
            "ping" => self.ping = truth(name, raw)?,
            "cancel" if raw.get() == "null" => {}
            "cancel" => {
                let rule = "cancel must be the id of a request";
                self.cancel = Some(request_id(raw).ok_or(rule)?);
            }
            _ => return Err(format!("`{name}` is not a member of a frame")),
        }
        Ok(())
    }

    /// The one thing the frame asks for, with what belongs to it and nothing else.
    fn verb(mut self) -> Result<Verb, String> {
        let verb = self.take_verb()?;
        let Self {
            params,
            data,
            after,
            recent,
            limit,
            members,
            echo,
            event_type,
            ..
        } = &self;
        for (name, left) in [
            ("params", !params.is_null()),
            ("data", data.is_some()),
            ("after", after.is_some()),
            ("recent", recent.is_some()),
            ("limit", limit.is_some()),
            ("members", members.is_some()),
            ("echo", echo.is_some()),
            ("event_type", event_type.is_some()),
        ] {
            if left {
                return Err(format!("`{name}` does not belong into this frame"));
            }
        }
        Ok(verb)
    }

    fn take_verb(&mut self) -> Result<Verb, String> {
        let asked = [
            self.kind.is_some(),
            self.authenticate.is_some(),
            self.subscribe.is_some(),
            self.unsubscribe.is_some(),
            self.publish.is_some(),
            self.presence.is_some(),
            self.history.is_some(),
            self.cancel.is_some(),
            self.ping == Some(true),
        ];
        if asked.iter().filter(|asked| **asked).count() != 1 {
            return Err(
                "frame must have exactly one of `subscribe`, `unsubscribe`, `publish`, \
                        `type`, `cancel`, `presence`, `history`, `authenticate` and `\"ping\":true`"
                    .to_owned(),
            );
        }
        if let Some(topic) = self.subscribe.take() {
            if self.after.is_some() && self.recent.is_some() {
                return Err("after and recent must not be given together".to_owned());
            }
            return Ok(Verb::Subscribe {
                topic,
                params: self.params.take(),
                after: self.after.take(),
                recent: self.recent.take(),
                members: self.members.take().unwrap_or(false),
            });
        }
        if let Some(topic) = self.publish.take() {
            let data = self.data.take().ok_or("data must be given with publish")?;
            return Ok(Verb::Publish {
                topic,
                params: self.params.take(),
                data,
                event_type: self.event_type.take(),
                echo: self.echo.take().unwrap_or(true),
            });
        }
        if let Some(topic) = self.history.take() {
            return Ok(Verb::History {
                topic,
                params: self.params.take(),
                after: self.after.take(),
                limit: self.limit.take(),
            });
        }
        Ok(if let Some(kind) = self.kind.take() {
            let data = self.data.take().unwrap_or_else(null);
            Verb::Call { kind, data }
        } else if let Some(token) = self.authenticate.take() {
            Verb::Authenticate { token }
        } else if let Some(topic) = self.unsubscribe.take() {
            let params = self.params.take();
            Verb::Unsubscribe { topic, params }
        } else if let Some(topic) = self.presence.take() {
            let params = self.params.take();
            Verb::Presence { topic, params }
        } else if let Some(request) = self.cancel.take() {
            Verb::Cancel { request }
        } else {
            Verb::Ping
        })
    }
}

fn null() -> Box<RawValue> {
    RawValue::from_string("null".to_owned()).expect("null is JSON")
}

fn request_id(raw: &RawValue) -> Option<RequestId> {
    match serde_json::from_str(raw.get()).ok()? {
        // As it was written: a float does not survive being read.
        Value::Number(_) if raw.get().len() <= LONGEST_ID => Some(RequestId(raw.get().into())),
        Value::Number(_) => None,
        other => RequestId::of(&other),
    }
}

fn value(name: &str, raw: &RawValue) -> Result<Value, String> {
    serde_json::from_str(raw.get()).map_err(|error| format!("{name} must be JSON: {error}"))
}

fn text(name: &str, raw: &RawValue) -> Result<Option<String>, String> {
    serde_json::from_str(raw.get()).map_err(|_| format!("{name} must be text"))
}

fn truth(name: &str, raw: &RawValue) -> Result<Option<bool>, String> {
    serde_json::from_str(raw.get()).map_err(|_| format!("{name} must be true or false"))
}

fn count(name: &str, raw: &RawValue) -> Result<Option<u32>, String> {
    serde_json::from_str(raw.get())
        .ok()
        .filter(|count| *count != Some(0))
        .ok_or_else(|| format!("{name} must be a whole number from 1 to {}", u32::MAX))
}

#[cfg(test)]
mod tests;
