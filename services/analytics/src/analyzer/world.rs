//! The module in this process, with a database of its own, a model behind HTTP, and conversations that are made up.

use std::sync::Arc;
use std::time::Duration;

use colloquy_events::convert::timestamp_to_pb;
use colloquy_proto::analytics::v1::analyzer_service_client::AnalyzerServiceClient;
use colloquy_proto::conversation::v1 as conversation_pb;
use colloquy_proto::transcript::v1 as transcript_pb;
use colloquy_service::transport::{LocalSlot, Transport};
use colloquy_service::{Caller, Identity};
use colloquy_storage::PageTokens;
use colloquy_types::{KeyId, ManualClock};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Status};

use super::fake::Fake;
use super::model::{Model, OpenAi, Patience};
use super::store::{self, Store};
use super::{Built, Listener, Pace, Parts, build, samples};
use crate::input::Input;
use crate::neighbours::Neighbours;
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
    pub(super) said: Said,
}

/// How a replica is set up.
#[derive(Clone, Copy)]
pub(super) struct Setup {
    /// How many tokens its model has a day, if it has one.
    pub(super) tokens_per_day: Option<u64>,
    /// What the model is called.
    pub(super) model: &'static str,
    /// How long one answer may take.
    pub(super) timeout: Duration,
    pub(super) concurrency: usize,
    pub(super) patience: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            tokens_per_day: Some(1_000_000),
            model: "small",
            timeout: Duration::from_secs(20),
            concurrency: 4,
            patience: Duration::from_secs(55),
        }
    }
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
        Self { fake: Fake::start().await, fixture, store, clock, said: Said::default() }
    }

    pub(super) fn replica(&self) -> Replica {
        self.replica_with(Setup::default())
    }

    /// Starts a replica.
    pub(super) fn replica_with(&self, setup: Setup) -> Replica {
        let Setup { tokens_per_day, model, timeout, concurrency, patience } = setup;
        let hasty = Patience { first_wait: Duration::from_millis(1), timeout, ..Patience::default() };
        let settings = crate::ModelSettings { model: model.to_owned(), ..self.fake.settings() };
        let model = tokens_per_day.map(|tokens| {
            let model: Arc<dyn Model> = Arc::new(OpenAi::new(&settings, hasty).unwrap());
            (model, tokens)
        });
        let neighbours = self.said.0.transport();
        let stop = CancellationToken::new();
        let Built { handler, listener, tasks } = build(Parts {
            store: self.store.clone(),
            figures: self.fixture.store.clone(),
            model,
            conversations: neighbours.clone(),
            transcripts: neighbours,
            wake_figures: Arc::new(Notify::new()),
            page_tokens: PageTokens::new(b"master"),
            clock: Arc::new(self.clock.clone()),
            pace: Pace {
                look_every: Duration::from_millis(10),
                settle: Duration::ZERO,
                patience,
                concurrency,
                ..Pace::default()
            },
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

/// What was said in conversations of one organization, by number, as the other services have it.
#[derive(Default)]
pub(super) struct Said(pub(super) Arc<Neighbours>);

impl Said {
    /// Has something said in a conversation that is over.
    pub(super) fn say(&self, number: u128, texts: &[&str]) -> Input {
        let turn = |(index, text): (usize, &&str)| transcript_pb::Turn {
            turn_id: samples::turn_id(number, index).to_string(),
            index: u32::try_from(index).unwrap(),
            role: match index % 2 {
                0 => transcript_pb::TurnRole::Agent.into(),
                _ => transcript_pb::TurnRole::User.into(),
            },
            text: Some((*text).to_owned()),
            ..Default::default()
        };
        let record = Self::record(number, conversation_pb::ConversationStatus::Completed);
        self.0.know(record, texts.iter().enumerate().map(turn).collect());
        samples::input("acme", number, texts)
    }

    /// Lets a conversation go on, in which nothing was said yet.
    pub(super) fn go_on(&self, number: u128) {
        self.0.know(Self::record(number, conversation_pb::ConversationStatus::InProgress), Vec::new());
    }

    fn record(number: u128, status: conversation_pb::ConversationStatus) -> conversation_pb::Conversation {
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
}
