//! The end of a call's time, also while its answer is being read.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;

/// A body that must have ended at a certain time.
pub(super) struct Expiring {
    body: Body,
    expires: Pin<Box<Sleep>>,
}

impl Expiring {
    pub(super) fn new(body: Body, expires: Instant) -> Self {
        Self { body, expires: Box::pin(tokio::time::sleep_until(expires)) }
    }
}

/// Returns what a call is answered with that took too long.
pub(super) fn exceeded() -> Status {
    Status::deadline_exceeded("the service did not answer in time")
}

impl http_body::Body for Expiring {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        self.expires.as_mut().poll(cx).map(|()| Some(Err(exceeded())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
