//! Reading records by their place: the newest from memory, older ones from the stream, message by message, several at a time.
//!
//! Messages are asked for by number, of the stream's leader: what is not there is then known not to be there. A consumer on the
//! servers would be quicker, but it may sit on a server that lags behind, it is forgotten when nobody uses it, and what it sends
//! into a broken connection is lost.

use colloquy_types::Position;
use futures::future::join_all;

use super::feed::Feed;
use super::link::{Epoch, Kind, Link};
use super::load;
use crate::log::{LogError, LogRecord, Page, ReadRequest};

/// How many messages are asked for at once.
const AT_ONCE: u64 = 64;
/// How many numbers one page looks at, whatever it finds.
const PAGE_NUMBERS: u64 = 4_096;
/// How many bytes of records one page holds at most, unless a single record is larger.
const PAGE_BYTES: usize = 2 << 20;

/// Returns the next records after a position, without waiting for any.
///
/// # Errors
/// When the servers do not answer.
pub(super) async fn read(link: &Link, feed: &Feed, request: ReadRequest<'_>) -> Result<Page, LogError> {
    let epoch = link.epoch().await?;
    let first = first_of(&epoch, request.after);
    if let Some(page) = from_memory(feed, request, first) {
        return Ok(page);
    }
    let last = epoch.sequence(link.extent(&epoch).await?.last);
    page(link, &epoch, request, last).await
}

/// Returns the number of the first record that has something after a position.
fn first_of(epoch: &Epoch, after: Position) -> u64 {
    // A position within a record: what follows in that record is still to come.
    (after.sequence() + u64::from(after.index() == u16::MAX)).max(epoch.sequence(1))
}

/// Returns the next records after a position, of those up to number `last`.
///
/// # Errors
/// When the servers do not answer.
pub(super) async fn page(link: &Link, epoch: &Epoch, request: ReadRequest<'_>, last: u64) -> Result<Page, LogError> {
    let (first, last) = (first_of(epoch, request.after), last.min(request.through.sequence()));
    if first > last {
        return Ok(Page { records: Vec::new(), through: request.after });
    }
    match request.organization {
        None => every_record(link, epoch, request, first, last).await,
        Some(_) => by_subject(link, epoch, request, first, last).await,
    }
}

async fn every_record(link: &Link, epoch: &Epoch, request: ReadRequest<'_>, first: u64, last: u64) -> Result<Page, LogError> {
    let mut filling = Filling::new(request);
    let last = last.min(first.saturating_add(PAGE_NUMBERS - 1));
    let mut next = first;
    while next <= last {
        let until = last.min(next + AT_ONCE - 1);
        let numbers = (next..=until).filter_map(|sequence| epoch.in_stream(sequence));
        for message in join_all(numbers.map(|number| link.get(number))).await {
            let Some(message) = message? else { continue };
            if epoch.kind(&message.subject) == Kind::Record
                && let Some(record) = load::record(link, epoch, message.sequence, message.payload).await?
                && !filling.add(&record)
            {
                return Ok(filling.finish(record.sequence - 1));
            }
        }
        next = until + 1;
    }
    Ok(filling.finish(last))
}

/// Skips what other organizations have, as far as they have other subjects.
async fn by_subject(link: &Link, epoch: &Epoch, request: ReadRequest<'_>, first: u64, last: u64) -> Result<Page, LogError> {
    let subject = epoch.records_of(request.organization);
    let mut filling = Filling::new(request);
    let mut next = first;
    for _ in 0..PAGE_NUMBERS {
        let Some(number) = epoch.in_stream(next) else { break };
        let found = link.get_next(&subject, number).await?;
        let Some(message) = found.filter(|message| epoch.sequence(message.sequence) <= last) else {
            return Ok(filling.finish(last));
        };
        next = epoch.sequence(message.sequence) + 1;
        if let Some(record) = load::record(link, epoch, message.sequence, message.payload).await?
            && !filling.add(&record)
        {
            return Ok(filling.finish(record.sequence - 1));
        }
    }
    Ok(filling.finish(next - 1))
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
