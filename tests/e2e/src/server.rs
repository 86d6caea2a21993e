//! A running `colloquy serve`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use colloquy_providers::sign;
use colloquy_types::{Clock, Provider, SystemClock};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The administrator key every test server is started with.
const ADMIN_KEY: &str = "e2e-administrator-key";
/// How long a server may take to be ready, and a read to show what was written.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a server keeps its data in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Engine {
    /// Files in its data folder.
    Sqlite,
    /// A database of its own.
    Postgres(String),
}

impl Engine {
    /// Returns every engine there is to test on.
    pub async fn all() -> Vec<Self> {
        let postgres = colloquy_testkit::postgres::database_url().await.map(Self::Postgres);
        std::iter::once(Self::Sqlite).chain(postgres).collect()
    }
}

/// A running server. Killed when dropped.
pub struct Server {
    child: Child,
    folder: TempDir,
    engine: Engine,
    settings: Vec<(String, String)>,
    /// Where REST is.
    pub base: String,
    /// Where gRPC is.
    pub grpc: String,
    metrics: String,
    http: reqwest::Client,
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
        let folder = TempDir::new().unwrap();
        let settings: Vec<(String, String)> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let child = spawn(folder.path(), &engine, &settings);
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        let nowhere = String::new;
        let mut server = Self { child, folder, engine, settings, base: nowhere(), grpc: nowhere(), metrics: nowhere(), http };
        server.wait_until_ready().await;
        server
    }

    /// Starts a killed server again on the same data.
    pub async fn restart(&mut self) {
        std::fs::remove_file(self.folder.path().join("addresses.json")).ok();
        self.child = spawn(self.folder.path(), &self.engine, &self.settings);
        self.wait_until_ready().await;
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM and returns whether the server ended well within the limit.
    pub async fn terminate(&mut self, limit: Duration) -> bool {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        let started = Instant::now();
        while started.elapsed() < limit {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    /// Returns the server's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the administrator's key.
    pub fn admin_key(&self) -> &'static str {
        ADMIN_KEY
    }

    /// Returns the server's data folder.
    pub fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    /// Returns what the server wrote to standard error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr.log")).unwrap_or_default()
    }

    async fn wait_until_ready(&mut self) {
        let path = self.folder.path().join("addresses.json");
        let started = Instant::now();
        loop {
            if let Ok(text) = std::fs::read_to_string(&path) {
                let addresses: Value = serde_json::from_str(&text).unwrap();
                let at = |name: &str| format!("http://{}", addresses[name].as_str().unwrap());
                (self.base, self.grpc, self.metrics) = (at("http"), at("grpc"), at("metrics"));
                return;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the server ended with {status}:\n{}", self.log());
            }
            assert!(started.elapsed() < PATIENCE, "the server is not ready:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Returns a request without any key.
    pub fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
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
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }

    /// Gets the metrics as Prometheus text.
    pub async fn metrics_text(&self) -> String {
        self.http.get(format!("{}/metrics", self.metrics)).send().await.unwrap().text().await.unwrap()
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
        environment(&mut command, self.folder.path(), &self.engine, &self.settings);
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
        source.deliver_to(&self.http, &self.base, body).await
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
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            eprintln!("the server's last lines:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
    }
}

fn spawn(folder: &Path, engine: &Engine, settings: &[(String, String)]) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("stderr.log")).unwrap();
    let mut command = Command::new(binary());
    command.arg("serve").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    environment(&mut command, folder, engine, settings);
    command.spawn().unwrap()
}

fn environment(command: &mut Command, folder: &Path, engine: &Engine, settings: &[(String, String)]) {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("COLLOQUY_") || name.starts_with("OTEL_")) {
        command.env_remove(name);
    }
    command.env("COLLOQUY_DATA_DIR", folder).env("COLLOQUY_BOOTSTRAP_API_KEY", ADMIN_KEY);
    for address in ["HTTP", "GRPC", "METRICS"] {
        command.env(format!("COLLOQUY_{address}_ADDR"), "127.0.0.1:0");
    }
    if let Engine::Postgres(url) = engine {
        command.env("COLLOQUY_DATABASE_URL", url);
    }
    command.envs(settings.iter().map(|(name, value)| (name, value)));
}

/// Returns the program: the one `COLLOQUY_BIN` names, else this profile's, built if it is not; cargo builds it for its own
/// package's tests only.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(given) = std::env::var_os("COLLOQUY_BIN").filter(|given| !given.is_empty()) {
            return given.into();
        }
        let own = std::env::current_exe().unwrap();
        let folder = own.parent().unwrap();
        let profile = if folder.ends_with("deps") { folder.parent().unwrap() } else { folder };
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args(["build", "--quiet", "--package", "colloquy", "--target-dir"]).arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "the program does not build");
        profile.join("colloquy")
    })
}
