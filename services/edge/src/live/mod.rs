//! Live streams: what happens in conversations, told as it happens.
//!
//! # What a client sees
//!
//! A stream is a WebSocket whose messages are JSON, or Server-Sent Events whose `data` is the same JSON. Every frame is
//! `{position, type, conversation_id, at, data}`:
//!
//! - `snapshot`, first: the state up to `position`. Of one conversation `{conversation, turns, metrics}`, of an organization
//!   `{conversations, has_more}`.
//! - The events of the log, by their kinds (`turn.added`, `conversation.ended`, …), in the order of the log, each once, each after
//!   the snapshot's position. `data` is what the event says.
//! - `metrics`: figures so far; its `position` is null. Mood and topics come a second or two behind what is said: another frame follows
//!   when they are there.
//! - `lagged`: the client was too slow, so events from `data.missed_from` on were left out; a new `snapshot` follows. Everything up to
//!   its `position` was sent: `after=` that position has all that was missed.
//! - `closed`, over Server-Sent Events only: why the stream ends, with the codes below.
//!
//! `after=POSITION` (or `Last-Event-ID`) goes on after a position, with neither gap nor repeat; there is no snapshot then.
//!
//! Turns: keep them by `turn_id`. A turn with `final: true` is added, or what it knows is put over what is known of that turn, and
//! a partial turn of the same role goes; one with `final: false` takes the place of any partial turn of the same role.
//! `transcript.updated` and `transcript.completed` replace all turns.
//!
//! Close codes (WebSocket): 1001 or none from the client; 1008 it sends too much, 1009 too large a message; 1012 the server stops,
//! come again with `after`; 1013 try again later, with `after`; 4401 the API key was revoked or its rights changed; 4404 the
//! conversation was erased; 4408 the client reads nothing or answers no ping.
//!
//! # How it is made
//!
//! [`upstream`] follows the log once for the whole process while anybody listens, and [`hub`] hands each event to the
//! [`mailbox`] of everybody concerned: bounded queues, so that who reads slowly slows nobody else. A [`session`] empties its
//! mailbox onto a wire: [`websocket`] or [`sse`]. [`snapshot`], [`catch_up`], [`figures`] and [`mood`] read, in the name of the
//! listener's key, what a mailbox does not hold; [`keys`] knows who listens, how many they are, and whether their keys still count; [`opening`] begins it
//! all.

mod catch_up;
mod facts;
mod figures;
mod frame;
mod hub;
mod keys;
mod kinds;
mod mailbox;
mod mood;
mod opening;
mod session;
mod settings;
mod snapshot;
mod sse;
mod upstream;
mod websocket;
mod words;

use std::sync::Arc;
use std::time::Duration;

use colloquy_proto::analytics::v1::analytics_service_client::AnalyticsServiceClient;
use colloquy_proto::conversation::v1::conversation_service_client::ConversationServiceClient;
use colloquy_proto::log::v1::event_log_service_client::EventLogServiceClient;
use colloquy_proto::transcript::v1::transcript_service_client::TranscriptServiceClient;
use colloquy_service::Task;
use colloquy_service::auth::Authenticator;
use colloquy_service::transport::{MAX_MESSAGE_BYTES, Transport};
use colloquy_types::Clock;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clients::Clients;
use figures::Figures;
use hub::Hub;
use keys::Keys;

pub(crate) use opening::{Of, open, with_offered_key};
pub use settings::StreamSettings;

/// How long streams may take to say goodbye when the process stops.
const FAREWELL: Duration = Duration::from_secs(3);

/// What live streams need beside the services behind the edge. These transports carry the service token: the log is followed once
/// for everybody, and keys are asked about.
#[derive(Clone)]
pub struct StreamDeps {
    /// `colloquy.log.v1`, with the service token.
    pub log: Transport,
    /// `colloquy.access.v1`, with the service token.
    pub access: Transport,
    /// The service token.
    pub service_token: Arc<str>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ends every stream.
    pub stop: CancellationToken,
}

/// Everything about live streams.
pub(crate) struct Live {
    settings: StreamSettings,
    log: EventLogServiceClient<Transport>,
    conversations: ConversationServiceClient<Transport>,
    transcripts: TranscriptServiceClient<Transport>,
    analytics: AnalyticsServiceClient<Transport>,
    pub(crate) authenticator: Authenticator,
    clock: Arc<dyn Clock>,
    hub: Hub,
    keys: Arc<Keys>,
    figures: Figures,
    /// How many snapshots are read at once.
    snapshots: Semaphore,
    /// How many streams read at once what they missed.
    catch_ups: Arc<Semaphore>,
    stop: CancellationToken,
    /// The sessions.
    sessions: TaskTracker,
}

impl Live {
    pub(crate) fn new(settings: StreamSettings, deps: StreamDeps, clients: &Clients) -> Arc<Self> {
        let StreamDeps { log, access, service_token, clock, stop } = deps;
        Arc::new(Self {
            log: EventLogServiceClient::new(log).max_decoding_message_size(MAX_MESSAGE_BYTES),
            conversations: clients.conversations.clone(),
            transcripts: clients.transcripts.clone(),
            analytics: clients.analytics.clone(),
            authenticator: Authenticator::new(access, service_token),
            clock,
            hub: Hub::default(),
            keys: Arc::new(Keys::new(&settings, stop.clone())),
            figures: Figures::default(),
            snapshots: Semaphore::new(settings.max_snapshots_at_once),
            catch_ups: Arc::new(Semaphore::new(settings.max_catch_ups_at_once)),
            stop,
            sessions: TaskTracker::new(),
            settings,
        })
    }

    /// Returns what has to run for streams to live. It ends with the stop token, once the streams said goodbye.
    pub(crate) fn task(self: &Arc<Self>) -> Task {
        let live = Arc::clone(self);
        Task::new("live streams", async move {
            let working = async {
                tokio::join!(upstream::run(&live), keys::watch(&live), figures::run(&live));
            };
            live.stop.run_until_cancelled(working).await;
            live.keys.close_all();
            live.sessions.close();
            if tokio::time::timeout(FAREWELL, live.sessions.wait()).await.is_err() {
                tracing::warn!("some live streams did not end in time");
            }
            Ok(())
        })
    }
}
