//! Applying what came: once, again while the store is away, and in parts when something in it is at fault.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use colloquy_events::Record;
use colloquy_service::{Progress, metrics};
use colloquy_storage::StoreError;
use colloquy_types::Position;
use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::backoff::Backoff;
use crate::decode::Item;
use crate::{Reader, UnknownEvent, trace};

const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How long a transaction may go on once the service is to stop. It is rolled back then, and comes again.
const STOP_GRACE: Duration = Duration::from_millis(800);

/// The service is to stop.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stopped;

/// Applies records to one view.
pub(crate) struct Applying {
    pub(crate) reader: Arc<dyn Reader>,
    pub(crate) progress: Progress,
    pub(crate) stop: CancellationToken,
}

/// How applying what came moves the view along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Course {
    /// Up to here it is complete already.
    pub(crate) before: Position,
    /// Whether each record follows on the one before it, so that a part of them is progress too.
    pub(crate) in_order: bool,
    /// Up to here it is complete once all of them are applied.
    pub(crate) through: Position,
}

impl Course {
    /// Returns the course of what moves no view along, since its place was passed before.
    pub(crate) const fn standing_still() -> Self {
        Self { before: Position::START, in_order: false, through: Position::START }
    }

    /// Returns up to where the view is complete once the records up to `sequence` are applied.
    fn after_part(self, sequence: u64) -> Position {
        if self.in_order { Position::end_of(sequence).clamp(self.before, self.through) } else { self.before }
    }
}

/// Why a part was not applied.
enum Failure {
    /// It may work later.
    Transient(String),
    /// It will not work like this.
    Fault(String),
}

impl Applying {
    /// Applies what came. Returns only once it is applied, or once the service is to stop.
    pub(crate) async fn apply(&self, items: Vec<Item>, course: Course) -> Result<(), Stopped> {
        let mut good = Vec::with_capacity(items.len());
        let mut unknown = Vec::new();
        for item in items {
            match item {
                Item::Good(record) => good.push(record),
                Item::Unknown(event) => unknown.push(event),
                // It is set aside before the view moves past it, so that it cannot get lost between the two.
                Item::Bad(record, reason) => self.set_aside(&record, &reason).await?,
            }
        }
        self.keep_unknown(&unknown).await?;
        self.apply_in_parts(&good, course).await
    }

    /// Keeps what this release does not know, before the view moves past it.
    async fn keep_unknown(&self, events: &[UnknownEvent]) -> Result<(), Stopped> {
        let (Some(kept), false) = (self.reader.unknown_events(), events.is_empty()) else { return Ok(()) };
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        while let Err(Failure::Transient(reason) | Failure::Fault(reason)) = self.guard(kept.keep(events)).await? {
            self.wait(&mut backoff, &reason).await?;
        }
        self.note_recovery(&mut backoff);
        Ok(())
    }

    async fn apply_in_parts(&self, records: &[Record], course: Course) -> Result<(), Stopped> {
        let mut parts = vec![(records, course.through)];
        while let Some((part, through)) = parts.pop() {
            let traced = trace::begin(self.reader.name(), part);
            let Err(reason) = self.persist(part, through).instrument(trace::span(traced.as_ref())).await? else {
                trace::applied(traced);
                metrics::reader_applied(self.reader.name(), part.iter().map(|record| record.events.len()).sum());
                self.progress.advance_to(through);
                continue;
            };
            match part {
                [record] => {
                    self.set_aside(record, &reason).await?;
                    parts.push((&[], through));
                }
                part => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.push((second, through));
                    if let Some(last) = first.last() {
                        parts.push((first, course.after_part(last.sequence)));
                    }
                }
            }
        }
        Ok(())
    }

    /// Tries until it works or turns out to be at fault. Moving the position alone cannot be at fault.
    async fn persist(&self, records: &[Record], through: Position) -> Result<Result<(), String>, Stopped> {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            let applied = self.guard(self.reader.apply(records, through)).await?;
            match applied {
                Ok(()) => {
                    self.note_recovery(&mut backoff);
                    return Ok(Ok(()));
                }
                Err(Failure::Fault(reason)) if !records.is_empty() => return Ok(Err(reason)),
                Err(Failure::Transient(reason) | Failure::Fault(reason)) => self.wait(&mut backoff, &reason).await?,
            }
        }
    }

    async fn set_aside(&self, record: &Record, reason: &str) -> Result<(), Stopped> {
        let name = self.reader.name();
        tracing::error!(log.sequence = record.sequence, "{name} sets record {} aside: {reason}", record.sequence);
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        while let Err(Failure::Transient(reason) | Failure::Fault(reason)) =
            self.guard(self.reader.set_aside(record, reason)).await?
        {
            self.wait(&mut backoff, &reason).await?;
        }
        self.note_recovery(&mut backoff);
        metrics::reader_set_aside(name);
        Ok(())
    }

    /// Runs a step of the reader: a panic becomes a fault, and stopping ends it after a while.
    async fn guard(&self, step: impl Future<Output = Result<(), StoreError>>) -> Result<Result<(), Failure>, Stopped> {
        let stopping = async {
            self.stop.cancelled().await;
            tokio::time::sleep(STOP_GRACE).await;
        };
        tokio::select! {
            biased;
            done = AssertUnwindSafe(step).catch_unwind() => Ok(match done {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) if error.is_transient() => Err(Failure::Transient(describe(&error))),
                Ok(Err(error)) => Err(Failure::Fault(describe(&error))),
                Err(panic) => Err(Failure::Fault(format!("panicked: {}", panic_message(&*panic)))),
            }),
            () = stopping => Err(Stopped),
        }
    }

    async fn wait(&self, backoff: &mut Backoff, reason: &str) -> Result<(), Stopped> {
        let wait = backoff.failed();
        if backoff.failures() == 1 {
            tracing::warn!("the store of {} does not take what the log has, and is tried again: {reason}", self.reader.name());
        }
        tokio::select! {
            () = self.stop.cancelled() => Err(Stopped),
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }

    fn note_recovery(&self, backoff: &mut Backoff) {
        let failures = backoff.works();
        if failures > 0 {
            tracing::info!(failures, "the store of {} works again after {failures} failures", self.reader.name());
        }
    }
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

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "no message",
    }
}
