//! Commands over HTTP: sending them, and what the answers mean.

use std::time::Duration;

use bytes::Bytes;
use colloquy_outbound::{Answer, Bounds, Courier, Failure as Unanswered, Request};
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use super::attempt::Outcome;
use super::message::{clean, message, says_over};
use super::{ApiKey, Failure};

/// What a person is told when the key is the reason.
pub(super) const BAD_KEY: &str = "the vendor does not accept the source's API key";
/// What is read of an answer: enough for any message that says what went wrong.
const ANSWER_BYTES: usize = 64 * 1024;
/// How long the rest of an answer is waited for once its status is known.
const BODY_TIMEOUT: Duration = Duration::from_secs(3);

/// Returns the headers every request has. Each has a connection of its own, which a command is worth: on one that lay idle it
/// would be unclear whether a lost request had still got through.
pub(super) fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("colloquy/", env!("CARGO_PKG_VERSION"))));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers
}

/// Adds a key, hidden from everything that prints headers.
pub(super) fn add_key(headers: &mut HeaderMap, name: HeaderName, prefix: &str, key: &ApiKey) -> Result<(), Failure> {
    let value = HeaderValue::try_from(format!("{prefix}{}", key.0));
    let mut value = value.map_err(|_| Failure::Refused("the source's API key cannot stand in a request".to_owned()))?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

/// Adds a bearer token.
pub(super) fn add_bearer(headers: &mut HeaderMap, key: &ApiKey) -> Result<(), Failure> {
    add_key(headers, AUTHORIZATION, "Bearer ", key)
}

/// Returns `base` with path segments added, each percent-encoded as a whole; nothing where one cannot be a segment.
pub(super) fn under(base: &Url, segments: &[&str]) -> Option<Url> {
    // These would name another place than the one meant.
    if segments.iter().any(|segment| matches!(*segment, "" | "." | "..")) {
        return None;
    }
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.path_segments_mut().ok()?.pop_if_empty().extend(segments);
    Some(url)
}

/// Returns how long an answer is waited for.
pub(super) fn bounds(deadline: Instant) -> Bounds {
    let timeout = deadline.saturating_duration_since(Instant::now());
    Bounds { timeout, body_timeout: BODY_TIMEOUT, max_bytes: ANSWER_BYTES }
}

/// One request to a vendor's API.
pub(super) struct Command<'a> {
    pub(super) method: Method,
    pub(super) url: &'a Url,
    pub(super) headers: HeaderMap,
    /// None for a request without a body.
    pub(super) body: Option<&'a Value>,
    /// What must not show in messages.
    pub(super) key: Option<&'a ApiKey>,
    /// What a person is told when the vendor does not let us.
    pub(super) unauthorized: &'a str,
}

/// Sends a command once.
pub(super) async fn send(courier: &Courier, command: &Command<'_>, deadline: Instant) -> Outcome {
    let mut headers = command.headers.clone();
    let body = command.body.map_or_else(Bytes::new, |body| {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        body.to_string().into()
    });
    let request = Request { method: command.method.clone(), url: command.url, headers, body };
    match courier.send(request, &bounds(deadline)).await {
        Ok(answer) => answered(&answer, command.key, command.unauthorized),
        Err(failure) => unanswered(&failure),
    }
}

/// Returns what the lack of an answer means.
pub(super) fn unanswered(failure: &Unanswered) -> Outcome {
    let detail = clean(&failure.to_string(), None);
    match failure {
        Unanswered::Refused(_) | Unanswered::BadUrl => Outcome::Failed(Failure::Refused(detail)),
        Unanswered::Unresolvable(_) | Unanswered::Connect(_) | Unanswered::ConnectTimeout | Unanswered::Tls(_) => {
            Outcome::Unsent(detail)
        }
        Unanswered::Timeout | Unanswered::Closed | Unanswered::BadAnswer(_) | Unanswered::Other(_) => {
            Outcome::Doubtful { detail, answered: false }
        }
    }
}

/// Returns what an answer means.
pub(super) fn answered(answer: &Answer, key: Option<&ApiKey>, unauthorized: &str) -> Outcome {
    let refused = |detail: &str| Outcome::Failed(Failure::Refused(detail.to_owned()));
    let said = message(&answer.body, key);
    let detail = || said.clone().unwrap_or_else(|| format!("the vendor answered with status {}", answer.status));
    match answer.status {
        // Retell answers `{"success": bool}` (retell-sdk 6.2.13, `types/call_update_live_response.py`).
        200..=299 if says_no(&answer.body) => refused(&detail()),
        200..=299 => Outcome::Done,
        300..=399 => refused("the vendor's address sends elsewhere, where commands do not follow"),
        401 | 403 => refused(unauthorized),
        404 | 410 => Outcome::Failed(Failure::Ended),
        429 => Outcome::Busy(answer.retry_after, "the vendor takes no more requests for now".to_owned()),
        503 => Outcome::Busy(answer.retry_after, detail()),
        400..=499 if said.as_deref().is_some_and(says_over) => Outcome::Failed(Failure::Ended),
        400..=499 => refused(&detail()),
        // A gateway that got no answer knows as little as we do.
        502 | 504 => Outcome::Doubtful { detail: detail(), answered: false },
        500..=599 => Outcome::Doubtful { detail: detail(), answered: true },
        _ => refused(&detail()),
    }
}

fn says_no(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|body| body["success"] == Value::Bool(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, retry_after: Some(Duration::from_secs(2)), body: Bytes::copy_from_slice(body.as_bytes()), whole: true }
    }

    fn of(status: u16, body: &str) -> Outcome {
        answered(&answer(status, body), Some(&ApiKey("secret-key".into())), BAD_KEY)
    }

    #[test]
    fn every_status_has_its_meaning() {
        let refused = |text: &str| Outcome::Failed(Failure::Refused(text.into()));
        let doubtful = |text: &str, answered| Outcome::Doubtful { detail: text.into(), answered };
        for status in [200, 201, 202, 204] {
            assert_eq!(of(status, ""), Outcome::Done);
        }
        assert_eq!(of(200, r#"{"success":true}"#), Outcome::Done);
        assert_eq!(of(200, r#"{"success":false,"message":"not now"}"#), refused("not now"));
        assert!(matches!(of(307, ""), Outcome::Failed(Failure::Refused(_))));
        assert_eq!((of(401, "x"), of(403, "secret-key")), (refused(BAD_KEY), refused(BAD_KEY)));
        assert_eq!((of(404, ""), of(410, "")), (Outcome::Failed(Failure::Ended), Outcome::Failed(Failure::Ended)));
        assert_eq!(of(422, r#"{"message":"Call has ended"}"#), Outcome::Failed(Failure::Ended));
        assert_eq!(of(422, r#"{"message":"no secret-key"}"#), refused("no …"));
        assert_eq!(of(400, ""), refused("the vendor answered with status 400"));
        assert!(matches!(of(429, ""), Outcome::Busy(Some(_), _)));
        assert!(matches!(of(503, ""), Outcome::Busy(Some(_), _)));
        assert_eq!(of(500, "oh"), doubtful("oh", true));
        assert_eq!(of(504, "<html>"), doubtful("the vendor answered with status 504", false));
    }

    #[test]
    fn an_id_is_one_segment_whatever_it_holds() {
        let base = Url::parse("https://api.example/prefix/?a=b#c").unwrap();
        let url = |id| under(&base, &["v2", id]).map(String::from);
        assert_eq!(url("call_1").as_deref(), Some("https://api.example/prefix/v2/call_1"));
        assert_eq!(url("../x?y#z").as_deref(), Some("https://api.example/prefix/v2/..%2Fx%3Fy%23z"));
        assert_eq!((url(".."), url("."), url("")), (None, None, None));
        assert_eq!(under(&Url::parse("data:x").unwrap(), &["a"]), None);
    }

    #[test]
    fn keys_do_not_show_in_headers_and_bad_ones_are_refused() {
        let mut headers = headers();
        add_bearer(&mut headers, &ApiKey("secret-key".into())).unwrap();
        assert!(!format!("{headers:?}").contains("secret-key"), "{headers:?}");
        let refused = add_bearer(&mut headers, &ApiKey("secret\nkey".into())).unwrap_err();
        assert!(!refused.to_string().contains("secret"), "{refused}");
    }
}
