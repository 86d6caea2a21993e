//! The service's methods in this process, over a database of their own and a conversation-store that is made up.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use colloquy_outbound::Policy;
use colloquy_proto::conversation::v1 as conversation_pb;
use colloquy_proto::conversation::v1::conversation_service_server::{ConversationService, ConversationServiceServer};
use colloquy_proto::notification::v1::webhook_service_client::WebhookServiceClient;
use colloquy_proto::transcript::v1 as transcript_pb;
use colloquy_proto::transcript::v1::transcript_service_server::TranscriptService;
use colloquy_service::transport::{LocalSlot, Transport};
use colloquy_service::{Caller, Identity, Problem};
use colloquy_storage::{Database, DatabaseUrl, Durability, MasterKey, PageTokens};
use colloquy_types::{KeyId, ManualClock, ScopeSet, Timestamp};
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::deliveries::Deliveries;
use crate::endpoints::Endpoints;
use crate::grpc::Handler;
use crate::kept::Kept;
use crate::reader::Dispatch;
use crate::replay::Replays;
use crate::secrets::SecretBox;
use crate::store::{self, Claimed, Store};

pub(crate) type Client = WebhookServiceClient<InterceptedService<Transport, As>>;

/// Makes calls as somebody: what the auth layer does once it knows the key.
#[derive(Clone)]
pub(crate) struct As(Caller);

impl tonic::service::Interceptor for As {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.extensions_mut().insert(self.0.clone());
        Ok(request)
    }
}

/// How often somebody was told to look for what is due.
#[derive(Default)]
pub(crate) struct Looked(pub(crate) AtomicU64);

impl Dispatch for Looked {
    fn room(&self, _: Uuid) -> usize {
        0
    }

    fn fresh(&self, _: Vec<Claimed>, _: Kept) {}

    fn due(&self, _: &HashSet<Uuid>) {}

    fn look(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The service, and what tests look at.
pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: ManualClock,
    pub(crate) secrets: SecretBox,
    pub(crate) replays: Replays,
    pub(crate) conversations: Arc<Conversations>,
    pub(crate) looked: Arc<Looked>,
    slot: LocalSlot,
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with_smtp(false).await
    }

    pub(crate) async fn with_smtp(has_smtp: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::SqliteFolder(folder.path().to_owned());
        let database = Database::open(&url, crate::NAME, Durability::Full, &store::migrations()).await.unwrap();
        let store = store::open(&database);
        let clock = ManualClock::at(Timestamp::from_millis(1_780_000_000_000).unwrap());
        let secrets = SecretBox::new(&MasterKey::new([7; 32]));
        // Receivers of tests are in a documentation network, which needs no name to be resolved.
        let policy: Policy = "198.51.100.0/24".parse().unwrap();
        let endpoints = Endpoints::new(store.clone(), secrets.clone(), policy, has_smtp, Arc::new(clock.clone()));
        let conversations = Arc::new(Conversations::default());
        let views = LocalSlot::new();
        views.fill(Routes::new(ConversationServiceServer::from_arc(conversations.clone())).into_axum_router());
        let replays = Replays::new(store.clone(), endpoints.clone(), views.transport(), Arc::new(clock.clone()));
        let looked = Arc::new(Looked::default());
        let handler = Handler {
            deliveries: Deliveries::new(store.clone(), endpoints.clone(), looked.clone(), Arc::new(clock.clone())),
            endpoints,
            replays: replays.clone(),
            page_tokens: PageTokens::new(b"master"),
            clock: Arc::new(clock.clone()),
        };
        let slot = LocalSlot::new();
        slot.fill(Routes::new(handler.into_server()).into_axum_router());
        Self { store, clock, secrets, replays, conversations, looked, slot, _folder: folder }
    }

    pub(crate) fn client(&self, organization: &str, scopes: &str) -> Client {
        let scopes: ScopeSet = scopes.parse().unwrap();
        let organization_id = organization.parse().unwrap();
        self.client_of(Caller::Key(Arc::new(Identity { key_id: KeyId::generate(), organization_id, scopes })))
    }

    pub(crate) fn client_of(&self, caller: Caller) -> Client {
        WebhookServiceClient::with_interceptor(self.slot.transport(), As(caller))
    }
}

/// Polls until `look` finds something; a test that waits in vain fails.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(look: impl Fn() -> F) -> T {
    for _ in 0..600 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("waited in vain");
}

/// Conversations with their histories, made up; lists are in their order, and tokens are offsets into it.
#[derive(Default)]
pub(crate) struct Conversations {
    pub(crate) all: Mutex<Vec<(conversation_pb::Conversation, Vec<conversation_pb::ConversationEvent>)>>,
    /// Every list that was asked for.
    pub(crate) asked: Mutex<Vec<conversation_pb::ListConversationsRequest>>,
    /// A token that is refused as too old, once.
    pub(crate) stale: Mutex<Option<String>>,
    /// How far the log was read.
    pub(crate) position: AtomicU64,
    /// The one agent there is.
    pub(crate) agent: Mutex<Option<conversation_pb::Agent>>,
    /// How often it was asked for.
    pub(crate) agents_asked: AtomicU64,
}

impl Conversations {
    fn page(
        &self,
        request: &conversation_pb::ListConversationsRequest,
    ) -> Result<conversation_pb::ListConversationsResponse, Status> {
        let mut stale = self.stale.lock().unwrap();
        if stale.as_deref().is_some_and(|token| token == request.page_token) {
            *stale = None;
            return Err(Status::invalid_argument("page_token: is older than 30 minutes; begin again without it"));
        }
        let filter = request.filter.clone().unwrap_or_default();
        if filter.provider.as_deref() == Some("nobody") {
            return Err(Status::invalid_argument("provider: must be one of elevenlabs, retell"));
        }
        let since = filter.created_from.map_or(i64::MIN, |at| at.seconds);
        let all = self.all.lock().unwrap();
        let found: Vec<_> = all.iter().filter(|(one, _)| one.created_at.unwrap().seconds >= since).collect();
        let from: usize = request.page_token.parse().unwrap_or_default();
        let until = found.len().min(from + request.page_size as usize);
        Ok(conversation_pb::ListConversationsResponse {
            conversations: found[from..until].iter().map(|(one, _)| one.clone()).collect(),
            next_page_token: if until < found.len() { until.to_string() } else { String::new() },
            total_size: None,
        })
    }
}

fn not_here<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not in these tests"))
}

#[tonic::async_trait]
impl ConversationService for Conversations {
    async fn batch_get_conversations(
        &self,
        _: Request<conversation_pb::BatchGetConversationsRequest>,
    ) -> Result<Response<conversation_pb::BatchGetConversationsResponse>, Status> {
        not_here()
    }

    async fn list_conversations(
        &self,
        request: Request<conversation_pb::ListConversationsRequest>,
    ) -> Result<Response<conversation_pb::ListConversationsResponse>, Status> {
        let request = request.into_inner();
        let page = self.page(&request);
        self.asked.lock().unwrap().push(request);
        page.map(Response::new)
    }

    async fn list_conversation_events(
        &self,
        request: Request<conversation_pb::ListConversationEventsRequest>,
    ) -> Result<Response<conversation_pb::ListConversationEventsResponse>, Status> {
        let request = request.into_inner();
        let all = self.all.lock().unwrap();
        let found = all
            .iter()
            .find(|(one, _)| one.conversation_id == request.conversation_id && one.organization_id == request.organization_id);
        let (_, events) = found.ok_or_else(|| Status::not_found("conversation does not exist"))?;
        Ok(Response::new(conversation_pb::ListConversationEventsResponse { events: events.clone() }))
    }

    async fn get_conversation(
        &self,
        request: Request<conversation_pb::GetConversationRequest>,
    ) -> Result<Response<conversation_pb::GetConversationResponse>, Status> {
        let request = request.into_inner();
        if request.min_position > self.position.load(Ordering::SeqCst) {
            return Err(Problem::unavailable("POSITION_NOT_REACHED", "not yet", Duration::from_secs(3)).into());
        }
        let all = self.all.lock().unwrap();
        let found = all
            .iter()
            .find(|(one, _)| one.conversation_id == request.conversation_id && one.organization_id == request.organization_id);
        let (conversation, _) = found.ok_or_else(|| Status::not_found("conversation does not exist"))?;
        Ok(Response::new(conversation_pb::GetConversationResponse { conversation: Some(conversation.clone()) }))
    }

    async fn update_conversation(
        &self,
        _: Request<conversation_pb::UpdateConversationRequest>,
    ) -> Result<Response<conversation_pb::UpdateConversationResponse>, Status> {
        not_here()
    }

    async fn give_feedback(
        &self,
        _: Request<conversation_pb::GiveFeedbackRequest>,
    ) -> Result<Response<conversation_pb::GiveFeedbackResponse>, Status> {
        not_here()
    }

    async fn list_agents(
        &self,
        _: Request<conversation_pb::ListAgentsRequest>,
    ) -> Result<Response<conversation_pb::ListAgentsResponse>, Status> {
        not_here()
    }

    async fn get_agent(
        &self,
        request: Request<conversation_pb::GetAgentRequest>,
    ) -> Result<Response<conversation_pb::GetAgentResponse>, Status> {
        self.agents_asked.fetch_add(1, Ordering::SeqCst);
        let agent = self.agent.lock().unwrap().clone().filter(|agent| agent.agent_id == request.get_ref().agent_id);
        let agent = Some(agent.ok_or_else(|| Status::not_found("agent does not exist"))?);
        Ok(Response::new(conversation_pb::GetAgentResponse { agent }))
    }
}

/// The turns of every conversation, made up.
#[derive(Default)]
pub(crate) struct Transcripts {
    /// What is answered.
    pub(crate) answer: Mutex<Option<Result<Vec<transcript_pb::Turn>, Status>>>,
    /// Every transcript that was asked for.
    pub(crate) asked: Mutex<Vec<transcript_pb::GetTranscriptRequest>>,
}

#[tonic::async_trait]
impl TranscriptService for Transcripts {
    async fn batch_get_transcripts(
        &self,
        _: Request<transcript_pb::BatchGetTranscriptsRequest>,
    ) -> Result<Response<transcript_pb::BatchGetTranscriptsResponse>, Status> {
        not_here()
    }

    async fn get_transcript(
        &self,
        request: Request<transcript_pb::GetTranscriptRequest>,
    ) -> Result<Response<transcript_pb::GetTranscriptResponse>, Status> {
        self.asked.lock().unwrap().push(request.into_inner());
        let turns = self.answer.lock().unwrap().clone().unwrap_or_else(|| Ok(Vec::new()))?;
        Ok(Response::new(transcript_pb::GetTranscriptResponse { turns, ..Default::default() }))
    }

    async fn render_transcript(
        &self,
        _: Request<transcript_pb::RenderTranscriptRequest>,
    ) -> Result<Response<transcript_pb::RenderTranscriptResponse>, Status> {
        not_here()
    }

    async fn get_figures(
        &self,
        _: Request<transcript_pb::GetFiguresRequest>,
    ) -> Result<Response<transcript_pb::GetFiguresResponse>, Status> {
        not_here()
    }

    async fn search_turns(
        &self,
        _: Request<transcript_pb::SearchTurnsRequest>,
    ) -> Result<Response<transcript_pb::SearchTurnsResponse>, Status> {
        not_here()
    }

    async fn match_conversations(
        &self,
        _: Request<transcript_pb::MatchConversationsRequest>,
    ) -> Result<Response<transcript_pb::MatchConversationsResponse>, Status> {
        not_here()
    }
}
