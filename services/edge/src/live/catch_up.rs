//! What a client missed since a position: read from the log, and joined with what happens now.
//!
//! The log is read to its end; then the client's mailbox is put up, and what the log got meanwhile is read up to where the mailbox
//! begins. So nothing lies between, and what is in both is sent once, since positions ascend.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use colloquy_events::Event;
use colloquy_proto::log::v1 as pb;
use colloquy_types::{ConversationId, Position};
use http::StatusCode;
use http::header::RETRY_AFTER;
use tokio::sync::{AcquireError, OwnedSemaphorePermit};
use tokio::time::Instant;
use tonic::{Code, Request, Status, Streaming};

use super::Live;
use super::frame::Frames;
use super::mailbox::Closing;
use super::session::{Gone, Listener, Wire};
use crate::problem::Refusal;

/// How long a client may wait until it is its turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long catching up may take; the client can then go on from where it got.
const AT_MOST: Duration = Duration::from_secs(10 * 60);
/// How long a position may lie beyond the end of the log: it may come from a replica that saw more.
const BEYOND_FOR: Duration = Duration::from_secs(2);
/// No replica is so many records ahead of another.
const BEYOND_BY: u64 = 100_000;
/// Who missed less than so many records of the log puts the mailbox up at once.
const NEAR: u64 = 100;
/// How soon the log is read again when it has not come far enough, or broke off.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// How often it may break off.
const MAX_FAILURES: u32 = 20;
/// How many conversations are known to be wanted or not.
const REMEMBERED: usize = 4_096;

/// A client that catches up.
pub(super) struct CatchUp {
    told: Streaming<pb::TailResponse>,
    /// Everything up to here was read.
    read_through: Position,
    until: Instant,
    failures: u32,
    /// Conversations that are wanted, or not.
    wanted: HashMap<ConversationId, bool>,
    /// The key's own, and one of everybody's.
    _turns: [OwnedSemaphorePermit; 2],
}

impl CatchUp {
    /// Begins to read what comes after a position.
    ///
    /// # Errors
    /// When the position lies beyond the end of the log, or the log cannot be read right now.
    pub(super) async fn begin(live: &Live, listener: &Listener, after: Position) -> Result<Self, Refusal> {
        let busy = || {
            let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED", "too many streams catch up at once");
            refusal.with(RETRY_AFTER, "2")
        };
        let turns = async {
            let of_key = Arc::clone(&listener.seat.key.catch_ups).acquire_owned().await?;
            Ok::<_, AcquireError>([of_key, Arc::clone(&live.catch_ups).acquire_owned().await?])
        };
        let turns = tokio::time::timeout(PATIENCE, turns).await.map_err(|_| busy())?.map_err(|_| busy())?;
        let near = live.hub.position().is_none_or(|end| after.sequence() <= end.sequence().saturating_add(BEYOND_BY));
        let patient_until = Instant::now() + if near { BEYOND_FOR } else { Duration::ZERO };
        let told = loop {
            match tail(live, listener, after).await {
                Ok(told) => break told,
                Err(status) if status.code() != Code::OutOfRange => return Err(status.into()),
                Err(_) if Instant::now() >= patient_until => {
                    return Err(Refusal::field("after", "lies beyond the end of the log: it must be the position of a frame"));
                }
                Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
            }
        };
        let until = Instant::now() + AT_MOST;
        Ok(Self { told, read_through: after, until, failures: 0, wanted: HashMap::new(), _turns: turns })
    }

    /// Sends what was missed; then the listener's mailbox has what happens from here on. Returns up to where everything was sent.
    pub(super) async fn run<W: Wire>(
        mut self: Box<Self>,
        live: &Live,
        listener: &mut Listener,
        wire: &mut W,
        beat_every: Duration,
    ) -> Result<Position, Gone> {
        let mut beat = Beat { every: beat_every, next: Instant::now() + beat_every };
        let mut sent = self.read_through;
        let mut begins_at = None;
        loop {
            if begins_at.is_none() && (self.is_near(live) || self.failures > 0) {
                begins_at = listener.subscribe(live);
            }
            self.send_to_the_end(live, listener, wire, &mut beat, &mut sent).await?;
            if begins_at.is_none() {
                begins_at = listener.subscribe(live);
            }
            match begins_at {
                Some(begins_at) if self.read_through >= begins_at => return Ok(sent.max(begins_at)),
                // What is read next is only what happened meanwhile.
                Some(_) => {}
                // The log is out of sight: the next end may have it.
                None => self.failures += 1,
            }
            self.again(live, listener).await?;
        }
    }

    fn is_near(&self, live: &Live) -> bool {
        live.hub.position().is_some_and(|end| end.sequence() <= self.read_through.sequence().saturating_add(NEAR))
    }

    /// Sends everything up to the end of the log, as it is when the reading began.
    async fn send_to_the_end<W: Wire>(
        &mut self,
        live: &Live,
        listener: &Listener,
        wire: &mut W,
        beat: &mut Beat,
        sent: &mut Position,
    ) -> Result<(), Gone> {
        loop {
            let told = tokio::select! {
                told = self.told.message() => told,
                gone = wire.listen() => return Err(gone),
                // Much may be read of which nothing is sent.
                () = tokio::time::sleep_until(beat.next) => {
                    beat.next = Instant::now() + beat.every;
                    wire.beat().await?;
                    continue;
                }
                () = tokio::time::sleep_until(self.until) => return Err(Gone::Closing(Closing::TryAgainLater)),
            };
            let told = match told {
                Ok(Some(told)) => told,
                Ok(None) => return Ok(()),
                Err(status) => {
                    tracing::debug!(grpc.code = ?status.code(), "catching up broke off: {}", status.message());
                    self.failures += 1;
                    return Ok(());
                }
            };
            let position = Position(told.position);
            let Some(event) = told.event else {
                self.read_through = self.read_through.max(position);
                continue;
            };
            if let Ok(event) = Event::try_from(event)
                && event.data.is_public()
                && listener.kinds.contains(event.data.kind())
                && self.wants(live, listener, &event, position).await
                && position > *sent
                && let Some(frame) = Frames::new(position, event).get(listener.with_words)
            {
                // Who reads slowly must not take others' turn for ever.
                let sending = tokio::time::timeout_at(self.until, wire.send(frame));
                sending.await.unwrap_or(Err(Gone::Closing(Closing::TryAgainLater)))?;
                *sent = position;
            }
            self.read_through = self.read_through.max(position);
        }
    }

    async fn wants(&mut self, live: &Live, listener: &Listener, event: &Event, position: Position) -> bool {
        if listener.narrowing.is_none() {
            return true;
        }
        if event.is_about_no_conversation() {
            return false;
        }
        let id = event.conversation_id;
        if let Some(wanted) = self.wanted.get(&id) {
            return *wanted;
        }
        let wanted = Box::pin(listener.wants(live, id, position)).await;
        if self.wanted.len() >= REMEMBERED {
            self.wanted.clear();
        }
        self.wanted.insert(id, wanted);
        wanted
    }

    /// Begins to read again from where it was.
    async fn again(&mut self, live: &Live, listener: &Listener) -> Result<(), Gone> {
        loop {
            if self.failures > MAX_FAILURES || Instant::now() >= self.until {
                return Err(Gone::Closing(Closing::TryAgainLater));
            }
            tokio::time::sleep(AGAIN_AFTER * (1 + self.failures)).await;
            match tail(live, listener, self.read_through).await {
                Ok(told) => {
                    self.told = told;
                    return Ok(());
                }
                Err(_) => self.failures += 1,
            }
        }
    }
}

/// When the client is shown next that somebody is there.
struct Beat {
    every: Duration,
    next: Instant,
}

/// Asks for everything after a position, up to the present end of the log.
async fn tail(live: &Live, listener: &Listener, after: Position) -> Result<Streaming<pb::TailResponse>, Status> {
    let request = pb::TailRequest {
        after_position: Some(after.0),
        organization_id: listener.topic.organization_id.as_str().to_owned(),
        conversation_id: listener.topic.conversation_id.map(|id| id.to_string()).unwrap_or_default(),
        kinds: listener.kinds.of_events(),
        until_end: true,
        with_progress: true,
    };
    Ok(live.log.clone().tail(Request::new(request)).await?.into_inner())
}
