//! Recordings that come inside a delivery: taken out while the body is read, and stored as they are decoded.

use std::time::Duration;

use bytes::Bytes;
use colloquy_proto::conversation::v1 as pb;
use colloquy_proto::conversation::v1::recording_service_client::RecordingServiceClient;
use colloquy_proto::conversation::v1::store_object_request::Part;
use colloquy_providers::splice::{SpliceError, Splicer};
use colloquy_service::transport::Transport;
use colloquy_types::OrganizationId;
use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;

use super::body::Body;
use crate::error::Error;
use crate::quarantine::StoredRecording;

/// What a body may hold besides its recording.
pub(crate) const REST_LIMIT: usize = 8 << 20;
/// How many decoded pieces may wait for the object store.
const WAITING_PIECES: usize = 4;
/// How long storing a recording may take: less than a webhook's own deadline.
const STORE_TIMEOUT: Duration = Duration::from_secs(50);

/// A body whose recording was taken out.
pub(super) struct Spliced {
    /// The rest of the body.
    pub(super) rest: Bytes,
    /// The recording, when there was one.
    pub(super) recording: Option<StoredRecording>,
}

/// Why no recording could be taken out of a body.
pub(super) enum Failure {
    /// The body is not what it has to be.
    Splice(SpliceError),
    /// It could not be read or stored.
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Stores recordings.
#[derive(Clone)]
pub(crate) struct Recordings(RecordingServiceClient<Transport>);

impl Recordings {
    /// Returns a client of the recording service over `transport`, which carries the service token.
    pub(crate) fn new(transport: Transport) -> Self {
        Self(RecordingServiceClient::new(transport))
    }

    /// Takes the recording at `path` out of a body that is small enough to be read at once, and stores it.
    pub(super) async fn take_from_small(
        &self,
        organization: &OrganizationId,
        path: &'static [&'static str],
        body: &mut Body,
    ) -> Result<Spliced, Failure> {
        let mut splicer = Splicer::new(path, REST_LIMIT);
        let mut decoded = Vec::new();
        let mut broken = None;
        body.read_through(|piece| {
            broken = broken.or_else(|| splicer.feed(piece, &mut decoded).err());
            Ok(())
        })?;
        if let Some(error) = broken {
            return Err(Failure::Splice(error));
        }
        let (rest, length) = splicer.finish().map_err(Failure::Splice)?;
        let recording = match length {
            0 => None,
            _ => Some(self.store(organization, stream::iter(pieces(decoded))).await?),
        };
        Ok(Spliced { rest: Bytes::from(rest), recording })
    }

    /// Takes the recording at `path` out of a body of any size, storing it while the body is read. Returns the body too.
    pub(super) async fn take_from_large(
        &self,
        organization: &OrganizationId,
        path: &'static [&'static str],
        mut body: Body,
    ) -> Result<(Body, Result<Spliced, Failure>), Error> {
        let (sender, mut receiver) = mpsc::channel(WAITING_PIECES);
        let reading = tokio::task::spawn_blocking(move || {
            let rest = splice(path, &mut body, &sender);
            (body, rest)
        });
        let stored = match receiver.recv().await {
            None => None,
            Some(first) => {
                let decoded = stream::once(async { first }).chain(ReceiverStream::new(receiver));
                // When the body turns out to be broken, what was stored of it is named by nothing and stays unused.
                Some(self.store(organization, decoded).await)
            }
        };
        let (body, rest) = reading.await.map_err(|_| Error::Interrupted)?;
        let recording = match stored.transpose() {
            Ok(recording) => recording,
            Err(error) => return Ok((body, Err(Failure::Error(error)))),
        };
        Ok((body, rest.map(|rest| Spliced { rest: Bytes::from(rest), recording })))
    }

    async fn store(
        &self,
        organization: &OrganizationId,
        decoded: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<StoredRecording, Error> {
        let head = Part::OrganizationId(organization.to_string());
        let parts = stream::once(async { head }).chain(decoded.map(Part::Chunk));
        let mut request = Request::new(parts.map(|part| pb::StoreObjectRequest { part: Some(part) }));
        request.set_timeout(STORE_TIMEOUT);
        let stored = self.0.clone().store_object(request).await;
        let stored = stored.map_err(|status| Error::RecordingNotStored(status.to_string()))?.into_inner();
        Ok(StoredRecording {
            object_key: stored.object_key,
            sha256: stored.sha256,
            size_bytes: stored.size_bytes,
            content_type: Some(stored.sniffed_content_type).filter(|sniffed| !sniffed.is_empty()),
        })
    }
}

/// Reads the whole body, sends on what it decodes, and returns the rest. Blocks.
fn splice(path: &'static [&'static str], body: &mut Body, decoded: &mpsc::Sender<Bytes>) -> Result<Vec<u8>, Failure> {
    let mut splicer = Splicer::new(path, REST_LIMIT);
    let mut broken = None;
    let read = body.read_through(|piece| {
        let mut bytes = Vec::with_capacity(piece.len());
        if let Err(error) = splicer.feed(piece, &mut bytes) {
            broken = Some(error);
            return Err(Error::Interrupted);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        // The receiver is gone when the recording could not be stored; it says why.
        decoded.blocking_send(Bytes::from(bytes)).map_err(|_| Error::Interrupted)
    });
    if let Some(error) = broken {
        return Err(Failure::Splice(error));
    }
    read?;
    splicer.finish().map(|(rest, _)| rest).map_err(Failure::Splice)
}

/// Cuts decoded bytes into messages.
fn pieces(decoded: Vec<u8>) -> impl Iterator<Item = Bytes> + Send {
    const PIECE_BYTES: usize = 512 << 10;
    let mut left = Bytes::from(decoded);
    std::iter::from_fn(move || (!left.is_empty()).then(|| left.split_to(left.len().min(PIECE_BYTES))))
}
