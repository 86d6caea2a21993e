//! Why calls of Vapi end: 604 values of `endedReason`, by rules of which the first that matches counts (3.4).

use colloquy_events::end_reason::*;

use crate::analysis::Ending;

/// What the rules need to know besides the reason.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances {
    /// Whether `startedAt` is set: the call connected.
    pub(super) connected: bool,
    /// Whether the person said anything.
    pub(super) user_spoke: bool,
}

/// Returns how a call ended.
pub(super) fn of_call(reason: &str, circumstances: Circumstances) -> Ending {
    abandoned(reason, circumstances)
        .or_else(|| completed(reason, circumstances))
        .or_else(|| failed(reason))
        .unwrap_or(if circumstances.connected { Ending::completed(ENDED) } else { Ending::failed(DIAL_FAILED) })
}

fn abandoned(reason: &str, circumstances: Circumstances) -> Option<Ending> {
    let reason = match reason {
        "customer-busy" => BUSY,
        "customer-did-not-answer" => NO_ANSWER,
        "customer-did-not-give-microphone-permission" => USER_NOT_JOINED,
        "call.ringing.sip-inbound-caller-hungup-before-call-connect" => USER_ENDED,
        "call.in-progress.error-assistant-did-not-receive-customer-audio" if !circumstances.user_spoke => USER_NOT_JOINED,
        // No answer, and temporarily unavailable.
        sip if sip.starts_with("call.in-progress.error-providerfault-outbound-sip-408-") => NO_ANSWER,
        sip if sip.starts_with("call.in-progress.error-providerfault-outbound-sip-480-") => NO_ANSWER,
        "manually-canceled" if !circumstances.connected => CANCELLED,
        // The record of the call was deleted, which is no way to end; where nothing else is known, nobody took part.
        "call-deleted" | "scheduled-call-deleted" if !circumstances.connected => CANCELLED,
        _ => return None,
    };
    Some(Ending::abandoned(reason))
}

fn completed(reason: &str, circumstances: Circumstances) -> Option<Ending> {
    Some(match reason {
        "customer-ended-call"
        | "customer-ended-call-before-warm-transfer"
        | "customer-ended-call-after-warm-transfer-attempt"
        | "customer-ended-call-during-transfer" => Ending::completed(USER_ENDED),
        "assistant-ended-call"
        | "assistant-ended-call-with-hangup-task"
        | "assistant-ended-call-after-message-spoken"
        | "assistant-said-end-call-phrase" => Ending::completed(AGENT_ENDED),
        "assistant-forwarded-call" | "call.ringing.hook-executed-transfer" | "call.ending.hook-executed-transfer" => {
            Ending::completed(TRANSFERRED)
        }
        "call.in-progress.twilio-completed-call"
        | "call.in-progress.sip-completed-call"
        | "vonage-completed"
        | "vonage-disconnected"
        | "call.ringing.hook-executed-say"
        | "call.ending.hook-executed-say" => Ending::completed(ENDED),
        "silence-timed-out" => Ending::completed(SILENCE_TIMEOUT),
        "exceeded-max-duration" => Ending::completed(MAX_DURATION),
        "manually-canceled" => Ending::completed(CANCELLED),
        "voicemail" => Ending::completed(VOICEMAIL),
        "call.forwarding.operator-busy" | "call.forwarding.no-answer" => Ending::completed(ENDED).after_failed_transfer(),
        "call-deleted" | "scheduled-call-deleted" if circumstances.connected => Ending::completed(CANCELLED),
        _ => return None,
    })
}

fn failed(reason: &str) -> Option<Ending> {
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| reason.starts_with(prefix));
    let contains = |parts: &[&str]| parts.iter().any(|part| reason.contains(part));
    let set_up = starts(&["call.start.", "call-start-error-", "assistant-request-"])
        || ["assistant-not-found", "assistant-not-valid", "assistant-join-timed-out"].contains(&reason);
    let broke =
        starts(&["pipeline-"]) || reason.ends_with("-failed") || contains(&["error", "-voice-", "-transcriber-", "-llm-"]);
    let why = match reason {
        "worker-shutdown" => PLATFORM_ERROR,
        "phone-call-provider-closed-websocket" => SUPPLIER_ERROR,
        "phone-call-provider-bypass-enabled-but-no-call-received" => CONFIGURATION_ERROR,
        "twilio-failed-to-connect-call"
        | "twilio-reported-customer-misdialed"
        | "vonage-failed-to-connect-call"
        | "vonage-rejected"
        | "sip-outbound-unallocated-number"
        | "sip-outbound-carrier-released-call" => DIAL_FAILED,
        // `vapifault` is the platform's own, `providerfault` that of a vendor behind it.
        _ if (set_up || broke) && contains(&["vapifault"]) => PLATFORM_ERROR,
        _ if (set_up || broke) && contains(&["providerfault"]) => SUPPLIER_ERROR,
        _ if set_up && contains(&["subscription", "concurrency", "credit", "billing", "wallet", "payment"]) => ACCOUNT_LIMIT,
        _ if set_up && contains(&["fraud", "blocked", "spam"]) => BLOCKED,
        _ if set_up => CONFIGURATION_ERROR,
        // Old names of errors of the models, voices and transcribers behind the platform.
        _ if reason.starts_with("pipeline-") => SUPPLIER_ERROR,
        _ if broke => PLATFORM_ERROR,
        _ => return None,
    };
    let ending = Ending::failed(why);
    Some(if contains(&["transfer-failed", "warm-transfer"]) { ending.after_failed_transfer() } else { ending })
}

#[cfg(test)]
mod tests {
    use colloquy_events::EndStatus::{self, Abandoned, Completed, Failed};

    use super::*;

    const TALKED: Circumstances = Circumstances { connected: true, user_spoke: true };
    const SILENT: Circumstances = Circumstances { connected: true, user_spoke: false };
    const NEVER_CONNECTED: Circumstances = Circumstances { connected: false, user_spoke: false };

    /// The table of 3.4, row by row, in its order; families by one or more of their members.
    const TABLE: &[(&[&str], Circumstances, EndStatus)] = &[
        (
            &[
                "customer-busy",
                "customer-did-not-answer",
                "customer-did-not-give-microphone-permission",
                "call.ringing.sip-inbound-caller-hungup-before-call-connect",
            ],
            NEVER_CONNECTED,
            Abandoned,
        ),
        (&["call.in-progress.error-assistant-did-not-receive-customer-audio"], SILENT, Abandoned),
        (&["call.in-progress.error-assistant-did-not-receive-customer-audio"], TALKED, Failed),
        (
            &[
                "call.in-progress.error-providerfault-outbound-sip-408-request-timeout",
                "call.in-progress.error-providerfault-outbound-sip-480-temporarily-unavailable",
            ],
            NEVER_CONNECTED,
            Abandoned,
        ),
        (
            &[
                "customer-ended-call",
                "customer-ended-call-before-warm-transfer",
                "customer-ended-call-after-warm-transfer-attempt",
                "customer-ended-call-during-transfer",
            ],
            TALKED,
            Completed,
        ),
        (
            &[
                "assistant-ended-call",
                "assistant-ended-call-with-hangup-task",
                "assistant-ended-call-after-message-spoken",
                "assistant-said-end-call-phrase",
            ],
            TALKED,
            Completed,
        ),
        (
            &["assistant-forwarded-call", "call.ringing.hook-executed-transfer", "call.ending.hook-executed-transfer"],
            TALKED,
            Completed,
        ),
        (
            &[
                "call.in-progress.twilio-completed-call",
                "call.in-progress.sip-completed-call",
                "vonage-completed",
                "vonage-disconnected",
                "call.ringing.hook-executed-say",
                "call.ending.hook-executed-say",
            ],
            TALKED,
            Completed,
        ),
        (&["silence-timed-out", "exceeded-max-duration", "manually-canceled"], TALKED, Completed),
        (&["manually-canceled"], NEVER_CONNECTED, Abandoned),
        (&["voicemail"], TALKED, Completed),
        (&["call.forwarding.operator-busy", "call.forwarding.no-answer"], TALKED, Completed),
        (&["call-deleted", "scheduled-call-deleted"], TALKED, Completed),
        (&["call-deleted", "scheduled-call-deleted"], NEVER_CONNECTED, Abandoned),
        (
            &[
                "call.start.error-get-org",
                "call.start.error-vapifault-get-assistant",
                "call-start-error-neither-assistant-nor-server-set",
                "assistant-request-failed",
                "assistant-request-returned-error",
                "assistant-not-found",
                "assistant-not-valid",
                "assistant-join-timed-out",
            ],
            TALKED,
            Failed,
        ),
        (
            &[
                "call.in-progress.error-vapifault-openai-llm-failed",
                "call.in-progress.error-providerfault-eleven-labs-500-server-error",
                "call.in-progress.error-transfer-failed",
                "call.in-progress.error-warm-transfer-max-duration",
                "pipeline-error-openai-voice-failed",
                "pipeline-no-available-llm-model",
                "something-failed",
                "some-voice-thing",
                "some-transcriber-thing",
                "some-llm-thing",
            ],
            TALKED,
            Failed,
        ),
        (
            &[
                "worker-shutdown",
                "phone-call-provider-closed-websocket",
                "phone-call-provider-bypass-enabled-but-no-call-received",
                "twilio-failed-to-connect-call",
                "twilio-reported-customer-misdialed",
                "vonage-failed-to-connect-call",
                "vonage-rejected",
                "sip-outbound-unallocated-number",
                "sip-outbound-carrier-released-call",
            ],
            TALKED,
            Failed,
        ),
        (&["hangup", "brand-new", ""], TALKED, Completed),
        (&["hangup", "brand-new", ""], NEVER_CONNECTED, Failed),
    ];

    #[test]
    fn every_row_of_the_table_has_its_status_and_a_reason_of_ours() {
        for (reasons, circumstances, expected) in TABLE {
            for reason in *reasons {
                let ending = of_call(reason, *circumstances);
                assert_eq!(ending.status, *expected, "{reason} {circumstances:?}");
                assert!(ALL.contains(&ending.reason), "{reason}");
            }
        }
    }

    #[test]
    fn rows_with_a_flag_have_it() {
        for reason in ["assistant-forwarded-call", "call.ringing.hook-executed-transfer", "call.ending.hook-executed-transfer"] {
            assert!(of_call(reason, TALKED).is_transfer(), "{reason}");
        }
        for reason in ["call.forwarding.operator-busy", "call.forwarding.no-answer", "call.in-progress.error-transfer-failed"] {
            assert!(of_call(reason, TALKED).transfer_failed, "{reason}");
        }
        assert_eq!(of_call("voicemail", TALKED).ended(None).voicemail, Some(true));
        assert_eq!(of_call("silence-timed-out", TALKED).reason, SILENCE_TIMEOUT);
        assert_eq!(of_call("exceeded-max-duration", TALKED).reason, MAX_DURATION);
    }

    #[test]
    fn faults_are_told_apart_by_whose_they_are() {
        let reasons = [
            ("call.in-progress.error-vapifault-worker-died", PLATFORM_ERROR),
            ("call.in-progress.error-providerfault-deepgram-transcriber-failed", SUPPLIER_ERROR),
            ("call.start.error-subscription-concurrency-limit-reached", ACCOUNT_LIMIT),
            ("call.start.error-fraud-check-failed", BLOCKED),
            ("assistant-not-found", CONFIGURATION_ERROR),
        ];
        for (reason, expected) in reasons {
            assert_eq!(of_call(reason, TALKED), Ending::failed(expected), "{reason}");
        }
    }
}
