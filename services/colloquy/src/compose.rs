//! Composes services into one process: gives them each other, listens, reports readiness, and stops them in order.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use colloquy_access::{Bootstrap, Secret};
use colloquy_ingestion::MasterKey;
use colloquy_service::auth::Authenticator;
use colloquy_service::health::{self, Health};
use colloquy_service::liveness::Liveness;
use colloquy_service::readiness::{Check, Readiness};
use colloquy_service::server::{self, ConnectionAge, Connections};
use colloquy_service::tls::Tls;
use colloquy_service::transport::{self, LocalSlot, Transport};
use colloquy_service::{Service, Task, probes, stack};
use colloquy_types::{Clock, SystemClock};
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::keyring::Keyring;
use crate::settings::Settings;
use crate::signals::StopSignals;

/// Where a data folder says how its process is reached.
const ADDRESSES: &str = "addresses.json";
/// The name of access in `grpc.health.v1`.
const ACCESS: &str = "colloquy.access.v1.AccessService";

/// The services of this process, running.
pub(crate) struct Running {
    pub(crate) http: Option<SocketAddr>,
    pub(crate) grpc: SocketAddr,
    /// Keeps the services reachable for each other.
    _transports: Transports,
    made_key: Option<Secret>,
    addresses: PathBuf,
    readiness: Readiness,
    tasks: JoinSet<(&'static str, anyhow::Result<()>)>,
    stop: CancellationToken,
    grace: Duration,
}

/// How every service is reached: in this process, or at its address.
pub(crate) struct Transports {
    slots: HashMap<&'static str, LocalSlot>,
    plain: HashMap<&'static str, Transport>,
    service_token: Arc<str>,
}

impl Transports {
    fn new(settings: &Settings, services: &[&'static str], service_token: Arc<str>, tls: &Arc<Tls>) -> anyhow::Result<Self> {
        let mut transports = Self { slots: HashMap::new(), plain: HashMap::new(), service_token };
        for name in crate::settings::SERVICES.into_iter().filter(|name| *name != "edge") {
            if services.contains(&name) {
                let slot = LocalSlot::new();
                transports.plain.insert(name, slot.transport());
                transports.slots.insert(name, slot);
            } else if let Some(target) = settings.service_url(name) {
                let transport = transport::connect(target.clone(), tls).with_context(|| format!("{name}-url = '{target}'"))?;
                transports.plain.insert(name, transport);
            }
        }
        Ok(transports)
    }

    /// Returns a transport that acts as this installation itself.
    pub(crate) fn trusted(&self, name: &str) -> anyhow::Result<Transport> {
        Ok(transport::outgoing(self.find(name)?, Some(&self.service_token)))
    }

    /// Returns a transport that carries only what its caller puts into it.
    pub(crate) fn plain(&self, name: &str) -> anyhow::Result<Transport> {
        Ok(transport::outgoing(self.find(name)?, None))
    }

    fn find(&self, name: &str) -> anyhow::Result<Transport> {
        match self.plain.get(name) {
            Some(transport) => Ok(transport.clone()),
            None => {
                let variable = format!("COLLOQUY_{}_URL", name.replace('-', "_").to_uppercase());
                bail!("{name} does not run in this process: say where it is with --{name}-url or {variable}")
            }
        }
    }
}

impl Running {
    /// Starts the named services. Everything is listening when this returns, and addresses.json is written once it is ready.
    pub(crate) async fn start(settings: &Settings, services: &[&'static str], registry: Registry) -> anyhow::Result<Self> {
        // Listeners first: a taken port should fail in the first second, not after the migrations.
        let has_edge = services.contains(&"edge");
        let http_listener = if has_edge { Some(server::bind("http-addr", settings.http_addr).await?) } else { None };
        let grpc_listener = server::bind("grpc-addr", settings.grpc_addr).await?;
        let metrics_listener = server::bind("metrics-addr", settings.metrics_addr).await?;
        let http = http_listener.as_ref().map(TcpListener::local_addr).transpose()?;
        let (grpc, metrics) = (grpc_listener.local_addr()?, metrics_listener.local_addr()?);

        let keyring = Keyring::open(settings.master_key.as_deref(), &settings.data_dir)?;
        let tls = Tls::load(settings.tls.clone())?;
        let transports = Transports::new(settings, services, keyring.service_token(), &tls)?;
        let authenticator = Authenticator::new(transports.trusted("access")?, keyring.service_token());
        let stop = CancellationToken::new();
        let grace = settings.shutdown_grace;
        let (health, health_routes) = Health::new().await;
        let (readiness, liveness) = (Readiness::new(services, health, Arc::new(SystemClock)), Liveness::default());
        let mut tasks = JoinSet::new();
        // Before anything is migrated: that takes its time, and who asks meanwhile is to hear so.
        let probes = probes::routes(registry, readiness.clone(), liveness.clone());
        spawn_server(&mut tasks, "metrics", metrics_listener, probes, Connections::default(), &stop, grace);
        spawn_task(&mut tasks, "liveness", &liveness, &stop, liveness.clone().run(stop.clone()));
        spawn_task(&mut tasks, "readiness", &liveness, &stop, readiness.clone().run(stop.clone()));
        let builder = Builder { settings, keyring: &keyring, transports: &transports, stop: &stop, clock: Arc::new(SystemClock) };

        let mut router = Router::new();
        let mut names = Vec::new();
        let mut background = Vec::new();
        let mut made_key = None;
        for name in services.iter().copied().filter(|name| *name != "edge") {
            let (mut service, made) = builder.build(name).await.with_context(|| format!("{name} cannot start"))?;
            if name != "access" {
                service.checks.push(Check::service("access", transports.plain("access")?, ACCESS));
            }
            readiness.add(name, service.grpc_names.clone(), std::mem::take(&mut service.checks));
            let wrapped = stack::wrap(&service, authenticator.clone()).reset_fallback();
            if let Some(slot) = transports.slots.get(name) {
                slot.fill(wrapped.clone().merge(health_routes.clone().into_axum_router().reset_fallback()));
            }
            router = router.merge(wrapped);
            names.extend(service.grpc_names);
            background.extend(service.tasks);
            made_key = made_key.or(made);
        }
        let router = router.merge(health_routes.into_axum_router().reset_fallback());
        let router = router.merge(health::reflection(&names)?.reset_fallback()).fallback(no_such_method);

        let age = Some(ConnectionAge::new(settings.max_connection_age));
        let connections = Connections { tls: Some(tls.clone()), age };
        spawn_server(&mut tasks, "grpc", grpc_listener, router, connections, &stop, grace);
        background.push(tls.watch(stop.clone()));
        if let Some(listener) = http_listener {
            let (edge, streams) = builder.edge()?;
            background.push(streams);
            readiness.add("edge", Vec::new(), builder.edge_checks()?);
            spawn_server(&mut tasks, "http", listener, edge, Connections::default(), &stop, grace);
        }
        for task in background {
            spawn_task(&mut tasks, task.name, &liveness, &stop, task.work);
        }
        let addresses = settings.data_dir.join(ADDRESSES);
        let listening = Listening { http, grpc, metrics, services: services.join(", ") };
        let announcing = announce(readiness.clone(), addresses.clone(), listening, stop.clone());
        spawn_task(&mut tasks, "announce", &liveness, &stop, announcing);
        Ok(Self { http, grpc, _transports: transports, made_key, addresses, readiness, tasks, stop, grace })
    }

    /// Prints the administrator key that was made at the first start, once.
    pub(crate) fn print_made_key(&self) {
        if let Some(secret) = &self.made_key {
            println!(
                "The first administrator key, for organization 'default'. It is not shown again:\n\n  {}\n",
                secret.expose()
            );
        }
    }

    /// Returns the administrator key that was made at this start.
    pub(crate) fn made_key(&self) -> Option<&Secret> {
        self.made_key.as_ref()
    }

    /// Waits until everything is ready.
    pub(crate) async fn until_ready(&self) {
        self.readiness.until_ready().await;
    }

    /// Serves until one of the signals, or until something fails that must not.
    pub(crate) async fn until_stopped(mut self, signals: &mut StopSignals) -> anyhow::Result<()> {
        let outcome = tokio::select! {
            () = signals.received() => Ok(()),
            ended = self.tasks.join_next() => match ended {
                Some(Ok((name, Ok(())))) => Err(anyhow::anyhow!("{name} ended by itself")),
                Some(Ok((name, Err(error)))) => Err(error.context(format!("{name} failed"))),
                Some(Err(error)) => Err(anyhow::anyhow!("a task {}", how_it_ended(&error))),
                None => Ok(()),
            },
        };
        outcome.and(self.stop().await)
    }

    /// Stops in order: not ready any more, no new connections, streams end, workers drain; within the grace period.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        tracing::info!("stopping");
        self.readiness.stopping().await;
        std::fs::remove_file(&self.addresses).ok();
        self.stop.cancel();
        let drained = tokio::time::timeout(self.grace + Duration::from_secs(1), async {
            while let Some(ended) = self.tasks.join_next().await {
                match ended {
                    Ok((name, Err(error))) => tracing::warn!("{name} ended badly: {error:#}"),
                    Err(error) => tracing::warn!("a task {}", how_it_ended(&error)),
                    Ok((_, Ok(()))) => {}
                }
            }
        });
        if drained.await.is_err() {
            tracing::warn!("some tasks were still busy when the grace period ended");
        }
        Ok(())
    }
}

/// Builds services from what they share.
struct Builder<'a> {
    settings: &'a Settings,
    keyring: &'a Keyring,
    transports: &'a Transports,
    stop: &'a CancellationToken,
    clock: Arc<dyn Clock>,
}

impl Builder<'_> {
    async fn build(&self, name: &str) -> anyhow::Result<(Service, Option<Secret>)> {
        match name {
            "access" => self.access().await,
            "ingestion" => Ok((self.ingestion().await?, None)),
            "conversation-store" => Ok((self.conversation_store().await?, None)),
            "transcript" => Ok((self.transcript().await?, None)),
            "analytics" => Ok((self.analytics().await?, None)),
            "notification" => Ok((self.notification().await?.with(self.control().await?), None)),
            other => bail!("there is no service '{other}'"),
        }
    }

    async fn access(&self) -> anyhow::Result<(Service, Option<Secret>)> {
        let settings = colloquy_access::Settings {
            database: self.settings.databases.access.clone(),
            bootstrap_api_key: self.settings.bootstrap_api_key.clone().map(Secret::from_text),
        };
        let deps = colloquy_access::Deps { clock: self.clock.clone(), page_tokens: self.keyring.page_tokens() };
        let (service, bootstrap) = colloquy_access::build(settings, deps).await?;
        let made = match bootstrap {
            Bootstrap::Made(secret) => Some(secret),
            Bootstrap::Present => None,
        };
        Ok((service, made))
    }

    async fn ingestion(&self) -> anyhow::Result<Service> {
        let settings = ingestion_settings(self.settings, self.keyring);
        let deps = colloquy_ingestion::Deps {
            clock: self.clock.clone(),
            page_tokens: self.keyring.page_tokens(),
            stop: self.stop.clone(),
            recordings: self.transports.trusted("conversation-store")?,
        };
        colloquy_ingestion::build(settings, deps).await
    }

    async fn conversation_store(&self) -> anyhow::Result<Service> {
        let settings = colloquy_conversation_store::Settings {
            database: self.settings.databases.conversation_store.clone(),
            objects_url: self.settings.objects_url.clone(),
            outbound: self.settings.outbound.clone(),
            stuck_after: self.settings.stuck_after,
        };
        let deps = colloquy_conversation_store::Deps {
            clock: self.clock.clone(),
            page_tokens: self.keyring.page_tokens(),
            stop: self.stop.clone(),
            log: self.transports.trusted("ingestion")?,
            transcripts: self.transports.trusted("transcript")?,
        };
        colloquy_conversation_store::build(settings, deps).await
    }

    async fn transcript(&self) -> anyhow::Result<Service> {
        let settings = colloquy_transcript::Settings {
            database_url: self.settings.databases.transcript.clone(),
            search: self.settings.transcript_search,
        };
        let deps = colloquy_transcript::Deps {
            clock: self.clock.clone(),
            page_tokens: self.keyring.page_tokens(),
            stop: self.stop.clone(),
            log: self.transports.trusted("ingestion")?,
        };
        colloquy_transcript::build(settings, deps).await
    }

    async fn analytics(&self) -> anyhow::Result<Service> {
        let settings = colloquy_analytics::Settings {
            database: self.settings.databases.analytics.clone(),
            model: self.settings.model.clone(),
        };
        let deps = colloquy_analytics::Deps {
            clock: self.clock.clone(),
            page_tokens: self.keyring.page_tokens(),
            stop: self.stop.clone(),
            log: self.transports.trusted("ingestion")?,
            conversations: self.transports.trusted("conversation-store")?,
            transcripts: self.transports.trusted("transcript")?,
        };
        colloquy_analytics::build(settings, deps).await
    }

    async fn notification(&self) -> anyhow::Result<Service> {
        let settings = colloquy_notification::Settings {
            database: self.settings.databases.notification.clone(),
            outbound: self.settings.outbound.clone(),
            master_key: MasterKey::new(self.keyring.master()),
            smtp: self.settings.smtp.clone(),
        };
        let deps = colloquy_notification::Deps {
            clock: self.clock.clone(),
            page_tokens: self.keyring.page_tokens(),
            stop: self.stop.clone(),
            log: self.transports.trusted("ingestion")?,
            conversations: self.transports.trusted("conversation-store")?,
            transcripts: self.transports.trusted("transcript")?,
        };
        colloquy_notification::build(settings, deps).await
    }

    /// Live control: it runs where notification runs.
    async fn control(&self) -> anyhow::Result<Service> {
        let settings = colloquy_control::Settings {
            database: self.settings.databases.notification.clone(),
            outbound: self.settings.outbound.clone(),
        };
        let deps = colloquy_control::Deps {
            clock: self.clock.clone(),
            stop: self.stop.clone(),
            ingestion: self.transports.trusted("ingestion")?,
            conversations: self.transports.trusted("conversation-store")?,
        };
        colloquy_control::build(settings, deps).await
    }

    fn edge(&self) -> anyhow::Result<(Router, Task)> {
        let streams = colloquy_edge::StreamSettings {
            max_per_key: self.settings.max_sockets_per_key,
            max_streams: self.settings.max_sockets,
            ..Default::default()
        };
        let public_url = self.settings.public_url.clone();
        let settings = colloquy_edge::Settings { public_url, streams, ..Default::default() };
        let streams = colloquy_edge::StreamDeps {
            log: self.transports.trusted("ingestion")?,
            access: self.transports.trusted("access")?,
            service_token: self.keyring.service_token(),
            clock: self.clock.clone(),
            stop: self.stop.clone(),
        };
        Ok(colloquy_edge::build(settings, self.edge_deps()?, streams))
    }

    fn edge_checks(&self) -> anyhow::Result<Vec<Check>> {
        Ok(colloquy_edge::checks(self.edge_deps()?))
    }

    fn edge_deps(&self) -> anyhow::Result<colloquy_edge::Deps> {
        Ok(colloquy_edge::Deps {
            access: self.transports.plain("access")?,
            conversation_store: self.transports.plain("conversation-store")?,
            ingestion: self.transports.plain("ingestion")?,
            transcript: self.transports.plain("transcript")?,
            analytics: self.transports.plain("analytics")?,
            notification: self.transports.plain("notification")?,
        })
    }
}

/// Returns what ingestion is told.
pub(crate) fn ingestion_settings(settings: &Settings, keyring: &Keyring) -> colloquy_ingestion::Settings {
    let master_key = MasterKey::new(keyring.master());
    colloquy_ingestion::Settings {
        database: settings.databases.ingestion.clone(),
        engine: settings.log_engine.clone(),
        max_body_bytes: settings.max_webhook_bytes,
        max_audio_body_bytes: settings.max_audio_webhook_bytes,
        ..colloquy_ingestion::Settings::in_folder(settings.data_dir.clone(), master_key)
    }
}

fn spawn_server(
    tasks: &mut JoinSet<(&'static str, anyhow::Result<()>)>,
    name: &'static str,
    listener: TcpListener,
    router: Router,
    connections: Connections,
    stop: &CancellationToken,
    grace: Duration,
) {
    let stop = stop.clone();
    tasks.spawn(async move {
        server::serve_connections(listener, router, connections, stop, grace).await;
        (name, Ok(()))
    });
}

/// Spawns what must not end before the process is stopped.
fn spawn_task(
    tasks: &mut JoinSet<(&'static str, anyhow::Result<()>)>,
    name: &'static str,
    liveness: &Liveness,
    stop: &CancellationToken,
    work: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) {
    let watched = liveness.clone().watch(name, stop.clone(), work);
    tasks.spawn(async move { (name, watched.await) });
}

/// Where the process listens.
struct Listening {
    http: Option<SocketAddr>,
    grpc: SocketAddr,
    metrics: SocketAddr,
    services: String,
}

/// Waits until everything is ready and says where it is, once.
async fn announce(readiness: Readiness, path: PathBuf, listening: Listening, stop: CancellationToken) -> anyhow::Result<()> {
    tokio::select! {
        () = readiness.until_ready() => {}
        () = stop.cancelled() => return Ok(()),
    }
    let Listening { http, grpc, metrics, services } = listening;
    write_addresses(&path, http, grpc, metrics)?;
    let http_text = http.map_or_else(|| "none".to_owned(), |http| http.to_string());
    tracing::info!(http.addr = http_text, grpc.addr = %grpc, metrics.addr = %metrics, "ready: {services}");
    stop.cancelled().await;
    Ok(())
}

/// Says how a task ended, without what a panic said: it may quote a conversation. Where it was is logged when it happens.
fn how_it_ended(error: &JoinError) -> &'static str {
    if error.is_panic() { "panicked" } else { "was cancelled" }
}

async fn no_such_method() -> axum::response::Response {
    let status = tonic::Status::unimplemented("there is no such method; reflection lists what there is");
    status.into_http::<tonic::body::Body>().map(axum::body::Body::new)
}

/// Writes where the process listens, all of it or nothing: whoever waits for the file must not read half of it.
fn write_addresses(path: &Path, http: Option<SocketAddr>, grpc: SocketAddr, metrics: SocketAddr) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(path);
    let aside = path.with_extension("json.new");
    let text = serde_json::json!({
        "http": http.map(|address| address.to_string()), "grpc": grpc.to_string(), "metrics": metrics.to_string(),
    });
    std::fs::create_dir_all(folder).with_context(|| format!("data-dir: cannot make {}", folder.display()))?;
    std::fs::write(&aside, text.to_string()).with_context(|| format!("cannot write {}", aside.display()))?;
    std::fs::rename(&aside, path).with_context(|| format!("cannot write {}", path.display()))
}
