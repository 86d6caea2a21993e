//! Calling a service that runs elsewhere, on whichever of its connections has the least to do.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use super::failure::{self, CameFrom};
use super::pool::{Busy, Pool};

/// How long a call waits for a connection that is still being made. When all that can be reached are known not to answer, it
/// does not wait at all.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many connections may turn out to have closed under one call, before anything was sent on them.
const MOST_CONNECTIONS: usize = 8;

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("colloquy/", env!("CARGO_PKG_VERSION")));

/// In a request: an address that has just failed, and is taken only when there is no other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avoid(pub(super) SocketAddr);

#[derive(Clone)]
pub(super) struct Balanced {
    pool: Arc<Pool>,
}

impl Balanced {
    pub(super) fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }
}

impl Service<Request<Body>> for Balanced {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let pool = self.pool.clone();
        pool.start();
        Box::pin(async move { Ok(send(&pool, request).await) })
    }
}

async fn send(pool: &Pool, mut request: Request<Body>) -> Response<Body> {
    let avoid = request.extensions_mut().remove().map(|Avoid(address)| address);
    let until = Instant::now() + PATIENCE;
    request.headers_mut().insert(header::USER_AGENT, USER_AGENT);
    for _ in 0..MOST_CONNECTIONS {
        let connection = match pool.connection(avoid, until).await {
            Ok(connection) => connection,
            Err(reason) => return failure::unreachable(&reason),
        };
        *request.uri_mut() = address_to(&connection, request.uri());
        let address = connection.address();
        let mut sender = connection.sender();
        match sender.try_send_request(request).await {
            Ok(response) => {
                connection.answered();
                if failure::is_unavailable(&response) {
                    connection.refused();
                }
                let mut response = response.map(|body| Body::new(Answer { body, address, _busy: connection }));
                response.extensions_mut().insert(CameFrom(address));
                return response;
            }
            Err(mut error) => match error.take_message() {
                // It closed, gently or not, before the request was sent: nobody has seen it.
                Some(unsent) => {
                    connection.lost();
                    request = unsent;
                }
                None => {
                    if sender.is_closed() {
                        connection.lost();
                    }
                    return failure::broken(error.error(), address);
                }
            },
        }
    }
    failure::unreachable("every connection closed at once")
}

/// Returns the path of `uri` at the connection's origin, as HTTP/2 needs it.
fn address_to(connection: &Busy, uri: &Uri) -> Uri {
    let (scheme, authority) = connection.origin();
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme.clone());
    parts.authority = Some(authority.clone());
    parts.path_and_query = Some(uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
    // All three parts are there and each is valid by its type; the old one would be refused by the connection.
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

/// The body of an answer. The connection counts as busy until it has been read.
struct Answer {
    body: Incoming,
    address: SocketAddr,
    _busy: Busy,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let address = self.address;
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        frame.map(|frame| frame.map(|frame| frame.map_err(|error| failure::during(&error, address))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
