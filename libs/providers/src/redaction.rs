//! Taking secrets out of bodies before anything of them is stored (3.1, "Secrets in bodies").

use colloquy_types::Provider;
use serde_json::{Value, json};

/// What stands where a secret stood.
const REDACTED: &str = "[redacted]";

/// Names under which secrets travel, in lower case without `-` and `_`.
const SECRET_NAMES: &[&str] = &[
    // Vapi: telephone numbers carry the owner's Twilio credentials, assistants those of their servers.
    "twilioauthtoken",
    "twilioapikey",
    "twilioapisecret",
    "secret",
    "secretkey",
    "clientsecret",
    "apikey",
    "apisecret",
    "authtoken",
    "sipauthpassword",
    // Retell: lets its holder join a web call.
    "accesstoken",
    "refreshtoken",
    "bearertoken",
    "password",
    "privatekey",
    // Headers and query parameters of tools.
    "authorization",
    "proxyauthorization",
    "cookie",
    "setcookie",
    "xapikey",
    "xiapikey",
    "xauthtoken",
    "xvapisecret",
    // Vapi: let their holder listen to a running call, and speak in it.
    "listenurl",
    "controlurl",
];

/// Headers that hold nothing secret, in lower case.
const PLAIN_HEADERS: &[&str] = &["accept", "accept-language", "content-length", "content-type", "user-agent"];

/// Returns `body` as JSON without the secrets `provider` is known to put into it.
///
/// A body that is not JSON cannot be searched, so a note of its length stands in for it.
pub fn redact(provider: Provider, body: &[u8]) -> Vec<u8> {
    if provider == Provider::Native {
        // Native data holds what the organization itself chose to send, under names it chose itself.
        return body.to_vec();
    }
    // The parsed value is written anew even when no secret is found: of repeated keys parsing sees only the last.
    let redacted = serde_json::from_slice(body).ok().and_then(|mut value| {
        redact_value(&mut value);
        serde_json::to_vec(&value).ok()
    });
    redacted.unwrap_or_else(|| {
        let note = json!({"redacted": "the body was not JSON and could not be searched for secrets", "length": body.len()});
        note.to_string().into_bytes()
    })
}

/// Replaces every secret within `value`.
pub(crate) fn redact_value(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(redact_value),
        Value::Object(map) => {
            for (key, value) in map {
                if is_secret(key) {
                    hide(value);
                } else if key.eq_ignore_ascii_case("headers") || key.eq_ignore_ascii_case("request_headers") {
                    hide_headers(value);
                } else {
                    redact_value(value);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_secret(key: &str) -> bool {
    // ElevenLabs: dynamic variables of this prefix are only ever sent to the owner's tools.
    if key.starts_with("secret__") {
        return true;
    }
    // Cheap for the many: no name above is longer.
    if key.len() > 32 {
        return false;
    }
    let plain = key.bytes().filter(|byte| !matches!(byte, b'-' | b'_')).map(|byte| byte.to_ascii_lowercase());
    SECRET_NAMES.iter().any(|name| plain.clone().eq(name.bytes()))
}

/// Hides what a secret's name holds. `null` and truth values hold no secret, and say whether there was one.
fn hide(value: &mut Value) {
    if !matches!(value, Value::Null | Value::Bool(_)) {
        *value = Value::String(REDACTED.to_owned());
    }
}

/// Headers may carry credentials under any name, so only well-known plain ones are kept.
fn hide_headers(value: &mut Value) {
    match value {
        Value::Object(headers) => {
            for (name, value) in headers {
                if !PLAIN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
                    hide(value);
                }
            }
        }
        // The list form: [{"name": …, "value": …}].
        Value::Array(headers) => {
            for header in headers {
                if let Some(value) = header.get_mut("value") {
                    hide(value);
                } else {
                    hide(header);
                }
            }
        }
        other => hide(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(provider: Provider, body: &str) -> Value {
        serde_json::from_slice(&redact(provider, body.as_bytes())).unwrap()
    }

    #[test]
    fn credentials_go_and_everything_else_stays() {
        let body = r#"{"message":{"phoneNumber":{"twilioAccountSid":"AC1","twilioAuthToken":"t","twilioApiKey":"k",
            "twilioApiSecret":"s","number":"+1"},"assistant":{"server":{"url":"https://a.example","secret":"x",
            "headers":{"X-Custom":"y","content-type":"text/plain"}}}}}"#;
        let message = &redacted(Provider::Vapi, body)["message"];
        assert_eq!(
            message["phoneNumber"],
            json!({"twilioAccountSid": "AC1", "twilioAuthToken": REDACTED, "twilioApiKey": REDACTED,
                "twilioApiSecret": REDACTED, "number": "+1"})
        );
        let server = &message["assistant"]["server"];
        assert_eq!(server["secret"], REDACTED);
        assert_eq!(server["headers"], json!({"X-Custom": REDACTED, "content-type": "text/plain"}));
        assert_eq!(server["url"], "https://a.example");
    }

    #[test]
    fn whoever_reads_a_stored_body_can_neither_hear_nor_steer_the_call() {
        let body = r#"{"message":{"call":{"monitor":{"listenUrl":"wss://v.example/l","controlUrl":"https://v.example/c"}},
            "artifact":{"variableValues":{"call":{"monitor":{"control_url":"https://v.example/c"}}}}}}"#;
        let message = &redacted(Provider::Vapi, body)["message"];
        assert_eq!(message["call"]["monitor"], json!({"listenUrl": REDACTED, "controlUrl": REDACTED}));
        assert!(!message.to_string().contains("v.example"), "{message}");
    }

    #[test]
    fn a_secret_cannot_hide_behind_a_repeated_key() {
        let body = br#"{"twilioAuthToken":"hidden-secret","twilioAuthToken":null}"#;
        assert!(!String::from_utf8(redact(Provider::Vapi, body)).unwrap().contains("hidden-secret"));
    }

    #[test]
    fn a_body_that_is_not_json_leaves_only_its_length() {
        let note = redacted(Provider::Vapi, "twilioAuthToken=hidden-secret");
        assert_eq!(note["length"], 29);
        assert!(!note.to_string().contains("hidden-secret"));
    }

    #[test]
    fn headers_of_elevenlabs_tools_are_hidden() {
        let body = r#"{"data":{"transcript":[{"tool_calls":[{"tool_details":{"headers":{"Authorization":"Bearer s"}}}]}],
            "conversation_initiation_client_data":{"dynamic_variables":{"secret__crm":"s","tier":"gold"}}}}"#;
        let text = redacted(Provider::ElevenLabs, body).to_string();
        assert!(!text.contains("Bearer s") && text.contains("gold"), "{text}");
    }
}
