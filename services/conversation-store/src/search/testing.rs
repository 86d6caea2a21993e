//! Transcripts that tests write themselves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use colloquy_proto::transcript::v1 as pb;
use colloquy_proto::transcript::v1::transcript_service_server::{TranscriptService, TranscriptServiceServer};
use colloquy_service::Problem;
use colloquy_service::transport::LocalSlot;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Transcripts;

/// Knows which word was said in which conversations.
#[derive(Clone, Default)]
pub(crate) struct Said {
    words: Arc<Mutex<BTreeMap<String, Vec<Uuid>>>>,
    /// What was asked for.
    asked: Arc<Mutex<Vec<pb::MatchConversationsRequest>>>,
    /// How many conversations are too many to list.
    too_many: usize,
}

impl Said {
    /// Returns transcripts that list fewer than `too_many` conversations.
    pub(crate) fn listing_fewer_than(too_many: usize) -> Self {
        Self { too_many, ..Self::default() }
    }

    pub(crate) fn say(&self, word: &str, conversation: Uuid) {
        self.words.lock().unwrap().entry(word.to_owned()).or_default().push(conversation);
    }

    pub(crate) fn asked(&self) -> Vec<pb::MatchConversationsRequest> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    pub(crate) fn transcripts(&self) -> Transcripts {
        let slot = LocalSlot::new();
        slot.fill(Routes::new(TranscriptServiceServer::new(self.clone())).into_axum_router());
        Transcripts::new(slot.transport())
    }
}

#[tonic::async_trait]
impl TranscriptService for Said {
    async fn batch_get_transcripts(
        &self,
        _: Request<pb::BatchGetTranscriptsRequest>,
    ) -> Result<Response<pb::BatchGetTranscriptsResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn match_conversations(
        &self,
        request: Request<pb::MatchConversationsRequest>,
    ) -> Result<Response<pb::MatchConversationsResponse>, Status> {
        let request = request.into_inner();
        self.asked.lock().unwrap().push(request.clone());
        if request.query.starts_with('-') {
            return Err(Problem::invalid_field("query", "must have a term that is not excluded").into());
        }
        if request.query == "away" {
            return Err(Status::unavailable("transcript is away"));
        }
        let among = &request.conversation_ids;
        assert!(among.len() <= 1_000, "{} are too many to ask for at once", among.len());
        let said = self.words.lock().unwrap().get(&request.query).cloned().unwrap_or_default();
        let mut found: Vec<String> = said.iter().map(Uuid::to_string).collect();
        found.retain(|id| among.is_empty() || among.contains(id));
        let truncated = among.is_empty() && found.len() >= self.too_many.min(request.limit as usize + 1);
        Ok(Response::new(pb::MatchConversationsResponse { conversation_ids: found, truncated }))
    }

    async fn get_transcript(&self, _: Request<pb::GetTranscriptRequest>) -> Result<Response<pb::GetTranscriptResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn render_transcript(
        &self,
        _: Request<pb::RenderTranscriptRequest>,
    ) -> Result<Response<pb::RenderTranscriptResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn get_figures(&self, _: Request<pb::GetFiguresRequest>) -> Result<Response<pb::GetFiguresResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn search_turns(&self, _: Request<pb::SearchTurnsRequest>) -> Result<Response<pb::SearchTurnsResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }
}
