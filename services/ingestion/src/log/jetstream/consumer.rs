//! Durable consumers: each is a pull consumer of the servers, and each stream of ours pulls from it. What is acknowledged up here
//! is acknowledged there; what a stream held when it was lost goes back at once, and what a stream holds for longer than the
//! ack wait is handed to another.

mod catching_up;
mod state;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::pull::{Batch as Pull, BatchError, Config};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, Info, PullConsumer};
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::message::Acker;
use async_nats::jetstream::{AckKind, Message};
use async_trait::async_trait;
use colloquy_types::{OrganizationId, Position};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

use self::catching_up::CatchingUp;
use super::link::{Epoch, Extent, Link};
use super::load;
use crate::log::{Batch, Consumer, ConsumerStart, LogError, LogRecord};

pub(super) use self::state::states;

/// How many batches one stream may hold without acknowledging.
const WINDOW: usize = 4;
/// How many consumers an organization may have, and how many all of them together. Services always find room.
const MAX_CONSUMERS_OF_ORGANIZATION: usize = 50;
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
/// How long a batch waits for a newer one.
const ASK_FOR: Duration = Duration::from_millis(50);

/// What stands in a consumer's description: its name on the servers cannot say all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Described {
    consumer: String,
    organization: Option<OrganizationId>,
}

/// Returns a consumer's name on the servers, which must not have dots. It names the epoch: what is said of a message of an earlier
/// stream must not count for one of this stream that has the same number.
fn durable_name(epoch: &Epoch, organization: Option<&OrganizationId>, name: &str) -> String {
    format!("{}@{}{}", name.replace('.', "~"), epoch.number, suffix(organization))
}

fn suffix(organization: Option<&OrganizationId>) -> String {
    organization.map_or_else(String::new, |organization| {
        format!("@{}", Uuid::new_v5(&Uuid::NAMESPACE_OID, organization.as_str().as_bytes()).simple())
    })
}

/// Returns what the servers know of a consumer; `None` only when they say that there is none.
async fn info(link: &Link, durable: &str) -> Result<Option<Info>, LogError> {
    match link.stream().await?.consumer_info(durable).await {
        Ok(info) => Ok(Some(info)),
        Err(error) if matches!(error.kind(), ConsumerInfoErrorKind::NotFound) => Ok(None),
        Err(error) => Err(LogError::engine(error)),
    }
}

/// Refuses a consumer more than an organization may have.
async fn check_room(link: &Link, extent: Extent, start: &ConsumerStart) -> Result<(), LogError> {
    let Some(organization) = &start.organization else { return Ok(()) };
    if extent.consumers >= MAX_CONSUMERS {
        return Err(LogError::TooManyConsumers(MAX_CONSUMERS));
    }
    let (stream, suffix) = (link.stream().await?, suffix(Some(organization)));
    let names: Vec<String> = stream.consumer_names().try_collect().await.map_err(LogError::engine)?;
    if names.iter().filter(|name| name.ends_with(&suffix)).count() >= MAX_CONSUMERS_OF_ORGANIZATION {
        return Err(LogError::TooManyConsumers(MAX_CONSUMERS_OF_ORGANIZATION));
    }
    Ok(())
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
    // What happens to the connection from here on is of concern.
    let connections = link.connections();
    let epoch = link.epoch().await?;
    let extent = link.extent(&epoch).await?;
    let end = epoch.end_of(extent.last);
    if let Some(after) = start.after
        && after > end
    {
        return Err(LogError::BeyondEnd { after, end });
    }
    let durable = durable_name(&epoch, start.organization.as_ref(), &start.name);
    let stream = link.stream().await?;
    let config = config(&link, &epoch, &start, &durable);
    let found = info(&link, &durable).await?;
    if found.is_none() {
        check_room(&link, extent, &start).await?;
    }
    let mut delivered = found.as_ref().map(|info| info.delivered.stream_sequence);
    let consumer: PullConsumer = match stream.create_consumer(keeping_start(config, found)).await {
        Ok(consumer) => consumer,
        // Another replica made it in the same moment, from another position.
        Err(error) => {
            let consumer: PullConsumer = stream.get_consumer(&durable).await.map_err(|_| LogError::engine(error))?;
            delivered = Some(consumer.cached_info().delivered.stream_sequence);
            consumer
        }
    };
    let catching_up = match (start.after, delivered) {
        (Some(after), Some(delivered)) if first_after(&epoch, after) <= delivered => {
            Some(CatchingUp::begin(Arc::clone(&link), Arc::clone(&epoch), &start, after, epoch.sequence(delivered)))
        }
        _ => None,
    };
    Ok(ConsumerStream {
        connections,
        link,
        epoch,
        consumer,
        // An organization's readers may each stand somewhere else; a service's share one view.
        begins_after: start.after.filter(|_| start.organization.is_none()),
        announces: start.after.is_some(),
        organization: start.organization,
        must_check: false,
        max_events: start.max_events.max(1) as usize,
        catching_up,
        pull: None,
        asking: None,
        arrived: None,
        more: false,
        asked_for: 0,
        ready: VecDeque::new(),
        ready_events: 0,
        ready_bytes: 0,
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
    /// Something happened after which the consumer may be gone.
    must_check: bool,
    /// Whether the reader is still to be told that it was given everything that had been handed out before.
    announces: bool,
    catching_up: Option<CatchingUp>,
    pull: Option<Pull>,
    asking: Option<JoinHandle<Result<Pull, BatchError>>>,
    /// Came, and is being put together.
    arrived: Option<Message>,
    /// Whether the servers had more when they sent the last one.
    more: bool,
    /// How many messages the request under way may still bring.
    asked_for: usize,
    /// In no batch yet.
    ready: VecDeque<Held>,
    ready_events: usize,
    ready_bytes: usize,
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
            if !self.epoch.has(&message.message.subject) {
                self.link.doubt();
                return Err(LogError::engine("the stream is another one"));
            }
            let info = message.info().map_err(LogError::engine)?;
            let (in_stream, deliveries) = (info.stream_sequence, u32::try_from(info.delivered).unwrap_or(u32::MAX));
            self.more = info.pending > 0 || deliveries > 1;
            let record = load::record(&self.link, &self.epoch, in_stream, message.message.payload.clone()).await?;
            let Some(message) = self.arrived.take() else { continue };
            let (_, acker) = message.split();
            match record.filter(|record| self.wants(record)) {
                Some(record) => {
                    self.ready_events += record.event_count as usize;
                    self.ready_bytes += record.message.len();
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
        if self.must_check {
            self.check().await?;
        }
        if self.pull.is_none() {
            self.pull = Some(self.ask_for_more().await?);
        }
        let Some(pull) = &mut self.pull else { return Ok(None) };
        let next = tokio::select! {
            next = pull.next() => next,
            // The servers of the connection before have forgotten what was asked.
            changed = self.connections.changed() => {
                changed.map_err(|_| LogError::Closed)?;
                (self.pull, self.must_check) = (None, true);
                return Ok(None);
            }
        };
        match next {
            Some(message) => {
                self.asked_for = self.asked_for.saturating_sub(1);
                message.map(Some).map_err(|error| {
                    self.link.doubt();
                    LogError::engine(error)
                })
            }
            None => {
                // Ended before it was complete: nothing came for a while, or nobody is there to answer.
                (self.pull, self.must_check) = (None, self.asked_for > 0);
                Ok(None)
            }
        }
    }

    /// Asks for more messages, in a task: a request that was sent and forgotten would get messages that nobody reads.
    async fn ask_for_more(&mut self) -> Result<Pull, LogError> {
        let asking = self.asking.get_or_insert_with(|| {
            let (consumer, count) = (self.consumer.clone(), PULL.min(self.max_events));
            self.asked_for = count;
            tokio::spawn(async move { consumer.batch().max_messages(count).expires(PULL_FOR).messages().await })
        });
        let asked = asking.await;
        self.asking = None;
        asked.map_err(LogError::engine)?.map_err(LogError::engine)
    }

    /// Checks that the servers still have the consumer: a request for messages of one they do not have is not answered at all. Dropping
    /// the future leaves the check to be done.
    async fn check(&mut self) -> Result<(), LogError> {
        let info = match self.consumer.get_info().await {
            Ok(info) if *self.link.epoch().await? == *self.epoch => info,
            Ok(_) => return Err(LogError::engine("the stream is another one")),
            Err(error) => {
                self.link.doubt();
                return Err(LogError::engine(error));
            }
        };
        self.acknowledged = self.acknowledged.max(acknowledged(&self.epoch, &info));
        self.asked_at = Some(Instant::now());
        self.must_check = false;
        Ok(())
    }

    /// Returns whether a batch has room for more than what is ready.
    const fn has_room(&self) -> bool {
        self.ready_events < self.max_events && self.ready_bytes < BATCH_BYTES
    }

    /// Returns the next batch of what has to be read again, if anything has.
    async fn catch_up(&mut self) -> Result<Option<Batch>, LogError> {
        while let Some(catching_up) = &mut self.catching_up {
            match catching_up.pages.recv().await.transpose()? {
                // Where there is nothing, what follows it begins.
                Some((after, page)) if page.records.is_empty() => {
                    catching_up.nothing_since.get_or_insert(after);
                }
                Some((after, page)) => {
                    let after = catching_up.nothing_since.take().unwrap_or(after);
                    return Ok(Some(self.unheld(page.records, after, Position::START)));
                }
                None if catching_up.is_complete() => self.catching_up = None,
                None => return Err(LogError::Closed),
            }
        }
        if !self.announces {
            return Ok(None);
        }
        self.check().await?;
        self.announces = false;
        // Everything that was handed out before this stream began is with the reader now.
        Ok(Some(self.unheld(Vec::new(), self.acknowledged, self.acknowledged)))
    }

    /// Returns a batch of which there is nothing to tell the servers; the window counts it all the same.
    fn unheld(&mut self, records: Vec<LogRecord>, after: Position, acknowledged: Position) -> Batch {
        self.last_id += 1;
        self.held.insert(self.last_id, Vec::new());
        Batch { batch_id: self.last_id, records, delivery_count: 1, after, acknowledged }
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
            self.ready_events -= record.event_count as usize;
            self.ready_bytes -= record.message.len();
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
        self.asked_at = Some(Instant::now());
        // It is no more than a hint: what is not known now comes with a later batch.
        if let Ok(Ok(info)) = tokio::time::timeout(ASK_FOR, self.consumer.get_info()).await {
            self.acknowledged = self.acknowledged.max(acknowledged(&self.epoch, &info));
        }
    }

    /// Gives back what is ready, when the reader is too slow to take it: somebody else may have it.
    fn give_back(&mut self) {
        let ready = self.ready.drain(..).map(|held| held.acker).collect();
        (self.ready_events, self.ready_bytes) = (0, 0);
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

/// Returns up to where a consumer has acknowledged everything.
const fn acknowledged(epoch: &Epoch, info: &Info) -> Position {
    epoch.end_of(info.ack_floor.stream_sequence)
}

#[async_trait]
impl Consumer for ConsumerStream {
    async fn next(&mut self) -> Result<Batch, LogError> {
        if self.held.len() >= WINDOW {
            // An acknowledgement comes through another method, for which this one is dropped.
            let oldest = self.ready.front().map_or_else(Instant::now, |oldest| oldest.since);
            tokio::select! {
                () = tokio::time::sleep_until(oldest + self.link.settings().ack_wait / 2) => self.give_back(),
                _ = self.connections.changed() => (self.pull, self.must_check) = (None, true),
            }
            if self.must_check {
                self.check().await?;
            }
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
        let (first, second) = (Epoch::new("COLLOQUY", 1, 0), Epoch::new("COLLOQUY", 2, 100));
        assert_eq!(durable_name(&first, None, "conversation.store"), "conversation~store@1");
        assert_ne!(durable_name(&first, None, "x"), durable_name(&second, None, "x"));
        assert_ne!(durable_name(&first, Some(&acme), "x"), durable_name(&first, Some(&other), "x"));
        assert_ne!(durable_name(&first, Some(&acme), "x"), durable_name(&first, None, "x"));
    }
}
