//! What conversations came to, written together and told.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use colloquy_events::Record;
use colloquy_log_client::Appender;
use colloquy_service::metrics::{self, AnalysisOutcome};
use colloquy_storage::StoreError;
use colloquy_types::{Clock, Timestamp};
use futures::{FutureExt, StreamExt};
use tokio::sync::{Notify, mpsc};
use tonic::Code;

use super::work::{Made, Unmade};
use super::{Done, judged, later};
use crate::hooks::{Listeners, Seen};
use crate::store::{Before, Claimed, Finish, GIVEN_UP_AFTER, Store, Told, Written};

/// How many are written together.
const TOGETHER: usize = 96;
/// To how many at once listeners listen.
const TOLD_AT_ONCE: usize = 8;
/// How long to wait after the first failure; doubled with each, up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// A running conversation is analysed again after a second at the earliest, and not before so many times what that took has passed:
/// the longer it is, the rarer.
const LIVE_PAUSE: Duration = Duration::from_secs(1);
const LIVE_SHARE: u32 = 20;

/// Writes what is ready.
pub(super) struct Writer {
    pub(super) store: Arc<dyn Store>,
    pub(super) log: Appender,
    pub(super) listeners: Listeners,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) wake: Arc<Notify>,
}

/// A conversation that is written.
struct Kept<'a> {
    claimed: &'a Claimed,
    own_leads: bool,
    made: &'a Made,
    before: Before,
}

impl Writer {
    /// Writes until nobody makes anything any more.
    pub(super) async fn run(self, mut ready: mpsc::Receiver<Done>) {
        let mut batch = Vec::with_capacity(TOGETHER);
        while ready.recv_many(&mut batch, TOGETHER).await > 0 {
            let finished = self.finish_all(&batch).await;
            if let Err(error) = self.store.finish(&finished, self.clock.now()).await {
                // The claims run out, and all of it is done again.
                tracing::warn!("what was analysed could not be finished, and is done again: {error}");
            }
            // Places are free again.
            batch.clear();
            self.wake.notify_one();
        }
    }

    /// Writes and tells a batch; returns how each ends.
    async fn finish_all(&self, batch: &[Done]) -> Vec<(Claimed, Finish)> {
        let now = self.clock.now();
        let mut finished = Vec::with_capacity(batch.len());
        let mut writes = Vec::with_capacity(batch.len());
        for done in batch {
            match &done.made {
                Ok(made) => {
                    let Made { input, analysis, features, .. } = &**made;
                    writes.push((done, Written::Analysed { features, analysis, judgements: &input.record.judgements }));
                }
                Err(Unmade::Gone) => writes.push((done, Written::Gone)),
                Err(Unmade::Later(wait)) => {
                    metrics::analysis(AnalysisOutcome::Later);
                    finished.push((done.claimed.clone(), Finish::Later { due_at: later(now, *wait) }));
                }
                Err(Unmade::Failed(reason)) => finished.push(failed(&done.claimed, reason, now)),
            }
        }
        let mut kept = Vec::with_capacity(writes.len());
        for (done, before) in self.write(&writes, now, &mut finished).await {
            match &done.made {
                Ok(made) => kept.push(Kept { claimed: &done.claimed, own_leads: done.own_leads, made, before }),
                Err(_) => {
                    metrics::analysis(AnalysisOutcome::Gone);
                    finished.push((done.claimed.clone(), Finish::Gone));
                }
            }
        }
        let kept = self.tell_listeners(kept, now, &mut finished).await;
        self.tell_log(&kept, now, &mut finished).await;
        finished
    }

    /// Writes all together, or one by one when one of them is at fault. Returns those that are written; one that somebody else has
    /// taken meanwhile is theirs.
    async fn write<'a>(
        &self,
        writes: &[(&'a Done, Written<'a>)],
        now: Timestamp,
        finished: &mut Vec<(Claimed, Finish)>,
    ) -> Vec<(&'a Done, Before)> {
        let mut kept = Vec::with_capacity(writes.len());
        let mut parts = vec![writes];
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let together: Vec<(&Claimed, Written<'_>)> = part.iter().map(|(done, written)| (&done.claimed, *written)).collect();
            match self.store.write(&together).await {
                Ok(before) => {
                    kept.extend(part.iter().zip(before).filter_map(|((done, _), before)| Some((*done, before?))));
                }
                Err(error) if error.is_transient() => {
                    tracing::warn!(conversations = part.len(), "figures could not be written, and are made again: {error}");
                    finished.extend(part.iter().map(|(done, _)| (done.claimed.clone(), soon(now))));
                }
                Err(error) if part.len() == 1 => {
                    finished.extend(part.iter().map(|(done, _)| failed(&done.claimed, &describe(&error), now)));
                }
                Err(_) => parts.extend(part.chunks(part.len().div_ceil(2))),
            }
        }
        kept
    }

    /// Tells all who listen; returns those conversations that everybody has heard of.
    async fn tell_listeners<'a>(
        &self,
        kept: Vec<Kept<'a>>,
        now: Timestamp,
        finished: &mut Vec<(Claimed, Finish)>,
    ) -> Vec<Kept<'a>> {
        if self.listeners.is_empty() {
            return kept;
        }
        if self.tell_together(&kept).await {
            return kept;
        }
        // One of them is at fault, or the store is away.
        let telling: Vec<_> = kept.iter().map(|one| self.tell_caught(std::slice::from_ref(one))).collect();
        let told: Vec<_> = futures::stream::iter(telling).buffered(TOLD_AT_ONCE).collect().await;
        let mut heard = Vec::with_capacity(told.len());
        for (kept, told) in kept.into_iter().zip(told) {
            match told {
                Ok(Ok(())) => heard.push(kept),
                Ok(Err(error)) if error.is_transient() => finished.push((kept.claimed.clone(), soon(now))),
                Ok(Err(error)) => finished.push(failed(kept.claimed, &describe(&error), now)),
                // What it said may quote a conversation.
                Err(_) => finished.push(failed(kept.claimed, "a listener failed", now)),
            }
        }
        heard
    }

    async fn tell_together(&self, kept: &[Kept<'_>]) -> bool {
        kept.len() > 1 && matches!(self.tell_caught(kept).await, Ok(Ok(())))
    }

    async fn tell_caught(&self, kept: &[Kept<'_>]) -> std::thread::Result<Result<(), StoreError>> {
        AssertUnwindSafe(self.tell(kept)).catch_unwind().await
    }

    async fn tell<'a>(&self, kept: &[Kept<'a>]) -> Result<(), StoreError> {
        let seen = |kept: &Kept<'a>| {
            let Made { input, analysis, features, .. } = kept.made;
            let newly_settled = analysis.settled && !kept.before.announced;
            let heard_at = kept.claimed.heard_at.map_or(kept.before.heard_at, |heard_at| heard_at.max(kept.before.heard_at));
            Seen { input, analysis, features, heard_at, newly_settled }
        };
        let seen: Vec<Seen<'_>> = kept.iter().map(seen).collect();
        for listener in &self.listeners {
            listener.analysed(&seen).await?;
        }
        Ok(())
    }

    /// Tells the log what is new of our own judgement.
    async fn tell_log(&self, kept: &[Kept<'_>], now: Timestamp, finished: &mut Vec<(Claimed, Finish)>) {
        let mut news: HashMap<usize, (Record, Told)> = kept
            .iter()
            .enumerate()
            .filter_map(|(at, kept)| {
                let Made { input, analysis, .. } = kept.made;
                Some((at, judged::news(input, analysis, kept.own_leads, &kept.before, now)?))
            })
            .collect();
        let together = self.append(news.values().map(|(record, _)| record.clone()).collect()).await;
        for (at, kept) in kept.iter().enumerate() {
            let Some((record, told)) = news.remove(&at) else {
                finished.push((kept.claimed.clone(), done(kept, now, None)));
                continue;
            };
            let appended = match together {
                Ok(()) => Ok(()),
                Err(Code::Unavailable | Code::DeadlineExceeded) => Err(Code::Unavailable),
                // One of them is at fault.
                Err(_) => self.append(vec![record]).await,
            };
            finished.push(match appended {
                Ok(()) => (kept.claimed.clone(), done(kept, now, Some(told))),
                Err(Code::Unavailable | Code::DeadlineExceeded) => (kept.claimed.clone(), soon(now)),
                Err(code) => failed(kept.claimed, &format!("the log refuses our judgement ({code:?})"), now),
            });
        }
    }

    async fn append(&self, records: Vec<Record>) -> Result<(), Code> {
        if records.is_empty() {
            return Ok(());
        }
        let appended = self.log.append(records).await;
        appended.map(drop).map_err(|status| {
            tracing::warn!("the log did not take our judgement ({:?})", status.code());
            status.code()
        })
    }
}

fn done(kept: &Kept<'_>, now: Timestamp, told: Option<Told>) -> Finish {
    metrics::analysis(AnalysisOutcome::Done);
    let pause = LIVE_PAUSE.max(kept.made.took.saturating_mul(LIVE_SHARE));
    Finish::Done { settled: kept.made.analysis.settled, not_before: later(now, pause), told }
}

fn soon(now: Timestamp) -> Finish {
    metrics::analysis(AnalysisOutcome::Later);
    Finish::Later { due_at: later(now, FIRST_WAIT) }
}

/// Returns the end of a conversation that could not be analysed: it is tried again, ever more rarely, and nobody waits for it.
fn failed(claimed: &Claimed, reason: &str, now: Timestamp) -> (Claimed, Finish) {
    metrics::analysis(AnalysisOutcome::Failed);
    let (id, failures) = (claimed.conversation_id, claimed.failures.saturating_add(1));
    if failures == GIVEN_UP_AFTER {
        tracing::error!(conversation.id = %id, failures, "conversation {id} cannot be analysed: {reason}");
    } else {
        tracing::debug!(conversation.id = %id, failures, "conversation {id} could not be analysed: {reason}");
    }
    let wait = FIRST_WAIT.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX)).min(LONGEST_WAIT);
    (claimed.clone(), Finish::Failed { due_at: later(now, wait) })
}

fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, claimed};

    #[test]
    fn what_fails_is_tried_ever_more_rarely() {
        let waits = [0, 1, 2, 8, 9, 40].map(|failures| {
            let (_, finish) = failed(&Claimed { failures, ..claimed(1) }, "it is broken", at(0));
            let Finish::Failed { due_at } = finish else { panic!("{finish:?}") };
            due_at.millis_since(at(0)) / 1_000
        });
        assert_eq!(waits, [1, 2, 4, 256, 300, 300]);
    }
}
