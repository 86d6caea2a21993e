//! The recording service's methods: decode, call, encode.

use std::sync::Arc;

use bytes::Bytes;
use colloquy_proto::conversation::v1 as pb;
use colloquy_proto::conversation::v1::recording_service_server::RecordingService;
use colloquy_proto::conversation::v1::{read_recording_response, store_object_request, upload_recording_request};
use colloquy_service::{Caller, Describe, Problem};
use colloquy_types::{OrganizationId, Scope};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use tonic::{Request, Response, Status, Streaming};

use super::error::Error;
use super::service::Recordings;
use super::{convert, media_type};

/// The longest piece a caller may send.
const MAX_CHUNK: usize = 1 << 20;

pub(crate) struct Handler {
    recordings: Arc<Recordings>,
}

impl Handler {
    pub(crate) fn new(recordings: Arc<Recordings>) -> Self {
        Self { recordings }
    }
}

#[tonic::async_trait]
impl RecordingService for Handler {
    type ReadRecordingStream = BoxStream<'static, Result<pb::ReadRecordingResponse, Status>>;

    async fn store_object(
        &self,
        request: Request<Streaming<pb::StoreObjectRequest>>,
    ) -> Result<Response<pb::StoreObjectResponse>, Status> {
        use store_object_request::Part;
        Caller::of(&request).require_service()?;
        let mut parts = request.into_inner();
        let organization: OrganizationId = match parts.message().await?.and_then(|message| message.part) {
            Some(Part::OrganizationId(name)) => {
                name.parse().map_err(|error| Problem::invalid_field("organization_id", format!("{error}")))?
            }
            _ => return Err(must_come_first("organization_id")),
        };
        let mut upload = self.recordings.objects.upload(organization);
        while let Some(message) = parts.message().await? {
            let Some(Part::Chunk(bytes)) = message.part else { return Err(only_chunks("organization_id")) };
            upload.write(checked(&bytes)?).await.map_err(Error::from)?;
        }
        let sniffed_content_type = media_type::sniff(upload.head()).unwrap_or_default().to_owned();
        let object = upload.finish().await.map_err(Error::from)?;
        Ok(Response::new(pb::StoreObjectResponse {
            object_key: object.key.to_string(),
            sha256: object.key.sha256().to_owned(),
            size_bytes: object.size,
            sniffed_content_type,
        }))
    }

    async fn upload_recording(
        &self,
        request: Request<Streaming<pb::UploadRecordingRequest>>,
    ) -> Result<Response<pb::UploadRecordingResponse>, Status> {
        use upload_recording_request::Part;
        let organization = Caller::of(&request).require(Scope::ConversationsWrite)?;
        let mut parts = request.into_inner();
        let head = match parts.message().await?.and_then(|message| message.part) {
            Some(Part::Head(head)) => convert::head(&organization, head)?,
            _ => return Err(must_come_first("head")),
        };
        let begun = self.recordings.begin(organization, head.conversation_id, head.channel, head.content_type);
        let mut incoming = begun.await?;
        while let Some(message) = parts.message().await? {
            let Some(Part::Chunk(bytes)) = message.part else { return Err(only_chunks("head")) };
            incoming.write(checked(&bytes)?).await?;
        }
        let (object, position) = self.recordings.complete(incoming).await?;
        let (sha256, size_bytes) = (object.key.sha256().to_owned(), object.size);
        Ok(Response::new(pb::UploadRecordingResponse { sha256, size_bytes, position }))
    }

    async fn read_recording(
        &self,
        request: Request<pb::ReadRecordingRequest>,
    ) -> Result<Response<Self::ReadRecordingStream>, Status> {
        use read_recording_response::Part;
        let organization = Caller::of(&request).require(Scope::AudioRead)?;
        let (id, wanted) = convert::wanted(&organization, request.into_inner())?;
        let outgoing = self.recordings.open(&organization, id, wanted).await?;
        let head = Part::Head(convert::outgoing_head(&outgoing));
        let chunks = outgoing.bytes.map(|piece| match piece {
            Ok(bytes) => Ok(Part::Chunk(bytes)),
            Err(error) => Err(Status::from(error.describe())),
        });
        let parts = stream::once(async { Ok(head) }).chain(chunks);
        Ok(Response::new(parts.map(|part| part.map(|part| pb::ReadRecordingResponse { part: Some(part) })).boxed()))
    }
}

fn checked(chunk: &Bytes) -> Result<&[u8], Problem> {
    if chunk.len() <= MAX_CHUNK {
        Ok(chunk)
    } else {
        Err(Problem::invalid_field("chunk", format!("must be at most {MAX_CHUNK} bytes; send more of them")))
    }
}

fn must_come_first(field: &str) -> Status {
    Problem::invalid_field(field, "must come first, before any bytes").into()
}

fn only_chunks(field: &str) -> Status {
    Problem::invalid_field(field, "must come once; only chunks may follow").into()
}
