//! What a server keeps its data in.

use uuid::Uuid;

/// What a server keeps its data in, and how many processes it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Engine {
    /// One process; files in its data folder.
    Sqlite,
    /// One process; a database of its own, the log in its data folder.
    Postgres(String),
    /// A process for each service, several of most.
    Suite(Suite),
}

/// What the processes of a suite share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suite {
    /// The PostgreSQL database.
    pub database_url: String,
    /// The event log; without one, a single ingestion keeps it in its data folder.
    pub log: Option<JetStream>,
    /// Where recordings are; without it, in a folder they share.
    pub objects_url: Option<String>,
}

/// A log in JetStream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JetStream {
    /// The servers.
    pub url: String,
    /// The stream's name.
    pub stream: String,
    /// How many servers keep each record.
    pub replicas: u8,
    /// How long a reader may take over a batch before another is given it.
    pub ack_wait_seconds: u32,
}

impl JetStream {
    /// Returns a stream of its own on the servers at `url`.
    pub fn new(url: String) -> Self {
        let stream = format!("TEST_{}", Uuid::now_v7().simple());
        Self { url, stream, replicas: 1, ack_wait_seconds: 10 }
    }
}

impl Engine {
    /// Returns every engine there is to test on, each with nothing in it.
    pub async fn all() -> Vec<Self> {
        let postgres = colloquy_testkit::postgres::database_url().await.map(Self::Postgres);
        std::iter::once(Self::Sqlite).chain(postgres).chain(Self::suite().await).collect()
    }

    /// Returns the suite of processes on PostgreSQL, JetStream and S3; `None` when one of them is missing and may be.
    pub async fn suite() -> Option<Self> {
        let log = JetStream::new(colloquy_testkit::nats::server_url()?);
        let database_url = colloquy_testkit::postgres::database_url().await?;
        // A prefix of its own in the bucket that tests share.
        let bucket = colloquy_testkit::s3::bucket_url()?;
        let objects_url = Some(format!("{}/{}", bucket.trim_end_matches('/'), log.stream));
        Some(Self::Suite(Suite { database_url, log: Some(log), objects_url }))
    }
}
