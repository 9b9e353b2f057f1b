//! Several requests that are allowed together or not at all, of different keys and limiters.

use std::future::IntoFuture;

use super::decision::{Decision, Receipt};
use super::handle::Limiter;
use super::port::LimitKey;
use super::request::LimitRequest;
use crate::error::{Error, Result};
use crate::hooks::ErrorSource;

/// The result of asking for several requests together.
#[derive(Debug)]
#[must_use = "a refused request is to be turned away"]
#[non_exhaustive]
pub enum Reserved {
    /// All of them are allowed, and counted; the decisions in their order.
    Allowed(Vec<Decision>),
    /// One is refused, and none is counted any more.
    #[non_exhaustive]
    Denied {
        /// Which, from 0.
        which: usize,
        /// Why.
        decision: Box<Decision>,
    },
}

impl Reserved {
    /// Whether all of them are allowed.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }
}

/// Counts several requests, of different keys, limiters or actions, or none of them: such as one by address and one by user.
///
/// Different keys are on different servers of a cluster, so this is not one moment: the requests are counted one after the other,
/// in their order, and when one is refused or fails, those before it are taken back. For as long as the call takes, others may
/// find them counted; none stays half counted, unless the home cannot be asked or the process ends just then. What cannot be
/// taken back is told to `on_error`, and ends with its window.
///
/// Put the one first that refuses most.
///
/// # Errors
/// `InvalidInput` for one that breaks a rule, before anything is counted; and those of the backend.
///
/// # Cancel safety
/// When the future is dropped, what was counted is taken back in the background. A request that was under way just then may
/// stay counted.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::{Fleet, Policy};
/// use quorate::limit::{Reserved, reserve};
/// use std::time::Duration;
///
/// let fleet = Fleet::embedded();
/// let minute = Duration::from_secs(60);
/// let by_address = fleet.limiter("login-address", Policy::sliding_log(20, minute));
/// let by_user = fleet.limiter("login-user", Policy::sliding_log(5, minute));
/// match reserve([by_user.consume("ann"), by_address.consume("203.0.113.7")]).await? {
///     Reserved::Allowed(_) => println!("go on"),
///     Reserved::Denied { which, .. } => println!("number {which} has had enough"),
///     _ => {}
/// }
/// # Ok(()) }
/// ```
pub async fn reserve(requests: impl IntoIterator<Item = LimitRequest>) -> Result<Reserved> {
    let mut requests: Vec<_> = requests.into_iter().collect();
    if requests.len() > 1 {
        // What is in hand has no receipt, and could not be taken back.
        for request in &mut requests {
            request.limiter.batch = None;
        }
    }
    for request in &requests {
        request.check_input()?;
    }
    let mut taken = Taken(Vec::with_capacity(requests.len()));
    let mut decisions = Vec::with_capacity(requests.len());
    for (which, request) in requests.into_iter().enumerate() {
        let (limiter, key) = request.target()?;
        let decision = match request.into_future().await {
            Ok(decision) => decision,
            Err(error) => {
                taken.give_back().await;
                return Err(error);
            }
        };
        if !decision.is_allowed() {
            taken.give_back().await;
            let decision = Box::new(decision);
            return Ok(Reserved::Denied { which, decision });
        }
        if let Some(receipt) = decision.receipt() {
            taken.0.push((limiter, key, receipt));
        }
        decisions.push(decision);
    }
    taken.0.clear();
    Ok(Reserved::Allowed(decisions))
}

/// What was counted so far. Dropped with anything in it, that is taken back.
struct Taken(Vec<(Limiter, LimitKey, Receipt)>);

impl Taken {
    async fn give_back(&mut self) {
        let all = self.0.drain(..).map(|(limiter, key, receipt)| {
            // In tasks of their own: a future that is dropped here takes none of them back twice, and leaves none out.
            let (sent, done) = tokio::sync::oneshot::channel();
            let context = limiter.shared.context.clone();
            context.spawn(async move {
                take_back(&limiter, &key, &receipt).await;
                drop(sent);
            });
            done
        });
        for done in all.collect::<Vec<tokio::sync::oneshot::Receiver<()>>>() {
            // Ends when its sender is dropped, which says no more than that it is over.
            let _ = done.await;
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        for (limiter, key, receipt) in self.0.drain(..) {
            let context = limiter.shared.context.clone();
            context.spawn(async move { take_back(&limiter, &key, &receipt).await });
        }
    }
}

async fn take_back(limiter: &Limiter, key: &LimitKey, receipt: &Receipt) {
    let result: Result<bool, Error> = limiter.take_back(key, receipt).await;
    if let Err(error) = result {
        limiter
            .shared
            .context
            .hooks
            .error(ErrorSource::Limit, &error);
    }
}
