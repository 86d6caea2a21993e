//! Records as they come out of the stream.

use bytes::{Bytes, BytesMut};
use colloquy_storage::StoreError;

use super::frame::{Frame, Part};
use super::link::{Epoch, Link};
use crate::log::{LogError, LogRecord};

/// Reads a frame whose message may be in parts; `None` when a part is no longer there, as after an erasure.
///
/// # Errors
/// When the servers do not answer, or something is damaged.
pub(super) async fn frame(link: &Link, payload: Bytes) -> Result<Option<Frame>, LogError> {
    let mut frame = Frame::read(payload)?;
    if !frame.message_parts.is_empty() {
        let Some(message) = parts(link, &frame.message_parts).await? else { return Ok(None) };
        frame.set_message(message);
    }
    Ok(Some(frame))
}

/// Returns the raw body of a frame; `None` when it has none, or no longer.
///
/// # Errors
/// When the servers do not answer, or something is damaged.
pub(super) async fn raw_body(link: &Link, mut frame: Frame) -> Result<Option<Bytes>, LogError> {
    if !frame.body_parts.is_empty() {
        let Some(raw_body) = parts(link, &frame.body_parts).await? else { return Ok(None) };
        frame.set_raw_body(raw_body);
    }
    Ok(frame.raw_body()?)
}

async fn parts(link: &Link, numbers: &[u64]) -> Result<Option<Bytes>, LogError> {
    let mut bytes = BytesMut::new();
    for number in numbers {
        let Some(message) = link.get(*number).await? else { return Ok(None) };
        bytes.extend_from_slice(&Part::read(message.payload)?.piece);
    }
    Ok(Some(bytes.freeze()))
}

/// Returns the record of a message; `None` when it is no longer whole.
///
/// # Errors
/// When the servers do not answer. What is damaged is logged and left out: it would come again for ever.
pub(super) async fn record(link: &Link, epoch: &Epoch, in_stream: u64, payload: Bytes) -> Result<Option<LogRecord>, LogError> {
    let sequence = epoch.sequence(in_stream);
    let read = async {
        let Some(frame) = frame(link, payload).await? else { return Ok(None) };
        Ok(Some(frame.into_record(sequence)?))
    };
    match read.await {
        Err(LogError::Store(StoreError::Corrupt(damage))) => {
            tracing::error!(log.sequence = sequence, "record {sequence} cannot be read and is left out: {damage}");
            Ok(None)
        }
        read => read,
    }
}
