//! Makes one attempt.

use std::time::Duration;

use bytes::Bytes;
use colloquy_outbound::{Bounds, Courier, Policy, Request};
use http::{HeaderMap, Method};
use tokio::time::{Instant, timeout};
use url::Url;

use super::answer::Answered;
use super::email::{BadSmtp, Mailer};
use super::{Outcome, Outgoing, slack, webhook};
use crate::Smtp;
use crate::delivery::Attempt;
use crate::endpoint::Kind;
use crate::payload;

/// How long an attempt takes at most, from the first byte sent to the last one read.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);
/// The status is what matters; the answer's body is only kept for people to look at.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);
/// More than is kept, so that the connection of a receiver that likes to talk can be used again.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// Makes attempts, of every kind.
pub struct Sender {
    courier: Courier,
    mailer: Option<Mailer>,
    bounds: Bounds,
}

/// Why attempts cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BadSettings {
    /// The HTTP client cannot be made.
    #[error(transparent)]
    Http(#[from] colloquy_outbound::Error),
    /// E-mail cannot be sent like this.
    #[error(transparent)]
    Smtp(#[from] BadSmtp),
}

impl Sender {
    /// Returns a sender that reaches what the policy allows, and sends e-mail if it is told how. Must be called where a runtime
    /// is.
    ///
    /// # Errors
    /// When the system has no certificate authorities, or the settings for e-mail are wrong.
    pub fn new(policy: Policy, smtp: Option<&Smtp>) -> Result<Self, BadSettings> {
        Self::with_timeout(policy, smtp, ATTEMPT_TIMEOUT)
    }

    pub(crate) fn with_timeout(policy: Policy, smtp: Option<&Smtp>, timeout: Duration) -> Result<Self, BadSettings> {
        let bounds = Bounds { timeout, body_timeout: BODY_TIMEOUT, max_bytes: MAX_BODY_BYTES };
        Ok(Self { courier: Courier::new(policy)?, mailer: smtp.map(Mailer::new).transpose()?, bounds })
    }

    /// Makes one attempt. Whatever the endpoint does, there is an outcome in time.
    pub async fn attempt(&self, outgoing: &Outgoing) -> Outcome {
        let began = Instant::now();
        let (answered, asked) = match outgoing.kind {
            Kind::Webhook => match webhook::signed_headers(outgoing) {
                Ok(headers) => self.post(outgoing, headers, outgoing.body.clone()).await,
                Err(error) => (Answered::unsent(error.to_string()), None),
            },
            Kind::Slack => {
                let text = payload::text_of(&outgoing.event_type, &outgoing.body);
                self.post(outgoing, webhook::headers(outgoing), slack::body(&text)).await
            }
            Kind::Email => (self.mail(outgoing).await, None),
        };
        let verdict = answered.verdict(asked);
        let attempt = Attempt {
            at: outgoing.at,
            status_code: answered.status_code,
            duration_ms: i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX),
            error: answered.error,
            response: answered.response,
        };
        Outcome { attempt, verdict }
    }

    async fn post(&self, outgoing: &Outgoing, headers: HeaderMap, body: Bytes) -> (Answered, Option<Duration>) {
        let Ok(url) = Url::parse(&outgoing.url) else { return (Answered::unsent("the URL cannot be requested"), None) };
        let request = Request { method: Method::POST, url: &url, headers, body };
        let sent = self.courier.send(request, &self.bounds).await;
        (Answered::of_http(&sent), sent.ok().and_then(|answer| answer.retry_after))
    }

    async fn mail(&self, outgoing: &Outgoing) -> Answered {
        let Some(mailer) = &self.mailer else { return Answered::unsent("no mail server is set up") };
        let text = payload::text_of(&outgoing.event_type, &outgoing.body);
        timeout(self.bounds.timeout, mailer.send(outgoing, text)).await.unwrap_or_else(|_| Answered::timed_out())
    }
}
