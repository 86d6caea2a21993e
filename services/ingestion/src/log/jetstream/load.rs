//! Records as they come out of the stream.

use bytes::{Bytes, BytesMut};
use colloquy_storage::StoreError;

use super::frame::{Frame, Part};
use super::link::{Epoch, Link};
use crate::log::{LogError, LogRecord};

/// Puts a frame together that was cut into parts; `None` when a part is no longer there, as after an erasure.
///
/// # Errors
/// When the servers do not answer, or something is damaged.
pub(super) async fn whole(link: &Link, frame: Frame) -> Result<Option<Frame>, LogError> {
    if frame.parts.is_empty() {
        return Ok(Some(frame));
    }
    let mut bytes = BytesMut::new();
    for number in frame.parts {
        let Some(message) = link.get(number).await? else { return Ok(None) };
        bytes.extend_from_slice(&Part::read(message.payload)?.piece);
    }
    Ok(Some(Frame::read(bytes.freeze())?))
}

/// Returns the record of a message; `None` when it is no longer whole.
///
/// # Errors
/// When the servers do not answer. What is damaged is logged and left out: it would come again for ever.
pub(super) async fn record(link: &Link, epoch: &Epoch, in_stream: u64, payload: Bytes) -> Result<Option<LogRecord>, LogError> {
    let sequence = epoch.sequence(in_stream);
    let read = async {
        let Some(frame) = whole(link, Frame::read(payload)?).await? else { return Ok(None) };
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
