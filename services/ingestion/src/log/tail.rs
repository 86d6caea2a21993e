//! Following the log, event by event.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use colloquy_proto::log::v1 as pb;
use colloquy_types::{ConversationId, OrganizationId, Position};
use futures::Stream;
use futures::stream::unfold;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{EventLog, LogError, LogRecord, ReadRequest};

/// How many events are read at a time.
const PAGE_EVENTS: u32 = 1_000;
/// From so many records on it is worth asking an index where a conversation's events are.
const WORTH_A_JUMP: u64 = 1_000;
/// How soon the log is read again when its end, as it was when the reading began, is not reached yet.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long nothing may be said before it is said how far the log was read.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

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
    /// Leave out what may be shown to services only, what this release does not know, and where recordings lie.
    pub public_only: bool,
    /// End at the present end of the log instead of following it.
    pub until_end: bool,
    /// Also tell how far the log was read: at once, when its end is reached, and while nothing matches.
    pub with_progress: bool,
}

/// What following the log brings.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly all are events, which need no box of their own")]
pub enum Tailed {
    /// An event that matches.
    Event(TailedEvent),
    /// The log was read up to here: everything that matches up to there has been told.
    ReadThrough(Position),
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

/// Returns the events that match `request`, and how far it has come when it is to tell, until `stop` unless it asks for an end. It
/// reads at the pace of its receiver: one page is the most it holds.
///
/// # Errors
/// [`LogError::BeyondEnd`] when it would begin after a position that does not exist yet; when the engine cannot be asked.
pub async fn tail(
    log: Arc<dyn EventLog>,
    request: TailRequest,
    stop: CancellationToken,
) -> Result<impl Stream<Item = Result<Tailed, LogError>> + Send + 'static, LogError> {
    let end = log.end().await?;
    let after = request.after.unwrap_or(end);
    if after > end {
        return Err(LogError::BeyondEnd { after, end });
    }
    let until = if request.until_end { end } else { Position(u64::MAX) };
    let said = Said { position: None, at: Instant::now(), end: EndOfLog::Ahead };
    let tail = Tail {
        log,
        request,
        after,
        read_through: after,
        until,
        waiting: VecDeque::new(),
        jumps: Jumps::default(),
        said,
        stop,
        failed: false,
    };
    Ok(unfold(tail, |mut tail| async move { tail.next().await.map(|told| (told, tail)) }))
}

struct Tail {
    log: Arc<dyn EventLog>,
    request: TailRequest,
    /// Where it begins: events up to here are left out.
    after: Position,
    read_through: Position,
    until: Position,
    waiting: VecDeque<TailedEvent>,
    jumps: Jumps,
    said: Said,
    stop: CancellationToken,
    failed: bool,
}

/// Where the events of one conversation are, as far as an index told.
#[derive(Default)]
struct Jumps {
    sequences: VecDeque<u64>,
    through: Position,
}

/// What was told last.
struct Said {
    /// How far the log was read, as it was told.
    position: Option<Position>,
    /// When something was told.
    at: Instant,
    end: EndOfLog,
}

/// Whether everything that was there has been told, and that it has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EndOfLog {
    Ahead,
    Reached,
    Told,
}

impl Tail {
    async fn next(&mut self) -> Option<Result<Tailed, LogError>> {
        loop {
            if self.stop.is_cancelled() || self.failed {
                return None;
            }
            if let Some(event) = self.waiting.pop_front() {
                self.said.at = Instant::now();
                return Some(Ok(Tailed::Event(event)));
            }
            if let Some(position) = self.progress() {
                return Some(Ok(Tailed::ReadThrough(position)));
            }
            if self.read_through >= self.until {
                return None;
            }
            if let Err(error) = self.read().await {
                self.failed = true;
                return Some(Err(error));
            }
            if self.waiting.is_empty() && self.read_through < self.until {
                self.wait().await;
            }
        }
    }

    /// Returns how far the log was read, when that is to be told now. Nothing waits to be sent.
    fn progress(&mut self) -> Option<Position> {
        if !self.request.with_progress {
            return None;
        }
        let first = self.said.position.is_none();
        let news = self.said.position.is_none_or(|told| told < self.read_through);
        let ended = self.said.end == EndOfLog::Reached || self.read_through >= self.until;
        let due = self.said.at.elapsed() >= PROGRESS_EVERY;
        if self.said.end == EndOfLog::Reached {
            self.said.end = EndOfLog::Told;
        }
        if !(first || due || (ended && news)) {
            return None;
        }
        self.said.position = Some(self.read_through);
        self.said.at = Instant::now();
        self.said.position
    }

    /// Waits for more, or for the time to tell how far the log was read.
    async fn wait(&mut self) {
        let speak_at = self.said.at + PROGRESS_EVERY;
        let (tells, ahead) = (self.request.with_progress, self.said.end == EndOfLog::Ahead);
        tokio::select! {
            // More first: only when there is none, the end is reached.
            biased;
            () = self.log.wait_beyond(self.read_through) => {}
            () = self.stop.cancelled() => {}
            () = std::future::ready(()), if tells && ahead => self.said.end = EndOfLog::Reached,
            // What lies before the end need not be a record, so nothing tells of it.
            () = tokio::time::sleep(LOOK_AGAIN), if self.request.until_end => {}
            () = tokio::time::sleep_until(speak_at), if tells => {}
        }
    }

    async fn read(&mut self) -> Result<(), LogError> {
        if self.jumps.sequences.is_empty() && !self.find_jumps().await? {
            return self.read_page(self.until).await;
        }
        // Only the records that are known to matter; between them there is nothing.
        while self.waiting.is_empty() {
            let Some(sequence) = self.jumps.sequences.pop_front() else {
                self.read_through = self.read_through.max(self.jumps.through.min(self.until));
                break;
            };
            if let Some(before) = sequence.checked_sub(1) {
                self.read_through = self.read_through.max(Position::end_of(before));
            }
            self.read_page(Position::end_of(sequence).min(self.until)).await?;
        }
        Ok(())
    }

    /// Finds out where one conversation's events are, when much lies between here and the end; returns whether that is known.
    async fn find_jumps(&mut self) -> Result<bool, LogError> {
        let (Some(organization), Some(conversation)) = (&self.request.organization, self.request.conversation) else {
            return Ok(false);
        };
        let end = self.log.end().await?.min(self.until);
        if end.sequence().saturating_sub(self.read_through.sequence()) < WORTH_A_JUMP {
            return Ok(false);
        }
        let Some(found) = self.log.records_of(organization, conversation, self.read_through).await? else { return Ok(false) };
        self.jumps = Jumps { sequences: found.sequences.into(), through: found.through };
        Ok(true)
    }

    async fn read_page(&mut self, through: Position) -> Result<(), LogError> {
        let organization = self.request.organization.as_ref();
        let after = self.read_through;
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
        for (index, mut event) in message.events.into_iter().enumerate() {
            let position = Position::new(record.sequence, u16::try_from(index).unwrap_or(u16::MAX));
            let erased = event.event_id.is_empty();
            let of_conversation = conversation.as_ref().is_none_or(|id| *id == event.conversation_id);
            let kind = kind(&event);
            let of_kind = self.request.kinds.is_empty() || self.request.kinds.iter().any(|wanted| wanted == kind);
            let shown = !self.request.public_only || is_public(kind);
            if position > self.after && !erased && of_conversation && of_kind && shown {
                if self.request.public_only {
                    hide_places(&mut event);
                }
                let (organization_id, received_at) = (record.organization_id.clone(), message.received_at);
                self.waiting.push_back(TailedEvent { position, organization_id, received_at, event });
            }
        }
        Ok(())
    }
}

/// Leaves out where a recording lies: whoever may hear it asks for it.
fn hide_places(event: &mut pb::Event) {
    if let Some(pb::event::Data::RecordingAvailable(recording)) = &mut event.data {
        recording.url = None;
        recording.object_key = None;
    }
}

/// The kinds that only services may see.
const PRIVATE_KINDS: [&str; 1] = ["control.offered"];

/// Returns whether events of a kind may be shown to people outside of Colloquy. Of one this release does not know nobody can tell.
pub(super) fn is_public(kind: &str) -> bool {
    !kind.is_empty() && !PRIVATE_KINDS.contains(&kind)
}

/// Returns the name of an event's kind; empty for one this release does not know.
pub(super) fn kind(event: &pb::Event) -> &'static str {
    use pb::event::Data;
    let Some(data) = &event.data else { return "" };
    colloquy_events::KINDS[match data {
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

#[cfg(test)]
mod tests {
    use colloquy_events::{ControlOffer, Data, ErrorRaised};

    use super::*;

    #[test]
    fn what_is_private_here_is_private_everywhere() {
        let offered = Data::ControlOffered(ControlOffer { url: "https://vendor.example/c".to_owned() });
        let raised = Data::ErrorRaised(ErrorRaised { code: "c".to_owned(), message: None, component: None });
        for data in [offered, raised] {
            assert_eq!(is_public(data.kind()), data.is_public(), "{}", data.kind());
        }
        assert!(PRIVATE_KINDS.iter().all(|kind| colloquy_events::KINDS.contains(kind)));
        assert!(!is_public(""));
    }
}
