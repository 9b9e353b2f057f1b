//! Several requests that are allowed together or not at all, of different keys and limiters.

use std::future::IntoFuture;
use std::pin::pin;

use futures_util::future::{FusedFuture, FutureExt, join_all};
use tokio::sync::oneshot;

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
/// When the future is dropped, what was counted is taken back in the background, and so is the request that is under way just
/// then, once it is answered.
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
            request.limiter = request.limiter.clone().with(|it| it.batch = None);
        }
    }
    for request in &requests {
        request.check_input()?;
    }
    let Some(first) = requests.first() else {
        return Ok(Reserved::Allowed(Vec::new()));
    };
    let context = first.limiter.inner.shared.context.clone();
    if !context.has_runtime() {
        // Then nothing waits, and it cannot be dropped in between.
        let (result, taken) = count_all(requests, std::future::pending()).await;
        taken.keep();
        return result;
    }
    let (mut answer, answered) = oneshot::channel();
    context.spawn(async move {
        let counted = count_all(requests, answer.closed()).await;
        // If nobody waits for it any more, what it holds is taken back as it is dropped.
        drop(answer.send(counted));
    });
    let Ok((result, taken)) = answered.await else {
        return Err(Error::closed("the runtime"));
    };
    taken.keep();
    result
}

/// Counts one after the other. Whatever comes of it but all of them allowed, nothing is counted any more.
///
/// It is not dropped half way. When who asks is `gone`, nothing more is asked, and what was counted is taken back at once.
async fn count_all(
    requests: Vec<LimitRequest>,
    gone: impl Future<Output = ()>,
) -> (Result<Reserved>, Taken) {
    let mut gone = pin!(gone.fuse());
    let mut taken = Taken(Vec::with_capacity(requests.len()));
    let mut decisions = Vec::with_capacity(requests.len());
    for (which, request) in requests.into_iter().enumerate() {
        let is_gone = gone.is_terminated() || gone.as_mut().now_or_never().is_some();
        let result = match request.target() {
            Ok(_) if is_gone => Err(Error::closed("the call")),
            Err(error) => Err(error),
            Ok((limiter, key)) => {
                let mut deciding = request.into_future();
                let decided = tokio::select! {
                    biased;
                    decided = &mut deciding => decided,
                    () = &mut gone => {
                        taken.give_back().await;
                        deciding.await
                    }
                };
                match decided {
                    Ok(decision) if decision.is_allowed() => {
                        let receipt = decision.receipt();
                        taken
                            .0
                            .extend(receipt.map(|receipt| (limiter, key, receipt)));
                        decisions.push(decision);
                        continue;
                    }
                    Ok(decision) => Ok(Reserved::Denied {
                        which,
                        decision: Box::new(decision),
                    }),
                    Err(error) => Err(error),
                }
            }
        };
        taken.give_back().await;
        return (result, taken);
    }
    (Ok(Reserved::Allowed(decisions)), taken)
}

/// What was counted so far. Dropped with anything in it, that is taken back.
struct Taken(Vec<(Limiter, LimitKey, Receipt)>);

impl Taken {
    async fn give_back(&mut self) {
        let all = self.0.drain(..).map(async |(limiter, key, receipt)| {
            take_back(&limiter, &key, &receipt).await;
        });
        join_all(all.collect::<Vec<_>>()).await;
    }

    /// It stays counted.
    fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        for (limiter, key, receipt) in self.0.drain(..) {
            let context = limiter.inner.shared.context.clone();
            context.spawn(async move { take_back(&limiter, &key, &receipt).await });
        }
    }
}

async fn take_back(limiter: &Limiter, key: &LimitKey, receipt: &Receipt) {
    let result: Result<bool, Error> = limiter.take_back(key, receipt).await;
    if let Err(error) = result {
        limiter
            .inner
            .shared
            .context
            .hooks
            .error(ErrorSource::Limit, &error);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Fleet, Policy};

    /// In the process nothing is waited for, so nobody need be there to wait.
    #[test]
    fn where_there_is_no_runtime_all_or_none_are_counted_too() {
        let fleet = Fleet::embedded();
        let minute = Duration::from_secs(60);
        let one = fleet.limiter("one", Policy::sliding_log(1, minute));
        let two = fleet.limiter("two", Policy::sliding_log(2, minute));
        let both = || reserve([two.consume("k"), one.consume("k")]).now_or_never();
        assert!(both().unwrap().unwrap().is_allowed());
        assert!(!both().unwrap().unwrap().is_allowed());
        // The first of the second time is taken back.
        let third = two.consume("k").into_future().now_or_never();
        assert!(third.unwrap().unwrap().is_allowed());
    }
}
