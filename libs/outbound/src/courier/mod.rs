//! Small requests to addresses that others chose, many at a time: webhooks, commands to vendors.
//!
//! It stands on hyper's pool instead of the other client's, because at thousands of requests a second what lies between the two
//! costs more than the request. HTTP/1.1 only: receivers of webhooks gain nothing by more, and a connection that one receiver
//! stalls then holds nobody else up.

mod connect;
mod failure;
mod stream;
#[cfg(test)]
mod tests;
mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

pub use failure::Failure;
pub use upgrade::{Connection, Upgrade};

use crate::resolver::{Lookup, SystemLookup};
use crate::retry_after::retry_after;
use crate::{Error, Policy};
use connect::Connector;

/// As many as one receiver may be sent at a time, so that none of them has to connect again.
const IDLE_CONNECTIONS_PER_HOST: usize = 64;
/// Shorter than the 5 s after which common servers close what is idle: a request that crosses with a close fails.
const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(4);
/// The longest head of an answer, and what is read of its body at a time.
const READ_BUFFER_BYTES: usize = 32 * 1024;

/// A request. Its headers are sent as they are, with `host` and `content-length` added.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// How.
    pub method: Method,
    /// Where to.
    pub url: &'a Url,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// How much one request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Until the beginning of the answer; resolving and connecting, which have ten seconds, included.
    pub timeout: Duration,
    /// For the body of the answer, within `timeout`.
    pub body_timeout: Duration,
    /// How much of the body is read. Of a longer one the connection is closed, not the rest read.
    pub max_bytes: usize,
}

/// What was answered, with any status: redirects are answers like others and are not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// How long the server asked to be left alone, at most a day.
    pub retry_after: Option<Duration>,
    /// The body, or its beginning.
    pub body: Bytes,
    /// Whether that is all of it: it was not too long, did not stall and did not break off.
    pub whole: bool,
}

/// Sends requests to addresses that others chose. Cheap to clone; clones share their connections.
///
/// Follows no redirects and no proxy settings of the environment, keeps no cookies, adds no headers of its own. Every address
/// it connects to is one that the policy allows.
#[derive(Clone, Debug)]
pub struct Courier {
    http: legacy::Client<Connector, Full<Bytes>>,
    policy: Arc<Policy>,
}

impl Courier {
    /// Returns a courier that reaches what the policy allows, and trusts the certificate authorities the system trusts.
    ///
    /// # Errors
    /// When the system has none.
    pub fn new(policy: Policy) -> Result<Self, Error> {
        let found = rustls_native_certs::load_native_certs();
        if found.certs.is_empty() {
            let reason = found.errors.first().map_or_else(|| "the system has none".to_owned(), ToString::to_string);
            return Err(Error::Build(format!("no certificate authorities: {reason}")));
        }
        Self::with(policy, Arc::new(SystemLookup), found.certs)
    }

    fn with(policy: Policy, lookup: Arc<dyn Lookup>, authorities: Vec<CertificateDer<'static>>) -> Result<Self, Error> {
        let policy = Arc::new(policy);
        let connector = Connector::new(Arc::clone(&policy), lookup, authorities)?;
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST)
            .pool_idle_timeout(IDLE_CONNECTION_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .http1_max_buf_size(READ_BUFFER_BYTES)
            .build(connector);
        Ok(Self { http, policy })
    }

    /// Returns the policy the courier follows.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Sends a request and returns its answer, whatever its status.
    ///
    /// # Errors
    /// When there is no answer; see [`Failure`]. A body that stalls or breaks off is no failure, since its status is known.
    pub async fn send(&self, request: Request<'_>, bounds: &Bounds) -> Result<Answer, Failure> {
        self.policy.check_form(request.url)?;
        let deadline = Instant::now() + bounds.timeout;
        let mut prepared = http::Request::new(Full::new(request.body));
        *prepared.method_mut() = request.method;
        *prepared.uri_mut() = uri_of(request.url)?;
        *prepared.headers_mut() = request.headers;
        let answered = timeout_at(deadline, self.http.request(prepared)).await.map_err(|_| Failure::Timeout)?;
        let (head, body) = answered.map_err(|error| Failure::of(&error))?.into_parts();
        let retry_after = retry_after(&head.headers);
        let (body, whole) = beginning(body, bounds, deadline).await;
        Ok(Answer { status: head.status.as_u16(), retry_after, body, whole })
    }
}

/// A fragment is not sent. What a URL may hold and a request line may not is percent-encoded in a parsed URL already.
fn uri_of(url: &Url) -> Result<Uri, Failure> {
    let text = url.as_str();
    let sent = text.split_once('#').map_or(text, |(sent, _)| sent);
    Uri::try_from(sent).map_err(|_| Failure::BadUrl)
}

/// Reads a body as far as the bounds allow, and returns whether that was all.
async fn beginning(mut body: Incoming, bounds: &Bounds, deadline: Instant) -> (Bytes, bool) {
    let patience = bounds.body_timeout.min(deadline.saturating_duration_since(Instant::now()));
    let mut kept = BytesMut::new();
    let reading = async {
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            let Ok(data) = frame.into_data() else { continue };
            let room = bounds.max_bytes - kept.len();
            kept.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                return false;
            }
        }
        true
    };
    let whole = timeout(patience, reading).await.unwrap_or(false);
    (kept.freeze(), whole)
}
