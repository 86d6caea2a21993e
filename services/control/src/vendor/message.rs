//! What vendors say when something went wrong, made fit to be shown to people.

use serde_json::Value;

use super::ApiKey;

/// As much as a person reads.
const LONGEST: usize = 500;
/// Messages lie at most this deep in an answer.
const DEPTH: usize = 4;

/// Returns the message in the body of a refusal, if there is one: from JSON in any of the vendors' shapes, or plain text.
///
/// - Retell: `{"status": "error", "message": "…"}` (docs.retellai.com, API references).
/// - Vapi: `{"message": "…" or ["…"], "error": "Bad Request", "statusCode": 400}`, as its framework, NestJS, answers; seen, not
///   documented.
/// - ElevenLabs: `{"detail": {"status": "…", "message": "…"}}`, or FastAPI's `{"detail": "…"}` and `{"detail": [{"msg": "…"}]}`
///   (elevenlabs 2.78.0, `types/http_validation_error.py`).
pub(super) fn message(body: &[u8], key: Option<&ApiKey>) -> Option<String> {
    let found = match serde_json::from_slice::<Value>(body) {
        Ok(value) => in_json(&value, DEPTH)?,
        Err(_) => String::from_utf8_lossy(body).trim_start().to_owned(),
    };
    // A page of HTML is the work of something in between and tells nobody anything.
    let readable = !found.starts_with('<');
    Some(clean(&found, key)).filter(|text| readable && !text.is_empty())
}

fn in_json(value: &Value, depth: usize) -> Option<String> {
    let depth = depth.checked_sub(1)?;
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => {
            let texts: Vec<String> = items.iter().take(5).filter_map(|item| in_json(item, depth)).collect();
            (!texts.is_empty()).then(|| texts.join("; "))
        }
        Value::Object(fields) => ["message", "detail", "error_message", "error", "msg", "reason", "code"]
            .iter()
            .find_map(|name| fields.get(*name).and_then(|field| in_json(field, depth))),
        _ => None,
    }
}

/// Returns a text without control characters and without the key, cut to what a person reads.
pub(super) fn clean(text: &str, key: Option<&ApiKey>) -> String {
    let spaced = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c });
    let mut text: String = spaced.filter(|c| !c.is_control() && !is_invisible(*c)).collect();
    if let Some(ApiKey(key)) = key.filter(|key| !key.0.is_empty()) {
        text = text.replace(key.as_str(), "…");
    }
    text.trim().chars().take(LONGEST).collect()
}

/// Zero-width characters and those that turn the direction of what follows.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Returns whether a vendor's message says that the conversation is over. No vendor documents its wording, so this goes by words
/// that are hard to mean anything else.
pub(super) fn says_over(message: &str) -> bool {
    let message = message.to_lowercase();
    let about = ["call", "conversation", "chat"].iter().any(|noun| message.contains(noun));
    let over = ["ended", "not ongoing", "not in progress", "not active", "no longer active", "not in ongoing", "already over"];
    about && over.iter().any(|phrase| message.contains(phrase))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Option<String> {
        message(body.as_bytes(), Some(&ApiKey("secret-key".into())))
    }

    #[test]
    fn every_vendors_shape_is_read() {
        for body in [
            r#"{"status":"error","message":"no such thing"}"#,
            r#"{"message":["no such thing"],"error":"Bad Request","statusCode":400}"#,
            r#"{"detail":{"status":"x","message":"no such thing"}}"#,
            r#"{"detail":"no such thing"}"#,
            r#"{"detail":[{"loc":["a"],"msg":"no such thing","type":"b"}]}"#,
            r#"{"error":{"message":"no such thing"}}"#,
            r#""no such thing""#,
            "no such thing",
            "\n no such\tthing \0\r\n",
        ] {
            assert_eq!(of(body).as_deref(), Some("no such thing"), "{body}");
        }
        assert_eq!(of(r#"{"message":["a","b"]}"#).as_deref(), Some("a; b"));
        for body in ["", " ", "{}", "[]", "17", "null", r#"{"message":""}"#, "<html>x</html>", "\u{feff}\u{1}"] {
            assert_eq!(of(body), None, "{body}");
        }
        assert_eq!(of(&format!("{}1{}", "[".repeat(100), "]".repeat(100))), None);
    }

    #[test]
    fn keys_control_characters_and_long_texts_do_not_get_through() {
        let echoed = of("{\"message\":\"bad key secret-key, \\u001b[31msecret\\u200b-key\\u202e!\"}");
        assert_eq!(echoed.as_deref(), Some("bad key …, [31m…!"));
        assert_eq!(of(&"ä".repeat(5000)).map(|text| text.chars().count()), Some(500));
        assert_eq!(clean("x", Some(&ApiKey(String::new()))), "x");
    }

    #[test]
    fn messages_that_say_it_is_over_are_told_from_others() {
        for message in ["Call has already ended", "call is not ongoing", "The conversation is no longer active.", "Chat ended"] {
            assert!(says_over(message), "{message}");
        }
        for message in ["invalid number", "agent not active", "this call cannot be transferred", "trial ended", ""] {
            assert!(!says_over(message), "{message}");
        }
    }
}
