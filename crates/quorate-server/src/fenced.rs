//! Writes to stores with the fencing token of a lock, or without one.

use quorate::FencingToken;
use quorate::store::Fenced;

/// Makes a write, with the token if there is one; `fenced` is the write's own method.
pub(crate) async fn send<W, F, T>(
    write: W,
    token: Option<FencingToken>,
    fenced: fn(W, FencingToken) -> F,
) -> quorate::Result<Fenced<T>>
where
    W: IntoFuture<Output = quorate::Result<T>>,
    F: IntoFuture<Output = quorate::Result<Fenced<T>>>,
{
    match token {
        Some(token) => fenced(write, token).await,
        None => write.await.map(Fenced::Done),
    }
}

/// The answer of a write, or why there is none.
pub(crate) fn admitted<T>(fenced: Fenced<T>) -> Result<T, String> {
    match fenced {
        Fenced::Done(answer) => Ok(answer),
        Fenced::Stale { greatest, .. } => Err(format!(
            "the entry was written with the fencing token {greatest}, which is greater"
        )),
        _ => Err("the fencing token was refused".to_owned()),
    }
}
