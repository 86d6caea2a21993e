//! Calling a service of this process.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::Router;
use futures::future::BoxFuture;
use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

use super::Transport;

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
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let router = self.0.0.get().cloned();
        Box::pin(async move {
            let Some(router) = router else {
                return Ok(Status::unavailable("the service is still starting").into_http());
            };
            let response = router.oneshot(request.map(axum::body::Body::new)).await?;
            Ok(response.map(Body::new))
        })
    }
}
