//! What waits to be written. While one group is written, the next appends gather here; then they are taken together. So the number
//! of commits follows the engine and the number of appends does not.

use std::sync::Arc;

use colloquy_service::metrics;
use colloquy_types::{ConversationId, OrganizationId};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::prepare::Prepared;
use super::{Appended, LogError, LogSettings};

/// One commit takes no more events than this, so that the first of them do not wait for the last for long.
const GROUP_EVENTS: usize = 8_192;
/// One commit takes no more bytes than this.
const GROUP_BYTES: usize = 16 << 20;
/// Queue space is counted in units of this many bytes.
const UNIT: usize = 1 << 10;

/// Where an answer goes.
pub(super) type Answer<T> = oneshot::Sender<Result<T, LogError>>;

/// What waits for the writer.
pub(super) enum Command {
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
        let waiting_appends = commands.downgrade();
        metrics::register_log_queue(move || {
            let commands = waiting_appends.upgrade()?;
            Some((commands.max_capacity() - commands.capacity()) as u64)
        });
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
pub(super) enum Work {
    Group(Vec<Command>),
    Erase { organization: OrganizationId, conversation: ConversationId, answer: Answer<u64> },
}

impl Waiting {
    /// Takes nothing more in; what is there is still to be written.
    pub(super) fn close(&mut self) {
        self.commands.close();
    }

    /// Returns whether nothing more comes in.
    pub(super) fn is_closed(&self) -> bool {
        self.commands.is_closed()
    }

    /// Waits for work; `None` once the queue is closed and empty.
    pub(super) async fn take(&mut self) -> Option<Work> {
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

/// A group, taken apart: what is written, who is answered, and the room it takes until then.
pub(super) struct Group {
    pub(super) appends: Vec<Vec<Prepared>>,
    answers: Vec<Answer<Appended>>,
    _rooms: Vec<OwnedSemaphorePermit>,
}

impl Group {
    pub(super) fn of(commands: Vec<Command>) -> Self {
        let mut group = Self { appends: Vec::new(), answers: Vec::new(), _rooms: Vec::new() };
        for command in commands {
            if let Command::Append { records, _room, answer, .. } = command {
                group.appends.push(records);
                group.answers.push(answer);
                group._rooms.push(_room);
            }
        }
        group
    }

    /// Answers every append, in their order.
    pub(super) fn answer(self, results: Vec<Result<Appended, LogError>>) {
        for (answer, result) in self.answers.into_iter().zip(results) {
            // Whoever asked may be gone; a repeat will find the record.
            let _ = answer.send(result);
        }
    }
}
