//! The opening of a stream: everything that can be wrong is found out before it begins, and is a document like any other error.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use colloquy_proto::conversation::v1 as conversation;
use colloquy_service::Caller;
use colloquy_types::{ConversationId, ConversationName, OrganizationId, Position, Scope};
use http::header::{AUTHORIZATION, RETRY_AFTER, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use super::catch_up::CatchUp;
use super::facts::Narrowing;
use super::hub::Topic;
use super::kinds::Kinds;
use super::mailbox::Mailbox;
use super::session::{Begin, Listener};
use super::websocket::Handshake;
use super::{Live, session, snapshot, sse, websocket};
use crate::clients::Calling;
use crate::naming::OF_CONVERSATION;
use crate::problem::Refusal;
use crate::query::Query;

/// How long a stream waits until it is known where the log stands.
const LOG_PATIENCE: Duration = Duration::from_secs(5);
/// The greatest position there is.
const MAX_POSITION: u64 = u64::MAX >> 1;
const LAST_EVENT_ID: &str = "last-event-id";

/// What a stream is of.
pub(crate) enum Of {
    /// A conversation, as the caller names it.
    Conversation(String),
    /// The caller's organization.
    Organization,
}

/// What a request asks for.
struct Asked {
    after: Option<Position>,
    kinds: Kinds,
    narrowing: Narrowing,
}

/// How it wants it.
enum Carrier {
    WebSocket(Box<Handshake>),
    Events,
}

/// Takes the key that a WebSocket offers among its protocols for the request's, unless the request presents one as all do. This comes
/// before anything else of the request is looked at.
pub(crate) async fn with_offered_key(mut request: Request, next: Next) -> Response {
    let headers = request.headers_mut();
    let presented = headers.contains_key("x-api-key") || headers.contains_key(AUTHORIZATION);
    if !presented
        && websocket::is_asked_for(headers)
        && let Some(key) = websocket::offered_key(headers)
    {
        headers.insert("x-api-key", key);
    }
    next.run(request).await
}

/// Answers a request for a stream.
///
/// # Errors
/// When there is anything wrong with it: nothing was begun then.
pub(crate) async fn open(live: &Arc<Live>, of: Of, request: Request) -> Result<Response, Refusal> {
    let (mut parts, _) = request.into_parts();
    let asked = read(&of, &parts)?;
    let carrier = carrier(&mut parts)?;
    let (secret, identity) = live.authenticator.key_of(&parts.headers).await?;
    let caller = Caller::Key(Arc::clone(&identity));
    let organization_id = caller.require(Scope::ConversationsRead).map_err(tonic::Status::from)?;
    let mailbox = Mailbox::new(live.settings.queue_frames, live.settings.queue_bytes);
    let seat = live.keys.enter(&secret, identity, mailbox)?;
    let wanted = live.hub.want();
    let known_until = ready(live).await?;
    let conversation_id = match of {
        Of::Conversation(name) => Some(resolve(live, &seat.key.calling(), &organization_id, name, known_until).await?),
        Of::Organization => None,
    };
    let mut listener = Box::new(Listener {
        topic: Topic { organization_id, conversation_id },
        with_words: caller.has(Scope::TranscriptsRead),
        with_mood: caller.has(Scope::AnalyticsRead),
        kinds: asked.kinds,
        narrowing: asked.narrowing,
        subscription: None,
        seat,
        _wanted: wanted,
    });
    let begin = match asked.after {
        Some(after) => Begin::CatchUp(Box::new(CatchUp::begin(live, &listener, after).await?), after),
        None => {
            let position = subscribe(live, &mut listener).await?;
            Begin::Snapshot(snapshot::read(live, &listener, position).await?, position)
        }
    };
    Ok(carry(live, listener, begin, carrier))
}

/// Begins a session of its own, and returns the answer that leads to it.
fn carry(live: &Arc<Live>, listener: Box<Listener>, begin: Begin, carrier: Carrier) -> Response {
    let settings = &live.settings;
    match carrier {
        Carrier::WebSocket(handshake) => {
            let (response, upgrading) = handshake.accept();
            let (live_of_session, send_timeout, beat_every) = (Arc::clone(live), settings.send_timeout, settings.ping_interval);
            live.sessions.spawn(async move {
                if let Some(socket) = Box::pin(upgrading.wait(send_timeout)).await {
                    session::run(live_of_session, listener, socket, begin, beat_every).await;
                }
            });
            response
        }
        Carrier::Events => {
            let (response, events) = sse::begin(settings.send_timeout, Arc::clone(&live.clock));
            live.sessions.spawn(session::run(Arc::clone(live), listener, events, begin, settings.comment_interval));
            response
        }
    }
}

fn read(of: &Of, parts: &Parts) -> Result<Asked, Refusal> {
    let mut query = Query::parse(parts.uri.query().unwrap_or_default())?;
    let mut asked = Asked {
        after: query.integer("after", 0..=MAX_POSITION).map(Position),
        kinds: Kinds::ALL,
        narrowing: Narrowing::default(),
    };
    if matches!(of, Of::Organization) {
        let words = query.words("kinds");
        asked.kinds = Kinds::read(words.iter().map(String::as_str)).unwrap_or_else(|complaint| {
            query.complain("kinds", complaint);
            Kinds::ALL
        });
        asked.narrowing.agent_id = query.text("agent_id").map(String::into_boxed_str);
        asked.narrowing.client_id = query.text("client_id").map(String::into_boxed_str);
    }
    query.finish()?;
    // A browser that comes again asks for the same address as before, so what it says it got last is newer.
    asked.after = last_event_id(&parts.headers)?.or(asked.after);
    Ok(asked)
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<Position>, Refusal> {
    let Some(id) = headers.get(LAST_EVENT_ID).filter(|id| !id.is_empty()) else { return Ok(None) };
    let position = id.to_str().ok().and_then(|id| id.parse().ok()).filter(|position| *position <= MAX_POSITION);
    match position {
        Some(position) => Ok(Some(Position(position))),
        None => Err(Refusal::field(LAST_EVENT_ID, format!("must be a whole number from 0 to {MAX_POSITION}"))),
    }
}

fn carrier(parts: &mut Parts) -> Result<Carrier, Refusal> {
    if websocket::is_asked_for(&parts.headers) {
        return Ok(Carrier::WebSocket(Box::new(Handshake::read(parts)?)));
    }
    if parts.method == http::Method::GET && sse::are_asked_for(&parts.headers) {
        return Ok(Carrier::Events);
    }
    let detail = "this is a stream: open it as a WebSocket, or ask for Server-Sent Events with 'Accept: text/event-stream'";
    Err(Refusal::new(StatusCode::UPGRADE_REQUIRED, "STREAM_ONLY", detail).with(UPGRADE, "websocket"))
}

/// Waits until what happens is handed out, and returns up to where it was.
async fn ready(live: &Live) -> Result<Position, Refusal> {
    let unavailable = || {
        let detail = "the event log cannot be followed right now";
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "LOG_UNAVAILABLE", detail).with(RETRY_AFTER, "1")
    };
    tokio::time::timeout(LOG_PATIENCE, live.hub.ready()).await.map_err(|_| unavailable())?;
    live.hub.position().ok_or_else(unavailable)
}

/// Finds the conversation a caller names.
async fn resolve(
    live: &Live,
    calling: &Calling,
    organization_id: &OrganizationId,
    name: String,
    known_until: Position,
) -> Result<ConversationId, Refusal> {
    let id = name.parse::<ConversationName>().map(|name| name.id(organization_id));
    // What was handed out is there to be read: who hears of a conversation on one stream can open its own.
    let min_position = known_until.0;
    let request = conversation::GetConversationRequest { conversation_id: name, min_position, ..Default::default() };
    let found = live.conversations.clone().get_conversation(calling.call(request)).await;
    found.map_err(|status| OF_CONVERSATION.refuse(status))?;
    // The service would have refused what is no name.
    id.map_err(|_| Refusal::internal())
}

/// Puts the mailbox up. While somebody wants to listen the log stays in sight, unless it was lost.
async fn subscribe(live: &Live, listener: &mut Listener) -> Result<Position, Refusal> {
    loop {
        if let Some(position) = listener.subscribe(live) {
            return Ok(position);
        }
        ready(live).await?;
    }
}
