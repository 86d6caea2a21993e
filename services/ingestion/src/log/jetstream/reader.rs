//! Reading records by their place: the newest from memory, older ones from the stream.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer};
use colloquy_types::{OrganizationId, Position};
use futures::StreamExt;

use super::feed::Feed;
use super::link::{Epoch, Link};
use super::load;
use crate::log::{LogError, LogRecord, Page, ReadRequest};

/// How many messages are fetched at a time.
const FETCH: usize = 256;
/// How many bytes of records one page holds at most, unless a single record is larger.
const PAGE_BYTES: usize = 2 << 20;
/// How many reads under way are remembered, so that the next page goes on where the last one ended.
const REMEMBERED: usize = 32;
/// How long the servers remember one that is not used.
const UNUSED: Duration = Duration::from_secs(30);

/// A read under way: a consumer of its own on the servers, and what it fetched too much.
pub(super) struct Cursor {
    epoch: Arc<Epoch>,
    organization: Option<OrganizationId>,
    /// The number of the next record that comes out of it.
    next: u64,
    consumer: PullConsumer,
    ahead: VecDeque<LogRecord>,
    /// Everything up to here has been fetched.
    fetched: u64,
}

/// Reads under way.
#[derive(Default)]
pub(super) struct Cursors(Mutex<Vec<Cursor>>);

/// Returns the next records after a position, without waiting for any.
///
/// # Errors
/// When the servers do not answer.
pub(super) async fn read(link: &Link, feed: &Feed, cursors: &Cursors, request: ReadRequest<'_>) -> Result<Page, LogError> {
    let epoch = link.epoch().await?;
    // A position within a record: what follows in that record is still to come.
    let first = (request.after.sequence() + u64::from(request.after.index() == u16::MAX)).max(epoch.sequence(1));
    if let Some(page) = from_memory(feed, request, first) {
        return Ok(page);
    }
    let last = epoch.sequence(link.extent().await?.last).min(request.through.sequence());
    if first > last {
        return Ok(Page { records: Vec::new(), through: request.after });
    }
    if let Some(mut cursor) = cursors.take(&epoch, request.organization, first)
        // The servers may have forgotten it meanwhile.
        && let Ok(page) = cursor.page(link, request, last).await
    {
        cursors.keep(cursor);
        return Ok(page);
    }
    let mut cursor = Cursor::open(link, epoch, request.organization.cloned(), first).await?;
    let page = cursor.page(link, request, last).await?;
    cursors.keep(cursor);
    Ok(page)
}

/// A page being filled.
struct Filling<'a> {
    request: ReadRequest<'a>,
    records: Vec<LogRecord>,
    events: u64,
    bytes: usize,
}

impl<'a> Filling<'a> {
    fn new(request: ReadRequest<'a>) -> Self {
        Self { request, records: Vec::new(), events: 0, bytes: 0 }
    }

    /// Adds a record when it is asked for; returns `false` when it has no room, and neither has what follows.
    fn add(&mut self, record: &LogRecord) -> bool {
        if record.sequence > self.request.through.sequence() {
            return false;
        }
        let wanted = self.request.organization.is_none_or(|organization| *organization == record.organization_id)
            && record.event_count > 0
            && record.last_position() > self.request.after;
        if !wanted {
            return true;
        }
        let events = self.events + u64::from(record.event_count);
        let bytes = self.bytes + record.message.len();
        if !self.records.is_empty() && (events > u64::from(self.request.max_events) || bytes > PAGE_BYTES) {
            return false;
        }
        (self.events, self.bytes) = (events, bytes);
        self.records.push(record.clone());
        true
    }

    /// Ends the page: everything up to `seen` was looked at.
    fn finish(self, seen: u64) -> Page {
        Page { records: self.records, through: Position::end_of(seen).max(self.request.after) }
    }
}

fn from_memory(feed: &Feed, request: ReadRequest<'_>, first: u64) -> Option<Page> {
    let end = feed.end();
    let mut filling = Filling::new(request);
    let mut seen = end.sequence().min(request.through.sequence());
    let whole = feed.visit_from(first, |record| {
        let goes = filling.add(record);
        // What came in after `end` was asked is here too.
        seen = if goes { seen.max(record.sequence) } else { record.sequence - 1 };
        goes
    });
    (whole && seen >= first).then(|| filling.finish(seen))
}

impl Cursors {
    fn take(&self, epoch: &Arc<Epoch>, organization: Option<&OrganizationId>, next: u64) -> Option<Cursor> {
        let mut cursors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = cursors
            .iter()
            .position(|cursor| cursor.epoch == *epoch && cursor.organization.as_ref() == organization && cursor.next == next)?;
        Some(cursors.swap_remove(place))
    }

    fn keep(&self, cursor: Cursor) {
        let mut cursors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cursors.len() >= REMEMBERED {
            cursors.remove(0);
        }
        cursors.push(cursor);
    }

    /// Forgets everything: something was erased.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Cursor {
    /// Begins a read at record `first`.
    pub(super) async fn open(
        link: &Link,
        epoch: Arc<Epoch>,
        organization: Option<OrganizationId>,
        first: u64,
    ) -> Result<Self, LogError> {
        let start_sequence = epoch.in_stream(first).unwrap_or(1);
        let config = Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence },
            ack_policy: AckPolicy::None,
            filter_subject: epoch.records_of(organization.as_ref()),
            inactive_threshold: UNUSED,
            memory_storage: true,
            num_replicas: 1,
            ..Config::default()
        };
        let consumer = link.stream().await?.create_consumer(config).await.map_err(LogError::engine)?;
        Ok(Self { epoch, organization, next: first, consumer, ahead: VecDeque::new(), fetched: first - 1 })
    }

    /// Returns the next page, reading up to `last` at most. Dropping the future loses what it had fetched.
    pub(super) async fn page(&mut self, link: &Link, request: ReadRequest<'_>, last: u64) -> Result<Page, LogError> {
        let mut filling = Filling::new(request);
        loop {
            while let Some(record) = self.ahead.front() {
                if record.sequence > last || !filling.add(record) {
                    let seen = record.sequence - 1;
                    self.next = record.sequence;
                    return Ok(filling.finish(seen.min(last)));
                }
                self.ahead.pop_front();
            }
            if self.fetched >= last {
                self.next = last + 1;
                return Ok(filling.finish(last));
            }
            self.fetch(link, last).await?;
        }
    }

    async fn fetch(&mut self, link: &Link, last: u64) -> Result<(), LogError> {
        let fetched = self.consumer.fetch().max_messages(FETCH).messages().await.map_err(LogError::engine)?;
        let mut fetched = std::pin::pin!(fetched);
        let mut count = 0;
        while let Some(message) = fetched.next().await {
            let message = message.map_err(LogError::engine)?;
            let in_stream = message.info().map_err(LogError::engine)?.stream_sequence;
            count += 1;
            self.fetched = self.epoch.sequence(in_stream);
            if let Some(record) = load::record(link, &self.epoch, in_stream, message.message.payload).await? {
                self.ahead.push_back(record);
            }
        }
        // The servers had no more: everything up to where the stream ended before is here.
        if count < FETCH {
            self.fetched = self.fetched.max(last);
        }
        Ok(())
    }
}
