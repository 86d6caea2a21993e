//! Durable consumers: each is a pull consumer of the servers, and each stream of ours pulls from it. What is acknowledged up here
//! is acknowledged there; what a stream held when it was lost goes back at once, and what a stream holds for longer than the
//! ack wait is handed to another.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::pull::{Batch as Pull, Config};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, Info, PullConsumer};
use async_nats::jetstream::message::Acker;
use async_nats::jetstream::{AckKind, Message};
use async_trait::async_trait;
use colloquy_types::{OrganizationId, Position, Timestamp};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::link::{Epoch, Link};
use super::load;
use super::reader::Cursor;
use crate::log::{Batch, Consumer, ConsumerStart, ConsumerState, LogError, LogRecord, Page, ReadRequest};

/// How many batches one stream may hold without acknowledging.
const WINDOW: usize = 4;
/// How many consumers there may be.
const MAX_CONSUMERS: usize = 1_000;
/// How many messages are asked for at a time.
const PULL: usize = 128;
/// How long the servers keep such a request.
const PULL_FOR: Duration = Duration::from_secs(5);
/// How many messages all streams of a consumer may hold together.
const MAX_UNACKNOWLEDGED: i64 = 10_000;
/// How many bytes of records one batch holds at most, unless a single record is larger.
const BATCH_BYTES: usize = 2 << 20;
/// How long a batch waits for more to come once it has something.
const GATHER_FOR: Duration = Duration::from_millis(1);
/// How old the acknowledged position may be that goes out with a batch.
const KNOWN_FOR: Duration = Duration::from_millis(250);

/// What stands in a consumer's description: its name on the servers cannot say all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Described {
    consumer: String,
    organization: Option<OrganizationId>,
}

/// Returns a consumer's name on the servers, which must not have dots.
fn durable_name(organization: Option<&OrganizationId>, name: &str) -> String {
    let name = name.replace('.', "~");
    match organization {
        None => name,
        Some(organization) => {
            let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, organization.as_str().as_bytes());
            format!("{name}@{}", id.simple())
        }
    }
}

/// Returns the number in the stream of the first record that has something after a position.
fn first_after(epoch: &Epoch, after: Position) -> u64 {
    let first = after.sequence() + u64::from(after.index() == u16::MAX);
    epoch.in_stream(first).unwrap_or(1)
}

fn config(link: &Link, epoch: &Epoch, start: &ConsumerStart, durable: &str) -> Config {
    let described = Described { consumer: start.name.clone(), organization: start.organization.clone() };
    let deliver_policy = match start.after.map(|after| first_after(epoch, after)) {
        Some(start_sequence) if start_sequence > 1 => DeliverPolicy::ByStartSequence { start_sequence },
        _ => DeliverPolicy::All,
    };
    Config {
        durable_name: Some(durable.to_owned()),
        description: serde_json::to_string(&described).ok(),
        deliver_policy,
        ack_policy: AckPolicy::Explicit,
        ack_wait: link.settings().ack_wait,
        max_deliver: -1,
        max_ack_pending: MAX_UNACKNOWLEDGED,
        filter_subject: epoch.records_of(start.organization.as_ref()),
        ..Config::default()
    }
}

/// Joins a consumer, or makes it.
///
/// # Errors
/// When the position lies beyond the end, there are too many consumers, or the servers do not answer.
pub(super) async fn join(link: Arc<Link>, start: ConsumerStart) -> Result<ConsumerStream, LogError> {
    let epoch = link.epoch().await?;
    let extent = link.extent().await?;
    let end = epoch.end_of(extent.last);
    if let Some(after) = start.after
        && after > end
    {
        return Err(LogError::BeyondEnd { after, end });
    }
    let durable = durable_name(start.organization.as_ref(), &start.name);
    let stream = link.stream().await?;
    let config = config(&link, &epoch, &start, &durable);
    let found = stream.consumer_info(&durable).await.ok();
    if found.is_none() && extent.consumers >= MAX_CONSUMERS {
        return Err(LogError::TooManyConsumers(MAX_CONSUMERS));
    }
    let delivered = found.as_ref().map(|info| info.delivered.stream_sequence);
    let consumer: PullConsumer = match stream.create_consumer(keeping_start(config, found)).await {
        Ok(consumer) => consumer,
        // Another replica made it in the same moment, from another position.
        Err(error) => stream.get_consumer(&durable).await.map_err(|_| LogError::engine(error))?,
    };
    let catching_up = match (start.after, delivered) {
        (Some(after), Some(delivered)) if first_after(&epoch, after) <= delivered => {
            Some(CatchingUp::begin(Arc::clone(&link), Arc::clone(&epoch), &start, after, epoch.sequence(delivered)))
        }
        _ => None,
    };
    Ok(ConsumerStream {
        connections: link.connections(),
        link,
        epoch,
        consumer,
        organization: start.organization,
        begins_after: start.after,
        max_events: start.max_events.max(1) as usize,
        catching_up,
        pull: None,
        arrived: None,
        more: false,
        ready: VecDeque::new(),
        held: HashMap::new(),
        last_id: 0,
        acknowledged: Position::START,
        asked_at: None,
    })
}

/// Where a consumer began cannot be changed; everything else is brought up to our settings.
fn keeping_start(config: Config, found: Option<Info>) -> Config {
    match found {
        Some(info) => Config { deliver_policy: info.config.deliver_policy, ..config },
        None => config,
    }
}

/// A reader that stands before what the servers have handed out: its view was restored, or lost its last writes, or it died with
/// work in its hands. It gets all of that again, read by position; what the servers hand out again besides is a repeat.
///
/// Beginning the consumer itself anew would not do: acknowledgements that are still under way would count for the new one.
struct CatchingUp {
    pages: mpsc::Receiver<Result<(Position, Page), LogError>>,
    _reading: AbortOnDropHandle<()>,
}

impl CatchingUp {
    fn begin(link: Arc<Link>, epoch: Arc<Epoch>, start: &ConsumerStart, after: Position, until: u64) -> Self {
        let (found, pages) = mpsc::channel(1);
        let (organization, max_events) = (start.organization.clone(), start.max_events.max(1));
        // A task of its own, since dropping a read half way would lose what it fetched.
        let reading = tokio::spawn(async move {
            let mut after = after;
            let first = epoch.sequence(first_after(&epoch, after));
            let mut cursor = match Cursor::open(&link, epoch, organization.clone(), first).await {
                Ok(cursor) => cursor,
                Err(error) => return drop(found.send(Err(error)).await),
            };
            while after < Position::end_of(until) {
                let organization = organization.as_ref();
                let request = ReadRequest { after, through: Position::end_of(until), organization, max_events };
                let page = cursor.page(&link, request, until).await;
                let place = after;
                let failed = page.is_err();
                after = page.as_ref().map_or(after, |page| page.through);
                if found.send(page.map(|page| (place, page))).await.is_err() || failed {
                    return;
                }
            }
        });
        Self { pages, _reading: AbortOnDropHandle::new(reading) }
    }
}

/// A record that came and is not acknowledged.
struct Held {
    record: LogRecord,
    acker: Acker,
    deliveries: u32,
    since: Instant,
}

/// One stream of a consumer.
pub(super) struct ConsumerStream {
    link: Arc<Link>,
    epoch: Arc<Epoch>,
    consumer: PullConsumer,
    organization: Option<OrganizationId>,
    /// Up to here the reader has everything, although the servers may not know it.
    begins_after: Option<Position>,
    max_events: usize,
    connections: watch::Receiver<u64>,
    catching_up: Option<CatchingUp>,
    pull: Option<Pull>,
    /// Came, and is being put together.
    arrived: Option<Message>,
    /// Whether the servers had more when they sent the last one.
    more: bool,
    /// In no batch yet.
    ready: VecDeque<Held>,
    held: HashMap<u64, Vec<Acker>>,
    last_id: u64,
    acknowledged: Position,
    asked_at: Option<Instant>,
}

impl ConsumerStream {
    /// Waits for one more record to be ready. Dropping the future loses nothing.
    async fn receive(&mut self) -> Result<(), LogError> {
        loop {
            if self.arrived.is_none() {
                self.arrived = self.pull().await?;
            }
            let Some(message) = &self.arrived else { continue };
            let info = message.info().map_err(LogError::engine)?;
            let (in_stream, deliveries) = (info.stream_sequence, u32::try_from(info.delivered).unwrap_or(u32::MAX));
            self.more = info.pending > 0 || deliveries > 1;
            let record = load::record(&self.link, &self.epoch, in_stream, message.message.payload.clone()).await?;
            let Some(message) = self.arrived.take() else { continue };
            let (_, acker) = message.split();
            match record.filter(|record| self.wants(record)) {
                Some(record) => {
                    self.ready.push_back(Held { record, acker, deliveries, since: Instant::now() });
                    return Ok(());
                }
                None => self.release(vec![acker], AckKind::Ack),
            }
        }
    }

    /// Several organizations share a subject, and a reader may stand within what is handed out again.
    fn wants(&self, record: &LogRecord) -> bool {
        self.organization.as_ref().is_none_or(|organization| *organization == record.organization_id)
            && record.event_count > 0
            && self.begins_after.is_none_or(|after| record.last_position() > after)
    }

    /// Waits for the next message; `None` when the request for some has ended and another one is due.
    async fn pull(&mut self) -> Result<Option<Message>, LogError> {
        let pull = match &mut self.pull {
            Some(pull) => pull,
            none => {
                self.connections.mark_unchanged();
                let count = PULL.min(self.max_events);
                let pull = self.consumer.batch().max_messages(count).expires(PULL_FOR).messages().await;
                none.insert(pull.map_err(LogError::engine)?)
            }
        };
        let next = tokio::select! {
            next = pull.next() => next,
            // The servers of the connection before have forgotten what was asked.
            changed = self.connections.changed() => {
                changed.map_err(|_| LogError::Closed)?;
                None
            }
        };
        match next {
            Some(message) => message.map(Some).map_err(|error| {
                self.link.doubt();
                LogError::engine(error)
            }),
            None => {
                self.pull = None;
                self.check().await?;
                Ok(None)
            }
        }
    }

    /// Checks that the servers still have the consumer: a request for messages of one they do not have is not answered at all.
    async fn check(&mut self) -> Result<(), LogError> {
        let info = match self.consumer.get_info().await {
            Ok(info) if *self.link.epoch().await? == *self.epoch => info,
            Ok(_) => return Err(LogError::engine("the stream is another one")),
            Err(error) => {
                self.link.doubt();
                return Err(LogError::engine(error));
            }
        };
        self.acknowledged = self.acknowledged.max(acknowledged(&self.epoch, &info, None));
        self.asked_at = Some(Instant::now());
        Ok(())
    }

    /// Returns whether a batch has room for more than what is ready.
    fn has_room(&self) -> bool {
        let (mut events, mut bytes) = (0, 0);
        for held in &self.ready {
            events += held.record.event_count as usize;
            bytes += held.record.message.len();
        }
        events < self.max_events && bytes < BATCH_BYTES
    }

    /// Returns the next batch of what has to be read again, if anything has.
    async fn catch_up(&mut self) -> Result<Option<Batch>, LogError> {
        while let Some(catching_up) = &mut self.catching_up {
            match catching_up.pages.recv().await.transpose()? {
                Some((_, page)) if page.records.is_empty() => {}
                Some((after, page)) => {
                    self.last_id += 1;
                    // There is nothing to tell the servers, but the window counts it.
                    self.held.insert(self.last_id, Vec::new());
                    let (batch_id, acknowledged) = (self.last_id, self.acknowledged);
                    return Ok(Some(Batch { batch_id, records: page.records, delivery_count: 1, after, acknowledged }));
                }
                None => self.catching_up = None,
            }
        }
        Ok(None)
    }

    /// Takes the next batch out of what is ready.
    fn batch(&mut self) -> Batch {
        let (mut events, mut bytes) = (0, 0);
        let (mut records, mut ackers, mut deliveries) = (Vec::new(), Vec::new(), 1);
        // What is handed out again comes in no order.
        self.ready.make_contiguous().sort_by_key(|held| held.record.sequence);
        while let Some(next) = self.ready.front() {
            events += next.record.event_count as usize;
            bytes += next.record.message.len();
            if !records.is_empty() && (events > self.max_events || bytes > BATCH_BYTES) {
                break;
            }
            let Some(Held { record, acker, deliveries: count, .. }) = self.ready.pop_front() else { break };
            deliveries = deliveries.max(count);
            records.push(record);
            ackers.push(acker);
        }
        self.last_id += 1;
        self.held.insert(self.last_id, ackers);
        let after = after_of(&self.epoch, &records);
        Batch { batch_id: self.last_id, records, delivery_count: deliveries, after, acknowledged: self.acknowledged }
    }

    /// Asks how far all streams together have come, unless it was asked a moment ago.
    async fn ask(&mut self) {
        if self.asked_at.is_some_and(|at| at.elapsed() < KNOWN_FOR) {
            return;
        }
        // It is no more than a hint: what is not known now comes with a later batch.
        if let Ok(info) = self.consumer.get_info().await {
            self.acknowledged = self.acknowledged.max(acknowledged(&self.epoch, &info, None));
            self.asked_at = Some(Instant::now());
        }
    }

    /// Gives back what is ready, when the reader is too slow to take it: somebody else may have it.
    fn give_back(&mut self) {
        let ready = self.ready.drain(..).map(|held| held.acker).collect();
        release(ready, AckKind::Nak(None), self.pull.take(), Arc::clone(&self.link));
    }

    fn release(&self, ackers: Vec<Acker>, kind: AckKind) {
        release(ackers, kind, None, Arc::clone(&self.link));
    }
}

/// Returns the position after which everything for this consumer, up to the last record, is among these: only where numbers follow
/// on each other is that certain.
fn after_of(epoch: &Epoch, records: &[LogRecord]) -> Position {
    let mut first = u64::MAX;
    for record in records.iter().rev() {
        if first != u64::MAX && record.sequence + 1 != first {
            break;
        }
        first = record.sequence;
    }
    // Before the first record of a stream there is nothing any more, whatever other streams had.
    if first <= epoch.sequence(1) { Position::START } else { Position::end_of(first - 1) }
}

/// Returns up to where a consumer has acknowledged everything; `end`, asked before `info`, when nothing is left of it.
fn acknowledged(epoch: &Epoch, info: &Info, end: Option<u64>) -> Position {
    let idle = info.num_pending == 0 && info.num_ack_pending == 0;
    epoch.end_of(info.ack_floor.stream_sequence.max(end.filter(|_| idle).unwrap_or_default()))
}

#[async_trait]
impl Consumer for ConsumerStream {
    async fn next(&mut self) -> Result<Batch, LogError> {
        if self.held.len() >= WINDOW {
            if let Some(oldest) = self.ready.front() {
                tokio::time::sleep_until(oldest.since + self.link.settings().ack_wait / 2).await;
            } else {
                tokio::time::sleep(self.link.settings().ack_wait / 2).await;
            }
            self.give_back();
            // An acknowledgement comes through another method, for which this one is dropped.
            std::future::pending::<()>().await;
        }
        if let Some(batch) = self.catch_up().await? {
            return Ok(batch);
        }
        while self.ready.is_empty() {
            self.receive().await?;
        }
        while self.has_room() {
            // What is on its way is worth a moment; what nobody has published yet is not.
            let moment = if self.more { GATHER_FOR } else { Duration::ZERO };
            match tokio::time::timeout(moment, self.receive()).await {
                Ok(received) => received?,
                Err(_) => break,
            }
        }
        self.ask().await;
        Ok(self.batch())
    }

    fn acknowledge(&mut self, batch_id: u64) {
        if let Some(ackers) = self.held.remove(&batch_id) {
            self.release(ackers, AckKind::Ack);
        }
    }
}

impl Drop for ConsumerStream {
    fn drop(&mut self) {
        let mut back: Vec<Acker> = std::mem::take(&mut self.held).into_values().flatten().collect();
        back.extend(self.ready.drain(..).map(|held| held.acker));
        back.extend(self.arrived.take().map(|message| message.split().1));
        release(back, AckKind::Nak(None), self.pull.take(), Arc::clone(&self.link));
    }
}

/// Tells the servers what became of some messages. Nobody waits for it: what does not arrive is handed out again. A request for
/// more ends first, since the servers would hand what is given back to the very request that nobody reads any more.
fn release(ackers: Vec<Acker>, kind: AckKind, pull: Option<Pull>, link: Arc<Link>) {
    // Without a runtime the process is ending, and the connection with it.
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    if ackers.is_empty() && pull.is_none() {
        return;
    }
    runtime.spawn(async move {
        if let Some(pull) = pull {
            // The client unsubscribes in a task of its own, which goes first here.
            drop(pull);
            tokio::task::yield_now().await;
            link.flush().await;
        }
        for acker in ackers {
            if let Err(error) = acker.ack_with(kind).await {
                tracing::debug!("an acknowledgement did not go out: {error}");
                break;
            }
        }
    });
}

/// Returns how far the consumers of `organization` have come, by name; only the one called `name` when it is given.
///
/// # Errors
/// When the servers do not answer.
pub(super) async fn states(
    link: &Link,
    organization: Option<&OrganizationId>,
    name: Option<&str>,
) -> Result<Vec<ConsumerState>, LogError> {
    let epoch = link.epoch().await?;
    let end = link.extent().await?.last;
    let stream = link.stream().await?;
    let infos: Vec<Info> = match name {
        Some(name) => stream.consumer_info(durable_name(organization, name)).await.ok().into_iter().collect(),
        None => stream.consumers().take(MAX_CONSUMERS * 2).try_collect().await.map_err(LogError::engine)?,
    };
    let mut states = Vec::new();
    for info in infos {
        let described = info.config.description.as_deref().and_then(|text| serde_json::from_str::<Described>(text).ok());
        if let Some(described) = described
            && described.organization.as_ref() == organization
        {
            states.push(state(link, &epoch, &info, described, end).await?);
        }
    }
    states.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(states)
}

async fn state(link: &Link, epoch: &Epoch, info: &Info, described: Described, end: u64) -> Result<ConsumerState, LogError> {
    let handed_out = info.num_ack_pending as u64;
    let lag_records = info.num_pending + handed_out;
    let oldest = if lag_records == 0 { None } else { link.get(info.ack_floor.stream_sequence + 1).await? };
    let oldest = oldest.and_then(|message| {
        let millis = i64::try_from(message.time.unix_timestamp_nanos() / 1_000_000).ok()?;
        Timestamp::from_millis(millis).ok()
    });
    Ok(ConsumerState {
        name: described.consumer,
        organization: described.organization,
        acknowledged: acknowledged(epoch, info, Some(end)),
        end: epoch.end_of(end),
        lag_records,
        handed_out,
        redelivered: info.num_redelivered as u64,
        oldest_received_at: oldest,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn records(sequences: &[u64]) -> Vec<LogRecord> {
        let record = |sequence: &u64| LogRecord {
            sequence: *sequence,
            organization_id: "acme".parse().unwrap(),
            event_count: 1,
            message: Bytes::new(),
        };
        sequences.iter().map(record).collect()
    }

    #[test]
    fn only_numbers_that_follow_on_each_other_leave_nothing_out() {
        let (first, second) = (Epoch::new("COLLOQUY", 1, 0), Epoch::new("COLLOQUY", 2, 100));
        assert_eq!(after_of(&first, &records(&[1, 2, 3])), Position::START);
        assert_eq!(after_of(&first, &records(&[5, 6])), Position::end_of(4));
        assert_eq!(after_of(&first, &records(&[5, 7, 8])), Position::end_of(6));
        assert_eq!(after_of(&second, &records(&[101, 102])), Position::START);
    }

    #[test]
    fn names_on_the_servers_have_no_dots_and_differ_by_organization() {
        let (acme, other) = ("acme".parse().unwrap(), "other".parse().unwrap());
        assert_eq!(durable_name(None, "conversation.store"), "conversation~store");
        assert_ne!(durable_name(Some(&acme), "x"), durable_name(Some(&other), "x"));
        assert_ne!(durable_name(Some(&acme), "x"), durable_name(None, "x"));
    }
}
