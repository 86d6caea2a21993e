//! Following the log, event by event.

use std::collections::VecDeque;
use std::sync::Arc;

use colloquy_proto::log::v1 as pb;
use colloquy_types::{ConversationId, OrganizationId, Position};
use futures::Stream;
use futures::stream::unfold;
use tokio_util::sync::CancellationToken;

use super::{EventLog, LogError, LogRecord, ReadRequest};

/// How many events are read at a time.
const PAGE_EVENTS: u32 = 1_000;

/// Which events to follow.
#[derive(Debug, Clone, Default)]
pub struct TailRequest {
    /// Begin after this position; `None` begins with what happens next.
    pub after: Option<Position>,
    /// Only this organization's.
    pub organization: Option<OrganizationId>,
    /// Only this conversation's.
    pub conversation: Option<ConversationId>,
    /// Only these kinds, for example `turn.added`; empty means all.
    pub kinds: Vec<String>,
    /// End at the present end of the log instead of following it.
    pub until_end: bool,
}

/// One event and its place. It is the wire's event: who follows the log also sees kinds this release does not know.
#[derive(Debug, Clone, PartialEq)]
pub struct TailedEvent {
    /// Where it stands.
    pub position: Position,
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// When Colloquy received it.
    pub received_at: Option<prost_types::Timestamp>,
    /// The event.
    pub event: pb::Event,
}

/// Returns the events that match `request`, until `stop` unless it asks for an end. It reads at the pace of its receiver: one
/// page is the most it holds.
///
/// # Errors
/// [`LogError::BeyondEnd`] when it would begin after a position that does not exist yet; when the engine cannot be asked.
pub async fn tail(
    log: Arc<dyn EventLog>,
    request: TailRequest,
    stop: CancellationToken,
) -> Result<impl Stream<Item = Result<TailedEvent, LogError>> + Send + 'static, LogError> {
    let end = log.end().await?;
    let after = request.after.unwrap_or(end);
    if after > end {
        return Err(LogError::BeyondEnd { after, end });
    }
    let until = if request.until_end { end } else { Position(u64::MAX) };
    let tail = Tail { log, request, after, read_through: after, until, waiting: VecDeque::new(), stop, failed: false };
    Ok(unfold(tail, |mut tail| async move { tail.next().await.map(|event| (event, tail)) }))
}

struct Tail {
    log: Arc<dyn EventLog>,
    request: TailRequest,
    /// Where it begins: events up to here are left out.
    after: Position,
    read_through: Position,
    until: Position,
    waiting: VecDeque<TailedEvent>,
    stop: CancellationToken,
    failed: bool,
}

impl Tail {
    async fn next(&mut self) -> Option<Result<TailedEvent, LogError>> {
        loop {
            if self.stop.is_cancelled() || self.failed {
                return None;
            }
            if let Some(event) = self.waiting.pop_front() {
                return Some(Ok(event));
            }
            if self.read_through >= self.until {
                return None;
            }
            if let Err(error) = self.read().await {
                self.failed = true;
                return Some(Err(error));
            }
            if self.waiting.is_empty() && self.read_through < self.until {
                tokio::select! {
                    () = self.log.wait_beyond(self.read_through) => {}
                    () = self.stop.cancelled() => {}
                }
            }
        }
    }

    async fn read(&mut self) -> Result<(), LogError> {
        let organization = self.request.organization.as_ref();
        let (after, through) = (self.read_through, self.until);
        let page = self.log.read(ReadRequest { after, through, organization, max_events: PAGE_EVENTS }).await?;
        for record in &page.records {
            self.take_from(record)?;
        }
        self.read_through = page.through;
        Ok(())
    }

    fn take_from(&mut self, record: &LogRecord) -> Result<(), LogError> {
        let damaged = |error: prost::DecodeError| colloquy_storage::StoreError::Corrupt(error.to_string());
        let message = record.to_message().map_err(damaged)?;
        let conversation = self.request.conversation.map(|id| id.to_string());
        for (index, event) in message.events.into_iter().enumerate() {
            let position = Position::new(record.sequence, u16::try_from(index).unwrap_or(u16::MAX));
            let erased = event.event_id.is_empty();
            let of_conversation = conversation.as_ref().is_none_or(|id| *id == event.conversation_id);
            let of_kind = self.request.kinds.is_empty() || self.request.kinds.iter().any(|wanted| wanted == kind(&event));
            if position > self.after && !erased && of_conversation && of_kind {
                let (organization_id, received_at) = (record.organization_id.clone(), message.received_at);
                self.waiting.push_back(TailedEvent { position, organization_id, received_at, event });
            }
        }
        Ok(())
    }
}

/// Every kind there is.
pub(super) const KINDS: [&str; 25] = [
    "conversation.started",
    "conversation.updated",
    "conversation.ended",
    "conversation.analyzed",
    "conversation.patched",
    "turn.added",
    "turn.updated",
    "transcript.updated",
    "transcript.completed",
    "session.started",
    "session.ended",
    "transfer.updated",
    "recording.available",
    "recording.failed",
    "feedback.given",
    "error.raised",
    "speech.updated",
    "control.offered",
    "control.accepted",
    "control.applied",
    "control.rejected",
    "control.lease_changed",
    "alert.opened",
    "alert.acknowledged",
    "alert.resolved",
];

/// Returns the name of an event's kind; empty for one this release does not know.
pub(super) fn kind(event: &pb::Event) -> &'static str {
    use pb::event::Data;
    let Some(data) = &event.data else { return "" };
    KINDS[match data {
        Data::ConversationStarted(_) => 0,
        Data::ConversationUpdated(_) => 1,
        Data::ConversationEnded(_) => 2,
        Data::ConversationAnalyzed(_) => 3,
        Data::ConversationPatched(_) => 4,
        Data::TurnAdded(_) => 5,
        Data::TurnUpdated(_) => 6,
        Data::TranscriptUpdated(_) => 7,
        Data::TranscriptCompleted(_) => 8,
        Data::SessionStarted(_) => 9,
        Data::SessionEnded(_) => 10,
        Data::TransferUpdated(_) => 11,
        Data::RecordingAvailable(_) => 12,
        Data::RecordingFailed(_) => 13,
        Data::FeedbackGiven(_) => 14,
        Data::ErrorRaised(_) => 15,
        Data::SpeechUpdated(_) => 16,
        Data::ControlOffered(_) => 17,
        Data::ControlAccepted(_) => 18,
        Data::ControlApplied(_) => 19,
        Data::ControlRejected(_) => 20,
        Data::ControlLeaseChanged(_) => 21,
        Data::AlertOpened(_) => 22,
        Data::AlertAcknowledged(_) => 23,
        Data::AlertResolved(_) => 24,
    }]
}
