//! Signs payloads as their providers would: for the demo, for replaying stored deliveries, and for tests.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use colloquy_types::{Provider, Timestamp};

/// Returns the headers (names in lower case) that `provider` would send with `body` at `now`.
pub fn headers(provider: Provider, secret: &str, body: &[u8], now: Timestamp) -> Vec<(&'static str, String)> {
    let (seconds, millis) = (now.as_seconds().to_string(), now.as_millis().to_string());
    let dotted = |time: &str| mac(secret, &[time.as_bytes(), b".", body]);
    match provider {
        Provider::ElevenLabs => vec![("elevenlabs-signature", format!("t={seconds},v0={}", hex(&dotted(&seconds))))],
        Provider::Retell => {
            let digest = hex(&mac(secret, &[body, millis.as_bytes()]));
            vec![("x-retell-signature", format!("v={millis},d={digest}"))]
        }
        Provider::Vapi => vec![("x-vapi-secret", secret.to_owned())],
        Provider::AgentSession => {
            vec![("x-whippy-signature", format!("t={seconds},v1={}", STANDARD_NO_PAD.encode(dotted(&seconds))))]
        }
        Provider::Native => vec![("authorization", format!("Bearer {secret}"))],
    }
}

/// Returns the verification scheme a source must have to accept [`headers`].
pub const fn scheme(provider: Provider) -> &'static str {
    match provider {
        Provider::ElevenLabs | Provider::Retell | Provider::AgentSession => "hmac",
        Provider::Vapi => "shared_secret",
        Provider::Native => "bearer",
    }
}

fn mac(secret: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
    for part in parts {
        context.update(part);
    }
    context.sign().as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
