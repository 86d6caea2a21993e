//! A running `colloquy serve`, as its users see it.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use colloquy_providers::sign;
use colloquy_types::{Clock, Provider, SystemClock};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::binary::binary;
use crate::engine::Engine;
use crate::installation::{ADMIN_KEY, Installation};
use crate::member::Member;

/// How long a read may take to show what was written.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many suites run at once.
static SUITES: Semaphore = Semaphore::const_new(2);

/// A running server, of one process or of several. Killed when dropped.
pub struct Server {
    installation: Installation,
    /// Where REST is: the first of the edges.
    pub base: String,
    /// Where gRPC is: of the first process.
    pub grpc: String,
    bases: Vec<String>,
    /// How many requests were made: the edges take turns.
    requests: AtomicUsize,
    http: reqwest::Client,
    /// What it runs on, for whoever reads of a failure.
    engine: String,
    /// Many processes at once would only wait for each other.
    _turn: Option<SemaphorePermit<'static>>,
}

/// A provider connection of a test.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its id.
    pub id: String,
    /// Its provider.
    pub provider: Provider,
    /// Its secret.
    pub secret: String,
}

impl Server {
    /// Starts a server with nothing in it.
    pub async fn start(engine: Engine) -> Self {
        Self::start_with(engine, &[]).await
    }

    /// Starts a server with further environment variables.
    pub async fn start_with(engine: Engine, settings: &[(&str, &str)]) -> Self {
        let turn = match engine {
            Engine::Suite(_) => Some(SUITES.acquire().await.unwrap()),
            Engine::Sqlite | Engine::Postgres(_) => None,
        };
        let mut server = Self::launch(Installation::new(&engine, settings)).await;
        server.engine = format!("{engine:?}");
        server._turn = turn;
        server
    }

    /// Starts the processes of an installation.
    pub async fn launch(installation: Installation) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        let (base, grpc, bases, requests) = (String::new(), String::new(), Vec::new(), AtomicUsize::new(0));
        let mut server = Self { installation, base, grpc, bases, requests, http, engine: String::new(), _turn: None };
        server.restart().await;
        server
    }

    /// Starts a killed server again on the same data.
    pub async fn restart(&mut self) {
        self.installation.start().await;
        let addresses: Vec<_> = self.installation.members().iter_mut().filter_map(Member::listening).collect();
        self.bases = addresses.iter().filter_map(|addresses| addresses.http.clone()).collect();
        self.base = self.bases[0].clone();
        self.grpc = addresses[0].grpc.clone();
    }

    /// Sends SIGKILL to every process and waits for the end.
    pub fn kill(&mut self) {
        for member in self.installation.members() {
            member.running().kill();
        }
    }

    /// Sends SIGTERM to one process after the other, and returns whether each ended well within the limit.
    pub async fn terminate(&mut self, limit: Duration) -> bool {
        for member in self.installation.members() {
            if !member.running().terminate(limit).await.is_some_and(|status| status.success()) {
                return false;
            }
        }
        true
    }

    /// Returns the process id of the only process.
    ///
    /// # Panics
    /// When there are several.
    pub fn pid(&self) -> u32 {
        match self.installation.all() {
            [only] => only.id(),
            members => panic!("there are {} processes", members.len()),
        }
    }

    /// Returns the processes.
    pub fn installation(&mut self) -> &mut Installation {
        &mut self.installation
    }

    /// Returns where REST is, every edge of it.
    pub fn bases(&self) -> &[String] {
        &self.bases
    }

    /// Returns where the gRPC of a service is: of its first process.
    pub fn grpc_of(&self, service: &str) -> String {
        match self.installation.grpc_of(service).first() {
            Some(address) => format!("http://{address}"),
            None => self.grpc.clone(),
        }
    }

    /// Returns the administrator's key.
    pub fn admin_key(&self) -> &'static str {
        ADMIN_KEY
    }

    /// Returns the server's data folder; of several processes, the one that holds all of theirs.
    pub fn data_dir(&self) -> &Path {
        self.installation.folder()
    }

    /// Returns what the server wrote to standard error.
    pub fn log(&self) -> String {
        self.installation.log()
    }

    fn next_base(&self) -> &str {
        &self.bases[self.requests.fetch_add(1, Ordering::Relaxed) % self.bases.len()]
    }

    /// Returns a request without any key.
    pub fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.next_base()))
    }

    /// Returns a request with the administrator's key.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).header("x-api-key", ADMIN_KEY)
    }

    /// Gets JSON that must be there.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.request(Method::GET, path).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{path}: {text}\n{}", self.installation.last_words(20));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }

    /// Gets the metrics as Prometheus text, of one process after the other.
    pub async fn metrics_text(&self) -> String {
        let mut text = String::new();
        for member in self.installation.all() {
            text += &self.http.get(member.metrics_url()).send().await.unwrap().text().await.unwrap();
        }
        text
    }

    /// Posts JSON that must be taken.
    pub async fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.request(Method::POST, path).json(body).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Makes an API key with the shell command, beside the running server.
    pub fn key(&self, organization: &str, scopes: &str) -> String {
        let made: Value =
            serde_json::from_str(&self.keys(&["create", "--organization", organization, "--scopes", scopes, "--json"])).unwrap();
        made["key"].as_str().unwrap().to_owned()
    }

    /// Revokes a key that [`Server::key`] made, with the shell command.
    pub fn revoke(&self, key: &str) {
        let listed = self.keys(&["list", "--json"]);
        let entry = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let entry =
            entry.into_iter().find(|entry| key.starts_with(entry["prefix"].as_str().unwrap()) && entry["revoked_at"].is_null());
        self.keys(&["revoke", entry.unwrap()["key_id"].as_str().unwrap()]);
    }

    /// Returns a shell command of the program, beside the running server.
    pub fn run(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments);
        self.installation.all()[0].environment(&mut command);
        command
    }

    fn keys(&self, arguments: &[&str]) -> String {
        let output = self.run(&["keys"]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes a source with the provider's usual scheme.
    pub async fn source(&self, provider: Provider) -> Source {
        let secret = format!("secret-of-{provider}-0123456789abcdef");
        let body = json!({
            "provider": provider, "name": format!("test {provider}"),
            "verification": {"scheme": sign::scheme(provider), "secret": secret},
        });
        let made = self.post("/v1/sources", &body).await;
        Source { id: made["source_id"].as_str().unwrap().to_owned(), provider, secret }
    }

    /// Delivers a webhook, signed now.
    pub async fn deliver(&self, source: &Source, body: &[u8]) -> reqwest::Result<Response> {
        source.deliver_to(&self.http, self.next_base(), body).await
    }

    /// Gets `path` until `holds` holds of it.
    pub async fn eventually(&self, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let answer = self.request(Method::GET, path).send().await.unwrap();
            let status = answer.status();
            let value: Value = answer.json().await.unwrap_or(Value::Null);
            if status == StatusCode::OK && holds(&value) {
                return value;
            }
            assert!(started.elapsed() < PATIENCE, "{path} is still {status}: {value}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Source {
    /// Delivers a webhook to a server at `base`, signed now.
    pub async fn deliver_to(&self, http: &reqwest::Client, base: &str, body: &[u8]) -> reqwest::Result<Response> {
        let mut request = http.post(format!("{base}/v1/webhooks/{}", self.id)).header("content-type", "application/json");
        for (name, value) in sign::headers(self.provider, &self.secret, body, SystemClock.now()) {
            request = request.header(name, value);
        }
        request.body(body.to_vec()).send().await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}\nthe server's last lines:\n{}", self.engine, self.installation.last_words(30));
        }
    }
}
