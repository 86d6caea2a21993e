//! Why calls of Retell end: `disconnection_reason`, all 39 values and those still in old data (2.4).

use colloquy_events::end_reason::*;

use crate::analysis::Ending;

/// Returns how a call ended for which `call_ended` or `call_analyzed` was sent. The event is trusted over `call_status`: a sample
/// of `call_ended` in the provider's own documentation says `registered`.
pub(super) fn of_call(reason: &str, call_status: &str) -> Ending {
    match reason {
        "user_hangup" => Ending::completed(USER_ENDED),
        "agent_hangup" => Ending::completed(AGENT_ENDED),
        "inactivity" => Ending::completed(SILENCE_TIMEOUT),
        "max_duration_reached" => Ending::completed(MAX_DURATION),
        "ivr_reached" => Ending::completed(IVR_REACHED),
        "call_transfer" | "transfer_bridged" => Ending::completed(TRANSFERRED),
        "transfer_cancelled" => Ending::completed(ENDED).after_failed_transfer(),
        // 6.2: a machine answered, so the call connected; a flag of its own says that nobody was reached.
        "voicemail_reached" | "machine_detected" => Ending::completed(VOICEMAIL),
        "user_requested_dnc" => Ending::completed(USER_REQUESTED_DNC),
        "user_requested_callback" => Ending::completed(USER_REQUESTED_CALLBACK),
        "manual_stopped" => Ending::completed(CANCELLED),
        "call_take_over" => Ending::completed(TAKEN_OVER),

        "dial_busy" => Ending::abandoned(BUSY),
        "dial_no_answer" => Ending::abandoned(NO_ANSWER),
        "user_declined" => Ending::abandoned(DECLINED),
        "error_user_not_joined" | "registered_call_timeout" => Ending::abandoned(USER_NOT_JOINED),

        "dial_failed" | "invalid_destination" | "telephony_provider_unavailable" | "sip_routing_error" => {
            Ending::failed(DIAL_FAILED)
        }
        "telephony_provider_permission_denied"
        | "concurrency_limit_reached"
        | "no_valid_payment"
        | "no_concurrency_fallback"
        | "credit_exhausted"
        | "budget_reached" => Ending::failed(ACCOUNT_LIMIT),
        "marked_as_spam" | "scam_detected" | "network_blocked" => Ending::failed(BLOCKED),
        // The model behind these web sockets, and the servers below, are the organization's own.
        "error_llm_websocket_open"
        | "error_llm_websocket_lost_connection"
        | "error_llm_websocket_runtime"
        | "error_llm_websocket_corrupt_payload"
        | "error_frontend_corrupted_payload"
        | "error_inbound_webhook" => Ending::failed(CONFIGURATION_ERROR),
        "error_asr" | "error_twilio" => Ending::failed(SUPPLIER_ERROR),
        "error_no_audio_received" | "error_retell" | "error_unknown" => Ending::failed(PLATFORM_ERROR),

        unknown if unknown.starts_with("error_") => Ending::failed(PLATFORM_ERROR),
        unknown if unknown.starts_with("dial_") => Ending::abandoned(NO_ANSWER),
        _ => of_status(call_status),
    }
}

/// Returns how a call or chat ended that gives no reason we know.
pub(super) fn of_status(status: &str) -> Ending {
    match status {
        "error" => Ending::failed(PLATFORM_ERROR),
        "not_connected" => Ending::abandoned(NO_ANSWER),
        _ => Ending::completed(ENDED),
    }
}

#[cfg(test)]
mod tests {
    use colloquy_events::EndStatus::{self, Abandoned, Completed, Failed};

    use super::*;

    /// The table of 2.4, row by row.
    const TABLE: &[(&[&str], EndStatus)] = &[
        (&["user_hangup", "agent_hangup", "inactivity", "max_duration_reached", "ivr_reached"], Completed),
        (&["call_transfer", "transfer_bridged"], Completed),
        (&["transfer_cancelled"], Completed),
        (&["voicemail_reached"], Completed),
        (&["user_requested_dnc", "user_requested_callback"], Completed),
        (&["manual_stopped", "call_take_over"], Completed),
        (&["dial_busy", "dial_no_answer", "user_declined"], Abandoned),
        (
            &[
                "dial_failed",
                "invalid_destination",
                "telephony_provider_permission_denied",
                "telephony_provider_unavailable",
                "sip_routing_error",
                "marked_as_spam",
            ],
            Failed,
        ),
        (&["network_blocked"], Failed),
        (&["concurrency_limit_reached", "no_valid_payment", "scam_detected"], Failed),
        (&["no_concurrency_fallback", "credit_exhausted", "budget_reached"], Failed),
        (
            &[
                "error_llm_websocket_open",
                "error_llm_websocket_lost_connection",
                "error_llm_websocket_runtime",
                "error_llm_websocket_corrupt_payload",
                "error_no_audio_received",
                "error_asr",
                "error_retell",
                "error_unknown",
            ],
            Failed,
        ),
        (&["error_user_not_joined", "registered_call_timeout"], Abandoned),
    ];

    #[test]
    fn every_row_of_the_table_has_its_status_and_a_reason_of_ours() {
        let mut count = 0;
        for (reasons, expected) in TABLE {
            for reason in *reasons {
                // Whatever the status says: the reason says more.
                for status in ["ended", "error", "not_connected", "registered", ""] {
                    let ending = of_call(reason, status);
                    assert_eq!(ending.status, *expected, "{reason}");
                    assert!(ALL.contains(&ending.reason), "{reason}");
                    assert_ne!((ending.reason, *reason != "transfer_cancelled"), (ENDED, true), "{reason} has no reason");
                }
                count += 1;
            }
        }
        assert_eq!(count, 39);
    }

    #[test]
    fn transfers_and_machines_are_recognised() {
        for reason in ["call_transfer", "transfer_bridged"] {
            assert!(of_call(reason, "ended").is_transfer(), "{reason}");
        }
        assert!(of_call("transfer_cancelled", "ended").transfer_failed);
        for reason in ["voicemail_reached", "machine_detected"] {
            assert_eq!(of_call(reason, "ended").ended(None).voicemail, Some(true), "{reason}");
        }
    }

    #[test]
    fn old_and_unknown_reasons_have_an_end_too() {
        for reason in ["error_twilio", "error_frontend_corrupted_payload", "error_inbound_webhook", "error_brand_new"] {
            assert_eq!(of_call(reason, "ended").status, Failed, "{reason}");
        }
        assert_eq!(of_call("dial_brand_new", "ended").status, Abandoned);
        for (status, expected) in
            [("ended", Completed), ("error", Failed), ("not_connected", Abandoned), ("registered", Completed)]
        {
            assert_eq!(of_call("brand_new", status).status, expected, "{status}");
            assert_eq!(of_call("", status).status, expected, "{status}");
        }
    }
}
