//! The settings: one table of what they are called, and one place where they are read and checked.
//!
//! Flags win over the environment, the environment over the file named by `--config`, the file over the defaults. Every problem
//! is reported at once, with the setting's name and where its value came from.

mod table;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use colloquy_analytics::ModelSettings;
use colloquy_ingestion::log::{JetStreamSettings, LogEngine};
use colloquy_notification::Smtp;
use colloquy_outbound::Policy;
use colloquy_service::telemetry::LogFormat;
use colloquy_service::tls::TlsFiles;
use colloquy_service::transport::{Target, TargetError};
use colloquy_storage::DatabaseUrl;
use url::Url;

pub(crate) use values::{Values, arguments};

/// The services, in the order they are started.
pub(crate) const SERVICES: [&str; 7] =
    ["access", "conversation-store", "ingestion", "transcript", "analytics", "notification", "edge"];

/// Everything the binary is told, checked.
pub(crate) struct Settings {
    pub(crate) data_dir: PathBuf,
    pub(crate) databases: Databases,
    pub(crate) log_engine: LogEngine,
    pub(crate) objects_url: String,
    pub(crate) http_addr: SocketAddr,
    pub(crate) grpc_addr: SocketAddr,
    pub(crate) metrics_addr: SocketAddr,
    pub(crate) service_urls: Vec<(&'static str, Target)>,
    pub(crate) tls: TlsFiles,
    pub(crate) max_connection_age: Duration,
    pub(crate) public_url: Option<Url>,
    pub(crate) bootstrap_api_key: Option<String>,
    pub(crate) master_key: Option<String>,
    pub(crate) outbound: Policy,
    pub(crate) smtp: Option<Smtp>,
    pub(crate) transcript_search: bool,
    pub(crate) model: Option<ModelSettings>,
    pub(crate) max_sockets_per_key: usize,
    pub(crate) max_sockets: usize,
    pub(crate) log_format: LogFormat,
    pub(crate) shutdown_grace: Duration,
    pub(crate) stuck_after: Duration,
    pub(crate) max_webhook_bytes: u64,
    pub(crate) max_audio_webhook_bytes: u64,
}

/// Where each service's database is.
pub(crate) struct Databases {
    pub(crate) access: DatabaseUrl,
    pub(crate) ingestion: DatabaseUrl,
    pub(crate) conversation_store: DatabaseUrl,
    pub(crate) transcript: DatabaseUrl,
    pub(crate) analytics: DatabaseUrl,
    pub(crate) notification: DatabaseUrl,
}

impl Settings {
    /// Reads and checks all settings.
    ///
    /// # Errors
    /// One error naming every bad setting, its source and what is allowed.
    pub(crate) fn read(values: &Values) -> anyhow::Result<Self> {
        Self::checked(Check { values, problems: Vec::new() })
    }

    /// Reads and checks all settings of a process that listens.
    ///
    /// # Errors
    /// The same, and when callers would not be asked for certificates although the settings name who signs them.
    pub(crate) fn read_to_serve(values: &Values) -> anyhow::Result<Self> {
        let mut check = Check { values, problems: Vec::new() };
        check.mutual_tls();
        Self::checked(check)
    }

    fn checked(mut check: Check<'_>) -> anyhow::Result<Self> {
        let values = check.values;
        let data_dir = PathBuf::from(values.text("data-dir"));
        let settings = Self {
            databases: Databases {
                access: check.database("access-database-url", &data_dir),
                ingestion: check.database("ingestion-database-url", &data_dir),
                conversation_store: check.database("conversation-store-database-url", &data_dir),
                transcript: check.database("transcript-database-url", &data_dir),
                analytics: check.database("analytics-database-url", &data_dir),
                notification: check.database("notification-database-url", &data_dir),
            },
            log_engine: check.log_engine(&data_dir),
            objects_url: check.objects_url(&data_dir),
            http_addr: check.parse("http-addr", "an address such as 127.0.0.1:8080"),
            grpc_addr: check.parse("grpc-addr", "an address such as 127.0.0.1:50051"),
            metrics_addr: check.parse("metrics-addr", "an address such as 127.0.0.1:9464"),
            service_urls: check.service_urls(),
            tls: check.tls(),
            max_connection_age: check.seconds("max-connection-age-seconds"),
            public_url: check.http_url("public-url"),
            bootstrap_api_key: check.bootstrap_api_key(),
            master_key: values.optional("master-key"),
            outbound: check.outbound(),
            smtp: check.smtp(),
            transcript_search: check.transcript_search(),
            model: check.model(),
            max_sockets_per_key: check.sockets("max-sockets-per-key"),
            max_sockets: check.sockets("max-sockets"),
            log_format: check.log_format(),
            shutdown_grace: check.seconds("shutdown-grace-seconds"),
            stuck_after: check.seconds("stuck-after-seconds"),
            max_webhook_bytes: check.mebibytes("max-webhook-mib"),
            max_audio_webhook_bytes: check.mebibytes("max-audio-webhook-mib"),
            data_dir,
        };
        if !check.problems.is_empty() {
            bail!("the settings cannot be used:\n  {}", check.problems.join("\n  "));
        }
        Ok(settings)
    }

    /// Returns the address of a service that runs elsewhere.
    pub(crate) fn service_url(&self, service: &str) -> Option<&Target> {
        self.service_urls.iter().find(|(name, _)| *name == service).map(|(_, target)| target)
    }
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

struct Check<'a> {
    values: &'a Values,
    problems: Vec<String>,
}

impl Check<'_> {
    fn problem(&mut self, setting: &str, message: impl std::fmt::Display) {
        self.problems.push(format!("{} {message}", self.values.describe(setting)));
    }

    fn parse(&mut self, setting: &str, allowed: &str) -> SocketAddr {
        self.values.text(setting).parse().unwrap_or_else(|_| {
            self.problem(setting, format!("must be {allowed}"));
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    fn number(&mut self, setting: &str, allowed: std::ops::RangeInclusive<u64>) -> u64 {
        match self.values.text(setting).parse() {
            Ok(number) if allowed.contains(&number) => number,
            _ => {
                self.problem(setting, format!("must be a whole number from {} to {}", allowed.start(), allowed.end()));
                *allowed.start()
            }
        }
    }

    fn seconds(&mut self, setting: &str) -> Duration {
        Duration::from_secs(self.number(setting, 1..=31_536_000))
    }

    fn mebibytes(&mut self, setting: &str) -> u64 {
        self.number(setting, 1..=1_024) << 20
    }

    fn database(&mut self, setting: &str, data_dir: &std::path::Path) -> DatabaseUrl {
        // A service's own setting wins over the one for all.
        let setting = if self.values.optional(setting).is_some() { setting } else { "database-url" };
        DatabaseUrl::parse(&self.values.text(setting), data_dir).unwrap_or_else(|message| {
            self.problem(setting, message);
            DatabaseUrl::SqliteFolder(data_dir.to_owned())
        })
    }

    fn log_engine(&mut self, data_dir: &std::path::Path) -> LogEngine {
        let url = self.values.text("log-url");
        let embedded = LogEngine::Embedded { folder: data_dir.to_owned() };
        let jetstream = JetStreamSettings {
            servers: url.split(',').map(|server| server.trim().to_owned()).collect(),
            stream: self.values.text("log-stream"),
            replicas: usize::try_from(self.number("log-replicas", 1..=5)).unwrap_or(1),
            max_age: Some(self.number("log-max-age-days", 0..=36_500)).filter(|days| *days > 0).map(days),
            max_bytes: Some(self.number("log-max-mib", 0..=1 << 30) << 20).filter(|bytes| *bytes > 0),
            ack_wait: Duration::from_secs(self.number("log-ack-wait-seconds", 2..=600)),
            credentials: self.file("nats-credentials"),
            ca: self.file("nats-ca"),
            identity: self.files_together("nats-cert", "nats-key"),
        };
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if jetstream.stream.is_empty() || jetstream.stream.len() > 64 || !jetstream.stream.bytes().all(word) {
            self.problem("log-stream", "must be 1 to 64 of 'A-Z a-z 0-9 _ -'");
        }
        if url == "embedded:" {
            return embedded;
        }
        let server =
            |server: &String| Url::parse(server).is_ok_and(|url| matches!(url.scheme(), "nats" | "tls") && url.has_host());
        if !jetstream.servers.iter().all(server) {
            self.problem(
                "log-url",
                "must be 'embedded:', or 'nats://host:4222' or 'tls://host:4222', several separated by commas",
            );
            return embedded;
        }
        LogEngine::JetStream(jetstream)
    }

    fn objects_url(&mut self, data_dir: &std::path::Path) -> String {
        let text = self.values.text("objects-url");
        if text == "file://" {
            let folder = std::path::absolute(data_dir.join("objects")).unwrap_or_else(|_| data_dir.join("objects"));
            return format!("file://{}", folder.display());
        }
        if !text.starts_with("file:///") && !text.starts_with("s3://") {
            self.problem("objects-url", "must be 'file://', 'file:///folder' or 's3://bucket/prefix'");
        }
        text
    }

    fn http_url(&mut self, setting: &str) -> Option<Url> {
        let text = self.values.optional(setting)?;
        let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if url.is_none() {
            self.problem(setting, "must be an http:// or https:// address");
        }
        url
    }

    fn service_urls(&mut self) -> Vec<(&'static str, Target)> {
        let named = SERVICES.into_iter().filter(|name| *name != "edge");
        named.filter_map(|name| Some((name, self.target(&format!("{name}-url"))?))).collect()
    }

    fn target(&mut self, setting: &str) -> Option<Target> {
        let parsed = self.values.optional(setting)?.parse();
        parsed.map_err(|error: TargetError| self.problem(setting, error)).ok()
    }

    fn tls(&mut self) -> TlsFiles {
        TlsFiles { certificate: self.files_together("tls-cert", "tls-key"), authorities: self.file("tls-ca") }
    }

    /// Without a certificate gRPC speaks no TLS at all, so nobody would be asked for one.
    fn mutual_tls(&mut self) {
        if self.file("tls-ca").is_some() && self.file("tls-cert").is_none() && self.file("tls-key").is_none() {
            self.problem("tls-ca", "needs tls-cert and tls-key: without them gRPC would be served in plain text, to anybody");
        }
    }

    /// Whether a file can be read is found out by whoever reads it: not every command does.
    fn file(&self, setting: &str) -> Option<PathBuf> {
        self.values.optional(setting).map(PathBuf::from)
    }

    /// Returns two files that only make sense together.
    fn files_together(&mut self, one: &str, other: &str) -> Option<(PathBuf, PathBuf)> {
        match (self.file(one), self.file(other)) {
            (Some(one), Some(other)) => Some((one, other)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                self.problem(one, format!("and {other} go together: a certificate and its private key"));
                None
            }
        }
    }

    fn bootstrap_api_key(&mut self) -> Option<String> {
        let key = self.values.optional("bootstrap-api-key")?;
        if key.len() > 512 || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            self.problem("bootstrap-api-key", "must be at most 512 visible ASCII characters");
        }
        Some(key)
    }

    fn outbound(&mut self) -> Policy {
        self.values.text("outbound-allow-networks").parse().unwrap_or_else(|error| {
            self.problem("outbound-allow-networks", format!("must be CIDRs separated by commas: {error}"));
            Policy::default()
        })
    }

    fn smtp(&mut self) -> Option<Smtp> {
        match (self.values.optional("smtp-url"), self.values.optional("smtp-from")) {
            (Some(url), Some(from)) => {
                let parsed = Url::parse(&url).ok().filter(|url| matches!(url.scheme(), "smtp" | "smtps") && url.has_host());
                if parsed.is_none() {
                    self.problem("smtp-url", "must be 'smtp://host:587' or 'smtps://host:465', with user and password if needed");
                }
                Some(Smtp { url, from })
            }
            (None, None) => None,
            (Some(_), None) => {
                self.problem("smtp-url", "and smtp-from go together: what e-mail is from");
                None
            }
            (None, Some(_)) => {
                self.problem("smtp-from", "and smtp-url go together: where e-mail is sent through");
                None
            }
        }
    }

    fn transcript_search(&mut self) -> bool {
        match self.values.text("transcript-search").as_str() {
            "on" => true,
            "off" => false,
            _ => {
                self.problem("transcript-search", "must be 'on' or 'off'");
                true
            }
        }
    }

    fn model(&mut self) -> Option<ModelSettings> {
        let tokens_per_day = self.number("model-tokens-per-day", 1..=1_000_000_000_000);
        let (url, model) = (self.http_url("model-url"), self.values.optional("model-name"));
        let api_key = self.values.optional("model-api-key");
        let Some(url) = url else {
            for setting in ["model-name", "model-api-key"] {
                if self.values.optional(setting).is_some() && self.values.optional("model-url").is_none() {
                    self.problem(setting, "needs model-url: where the model is asked");
                }
            }
            return None;
        };
        let Some(model) = model else {
            self.problem("model-url", "needs model-name: which model is asked");
            return None;
        };
        Some(ModelSettings { url: url.into(), api_key: api_key.unwrap_or_default(), model, tokens_per_day })
    }

    fn sockets(&mut self, setting: &str) -> usize {
        usize::try_from(self.number(setting, 1..=1_000_000)).unwrap_or(usize::MAX)
    }

    fn log_format(&mut self) -> LogFormat {
        match self.values.text("log-format").as_str() {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            _ => {
                self.problem("log-format", "must be 'text' or 'json'");
                LogFormat::Text
            }
        }
    }
}
