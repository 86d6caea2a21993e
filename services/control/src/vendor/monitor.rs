//! One command on ElevenLabs' monitor socket: connect, send, see that it arrived, listen for objections, leave.
//!
//! The socket documents no acknowledgement. A ping behind the command takes its place: frames are answered in the order in which
//! they were sent, so the pong proves that the command was read. What an objection looks like is not documented either: a
//! frame of type `error`, or one without a type that has an `error` or `detail`, is taken for one, and so is closing with
//! another code than the usual ones.

use std::time::Duration;

use colloquy_outbound::{Connection, Courier, Request, Upgrade};
use futures::{SinkExt, StreamExt};
use http::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message};
use url::Url;

use super::attempt::Outcome;
use super::message::{clean, message, says_over};
use super::{Action, ApiKey, Failure, rest};

/// Larger than any event of a conversation, which may hold what a tool answered.
const LONGEST_MESSAGE: usize = 1024 * 1024;
/// Little is read.
const READ_BUFFER: usize = 16 * 1024;
const FENCE: Bytes = Bytes::from_static(b"colloquy");
/// How long a farewell may take, of the time a command has.
const FAREWELL: Duration = Duration::from_millis(100);

/// Where the socket is.
pub(super) struct Socket<'a> {
    pub(super) courier: &'a Courier,
    pub(super) url: &'a Url,
    /// With the key.
    pub(super) headers: &'a HeaderMap,
    /// What must not show in messages.
    pub(super) key: &'a ApiKey,
    /// How long objections are listened for.
    pub(super) settle: Duration,
}

/// Delivers one command over a connection of its own.
pub(super) async fn deliver(socket: &Socket<'_>, action: &Action, command: &str, deadline: Instant) -> Outcome {
    let connection = match connect(socket, deadline).await {
        Ok(connection) => connection,
        Err(outcome) => return outcome,
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(LONGEST_MESSAGE))
        .max_frame_size(Some(LONGEST_MESSAGE));
    let mut stream = WebSocketStream::from_raw_socket(connection, Role::Client, Some(config)).await;
    let until = deadline.checked_sub(FAREWELL).unwrap_or(deadline);
    let outcome = converse(&mut stream, socket, action, command, until).await;
    let _ = timeout(FAREWELL, stream.close(None)).await;
    outcome
}

/// Nothing is commanded by connecting, so whatever goes wrong here can be tried again.
async fn connect(socket: &Socket<'_>, deadline: Instant) -> Result<Connection, Outcome> {
    let key = generate_key();
    let expected = derive_accept_key(key.as_bytes());
    let mut headers = socket.headers.clone();
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    let key = HeaderValue::try_from(key).map_err(|_| Outcome::Unsent("no WebSocket key could be made".to_owned()))?;
    headers.insert(SEC_WEBSOCKET_KEY, key);
    let request = Request { method: Method::GET, url: socket.url, headers, body: Bytes::new() };
    let upgrade = socket.courier.upgrade(request, HeaderValue::from_static("websocket"), &rest::bounds(deadline)).await;
    match upgrade {
        Ok(Upgrade::Switched(headers, connection)) => {
            if headers.get(SEC_WEBSOCKET_ACCEPT).is_some_and(|accept| accept.as_bytes() == expected.as_bytes()) {
                Ok(connection)
            } else {
                Err(no_socket())
            }
        }
        Ok(Upgrade::Answered(answer)) => Err(match rest::answered(&answer, Some(socket.key), rest::BAD_KEY) {
            Outcome::Done => no_socket(),
            Outcome::Doubtful { detail, .. } => Outcome::Unsent(detail),
            outcome => outcome,
        }),
        Err(failure) => Err(match rest::unanswered(&failure) {
            Outcome::Doubtful { detail, .. } => Outcome::Unsent(detail),
            outcome => outcome,
        }),
    }
}

fn no_socket() -> Outcome {
    Outcome::Failed(Failure::Refused("the vendor's address does not speak WebSocket".to_owned()))
}

async fn converse(
    stream: &mut WebSocketStream<Connection>,
    socket: &Socket<'_>,
    action: &Action,
    command: &str,
    deadline: Instant,
) -> Outcome {
    let lost = |detail: &str| Outcome::Doubtful { detail: detail.to_owned(), answered: false };
    let sending = async {
        stream.feed(Message::text(command)).await?;
        stream.send(Message::Ping(FENCE)).await
    };
    // Only what the far side has closed before cannot have been read by it, and nobody can tell.
    let sent = timeout_at(deadline, sending).await;
    let mut arrived = false;
    let mut until = deadline;
    loop {
        match timeout_at(until, stream.next()).await {
            Err(_) if arrived => return Outcome::Done,
            Err(_) => return lost("the vendor did not confirm the command in time"),
            Ok(Some(Ok(Message::Pong(payload)))) if payload == FENCE => {
                arrived = true;
                until = deadline.min(Instant::now() + socket.settle);
            }
            Ok(Some(Ok(Message::Text(text)))) => {
                if let Some(objection) = objection(text.as_bytes(), socket.key) {
                    return objected(action, objection);
                }
            }
            Ok(Some(Ok(Message::Close(frame)))) => return closed(action, frame.as_ref(), socket.key),
            Ok(Some(Ok(_))) => {}
            // What ends a conversation may well end the connection without a farewell.
            Ok(None | Some(Err(_))) if arrived && ends(action) => return Outcome::Done,
            Ok(None | Some(Err(_))) if matches!(sent, Ok(Ok(()))) => return lost("the connection broke off after the command"),
            Ok(None | Some(Err(_))) => return lost("the connection broke off with the command"),
        }
    }
}

/// Whether the command ends the agent's part, so that the vendor closes the socket because of it.
const fn ends(action: &Action) -> bool {
    matches!(action, Action::End | Action::Transfer(_))
}

/// Returns what a frame objects to, if it does.
fn objection(frame: &[u8], key: &ApiKey) -> Option<String> {
    let value: Value = serde_json::from_slice(frame).ok()?;
    let fields = value.as_object()?;
    let kind = fields.get("type").and_then(Value::as_str);
    let objects = match kind {
        Some(kind) => kind == "error",
        None => fields.contains_key("error") || fields.contains_key("detail"),
    };
    let said = || message(frame, Some(key)).unwrap_or_else(|| "the vendor did not take the command".to_owned());
    objects.then(said)
}

fn objected(action: &Action, objection: String) -> Outcome {
    match says_over(&objection) {
        true if *action == Action::End => Outcome::Done,
        true => Outcome::Failed(Failure::Ended),
        false => Outcome::Failed(Failure::Refused(objection)),
    }
}

/// Returns what it means that the vendor closes the socket, which lives as long as the conversation.
fn closed(action: &Action, frame: Option<&CloseFrame>, key: &ApiKey) -> Outcome {
    let code = frame.map_or(CloseCode::Status, |frame| frame.code);
    let reason = frame.map(|frame| clean(&frame.reason, Some(key))).filter(|reason| !reason.is_empty());
    match code {
        CloseCode::Normal | CloseCode::Away | CloseCode::Status if ends(action) => Outcome::Done,
        CloseCode::Normal | CloseCode::Away | CloseCode::Status => Outcome::Failed(Failure::Ended),
        CloseCode::Error | CloseCode::Restart | CloseCode::Again | CloseCode::Abnormal => {
            let detail = reason.unwrap_or_else(|| format!("the vendor closed the connection with code {code}"));
            Outcome::Doubtful { detail, answered: true }
        }
        // Registered with IANA for "unauthorized" and "forbidden".
        CloseCode::Iana(3000 | 3003) => Outcome::Failed(Failure::Refused(rest::BAD_KEY.to_owned())),
        _ => objected(action, reason.unwrap_or_else(|| format!("the vendor closed the connection with code {code}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objections_are_told_from_events() {
        let key = ApiKey("secret-key".into());
        let of = |frame: &str| objection(frame.as_bytes(), &key);
        assert_eq!(of(r#"{"type":"error","message":"no secret-key"}"#).as_deref(), Some("no …"));
        assert_eq!(of(r#"{"error":{"message":"no"}}"#).as_deref(), Some("no"));
        assert_eq!(of(r#"{"detail":"no"}"#).as_deref(), Some("no"));
        assert_eq!(of(r#"{"type":"error"}"#).as_deref(), Some("the vendor did not take the command"));
        for event in [
            r#"{"type":"user_transcript","user_transcription_event":{"user_transcript":"error"}}"#,
            r#"{"type":"agent_tool_response","agent_tool_response":{"is_error":true},"error":"x"}"#,
            r#"{"type":"client_error","error":"of the person's device"}"#,
            "{}",
            "[]",
            "no JSON",
            "",
        ] {
            assert_eq!(of(event), None, "{event}");
        }
    }

    #[test]
    fn a_close_means_what_its_code_and_the_command_make_of_it() {
        let key = ApiKey("secret-key".into());
        let of = |action: &Action, code: u16, reason: &str| {
            closed(action, Some(&CloseFrame { code: CloseCode::from(code), reason: reason.into() }), &key)
        };
        let refused = |text: &str| Outcome::Failed(Failure::Refused(text.into()));
        for code in [1000, 1001, 1005] {
            assert_eq!(of(&Action::End, code, ""), Outcome::Done);
            assert_eq!(of(&Action::Transfer("+1".into()), code, ""), Outcome::Done);
            assert_eq!(of(&Action::TakeOver, code, ""), Outcome::Failed(Failure::Ended));
        }
        assert_eq!(closed(&Action::End, None, &key), Outcome::Done);
        assert_eq!(of(&Action::End, 1008, "Conversation has ended"), Outcome::Done);
        assert_eq!(of(&Action::Release, 1008, "Conversation has ended"), Outcome::Failed(Failure::Ended));
        assert_eq!(of(&Action::End, 1008, "no secret-key"), refused("no …"));
        assert_eq!(of(&Action::End, 4001, ""), refused("the vendor closed the connection with code 4001"));
        assert_eq!(of(&Action::End, 3000, "x"), refused(rest::BAD_KEY));
        assert!(matches!(of(&Action::End, 1011, ""), Outcome::Doubtful { answered: true, .. }));
    }
}
