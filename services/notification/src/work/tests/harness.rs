//! A store, a receiver, and replicas that work between them.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use colloquy_storage::{Database, DatabaseUrl, Durability, MasterKey};
use colloquy_types::{Clock, ConversationId, ManualClock, OrganizationId, Position, SystemClock, Timestamp};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::delivery::{Delivery, Status};
use crate::endpoint::{Endpoint, Filter, Kind, SealedSecrets};
use crate::kept::Kept;
use crate::message::{Body, Message};
use crate::payload::{SnapshotError, Snapshots};
use crate::reader::{Dispatch, beyond_room};
use crate::secrets::SecretBox;
use crate::send::{Secret, Sender};
use crate::store::{self, Batch, Claimed, DeliveryFilter, Store};
use crate::work::dispatcher::build_with_drain;
use crate::work::target::Target;
use crate::work::{Dispatcher, Parts, claimed_until};

pub(super) const SECRET: &str = "C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
pub(super) const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn acme() -> OrganizationId {
    "acme".parse().unwrap()
}

pub(super) fn secrets() -> SecretBox {
    SecretBox::new(&MasterKey::new([7; 32]))
}

/// Polls until there is an answer.
pub(super) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What receivers heard, and how each path answers.
#[derive(Clone, Default)]
pub(super) struct Receiver {
    pub(super) base: String,
    pub(super) heard: Arc<Mutex<Vec<Heard>>>,
    pub(super) answers: Arc<Mutex<HashMap<String, u16>>>,
}

#[derive(Clone)]
pub(super) struct Heard {
    pub(super) path: String,
    pub(super) id: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) at: Instant,
}

/// Of a path with this answer nothing is heard any more.
pub(super) const HANGS: u16 = 0;

impl Receiver {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self { base: format!("http://{}", listener.local_addr().unwrap()), ..Self::default() };
        let routes = Router::new().route("/{path}", post(Self::hear)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        receiver
    }

    pub(super) async fn hear(State(this): State<Self>, Path(path): Path<String>, headers: HeaderMap, body: Bytes) -> StatusCode {
        let id = headers["webhook-id"].to_str().unwrap().to_owned();
        this.heard.lock().unwrap().push(Heard { path: path.clone(), id, headers, body, at: Instant::now() });
        let answer = this.answers.lock().unwrap().get(&path).copied().unwrap_or(200);
        if answer == HANGS {
            std::future::pending::<()>().await;
        }
        StatusCode::from_u16(answer).unwrap()
    }

    pub(super) fn answer(&self, path: &str, status: u16) {
        self.answers.lock().unwrap().insert(path.to_owned(), status);
    }

    pub(super) fn heard(&self, path: &str) -> Vec<Heard> {
        self.heard.lock().unwrap().iter().filter(|heard| heard.path == path).cloned().collect()
    }

    pub(super) async fn hears(&self, path: &str, count: usize) -> Vec<Heard> {
        let heard = async || Some(self.heard(path)).filter(|heard| heard.len() >= count);
        eventually(&format!("{count} requests at {path}, of which {} came", self.heard(path).len()), heard).await
    }
}

/// Makes bodies that say how often one was made.
#[derive(Default)]
pub(super) struct Counting {
    pub(super) answers: Mutex<Vec<SnapshotError>>,
    pub(super) made: Mutex<u32>,
}

#[async_trait]
impl Snapshots for Counting {
    async fn body(&self, _message: &Message) -> Result<Bytes, SnapshotError> {
        if let Some(error) = self.answers.lock().unwrap().pop() {
            return Err(error);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        let mut made = self.made.lock().unwrap();
        *made += 1;
        Ok(Bytes::from(format!("{{\"made\":{made}}}")))
    }
}

pub(super) struct Harness {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: ManualClock,
    pub(super) receiver: Receiver,
    pub(super) snapshots: Arc<Counting>,
    pub(super) folder: Arc<TempDir>,
    pub(super) sequence: u64,
}

pub(super) struct Running {
    pub(super) dispatcher: Dispatcher,
    pub(super) stop: CancellationToken,
    pub(super) tasks: JoinSet<anyhow::Result<()>>,
}

impl Running {
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap().unwrap();
        }
    }
}

impl Harness {
    pub(super) async fn start() -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let url = DatabaseUrl::SqliteFolder(folder.path().to_owned());
        Self::with(&url, folder).await
    }

    /// The same on PostgreSQL; `None` when there is none and there need not be.
    pub(super) async fn start_on_postgres() -> Option<Self> {
        let url = DatabaseUrl::Postgres(colloquy_testkit::postgres::database_url().await?);
        Some(Self::with(&url, Arc::new(tempfile::tempdir().unwrap())).await)
    }

    async fn with(url: &DatabaseUrl, folder: Arc<TempDir>) -> Self {
        let database = Database::open(url, "notification", Durability::Full, &store::migrations()).await.unwrap();
        Self {
            store: store::open(&database),
            clock: ManualClock::at(SystemClock.now()),
            receiver: Receiver::start().await,
            snapshots: Arc::default(),
            folder,
            sequence: 0,
        }
    }

    /// Starts a replica.
    pub(super) fn run(&self) -> Running {
        let stop = CancellationToken::new();
        let parts = Parts {
            store: Arc::clone(&self.store),
            sender: Sender::with_timeout("127.0.0.0/8".parse().unwrap(), None, Duration::from_secs(5)).unwrap(),
            snapshots: Arc::clone(&self.snapshots) as Arc<dyn Snapshots>,
            secrets: secrets(),
            clock: Arc::new(self.clock.clone()),
            stop: stop.clone(),
        };
        let (dispatcher, tasks) = build_with_drain(parts, Duration::from_millis(200));
        let mut running = JoinSet::new();
        for task in tasks {
            running.spawn(task.work);
        }
        Running { dispatcher, stop, tasks: running }
    }

    /// Starts a replica that knows the endpoints there are.
    pub(super) async fn ready(&self) -> Running {
        let running = self.run();
        // What it finds due may disable one of them meanwhile.
        let known = async || {
            let (_, endpoints) = self.store.enabled_endpoints().await.unwrap();
            (running.dispatcher.targets() == endpoints.len()).then_some(())
        };
        eventually("the endpoints are known", known).await;
        running
    }

    pub(super) async fn endpoint(&self, path: &str, change: impl FnOnce(&mut Endpoint)) -> Endpoint {
        let url = format!("{}/{path}", self.receiver.base);
        let mut endpoint = endpoint(Uuid::new_v4(), url, self.clock.now());
        change(&mut endpoint);
        assert!(self.store.create_endpoint(&endpoint, 100).await.unwrap());
        endpoint
    }

    pub(super) fn message(&mut self, conversation: u128, body: Body) -> Message {
        self.sequence += 1;
        Message {
            organization_id: acme(),
            message_id: Uuid::new_v4(),
            event_type: "conversation.updated".into(),
            conversation_id: ConversationId(Uuid::from_u128(conversation)),
            position: Position::end_of(self.sequence),
            at: self.clock.now(),
            body,
        }
    }

    pub(super) fn messages(&mut self, conversation: u128, count: usize) -> Vec<Message> {
        (0..count).map(|n| self.message(conversation, Body::Ready(Bytes::from(format!("{{\"n\":{n}}}"))))).collect()
    }

    /// Keeps messages for endpoints, all of them claimed, and returns what the reader would hand over.
    pub(super) async fn keep(&self, messages: &[Message], endpoints: &[&Endpoint]) -> Vec<Claimed> {
        self.keep_but(messages, endpoints, |_| HashSet::new()).await
    }

    /// Keeps messages for endpoints and hands them over as the reader does.
    pub(super) async fn tell(&self, running: &Running, messages: &[Message], endpoints: &[&Endpoint]) {
        let mut due = HashSet::new();
        let claimed = self
            .keep_but(messages, endpoints, |deliveries| {
                let (unclaimed, of) = beyond_room(deliveries, &running.dispatcher);
                due = of;
                unclaimed
            })
            .await;
        running.dispatcher.fresh(claimed, Kept::already());
        running.dispatcher.due(&due);
    }

    async fn keep_but(
        &self,
        messages: &[Message],
        endpoints: &[&Endpoint],
        unclaimed: impl FnOnce(&[Delivery]) -> HashSet<Uuid>,
    ) -> Vec<Claimed> {
        let mut all = Vec::new();
        for endpoint in endpoints {
            all.extend(messages.iter().map(|message| Claimed {
                delivery: delivery_of(message, endpoint.endpoint_id, self.clock.now()),
                message: message.clone(),
            }));
        }
        let deliveries: Vec<Delivery> = all.iter().map(|claimed| claimed.delivery.clone()).collect();
        let unclaimed = unclaimed(&deliveries);
        let batch = Batch { messages: messages.to_vec(), deliveries, unclaimed, ..Batch::default() };
        let through = Position::end_of(self.sequence);
        let claimed = self.store.apply(&batch, through, claimed_until(self.clock.now()), &|_| ()).await.unwrap();
        all.retain(|one| claimed.contains(&one.delivery.delivery_id));
        all
    }

    pub(super) async fn delivery(&self, message: &Message, endpoint: &Endpoint) -> Delivery {
        let id = Delivery::id_of(endpoint.endpoint_id, message.message_id);
        self.store.delivery(&acme(), endpoint.endpoint_id, id).await.unwrap().unwrap()
    }

    /// Waits until a delivery stands somewhere, with so many attempts.
    pub(super) async fn stands(&self, message: &Message, endpoint: &Endpoint, status: Status, attempts: u32) -> Delivery {
        let stands = async || {
            let delivery = self.delivery(message, endpoint).await;
            (delivery.status == status && delivery.attempt_count == attempts).then_some(delivery)
        };
        eventually(&format!("{status:?} after {attempts}"), stands).await
    }

    pub(super) async fn kept(&self, endpoint: &Endpoint) -> Endpoint {
        self.store.endpoint(&acme(), endpoint.endpoint_id).await.unwrap().unwrap()
    }

    /// Returns the types of everything an endpoint was told.
    pub(super) async fn types(&self, endpoint: &Endpoint) -> Vec<String> {
        let filter = DeliveryFilter::default();
        let page = self.store.page_of_deliveries(&acme(), endpoint.endpoint_id, &filter, None, 100).await.unwrap();
        page.into_iter().map(|delivery| delivery.event_type).collect()
    }
}

pub(super) fn delivery_of(message: &Message, endpoint_id: Uuid, now: Timestamp) -> Delivery {
    Delivery {
        organization_id: message.organization_id.clone(),
        delivery_id: Delivery::id_of(endpoint_id, message.message_id),
        endpoint_id,
        message_id: message.message_id,
        event_type: message.event_type.clone(),
        conversation_id: message.conversation_id,
        position: message.position,
        status: Status::Pending,
        schedule_attempts: 0,
        attempt_count: 0,
        next_attempt_at: Some(now),
        created_at: now,
        attempts: Vec::new(),
    }
}

/// A delivery that was never attempted.
pub(in crate::work) fn delivery() -> Delivery {
    claimed().delivery
}

/// Something that was claimed.
pub(in crate::work) fn claimed() -> Claimed {
    let message = Message {
        organization_id: acme(),
        message_id: Uuid::from_u128(1),
        event_type: "conversation.updated".into(),
        conversation_id: ConversationId(Uuid::from_u128(2)),
        position: Position::end_of(1),
        at: Timestamp::default(),
        body: Body::Snapshot,
    };
    Claimed { delivery: delivery_of(&message, Uuid::from_u128(3), Timestamp::default()), message }
}

/// An endpoint as the work sees it.
pub(in crate::work) fn target(rate_limit: Option<NonZeroU32>) -> Arc<Target> {
    let mut endpoint = endpoint(Uuid::from_u128(3), "https://receiver.example/".into(), Timestamp::default());
    endpoint.rate_limit = rate_limit;
    Arc::new(Target::open(endpoint, &secrets()).unwrap())
}

pub(super) fn endpoint(endpoint_id: Uuid, url: String, now: Timestamp) -> Endpoint {
    let secret = secrets().seal_secret(&acme(), endpoint_id, &Secret(SECRET.into())).unwrap();
    Endpoint {
        organization_id: acme(),
        endpoint_id,
        kind: Kind::Webhook,
        url,
        description: "a receiver".to_owned(),
        event_types: Vec::new(),
        filter: Filter::default(),
        ordered: false,
        enabled: true,
        rate_limit: None,
        sealed_headers: None,
        header_names: Vec::new(),
        secrets: SealedSecrets { current: secret, ..SealedSecrets::default() },
        failing_since: None,
        disabled_reason: None,
        created_at: now,
        updated_at: now,
        revision: 1,
    }
}
