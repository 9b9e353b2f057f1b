//! Writes into the journals of the runs of a worker: what is ready when the last call returns goes together.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::backoff::Backoff;
use crate::error::ErrorKind;
use crate::hooks::ErrorSource;
use crate::key::Key;
use crate::queue::{Append, Appended, MAX_APPENDED, MOST_APPENDED, Queues};

/// Between attempts to write. It is tried until the home answers: by then the leases may be others'.
const RETRY: Backoff = Backoff {
    initial: Duration::from_millis(50),
    factor: 2.0,
    max: Duration::from_secs(5),
    jitter: 0.5,
};

/// One entry on its way.
struct Request {
    append: Append,
    written: oneshot::Sender<Appended>,
}

/// Calls under way: the server works on one while we prepare the other. What a run writes is always in the same, so that it comes in its order.
const CALLS: usize = 2;

/// See the top of the file. It ends when nobody has it any more.
#[derive(Debug)]
pub(super) struct Writer([mpsc::UnboundedSender<Request>; CALLS]);

impl Writer {
    pub(super) fn new(queues: &Arc<Queues>, key: &Key) -> Arc<Self> {
        Arc::new(Self(std::array::from_fn(|_| {
            let (send, requests) = mpsc::unbounded_channel();
            queues
                .context
                .spawn(write_all(queues.clone(), key.clone(), requests));
            send
        })))
    }

    /// Appends in the order of these calls. It is written whether or not somebody waits for that.
    pub(super) fn append(&self, append: Append) -> oneshot::Receiver<Appended> {
        let (written, answer) = oneshot::channel();
        let number = append.id.bytes()[15];
        // Where the writer has ended, so has the fleet: who waits learns of it.
        let _ = self.0[usize::from(number) % CALLS].send(Request { append, written });
        answer
    }
}

async fn write_all(queues: Arc<Queues>, key: Key, mut requests: mpsc::UnboundedReceiver<Request>) {
    let mut held = None;
    loop {
        let first = match held.take() {
            Some(first) => Some(first),
            None => requests.recv().await,
        };
        let Some(first) = first else {
            return;
        };
        let (mut appends, mut waiting) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(it) = next.take() {
            let length: usize = it.append.entries.iter().map(bytes::Bytes::len).sum();
            if !appends.is_empty() && bytes + length > MAX_APPENDED {
                held = Some(it);
                break;
            }
            bytes += length;
            appends.push(it.append);
            waiting.push(it.written);
            if appends.len() < MOST_APPENDED {
                next = requests.try_recv().ok();
            }
        }
        let Some(written) = write(&queues, &key, &appends).await else {
            return;
        };
        for (waits, appended) in waiting.into_iter().zip(written) {
            // Nobody waits for what was left behind by a `select`.
            let _ = waits.send(appended);
        }
    }
}

/// Until it is done; `None` if the fleet is closed.
async fn write(queues: &Queues, key: &Key, appends: &[Append]) -> Option<Vec<Appended>> {
    let mut failures = 0;
    loop {
        match queues.append(key, appends).await {
            Ok(written) => return Some(written),
            Err(error) if error.kind() == ErrorKind::Closed => return None,
            // What is refused would be refused for ever, and those beside it with it.
            Err(error) if error.kind() == ErrorKind::InvalidInput => match appends {
                [_] => {
                    queues.context.hooks.error(ErrorSource::Durable, &error);
                    return Some(vec![Appended::Conflict]);
                }
                _ => {
                    let mut written = Vec::new();
                    for one in appends {
                        let one = std::slice::from_ref(one);
                        written.extend(Box::pin(write(queues, key, one)).await?);
                    }
                    return Some(written);
                }
            },
            Err(error) => {
                failures += 1;
                queues.context.hooks.error(ErrorSource::Durable, &error);
            }
        }
        tokio::time::sleep(RETRY.delay(failures)).await;
    }
}
