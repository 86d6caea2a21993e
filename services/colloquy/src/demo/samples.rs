//! The sample deliveries, as the tests have them.

use colloquy_types::Provider;

macro_rules! samples {
    ($provider:literal: $($name:literal),+ $(,)?) => {
        &[$(include_bytes!(concat!("../../../../tests/payloads/", $provider, "/", $name, ".json"))),+]
    };
}

const ELEVENLABS: &[&[u8]] = samples!("elevenlabs": "call_initiation_failure", "call_initiation_failure_sip", "post_call_audio", "post_call_transcription", "post_call_transcription_failed", "post_call_transcription_legacy");
const RETELL: &[&[u8]] = samples!("retell": "call_analyzed", "call_ended", "call_ended_dial_no_answer", "call_started", "chat_analyzed", "chat_started", "transcript_updated", "transfer_started");
const VAPI: &[&[u8]] = samples!("vapi": "conversation-update", "end-of-call-report", "end-of-call-report_no_answer", "status-update", "status-update_ended", "transcript", "transcript_partial");
const AGENT_SESSION: &[&[u8]] = samples!("agent_session": "analyzed", "ended", "started");

/// The conversation whose lines `demo` prints to try.
pub(super) const SHOWN: &str = "elevenlabs:conv_2601kjq4xr7f8tgb2h6w3n9e5jkm";

/// Every conversation the samples make.
pub(super) const CONVERSATIONS: &[&str] = &[
    "agent_session:19c9d7e7-f504-4312-8e2b-96a7b8c9daeb",
    "elevenlabs:conv_2601kjq4busy000000000000000",
    "elevenlabs:conv_2601kjq4failed00000000000000",
    "elevenlabs:conv_2601kjq4legacy00000000000000",
    "elevenlabs:conv_2601kjq4noanswer00000000000",
    "elevenlabs:conv_2601kjq4xr7f8tgb2h6w3n9e5jkm",
    "retell:call_00aa11bb22cc33dd44ee55ff6677",
    "retell:call_4f1e2d3c4b5a69788796a5b4c3d2",
    "retell:chat_5566778899aabbccddeeff001122",
    "vapi:8d5c2f4e-1b3a-4c6d-9e7f-0a1b2c3d4e5f",
    "vapi:9e6d3a5f-2c4b-4d7e-8f80-1b2c3d4e5f60",
];

/// Returns the deliveries of one provider, in the order of their names: not the order they happened in, which must not matter.
pub(super) const fn of(provider: Provider) -> &'static [&'static [u8]] {
    match provider {
        Provider::ElevenLabs => ELEVENLABS,
        Provider::Retell => RETELL,
        Provider::Vapi => VAPI,
        Provider::AgentSession => AGENT_SESSION,
        Provider::Native => &[],
    }
}
