//! Where a running call can be steered: `call.monitor.controlUrl` (3.2). Who knows it can speak in the call and end it, so it is
//! taken out of the body before that is searched for secrets, and becomes nothing but an event for services.

use colloquy_events::{ControlOffer, Data, Event};
use colloquy_types::EventId;
use http::Uri;
use serde_json::Value;

use crate::mapping::Mapped;
use crate::time;
use crate::value::word;

/// The longest address that is taken for one.
const MAX_URL_CHARS: usize = 2_048;

/// Returns the address in a message of a call that still runs; an end, or what is told after it, offers nothing any more.
pub(super) fn offered(message: &Value) -> Option<String> {
    let call = &message["call"];
    let is_over = match word(&message["type"]) {
        "end-of-call-report" => true,
        "status-update" => matches!(word(&message["status"]), "ended" | "not-found" | "deletion-failed"),
        _ => false,
    };
    let url = word(&call["monitor"]["controlUrl"]);
    (!is_over && word(&call["status"]) != "ended" && is_address(url)).then(|| url.to_owned())
}

/// Adds the offer to what a message means. Every message of a call repeats it, and is dated differently: it is one event a call
/// and address.
pub(super) fn add(mut mapped: Mapped, url: String, message: &Value) -> Mapped {
    let Some(first) = mapped.events.first() else { return mapped };
    let offer = Event {
        event_id: EventId::derive(first.conversation_id, &["control.offered", &url]),
        occurred_at: time::iso(&message["call"]["createdAt"]).unwrap_or(first.occurred_at),
        ordinal: u32::try_from(mapped.events.len()).unwrap_or(u32::MAX),
        data: Data::ControlOffered(ControlOffer { url }),
        conversation_id: first.conversation_id,
        provider: first.provider,
        external_id: first.external_id.clone(),
    };
    mapped.events.push(offer);
    mapped
}

fn is_address(url: &str) -> bool {
    if url.len() > MAX_URL_CHARS {
        return false;
    }
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let is_web = uri.scheme_str().is_some_and(|scheme| matches!(scheme, "https" | "http"));
    is_web && uri.host().is_some_and(|host| !host.is_empty()) && uri.authority().is_some_and(|host| !host.as_str().contains('@'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_addresses_on_the_web_are_taken() {
        let long = format!("https://voice.example/{}", "a".repeat(MAX_URL_CHARS));
        for url in ["https://voice.example/1/control", "http://127.0.0.1:8080/control?key=a", "HTTPS://voice.example"] {
            assert!(is_address(url), "{url}");
        }
        for url in [
            "",
            "/control",
            "voice.example/control",
            "wss://voice.example/control",
            "https://",
            "https:///control",
            "https://user:pass@voice.example",
            "https://voice.example/a b",
            "https://voice.example/\0",
            &long,
        ] {
            assert!(!is_address(url), "{url}");
        }
    }

    #[test]
    fn a_call_that_is_over_offers_nothing() {
        let message = |kind: &str, status: &str, call_status: &str| {
            json!({"type": kind, "status": status,
                "call": {"status": call_status, "monitor": {"controlUrl": "https://voice.example/control"}}})
        };
        for kind in ["transcript", "conversation-update", "speech-update", "hang"] {
            assert!(offered(&message(kind, "", "in-progress")).is_some(), "{kind}");
            assert!(offered(&message(kind, "", "ended")).is_none(), "{kind}");
        }
        assert!(offered(&message("status-update", "ringing", "ringing")).is_some());
        for status in ["ended", "not-found", "deletion-failed"] {
            assert!(offered(&message("status-update", status, "in-progress")).is_none(), "{status}");
        }
        assert!(offered(&message("end-of-call-report", "", "in-progress")).is_none());
    }
}
