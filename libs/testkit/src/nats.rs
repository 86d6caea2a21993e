//! NATS with JetStream: the server that tests share, and servers of their own that can be hurt.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::{Process, http, ports, until};

/// How long a server may take to answer, and a cluster to agree on a leader.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns the server that tests may share, from `COLLOQUY_TEST_NATS_URL`.
///
/// # Panics
/// When the variable is not set although `COLLOQUY_REQUIRE_NATS` or `CI` is: tests must not pass by not running.
pub fn server_url() -> Option<String> {
    let url = std::env::var("COLLOQUY_TEST_NATS_URL").ok().filter(|url| !url.is_empty());
    let required = ["COLLOQUY_REQUIRE_NATS", "CI"].iter().any(|name| std::env::var_os(name).is_some());
    assert!(url.is_some() || !required, "COLLOQUY_TEST_NATS_URL is not set; tests/run starts a server and sets it");
    url
}

/// A server with a store of its own. Killed when dropped.
pub struct Nats {
    name: String,
    client: SocketAddr,
    monitor: SocketAddr,
    cluster: Option<(SocketAddr, String)>,
    arguments: Vec<String>,
    folder: TempDir,
    process: Option<Process>,
}

impl Nats {
    /// Starts a server.
    pub async fn start() -> Self {
        let mut server = Self::new("single", None);
        server.restart().await;
        server
    }

    /// Starts a server with further arguments, for example `--user` and `--pass`.
    pub async fn start_with(arguments: &[&str]) -> Self {
        let mut server = Self::new("single", None);
        server.arguments = arguments.iter().map(ToString::to_string).collect();
        server.restart().await;
        server
    }

    fn new(name: &str, cluster: Option<(SocketAddr, String)>) -> Self {
        let folder = TempDir::with_prefix("colloquy-nats-").unwrap();
        let (client, monitor) = (ports::free_address(), ports::free_address());
        Self { name: name.to_owned(), client, monitor, cluster, arguments: Vec::new(), folder, process: None }
    }

    /// Returns where clients connect.
    pub fn url(&self) -> String {
        format!("nats://{}", self.client)
    }

    /// Returns where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.client
    }

    /// Sends SIGKILL and waits for the end. Its store stays.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Starts it again after [`Nats::kill`], with whatever is in its store.
    pub async fn restart(&mut self) {
        self.spawn();
        self.wait_until_healthy().await;
    }

    /// Removes everything it has stored. It must not be running.
    pub fn wipe(&mut self) {
        assert!(self.process.is_none(), "a running server's store cannot be wiped");
        std::fs::remove_dir_all(self.store()).unwrap();
    }

    /// Returns the folder of what it stores.
    pub fn store(&self) -> std::path::PathBuf {
        self.folder.path().join("store")
    }

    fn spawn(&mut self) {
        let mut command = Command::new("nats-server");
        command.args(["--addr", "127.0.0.1", "--port", &self.client.port().to_string(), "--name", &self.name]);
        command.args(["--http_port", &self.monitor.port().to_string(), "--jetstream", "--store_dir"]).arg(self.store());
        command.args(&self.arguments);
        if let Some((own, routes)) = &self.cluster {
            command.args(["--cluster_name", "faults", "--cluster", &format!("nats://{own}"), "--routes", routes]);
        }
        self.process = Some(Process::spawn(command, &self.folder.path().join("server.log")));
    }

    async fn wait_until_healthy(&self) {
        let healthy = || async { http::get(self.monitor, "/healthz").await.is_some() };
        until(PATIENCE, &format!("nats-server {} is healthy:\n{}", self.name, self.log()), healthy).await;
    }

    /// Returns what the server wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }

    /// Returns what the server says of its JetStream.
    async fn jetstream(&self) -> Option<Value> {
        http::get(self.monitor, "/jsz?accounts=true&streams=true").await
    }
}

/// Three servers that agree by majority.
pub struct NatsCluster {
    servers: Vec<Nats>,
}

impl NatsCluster {
    /// Starts the servers and waits until they have elected who keeps their common knowledge.
    pub async fn start() -> Self {
        let routes: Vec<SocketAddr> = (0..3).map(|_| ports::free_address()).collect();
        let all = routes.iter().map(|route| format!("nats://{route}")).collect::<Vec<_>>().join(",");
        let servers = routes.iter().zip(["one", "two", "three"]);
        let mut servers: Vec<Nats> = servers.map(|(own, name)| Nats::new(name, Some((*own, all.clone())))).collect();
        for server in &mut servers {
            server.spawn();
        }
        for server in &servers {
            server.wait_until_healthy().await;
        }
        let cluster = Self { servers };
        let elected = || async {
            let said = cluster.servers[0].jetstream().await;
            said.is_some_and(|said| said["meta_cluster"]["leader"].as_str().is_some_and(|leader| !leader.is_empty()))
        };
        until(PATIENCE, "the cluster has a leader", elected).await;
        cluster
    }

    /// Returns where clients connect: every server.
    pub fn url(&self) -> String {
        self.servers.iter().map(Nats::url).collect::<Vec<_>>().join(",")
    }

    /// Kills the server that leads the stream and returns its name.
    pub async fn kill_leader_of(&mut self, stream: &str) -> String {
        let leader = self.leader_of(stream).await;
        let server = self.servers.iter_mut().find(|server| server.name == leader).unwrap();
        server.kill();
        leader
    }

    /// Starts a killed server again.
    pub async fn restart(&mut self, name: &str) {
        let server = self.servers.iter_mut().find(|server| server.name == name).unwrap();
        server.restart().await;
    }

    async fn leader_of(&self, stream: &str) -> String {
        let started = std::time::Instant::now();
        loop {
            for server in self.servers.iter().filter(|server| server.process.is_some()) {
                if let Some(leader) = server.jetstream().await.and_then(|said| leader_in(&said, stream)) {
                    return leader;
                }
            }
            assert!(started.elapsed() < PATIENCE, "the stream {stream} has no leader");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn leader_in(said: &Value, stream: &str) -> Option<String> {
    let accounts = said["account_details"].as_array()?;
    let streams = accounts.iter().flat_map(|account| account["stream_detail"].as_array().into_iter().flatten());
    let mut named = streams.filter(|detail| detail["name"] == stream);
    named.find_map(|detail| detail["cluster"]["leader"].as_str()).filter(|leader| !leader.is_empty()).map(str::to_owned)
}
