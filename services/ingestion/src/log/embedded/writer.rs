//! The one task that writes the log.
//!
//! While one commit waits for the disk, the next appends gather in the queue; then they are taken together. So the number of
//! commits follows the disk and the number of appends does not.

use std::sync::Arc;
use std::time::Duration;

use colloquy_storage::StoreError;
use colloquy_types::{Clock, ConversationId, OrganizationId, Position};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::consumers::Consumers;
use super::group::{self, Numbers, Written};
use super::prepare::Prepared;
use super::{LogSettings, Shared, erase};
use crate::log::{Appended, LogError};

/// One commit takes no more events than this, so that the first of them do not wait for the last for long.
const GROUP_EVENTS: usize = 8_192;
/// One commit takes no more bytes than this.
const GROUP_BYTES: usize = 16 << 20;
/// How often acknowledgements are written down.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Queue space is counted in units of this many bytes.
const UNIT: usize = 1 << 10;

type Answer<T> = oneshot::Sender<Result<T, LogError>>;

/// What waits for the writer.
enum Command {
    Append { records: Vec<Prepared>, bytes: usize, _room: OwnedSemaphorePermit, answer: Answer<Appended> },
    Erase { organization: OrganizationId, conversation: ConversationId, answer: Answer<u64> },
}

/// The way to the writer: bounded by count and by bytes, and never waited for.
pub(super) struct Queue {
    commands: mpsc::Sender<Command>,
    room: Arc<Semaphore>,
    units: usize,
}

impl Queue {
    pub(super) fn new(settings: LogSettings) -> (Self, Waiting) {
        let (commands, waiting) = mpsc::channel(settings.queue_appends.max(1));
        let units = (settings.queue_bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        (Self { commands, room: Arc::new(Semaphore::new(units)), units }, Waiting { commands: waiting, next: None })
    }

    /// Queues an append and waits until it is durable.
    pub(super) async fn append(&self, records: Vec<Prepared>) -> Result<Appended, LogError> {
        let bytes = records.iter().map(Prepared::bytes).sum::<usize>();
        // An append that is larger than the whole queue may go when the queue is empty.
        let units = bytes.div_ceil(UNIT).clamp(1, self.units);
        let room = u32::try_from(units).ok().and_then(|units| Arc::clone(&self.room).try_acquire_many_owned(units).ok());
        let Some(room) = room else { return Err(LogError::QueueFull) };
        let (answer, answered) = oneshot::channel();
        self.send(Command::Append { records, bytes, _room: room, answer })?;
        answered.await.unwrap_or(Err(LogError::Closed))
    }

    /// Queues an erasure and waits until it is done.
    pub(super) async fn erase(&self, organization: OrganizationId, conversation: ConversationId) -> Result<u64, LogError> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Erase { organization, conversation, answer })?;
        answered.await.unwrap_or(Err(LogError::Closed))
    }

    fn send(&self, command: Command) -> Result<(), LogError> {
        self.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => LogError::QueueFull,
            TrySendError::Closed(_) => LogError::Closed,
        })
    }
}

/// The writer's end of the queue.
pub(super) struct Waiting {
    commands: mpsc::Receiver<Command>,
    /// Taken, but for the next group.
    next: Option<Command>,
}

/// What is done in one go.
enum Work {
    Group(Vec<Command>),
    Erase { organization: OrganizationId, conversation: ConversationId, answer: Answer<u64> },
}

impl Waiting {
    /// Waits for work; `None` once the queue is closed and empty.
    async fn take(&mut self) -> Option<Work> {
        let first = match self.next.take() {
            Some(command) => command,
            None => self.commands.recv().await?,
        };
        let mut group = Vec::new();
        let (mut events, mut bytes) = (0, 0);
        let mut candidate = Some(first);
        while let Some(command) = candidate {
            let (more_events, more_bytes) = match &command {
                Command::Append { records, bytes, .. } => (records.iter().map(|record| record.events.len()).sum(), *bytes),
                Command::Erase { .. } => (0, 0),
            };
            let fits = group.is_empty() || events + more_events <= GROUP_EVENTS && bytes + more_bytes <= GROUP_BYTES;
            match command {
                Command::Erase { organization, conversation, answer } if group.is_empty() => {
                    return Some(Work::Erase { organization, conversation, answer });
                }
                command @ Command::Append { .. } if fits => group.push(command),
                command => {
                    self.next = Some(command);
                    break;
                }
            }
            (events, bytes) = (events + more_events, bytes + more_bytes);
            candidate = self.commands.try_recv().ok();
        }
        Some(Work::Group(group))
    }
}

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
                () = stop.cancelled(), if !waiting.commands.is_closed() => waiting.commands.close(),
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

    async fn append(&mut self, group: Vec<Command>) {
        let (mut appends, mut answers, mut rooms) = (Vec::new(), Vec::new(), Vec::new());
        for command in group {
            if let Command::Append { records, _room, answer, .. } = command {
                appends.push(records);
                answers.push(answer);
                rooms.push(_room);
            }
        }
        let results = match self.commit(&mut appends).await {
            Ok(written) => written.into_iter().map(Ok).collect(),
            Err(error) if error.is_transient() || appends.len() == 1 => refuse_all(error, appends.len()),
            Err(error) => {
                tracing::error!("a group of {} appends failed and is written one by one: {error}", appends.len());
                self.commit_each(&mut appends).await
            }
        };
        for (answer, result) in answers.into_iter().zip(results) {
            // Whoever asked may be gone; a repeat will find the record.
            let _ = answer.send(result);
        }
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
