//! One publish, with its optional arguments.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::envelope::{self, Draft, Header};
use super::handle::Topic;
use super::hub::check_size;
use super::port::{Receipt, Submission};
use crate::clock::system_now;
use crate::context::Call;
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::ErrorSource;
use crate::key::check_name;

/// A publish about to be made: optional arguments, then `.await`, or [`detach`](Self::detach).
///
/// # Errors
/// `InvalidInput` (refused by `validate`, oversized, a bad argument), `Encode`, `Closed`, and those of
/// the transport. After a lost reply the outcome is `Unknown` and the publish is not repeated; on a topic
/// that is kept it is repeated, because its id tells whether it was applied.
///
/// # Cancel safety
/// When the future is dropped, the message may or may not be published.
#[must_use = "a publish is made by awaiting it, or by `detach`"]
#[derive(Debug)]
pub struct Publish<'a, T> {
    topic: &'a Topic<T>,
    value: &'a T,
    event_type: Option<&'a str>,
    source: Option<&'a str>,
    correlation_id: Option<&'a str>,
    content_type: Option<&'a str>,
    except: Option<&'a str>,
    exclude_self: bool,
    deadline: Option<Duration>,
}

impl<'a, T: Send + Sync + 'static> Publish<'a, T> {
    pub(super) fn new(topic: &'a Topic<T>, value: &'a T) -> Self {
        Self {
            topic,
            value,
            event_type: None,
            source: None,
            correlation_id: None,
            content_type: None,
            except: None,
            exclude_self: false,
            deadline: None,
        }
    }

    /// The message's type. Default: the topic's name.
    pub fn event_type(mut self, event_type: &'a str) -> Self {
        self.event_type = Some(event_type);
        self
    }

    /// Who publishes. Default: the fleet's service name.
    pub fn source(mut self, source: &'a str) -> Self {
        self.source = Some(source);
        self
    }

    /// An id that ties the message to a request.
    pub fn correlation_id(mut self, correlation_id: &'a str) -> Self {
        self.correlation_id = Some(correlation_id);
        self
    }

    /// The payload's media type, for codecs that carry anything. Default: the codec's.
    pub fn content_type(mut self, content_type: &'a str) -> Self {
        self.content_type = Some(content_type);
        self
    }

    /// A receiver to be left out, by a name that means something to whoever passes messages on, such as a
    /// hub of WebSocket clients. The message reaches every subscription all the same, and
    /// [`Message::except`](crate::Message::except) tells it.
    pub fn except(mut self, receiver: &'a str) -> Self {
        self.except = Some(receiver);
        self
    }

    /// Keeps the message from this instance's own subscriptions. Default: they receive it.
    pub fn exclude_self(mut self) -> Self {
        self.exclude_self = true;
        self
    }

    /// Time for the whole call.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Publishes in the background. What cannot be published is reported to `on_error`.
    ///
    /// The value is encoded before this returns. Order among detached publishes is not promised.
    pub fn detach(self) {
        let hub = self.topic.hub.clone();
        let deadline = self.deadline;
        let outgoing = self.topic.outgoing().clone();
        let report = {
            let hub = hub.clone();
            let topic = self.topic.name().to_owned();
            move |error: Error| {
                let error = error.with_operation("events.publish").with_target(topic);
                hub.context.hooks.error(ErrorSource::Publish, &error);
            }
        };
        let open = hub.context.check_open();
        let (mut draft, id) = match open.and_then(|()| self.draft()) {
            Ok(draft) => draft,
            Err(error) => return report(error),
        };
        let context = hub.context.clone();
        let failed = report.clone();
        let kept = (self.topic.spec.keep, self.topic.unit.clone());
        let started = context.spawn(async move {
            if let (Some(keep), unit) = kept {
                let message = draft.into_bytes();
                let append = hub.append(&unit, &outgoing, message, id, keep, deadline);
                if let Err(error) = append.await {
                    report(error);
                }
                return;
            }
            let (call, submission) = hub.offer(&outgoing, &mut draft, deadline);
            let result = match submission {
                Submission::Done(result) => result.map_err(Some),
                Submission::Pending(reply) => reply.await.map_err(Some),
                Submission::Unavailable => Err(None),
            };
            let result = match result {
                Ok(receipt) => hub.published(&call, receipt),
                Err(failed) => hub.persist(&outgoing, call, draft, failed).await,
            };
            if let Err(error) = result {
                report(error);
            }
        });
        if !started {
            failed(
                Error::new(ErrorKind::Unsupported)
                    .with_message("there is no runtime to publish on"),
            );
        }
    }

    /// Checks everything and encodes the message; nothing has happened yet.
    fn draft(&self) -> Result<(Draft, [u8; 16])> {
        let topic = self.topic;
        if let Some(validate) = topic.spec.validate {
            validate(self.value).map_err(|rule| Error::invalid("payload", rule))?;
        }
        self.check_texts()?;
        let codec = &topic.spec.codec;
        let timestamp_ms = system_now().get() / 1000;
        // At once: an array is drawn byte by byte.
        let [random @ .., _, _, _, _, _, _] = rand::random::<u128>().to_ne_bytes();
        let header = Header::<&str> {
            // A version 7 UUID, from the time read above and this thread's generator: the crate's own
            // way asks the operating system for both, which takes a third of a publish.
            id: uuid::Builder::from_unix_timestamp_millis(timestamp_ms, &random).into_uuid(),
            timestamp_ms,
            source: Some(self.source.unwrap_or(&topic.hub.service)),
            event_type: Some(self.event_type.unwrap_or(&topic.spec.name)),
            key: topic.key.as_deref(),
            correlation_id: self.correlation_id,
            content_type: Some(self.content_type.unwrap_or_else(|| codec.content_type())),
            except: self.except,
        };
        let id = header.id.into_bytes();
        let room = topic.outgoing().room();
        let kept = topic.spec.keep.is_some();
        let mut message = envelope::head(self.exclude_self, kept, &header, room)
            .ok_or_else(|| Error::invalid("header", "must be at most 65535 bytes"))?;
        if kept {
            // Epoch and offset are the history's to give.
            envelope::place(&mut message, topic.hub.publisher, 0, 0);
        }
        let payload_at = message.len();
        codec
            .encode_behind(self.value, &mut message)
            .map_err(|source| Error::new(ErrorKind::Encode).with_source(source))?;
        check_size(message.len() - payload_at, topic.hub.max_payload)?;
        Ok((Draft::Fresh(message), id))
    }

    fn check_texts(&self) -> Result<()> {
        for (field, text) in [
            ("event_type", self.event_type),
            ("source", self.source),
            ("correlation_id", self.correlation_id),
            ("content_type", self.content_type),
            ("except", self.except),
        ] {
            text.map(|text| check_name(field, text)).transpose()?;
        }
        if self.event_type.is_some_and(|name| name.starts_with("__")) {
            return Err(Error::invalid(
                "event_type",
                "must not begin with `__`, which is reserved",
            ));
        }
        Ok(())
    }

    /// Encodes the message and offers it, without waiting.
    fn offer(&self) -> Result<Step<'a, T>> {
        let topic = self.topic;
        let (mut draft, id) = self.draft().map_err(|error| {
            error
                .with_operation("events.publish")
                .with_target(topic.name())
        })?;
        if let Some(keep) = topic.spec.keep {
            let (outgoing, deadline) = (topic.outgoing(), self.deadline);
            let message = draft.into_bytes();
            let append = topic
                .hub
                .append(&topic.unit, outgoing, message, id, keep, deadline);
            return Ok(Step::Persisting(Box::pin(append)));
        }
        let (call, submission) = topic.hub.offer(topic.outgoing(), &mut draft, self.deadline);
        Ok(Step::Offered(Offered {
            topic,
            draft,
            call,
            submission,
        }))
    }
}

impl<'a, T: Send + Sync + 'static> IntoFuture for Publish<'a, T> {
    type Output = Result<Receipt>;
    type IntoFuture = Publishing<'a, T>;

    fn into_future(self) -> Self::IntoFuture {
        Publishing(Step::Prepared(self))
    }
}

/// A publish under way; see [`Publish`].
///
/// Nothing happens before it is polled.
///
/// # Panics
/// When polled again after it was ready.
#[must_use = "a publish is made by awaiting it"]
pub struct Publishing<'a, T>(Step<'a, T>);

// A state machine of its own: nearly always a message is encoded, offered and confirmed without any
// detour, and an async function would have to be boxed with all it needs for the detours.
enum Step<'a, T> {
    Prepared(Publish<'a, T>),
    Offered(Offered<'a, T>),
    /// There was no room, or it failed; or the topic is kept.
    Persisting(BoxFuture<'a, Result<Receipt>>),
    Ended,
}

struct Offered<'a, T> {
    topic: &'a Topic<T>,
    draft: Draft,
    call: Call<'static>,
    submission: Submission,
}

impl<'a, T: Send + Sync + 'static> Offered<'a, T> {
    /// What came of the offer: a receipt, or why there is none; `None` for want of room.
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Receipt, Option<Error>>> {
        let unavailable = Submission::Unavailable;
        if let Submission::Pending(reply) = &mut self.submission {
            return reply.as_mut().poll(cx).map_err(Some);
        }
        Poll::Ready(match std::mem::replace(&mut self.submission, unavailable) {
            Submission::Done(result) => result.map_err(Some),
            Submission::Pending(_) | Submission::Unavailable => Err(None),
        })
    }

    fn persist(self, failed: Option<Error>) -> BoxFuture<'a, Result<Receipt>> {
        let Self {
            topic, draft, call, ..
        } = self;
        let hub = &topic.hub;
        Box::pin(hub.persist(topic.outgoing(), call, draft, failed))
    }
}

impl<T: Send + Sync + 'static> Future for Publishing<'_, T> {
    type Output = Result<Receipt>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let step = &mut self.0;
        loop {
            let result = match step {
                Step::Prepared(publish) => match publish.offer() {
                    Ok(next) => {
                        *step = next;
                        continue;
                    }
                    Err(error) => Err(error),
                },
                Step::Offered(offered) => match ready!(offered.poll(cx)) {
                    Ok(receipt) => offered.topic.hub.published(&offered.call, receipt),
                    Err(failed) => {
                        if let Step::Offered(offered) = std::mem::replace(step, Step::Ended) {
                            *step = Step::Persisting(offered.persist(failed));
                        }
                        continue;
                    }
                },
                Step::Persisting(publish) => ready!(publish.as_mut().poll(cx)),
                Step::Ended => panic!("a publish was polled after it was ready"),
            };
            *step = Step::Ended;
            return Poll::Ready(result);
        }
    }
}

impl<T> fmt::Debug for Publishing<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Step::Prepared(_) => "Publishing(prepared)",
            Step::Offered(_) => "Publishing(offered)",
            Step::Persisting(_) => "Publishing(persisting)",
            Step::Ended => "Publishing(ended)",
        })
    }
}
