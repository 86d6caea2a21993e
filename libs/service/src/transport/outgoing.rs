//! What every call carries, and how long it may take.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response};
use tokio::time::Instant;
use tonic::body::Body;
use tower::Service;
use tower::util::BoxCloneSyncService;
use tracing::Instrument;

use super::Transport;
use super::deadline::{self, Expiring};
use super::retry::{self, Budget, Call};
use crate::auth::SERVICE_TOKEN;
use crate::{client_span, methods, stack};

/// How long a call may take when its caller does not say.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);

/// Returns `transport` with a deadline and the trace context on every call, and with the service token when there is one. Calls
/// that were not answered are made again where that does no harm.
///
/// The deadline covers the whole answer when that is one message. Of a stream it covers the beginning, since a long download or a
/// live feed is not late; whether the other side is still there is found out by the connection.
pub fn outgoing(transport: Transport, service_token: Option<&Arc<str>>) -> Transport {
    let token = service_token.and_then(|token| {
        let mut value = HeaderValue::from_str(token).ok()?;
        value.set_sensitive(true);
        Some(value)
    });
    BoxCloneSyncService::new(Outgoing { inner: transport, token, budget: Budget::new() })
}

#[derive(Clone)]
struct Outgoing {
    inner: Transport,
    token: Option<HeaderValue>,
    budget: Budget,
}

impl Service<Request<Body>> for Outgoing {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(token) = &self.token {
            request.headers_mut().insert(SERVICE_TOKEN, token.clone());
        }
        let span = client_span::begin(&mut request);
        let method = methods::find(request.uri().path());
        let asked = stack::grpc_timeout(request.headers());
        let limit = asked.unwrap_or(DEFAULT_DEADLINE);
        let has_end = method.is_some_and(|method| method.one_answer);
        if has_end && asked.is_none() {
            // So that the service, too, knows when nobody waits any more.
            request.headers_mut().insert("grpc-timeout", retry::timeout(limit));
        }
        let expires = Instant::now() + limit;
        let call = retry::run(self.inner.clone(), Call { request, method, expires }, self.budget.clone());
        let of_call = span.clone();
        let answering = async move {
            let answer = match tokio::time::timeout_at(expires, call).await {
                Ok(response) if has_end => Ok(response.map(|body| Body::new(Expiring::new(body, expires)))),
                Ok(response) => Ok(response),
                Err(_) => Ok(deadline::exceeded().into_http()),
            };
            client_span::answered(&of_call, &answer);
            answer
        };
        Box::pin(answering.instrument(span))
    }
}
