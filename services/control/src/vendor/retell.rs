//! Retell: context for the agent, and an end.
//!
//! Wire facts, from `retell-sdk` 6.2.13 (`resources/call.py`, `resources/chat.py`, `types/call_update_live_params.py`) and
//! docs.retellai.com (API references of update-live-call, stop-call, end-chat):
//! - Base `https://api.retellai.com`, `Authorization: Bearer KEY`; errors are `{"status": "error", "message"}`.
//! - `PATCH /v2/update-live-call/{call_id}` with `{"call_control": {"additional_context": text}}` adds the text to the transcript
//!   (role `injected`) and to what the agent answers next; answers `{"success": bool}`. `trigger_response` beside it would make the
//!   agent speak, in its own words: that is neither saying a given text nor telling something unheard, so it is not sent.
//! - `POST /v2/stop-call/{call_id}` without a body ends a call (204); `PATCH /end-chat/{chat_id}` without a body ends a chat (204).
//! - `POST /v2/take-over-live-call/{call_id}` with `{"participant_id"}` lets somebody speak in the agent's place who has joined
//!   the call's audio before, through `/v2/listen-live-call`; there is no way back to the agent. A command has no audio, so it is
//!   not offered.
//! - There is no transfer, no mute, and nothing that has a given text spoken.
//!
//! Not verified: what these answer once a conversation is over (404 and 422 with such a message are both taken for it).

use async_trait::async_trait;
use colloquy_events::CommandKind;
use colloquy_outbound::Courier;
use http::Method;
use serde_json::{Value, json};
use url::Url;

use super::attempt::carry_out;
use super::{Action, Failure, Target, Timing, Vendor, rest};

const NO_KEY: &str = "the source has no API key, which Retell wants for every command";
const ON_CALLS: &str = "Retell cannot have a text spoken, mute its agent or transfer a running call from outside, and lets only somebody \
                        who has joined the call's audio take it over";
const ON_CHATS: &str = "Retell lets a running chat only be ended from outside";

/// Retell.
pub struct Retell {
    courier: Courier,
    timing: Timing,
    base: Url,
}

impl Retell {
    /// Returns the adapter.
    pub fn new(courier: Courier, timing: Timing) -> Self {
        Self { courier, timing, base: Url::parse("https://api.retellai.com").expect("a constant address is a URL") }
    }
}

#[async_trait]
impl Vendor for Retell {
    fn capabilities(&self, target: &Target) -> (Vec<CommandKind>, String) {
        if target.api_key.is_none() {
            (Vec::new(), NO_KEY.to_owned())
        } else if is_chat(target) {
            (vec![CommandKind::End], ON_CHATS.to_owned())
        } else {
            (vec![CommandKind::InjectContext, CommandKind::End], ON_CALLS.to_owned())
        }
    }

    async fn perform(&self, target: &Target, action: &Action) -> Result<(), Failure> {
        let key = target.api_key.as_ref().ok_or_else(|| Failure::Refused(NO_KEY.to_owned()))?;
        let (method, path, body) = request(action, is_chat(target))?;
        let segments: Vec<&str> = path.iter().copied().chain([target.external_id.as_str()]).collect();
        // An id that cannot stand in an address is none of Retell's.
        let url = rest::under(target.base_url.as_ref().unwrap_or(&self.base), &segments).ok_or(Failure::Ended)?;
        let mut headers = rest::headers();
        rest::add_bearer(&mut headers, key)?;
        let command =
            rest::Command { method, url: &url, headers, body: body.as_ref(), key: Some(key), unauthorized: rest::BAD_KEY };
        carry_out(action, &self.timing, |deadline| rest::send(&self.courier, &command, deadline)).await
    }
}

fn request(action: &Action, is_chat: bool) -> Result<(Method, &'static [&'static str], Option<Value>), Failure> {
    match action {
        Action::End if is_chat => Ok((Method::PATCH, &["end-chat"], None)),
        Action::End => Ok((Method::POST, &["v2", "stop-call"], None)),
        Action::InjectContext(text) if !is_chat => {
            Ok((Method::PATCH, &["v2", "update-live-call"], Some(json!({"call_control": {"additional_context": text}}))))
        }
        _ => Err(Failure::Refused(if is_chat { ON_CHATS } else { ON_CALLS }.to_owned())),
    }
}

/// Chats have their own calls in the API. Their ids begin with `chat_` in the API's own examples (update-chat), not in all.
fn is_chat(target: &Target) -> bool {
    match target.channel.as_deref() {
        Some(channel) => matches!(channel, "chat" | "sms" | "whatsapp"),
        None => target.external_id.starts_with("chat_"),
    }
}
