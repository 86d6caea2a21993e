//! Every setting: its name, its default and what it means. The command line, the environment, the file and `--help` all come
//! from this table.

/// One setting.
pub(crate) struct Setting {
    /// Its name as a flag; with underscores, its key in the file; with `COLLOQUY_` before it, its environment variable.
    pub(crate) name: &'static str,
    /// What it is when nobody says; `None` means that it may be absent.
    pub(crate) default: Option<&'static str>,
    /// What it means.
    pub(crate) help: &'static str,
    /// Whether its value must not be shown.
    pub(crate) secret: bool,
}

impl Setting {
    const fn new(name: &'static str, default: &'static str, help: &'static str) -> Self {
        Self { name, default: Some(default), help, secret: false }
    }

    const fn optional(name: &'static str, help: &'static str) -> Self {
        Self { name, default: None, help, secret: false }
    }

    const fn secret(name: &'static str, help: &'static str) -> Self {
        Self { name, default: None, help, secret: true }
    }

    /// Returns the name of the environment variable.
    pub(crate) fn environment(&self) -> String {
        format!("COLLOQUY_{}", self.name.replace('-', "_").to_uppercase())
    }
}

/// Every setting of `serve`, `demo`, `migrate` and `keys`.
pub(crate) const TABLE: &[Setting] = &[
    Setting::new("data-dir", "./colloquy-data", "Folder of embedded storage, the master key and addresses.json"),
    Setting::new(
        "database-url",
        "sqlite:",
        "Databases: 'sqlite:' (a file a service in the data folder) or 'postgres://…' (a schema a service)",
    ),
    Setting::secret("access-database-url", "Database of access alone"),
    Setting::secret("ingestion-database-url", "Database of ingestion alone"),
    Setting::secret("conversation-store-database-url", "Database of conversation-store alone"),
    Setting::secret("transcript-database-url", "Database of transcript alone"),
    Setting::secret("analytics-database-url", "Database of analytics alone"),
    Setting::secret("notification-database-url", "Database of notification alone, and of live control, which runs with it"),
    Setting::new(
        "log-url",
        "embedded:",
        "Event log: 'embedded:' (SQLite in the data folder) or 'nats://host:4222[,host:4222]' (JetStream; tls:// for TLS)",
    ),
    Setting::new(
        "log-stream",
        "COLLOQUY",
        "JetStream: name of the stream; several installations on one NATS need different ones",
    ),
    Setting::new("log-replicas", "1", "JetStream: how many servers keep each record; 3 in production"),
    Setting::new("log-max-age-days", "0", "JetStream: records older than this are dropped; 0 keeps them"),
    Setting::new("log-max-mib", "0", "JetStream: the oldest records are dropped beyond this size; 0 sets no limit"),
    Setting::new(
        "log-ack-wait-seconds",
        "10",
        "JetStream: a batch that a reader has not acknowledged for this long is handed to another",
    ),
    Setting::optional("nats-credentials", "NATS: file with credentials (.creds); user, password or token may stand in log-url"),
    Setting::optional("nats-ca", "NATS: PEM file of the authorities that sign the servers' certificates"),
    Setting::optional("nats-cert", "NATS: PEM file of the client's certificate; needs nats-key"),
    Setting::optional("nats-key", "NATS: PEM file of the client's private key"),
    Setting::new(
        "objects-url",
        "file://",
        "Recordings: 'file://' (in the data folder), 'file:///folder' or 's3://bucket/prefix' with the usual AWS variables",
    ),
    Setting::new("http-addr", "127.0.0.1:8080", "Address of the REST edge; port 0 picks a free one"),
    Setting::new("grpc-addr", "127.0.0.1:50051", "Address of gRPC; port 0 picks a free one"),
    Setting::new(
        "metrics-addr",
        "127.0.0.1:9464",
        "Address of Prometheus metrics at /metrics and of the probes /readyz and /livez; port 0 picks a free one",
    ),
    Setting::optional(
        "access-url",
        "Address of access when it runs elsewhere, for example http://access:50051, or several: http://10.0.0.1:50051,10.0.0.2:50051",
    ),
    Setting::optional("analytics-url", "Address of analytics when it runs elsewhere"),
    Setting::optional("conversation-store-url", "Address of conversation-store when it runs elsewhere"),
    Setting::optional("ingestion-url", "Address of ingestion when it runs elsewhere"),
    Setting::optional("notification-url", "Address of notification, which live control runs with, when it runs elsewhere"),
    Setting::optional("transcript-url", "Address of transcript when it runs elsewhere"),
    Setting::optional(
        "tls-cert",
        "PEM file of this process's certificate: gRPC then speaks TLS, and shows it to other services; read again when it changes",
    ),
    Setting::optional("tls-key", "PEM file of the certificate's private key"),
    Setting::optional(
        "tls-ca",
        "PEM file of the authorities that sign the services' certificates: callers of gRPC must then present one (mutual TLS); serve needs tls-cert with it",
    ),
    Setting::new(
        "max-connection-age-seconds",
        "300",
        "gRPC connections are closed, gently, after about this long, so that callers find new replicas",
    ),
    Setting::optional("public-url", "How providers reach the edge, for webhook URLs; default: the address the edge listens on"),
    Setting::secret(
        "bootstrap-api-key",
        "First administrator key, for organization 'default'; default: one is made and printed once",
    ),
    Setting::secret(
        "master-key",
        "32 bytes in hex or base64 that protect secrets and cursors; default: made and kept in the data folder. Every process of an installation needs the same",
    ),
    Setting::new(
        "outbound-allow-networks",
        "",
        "CIDRs, separated by commas, that outbound requests may reach although they are loopback, private, link-local or metadata addresses",
    ),
    Setting::secret(
        "smtp-url",
        "E-mail for webhook endpoints of that kind: 'smtp://user:password@host:587' (STARTTLS) or 'smtps://…:465'; default: no e-mail",
    ),
    Setting::optional("smtp-from", "What e-mail is from, for example 'Colloquy <alerts@example.com>'; needs smtp-url"),
    Setting::new(
        "transcript-search",
        "on",
        "Whether what was said is indexed for search: 'on' or 'off'; off saves processor time and disk, on again it catches up",
    ),
    Setting::optional(
        "model-url",
        "A language model for organizations' own analyzers: any endpoint that speaks OpenAI's chat completions, for example https://api.openai.com/v1; default: none",
    ),
    Setting::optional("model-name", "Which model is asked; needs model-url"),
    Setting::secret("model-api-key", "What the model's endpoint is asked with; needs model-url"),
    Setting::new("model-tokens-per-day", "2000000", "How many tokens an organization's analyzers may use in a day (UTC)"),
    Setting::new(
        "max-sockets-per-key",
        "1000",
        "Live streams (WebSocket and Server-Sent Events) that one API key may have open at one edge",
    ),
    Setting::new("max-sockets", "20000", "Live streams that one edge holds in all"),
    Setting::new("log-format", "text", "Log lines: 'text' or 'json'"),
    Setting::new("shutdown-grace-seconds", "20", "How long open requests may take to finish after SIGTERM"),
    Setting::new(
        "stuck-after-seconds",
        "21600",
        "A conversation without any delivery for this long is closed as failed, unknown_end",
    ),
    Setting::new("max-webhook-mib", "8", "Largest webhook body in MiB"),
    Setting::new("max-audio-webhook-mib", "128", "Largest webhook body in MiB for sources that carry audio"),
];
