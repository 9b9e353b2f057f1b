//! Writes under construction: each is sent when it is awaited.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::area::StoreKey;
use super::entry::{Expiry, Once, Write, Written};
use super::handle::Stores;
use super::port::WriteOptions;
use crate::bounds::{OF_STORES, check_count};
use crate::context::{Limits, Operation, Repeat};
use crate::durability::{Durability, Durable, Reached};
use crate::error::{Error, ErrorKind, Result};
use crate::key::check_name;
use crate::lock::FencingToken;

static SET_MANY: Operation =
    Operation::new("store.set_many", "store", "set_many", Repeat::Harmless);

/// A write, and how it is to be made.
#[derive(Debug)]
pub(super) struct Pending {
    shared: Arc<Stores>,
    operation: &'static Operation,
    prepared: Result<(StoreKey, Write)>,
    limits: Limits,
    remember: Duration,
    /// The idempotency key.
    once: Option<String>,
    token: Option<FencingToken>,
    durability: Option<Durability>,
}

impl Pending {
    pub(super) fn new(
        shared: Arc<Stores>,
        operation: &'static Operation,
        prepared: Result<(StoreKey, Write)>,
        remember: Duration,
        limits: Limits,
    ) -> Self {
        Self {
            shared,
            operation,
            prepared,
            limits,
            remember,
            once: None,
            token: None,
            durability: None,
        }
    }

    /// Changes what becomes of the entry's end.
    fn set_expiry(&mut self, new: Result<Expiry>) {
        match (&mut self.prepared, new) {
            (Ok((_, Write::Set { expiry, .. } | Write::Add { expiry, .. })), Ok(new)) => {
                *expiry = new;
            }
            (prepared @ Ok(_), Err(error)) => *prepared = Err(error),
            _ => {}
        }
    }

    async fn send(self) -> Result<(Written, Reached)> {
        let operation = self.operation;
        let named = |error: Error| error.with_operation(operation.name);
        let (key, write) = self.prepared.map_err(named)?;
        if let Some(durability) = &self.durability {
            durability.check().map_err(named)?;
        }
        let once = self
            .once
            .map(|id| once(id, &write, self.remember))
            .transpose()
            .map_err(named)?;
        let mut limits = self.limits;
        // What is remembered may be repeated, whatever it is.
        limits.is_harmless |= once.is_some();
        if let Some(durability) = &self.durability {
            // A group may be under way, whose wait comes first.
            limits.more_time = durability.within * 2;
        }
        let (context, port) = (&self.shared.context, &self.shared.port);
        let (written, reached) = context
            .run_within(limits, operation, key.shown(), |attempt| {
                let options = WriteOptions::new(attempt.options())
                    .once(once.clone())
                    .token(self.token)
                    .durability(self.durability);
                port.write(&key, &write, options)
            })
            .await?;
        let refused = |error: Error| Err(named(error).with_target(key.shown()));
        match written {
            Written::NotACounter => refused(
                Error::new(ErrorKind::Decode)
                    .with_message("the value is no whole number of 64 bits"),
            ),
            Written::Overflow => refused(Error::invalid(
                "by",
                "must not take the counter out of the range of 64 bits",
            )),
            Written::OtherWrite => refused(Error::invalid(
                "idempotency_key",
                "must not be that of another write, which is still remembered",
            )),
            written => Ok((written, reached)),
        }
    }
}

fn once(id: String, write: &Write, remember: Duration) -> Result<Once> {
    check_name("idempotency_key", &id)?;
    let remember = OF_STORES.checked("remember", remember)?;
    Ok(Once {
        id,
        fingerprint: write.fingerprint(),
        remember,
    })
}

/// Methods that several writes have.
macro_rules! options {
    (ttl) => {
        /// Lets the entry live for `ttl` from now: at least 1 ms, at most 100 years.
        pub fn ttl(mut self, ttl: Duration) -> Self {
            self.0
                .set_expiry(OF_STORES.checked("ttl", ttl).map(Expiry::After));
            self
        }

        /// Lets the entry live until somebody removes it.
        pub fn no_ttl(mut self) -> Self {
            self.0.set_expiry(Ok(Expiry::Never));
            self
        }

        /// Lets the entry end when it would have ended before; a new one has no end.
        pub fn keep_ttl(mut self) -> Self {
            self.0.set_expiry(Ok(Expiry::Keep));
            self
        }
    };
    (idempotent) => {
        /// Makes the write happen once however often it has to be sent: with an idempotency key of its
        /// own, it is repeated when its reply is lost, and answered as the first time.
        pub fn idempotent(self) -> Self {
            let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
            self.idempotency_key(id.simple().to_string())
        }

        /// Makes the write happen once however often it is made with this key, by whoever: while the key
        /// is remembered, repetitions are answered as the first time and do nothing.
        ///
        /// The key belongs to the entry and to this very write: the same key for another write to the entry is
        /// refused with `InvalidInput`. 1 to 512 bytes.
        pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
            self.0.once = Some(key.into());
            self
        }

        /// How long the idempotency key is remembered, instead of what the spec says.
        pub fn remember(mut self, time: Duration) -> Self {
            self.0.remember = time;
            self
        }
    };
    (durable) => {
        /// Makes the write only with a fencing token that is as great as the greatest which the entry was written with, and
        /// remembers it: a holder of a lock that was paused past its lease writes nothing.
        ///
        /// The greatest is remembered for 31 days after the last write with a token, also when the entry is gone. Writes
        /// without one are not stopped: fence all of them, or none.
        pub fn fenced(mut self, token: FencingToken) -> FencedWrite<Self> {
            self.0.token = Some(token);
            FencedWrite(self)
        }

        /// Answers when the write is so safe, or the time for that is up, and says how safe it is.
        pub fn durable(mut self, durability: Durability) -> DurableWrite<Self> {
            self.0.durability = Some(durability);
            DurableWrite {
                write: self,
                durability,
            }
        }

        /// Bounds the call with all its attempts.
        pub fn deadline(mut self, deadline: Duration) -> Self {
            self.0.limits.deadline = Some(deadline);
            self
        }
    };
}

/// A write that is awaited for its answer alone, or with how safe it is.
trait Answer: Sized {
    type Value;

    fn pending(self) -> Pending;

    fn answer(written: Written) -> Self::Value;
}

macro_rules! write_builder {
    ($(#[$doc:meta])* $name:ident -> $value:ty, $answer:expr, [$($option:ident),*]) => {
        $(#[$doc])*
        ///
        /// # Errors
        /// `InvalidInput` with the field and the rule, before anything is sent; `Encode`; `Unsupported` for a
        /// durability that the home cannot give; and those of the backend.
        ///
        /// # Cancel safety
        /// When the future is dropped, the write may or may not be made.
        #[must_use = "nothing is written until it is awaited"]
        #[derive(Debug)]
        pub struct $name(Pending);

        impl $name {
            pub(super) fn new(pending: Pending) -> Self {
                Self(pending)
            }

            $(options!($option);)*
        }

        impl Answer for $name {
            type Value = $value;

            fn pending(self) -> Pending {
                self.0
            }

            fn answer(written: Written) -> $value {
                let answer: fn(Written) -> $value = $answer;
                answer(written)
            }
        }

        impl IntoFuture for $name {
            type Output = Result<$value>;
            type IntoFuture = BoxFuture<'static, Self::Output>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin(async move { Ok(Self::answer(self.0.send().await?.0)) })
            }
        }

        impl IntoFuture for FencedWrite<$name> {
            type Output = Result<Fenced<$value>>;
            type IntoFuture = BoxFuture<'static, Self::Output>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin(send_fenced(self))
            }
        }

        impl IntoFuture for DurableWrite<$name> {
            type Output = Result<Durable<$value>>;
            type IntoFuture = BoxFuture<'static, Self::Output>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin(send_durably(self))
            }
        }
    };
}

write_builder! {
    /// Gives an entry a value.
    SetEntry -> (), |_| (), [ttl, durable]
}

write_builder! {
    /// Writes if a condition holds; the answer says whether it did.
    ConditionalWrite -> bool, |written| written == Written::Applied, [ttl, idempotent, durable]
}

write_builder! {
    /// Removes an entry, or changes how long it lives; the answer says whether it did.
    RemoveEntry -> bool, |written| written == Written::Applied, [idempotent, durable]
}

write_builder! {
    /// Adds to a counter; the answer is its new value.
    Increment -> i64, |written| match written {
        Written::Count(count) => count,
        _ => 0,
    }, [ttl, idempotent, durable]
}

/// A write that is made with a fencing token, unless a greater one was there before.
#[must_use = "nothing is written until it is awaited"]
#[derive(Debug)]
pub struct FencedWrite<W>(W);

/// What became of a write with a fencing token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the write may have been refused"]
#[non_exhaustive]
pub enum Fenced<T> {
    /// The token was great enough, and this is the write's own answer.
    Done(T),
    /// Somebody wrote with a greater token: nothing was done.
    #[non_exhaustive]
    Stale {
        /// The greatest that was seen.
        greatest: FencingToken,
    },
}

impl<T> Fenced<T> {
    /// The write's own answer, if its token was great enough.
    #[must_use]
    pub fn done(self) -> Option<T> {
        match self {
            Self::Done(answer) => Some(answer),
            Self::Stale { .. } => None,
        }
    }
}

async fn send_fenced<W: Answer>(write: FencedWrite<W>) -> Result<Fenced<W::Value>> {
    let (written, _) = write.0.pending().send().await?;
    Ok(match written {
        Written::Stale(greatest) => Fenced::Stale { greatest },
        written => Fenced::Done(W::answer(written)),
    })
}

/// A write that is answered when it is safe.
#[must_use = "nothing is written until it is awaited"]
#[derive(Debug)]
pub struct DurableWrite<W> {
    write: W,
    durability: Durability,
}

async fn send_durably<W: Answer>(write: DurableWrite<W>) -> Result<Durable<W::Value>> {
    let asked = write.durability;
    let (written, reached) = write.write.pending().send().await?;
    Ok(Durable {
        value: W::answer(written),
        reached,
        asked,
    })
}

/// Gives several entries a value.
///
/// # Errors
/// `InvalidInput` with the field and the rule, before anything is sent; `Encode`; and those of the backend.
///
/// # Cancel safety
/// When the future is dropped, any of the entries may or may not be set.
#[must_use = "nothing is written until it is awaited"]
#[derive(Debug)]
pub struct SetMany {
    shared: Arc<Stores>,
    store: String,
    entries: Result<Vec<(StoreKey, Bytes)>>,
    ttl: Result<Option<Duration>>,
    limits: Limits,
}

impl SetMany {
    pub(super) fn new(
        shared: Arc<Stores>,
        store: &str,
        entries: Result<Vec<(StoreKey, Bytes)>>,
        ttl: Option<Duration>,
        limits: Limits,
    ) -> Self {
        Self {
            shared,
            store: store.to_owned(),
            entries,
            ttl: Ok(ttl),
            limits,
        }
    }

    /// Lets the entries live for `ttl` from now: at least 1 ms, at most 100 years.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = OF_STORES.checked("ttl", ttl).map(Some);
        self
    }

    /// Lets the entries live until somebody removes them.
    pub fn no_ttl(mut self) -> Self {
        self.ttl = Ok(None);
        self
    }

    async fn send(self) -> Result<()> {
        let named = |error: Error| error.with_operation(SET_MANY.name);
        let (entries, ttl) = (self.entries.map_err(named)?, self.ttl.map_err(named)?);
        check_count(entries.len()).map_err(named)?;
        if entries.is_empty() {
            return Ok(());
        }
        let (context, port) = (&self.shared.context, &self.shared.port);
        context
            .run_within(self.limits, &SET_MANY, &self.store, |attempt| {
                port.set_many(&entries, ttl, attempt.options())
            })
            .await
    }
}

impl IntoFuture for SetMany {
    type Output = Result<()>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
