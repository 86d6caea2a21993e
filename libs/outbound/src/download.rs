//! A response body that cannot grow past its limits.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::stream::{BoxStream, FusedStream};
use futures::{Stream, StreamExt};
use tokio::time::{Instant, Sleep};

use crate::Error;

/// A successful answer: a stream of its body that ends with an error when it exceeds its size or its time.
///
/// A body that breaks off before its announced length ends with an error too, so a stream that ends without one is whole.
pub struct Download {
    /// The `Content-Type`, if it is readable.
    pub content_type: Option<String>,
    /// The `Content-Length`, when the server says it.
    pub content_length: Option<u64>,
    /// None once the stream has ended, which also lets go of the connection.
    body: Option<BoxStream<'static, reqwest::Result<Bytes>>>,
    deadline: Pin<Box<Sleep>>,
    remaining: u64,
    limit: u64,
}

impl Download {
    pub(crate) fn new(response: reqwest::Response, limit: u64, deadline: Instant) -> Result<Self, Error> {
        let content_length = response.content_length();
        if content_length.is_some_and(|length| length > limit) {
            return Err(Error::TooLarge { limit });
        }
        let content_type = response.headers().get(reqwest::header::CONTENT_TYPE);
        Ok(Self {
            content_type: content_type.and_then(|value| value.to_str().ok()).map(str::to_owned),
            content_length,
            body: Some(response.bytes_stream().boxed()),
            deadline: Box::pin(tokio::time::sleep_until(deadline)),
            remaining: limit,
            limit,
        })
    }

    fn take(&mut self, chunk: Bytes) -> Result<Bytes, Error> {
        let left = self.remaining.checked_sub(chunk.len() as u64);
        self.remaining = left.ok_or(Error::TooLarge { limit: self.limit })?;
        Ok(chunk)
    }
}

impl Stream for Download {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(body) = this.body.as_mut() else { return Poll::Ready(None) };
        // The deadline comes first: a server that always has one more byte must not outrun it.
        let item = if this.deadline.as_mut().poll(cx).is_ready() {
            Some(Err(Error::Timeout))
        } else {
            match body.poll_next_unpin(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(item) => item.map(|chunk| chunk.map_err(Error::from_reqwest).and_then(|chunk| this.take(chunk))),
            }
        };
        if !matches!(item, Some(Ok(_))) {
            this.body = None;
        }
        Poll::Ready(item)
    }
}

impl FusedStream for Download {
    fn is_terminated(&self) -> bool {
        self.body.is_none()
    }
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download")
            .field("content_type", &self.content_type)
            .field("content_length", &self.content_length)
            .field("remaining", &self.remaining)
            .finish_non_exhaustive()
    }
}
