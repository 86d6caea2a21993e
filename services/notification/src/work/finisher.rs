//! Writes down what became of attempts, many at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::store::{Finished, Store};

/// How many wait to be written; whoever has more waits, and so starts nothing new.
const MOST_WAITING: usize = 4096;
/// How many are written at once.
const MOST_WRITTEN: usize = 512;
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
    pub(super) async fn run(mut self, written: impl Fn(&[Finished])) {
        let mut batch = Vec::with_capacity(MOST_WRITTEN);
        loop {
            let got = tokio::select! {
                biased;
                got = self.done.recv_many(&mut batch, MOST_WRITTEN) => got,
                () = self.no_more.cancelled(), if !self.done.is_closed() => {
                    self.done.close();
                    continue;
                }
            };
            if got == 0 {
                return;
            }
            if !batch.iter().any(|done| done.is_urgent) {
                sleep(LINGER).await;
            }
            while batch.len() < MOST_WRITTEN
                && let Ok(done) = self.done.try_recv()
            {
                batch.push(done);
            }
            let finished: Vec<_> = batch.drain(..).map(|done| done.finished).collect();
            self.write(&finished, &written).await;
        }
    }

    /// Writes a batch, however long it takes: claims that run out meanwhile mean repeats, lost results would mean more of them.
    async fn write(&self, finished: &[Finished], written: &impl Fn(&[Finished])) {
        let mut wait = FIRST_RETRY;
        loop {
            match self.store.finish(finished).await {
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
        Box::pin(self.write(first, written)).await;
        Box::pin(self.write(second, written)).await;
    }
}
