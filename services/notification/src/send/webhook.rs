//! Standard Webhooks: what a signed request looks like.

use colloquy_types::Timestamp;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook};
use uuid::Uuid;

use super::{Outgoing, Secret};

/// Headers that are ours to set, or that belong to the connection.
const RESERVED: [&str; 18] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];
/// The headers of Standard Webhooks, also those a later version may add.
const RESERVED_PREFIX: &str = "webhook-";

/// Returns whether an endpoint may not have a header of this name: it is ours to set, or belongs to the connection.
pub fn is_reserved_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with(RESERVED_PREFIX) || RESERVED.contains(&name.as_str())
}

/// Why a request cannot be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsigned {
    #[error("the endpoint has no usable secret")]
    Secret,
    #[error("the message cannot be signed")]
    Payload,
}

/// Returns the headers of a request without a signature.
pub(super) fn headers(outgoing: &Outgoing) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8 + outgoing.headers.len());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("colloquy/", env!("CARGO_PKG_VERSION"))));
    for (name, Secret(value)) in &outgoing.headers {
        if is_reserved_header(name) {
            continue;
        }
        let (Ok(name), Ok(mut value)) = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str())) else {
            continue;
        };
        value.set_sensitive(true);
        headers.append(name, value);
    }
    headers
}

/// Returns the headers of a signed request.
pub(super) fn signed_headers(outgoing: &Outgoing) -> Result<HeaderMap, Unsigned> {
    let id = webhook_id(outgoing.message_id);
    let signature = signatures(&outgoing.secrets, &id, outgoing.at, &outgoing.body)?;
    let mut headers = headers(outgoing);
    headers.insert(HEADER_WEBHOOK_ID, value(&id)?);
    headers.insert(HEADER_WEBHOOK_TIMESTAMP, HeaderValue::from(outgoing.at.as_seconds()));
    headers.insert(HEADER_WEBHOOK_SIGNATURE, value(&signature)?);
    Ok(headers)
}

fn value(text: &str) -> Result<HeaderValue, Unsigned> {
    HeaderValue::try_from(text).map_err(|_| Unsigned::Payload)
}

/// Returns what receivers know a message by.
pub(super) fn webhook_id(message_id: Uuid) -> String {
    format!("msg_{}", message_id.simple())
}

/// One signature a secret, separated by blanks.
fn signatures(secrets: &[Secret], id: &str, at: Timestamp, body: &[u8]) -> Result<String, Unsigned> {
    let mut all = String::new();
    for Secret(secret) in secrets {
        let webhook = Webhook::new(secret).map_err(|_| Unsigned::Secret)?;
        let signature = webhook.sign(id, at.as_seconds(), body).map_err(|_| Unsigned::Payload)?;
        if !all.is_empty() {
            all.push(' ');
        }
        all.push_str(&signature);
    }
    if all.is_empty() { Err(Unsigned::Secret) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use colloquy_types::{Clock, SystemClock};

    use super::*;
    use crate::endpoint::Kind;

    const OLD: &str = "C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const NEW: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn outgoing(secrets: &[&str], headers: &[(&str, &str)]) -> Outgoing {
        Outgoing {
            kind: Kind::Webhook,
            url: "https://example.com/".into(),
            message_id: Uuid::from_u128(0x1234),
            event_type: "conversation.started".into(),
            at: SystemClock.now(),
            body: Bytes::from_static(b"{\"a\":\"\xc3\xa4\"}"),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), Secret((*value).to_owned()))).collect(),
            secrets: secrets.iter().map(|secret| Secret((*secret).to_owned())).collect(),
        }
    }

    #[test]
    fn receivers_with_the_old_and_with_the_new_secret_accept_a_message_during_a_rotation() {
        let outgoing = outgoing(&[NEW, OLD], &[]);
        let headers = signed_headers(&outgoing).unwrap();
        for secret in [OLD, NEW, &format!("whsec_{OLD}")] {
            Webhook::new(secret).unwrap().verify(&outgoing.body, &headers).unwrap();
        }
        assert_eq!(headers["webhook-signature"].to_str().unwrap().split(' ').count(), 2);
        assert_eq!(headers["webhook-id"], "msg_00000000000000000000000000001234");
        assert_eq!(headers["content-type"], "application/json");
        assert!(Webhook::new("AAAA").unwrap().verify(&outgoing.body, &headers).is_err());
        assert!(Webhook::new(NEW).unwrap().verify(b"{}", &headers).is_err());
    }

    #[test]
    fn the_time_of_the_attempt_is_signed() {
        let mut late = outgoing(&[NEW], &[]);
        late.at = late.at.saturating_add_millis(-i64::try_from(Duration::from_secs(3600).as_millis()).unwrap());
        let headers = signed_headers(&late).unwrap();
        assert!(Webhook::new(NEW).unwrap().verify(&late.body, &headers).is_err());
    }

    #[test]
    fn an_endpoint_sets_neither_our_headers_nor_those_of_the_connection() {
        let own = [
            ("Authorization", "Bearer t"),
            ("X-Team", "a"),
            ("Webhook-Signature", "v1,forged"),
            ("HOST", "internal"),
            ("transfer-encoding", "chunked"),
            ("Content-Type", "text/plain"),
            ("bad name", "a"),
            ("x-split", "a\r\nx-b: c"),
        ];
        let outgoing = outgoing(&[NEW], &own);
        let headers = signed_headers(&outgoing).unwrap();
        assert_eq!(headers["authorization"], "Bearer t");
        assert_eq!(headers["x-team"], "a");
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers.len(), 7, "{headers:?}");
        assert!(!format!("{headers:?}").contains("Bearer"), "{headers:?}");
        Webhook::new(NEW).unwrap().verify(&outgoing.body, &headers).unwrap();
    }

    #[test]
    fn nothing_goes_out_unsigned() {
        assert_eq!(signed_headers(&outgoing(&[], &[])).unwrap_err(), Unsigned::Secret);
        assert_eq!(signed_headers(&outgoing(&["%"], &[])).unwrap_err(), Unsigned::Secret);
        let mut binary = outgoing(&[NEW], &[]);
        binary.body = Bytes::from_static(b"\xff");
        assert_eq!(signed_headers(&binary).unwrap_err(), Unsigned::Payload);
    }
}
