//! ElevenLabs: commands on the socket that monitors a conversation.
//!
//! Wire facts, from ElevenLabs' documentation (elevenlabs.io/docs/eleven-agents/guides/realtime-monitoring):
//! - `wss://api.elevenlabs.io/v1/convai/conversations/{conversation_id}/monitor`, header `xi-api-key`. The plan must be Enterprise,
//!   monitoring enabled for the agent, the key allowed to write agents and its owner an editor; the conversation must be active.
//! - Commands are text frames: `{"command_type": "end_call"}`, `{"command_type": "transfer_to_number", "parameters":
//!   {"phone_number"}}` (the agent must have the system tool of that name), `{"command_type": "contextual_update", "parameters":
//!   {"contextual_update"}}`, `{"command_type": "enable_human_takeover"}`, `{"command_type": "send_human_message", "parameters":
//!   {"text"}}`, `{"command_type": "disable_human_takeover"}`. Takeover and human messages are for chats only.
//! - About the last 100 events are sent on connecting.
//!
//! The official SDK (`elevenlabs` 2.78.0) has nothing for this socket.
//!
//! Not verified: that `transfer_to_number` takes no SIP address (only numbers are documented), that a voice conversation in a
//! browser cannot be transferred, and everything about acknowledgements and errors; see the module `monitor`.

use async_trait::async_trait;
use colloquy_events::CommandKind;
use colloquy_outbound::Courier;
use http::HeaderName;
use serde_json::{Value, json};
use url::Url;

use super::attempt::carry_out;
use super::destination::Destination;
use super::monitor::{self, Socket};
use super::{Action, Failure, Target, Timing, Vendor, rest};

const NO_KEY: &str = "the source has no API key, which ElevenLabs wants for every command";
const NO_MUTE: &str = "ElevenLabs cannot mute its agent from outside";
const ON_PHONE: &str = "ElevenLabs lets people take over chats only, and cannot mute its agent or have a given text spoken";
const ON_VOICE: &str = "ElevenLabs lets people take over chats only, transfers phone calls only, and cannot mute its agent or have a \
                        given text spoken";
const ON_CHATS: &str = "ElevenLabs transfers phone calls only, and cannot mute its agent";
const ANYWHERE: &str = "how the conversation is carried is not known yet: ElevenLabs takes over and says only in chats, transfers only \
                        phone calls, and cannot mute its agent";
const NUMBERS_ONLY: &str = "ElevenLabs transfers to phone numbers only";

/// ElevenLabs.
pub struct ElevenLabs {
    courier: Courier,
    timing: Timing,
    base: Url,
}

impl ElevenLabs {
    /// Returns the adapter.
    pub fn new(courier: Courier, timing: Timing) -> Self {
        Self { courier, timing, base: Url::parse("https://api.elevenlabs.io").expect("a constant address is a URL") }
    }
}

#[async_trait]
impl Vendor for ElevenLabs {
    fn capabilities(&self, target: &Target) -> (Vec<CommandKind>, String) {
        if target.api_key.is_none() {
            return (Vec::new(), NO_KEY.to_owned());
        }
        let (commands, why) = offered(target.channel.as_deref());
        (commands.into(), why.to_owned())
    }

    async fn perform(&self, target: &Target, action: &Action) -> Result<(), Failure> {
        let key = target.api_key.as_ref().ok_or_else(|| Failure::Refused(NO_KEY.to_owned()))?;
        let (commands, why) = offered(target.channel.as_deref());
        if !commands.contains(&action.kind()) {
            return Err(Failure::Refused(why.to_owned()));
        }
        let command = command(action)?.to_string();
        let segments = ["v1", "convai", "conversations", &target.external_id, "monitor"];
        // An id that cannot stand in an address is none of ElevenLabs'.
        let url = rest::under(target.base_url.as_ref().unwrap_or(&self.base), &segments).ok_or(Failure::Ended)?;
        let mut headers = rest::headers();
        rest::add_key(&mut headers, HeaderName::from_static("xi-api-key"), "", key)?;
        let socket = Socket { courier: &self.courier, url: &url, headers: &headers, key, settle: self.timing.settle };
        carry_out(action, &self.timing, |deadline| monitor::deliver(&socket, action, &command, deadline)).await
    }
}

/// Returns the commands for a channel, and why there are no others.
const fn offered(channel: Option<&str>) -> (&'static [CommandKind], &'static str) {
    use CommandKind::{End, InjectContext, Release, Say, TakeOver, Transfer};
    match channel {
        None => (&[TakeOver, Release, Say, InjectContext, Transfer, End], ANYWHERE),
        Some(channel) => match channel.as_bytes() {
            b"phone" => (&[InjectContext, Transfer, End], ON_PHONE),
            b"chat" | b"sms" | b"whatsapp" => (&[TakeOver, Release, Say, InjectContext, End], ON_CHATS),
            _ => (&[InjectContext, End], ON_VOICE),
        },
    }
}

fn command(action: &Action) -> Result<Value, Failure> {
    Ok(match action {
        Action::TakeOver => json!({"command_type": "enable_human_takeover"}),
        Action::Release => json!({"command_type": "disable_human_takeover"}),
        Action::Say(text) => json!({"command_type": "send_human_message", "parameters": {"text": text}}),
        Action::InjectContext(text) => {
            json!({"command_type": "contextual_update", "parameters": {"contextual_update": text}})
        }
        Action::Transfer(to) => match Destination::read(to)? {
            Destination::Number(number) => json!({"command_type": "transfer_to_number", "parameters": {"phone_number": number}}),
            Destination::Sip(_) => return Err(Failure::Refused(NUMBERS_ONLY.to_owned())),
        },
        Action::Mute(_) => return Err(Failure::Refused(NO_MUTE.to_owned())),
        Action::End => json!({"command_type": "end_call"}),
    })
}
