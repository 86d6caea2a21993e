//! Up to where conversations are analysed, for those who ask for figures.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use colloquy_proto::log::v1 as log_pb;
use colloquy_proto::log::v1::event_log_service_client::EventLogServiceClient;
use colloquy_service::transport::Transport;
use colloquy_service::{MIN_POSITION_WAIT, Problem, Progress};
use colloquy_storage::StoreError;
use colloquy_types::{Clock, ConversationId, OrganizationId, Position, Timestamp};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::error::Error;
use crate::store::{READER, Store};

/// How often the queue is looked at while somebody waits.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// For how long an answer of the log that there is nothing more to read is believed.
const CAUGHT_UP_KEPT: Duration = Duration::from_millis(500);
/// What was received longer ago than this is in the log, or will never be.
const ON_ITS_WAY_MS: i64 = 1_000;

/// Up to where conversations are analysed. Cheap to clone.
#[derive(Clone)]
pub struct Frontier(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    progress: Progress,
    log: EventLogServiceClient<Transport>,
    clock: Arc<dyn Clock>,
    wake: Arc<Notify>,
    caught_up: Mutex<Option<(Instant, Option<Timestamp>)>>,
}

impl Frontier {
    /// Returns the frontier of the reader whose progress this is; `wake` wakes the workers.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        progress: Progress,
        log: Transport,
        clock: Arc<dyn Clock>,
        wake: Arc<Notify>,
    ) -> Self {
        let log = EventLogServiceClient::new(log);
        Self(Arc::new(Inner { store, progress, log, clock, wake, caught_up: Mutex::new(None) }))
    }

    /// Waits until everything of the organization up to `position` is in the figures; 0 is at once. What would be analysed later is
    /// analysed now. What could not be analysed again and again is not waited for.
    ///
    /// # Errors
    /// `UNAVAILABLE` with a retry hint when it takes longer than [`MIN_POSITION_WAIT`].
    pub async fn wait_for(&self, organization: &OrganizationId, position: u64) -> Result<(), Error> {
        if position == 0 {
            return Ok(());
        }
        self.wait(organization, None, Position(position)).await
    }

    /// Does the same for one conversation. Without a position it waits for whatever was heard of it.
    ///
    /// # Errors
    /// As [`Frontier::wait_for`].
    pub async fn wait_for_conversation(
        &self,
        organization: &OrganizationId,
        conversation: ConversationId,
        position: Option<Position>,
    ) -> Result<(), Error> {
        self.wait(organization, Some(conversation), position.unwrap_or(Position(u64::MAX))).await
    }

    async fn wait(
        &self,
        organization: &OrganizationId,
        conversation: Option<ConversationId>,
        position: Position,
    ) -> Result<(), Error> {
        let inner = &*self.0;
        let give_up = Instant::now() + MIN_POSITION_WAIT;
        if position != Position(u64::MAX) {
            inner.progress.wait_for(position.0).await?;
        }
        if !inner.store.is_waiting(organization, conversation, position).await? {
            return Ok(());
        }
        inner.store.hurry(organization, conversation, position, inner.clock.now()).await?;
        inner.wake.notify_one();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if !inner.store.is_waiting(organization, conversation, position).await? {
                return Ok(());
            }
            if Instant::now() >= give_up {
                let text = match position {
                    Position(u64::MAX) => "the conversation has not been analysed yet".to_owned(),
                    position => format!("position {position} has not been analysed yet"),
                };
                return Err(Problem::unavailable("POSITION_NOT_REACHED", text, Duration::from_secs(1)).into());
            }
        }
    }

    /// Returns until when everything that was received of the organization is in the figures.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn data_through(&self, organization: &OrganizationId) -> Result<Timestamp, StoreError> {
        let caught_up = self.caught_up().await;
        // Asked after the log: what came in between is in the queue by then, or younger than the answer.
        let (oldest, read) = self.0.store.received_through(organization).await?;
        Ok(match oldest {
            Some(oldest) => oldest,
            None => caught_up.unwrap_or(read).max(read),
        })
    }

    /// Returns a time, not long ago, up to which everything that was received is read; `None` while the reader lags behind.
    async fn caught_up(&self) -> Option<Timestamp> {
        let known = *self.0.caught_up.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((asked_at, answer)) = known
            && asked_at.elapsed() < CAUGHT_UP_KEPT
        {
            return answer;
        }
        let asked_at = Instant::now();
        let through = self.0.clock.now().saturating_add_millis(-ON_ITS_WAY_MS);
        let request = log_pb::GetConsumerRequest { consumer: READER.to_owned() };
        let answer = match self.0.log.clone().get_consumer(request).await {
            Ok(answer) => answer.into_inner().consumer.filter(|consumer| consumer.lag_records == 0).map(|_| through),
            Err(_) => None,
        };
        *self.0.caught_up.lock().unwrap_or_else(PoisonError::into_inner) = Some((asked_at, answer));
        answer
    }
}
