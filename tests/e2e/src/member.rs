//! One process of an installation: a `colloquy serve`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use colloquy_testkit::Process;
use serde_json::Value;

use crate::binary::binary;

/// How long a process may take to be ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a process listens.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// REST, when the process has the edge.
    pub http: Option<String>,
    /// gRPC.
    pub grpc: String,
    /// Metrics and readiness.
    pub metrics: String,
}

/// A process, running or not. Killed when dropped.
pub struct Member {
    name: String,
    /// The service it runs; `None` for all of them.
    service: Option<&'static str>,
    folder: PathBuf,
    log: PathBuf,
    settings: Vec<(String, String)>,
    process: Option<Process>,
    addresses: Option<Addresses>,
}

impl Member {
    /// Returns a process that runs every service, is not started yet, and keeps its data in `folder`.
    pub(crate) fn alone(folder: &Path, settings: Vec<(String, String)>) -> Self {
        let log = folder.join("stderr.log");
        Self {
            name: "server".to_owned(),
            service: None,
            folder: folder.to_owned(),
            log,
            settings,
            process: None,
            addresses: None,
        }
    }

    /// Returns the process called `name` that runs `service`, is not started yet, and keeps its data in a folder within `folder`.
    pub(crate) fn of(service: &'static str, name: &str, folder: &Path, settings: Vec<(String, String)>) -> Self {
        // Its log lies elsewhere: what happens to its data must not happen to what is told about it.
        let (log, folder) = (folder.join(format!("{name}.log")), folder.join(name));
        std::fs::create_dir_all(&folder).unwrap();
        Self { name: name.to_owned(), service: Some(service), folder, log, settings, process: None, addresses: None }
    }

    /// Returns its name within the installation, for example `transcript-2`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the service it runs; `None` when it runs all of them.
    pub fn service(&self) -> Option<&'static str> {
        self.service
    }

    /// Returns its data folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Sets an environment variable for its next start.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.into()));
    }

    /// Returns what an environment variable is set to.
    pub(crate) fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Starts it; [`Member::ready`] tells when it is ready.
    pub fn start(&mut self) {
        std::fs::remove_file(self.folder.join("addresses.json")).ok();
        self.addresses = None;
        let mut command = Command::new(binary());
        command.arg("serve").args(self.service);
        self.environment(&mut command);
        self.process = Some(Process::spawn(command, &self.log));
    }

    /// Puts its settings, and nobody else's, into a command's environment.
    pub(crate) fn environment(&self, command: &mut Command) {
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("COLLOQUY_") || name.starts_with("OTEL_")) {
            command.env_remove(name);
        }
        command.env("COLLOQUY_DATA_DIR", &self.folder);
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
    }

    /// Waits until it is ready, and returns where it listens.
    ///
    /// # Panics
    /// When it ends instead, or is not ready in time.
    pub async fn ready(&mut self) -> Addresses {
        let started = Instant::now();
        loop {
            if let Some(addresses) = self.listening() {
                return addresses;
            }
            if let Some(status) = self.running().ended() {
                panic!("{} ended with {status}:\n{}", self.name, self.log());
            }
            assert!(started.elapsed() < PATIENCE, "{} is not ready:\n{}", self.name, self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Returns where it listens, once it is ready.
    pub fn listening(&mut self) -> Option<Addresses> {
        if self.addresses.is_none() {
            let text = std::fs::read_to_string(self.folder.join("addresses.json")).ok()?;
            let addresses: Value = serde_json::from_str(&text).unwrap();
            let at = |name: &str| addresses[name].as_str().map(|address| format!("http://{address}"));
            self.addresses = Some(Addresses { http: at("http"), grpc: at("grpc").unwrap(), metrics: at("metrics").unwrap() });
        }
        self.addresses.clone()
    }

    /// Returns its process.
    ///
    /// # Panics
    /// When it is not started.
    pub fn running(&mut self) -> &mut Process {
        self.process.as_mut().unwrap_or_else(|| panic!("{} is not started", self.name))
    }

    /// Returns where its metrics are.
    ///
    /// # Panics
    /// When it is not known to be ready.
    pub fn metrics_url(&self) -> String {
        format!("{}/metrics", self.addresses.as_ref().unwrap_or_else(|| panic!("{} is not ready", self.name)).metrics)
    }

    /// Returns its process's id.
    pub(crate) fn id(&self) -> u32 {
        self.process.as_ref().unwrap_or_else(|| panic!("{} is not started", self.name)).id()
    }

    /// Returns what it wrote, since its first start.
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}
