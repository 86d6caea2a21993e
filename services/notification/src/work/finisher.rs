//! Writes down what became of attempts, many at a time.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::store::{Finished, Store};

/// How many wait to be written; whoever has more waits, and so starts nothing new.
const MOST_WAITING: usize = 4096;
/// How many are written at once.
const MOST_WRITTEN: usize = 1024;
/// How many such batches are written at a time: while one is committed, the next is on its way.
const WRITES_AT_A_TIME: usize = 2;
/// How long others are waited for.
const LINGER: Duration = Duration::from_millis(5);
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// Something to write.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) finished: Finished,
    /// Something else waits for it to be written.
    pub(super) is_urgent: bool,
}

pub(super) fn channel() -> (mpsc::Sender<Done>, mpsc::Receiver<Done>) {
    mpsc::channel(MOST_WAITING)
}

pub(super) struct Finisher {
    pub(super) store: Arc<dyn Store>,
    pub(super) done: mpsc::Receiver<Done>,
    /// Nothing more comes.
    pub(super) no_more: CancellationToken,
}

impl Finisher {
    /// Writes until nothing more comes; `written` is told of everything that was.
    pub(super) async fn run(self, written: impl Fn(&[Finished])) {
        let Self { store, mut done, no_more } = self;
        let (store, written) = (&*store, &written);
        let mut writes = FuturesUnordered::new();
        while let Some(batch) = meanwhile(&mut writes, next_batch(&mut done, &no_more)).await {
            writes.push(async move { write(store, &batch, written).await });
            while writes.len() >= WRITES_AT_A_TIME {
                writes.next().await;
            }
        }
        while writes.next().await.is_some() {}
    }
}

/// Waits for something while what is being written goes on.
async fn meanwhile<T>(writes: &mut FuturesUnordered<impl Future<Output = ()>>, until: impl Future<Output = T>) -> T {
    let mut until = pin!(until);
    loop {
        tokio::select! {
            got = &mut until => return got,
            Some(()) = writes.next() => {}
        }
    }
}

/// Returns what is to be written next; `None` when nothing more comes.
async fn next_batch(done: &mut mpsc::Receiver<Done>, no_more: &CancellationToken) -> Option<Vec<Finished>> {
    let mut batch = Vec::new();
    while batch.is_empty() {
        tokio::select! {
            biased;
            got = done.recv_many(&mut batch, MOST_WRITTEN) => if got == 0 { return None },
            () = no_more.cancelled(), if !done.is_closed() => done.close(),
        }
    }
    if batch.len() < MOST_WRITTEN && !batch.iter().any(|done| done.is_urgent) {
        sleep(LINGER).await;
    }
    while batch.len() < MOST_WRITTEN
        && let Ok(done) = done.try_recv()
    {
        batch.push(done);
    }
    Some(batch.into_iter().map(|done| done.finished).collect())
}

/// Writes a batch, however long it takes: claims that run out meanwhile mean repeats, lost results would mean more of them.
async fn write(store: &dyn Store, finished: &[Finished], written: &impl Fn(&[Finished])) {
    let mut wait = FIRST_RETRY;
    loop {
        match store.finish(finished).await {
            Ok(()) => return written(finished),
            Err(error) if error.is_transient() => {
                tracing::warn!("what became of deliveries cannot be written yet: {error}");
                sleep(wait).await;
                wait = (wait * 2).min(LAST_RETRY);
            }
            Err(error) if finished.len() == 1 => {
                tracing::error!("what became of a delivery cannot be written, it will be attempted again: {error}");
                return;
            }
            // One that cannot be written must not keep the others from it.
            Err(_) => break,
        }
    }
    let (first, second) = finished.split_at(finished.len() / 2);
    Box::pin(write(store, first, written)).await;
    Box::pin(write(store, second, written)).await;
}
