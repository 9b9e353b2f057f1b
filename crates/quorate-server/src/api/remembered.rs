//! Answers about the whole fleet that are read once for all who ask within a moment: pages ask every few seconds, each of
//! them, and each time a whole roster would be read.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, Shared};
use parking_lot::Mutex;
use quorate_http::{Code, Problem, Rejection};
use serde::Serialize;
use tokio::time::Instant;

/// How old an answer may be. What is told is up to ten seconds old itself.
const MOMENT: Duration = Duration::from_secs(1);

type Reading = Shared<BoxFuture<'static, Result<Bytes, Problem>>>;

/// One answer, and since when it is read. A failure is remembered as well: who asks a backend that is away waits for it once.
#[derive(Clone)]
pub(crate) struct Remembered {
    moment: Duration,
    // A short lock: nobody reads while it is held.
    last: Arc<Mutex<Option<(Instant, Reading)>>>,
}

impl Default for Remembered {
    fn default() -> Self {
        Self::new(MOMENT)
    }
}

impl Remembered {
    fn new(moment: Duration) -> Self {
        let last = Arc::default();
        Self { moment, last }
    }

    /// The answer, as JSON; `read` is awaited only if there is none that is new enough, and nobody else reads one.
    pub(crate) async fn json<T: Serialize>(
        &self,
        read: impl Future<Output = quorate::Result<T>> + Send + 'static,
    ) -> Result<Response, Rejection> {
        let body = self.reading(read).await?;
        Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
    }

    fn reading<T: Serialize>(
        &self,
        read: impl Future<Output = quorate::Result<T>> + Send + 'static,
    ) -> Reading {
        let mut last = self.last.lock();
        if let Some((since, reading)) = &*last
            && self.is_good(*since, reading)
        {
            return reading.clone();
        }
        let written = read.then(|value| ready(written(value)));
        let reading = written.boxed().shared();
        *last = Some((Instant::now(), reading.clone()));
        reading
    }

    fn is_good(&self, since: Instant, reading: &Reading) -> bool {
        if reading.peek().is_some() {
            return since.elapsed() < self.moment;
        }
        // One of them is here. If there is no other, all who waited for it are gone, and nobody reads.
        reading.strong_count().is_some_and(|count| count > 1)
    }
}

fn written<T: Serialize>(value: quorate::Result<T>) -> Result<Bytes, Problem> {
    let value = value.map_err(|error| Problem::from(&error))?;
    serde_json::to_vec(&value)
        .map(Bytes::from)
        .map_err(|error| Problem::new(Code::Internal, error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use quorate::{Error, ErrorKind};
    use tokio::task::yield_now;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    /// The answer that is read, and how often one was.
    async fn read(reads: Arc<AtomicUsize>) -> quorate::Result<usize> {
        let number = reads.fetch_add(1, Ordering::Relaxed);
        yield_now().await;
        Ok(number)
    }

    async fn ask(remembered: &Remembered, reads: &Arc<AtomicUsize>) -> Bytes {
        let reading = remembered.reading(read(reads.clone()));
        reading.await.unwrap()
    }

    #[tokio::test]
    async fn who_asks_together_or_within_a_moment_has_one_answer() {
        let (remembered, reads) = (Remembered::new(LONG), Arc::default());
        let asked = || ask(&remembered, &reads);
        let answers = tokio::join!(asked(), asked(), asked());
        assert_eq!(answers, ("0".into(), "0".into(), "0".into()));
        assert_eq!(asked().await, "0");
        let (remembered, reads) = (Remembered::new(Duration::ZERO), Arc::default());
        for answer in ["0", "1"] {
            assert_eq!(ask(&remembered, &reads).await, answer);
        }
    }

    /// Who asked may have gone before there was an answer.
    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_read_anew() {
        let (remembered, reads) = (Remembered::new(LONG), Arc::default());
        let mut first = remembered.reading(pending::<quorate::Result<usize>>());
        assert!((&mut first).now_or_never().is_none());
        // As long as somebody waits, others wait with him.
        let second = remembered.reading(read(Arc::clone(&reads)));
        assert!(second.now_or_never().is_none());
        assert_eq!(reads.load(Ordering::Relaxed), 0);
        drop(first);
        assert_eq!(ask(&remembered, &reads).await, "0");
    }

    #[tokio::test]
    async fn a_failure_is_that_of_all_who_ask() {
        let (remembered, reads) = (Remembered::new(LONG), Arc::default());
        let away = async { Err::<usize, _>(Error::new(ErrorKind::Disconnected)) };
        let first = remembered.reading(away).await.unwrap_err();
        assert_eq!(first.status(), 503);
        let second = remembered.reading(read(Arc::clone(&reads))).await;
        assert_eq!(second.unwrap_err().status(), 503);
    }
}
