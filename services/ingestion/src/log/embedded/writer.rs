//! The one task that writes the log.

use std::sync::Arc;
use std::time::Duration;

use colloquy_service::metrics;
use colloquy_storage::StoreError;
use colloquy_types::{Clock, ConversationId, OrganizationId, Position};
use tokio_util::sync::CancellationToken;

use super::consumers::Consumers;
use super::group::{self, Numbers, Written};
use super::{Shared, erase};
use crate::log::prepare::Prepared;
use crate::log::queue::{Command, Group, Waiting, Work};
use crate::log::{Appended, LogError};

/// How often acknowledgements are written down.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// The writer.
pub(super) struct Writer {
    shared: Arc<Shared>,
    consumers: Arc<Consumers>,
    /// `None` after a failure, when what the file holds must be asked again.
    numbers: Option<Numbers>,
    clock: Arc<dyn Clock>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, consumers: Arc<Consumers>, numbers: Numbers, clock: Arc<dyn Clock>) -> Self {
        Self { shared, consumers, numbers: Some(numbers), clock }
    }

    /// Writes until `stop`, then what is still queued, and closes the file.
    pub(super) async fn run(mut self, mut waiting: Waiting, stop: CancellationToken) -> anyhow::Result<()> {
        let mut save = tokio::time::interval(SAVE_EVERY);
        save.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = save.tick() => self.save_acknowledgements().await,
                () = stop.cancelled(), if !waiting.is_closed() => waiting.close(),
                work = waiting.take() => match work {
                    Some(Work::Group(group)) => self.append(group).await,
                    Some(Work::Erase { organization, conversation, answer }) => {
                        // Whoever asked may be gone; the erasure is done all the same.
                        let _ = answer.send(self.erase(&organization, conversation).await);
                    }
                    None => break,
                },
            }
        }
        self.save_acknowledgements().await;
        self.shared.sqlite.close().await;
        Ok(())
    }

    async fn append(&mut self, commands: Vec<Command>) {
        let mut group = Group::of(commands);
        let results = match self.commit(&mut group.appends).await {
            Ok(written) => written.into_iter().map(Ok).collect(),
            Err(error) if error.is_transient() || group.appends.len() == 1 => refuse_all(error, group.appends.len()),
            Err(error) => {
                tracing::error!("a group of {} appends failed and is written one by one: {error}", group.appends.len());
                self.commit_each(&mut group.appends).await
            }
        };
        group.answer(results);
    }

    /// Writes each append by itself, so that the one at fault fails alone.
    async fn commit_each(&mut self, appends: &mut [Vec<Prepared>]) -> Vec<Result<Appended, LogError>> {
        let mut results = Vec::with_capacity(appends.len());
        for append in appends {
            let written = self.commit(std::slice::from_mut(append)).await;
            results.push(written.map(|mut answers| answers.pop().unwrap_or_default()).map_err(LogError::from));
        }
        results
    }

    async fn commit(&mut self, appends: &mut [Vec<Prepared>]) -> Result<Vec<Appended>, StoreError> {
        let mut connection = self.shared.sqlite.writer().acquire().await?;
        let numbers = match self.numbers.take() {
            Some(numbers) => numbers,
            None => {
                let numbers = Numbers::load(&mut connection).await?;
                // A commit whose outcome was unknown may have happened: then its records are not in memory.
                self.shared.recent.clear();
                self.publish(numbers);
                numbers
            }
        };
        let Written { numbers, answers, records } = group::write(&mut connection, numbers, appends).await?;
        self.numbers = Some(numbers);
        if !records.is_empty() {
            metrics::log_batch(records.len());
            self.shared.recent.push(records);
            self.publish(numbers);
        }
        Ok(answers)
    }

    /// Lets readers see everything up to the last number.
    fn publish(&self, numbers: Numbers) {
        let end = Position::end_of(numbers.sequence);
        self.shared.end.send_if_modified(|current| std::mem::replace(current, end) != end);
    }

    async fn erase(&mut self, organization: &OrganizationId, conversation: ConversationId) -> Result<u64, LogError> {
        let mut connection = self.shared.sqlite.writer().acquire().await?;
        let mut numbers = match self.numbers.take() {
            Some(numbers) => numbers,
            None => Numbers::load(&mut connection).await?,
        };
        let erased = erase::erase(&mut connection, &mut numbers, organization, conversation, self.clock.now()).await;
        // Also after a failure, which may have happened all the same.
        self.shared.recent.clear();
        let erased = erased?;
        self.numbers = Some(numbers);
        self.publish(numbers);
        erase::empty_journal(&mut connection).await?;
        Ok(erased)
    }

    async fn save_acknowledgements(&self) {
        let unsaved = self.consumers.take_unsaved();
        if unsaved.is_empty() {
            return;
        }
        let rows: Vec<_> =
            unsaved.iter().map(|((organization, name), acknowledged)| (organization, name, acknowledged)).collect();
        let saved = async {
            let rows = serde_json::to_string(&rows).map_err(|error| StoreError::Corrupt(error.to_string()))?;
            sqlx::query(
                "insert into consumers (organization_id, name, acknowledged)
                 select coalesce(value ->> 0, ''), value ->> 1, value ->> 2 from json_each($1) where true
                 on conflict do update set acknowledged = excluded.acknowledged",
            )
            .bind(rows)
            .execute(self.shared.sqlite.writer())
            .await?;
            Ok::<_, StoreError>(())
        };
        if let Err(error) = saved.await {
            tracing::warn!("acknowledgements could not be written down and will be tried again: {error}");
            self.consumers.mark_unsaved(unsaved.into_iter().map(|(key, _)| key));
        }
    }
}

/// Answers every append of a group that could not be written. The first one logs the cause.
fn refuse_all(error: StoreError, appends: usize) -> Vec<Result<Appended, LogError>> {
    let full = matches!(error, StoreError::Full(_));
    let mut results = vec![Err(LogError::Store(error))];
    results.extend((1..appends).map(|_| {
        let again = sqlx::Error::WorkerCrashed;
        Err(LogError::Store(if full { StoreError::Full(again) } else { StoreError::Unavailable(again) }))
    }));
    results
}
