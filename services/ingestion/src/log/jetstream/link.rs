//! The connection to the servers, and the stream on them.
//!
//! **Epochs.** Numbers of records ascend for ever, also when a stream is lost and made anew, which begins to count at 1. So each
//! stream is an epoch with an offset that is added to its numbers. The subjects name the epoch: a replica that has not noticed yet
//! that the stream is another one finds nobody who takes what it publishes, and looks again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_nats::connection::State;
use async_nats::jetstream::context::{GetStreamErrorKind, PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType, Stream};
use async_nats::jetstream::{Context, ErrorCode};
use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use bytes::Bytes;
use colloquy_types::{OrganizationId, Position};
use futures::future::join_all;
use percent_encoding::percent_decode_str;
use tokio::sync::{Mutex, watch};
use url::Url;
use uuid::Uuid;

use super::index::Index;
use super::settings::JetStreamSettings;
use crate::log::LogError;

/// How long the servers may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long a repeat of a record is recognised by the servers themselves.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// Between the numbers of one stream and those of the next: records that were published but are not in the index have numbers too.
const GAP: u64 = 1_000_000;
/// Organizations are spread over so many subjects. A subject each would cost the servers memory for each.
const PARTITIONS: u32 = 256;
/// A stream that lost more of its end than this is not mended by itself.
const MOST_LOST: u64 = 5_000_000;
/// What a stream's description says before its offset.
const DESCRIPTION: &str = "Colloquy's event log; numbers begin after ";
/// How many placeholders are published at a time.
const PLACEHOLDERS: u64 = 1_000;

/// What a message of the stream is, by its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A record.
    Record,
    /// A piece of one.
    Part,
    /// Nothing: its number must not be given out again. Or somebody else's, who has no business here.
    Placeholder,
}

/// One stream, from its making to its loss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Epoch {
    pub(super) number: u64,
    /// What is added to the stream's numbers.
    pub(super) offset: u64,
    prefix: String,
}

impl Epoch {
    /// Returns the epoch of a stream's name.
    pub(super) fn new(stream: &str, number: u64, offset: u64) -> Self {
        Self { number, offset, prefix: format!("{stream}.{number}") }
    }

    /// Returns the number in the log of a number in the stream.
    pub(super) const fn sequence(&self, in_stream: u64) -> u64 {
        self.offset + in_stream
    }

    /// Returns the number in the stream of a number in the log, unless it is of an earlier stream.
    pub(super) const fn in_stream(&self, sequence: u64) -> Option<u64> {
        match sequence.checked_sub(self.offset) {
            Some(0) | None => None,
            in_stream => in_stream,
        }
    }

    /// Returns the position after a number in the stream.
    pub(super) const fn end_of(&self, in_stream: u64) -> Position {
        Position::end_of(self.sequence(in_stream))
    }

    /// Returns the subject of an organization's records; of all of them for `None`.
    pub(super) fn records_of(&self, organization: Option<&OrganizationId>) -> String {
        match organization {
            None => format!("{}.r.*", self.prefix),
            Some(organization) => format!("{}.r.{:03}", self.prefix, partition(organization)),
        }
    }

    /// Returns the subject of parts.
    pub(super) fn parts(&self) -> String {
        format!("{}.part", self.prefix)
    }

    fn placeholders(&self) -> String {
        format!("{}.skip", self.prefix)
    }

    /// Returns everything that is published in this epoch.
    fn subjects(&self) -> String {
        format!("{}.>", self.prefix)
    }

    /// Tells whether a message is of this epoch.
    pub(super) fn has(&self, subject: &str) -> bool {
        subject.strip_prefix(&self.prefix).is_some_and(|rest| rest.starts_with('.'))
    }

    /// Tells what a message is.
    pub(super) fn kind(&self, subject: &str) -> Kind {
        match subject.strip_prefix(&self.prefix) {
            Some(".part") => Kind::Part,
            Some(rest) if rest.starts_with(".r.") => Kind::Record,
            _ => Kind::Placeholder,
        }
    }
}

/// Which subject an organization's records have; must never change.
fn partition(organization: &OrganizationId) -> u32 {
    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, organization.as_str().as_bytes());
    u32::from(id.as_bytes()[0]) % PARTITIONS
}

/// Where the stream begins and ends, and how many consumers it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) consumers: usize,
}

/// The way to the stream.
pub(super) struct Link {
    client: Client,
    context: Context,
    settings: JetStreamSettings,
    index: Index,
    epoch: RwLock<Arc<Epoch>>,
    /// Counts connections: after each the stream may be another one.
    connections: watch::Receiver<u64>,
    /// Why there is none, as the client last said.
    trouble: watch::Receiver<String>,
    /// The connection on which the stream was last looked at.
    looked_on: AtomicU64,
    doubtful: AtomicBool,
    /// One looks at a time; what the last one failed with counts for all who waited for it.
    looking: Mutex<Option<(Instant, String)>>,
}

impl From<async_nats::jetstream::context::PublishError> for LogError {
    fn from(error: async_nats::jetstream::context::PublishError) -> Self {
        Self::engine(error)
    }
}

impl Link {
    /// Connects, and makes the stream when it is missing.
    ///
    /// # Errors
    /// When the settings cannot be used, or no server answers within `patience`.
    pub(super) async fn open(settings: JetStreamSettings, index: Index, patience: Duration) -> anyhow::Result<Arc<Self>> {
        let (connected, connections) = watch::channel(0);
        let (troubled, trouble) = watch::channel("not yet".to_owned());
        let client = connect(&settings, connected, troubled).await?;
        let mut context = async_nats::jetstream::new(client.clone());
        context.set_timeout(ANSWER_WITHIN);
        let nothing = Epoch::new(&settings.stream, 0, 0);
        let link = Arc::new(Self {
            client,
            context,
            settings,
            index,
            epoch: RwLock::new(Arc::new(nothing)),
            connections,
            trouble,
            looked_on: AtomicU64::new(0),
            doubtful: AtomicBool::new(true),
            looking: Mutex::new(None),
        });
        let deadline = tokio::time::Instant::now() + patience;
        let mut told = String::new();
        while let Err(error) = link.epoch().await {
            let reason = error.to_string();
            if reason != told {
                tracing::info!("waiting for the JetStream log: {reason}");
                told = reason;
            }
            anyhow::ensure!(tokio::time::Instant::now() < deadline, "log-url: the JetStream log cannot be opened: {error}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(link)
    }

    /// Returns the present stream, looked at again when there is a reason to doubt that it is still the same.
    ///
    /// # Errors
    /// When there is no connection, or the servers or the database do not answer.
    pub(super) async fn epoch(&self) -> Result<Arc<Epoch>, LogError> {
        if self.client.connection_state() != State::Connected {
            return Err(LogError::engine(format!("not connected to any NATS server: {}", *self.trouble.borrow())));
        }
        if self.is_sure() {
            return Ok(self.known_epoch());
        }
        let began = Instant::now();
        let mut looking = self.looking.lock().await;
        if let Some((at, error)) = &*looking
            && *at > began
        {
            return Err(LogError::engine(error));
        }
        if !self.is_sure() {
            let connection = self.connection();
            self.doubtful.store(false, Ordering::SeqCst);
            match self.look().await {
                Ok(epoch) => {
                    *self.epoch.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(epoch);
                    self.looked_on.store(connection, Ordering::SeqCst);
                }
                Err(error) => {
                    self.doubt();
                    *looking = Some((Instant::now(), error.to_string()));
                    return Err(error);
                }
            }
        }
        Ok(self.known_epoch())
    }

    fn known_epoch(&self) -> Arc<Epoch> {
        Arc::clone(&self.epoch.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_sure(&self) -> bool {
        !self.doubtful.load(Ordering::SeqCst) && self.looked_on.load(Ordering::SeqCst) == self.connection()
    }

    /// Returns the number of the present connection. The client counts it before it says that it is connected.
    fn connection(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::SeqCst)
    }

    /// Notes that something went wrong that another stream would explain.
    pub(super) fn doubt(&self) {
        self.doubtful.store(true, Ordering::SeqCst);
    }

    /// Returns how often there was a new connection, as it changes from now on.
    pub(super) fn connections(&self) -> watch::Receiver<u64> {
        let mut connections = self.connections.clone();
        connections.mark_unchanged();
        connections
    }

    /// Returns how large a message's payload may be.
    pub(super) fn max_payload(&self) -> usize {
        // Headers count too.
        self.client.server_info().max_payload.saturating_sub(1 << 10).max(4 << 10)
    }

    pub(super) const fn settings(&self) -> &JetStreamSettings {
        &self.settings
    }

    pub(super) const fn index(&self) -> &Index {
        &self.index
    }

    /// Returns a handle on the stream.
    ///
    /// # Errors
    /// When its name cannot be used.
    pub(super) async fn stream(&self) -> Result<Stream<()>, LogError> {
        self.context.get_stream_no_info(&self.settings.stream).await.map_err(LogError::engine)
    }

    /// Returns where the stream of `epoch` begins and ends.
    ///
    /// # Errors
    /// When the servers do not answer, or the stream is another one by now.
    pub(super) async fn extent(&self, epoch: &Epoch) -> Result<Extent, LogError> {
        let stream = self.context.get_stream(&self.settings.stream).await.map_err(|error| {
            self.doubt();
            LogError::engine(error)
        })?;
        if !stream.cached_info().config.subjects.contains(&epoch.subjects()) {
            self.doubt();
            return Err(LogError::engine("the stream is another one"));
        }
        let state = &stream.cached_info().state;
        Ok(Extent { first: state.first_sequence, last: state.last_sequence, consumers: state.consumer_count })
    }

    /// Publishes a message; the returned future ends with its acknowledgement. `id` makes a repeat within two minutes vanish.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub(super) async fn publish(&self, subject: String, id: &str, payload: Bytes) -> Result<PublishAckFuture, LogError> {
        let message = PublishMessage::build().payload(payload).message_id(id);
        self.context.send_publish(subject, message).await.map_err(LogError::from)
    }

    /// Returns a message; `None` when it is not there or no longer.
    ///
    /// # Errors
    /// When the servers do not answer.
    pub(super) async fn get(&self, in_stream: u64) -> Result<Option<StreamMessage>, LogError> {
        use async_nats::jetstream::stream::RawMessageErrorKind;
        match self.stream().await?.get_raw_message(in_stream).await {
            Ok(message) => Ok(Some(message)),
            Err(error) => match error.kind() {
                RawMessageErrorKind::NoMessageFound => Ok(None),
                RawMessageErrorKind::JetStream(cause) if cause.error_code() == ErrorCode::NO_MESSAGE_FOUND => Ok(None),
                _ => Err(LogError::engine(error)),
            },
        }
    }

    /// Returns the first message of `subject`, which may have wildcards, that has this number or a higher one.
    ///
    /// # Errors
    /// When the servers do not answer.
    pub(super) async fn get_next(&self, subject: &str, in_stream: u64) -> Result<Option<StreamMessage>, LogError> {
        use async_nats::jetstream::stream::RawMessageErrorKind;
        match self.stream().await?.get_first_raw_message_by_subject(subject, in_stream).await {
            Ok(message) => Ok(Some(message)),
            Err(error) => match error.kind() {
                RawMessageErrorKind::NoMessageFound => Ok(None),
                RawMessageErrorKind::JetStream(cause) if cause.error_code() == ErrorCode::NO_MESSAGE_FOUND => Ok(None),
                _ => Err(LogError::engine(error)),
            },
        }
    }

    /// Removes a message and overwrites its bytes.
    ///
    /// # Errors
    /// When the servers do not answer.
    pub(super) async fn delete(&self, in_stream: u64) -> Result<(), LogError> {
        use async_nats::jetstream::stream::DeleteMessageErrorKind;
        match self.stream().await?.delete_message(in_stream).await {
            Ok(_) => Ok(()),
            Err(error) => match error.kind() {
                // Somebody else was quicker.
                DeleteMessageErrorKind::JetStream(cause)
                    if matches!(cause.error_code(), ErrorCode::NO_MESSAGE_FOUND | ErrorCode::SEQUENCE_NOT_FOUND) =>
                {
                    Ok(())
                }
                _ => Err(LogError::engine(error)),
            },
        }
    }

    /// Waits, for a moment at most, until what was said has gone out.
    pub(super) async fn flush(&self) {
        let _ = tokio::time::timeout(Duration::from_secs(2), self.client.flush()).await;
    }

    /// Finds the stream, makes it when it is missing, and mends it when it lost its end.
    async fn look(&self) -> Result<Epoch, LogError> {
        let name = &self.settings.stream;
        for _ in 0..5 {
            // Before the stream is asked: what is published meanwhile is no loss.
            let (_, highest) = self.index.extent().await?;
            match self.context.get_stream(name).await {
                Ok(stream) => {
                    let info = stream.cached_info().clone();
                    let epoch = self.epoch_of(&info).await?;
                    self.configure(&info).await?;
                    self.mend(&epoch, info.state.last_sequence, highest).await?;
                    return Ok(epoch);
                }
                Err(error) => match error.kind() {
                    GetStreamErrorKind::JetStream(cause) if cause.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                        self.make().await?;
                    }
                    _ => return Err(LogError::engine(error)),
                },
            }
        }
        Err(LogError::engine("the stream vanishes as soon as it is made"))
    }

    /// Reads which epoch a stream is.
    async fn epoch_of(&self, info: &Info) -> Result<Epoch, LogError> {
        let name = &self.settings.stream;
        let number =
            info.config.subjects.iter().find_map(|subject| {
                subject.strip_prefix(name.as_str())?.strip_prefix('.')?.strip_suffix(".>")?.parse::<u64>().ok()
            });
        let Some(number) = number else {
            return Err(LogError::engine(format!("the stream '{name}' is not Colloquy's: choose another name (log-stream)")));
        };
        // The stream knows its offset too: the database may have been lost alone.
        let described = info.config.description.as_deref().and_then(|text| text.strip_prefix(DESCRIPTION)?.parse().ok());
        let row = self.index.epoch(number, described.unwrap_or_default()).await?;
        Ok(Epoch::new(name, number, row.offset))
    }

    /// Makes the next stream. Its numbers go on after all that are known.
    async fn make(&self) -> Result<(), LogError> {
        let (number, offset) = match self.index.latest_epoch().await? {
            None => (1, 0),
            Some(latest) => {
                let (_, highest) = self.index.extent().await?;
                (latest.epoch + 1, highest.max(latest.indexed_through).max(latest.used_through).max(latest.offset) + GAP)
            }
        };
        let offset = self.index.epoch(number, offset).await?.offset;
        if number > 1 {
            tracing::error!(
                "the stream '{}' is gone and is made anew: what no reader had read of it is lost",
                self.settings.stream
            );
        }
        match self.context.create_stream(self.config(number, offset)).await {
            Ok(_) => Ok(()),
            Err(error) => {
                // Another replica may have been quicker; then it is there now.
                tracing::debug!("the stream could not be made: {error}");
                match self.context.get_stream(&self.settings.stream).await {
                    Ok(_) => Ok(()),
                    Err(_) => Err(LogError::engine(error)),
                }
            }
        }
    }

    fn config(&self, number: u64, offset: u64) -> Config {
        let JetStreamSettings { stream, replicas, max_age, max_bytes, .. } = &self.settings;
        Config {
            name: stream.clone(),
            description: Some(format!("{DESCRIPTION}{offset}")),
            subjects: vec![format!("{stream}.{number}.>")],
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::Old,
            storage: StorageType::File,
            num_replicas: *replicas,
            max_age: max_age.unwrap_or_default(),
            max_bytes: max_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            max_messages: -1,
            max_messages_per_subject: -1,
            max_message_size: -1,
            max_consumers: -1,
            duplicate_window: DUPLICATE_WINDOW,
            allow_direct: true,
            ..Config::default()
        }
    }

    /// Brings the stream's settings up to ours.
    async fn configure(&self, info: &Info) -> Result<(), LogError> {
        let wanted = self.config(0, 0);
        let is = &info.config;
        if (is.num_replicas, is.max_age, is.max_bytes) != (wanted.num_replicas, wanted.max_age, wanted.max_bytes) {
            let (num_replicas, max_age, max_bytes) = (wanted.num_replicas, wanted.max_age, wanted.max_bytes);
            let changed = Config { num_replicas, max_age, max_bytes, ..is.clone() };
            self.context.update_stream(changed).await.map_err(LogError::engine)?;
            tracing::info!("the stream's replicas and limits were changed to what the settings say");
        }
        Ok(())
    }

    /// A server that lost power may have lost the end of its stream: numbers that were given out would be given out again, and
    /// readers would take new records for ones they have. So what is lost is forgotten, and its numbers are used up.
    async fn mend(&self, epoch: &Epoch, last: u64, highest: u64) -> Result<(), LogError> {
        let last = epoch.sequence(last);
        let row = self.index.epoch(epoch.number, epoch.offset).await?;
        let highest = highest.max(row.used_through).max(row.indexed_through);
        let lost = highest.saturating_sub(last);
        if lost == 0 {
            return Ok(());
        }
        if lost > MOST_LOST {
            return Err(LogError::engine(format!("the stream lost its last {lost} records: restore it, or remove it")));
        }
        tracing::error!("the stream lost its last {lost} records, which its servers had acknowledged");
        self.index.note_lost(epoch.number, last, highest).await?;
        let mut left = lost;
        while left > 0 {
            let some = left.min(PLACEHOLDERS);
            let mut sent = Vec::new();
            for _ in 0..some {
                let id = Uuid::new_v4().simple().to_string();
                sent.push(self.publish(epoch.placeholders(), &id, Bytes::new()).await?.into_future());
            }
            for ack in join_all(sent).await {
                ack?;
            }
            left -= some;
        }
        Ok(())
    }
}

/// Tells whether a failed publication means that the stream is not the one it was taken for.
pub(super) fn means_another_stream(error: &async_nats::jetstream::context::PublishError) -> bool {
    matches!(error.kind(), PublishErrorKind::StreamNotFound)
}

async fn connect(
    settings: &JetStreamSettings,
    connected: watch::Sender<u64>,
    troubled: watch::Sender<String>,
) -> anyhow::Result<Client> {
    let mut options = ConnectOptions::new();
    let (mut servers, mut known) = (Vec::new(), None);
    for server in &settings.servers {
        let mut address = Url::parse(server).context("log-url")?;
        let said = |text: &str| percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned);
        // The client has one identity for all servers, and does not look for it in their addresses.
        let identity = (address.username().to_owned(), address.password().map(str::to_owned));
        anyhow::ensure!(
            *known.get_or_insert_with(|| identity.clone()) == identity,
            "log-url: the same user and password, or token, must stand in every address"
        );
        options = match (address.username(), address.password()) {
            ("", _) => options,
            (token, None) => options.token(said(token).context("log-url: the token")?),
            (user, Some(password)) => options
                .user_and_password(said(user).context("log-url: the user")?, said(password).context("log-url: the password")?),
        };
        // From here on it could only end up in a log.
        let _ = (address.set_username(""), address.set_password(None));
        servers.push(address.as_str().parse::<ServerAddr>().context("log-url")?);
    }
    if let Some(path) = &settings.credentials {
        options = options.credentials_file(path).await.map_err(|error| anyhow::anyhow!("nats-credentials: {error}"))?;
    }
    if let Some(path) = &settings.ca {
        options = options.add_root_certificates(path.clone()).require_tls(true);
    }
    if let Some((certificate, key)) = &settings.identity {
        options = options.add_client_certificate(certificate.clone(), key.clone()).require_tls(true);
    }
    let (connected, troubled) = (Arc::new(connected), Arc::new(troubled));
    let options = options
        .name("colloquy-ingestion")
        .retry_on_initial_connect()
        .max_reconnects(None)
        .reconnect_delay_callback(|attempts| Duration::from_millis((50 << attempts.min(5)).min(1_000)))
        .connection_timeout(Duration::from_secs(3))
        .ping_interval(Duration::from_secs(5))
        .request_timeout(Some(ANSWER_WITHIN))
        .event_callback(move |event| {
            let (connected, troubled) = (Arc::clone(&connected), Arc::clone(&troubled));
            async move {
                match event {
                    Event::Connected => {
                        connected.send_modify(|count| *count += 1);
                        tracing::info!("connected to NATS");
                    }
                    Event::Disconnected => tracing::warn!("the connection to NATS is lost and will be made again"),
                    // While it tries again, these come with every try.
                    Event::ClientError(error) => drop(troubled.send_replace(error.to_string())),
                    Event::SlowConsumer(_) | Event::ServerError(_) => tracing::warn!("NATS: {event}"),
                    _ => {}
                }
            }
        });
    Ok(options.connect(servers).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_an_epoch_follow_on_those_before_it() {
        let epoch = Epoch::new("COLLOQUY", 2, 1_000);
        assert_eq!(epoch.sequence(1), 1_001);
        assert_eq!((epoch.in_stream(1_001), epoch.in_stream(1_000), epoch.in_stream(3)), (Some(1), None, None));
        assert_eq!(epoch.kind("COLLOQUY.2.part"), Kind::Part);
        assert_eq!(epoch.kind(&epoch.records_of(Some(&"acme".parse().unwrap()))), Kind::Record);
        assert_eq!(epoch.records_of(None), "COLLOQUY.2.r.*");
        assert_eq!(epoch.kind("COLLOQUY.2.whatever"), Kind::Placeholder);
        assert!(epoch.has("COLLOQUY.2.part") && !epoch.has("COLLOQUY.21.part") && !epoch.has("COLLOQUY.1.r.000"));
    }
}
