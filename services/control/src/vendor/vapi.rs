//! Vapi: commands to the address it offers for each call.
//!
//! Wire facts, from Vapi's documentation repository (`VapiAI/docs`, `fern/calls/call-features.mdx`, "Live Call Control") and the
//! types of its SDK (`vapi_server_sdk` 3.0.0):
//! - `POST` to `call.monitor.controlUrl` with `content-type: application/json`, and no key, unless the assistant's
//!   `monitorPlan.controlAuthenticationEnabled` is set, which then wants the account's *public* key (`types/monitor_plan.py`). A
//!   source holds no public key, so such assistants cannot be controlled. The private key is never sent: the address comes out
//!   of a webhook.
//! - `say`: `{"type", "content", "endCallAfterSpoken"}`; `add-message`: `{"type", "message": {"role", "content"},
//!   "triggerResponseEnabled"}`, whose last defaults to true and makes the assistant answer at once, which is not what telling it
//!   something means (`types/client_inbound_message_{say,add_message}.py`).
//! - `control`: `mute-assistant`, `unmute-assistant` among others (`types/client_inbound_message_control_control.py`);
//!   `end-call` has no fields.
//! - `transfer`: `{"type", "destination": {"type": "number", "number"} or {"type": "sip", "sipUri"}}`; `content` may be left out, and
//!   then Vapi's own words are spoken (`types/transfer_destination_{number,sip}.py`).
//! - Calls of the GPT-Live kind understand only `end-call`, `append-context` and `transfer`; nothing in a webhook tells them apart,
//!   so the others are offered and refused by Vapi.
//!
//! Not verified: the answers of this address (any 2xx is taken for success), what it answers once a call is over, and whether
//! `say` is heard while the assistant is muted (third-party code sends `mute-assistant` and then `say`, so it appears to be).

use async_trait::async_trait;
use colloquy_events::CommandKind;
use colloquy_outbound::Courier;
use http::Method;
use serde_json::{Value, json};

use super::attempt::carry_out;
use super::destination::Destination;
use super::{Action, Failure, Target, Timing, Vendor, rest};

const UNAUTHORIZED: &str = "the call's control address wants a key (controlAuthenticationEnabled), which is not supported";
const NO_ADDRESS: &str = "Vapi has offered no control address for this call: it comes with the call's first message, for assistants \
                          whose monitorPlan.controlEnabled is set";

/// Vapi.
pub struct Vapi {
    courier: Courier,
    timing: Timing,
}

impl Vapi {
    /// Returns the adapter.
    pub const fn new(courier: Courier, timing: Timing) -> Self {
        Self { courier, timing }
    }
}

#[async_trait]
impl Vendor for Vapi {
    fn capabilities(&self, target: &Target) -> (Vec<CommandKind>, String) {
        use CommandKind::{End, InjectContext, Mute, Release, Say, TakeOver, Transfer};
        if target.control_url.is_none() {
            return (Vec::new(), NO_ADDRESS.to_owned());
        }
        let everywhere = [TakeOver, Release, Say, InjectContext, Mute, End];
        match target.channel.as_deref() {
            Some("phone") | None => (everywhere.into_iter().chain([Transfer]).collect(), String::new()),
            Some(_) => (everywhere.into(), "Vapi transfers phone calls only".to_owned()),
        }
    }

    async fn perform(&self, target: &Target, action: &Action) -> Result<(), Failure> {
        let Some(url) = &target.control_url else { return Err(Failure::Refused(NO_ADDRESS.to_owned())) };
        let body = message(action)?;
        let command = rest::Command {
            method: Method::POST,
            url,
            headers: rest::headers(),
            body: Some(&body),
            key: target.api_key.as_ref(),
            unauthorized: UNAUTHORIZED,
        };
        carry_out(action, &self.timing, |deadline| rest::send(&self.courier, &command, deadline)).await
    }
}

fn message(action: &Action) -> Result<Value, Failure> {
    Ok(match action {
        Action::TakeOver | Action::Mute(true) => json!({"type": "control", "control": "mute-assistant"}),
        Action::Release | Action::Mute(false) => json!({"type": "control", "control": "unmute-assistant"}),
        Action::Say(text) => json!({"type": "say", "content": text, "endCallAfterSpoken": false}),
        Action::InjectContext(text) => {
            json!({"type": "add-message", "message": {"role": "system", "content": text}, "triggerResponseEnabled": false})
        }
        Action::Transfer(to) => match Destination::read(to)? {
            Destination::Number(number) => json!({"type": "transfer", "destination": {"type": "number", "number": number}}),
            Destination::Sip(uri) => json!({"type": "transfer", "destination": {"type": "sip", "sipUri": uri}}),
        },
        Action::End => json!({"type": "end-call"}),
    })
}
