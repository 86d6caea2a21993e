//! Applying what came: once, again while the store is away, and in parts when something in it is at fault.

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
                // What a panic says may quote what was being read; where it happened is told by the hook of panics.
                Err(_) => Err(Failure::Fault("panicked".to_owned())),
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

/// Returns why a store failed, as it may be logged and kept: a driver's own message may quote what it was to store.
fn describe(error: &StoreError) -> String {
    let (StoreError::Unavailable(cause) | StoreError::Full(cause) | StoreError::Other(cause)) = error else {
        return error.to_string();
    };
    let cause = match cause {
        sqlx::Error::Database(database) => match (database.code(), database.constraint()) {
            (Some(code), Some(constraint)) => format!("code {code}, constraint {constraint}"),
            (Some(code), None) => format!("code {code}"),
            (None, _) => "no code".to_owned(),
        },
        sqlx::Error::Io(error) => error.kind().to_string(),
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed | sqlx::Error::RowNotFound => {
            cause.to_string()
        }
        sqlx::Error::Encode(_) => "a value cannot be written".to_owned(),
        sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => "a value cannot be read".to_owned(),
        sqlx::Error::Tls(_) => "TLS".to_owned(),
        sqlx::Error::Protocol(_) => "the protocol".to_owned(),
        _ => return error.to_string(),
    };
    format!("{error}: {cause}")
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use sqlx::error::{DatabaseError, ErrorKind};

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("she said hello")]
    struct Refused;

    impl DatabaseError for Refused {
        fn message(&self) -> &str {
            "she said hello"
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some("22021".into())
        }

        fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    #[test]
    fn why_a_store_failed_is_told_by_code_and_never_in_the_drivers_words() {
        let quoting = || std::io::Error::other("she said hello");
        let cases = [
            (sqlx::Error::Database(Box::new(Refused)), "the database failed: code 22021"),
            (sqlx::Error::Io(quoting()), "the database is not available: other error"),
            (sqlx::Error::Protocol("she said hello".to_owned()), "the database failed: the protocol"),
            (sqlx::Error::Decode(Box::new(Refused)), "the database failed: a value cannot be read"),
            (sqlx::Error::PoolClosed, "the database is not available: attempted to acquire a connection on a closed pool"),
            (sqlx::Error::ColumnNotFound("she said hello".to_owned()), "the database failed"),
        ];
        for (error, told) in cases {
            assert_eq!(describe(&error.into()), told);
        }
        assert_eq!(describe(&StoreError::Conflict), "the row exists already");
    }
}
