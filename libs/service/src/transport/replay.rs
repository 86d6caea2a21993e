//! Requests that can be sent again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::stream;
use http_body::Frame;
use http_body_util::{BodyExt, BodyStream, StreamBody};
use tonic::Status;
use tonic::body::Body;

/// Requests longer than this are sent as they come and never again: keeping them would cost more than a retry is worth.
pub(super) const MOST_BYTES: usize = 1 << 20;

/// What became of a request's body.
pub(super) enum Kept {
    /// All of it is here.
    Whole(Bytes),
    /// It is too long to be kept.
    TooLong(Body),
}

/// Reads a body of one message into memory, unless it is too long.
///
/// # Errors
/// When the message cannot be encoded.
pub(super) async fn keep(mut body: Body) -> Result<Kept, Status> {
    let mut parts: VecDeque<Bytes> = VecDeque::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        length += data.len();
        parts.push_back(data);
        if length > MOST_BYTES {
            let begun = stream::iter(parts.into_iter().map(|part| Ok(Frame::data(part))));
            return Ok(Kept::TooLong(Body::new(StreamBody::new(futures::StreamExt::chain(begun, BodyStream::new(body))))));
        }
    }
    if let [only] = parts.make_contiguous() {
        return Ok(Kept::Whole(std::mem::take(only)));
    }
    let mut whole = BytesMut::with_capacity(length);
    parts.iter().for_each(|part| whole.extend_from_slice(part));
    Ok(Kept::Whole(whole.freeze()))
}

/// A body that was kept. Unlike `Full` it tells nobody its length: gRPC requests carry no `content-length`.
pub(super) struct Whole(Option<Bytes>);

impl Whole {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self((!bytes.is_empty()).then_some(bytes))
    }
}

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;

    use super::*;

    fn in_parts(lengths: &[usize]) -> Body {
        let frames: Vec<Result<Frame<Bytes>, Status>> =
            lengths.iter().map(|length| Ok(Frame::data(Bytes::from(vec![7; *length])))).collect();
        Body::new(StreamBody::new(stream::iter(frames)))
    }

    #[tokio::test]
    async fn a_short_body_is_kept_whole() {
        for parts in [&[][..], &[3], &[3, 4, 5]] {
            let Ok(Kept::Whole(bytes)) = keep(in_parts(parts)).await else { panic!("{parts:?} was not kept") };
            assert_eq!(bytes.len(), parts.iter().sum::<usize>());
            assert_eq!(Whole::new(bytes.clone()).is_end_stream(), bytes.is_empty());
        }
    }

    #[tokio::test]
    async fn a_long_body_passes_without_a_byte_missing() {
        let Ok(Kept::TooLong(body)) = keep(in_parts(&[MOST_BYTES, 1, 5_000])).await else { panic!("it was kept") };
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), MOST_BYTES + 5_001);
    }

    #[tokio::test]
    async fn a_body_that_fails_is_told_with_its_own_status() {
        let frames = [Ok(Frame::data(Bytes::from_static(b"x"))), Err(Status::out_of_range("too long"))];
        let failed = keep(Body::new(StreamBody::new(stream::iter(frames)))).await.err().unwrap();
        assert_eq!(failed.code(), tonic::Code::OutOfRange);
    }
}
