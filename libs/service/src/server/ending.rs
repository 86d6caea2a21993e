//! Ending streams that have no end of their own, when their connection is to be closed or the process stops.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use hyper::body::Incoming;
use std::convert::Infallible;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tower::Service;

use crate::methods;

/// What a connection serves.
#[derive(Clone)]
pub(super) struct OfConnection {
    router: Router,
    closing: Closing,
}

/// When the endless streams of a connection end.
#[derive(Clone)]
pub(super) struct Closing {
    /// The end of those whose services end them when the process stops, in their own way.
    attended: CancellationToken,
    /// The end of the others.
    unattended: CancellationToken,
}

impl Closing {
    /// Returns streams that end with [`Closing::now`], and with `stop` when nobody else ends them then.
    pub(super) fn new(stop: &CancellationToken) -> Self {
        Self { attended: CancellationToken::new(), unattended: stop.child_token() }
    }

    /// Ends all of them.
    pub(super) fn now(&self) {
        self.attended.cancel();
        self.unattended.cancel();
    }

    /// Returns what ends the stream that answers a call of `path`; `None` when it has an end of its own.
    fn of(&self, path: &str) -> Option<CancellationToken> {
        let token = if methods::is_unattended(path) { &self.unattended } else { &self.attended };
        methods::is_endless(path).then(|| token.clone())
    }
}

impl OfConnection {
    /// Returns `router`, whose endless streams end as `closing` says.
    pub(super) fn new(router: Router, closing: Closing) -> Self {
        Self { router, closing }
    }
}

impl Service<Request<Incoming>> for OfConnection {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Incoming>>::poll_ready(&mut self.router, cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let closing = self.closing.of(request.uri().path());
        let answer = self.router.call(request);
        Box::pin(async move {
            let response = answer.await?;
            Ok(match closing {
                Some(closing) => response.map(|body| Body::new(Ending::new(body, closing))),
                None => response,
            })
        })
    }
}

/// The body of an endless stream. When its connection is to be closed it ends between two messages, with a status that says to
/// come again; its handler then sees what it sees when a caller goes away.
struct Ending {
    body: Option<Body>,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Ending {
    fn new(body: Body, closing: CancellationToken) -> Self {
        Self { body: Some(body), closing: Box::pin(closing.cancelled_owned()) }
    }
}

impl http_body::Body for Ending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        // Each frame holds whole messages, so there is no half of one to wait for.
        if this.closing.as_mut().poll(cx).is_ready() {
            this.body = None;
            return Poll::Ready(Some(Ok(Frame::trailers(come_again()))));
        }
        Pin::new(body).poll_frame(cx)
    }
}

fn come_again() -> HeaderMap {
    HeaderMap::from_iter([
        (tonic::Status::GRPC_STATUS, HeaderValue::from_static("14")),
        (tonic::Status::GRPC_MESSAGE, HeaderValue::from_static("the connection closes; open the stream on another")),
    ])
}
