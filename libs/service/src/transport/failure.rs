//! What became of a call whose connection failed, told as a status.
//!
//! Everything that a connection can do to a call is `UNAVAILABLE`, since a later call may well work. Left to itself the library
//! says `UNKNOWN` or `INTERNAL`, which would blame the service for its network.

use std::error::Error;
use std::net::SocketAddr;

use http::{Response, StatusCode};
use tonic::body::Body;
use tonic::{Code, Status};

/// Marks a response to a call that no service has begun to work on: it may be made again, whatever it does.
#[derive(Debug, Clone, Copy)]
pub(super) struct NotProcessed;

/// Tells which address a response, or a failure, came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct CameFrom(pub(super) SocketAddr);

/// Returns the answer to a call for which there is no connection.
pub(super) fn unreachable(reason: &str) -> Response<Body> {
    let mut response: Response<Body> = Status::unavailable(reason).into_http();
    response.extensions_mut().insert(NotProcessed);
    response
}

/// Returns the answer to a call whose connection, or whose stream, broke before it was answered.
pub(super) fn broken(error: &hyper::Error, address: SocketAddr) -> Response<Body> {
    let in_http2 = http2_error(error);
    let by_ourselves =
        error.is_user() || in_http2.is_some_and(|error| error.is_reset() && !error.is_remote() && !error.is_library());
    if by_ourselves {
        return Status::internal(format!("the request could not be sent: {}", chain(error))).into_http();
    }
    let mut response: Response<Body> = during(error, address).into_http();
    // A service that goes away names the last stream it takes, and one that refuses a stream has not looked at it.
    let refused = in_http2
        .is_some_and(|error| error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM)));
    if refused {
        response.extensions_mut().insert(NotProcessed);
    }
    response.extensions_mut().insert(CameFrom(address));
    response
}

/// Returns what an answer ends with whose connection broke in the middle.
pub(super) fn during(error: &hyper::Error, address: SocketAddr) -> Status {
    Status::unavailable(format!("the connection to {address} broke: {}", chain(error)))
}

/// Returns whether an answer says, before anything else, that the service is not available.
pub(super) fn is_unavailable<B>(response: &Response<B>) -> bool {
    match response.headers().get("grpc-status") {
        Some(code) => Code::from_bytes(code.as_bytes()) == Code::Unavailable,
        // What proxies say, who do not speak gRPC.
        None => {
            matches!(response.status(), StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
        }
    }
}

fn http2_error(error: &hyper::Error) -> Option<&h2::Error> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        source = cause.source();
    }
    None
}

/// Returns an error with its causes, in one line.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
