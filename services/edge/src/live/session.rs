//! One stream, from its first frame to its last.

use std::sync::Arc;
use std::time::Duration;

use colloquy_proto::conversation::v1 as conversation;
use colloquy_service::metrics;
use colloquy_types::{ConversationId, Position};
use serde::Serialize;
use tokio::time::Instant;
use tonic::Code;

use super::catch_up::CatchUp;
use super::facts::{Facts, Narrowing};
use super::frame::Frame;
use super::hub::{Subscriber, Subscription, Topic, Wanted};
use super::keys::Seat;
use super::kinds::Kinds;
use super::mailbox::{Closing, Missed, Next, Waiting};
use super::{Live, snapshot};

/// How many frames are put on the wire before they are pushed out.
const FRAMES_AT_ONCE: usize = 64;
/// How often a new snapshot is tried, and how soon again.
const SNAPSHOT_TRIES: u32 = 5;
const SNAPSHOT_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long the log may be out of sight.
const LOG_PATIENCE: Duration = Duration::from_secs(30);

/// Who listens, and to what.
pub(super) struct Listener {
    pub(super) topic: Topic,
    pub(super) with_words: bool,
    pub(super) with_mood: bool,
    pub(super) kinds: Kinds,
    pub(super) narrowing: Narrowing,
    /// Put up once the client gets what happens, and gone before the seat is.
    pub(super) subscription: Option<Subscription>,
    pub(super) seat: Seat,
    pub(super) _wanted: Wanted,
}

/// How a stream begins.
pub(super) enum Begin {
    /// With the state up to a position.
    Snapshot(Frame, Position),
    /// With what was missed since a position.
    CatchUp(Box<CatchUp>, Position),
}

/// Why nothing more can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    /// The client is gone.
    Client,
    /// The stream is to end.
    Closing(Closing),
}

/// What sends frames.
pub(super) trait Sending: Send {
    /// Sends a frame.
    fn send(&mut self, frame: &Frame) -> impl Future<Output = Result<(), Gone>> + Send;
}

/// What carries a stream.
pub(super) trait Wire: Sending {
    /// Its name, for metrics.
    const NAME: &'static str;

    /// Puts a frame on the wire, which may keep it until [`Wire::flush`].
    fn feed(&mut self, frame: &Frame) -> impl Future<Output = Result<(), Gone>> + Send;

    /// Pushes out what was put on the wire.
    fn flush(&mut self) -> impl Future<Output = Result<(), Gone>> + Send;

    /// Waits until the client goes away or does something it must not. Dropping the future loses nothing.
    fn listen(&mut self) -> impl Future<Output = Gone> + Send;

    /// Shows the client that somebody is there, and finds out whether it is.
    fn beat(&mut self) -> impl Future<Output = Result<(), Gone>> + Send;

    /// Ends the stream, saying why.
    fn close(self, closing: Closing) -> impl Future<Output = ()> + Send;
}

impl Listener {
    /// Puts the mailbox up, which then has everything after the position returned.
    pub(super) fn subscribe(&mut self, live: &Live) -> Option<Position> {
        let subscriber = Subscriber {
            mailbox: Arc::clone(&self.seat.mailbox),
            with_words: self.with_words,
            with_mood: self.with_mood,
            kinds: self.kinds,
            narrowing: self.narrowing.clone(),
            key: Arc::clone(&self.seat.key),
        };
        let (subscription, position) = live.hub.subscribe(self.topic.clone(), subscriber)?;
        self.subscription = Some(subscription);
        Some(position)
    }

    /// Finds out whether a conversation is wanted, reading its record when nothing else tells. In doubt it is.
    pub(super) async fn wants(&self, live: &Live, id: ConversationId, position: Position) -> bool {
        if let Some(wanted) = live.hub.wants(&self.topic, id, &self.narrowing) {
            return wanted;
        }
        let (conversation_id, min_position) = (id.to_string(), position.0);
        let request = conversation::GetConversationRequest { conversation_id, min_position, ..Default::default() };
        match live.conversations.clone().get_conversation(self.seat.key.calling().call(request)).await {
            Ok(answer) => {
                let record = answer.into_inner().conversation.unwrap_or_default();
                let facts = Facts::of_record(record.agent_id.as_deref(), record.client_id.as_deref());
                let wanted = self.narrowing.wants(Some(&facts)).unwrap_or(true);
                live.hub.learn(&self.topic, id, facts);
                wanted
            }
            // It was erased meanwhile.
            Err(status) if status.code() == Code::NotFound => false,
            Err(_) => true,
        }
    }

    fn subject(&self) -> &'static str {
        if self.topic.conversation_id.is_some() { "conversation" } else { "organization" }
    }
}

/// Carries a stream to its end.
pub(super) async fn run<W: Wire>(live: Arc<Live>, listener: Box<Listener>, wire: W, begin: Begin, beat_every: Duration) {
    let _open = Open::of::<W>(listener.subject());
    let mailbox = Arc::clone(&listener.seat.mailbox);
    let mut session = Session { live, listener, wire, sent: Position::START };
    let gone = tokio::select! {
        gone = session.carry(begin, beat_every) => gone,
        // Also while something is being sent, which may take a slow client as long as it likes.
        closing = mailbox.closed() => Gone::Closing(closing),
    };
    if let Gone::Closing(closing) = gone {
        // Nobody should wait in line for a place that is only being cleared.
        let Session { listener, wire, .. } = session;
        drop(listener);
        wire.close(closing).await;
    }
}

/// Counts a stream as open for as long as this lives.
struct Open {
    subject: &'static str,
    wire: &'static str,
}

impl Open {
    fn of<W: Wire>(subject: &'static str) -> Self {
        metrics::stream_opened(subject, W::NAME);
        Self { subject, wire: W::NAME }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::stream_closed(self.subject, self.wire);
    }
}

struct Session<W> {
    live: Arc<Live>,
    listener: Box<Listener>,
    wire: W,
    /// Everything up to here was sent.
    sent: Position,
}

#[derive(Serialize)]
struct Lagged {
    /// The first event that was left out.
    missed_from: Option<u64>,
    /// How many frames were left out, as far as they were counted.
    frames: u64,
}

impl<W: Wire> Session<W> {
    async fn carry(&mut self, begin: Begin, beat_every: Duration) -> Gone {
        if let Err(gone) = Box::pin(self.begin(begin, beat_every)).await {
            return gone;
        }
        let mut beat = std::pin::pin!(tokio::time::sleep(beat_every));
        loop {
            let outcome = tokio::select! {
                next = self.listener.seat.mailbox.next() => self.go_on(next).await,
                gone = self.wire.listen() => Err(gone),
                () = beat.as_mut() => {
                    beat.as_mut().reset(Instant::now() + beat_every);
                    Box::pin(self.wire.beat()).await
                }
            };
            if let Err(gone) = outcome {
                return gone;
            }
        }
    }

    async fn begin(&mut self, begin: Begin, beat_every: Duration) -> Result<(), Gone> {
        match begin {
            Begin::Snapshot(frame, position) => {
                self.sent = position;
                self.wire.send(&frame).await?;
            }
            Begin::CatchUp(catch_up, position) => {
                self.sent = position;
                self.sent = catch_up.run(&self.live, &mut self.listener, &mut self.wire, beat_every).await?;
            }
        }
        Ok(())
    }

    async fn go_on(&mut self, next: Next) -> Result<(), Gone> {
        match next {
            Next::Frame(waiting) => self.send_what_waits(waiting).await,
            Next::Lagged(missed) => Box::pin(self.begin_anew(missed)).await,
            Next::Close(closing) => Err(Gone::Closing(closing)),
        }
    }

    async fn send_what_waits(&mut self, first: Waiting) -> Result<(), Gone> {
        let mut count = 0;
        let mut next = Some(Next::Frame(first));
        let outcome = loop {
            match next {
                Some(Next::Frame(waiting)) => {
                    count += u64::from(self.feed(waiting).await?);
                    if count as usize >= FRAMES_AT_ONCE {
                        break Ok(());
                    }
                }
                Some(Next::Lagged(missed)) => break Box::pin(self.begin_anew(missed)).await,
                Some(Next::Close(closing)) => break Err(Gone::Closing(closing)),
                None => break Ok(()),
            }
            next = self.listener.seat.mailbox.try_next();
        };
        metrics::stream_frames(W::NAME, count);
        outcome?;
        self.wire.flush().await
    }

    /// Puts a frame on the wire, unless it was sent before or is not wanted.
    async fn feed(&mut self, waiting: Waiting) -> Result<bool, Gone> {
        let Waiting { frame, undecided } = waiting;
        if frame.position.is_some_and(|position| position <= self.sent) {
            return Ok(false);
        }
        let at = frame.position.unwrap_or(self.sent);
        let wanted = match frame.conversation_id {
            Some(id) if undecided => Box::pin(self.listener.wants(&self.live, id, at)).await,
            _ => true,
        };
        if wanted {
            self.wire.feed(&frame).await?;
        }
        self.sent = self.sent.max(at);
        Ok(wanted)
    }

    /// Tells a client what it missed, and shows it how things stand now.
    async fn begin_anew(&mut self, missed: Missed) -> Result<(), Gone> {
        metrics::stream_lagged(self.listener.subject());
        let data = Lagged { missed_from: missed.from.map(|from| from.0), frames: missed.frames };
        let conversation_id = self.listener.topic.conversation_id;
        let lagged = Frame::new("lagged", Some(self.sent), conversation_id, self.live.clock.now(), data);
        if let Some(lagged) = lagged {
            self.wire.send(&lagged).await?;
        }
        let (snapshot, position) = new_snapshot(&self.live, &self.listener).await?;
        self.sent = position;
        self.wire.send(&snapshot).await
    }
}

/// Lets a listener begin anew, and reads how things stand.
async fn new_snapshot(live: &Live, listener: &Listener) -> Result<(Frame, Position), Gone> {
    for _ in 0..SNAPSHOT_TRIES {
        if tokio::time::timeout(LOG_PATIENCE, live.hub.ready()).await.is_err() {
            break;
        }
        let Some(position) = live.hub.restart(&listener.seat.mailbox) else { continue };
        match snapshot::read(live, listener, position).await {
            Ok(frame) => return Ok((frame, position)),
            Err(refusal) if refusal.status() == http::StatusCode::NOT_FOUND => return Err(Gone::Closing(Closing::Erased)),
            Err(_) => tokio::time::sleep(SNAPSHOT_AGAIN_AFTER).await,
        }
    }
    Err(Gone::Closing(Closing::TryAgainLater))
}
