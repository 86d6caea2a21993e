//! The `metadata` of a conversation as the SDKs know it: the provider's own, with what has its own place in the record put back.

use colloquy_proto::conversation::v1 as pb;
use serde_json::{Map, Value, json};

use super::{dollars, duration_seconds, start_seconds};

/// What the SDKs insist on in a `phone_call` over SIP.
const SIP: &[&str] = &["direction", "phone_number_id", "agent_number", "external_number", "call_sid"];
/// And in one over a carrier.
const CARRIER: &[&str] = &["direction", "phone_number_id", "agent_number", "external_number", "call_sid", "stream_sid"];

/// Returns the metadata; `kept` is what remains of the provider's own.
pub(super) fn of(given: &pb::Conversation, mut kept: Map<String, Value>) -> Map<String, Value> {
    if !kept.get("phone_call").is_some_and(is_phone_call) {
        kept.insert("phone_call".to_owned(), Value::Null);
    }
    let mut put = |name: &str, value: Value| kept.insert(name.to_owned(), value);
    put("start_time_unix_secs", start_seconds(given).into());
    put("call_duration_secs", duration_seconds(given).into());
    put("cost_fiat", json!(dollars(given)));
    put("termination_reason", json!(given.end_reason_detail));
    put("main_language", json!(given.language));
    put("error", json!(error(given)));
    put("feedback", json!(feedback(given)));
    put("warnings", warnings(given));
    kept
}

/// Returns whether a phone call has all that the SDKs insist on.
fn is_phone_call(call: &Value) -> bool {
    let required = match call["type"].as_str() {
        Some("sip_trunking") => SIP,
        Some("twilio" | "exotel") => CARRIER,
        _ => return false,
    };
    required.iter().all(|name| call[*name].is_string())
}

/// What failed, when its code is a number: this shape has no other.
fn error(given: &pb::Conversation) -> Option<Value> {
    let failure = given.failure.as_ref()?;
    let code: i64 = failure.code.as_ref()?.parse().ok()?;
    Some(json!({"code": code, "reason": failure.message}))
}

fn feedback(given: &pb::Conversation) -> Option<Value> {
    let latest = given.feedback.last()?;
    let thumbs = latest.thumbs.as_deref();
    let score = match thumbs {
        Some("up") => Some("like"),
        Some("down") => Some("dislike"),
        _ => None,
    };
    let count = |word: &str| given.feedback.iter().filter(|feedback| feedback.thumbs.as_deref() == Some(word)).count();
    Some(json!({
        "type": if thumbs.is_some() { "thumbs" } else { "rating" },
        "overall_score": score,
        "likes": count("up"),
        "dislikes": count("down"),
        "rating": latest.rating,
        "comment": latest.comment,
    }))
}

fn warnings(given: &pb::Conversation) -> Value {
    let quality = given.technical.as_ref().map(|technical| technical.quality_json.as_str()).unwrap_or_default();
    let mut quality: Value = serde_json::from_str(quality).unwrap_or_default();
    let texts = quality.get_mut("warnings").map(Value::take);
    match texts {
        Some(Value::Array(texts)) => Value::Array(texts.into_iter().filter(Value::is_string).collect()),
        _ => json!([]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_call_is_whole_or_not_there() {
        let whole = json!({"type": "sip_trunking", "direction": "inbound", "phone_number_id": "p", "agent_number": "1",
            "external_number": "2", "call_sid": "s"});
        assert!(is_phone_call(&whole));
        let mut carrier = whole;
        carrier["type"] = json!("twilio");
        assert!(!is_phone_call(&carrier), "a carrier's call has a stream too");
        let kept = [("phone_call".to_owned(), carrier)].into_iter().collect();
        assert_eq!(of(&pb::Conversation::default(), kept)["phone_call"], Value::Null);
    }

    #[test]
    fn an_error_has_a_number_or_is_none() {
        let failed = |code: &str| pb::Conversation {
            failure: Some(pb::Failure { code: Some(code.into()), message: Some("m".into()) }),
            ..Default::default()
        };
        assert_eq!(error(&failed("1002")), Some(json!({"code": 1002, "reason": "m"})));
        assert_eq!(error(&failed("sip_486")), None);
    }
}
