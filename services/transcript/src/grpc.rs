//! `colloquy.transcript.v1.TranscriptService`.

use colloquy_proto::transcript::v1 as pb;
use colloquy_proto::transcript::v1::transcript_service_server::{TranscriptService, TranscriptServiceServer};
use colloquy_service::transport::MAX_MESSAGE_BYTES;
use colloquy_service::{Caller, Describe, FieldErrors};
use colloquy_types::Scope;
use prost::Message;
use tonic::{Request, Response, Status};

use crate::convert::{Get, Render, figures_to_pb, transcript_to_pb};
use crate::error::Error;
use crate::fold::Transcript;
use crate::render::render;
use crate::search::Search;
use crate::transcripts::{Together, Transcripts};

/// How many bytes of turns, as they are kept, one answer to a batch holds: the wire's form is longer, and fits all the same.
const BATCH_BYTES: usize = 4 << 20;

/// The methods.
pub struct Handler {
    transcripts: Transcripts,
    search: Search,
}

impl Handler {
    /// Returns the server over `transcripts`, and the `search` in them.
    pub fn server(transcripts: Transcripts, search: Search) -> TranscriptServiceServer<Self> {
        TranscriptServiceServer::new(Self { transcripts, search }).max_encoding_message_size(MAX_MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl TranscriptService for Handler {
    async fn get_transcript(
        &self,
        request: Request<pb::GetTranscriptRequest>,
    ) -> Result<Response<pb::GetTranscriptResponse>, Status> {
        let caller = Caller::of(&request);
        let request = request.into_inner();
        let organization_id = caller.acting_for(&request.organization_id, Scope::TranscriptsRead)?;
        let Get { conversation, min_position } = request.try_into()?;
        let id = conversation.id(&organization_id);
        let answer = self
            .transcripts
            .read(&organization_id, id, min_position, move |transcript| fitting(transcript_to_pb(id, transcript)))
            .await;
        answer.map(Response::new).map_err(|error| error.describe().into())
    }

    async fn batch_get_transcripts(
        &self,
        request: Request<pb::BatchGetTranscriptsRequest>,
    ) -> Result<Response<pb::BatchGetTranscriptsResponse>, Status> {
        let caller = Caller::of(&request);
        let request = request.into_inner();
        let organization_id = caller.acting_for(&request.organization_id, Scope::TranscriptsRead)?;
        let mut fields = FieldErrors::new();
        let ids = fields.conversations("conversation_ids", &request.conversation_ids, &organization_id);
        fields.finish()?;
        let min_position = request.min_position;
        let read = self.transcripts.read_together(&organization_id, &ids, min_position, BATCH_BYTES, transcript_to_pb).await;
        let Together { made: transcripts, left_out } = read.map_err(|error| Status::from(error.describe()))?;
        let left_out_ids = left_out.iter().map(ToString::to_string).collect();
        Ok(Response::new(pb::BatchGetTranscriptsResponse { transcripts, left_out_ids }))
    }

    async fn render_transcript(
        &self,
        request: Request<pb::RenderTranscriptRequest>,
    ) -> Result<Response<pb::RenderTranscriptResponse>, Status> {
        let organization_id = Caller::of(&request).require(Scope::TranscriptsRead)?;
        let Render { conversation, format, language, min_position } = request.into_inner().try_into()?;
        let make = move |transcript| {
            let rendered = render(transcript, format, &language)?;
            let content_type = format.content_type().to_owned();
            fitting(pb::RenderTranscriptResponse { content: rendered.content, content_type, language: rendered.language })
        };
        let answer = self.transcripts.read(&organization_id, conversation.id(&organization_id), min_position, make).await;
        answer.map(Response::new).map_err(|error| error.describe().into())
    }

    async fn get_figures(&self, request: Request<pb::GetFiguresRequest>) -> Result<Response<pb::GetFiguresResponse>, Status> {
        let organization_id = Caller::of(&request).require(Scope::ConversationsRead)?;
        let Get { conversation, min_position } = request.into_inner().try_into()?;
        let id = conversation.id(&organization_id);
        let make = move |transcript: Transcript| Ok(figures_to_pb(id, &transcript.turns));
        let answer = self.transcripts.read(&organization_id, id, min_position, make).await;
        answer.map(Response::new).map_err(|error| error.describe().into())
    }

    async fn search_turns(&self, request: Request<pb::SearchTurnsRequest>) -> Result<Response<pb::SearchTurnsResponse>, Status> {
        let caller = Caller::of(&request);
        let request = request.into_inner();
        let organization_id = caller.acting_for(&request.organization_id, Scope::TranscriptsRead)?;
        let page = self.search.turns(&organization_id, request.try_into()?).await;
        page.map(|page| Response::new(page.into())).map_err(|error| error.describe().into())
    }

    async fn match_conversations(
        &self,
        request: Request<pb::MatchConversationsRequest>,
    ) -> Result<Response<pb::MatchConversationsResponse>, Status> {
        let caller = Caller::of(&request);
        let request = request.into_inner();
        let organization_id = caller.acting_for(&request.organization_id, Scope::TranscriptsRead)?;
        let found = self.search.conversations(&organization_id, &request.try_into()?).await;
        found.map(|found| Response::new(found.into())).map_err(|error| error.describe().into())
    }
}

/// Returns the message if it fits into an answer: the caller is told so, rather than sent bytes its client refuses.
fn fitting<M: Message>(message: M) -> Result<M, Error> {
    if message.encoded_len() <= MAX_MESSAGE_BYTES { Ok(message) } else { Err(Error::TooLong) }
}
