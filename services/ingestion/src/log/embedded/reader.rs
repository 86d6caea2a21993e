//! Reading records: the newest from memory, older ones from the file.

use colloquy_storage::StoreError;
use colloquy_types::{ConversationId, OrganizationId, Position};
use futures::TryStreamExt;

use super::{Shared, codec};
use crate::log::{LogError, LogRecord, Page, ReadRequest, RecordsOf, record};

/// How many bytes of records one page holds at most, unless a single record is larger. Every stream may hold a few pages, so
/// this is small.
const PAGE_BYTES: usize = 2 << 20;
/// How many rows one query looks at.
const PAGE_ROWS: i64 = 2_000;
/// How many records of a conversation are found at once.
const FOUND_AT_ONCE: i64 = 10_000;

/// A page being filled.
struct Filling<'a> {
    request: ReadRequest<'a>,
    records: Vec<LogRecord>,
    events: u64,
    bytes: usize,
}

/// What adding a record to a page did.
#[derive(PartialEq, Eq)]
enum Added {
    /// It is in, or need not be.
    Goes,
    /// It has no room, and neither has what follows.
    Full,
}

impl<'a> Filling<'a> {
    fn new(request: ReadRequest<'a>) -> Self {
        Self { request, records: Vec::new(), events: 0, bytes: 0 }
    }

    fn add(&mut self, record: &LogRecord) -> Added {
        if record.sequence > self.request.through.sequence() {
            return Added::Full;
        }
        let wanted = self.request.organization.is_none_or(|organization| *organization == record.organization_id)
            && record.event_count > 0
            && record.last_position() > self.request.after;
        if !wanted {
            return Added::Goes;
        }
        let events = self.events + u64::from(record.event_count);
        let bytes = self.bytes + record.message.len();
        if !self.records.is_empty() && (events > u64::from(self.request.max_events) || bytes > PAGE_BYTES) {
            return Added::Full;
        }
        (self.events, self.bytes) = (events, bytes);
        self.records.push(record.clone());
        Added::Goes
    }

    /// Ends the page: everything up to `seen` was looked at.
    fn finish(self, seen: u64) -> Page {
        Page { records: self.records, through: Position::end_of(seen).max(self.request.after) }
    }
}

impl Shared {
    pub(super) async fn read(&self, request: ReadRequest<'_>) -> Result<Page, LogError> {
        let request = ReadRequest { through: request.through.min(self.end()), ..request };
        // A position within a record: what follows in that record is still to come.
        let first = request.after.sequence() + u64::from(request.after.index() == u16::MAX);
        let last = request.through.sequence();
        if first > last {
            return Ok(Page { records: Vec::new(), through: request.after });
        }
        let mut filling = Filling::new(request);
        let mut seen = first.saturating_sub(1);
        let whole = self.recent.visit_from(first.max(1), |record| {
            let goes = filling.add(record) == Added::Goes;
            if goes {
                seen = record.sequence;
            }
            goes
        });
        if whole {
            return Ok(filling.finish(seen));
        }
        self.read_file(request, first, last).await
    }

    /// Finds the records of a conversation: what makes repeats vanish knows them, and is written together with them.
    pub(super) async fn records_of(
        &self,
        organization: &OrganizationId,
        conversation: ConversationId,
        after: Position,
    ) -> Result<RecordsOf, LogError> {
        let end = self.end();
        let found: Vec<i64> = sqlx::query_scalar(
            "select distinct e.sequence
             from event_ids e
             where e.conversation = (select number from conversations where organization_id = $1 and conversation_id = $2)
               and e.sequence between $3 and $4
             order by e.sequence
             limit $5",
        )
        .bind(organization.as_str())
        .bind(conversation.0)
        .bind(after.sequence() as i64)
        .bind(end.sequence() as i64)
        .bind(FOUND_AT_ONCE)
        .fetch_all(self.sqlite.readers())
        .await?;
        let all = (found.len() as i64) < FOUND_AT_ONCE;
        let sequences: Vec<u64> = found.into_iter().map(|sequence| sequence as u64).collect();
        let through = if all { end } else { Position::end_of(sequences.last().copied().unwrap_or_default()) };
        Ok(RecordsOf { sequences, through: through.max(after) })
    }

    async fn read_file(&self, request: ReadRequest<'_>, first: u64, last: u64) -> Result<Page, LogError> {
        let mut rows = sqlx::query_as::<_, (i64, String, u32, Vec<u8>)>(
            "select sequence, organization_id, event_count, body
             from records
             where sequence between $1 and $2 and event_count > 0 and ($3 is null or organization_id = $3)
             order by sequence
             limit $4",
        )
        .bind(first as i64)
        .bind(last as i64)
        .bind(request.organization.map(OrganizationId::as_str))
        .bind(PAGE_ROWS)
        .fetch(self.sqlite.readers());
        let mut filling = Filling::new(request);
        let mut seen = first.saturating_sub(1);
        let mut count = 0;
        while let Some((sequence, organization_id, event_count, body)) = rows.try_next().await? {
            count += 1;
            let record = decode(sequence as u64, &organization_id, event_count, &body)?;
            if filling.add(&record) == Added::Full {
                return Ok(filling.finish(seen));
            }
            seen = record.sequence;
        }
        // All that there is was looked at, unless the query itself came to its limit.
        Ok(filling.finish(if count < PAGE_ROWS { last } else { seen }))
    }
}

fn decode(sequence: u64, organization_id: &str, event_count: u32, body: &[u8]) -> Result<LogRecord, StoreError> {
    let organization_id: OrganizationId =
        organization_id.parse().map_err(|_| StoreError::Corrupt("an organization's name".to_owned()))?;
    let message = record::encode_message(&codec::decode(&organization_id, body)?);
    Ok(LogRecord::number(organization_id, event_count, message, sequence))
}
