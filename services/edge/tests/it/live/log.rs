//! An event log that a test writes to, and can break.

use std::sync::{Arc, Mutex};

use colloquy_events::{Data, Event};
use colloquy_proto::log::v1 as pb;
use colloquy_proto::log::v1::event_log_service_server::EventLogService;
use colloquy_types::{ConversationId, EventId, Position, Provider, Timestamp};
use futures::stream::{BoxStream, StreamExt, unfold};
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

/// The log. Clones share it.
#[derive(Clone)]
pub(crate) struct FakeLog(Arc<Inner>);

struct Inner {
    entries: Mutex<Vec<Entry>>,
    /// How far streams may see; less than there is while the replica lags.
    visible: watch::Sender<u64>,
    /// Streams end when this changes.
    broken: watch::Sender<u64>,
    tails: Mutex<Vec<pb::TailRequest>>,
    away: Mutex<bool>,
}

#[derive(Clone)]
struct Entry {
    position: Position,
    organization: String,
    event: pb::Event,
}

impl Default for FakeLog {
    fn default() -> Self {
        let (entries, tails, away) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { entries, visible: watch::Sender::new(0), broken: watch::Sender::new(0), tails, away }))
    }
}

pub(crate) fn event(conversation_id: ConversationId, data: Data) -> Event {
    Event {
        event_id: EventId::generate(),
        conversation_id,
        provider: Provider::ElevenLabs,
        external_id: "conv_1".to_owned(),
        occurred_at: Timestamp::from_millis(1_772_463_600_000).unwrap(),
        ordinal: 0,
        data,
    }
}

impl FakeLog {
    /// Adds a record, and returns the positions of its events.
    pub(crate) fn append(&self, organization: &str, events: Vec<Event>) -> Vec<u64> {
        let mut entries = self.0.entries.lock().unwrap();
        let sequence = entries.last().map_or(0, |last| last.position.sequence()) + 1;
        let mut positions = Vec::new();
        for (index, event) in events.into_iter().enumerate() {
            let position = Position::new(sequence, index as u16);
            positions.push(position.0);
            entries.push(Entry { position, organization: organization.to_owned(), event: event.into() });
        }
        drop(entries);
        self.0.visible.send_modify(|visible| {
            if *visible == sequence - 1 {
                *visible = sequence;
            }
        });
        positions
    }

    /// Hides what comes from now on, as a replica does that lags behind.
    pub(crate) fn lag_behind(&self) {
        // A number that no record follows.
        self.0.visible.send_modify(|visible| *visible = visible.saturating_sub(1));
    }

    /// Shows everything.
    pub(crate) fn come_up(&self) {
        let last = self.0.entries.lock().unwrap().last().map_or(0, |last| last.position.sequence());
        self.0.visible.send_replace(last);
    }

    /// Ends every stream.
    pub(crate) fn break_streams(&self) {
        self.0.broken.send_modify(|broken| *broken += 1);
    }

    /// Refuses new streams, and ends those there are; or takes them again.
    pub(crate) fn set_away(&self, away: bool) {
        *self.0.away.lock().unwrap() = away;
        self.break_streams();
    }

    /// Returns the streams that were asked for.
    pub(crate) fn tails(&self) -> Vec<pb::TailRequest> {
        self.0.tails.lock().unwrap().clone()
    }

    /// Returns how often the log was followed for everybody.
    pub(crate) fn followed(&self) -> usize {
        self.tails().iter().filter(|tail| tail.organization_id.is_empty()).count()
    }

    fn end(&self) -> Position {
        Position::end_of(*self.0.visible.borrow())
    }
}

/// One stream.
struct Tail {
    log: FakeLog,
    request: pb::TailRequest,
    at: Position,
    until: Option<Position>,
    told: Option<Position>,
    end_told: bool,
    changed: watch::Receiver<u64>,
    broken: watch::Receiver<u64>,
    over: bool,
}

impl Tail {
    fn find(&mut self) -> Option<pb::TailResponse> {
        let entries = self.log.0.entries.lock().unwrap();
        let end = self.until.unwrap_or(self.log.end());
        let wanted = |entry: &&Entry| {
            let request = &self.request;
            let data: Event = entry.event.clone().try_into().unwrap();
            entry.position > self.at
                && entry.position <= end
                && (request.organization_id.is_empty() || request.organization_id == entry.organization)
                && (request.conversation_id.is_empty() || request.conversation_id == entry.event.conversation_id)
                && (request.kinds.is_empty() || request.kinds.iter().any(|kind| kind == data.data.kind()))
        };
        let from = entries.partition_point(|entry| entry.position <= self.at);
        let Some(entry) = entries[from..].iter().find(wanted).cloned() else {
            drop(entries);
            self.at = self.at.max(end);
            return None;
        };
        drop(entries);
        self.at = entry.position;
        let data: Event = entry.event.clone().try_into().unwrap();
        Some(pb::TailResponse {
            position: entry.position.0,
            organization_id: entry.organization,
            kind: data.data.kind().to_owned(),
            event: Some(entry.event),
            received_at: None,
        })
    }

    fn progress(&mut self) -> pb::TailResponse {
        self.told = Some(self.at);
        pb::TailResponse { position: self.at.0, ..Default::default() }
    }

    async fn next(&mut self) -> Option<Result<pb::TailResponse, Status>> {
        loop {
            if self.over {
                return None;
            }
            if self.broken.has_changed().unwrap() {
                self.over = true;
                return Some(Err(Status::unavailable("broken by the test")));
            }
            if self.request.with_progress && self.told.is_none() {
                return Some(Ok(self.progress()));
            }
            self.changed.borrow_and_update();
            if let Some(told) = self.find() {
                return Some(Ok(told));
            }
            let news = self.told.is_some_and(|told| told < self.at);
            if self.request.with_progress && news && (self.until.is_some() || !self.end_told) {
                self.end_told = true;
                return Some(Ok(self.progress()));
            }
            if self.until.is_some() {
                return None;
            }
            tokio::select! {
                _ = self.changed.changed() => {}
                _ = self.broken.changed() => self.broken.mark_changed(),
            }
        }
    }
}

#[tonic::async_trait]
impl EventLogService for FakeLog {
    type TailStream = BoxStream<'static, Result<pb::TailResponse, Status>>;

    async fn tail(&self, request: Request<pb::TailRequest>) -> Result<Response<Self::TailStream>, Status> {
        let request = request.into_inner();
        self.0.tails.lock().unwrap().push(request.clone());
        if *self.0.away.lock().unwrap() {
            return Err(Status::unavailable("away"));
        }
        let (end, after) = (self.end(), request.after_position.map(Position));
        if after.is_some_and(|after| after > end) {
            return Err(Status::out_of_range("beyond the end"));
        }
        let tail = Tail {
            log: self.clone(),
            until: request.until_end.then_some(end),
            at: after.unwrap_or(end),
            request,
            told: None,
            end_told: false,
            changed: self.0.visible.subscribe(),
            broken: self.0.broken.subscribe(),
            over: false,
        };
        Ok(Response::new(unfold(tail, |mut tail| async move { tail.next().await.map(|told| (told, tail)) }).boxed()))
    }

    async fn append(&self, _: Request<pb::AppendRequest>) -> Result<Response<pb::AppendResponse>, Status> {
        Err(Status::unimplemented("streams write nothing"))
    }

    type ConsumeStream = BoxStream<'static, Result<pb::ConsumeResponse, Status>>;

    async fn consume(&self, _: Request<Streaming<pb::ConsumeRequest>>) -> Result<Response<Self::ConsumeStream>, Status> {
        Err(Status::unimplemented("streams consume nothing"))
    }

    async fn erase(&self, _: Request<pb::EraseRequest>) -> Result<Response<pb::EraseResponse>, Status> {
        Err(Status::unimplemented("streams erase nothing"))
    }

    async fn get_consumer(&self, _: Request<pb::GetConsumerRequest>) -> Result<Response<pb::GetConsumerResponse>, Status> {
        Err(Status::unimplemented("streams consume nothing"))
    }

    async fn list_consumers(&self, _: Request<pb::ListConsumersRequest>) -> Result<Response<pb::ListConsumersResponse>, Status> {
        Err(Status::unimplemented("streams consume nothing"))
    }
}
