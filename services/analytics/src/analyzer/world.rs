//! The module in this process, with a database of its own, a model behind HTTP, and conversations that are made up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use colloquy_events::convert::timestamp_to_pb;
use colloquy_proto::analytics::v1::analyzer_service_client::AnalyzerServiceClient;
use colloquy_proto::conversation::v1 as conversation_pb;
use colloquy_proto::conversation::v1::conversation_service_server::{ConversationService, ConversationServiceServer};
use colloquy_proto::transcript::v1 as transcript_pb;
use colloquy_proto::transcript::v1::transcript_service_server::{TranscriptService, TranscriptServiceServer};
use colloquy_service::transport::{LocalSlot, Transport};
use colloquy_service::{Caller, Identity};
use colloquy_storage::PageTokens;
use colloquy_types::{ConversationId, KeyId, ManualClock, TurnId};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Response, Status};

use super::fake::Fake;
use super::model::{Model, OpenAi, Patience};
use super::store::{self, Store};
use super::{Built, Listener, Pace, Parts, build, samples};
use crate::input::Input;
use crate::testing::Fixture;

pub(super) type Client = AnalyzerServiceClient<InterceptedService<Transport, As>>;

/// Makes calls as somebody: what the auth layer does once it knows the key.
#[derive(Clone)]
pub(super) struct As(Caller);

impl tonic::service::Interceptor for As {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.extensions_mut().insert(self.0.clone());
        Ok(request)
    }
}

/// What several replicas share.
pub(super) struct World {
    pub(super) fake: Fake,
    pub(super) fixture: Fixture,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: ManualClock,
    pub(super) said: Arc<Said>,
}

/// One replica.
pub(super) struct Replica {
    pub(super) listener: Arc<Listener>,
    slot: LocalSlot,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl World {
    pub(super) async fn start() -> Self {
        Self::over(Fixture::sqlite().await.unwrap()).await
    }

    pub(super) async fn over(fixture: Fixture) -> Self {
        let store = store::open(&fixture.database);
        let clock = ManualClock::at(samples::at(0));
        Self { fake: Fake::start().await, fixture, store, clock, said: Arc::default() }
    }

    pub(super) fn replica(&self) -> Replica {
        self.replica_with(Some(1_000_000), Duration::from_secs(55))
    }

    /// Starts a replica whose model has so many tokens a day, if it has one.
    pub(super) fn replica_with(&self, tokens_per_day: Option<u64>, patience: Duration) -> Replica {
        let hasty = Patience { first_wait: Duration::from_millis(1), timeout: Duration::from_secs(20), ..Patience::default() };
        let model = tokens_per_day.map(|tokens| {
            let model: Arc<dyn Model> = Arc::new(OpenAi::new(&self.fake.settings(), hasty).unwrap());
            (model, tokens)
        });
        let views = LocalSlot::new();
        let routes = Routes::new(ConversationServiceServer::from_arc(self.said.clone()))
            .add_service(TranscriptServiceServer::from_arc(self.said.clone()));
        views.fill(routes.into_axum_router());
        let stop = CancellationToken::new();
        let Built { handler, listener, tasks } = build(Parts {
            store: self.store.clone(),
            figures: self.fixture.store.clone(),
            model,
            conversations: views.transport(),
            transcripts: views.transport(),
            wake_figures: Arc::new(Notify::new()),
            page_tokens: PageTokens::new(b"master"),
            clock: Arc::new(self.clock.clone()),
            pace: Pace { look_every: Duration::from_millis(10), settle: Duration::ZERO, patience, ..Pace::default() },
            stop: stop.clone(),
        });
        let slot = LocalSlot::new();
        slot.fill(Routes::new(handler.into_server()).into_axum_router());
        let tasks = tasks.into_iter().map(|task| tokio::spawn(async move { task.work.await.unwrap() })).collect();
        Replica { listener, slot, stop, tasks }
    }
}

impl Replica {
    pub(super) fn client(&self, scopes: &str) -> Client {
        let identity = Identity {
            key_id: KeyId::generate(),
            organization_id: samples::organization("acme"),
            scopes: scopes.parse().unwrap(),
        };
        AnalyzerServiceClient::with_interceptor(self.slot.transport(), As(Caller::Key(Arc::new(identity))))
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

/// Polls until `look` finds something; a test that waits in vain fails.
pub(super) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> F) -> T {
    for _ in 0..1_500 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited in vain: {what}");
}

/// Conversations of one organization, as the other services would have them, by number: whether it is over, and what was said.
#[derive(Default)]
pub(super) struct Said(Mutex<BTreeMap<u128, (bool, Vec<String>)>>);

impl Said {
    /// Has something said in a conversation that is over.
    pub(super) fn say(&self, number: u128, texts: &[&str]) -> Input {
        self.0.lock().unwrap().insert(number, (true, texts.iter().map(|&text| text.to_owned()).collect()));
        samples::input("acme", number, texts)
    }

    /// Lets a conversation go on.
    pub(super) fn go_on(&self, number: u128) {
        self.0.lock().unwrap().entry(number).or_default().0 = false;
    }

    fn record(number: u128, is_over: bool) -> conversation_pb::Conversation {
        let status = match is_over {
            true => conversation_pb::ConversationStatus::Completed,
            false => conversation_pb::ConversationStatus::InProgress,
        };
        conversation_pb::Conversation {
            conversation_id: samples::conversation(number).to_string(),
            organization_id: "acme".to_owned(),
            provider: "native".to_owned(),
            external_id: samples::conversation(number).to_string(),
            agent_id: Some("agent".to_owned()),
            status: status.into(),
            created_at: Some(timestamp_to_pb(samples::at(0))),
            started_at: Some(timestamp_to_pb(samples::at(0))),
            ..Default::default()
        }
    }

    fn find(&self, conversation: &str, organization: &str) -> Result<(u128, (bool, Vec<String>)), Status> {
        let id: ConversationId = conversation.parse().map_err(|_| Status::invalid_argument("conversation_id"))?;
        let all = self.0.lock().unwrap();
        let found = all.get(&id.0.as_u128()).filter(|_| organization == "acme").cloned();
        found.map(|found| (id.0.as_u128(), found)).ok_or_else(|| Status::not_found("there is no such conversation"))
    }
}

fn not_here<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not in these tests"))
}

#[tonic::async_trait]
impl ConversationService for Said {
    async fn get_conversation(
        &self,
        request: Request<conversation_pb::GetConversationRequest>,
    ) -> Result<Response<conversation_pb::GetConversationResponse>, Status> {
        let request = request.into_inner();
        let (number, (is_over, _)) = self.find(&request.conversation_id, &request.organization_id)?;
        let conversation = Some(Self::record(number, is_over));
        Ok(Response::new(conversation_pb::GetConversationResponse { conversation }))
    }

    /// Pages have two conversations; tokens are offsets.
    async fn list_conversations(
        &self,
        request: Request<conversation_pb::ListConversationsRequest>,
    ) -> Result<Response<conversation_pb::ListConversationsResponse>, Status> {
        let request = request.into_inner();
        let expression = request.filter.unwrap_or_default().expression;
        if expression.contains("nonsense") {
            return Err(Status::invalid_argument("filter.expression: is no filter"));
        }
        let all = self.0.lock().unwrap();
        let from: usize = request.page_token.parse().unwrap_or_default();
        let page = all.iter().skip(from).take(2).map(|(&number, (is_over, _))| Self::record(number, *is_over)).collect();
        Ok(Response::new(conversation_pb::ListConversationsResponse {
            conversations: page,
            next_page_token: if from + 2 < all.len() { (from + 2).to_string() } else { String::new() },
            total_size: request.include_total.then_some(i64::try_from(all.len()).unwrap()),
        }))
    }

    async fn update_conversation(
        &self,
        _: Request<conversation_pb::UpdateConversationRequest>,
    ) -> Result<Response<conversation_pb::UpdateConversationResponse>, Status> {
        not_here()
    }

    async fn list_conversation_events(
        &self,
        _: Request<conversation_pb::ListConversationEventsRequest>,
    ) -> Result<Response<conversation_pb::ListConversationEventsResponse>, Status> {
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
        _: Request<conversation_pb::GetAgentRequest>,
    ) -> Result<Response<conversation_pb::GetAgentResponse>, Status> {
        not_here()
    }
}

#[tonic::async_trait]
impl TranscriptService for Said {
    async fn get_transcript(
        &self,
        request: Request<transcript_pb::GetTranscriptRequest>,
    ) -> Result<Response<transcript_pb::GetTranscriptResponse>, Status> {
        let request = request.into_inner();
        let (number, (_, texts)) = self.find(&request.conversation_id, &request.organization_id)?;
        let turn = |(index, text): (usize, &String)| transcript_pb::Turn {
            turn_id: TurnId::derive(samples::conversation(number), &index.to_string()).to_string(),
            index: u32::try_from(index).unwrap(),
            role: match index % 2 {
                0 => transcript_pb::TurnRole::Agent.into(),
                _ => transcript_pb::TurnRole::User.into(),
            },
            text: Some(text.clone()),
            ..Default::default()
        };
        let turns = texts.iter().enumerate().map(turn).collect();
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
