//! Bodies that are passed on while they arrive, never held.
//!
//! The handler itself moves the pieces, side by side with the call. A body that breaks off must not be taken for the whole: its
//! stream never ends, and the call is dropped. When the service answers early, the rest is read and thrown away for a while, since
//! a sender that is still writing would otherwise see a reset connection instead of the answer.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use futures::future::BoxFuture;
use futures::{Stream, StreamExt};
use http::HeaderMap;
use tokio::sync::mpsc;
use tonic::Response;

use crate::body::{content_length, waits_for_permission};
use crate::problem::Refusal;

/// The greatest piece that is passed on at once.
const MAX_CHUNK_BYTES: usize = 256 << 10;
/// So many pieces wait for the service at most.
const PIECES_IN_FLIGHT: usize = 4;
/// How much of a refused body is thrown away before the connection is.
const MAX_DISCARDED_BYTES: usize = 256 << 20;
/// And for how long.
const MAX_DISCARDING: Duration = Duration::from_secs(20);

/// What a body may be.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Its size at most; `u64::MAX` leaves it to the service.
    pub(crate) max_bytes: u64,
    /// How long it may stand still.
    pub(crate) idle: Duration,
    /// How long it may take as a whole.
    pub(crate) total: Duration,
}

/// How the moving of a body ended.
enum Moved {
    /// All of it was passed on.
    All,
    /// The service wanted no more of it.
    Unwanted,
    /// It is not to be passed on.
    Refused(Refusal),
}

/// Passes `body` on to `call`, after `head`, each piece made a message by `wrap`.
///
/// # Errors
/// What the service answers, 413, 408, or 400 when the body broke off.
pub(crate) async fn pass_on<M, R>(
    headers: &HeaderMap,
    body: Body,
    limits: Limits,
    head: M,
    wrap: fn(Bytes) -> M,
    call: impl FnOnce(Messages<M>) -> BoxFuture<'static, Result<Response<R>, Refusal>>,
) -> Result<Response<R>, Refusal>
where
    M: Send + 'static,
{
    let mut body = body.into_data_stream();
    let may_discard = !waits_for_permission(headers);
    if content_length(headers).is_some_and(|length| length > limits.max_bytes) {
        discard_if(may_discard, &mut body).await;
        return Err(Refusal::too_large(limits.max_bytes));
    }
    let (pieces, receiver) = mpsc::channel(PIECES_IN_FLIGHT);
    let mut call = call(Messages(receiver));
    let work = async {
        let early = {
            let mut moving = pin!(move_pieces(&mut body, pieces, head, wrap, limits));
            tokio::select! {
                biased;
                answer = &mut call => Some(answer),
                moved = &mut moving => match moved {
                    Moved::All => return (&mut call).await,
                    Moved::Unwanted => None,
                    Moved::Refused(refusal) => return Err(refusal),
                },
            }
        };
        let answer = match early {
            Some(answer) => answer,
            None => (&mut call).await,
        };
        discard_if(may_discard, &mut body).await;
        answer
    };
    match tokio::time::timeout(limits.total, work).await {
        Ok(Err(refusal)) if refusal.status() == http::StatusCode::PAYLOAD_TOO_LARGE => {
            discard_if(may_discard, &mut body).await;
            Err(refusal)
        }
        Ok(answer) => answer,
        Err(_) => Err(Refusal::body_too_slow()),
    }
}

/// The messages of a body. Only the mark at its end ends them: without it the sender broke off.
pub(crate) struct Messages<M>(mpsc::Receiver<Option<M>>);

impl<M> Stream for Messages<M> {
    type Item = M;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<M>> {
        match self.0.poll_recv(cx) {
            Poll::Ready(Some(piece)) => Poll::Ready(piece),
            // Not an end: whoever waits for one is dropped with the call.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

async fn move_pieces<M>(
    body: &mut BodyDataStream,
    pieces: mpsc::Sender<Option<M>>,
    head: M,
    wrap: fn(Bytes) -> M,
    limits: Limits,
) -> Moved {
    if pieces.send(Some(head)).await.is_err() {
        return Moved::Unwanted;
    }
    let mut left = limits.max_bytes;
    loop {
        let mut bytes = match tokio::time::timeout(limits.idle, body.next()).await {
            Ok(Some(Ok(bytes))) => bytes,
            Ok(Some(Err(_))) => return Moved::Refused(Refusal::body_broke_off()),
            Ok(None) => return if pieces.send(None).await.is_ok() { Moved::All } else { Moved::Unwanted },
            Err(_) => return Moved::Refused(Refusal::body_too_slow()),
        };
        match left.checked_sub(bytes.len() as u64) {
            Some(rest) => left = rest,
            None => return Moved::Refused(Refusal::too_large(limits.max_bytes)),
        }
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(MAX_CHUNK_BYTES));
            if pieces.send(Some(wrap(piece))).await.is_err() {
                return Moved::Unwanted;
            }
        }
    }
}

async fn discard_if(may_discard: bool, body: &mut BodyDataStream) {
    if may_discard {
        discard(body).await;
    }
}

/// Reads a body that is refused and throws it away, unless its sender waits to be told to send it.
pub(crate) async fn discard_unless_held_back(headers: &HeaderMap, body: Body) {
    discard_if(!waits_for_permission(headers), &mut body.into_data_stream()).await;
}

/// Reads the rest of a body and throws it away, within bounds.
async fn discard(body: &mut BodyDataStream) {
    let reading = async {
        let mut left = MAX_DISCARDED_BYTES;
        while let Some(Ok(bytes)) = body.next().await {
            left = left.saturating_sub(bytes.len());
            if left == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(MAX_DISCARDING, reading).await;
}
