//! An installation to be hurt, with its engines, its proxies and what is sent to it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use colloquy_e2e::{Engine, Installation, JetStream, Server, Suite};
use colloquy_testkit::{FaultProxy, Nats, NatsCluster, PostgresServer};
use colloquy_types::Provider;
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

use crate::chance::Chance;
use crate::deliveries::{Delivery, deliveries};
use crate::everything::{self, Everything};
use crate::small_disk::SmallDisk;
use crate::stream::{Sender, Stream};

/// How long an installation may take to work again once the damage is undone.
const RECOVERY: Duration = Duration::from_secs(30);
/// Enough for all services of all processes, and not too many to use up.
const MAX_CONNECTIONS: u16 = 250;
/// A reader that takes longer over a batch than this loses it to another.
pub(crate) const ACK_WAIT_SECONDS: u32 = 2;
/// Marks what is written only to see whether writing works.
const PROBE: &str = "probe";

/// One at a time: two would only take the processors from each other, and call each other slow.
static TURN: Mutex<()> = Mutex::const_new(());

/// What keeps the event log.
pub enum Log {
    /// The one ingestion, in its data folder.
    Embedded,
    /// A NATS server.
    JetStream(Box<Nats>),
    /// Three NATS servers.
    Cluster(NatsCluster),
}

/// Connections that run through proxies: from a service to another, to `postgres`, or to `nats`.
pub type Link = (&'static str, &'static str);

/// An installation of separate processes with engines of its own.
pub struct Scene {
    /// A small disk beneath the data of one process, which the installation keeps until its processes have ended.
    pub disk: Option<Arc<SmallDisk>>,
    /// Its processes.
    pub server: Server,
    /// Their database.
    pub postgres: PostgresServer,
    /// Their log.
    pub log: Log,
    /// Where the log is in NATS.
    pub stream_name: String,
    /// What the test leaves to chance.
    pub chance: Chance,
    proxies: BTreeMap<Link, Vec<FaultProxy>>,
    sender: Sender,
    /// Conversations that are not compared: what was done to them is the fault.
    excluded: Vec<String>,
    started: Instant,
    name: String,
    _turn: MutexGuard<'static, ()>,
}

impl Scene {
    /// Starts an installation for the test called `name`.
    pub async fn start(name: &str, log: Log) -> Self {
        Self::lay_out(name, log, &[], None).await
    }

    /// Starts an installation with proxies on `links`.
    pub async fn with_proxies(name: &str, log: Log, links: &[Link]) -> Self {
        Self::lay_out(name, log, links, None).await
    }

    /// Starts an installation that has the data of the process `member` on a disk of so many MiB.
    pub async fn with_small_disk(name: &str, log: Log, member: &str, mebibytes: u32) -> Self {
        Self::lay_out(name, log, &[], Some((member, mebibytes))).await
    }

    async fn lay_out(name: &str, log: Log, links: &[Link], disk: Option<(&str, u32)>) -> Self {
        let turn = TURN.lock().await;
        let name = format!("{name} ({})", log.name());
        let chance = Chance::of(&name);
        // Before the clock: it is made once, and has nothing to do with this installation.
        everything::undisturbed().await;
        let started = Instant::now();
        let postgres = PostgresServer::start(MAX_CONNECTIONS).await;
        let jetstream = log.url().map(|url| {
            let replicas = if matches!(log, Log::Cluster(_)) { 3 } else { 1 };
            JetStream { ack_wait_seconds: ACK_WAIT_SECONDS, replicas, ..JetStream::new(url) }
        });
        let stream_name = jetstream.as_ref().map(|stream| stream.stream.clone()).unwrap_or_default();
        let suite = Suite { database_url: postgres.url(), log: jetstream, objects_url: None };
        // Receivers of webhooks are on this machine.
        let settings = [("COLLOQUY_OUTBOUND_ALLOW_NETWORKS", "127.0.0.0/8")];
        let mut installation = Installation::new(&Engine::Suite(suite), &settings);
        let mut proxies = BTreeMap::new();
        for each in links {
            proxies.insert(*each, link(&mut installation, &postgres, &log, *each).await);
        }
        let disk = disk.map(|(member, mebibytes)| {
            let disk = Arc::new(SmallDisk::mount(installation.member(member).folder(), mebibytes));
            installation.keep(Arc::clone(&disk));
            disk
        });
        let server = Server::launch(installation).await;
        let sender = sender(&server).await;
        let excluded = Vec::new();
        Self { server, postgres, log, stream_name, chance, disk, proxies, sender, excluded, started, name, _turn: turn }
    }

    /// Begins to send all deliveries, in random order.
    pub fn stream(&mut self) -> Stream {
        let mut all = deliveries();
        self.chance.shuffle(&mut all);
        Stream::start(&self.sender, all)
    }

    /// Begins to send a part of all deliveries, in their order: that from one percentage to another.
    pub fn stream_part(&mut self, percent: std::ops::Range<usize>) -> Stream {
        let all = deliveries();
        let part = all.len() * percent.start / 100..all.len() * percent.end / 100;
        Stream::start(&self.sender, all[part].to_vec())
    }

    /// Returns the proxies of a link: one for each process at its far end.
    pub fn proxies(&self, link: Link) -> &[FaultProxy] {
        &self.proxies[&link]
    }

    /// Leaves a conversation out of the comparison.
    pub fn exclude(&mut self, conversation: &str) {
        self.excluded.push(conversation.to_owned());
    }

    /// Kills one process of each of `services`, starts them again, and returns their names. None of them is ready yet.
    pub async fn kill_and_start(&mut self, services: &[&str]) -> Vec<String> {
        let mut victims = Vec::new();
        for service in services {
            let replicas = self.replicas(service);
            victims.push(self.chance.one_of(&replicas).clone());
        }
        for victim in &victims {
            self.server.installation().member(victim).running().kill();
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        for victim in &victims {
            self.server.installation().member(victim).start();
        }
        victims
    }

    /// Kills a process, and starts it again after a moment, as whatever watches over processes would.
    pub async fn kill_and_restart(&mut self, name: &str) {
        let member = self.server.installation().member(name);
        member.running().kill();
        tokio::time::sleep(Duration::from_millis(300)).await;
        member.start();
        member.ready().await;
    }

    /// Returns the names of the processes of `service`.
    pub fn replicas(&mut self, service: &str) -> Vec<String> {
        self.server.installation().of(service).map(|member| member.name().to_owned()).collect()
    }

    /// Proves that every edge writes, and that every reader reads what was written, within the time an installation has to
    /// recover.
    pub async fn recovers(&mut self) {
        let healed = Instant::now();
        let bases = self.server.bases().len();
        let mut last = String::new();
        let mut done = 0;
        while done < bases {
            match self.probe().await {
                Ok(()) => done += 1,
                Err(why) => {
                    last = why;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            assert!(
                healed.elapsed() < RECOVERY,
                "{}: not recovered within {RECOVERY:?}: {last}\n{}",
                self.name,
                self.server.installation().last_words(20)
            );
        }
        eprintln!("{}: recovered in {:?}", self.name, healed.elapsed());
    }

    /// Writes something and reads it, from both views.
    async fn probe(&self) -> Result<(), String> {
        let (id, body) = probe_event();
        let post = self.server.request(reqwest::Method::POST, "/v1/events").timeout(RECOVERY).json(&body);
        let written = json_of(post).await?;
        for path in ["", "/transcript"] {
            let path = format!("/v1/conversations/{id}{path}?min_position={}", written["position"]);
            json_of(self.server.request(reqwest::Method::GET, &path).timeout(RECOVERY)).await?;
        }
        Ok(())
    }

    /// Waits until every delivery is acknowledged and every reader has it.
    pub async fn finishes(&mut self, stream: Stream) {
        let answers = stream.ends().await;
        assert!(answers.wrong.is_empty(), "{}: answers that are no refusal with a hint: {:#?}", self.name, answers.wrong);
        // What is written last is read last.
        self.recovers().await;
    }

    /// Ends the test: the installation recovers, every delivery is acknowledged, every refusal was one that says when to come
    /// again, and all there is to read is what an undisturbed installation says.
    pub async fn holds(mut self, stream: Stream) {
        self.recovers().await;
        let answers = stream.ends().await;
        self.matches_the_undisturbed().await;
        eprintln!(
            "{}: {} acknowledged, {} refused, {} unanswered, slowest answer {:?}, {:?} in all",
            self.name,
            answers.acknowledged,
            answers.refused,
            answers.unanswered,
            answers.slowest,
            self.started.elapsed()
        );
        assert!(answers.wrong.is_empty(), "{}: answers that are no refusal with a hint: {:#?}", self.name, answers.wrong);
    }

    /// Returns the ids of all events in the histories of all conversations, but for recordings: those that cannot be fetched are
    /// nothing to tell of.
    pub async fn events_of_histories(&self) -> BTreeSet<String> {
        let everything = everything::read(&self.server).await.unwrap_or_else(|why| panic!("{}: {why}", self.name));
        let events = everything.values().flat_map(|record| record["history"].as_array().cloned().unwrap_or_default());
        let told = events.filter(|event| !event["type"].as_str().unwrap().starts_with("recording."));
        told.map(|event| event["event_id"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until everything can be read that an undisturbed installation says, and nothing else.
    pub async fn matches_the_undisturbed(&mut self) {
        let mut expected: Everything = everything::undisturbed().await.clone();
        expected.retain(|id, _| !self.excluded.contains(id));
        let started = Instant::now();
        loop {
            let difference = match everything::read(&self.server).await {
                Ok(mut found) => {
                    found.retain(|id, _| !self.excluded.contains(id));
                    everything::difference(&expected, &found)
                }
                Err(why) => Some(why),
            };
            let Some(difference) = difference else { return };
            assert!(
                started.elapsed() < RECOVERY,
                "{}: not what an undisturbed installation says: {difference}\n{}",
                self.name,
                self.server.installation().last_words(20)
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Log {
    /// Starts a NATS server for the log.
    pub async fn jetstream() -> Self {
        Self::JetStream(Box::new(Nats::start().await))
    }

    /// Starts three NATS servers for the log.
    pub async fn cluster() -> Self {
        Self::Cluster(NatsCluster::start().await)
    }

    /// Returns the NATS server.
    ///
    /// # Panics
    /// When the log is elsewhere.
    pub fn nats(&mut self) -> &mut Nats {
        match self {
            Self::JetStream(nats) => nats,
            Self::Embedded | Self::Cluster(_) => panic!("the log is not in a single NATS server"),
        }
    }

    fn nats_address(&self) -> SocketAddr {
        match self {
            Self::JetStream(nats) => nats.address(),
            Self::Embedded | Self::Cluster(_) => panic!("the log is not in a single NATS server"),
        }
    }

    /// Returns the three NATS servers.
    ///
    /// # Panics
    /// When the log is elsewhere.
    pub fn cluster_of_three(&mut self) -> &mut NatsCluster {
        match self {
            Self::Cluster(cluster) => cluster,
            Self::Embedded | Self::JetStream(_) => panic!("the log is not in a cluster"),
        }
    }

    fn url(&self) -> Option<String> {
        match self {
            Self::Embedded => None,
            Self::JetStream(nats) => Some(nats.url()),
            Self::Cluster(cluster) => Some(cluster.url()),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Embedded => "embedded log",
            Self::JetStream(_) => "JetStream",
            Self::Cluster(_) => "JetStream cluster",
        }
    }
}

/// Puts proxies between the processes of a service and the far end of a link.
async fn link(installation: &mut Installation, postgres: &PostgresServer, log: &Log, (from, to): Link) -> Vec<FaultProxy> {
    let targets = match to {
        "postgres" => vec![postgres.address()],
        "nats" => vec![log.nats_address()],
        service => installation.grpc_of(service),
    };
    let mut proxies = Vec::new();
    for target in targets {
        proxies.push(FaultProxy::start(target).await);
    }
    let addresses: Vec<SocketAddr> = proxies.iter().map(FaultProxy::address).collect();
    let (setting, url) = match to {
        "postgres" => ("COLLOQUY_DATABASE_URL", postgres.url_through(addresses[0])),
        "nats" => ("COLLOQUY_LOG_URL", format!("nats://{}", addresses[0])),
        service => {
            installation.route(from, service, &addresses);
            return proxies;
        }
    };
    for member in installation.of(from) {
        member.set(setting, url.clone());
    }
    proxies
}

async fn sender(server: &Server) -> Sender {
    let mut sources = Vec::new();
    for provider in [Provider::ElevenLabs, Provider::Retell, Provider::Vapi, Provider::AgentSession] {
        sources.push(server.source(provider).await);
    }
    Sender::new(server.bases(), sources, server.admin_key())
}

/// Sends all of it and waits until it is acknowledged.
pub(crate) async fn send_all(server: &Server, deliveries: Vec<Delivery>) {
    let stream = Stream::start(&sender(server).await, deliveries);
    let answers = stream.ends().await;
    assert!(answers.wrong.is_empty() && answers.refused == 0, "an undisturbed installation refuses: {answers:?}");
}

/// Writes a probe and returns its position.
pub(crate) async fn probe_position(server: &Server) -> u64 {
    server.post("/v1/events", &probe_event().1).await["position"].as_u64().unwrap()
}

fn probe_event() -> (Uuid, Value) {
    let id = Uuid::now_v7();
    let event = json!({"event_id": id, "conversation_id": id, "type": "conversation.started", "data": {"agent_id": PROBE}});
    (id, json!({ "events": [event] }))
}

/// Returns whether a listed conversation is a probe.
pub(crate) fn is_probe(listed: &Value) -> bool {
    listed["agent_id"] == PROBE
}

async fn json_of(request: reqwest::RequestBuilder) -> Result<Value, String> {
    let answer = request.send().await.map_err(|error| format!("no answer: {error}"))?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| format!("half an answer: {error}"))?;
    if !status.is_success() {
        return Err(format!("{status}: {text}"));
    }
    serde_json::from_str(&text).map_err(|error| error.to_string())
}
