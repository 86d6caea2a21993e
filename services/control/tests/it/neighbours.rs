//! The other services this one asks: sources with their credentials, and conversations.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use colloquy_proto::conversation::v1 as conversation;
use colloquy_proto::conversation::v1::conversation_service_server::ConversationService;
use colloquy_proto::ingestion::v1 as ingestion;
use colloquy_proto::ingestion::v1::source_service_server::SourceService;
use tonic::{Request, Response, Status};

/// Every source has the same key, unless it is taken away.
#[derive(Clone, Default)]
pub(crate) struct Sources {
    pub(crate) down: Arc<std::sync::atomic::AtomicBool>,
}

/// The conversations that only the conversation-store knows: by organization and id, with their status.
#[derive(Clone, Default)]
pub(crate) struct Conversations(Arc<Mutex<HashMap<(String, String), conversation::Conversation>>>);

impl Conversations {
    pub(crate) fn add(&self, conversation: conversation::Conversation) {
        let key = (conversation.organization_id.clone(), conversation.conversation_id.clone());
        self.0.lock().unwrap().insert(key, conversation);
    }
}

fn not_asked<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not asked for here"))
}

#[tonic::async_trait]
impl SourceService for Sources {
    async fn create_source(
        &self,
        _: Request<ingestion::CreateSourceRequest>,
    ) -> Result<Response<ingestion::CreateSourceResponse>, Status> {
        not_asked()
    }

    async fn get_source(
        &self,
        _: Request<ingestion::GetSourceRequest>,
    ) -> Result<Response<ingestion::GetSourceResponse>, Status> {
        not_asked()
    }

    async fn list_sources(
        &self,
        _: Request<ingestion::ListSourcesRequest>,
    ) -> Result<Response<ingestion::ListSourcesResponse>, Status> {
        not_asked()
    }

    async fn update_source(
        &self,
        _: Request<ingestion::UpdateSourceRequest>,
    ) -> Result<Response<ingestion::UpdateSourceResponse>, Status> {
        not_asked()
    }

    async fn delete_source(
        &self,
        _: Request<ingestion::DeleteSourceRequest>,
    ) -> Result<Response<ingestion::DeleteSourceResponse>, Status> {
        not_asked()
    }

    async fn get_source_credentials(
        &self,
        request: Request<ingestion::GetSourceCredentialsRequest>,
    ) -> Result<Response<ingestion::GetSourceCredentialsResponse>, Status> {
        if self.down.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(Status::unavailable("sources cannot be read"));
        }
        let request = request.into_inner();
        let api_key = format!("key of {}", request.organization_id);
        Ok(Response::new(ingestion::GetSourceCredentialsResponse { api_key: Some(api_key), base_url: None }))
    }
}

#[tonic::async_trait]
impl ConversationService for Conversations {
    async fn batch_get_conversations(
        &self,
        _: Request<conversation::BatchGetConversationsRequest>,
    ) -> Result<Response<conversation::BatchGetConversationsResponse>, Status> {
        not_asked()
    }

    async fn get_conversation(
        &self,
        request: Request<conversation::GetConversationRequest>,
    ) -> Result<Response<conversation::GetConversationResponse>, Status> {
        let request = request.into_inner();
        let found = self.0.lock().unwrap().get(&(request.organization_id, request.conversation_id)).cloned();
        let found = found.ok_or_else(|| Status::not_found("there is no such conversation"))?;
        Ok(Response::new(conversation::GetConversationResponse { conversation: Some(found) }))
    }

    async fn list_conversations(
        &self,
        _: Request<conversation::ListConversationsRequest>,
    ) -> Result<Response<conversation::ListConversationsResponse>, Status> {
        not_asked()
    }

    async fn update_conversation(
        &self,
        _: Request<conversation::UpdateConversationRequest>,
    ) -> Result<Response<conversation::UpdateConversationResponse>, Status> {
        not_asked()
    }

    async fn list_conversation_events(
        &self,
        _: Request<conversation::ListConversationEventsRequest>,
    ) -> Result<Response<conversation::ListConversationEventsResponse>, Status> {
        not_asked()
    }

    async fn give_feedback(
        &self,
        _: Request<conversation::GiveFeedbackRequest>,
    ) -> Result<Response<conversation::GiveFeedbackResponse>, Status> {
        not_asked()
    }

    async fn list_agents(
        &self,
        _: Request<conversation::ListAgentsRequest>,
    ) -> Result<Response<conversation::ListAgentsResponse>, Status> {
        not_asked()
    }

    async fn get_agent(
        &self,
        _: Request<conversation::GetAgentRequest>,
    ) -> Result<Response<conversation::GetAgentResponse>, Status> {
        not_asked()
    }
}
