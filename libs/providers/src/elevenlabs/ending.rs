//! How conversations of ElevenLabs end (1.4, 1.6).

use colloquy_events::end_reason::*;
use serde_json::Value;

use super::transcript::Transcript;
use crate::analysis::Ending;
use crate::value::word;

/// Returns how a conversation of a post-call delivery ended, or `None` when it has not.
pub(super) fn of_conversation(data: &Value, transcript: &Transcript) -> Option<Ending> {
    let metadata = &data["metadata"];
    let call_result = ["phone_call", "whatsapp", "sms"].iter().map(|channel| word(&metadata[*channel]["call_result"]));
    let call_result = call_result.into_iter().find(|result| !result.is_empty()).unwrap_or_default();
    match word(&data["status"]) {
        "initiated" | "in-progress" | "processing" => return None,
        "failed" => return Some(Ending::failed(failure(metadata))),
        // `done`, or a word we do not know: a post-call delivery is about a conversation that is over.
        _ => {}
    }
    Some(match call_result {
        "busy" => Ending::abandoned(BUSY),
        "no_answer" | "no-answer" => Ending::abandoned(NO_ANSWER),
        "failed" => Ending::failed(DIAL_FAILED),
        "voicemail" => Ending::completed(VOICEMAIL),
        _ => Ending::completed(reason(word(&metadata["termination_reason"]), transcript)),
    })
}

/// Returns how a call ended that could not be set up (1.1, `call_initiation_failure`).
pub(super) fn of_initiation_failure(failure_reason: &str) -> Ending {
    match failure_reason {
        "busy" => Ending::abandoned(BUSY),
        "no-answer" | "no_answer" => Ending::abandoned(NO_ANSWER),
        _ => Ending::failed(DIAL_FAILED),
    }
}

/// `termination_reason` is free text: only hints are taken from it, and what the agent did counts first.
fn reason(termination: &str, transcript: &Transcript) -> &'static str {
    let termination = termination.to_ascii_lowercase();
    let hints = |words: &[&str]| words.iter().any(|word| termination.contains(word));
    if transcript.transfers.iter().any(|transfer| transfer.succeeded == Some(true)) {
        return TRANSFERRED;
    }
    if hints(&["voicemail"]) {
        VOICEMAIL
    } else if hints(&["max duration", "maximum duration", "max_duration", "duration exceeded", "exceeded maximum", "time limit"])
    {
        MAX_DURATION
    } else if hints(&["silence", "inactiv", "idle"]) {
        SILENCE_TIMEOUT
    } else if hints(&["end_call", "ended by agent", "agent ended", "agent hung up"]) {
        AGENT_ENDED
    } else if hints(&["remote party", "by user", "by client", "client disconnected", "user ended", "user hung up", "caller"]) {
        USER_ENDED
    } else if transcript.agent_hung_up {
        AGENT_ENDED
    } else {
        ENDED
    }
}

fn failure(metadata: &Value) -> &'static str {
    let words = [word(&metadata["error"]["reason"]), word(&metadata["termination_reason"])].join(" ").to_ascii_lowercase();
    let hints = |list: &[&str]| list.iter().any(|hint| words.contains(hint));
    if hints(&["quota", "credit", "concurrency", "limit exceeded", "payment", "subscription"]) {
        ACCOUNT_LIMIT
    } else if hints(&["custom llm", "custom_llm"]) {
        CONFIGURATION_ERROR
    } else if hints(&["llm"]) {
        SUPPLIER_ERROR
    } else {
        PLATFORM_ERROR
    }
}

#[cfg(test)]
mod tests {
    use colloquy_events::EndStatus;
    use serde_json::json;

    use super::*;

    fn ending(status: &str, metadata: &Value) -> Option<Ending> {
        of_conversation(&json!({"status": status, "metadata": metadata}), &Transcript::default())
    }

    #[test]
    fn every_status_and_call_result_has_its_end() {
        for live in ["initiated", "in-progress", "processing"] {
            assert_eq!(ending(live, &json!({})), None, "{live}");
        }
        assert_eq!(ending("failed", &json!({})), Some(Ending::failed(PLATFORM_ERROR)));
        assert_eq!(ending("done", &json!({})), Some(Ending::completed(ENDED)));
        assert_eq!(ending("brand-new", &json!({})).unwrap().status, EndStatus::Completed);
        let results = [
            ("answered", Ending::completed(ENDED)),
            ("voicemail", Ending::completed(VOICEMAIL)),
            ("busy", Ending::abandoned(BUSY)),
            ("no_answer", Ending::abandoned(NO_ANSWER)),
            ("failed", Ending::failed(DIAL_FAILED)),
        ];
        for (result, expected) in results {
            for channel in ["phone_call", "whatsapp", "sms"] {
                let metadata = json!({channel: {"call_result": result}});
                assert_eq!(ending("done", &metadata), Some(expected), "{channel} {result}");
            }
        }
    }

    #[test]
    fn termination_reasons_are_only_hints() {
        let words = [
            ("", ENDED),
            ("Call ended by remote party", USER_ENDED),
            ("end_call tool was called.", AGENT_ENDED),
            ("Conversation ended after silence", SILENCE_TIMEOUT),
            ("Maximum duration exceeded", MAX_DURATION),
            ("something new", ENDED),
        ];
        for (termination, expected) in words {
            assert_eq!(ending("done", &json!({"termination_reason": termination})), Some(Ending::completed(expected)));
        }
    }

    #[test]
    fn calls_that_could_not_be_set_up_are_abandoned_or_failed() {
        assert_eq!(of_initiation_failure("busy"), Ending::abandoned(BUSY));
        assert_eq!(of_initiation_failure("no-answer"), Ending::abandoned(NO_ANSWER));
        assert_eq!(of_initiation_failure("unknown"), Ending::failed(DIAL_FAILED));
        assert_eq!(of_initiation_failure("brand-new"), Ending::failed(DIAL_FAILED));
    }
}
