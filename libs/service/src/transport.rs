//! Calling another service.
//!
//! A generated client runs over a [`Transport`], which is either a connection or, in one process, the other service itself: the
//! same client, the same encoding, the same layers, no second code path (design.md, decision 8).

use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::telemetry::inject_context;
use axum::Router;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response};
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

use crate::auth::SERVICE_TOKEN;

/// Why a call did not reach the other service. A type of its own, since a boxed error keeps futures from being `Send`.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct TransportError(#[from] tonic::transport::Error);

/// What a generated client runs over.
pub type Transport = BoxCloneSyncService<Request<Body>, Response<Body>, TransportError>;

/// The greatest message any service sends or takes: a batch of events.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// How long a call may take when its caller does not say.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);

/// A place for a service of this process, so that services can be given each other before they are built.
#[derive(Clone, Default)]
pub struct LocalSlot(Arc<OnceLock<Router>>);

impl LocalSlot {
    /// Returns an empty slot.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts the service into the slot; the first one stays.
    pub fn fill(&self, router: Router) {
        let _ = self.0.set(router);
    }

    /// Returns a transport that calls whatever is in the slot.
    pub fn transport(&self) -> Transport {
        BoxCloneSyncService::new(Local(self.clone()))
    }
}

#[derive(Clone)]
struct Local(LocalSlot);

impl Service<Request<Body>> for Local {
    type Response = Response<Body>;
    type Error = TransportError;
    type Future = BoxFuture<'static, Result<Self::Response, TransportError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let router = self.0.0.get().cloned();
        Box::pin(async move {
            let Some(router) = router else {
                return Ok(tonic::Status::unavailable("the service is still starting").into_http());
            };
            // A router never fails: its error type has no values.
            let Ok(response) = router.oneshot(request.map(axum::body::Body::new)).await;
            Ok(response.map(Body::new))
        })
    }
}

/// Returns a transport to a service at `url`; it connects when first used and reconnects by itself.
///
/// # Errors
/// When `url` is not an `http://` or `https://` address.
pub fn connect(url: &str) -> Result<Transport, tonic::transport::Error> {
    let channel: Channel = Endpoint::from_shared(url.to_owned())?
        .connect_timeout(Duration::from_secs(3))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true)
        .connect_lazy();
    Ok(BoxCloneSyncService::new(channel.map_err(TransportError::from)))
}

/// Returns `transport` with a deadline and the trace context on every call, and with the service token when there is one.
pub fn outgoing(transport: Transport, service_token: Option<&Arc<str>>) -> Transport {
    let token = service_token.and_then(|token| {
        let mut value = HeaderValue::from_str(token).ok()?;
        value.set_sensitive(true);
        Some(value)
    });
    BoxCloneSyncService::new(Outgoing { inner: transport, token })
}

#[derive(Clone)]
struct Outgoing {
    inner: Transport,
    token: Option<HeaderValue>,
}

impl Service<Request<Body>> for Outgoing {
    type Response = Response<Body>;
    type Error = TransportError;
    type Future = BoxFuture<'static, Result<Self::Response, TransportError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(token) = &self.token {
            request.headers_mut().insert(SERVICE_TOKEN, token.clone());
        }
        inject_context(request.headers_mut());
        let deadline = crate::stack::grpc_timeout(request.headers()).unwrap_or(DEFAULT_DEADLINE);
        let call = self.inner.call(request);
        Box::pin(async move {
            match tokio::time::timeout(deadline, call).await {
                Ok(response) => response,
                Err(_) => Ok(tonic::Status::deadline_exceeded("the service did not answer in time").into_http()),
            }
        })
    }
}
