//! The service as it is built, running, over its own client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use colloquy_control::vendor::Vendor;
use colloquy_control::{Deps, Settings, Timing, Vendors, build_over};
use colloquy_events::{CommandKind, Data, EndStatus, Ended, Event, Facts, Record};
use colloquy_outbound::Policy;
use colloquy_proto::control::v1 as pb;
use colloquy_proto::control::v1::control_service_client::ControlServiceClient;
use colloquy_proto::conversation::v1::conversation_service_server::ConversationServiceServer;
use colloquy_proto::ingestion::v1::source_service_server::SourceServiceServer;
use colloquy_proto::log::v1::event_log_service_server::EventLogServiceServer;
use colloquy_service::transport::{LocalSlot, Transport};
use colloquy_service::{Caller, Identity, Problem};
use colloquy_storage::DatabaseUrl;
use colloquy_types::{
    ConversationId, EventId, KeyId, ManualClock, OrganizationId, Position, Provider, RecordId, ScopeSet, SourceId, Timestamp,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::log::Log;
use crate::neighbours::{Conversations, Sources};
use crate::vendor::FakeVendor;

pub(crate) type Client = ControlServiceClient<InterceptedService<Transport, As>>;

/// Makes calls as somebody: what the auth layer does once it knows the key.
#[derive(Clone)]
pub(crate) struct As(Caller);

impl tonic::service::Interceptor for As {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.extensions_mut().insert(self.0.clone());
        Ok(request)
    }
}

pub(crate) const NOW: i64 = 1_800_000_000_000;

/// Runs a case over both engines.
macro_rules! on_both_engines {
    ($($case:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $case() {
                super::$case($crate::harness::World::on_sqlite().await).await;
            })+
        }
        mod postgresql {
            $(#[tokio::test]
            async fn $case() {
                if let Some(world) = $crate::harness::World::on_postgresql().await {
                    super::$case(world).await;
                }
            })+
        }
    };
}
pub(crate) use on_both_engines;

/// Everything around one service, and the service itself while it runs.
pub(crate) struct World {
    pub(crate) log: Log,
    pub(crate) clock: ManualClock,
    pub(crate) conversations: Conversations,
    pub(crate) sources: Sources,
    /// Can do everything.
    pub(crate) vapi: FakeVendor,
    /// Can only be told things.
    pub(crate) retell: FakeVendor,
    url: DatabaseUrl,
    running: Option<Running>,
    events: AtomicU64,
    _folder: tempfile::TempDir,
}

/// The service, running until it is dropped with its runtime.
pub(crate) struct Running {
    slot: LocalSlot,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl World {
    pub(crate) async fn on_sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::over(DatabaseUrl::SqliteFolder(folder.path().to_owned()), folder).await
    }

    pub(crate) async fn on_postgresql() -> Option<Self> {
        let url = DatabaseUrl::Postgres(colloquy_testkit::postgres::database_url().await?);
        Some(Self::over(url, tempfile::tempdir().unwrap()).await)
    }

    async fn over(url: DatabaseUrl, folder: tempfile::TempDir) -> Self {
        let mut world = Self {
            log: Log::new(),
            clock: ManualClock::at(Timestamp::from_millis(NOW).unwrap()),
            conversations: Conversations::default(),
            sources: Sources::default(),
            vapi: FakeVendor::able_to(CommandKind::ALL),
            retell: FakeVendor::able_to(&[CommandKind::InjectContext, CommandKind::End]),
            url,
            running: None,
            events: AtomicU64::new(0),
            _folder: folder,
        };
        world.start().await;
        world
    }

    /// Starts the service again, as a process does.
    pub(crate) async fn start(&mut self) {
        let running = self.replica().await;
        self.running = Some(running);
    }

    /// Starts one more replica.
    pub(crate) async fn replica(&self) -> Running {
        let ingestion = LocalSlot::new();
        let routes = Routes::new(EventLogServiceServer::new(self.log.clone()));
        ingestion.fill(routes.add_service(SourceServiceServer::new(self.sources.clone())).into_axum_router());
        let conversations = LocalSlot::new();
        let server = ConversationServiceServer::new(self.conversations.clone());
        conversations.fill(Routes::new(server).into_axum_router());
        let stop = CancellationToken::new();
        let deps = Deps {
            clock: Arc::new(self.clock.clone()),
            stop: stop.clone(),
            ingestion: ingestion.transport(),
            conversations: conversations.transport(),
        };
        let settings = Settings { database: self.url.clone(), outbound: Policy::default() };
        let vapi: Arc<dyn Vendor> = Arc::new(self.vapi.clone());
        let retell: Arc<dyn Vendor> = Arc::new(self.retell.clone());
        let vendors = Vendors::from([(Provider::Vapi, vapi), (Provider::Retell, retell)]);
        let timing = Timing {
            look_every: Duration::from_millis(20),
            patience: Duration::from_millis(300),
            silence: Duration::from_secs(60),
            first_wait: Duration::from_millis(20),
            longest_wait: Duration::from_millis(40),
            hand_out_again_after: Duration::from_millis(200),
        };
        let service = build_over(settings, deps, vendors, timing).await.unwrap();
        assert_eq!((service.name, service.tasks.len()), ("control", 3));
        assert_eq!(service.grpc_names, ["colloquy.control.v1.ControlService"]);
        let tasks = service.tasks.into_iter().map(|task| tokio::spawn(task.work)).collect();
        let slot = LocalSlot::new();
        slot.fill(service.routes.into_axum_router());
        Running { slot, stop, tasks }
    }

    /// Ends the service in the middle of whatever it does.
    pub(crate) async fn crash(&mut self) {
        let running = self.running.take().unwrap();
        for task in running.tasks {
            task.abort();
            let _ = task.await;
        }
    }

    /// Stops the service in order.
    pub(crate) async fn stop(&mut self) {
        let running = self.running.take().unwrap();
        running.stop.cancel();
        for task in running.tasks {
            tokio::time::timeout(Duration::from_secs(10), task).await.unwrap().unwrap().unwrap();
        }
    }

    /// Returns a client of acme that may do whatever people need.
    pub(crate) fn client(&self) -> Client {
        self.client_of("acme", "conversations:read,conversations:write,events:write")
    }

    pub(crate) fn client_of(&self, organization_id: &str, scopes: &str) -> Client {
        self.client_as(key(organization_id, scopes))
    }

    pub(crate) fn client_as(&self, caller: Caller) -> Client {
        ControlServiceClient::with_interceptor(self.running.as_ref().unwrap().slot.transport(), As(caller))
    }

    /// Has the log tell of something in a conversation of acme.
    pub(crate) fn happened(&self, provider: Provider, external_id: &str, data: Data) {
        self.happened_to(acme(), provider, external_id, data);
    }

    /// Has the log tell of something in a conversation of an organization.
    pub(crate) fn happened_to(&self, organization_id: OrganizationId, provider: Provider, external_id: &str, data: Data) {
        let number = self.events.fetch_add(1, Ordering::SeqCst).to_string();
        let conversation_id = ConversationId::derive(&organization_id, provider, external_id);
        let event = Event {
            event_id: EventId::derive(conversation_id, &["test", &number]),
            conversation_id,
            provider,
            external_id: external_id.to_owned(),
            occurred_at: Timestamp::from_millis(NOW).unwrap(),
            ordinal: 0,
            data,
        };
        self.log.append_record(Record {
            record_id: RecordId::derive(&organization_id, [event.event_id]),
            organization_id,
            source_id: Some(SourceId(uuid::Uuid::from_u128(1))),
            received_at: Timestamp::from_millis(NOW).unwrap(),
            events: vec![event],
            traceparent: String::new(),
            sequence: 0,
        });
    }

    /// Begins a conversation of acme, and waits until it can be steered; returns its name.
    pub(crate) async fn conversation(&self, provider: Provider, external_id: &str) -> String {
        let agent_id = Some("agent-1".to_owned());
        self.happened(provider, external_id, Data::Started(Facts { agent_id, ..Facts::default() }));
        let name = format!("{provider}:{external_id}");
        eventually("the conversation is known", async || {
            let request = pb::GetControlRequest { conversation_id: name.clone() };
            self.client().get_control(request).await.is_ok()
        })
        .await;
        name
    }

    /// Ends a conversation of acme, and waits until that is known.
    pub(crate) async fn end(&self, provider: Provider, external_id: &str) {
        self.happened(provider, external_id, Data::Ended(Ended::new(EndStatus::Completed)));
        let name = format!("{provider}:{external_id}");
        eventually("the end is known", async || self.control(&name).await.limits.contains("ended")).await;
    }

    pub(crate) async fn control(&self, name: &str) -> pb::GetControlResponse {
        let request = pb::GetControlRequest { conversation_id: name.to_owned() };
        self.client().get_control(request).await.unwrap().into_inner()
    }

    /// Waits until the latest commands have these states, oldest first; returns them.
    pub(crate) async fn until_states(&self, name: &str, expected: &[&str]) -> Vec<pb::Command> {
        eventually(&format!("the commands are {expected:?}"), async || {
            let states: Vec<String> = self.commands(name).await.into_iter().map(|command| state(&command)).collect();
            states == expected
        })
        .await;
        self.commands(name).await
    }

    /// Returns the commands to a conversation, oldest first.
    pub(crate) async fn commands(&self, name: &str) -> Vec<pb::Command> {
        let mut commands = self.control(name).await.commands;
        commands.reverse();
        commands
    }

    /// Takes a conversation over and returns the lease.
    pub(crate) async fn take_over(&self, name: &str) -> pb::Lease {
        let request = pb::SendCommandRequest { holder: "Ada".to_owned(), ..command(name, "take_over") };
        self.client().send_command(request).await.unwrap().into_inner().lease.unwrap()
    }

    /// Returns what the log has of this service in a conversation, in order, one word each.
    pub(crate) fn told(&self, name: &str) -> Vec<String> {
        self.told_with_positions(name).into_iter().map(|(_, word)| word).collect()
    }

    pub(crate) fn told_with_positions(&self, name: &str) -> Vec<(Position, String)> {
        let (_, external_id) = name.split_once(':').unwrap();
        let events = self.log.events(&acme()).into_iter().filter(|(_, event)| event.external_id == external_id);
        events.filter_map(|(position, event)| Some((position, word(&event.data)?))).collect()
    }

    /// Waits until the log has exactly this of a conversation.
    pub(crate) async fn until_told(&self, name: &str, expected: &[&str]) {
        eventually(&format!("the log has {expected:?}"), async || {
            let told = self.told(name);
            assert!(told.len() <= expected.len(), "{told:?}");
            told == expected
        })
        .await;
    }
}

/// A state is kept a moment before the log has it.
impl World {
    /// Waits until the log has something that begins with each of these, in whatever order.
    pub(crate) async fn until_told_in_any_order(&self, name: &str, beginnings: &[&str]) {
        eventually(&format!("the log has {beginnings:?}"), async || {
            let told = self.told(name);
            beginnings.iter().all(|beginning| told.iter().any(|word| word.starts_with(beginning)))
        })
        .await;
    }

    /// Waits until this is the last that the log has of a conversation, and returns all of it.
    pub(crate) async fn until_last_told(&self, name: &str, last: &str) -> Vec<(Position, String)> {
        eventually(&format!("the log has '{last}' at last"), async || self.told(name).last().is_some_and(|told| told == last))
            .await;
        self.told_with_positions(name)
    }
}

fn word(data: &Data) -> Option<String> {
    Some(match data {
        Data::ControlAccepted(command) => format!("accepted {}", command.command),
        Data::ControlApplied(done) => format!("applied {}", done.command),
        Data::ControlRejected(refused) => format!("rejected {}: {}", refused.command, refused.reason),
        Data::ControlLeaseChanged(change) => format!("{} {}", change.state, change.holder),
        _ => return None,
    })
}

fn state(command: &pb::Command) -> String {
    match &command.reason {
        Some(reason) => format!("{} {}: {reason}", command.command, command.state),
        None => format!("{} {}", command.command, command.state),
    }
}

pub(crate) fn acme() -> OrganizationId {
    "acme".parse().unwrap()
}

pub(crate) fn key(organization_id: &str, scopes: &str) -> Caller {
    let scopes: ScopeSet = scopes.parse().unwrap();
    Caller::Key(Arc::new(Identity { key_id: KeyId::generate(), organization_id: organization_id.parse().unwrap(), scopes }))
}

/// Returns a command without anything else.
pub(crate) fn command(name: &str, command: &str) -> pb::SendCommandRequest {
    pb::SendCommandRequest { conversation_id: name.to_owned(), command: command.to_owned(), ..Default::default() }
}

/// Returns a command of whoever holds the lease.
pub(crate) fn with(lease: &pb::Lease, request: pb::SendCommandRequest) -> pb::SendCommandRequest {
    pb::SendCommandRequest { lease_id: lease.lease_id.clone(), ..request }
}

pub(crate) fn say(name: &str, text: &str) -> pb::SendCommandRequest {
    pb::SendCommandRequest { text: Some(text.to_owned()), ..command(name, "say") }
}

/// Gives a command that must be refused; returns how.
pub(crate) async fn refused(mut client: Client, request: pb::SendCommandRequest) -> (Code, String, Problem) {
    let status = client.send_command(request).await.unwrap_err();
    let reason = status.get_error_details().error_info().unwrap().reason.clone();
    (status.code(), reason, Problem::from_status(&status))
}

/// Waits until something is so, but not for ever.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let limit = tokio::time::Instant::now() + Duration::from_secs(20);
    while !is_so().await {
        assert!(tokio::time::Instant::now() < limit, "it never came that {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
