//! The one task of a replica that publishes records: what is waiting is looked up together, published together, and noted in the
//! index together. Other replicas do the same at the same time; what makes a repeat vanish between them is the record's id, which
//! the servers remember for two minutes, and after that the index.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_nats::jetstream::context::PublishAckFuture;
use colloquy_service::metrics;
use colloquy_types::{Clock, ConversationId, EventId, OrganizationId, Position, RecordId};
use futures::future::join_all;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::erase;
use super::frame::{Frame, Part};
use super::index::{Key, Known, Row};
use super::link::{Epoch, Link, means_another_stream};
use crate::log::prepare::Prepared;
use crate::log::queue::{Group, Waiting, Work};
use crate::log::{Appended, AppendedRecord, LogError};

/// The event id under which parts of records stand in the index; no event has it.
pub(super) const PART_EVENT: EventId = EventId(Uuid::from_u128(0x7061_7274));

/// How many records are published before their acknowledgements are waited for. The client allows a few thousand, and then waits
/// for room without a limit.
const UNDER_WAY: usize = 1_000;

/// Where an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    /// In this record of the log.
    Known(u64),
    /// In the record of that number, counted from 0, of those being written.
    New(usize),
}

/// A record that has something new.
struct Placed<'a> {
    record: Fresh<'a>,
    append: usize,
}

/// What is new of a record.
enum Fresh<'a> {
    All(&'a Prepared),
    Some(Prepared),
}

impl Placed<'_> {
    const fn record(&self) -> &Prepared {
        match &self.record {
            Fresh::All(record) => record,
            Fresh::Some(record) => record,
        }
    }
}

/// What is to become of a record of an append.
struct Planned {
    /// Its number among those being written, when something of it is new.
    placed: Option<usize>,
    accepted: u32,
    duplicates: u32,
    /// Where the events are that are not new.
    elsewhere: HashSet<Place>,
}

struct Plan<'a> {
    placed: Vec<Placed<'a>>,
    /// Append by append, record by record.
    appends: Vec<Vec<Planned>>,
}

/// A record that is in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Published {
    /// Its number in the stream.
    pub(super) in_stream: u64,
    /// Whether it was there before.
    pub(super) duplicate: bool,
    /// The numbers in the stream of its parts.
    pub(super) parts: Vec<u64>,
}

pub(super) async fn run(
    link: Arc<Link>,
    clock: Arc<dyn Clock>,
    mut waiting: Waiting,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled(), if !waiting.is_closed() => waiting.close(),
            work = waiting.take() => match work {
                Some(Work::Group(commands)) => {
                    let group = Group::of(commands);
                    let results = append(&link, &*clock, &group.appends).await;
                    let results = results.unwrap_or_else(|error| refuse_all(&error, group.appends.len()));
                    group.answer(results);
                }
                // Erasures of this engine do not wait in the queue.
                Some(Work::Erase { answer, .. }) => drop(answer.send(Err(LogError::Closed))),
                None => break,
            },
        }
    }
    link.flush().await;
    Ok(())
}

/// Writes a group of appends. Each is answered for itself.
///
/// # Errors
/// When nothing was written.
async fn append(link: &Link, clock: &dyn Clock, appends: &[Vec<Prepared>]) -> Result<Vec<Result<Appended, LogError>>, LogError> {
    let epoch = link.epoch().await?;
    let mut keys: Vec<Key> = Vec::new();
    for record in appends.iter().flatten() {
        keys.extend(record.events.iter().map(|event| (record.organization_id.clone(), *event)));
    }
    let known = link.index().find(&keys, epoch.offset).await?;
    let plan = Plan::of(appends, &known)?;
    let published = publish_all(link, &epoch, &plan.placed).await;
    note(link, clock, &epoch, &plan, &published).await;
    Ok(plan.answers(&epoch, published))
}

impl<'a> Plan<'a> {
    fn of(appends: &'a [Vec<Prepared>], known: &Known) -> Result<Self, LogError> {
        let mut plan = Self { placed: Vec::new(), appends: Vec::with_capacity(appends.len()) };
        let mut places: HashMap<Key, Place> =
            known.events.iter().map(|(key, sequence)| (key.clone(), Place::Known(*sequence))).collect();
        for (append, records) in appends.iter().enumerate() {
            let planned = records.iter().map(|record| plan.place(append, record, known, &mut places));
            let planned = planned.collect::<Result<_, _>>()?;
            plan.appends.push(planned);
        }
        Ok(plan)
    }

    fn place(
        &mut self,
        append: usize,
        record: &'a Prepared,
        known: &Known,
        places: &mut HashMap<Key, Place>,
    ) -> Result<Planned, LogError> {
        let own = Place::New(self.placed.len());
        let mut kept = Vec::with_capacity(record.events.len());
        let mut elsewhere = HashSet::new();
        for (index, event) in record.events.iter().enumerate() {
            if known.erased.contains(&(record.organization_id.clone(), event.conversation_id)) {
                continue;
            }
            match places.entry((record.organization_id.clone(), *event)) {
                Entry::Occupied(place) if *place.get() != own => {
                    elsewhere.insert(*place.get());
                }
                Entry::Occupied(_) => {}
                Entry::Vacant(vacant) => {
                    vacant.insert(own);
                    kept.push(index);
                }
            }
        }
        let (accepted, duplicates) = (kept.len() as u32, (record.events.len() - kept.len()) as u32);
        let placed = (accepted > 0).then_some(self.placed.len());
        if accepted > 0 {
            let record = if duplicates > 0 { Fresh::Some(record.reduced_to(&kept)?) } else { Fresh::All(record) };
            self.placed.push(Placed { record, append });
        }
        Ok(Planned { placed, accepted, duplicates, elsewhere })
    }

    /// Answers every append. One of which a record could not be published fails as a whole; what was published of it is found when
    /// it is tried again.
    fn answers(self, epoch: &Epoch, published: Vec<Result<Published, LogError>>) -> Vec<Result<Appended, LogError>> {
        let mut failed: HashMap<usize, String> = HashMap::new();
        for (placed, published) in self.placed.iter().zip(&published) {
            if let Err(error) = published {
                failed.entry(placed.append).or_insert_with(|| error.to_string());
            }
        }
        let number = |place: usize| published.get(place).and_then(|published| published.as_ref().ok());
        let answer = |(append, records): (usize, Vec<Planned>)| {
            // What repeats a record that could not be published is not in the log either.
            let lacking = records.iter().flat_map(|planned| &planned.elsewhere).find_map(|place| match place {
                Place::New(place) => published.get(*place)?.as_ref().err().map(ToString::to_string),
                Place::Known(_) => None,
            });
            if let Some(error) = failed.get(&append).cloned().or(lacking) {
                return Err(LogError::engine(error));
            }
            let mut answer = Appended::default();
            for planned in records {
                let mut record =
                    AppendedRecord { position: Position::START, accepted: planned.accepted, duplicates: planned.duplicates };
                for place in planned.elsewhere {
                    let sequence = match place {
                        Place::Known(sequence) => Some(sequence),
                        Place::New(place) => number(place).map(|published| epoch.sequence(published.in_stream)),
                    };
                    record.position = record.position.max(sequence.map_or(Position::START, Position::end_of));
                }
                if let Some(published) = planned.placed.and_then(number) {
                    let sequence = epoch.sequence(published.in_stream);
                    if published.duplicate {
                        (record.accepted, record.duplicates) = (0, record.accepted + record.duplicates);
                        record.position = record.position.max(Position::end_of(sequence));
                    } else {
                        let last = u16::try_from(planned.accepted.saturating_sub(1)).unwrap_or(u16::MAX);
                        record.position = record.position.max(Position::new(sequence, last));
                    }
                }
                answer.add(record);
            }
            Ok(answer)
        };
        self.appends.into_iter().enumerate().map(answer).collect()
    }
}

/// A record on its way.
enum Sending {
    Sent { ack: PublishAckFuture, parts: Vec<u64> },
    Failed(LogError),
}

/// Publishes records in their order; returns what became of each.
async fn publish_all(link: &Link, epoch: &Epoch, placed: &[Placed<'_>]) -> Vec<Result<Published, LogError>> {
    let mut published = Vec::with_capacity(placed.len());
    for some in placed.chunks(UNDER_WAY) {
        let mut sending = Vec::with_capacity(some.len());
        for placed in some {
            sending.push(send(link, epoch, placed.record(), "").await);
        }
        // All of them wait at once: each wait is bounded, and so is their sum.
        published.extend(join_all(sending.into_iter().map(|sending| settle(link, sending))).await);
    }
    let written = published.iter().flatten().filter(|published| !published.duplicate).count();
    if written > 0 {
        metrics::log_batch(written);
    }
    published
}

/// Publishes one record by itself. `variant` makes it another message than one of the same events.
///
/// # Errors
/// When it could not be published.
pub(super) async fn publish(link: &Link, epoch: &Epoch, record: &Prepared, variant: &str) -> Result<Published, LogError> {
    settle(link, send(link, epoch, record, variant).await).await
}

async fn send(link: &Link, epoch: &Epoch, record: &Prepared, variant: &str) -> Sending {
    let id = RecordId::derive(&record.organization_id, record.events.iter().map(|event| event.event_id));
    let id = format!("{id}{variant}");
    let mut frame = Frame::of(record);
    let (message, raw_body) = frame.take_too_much(link.max_payload());
    for (what, bytes) in [("m", message), ("b", raw_body)] {
        if bytes.is_empty() {
            continue;
        }
        // The conversations' ids stand in each part, beside its piece.
        let room = link.max_payload().saturating_sub(record.events.len() * 20).max(link.max_payload() / 4);
        match send_parts(link, epoch, &format!("{id}/{what}"), Part::cut(record, &bytes, room)).await {
            Ok(parts) if what == "m" => frame.message_parts = parts,
            Ok(parts) => frame.body_parts = parts,
            Err(error) => return Sending::Failed(error),
        }
    }
    let parts = frame.message_parts.iter().chain(&frame.body_parts).copied().collect();
    let payload = frame.encode_to_bytes();
    match link.publish(epoch.records_of(Some(&record.organization_id)), &id, payload).await {
        Ok(ack) => Sending::Sent { ack, parts },
        Err(error) => Sending::Failed(error),
    }
}

async fn send_parts(link: &Link, epoch: &Epoch, id: &str, parts: Vec<Part>) -> Result<Vec<u64>, LogError> {
    // A record has at most 64 MiB, so there are never many.
    let mut sent = Vec::with_capacity(parts.len());
    for (number, part) in parts.into_iter().enumerate() {
        let payload = prost::Message::encode_to_vec(&part).into();
        sent.push(link.publish(epoch.parts(), &format!("{id}/{number}"), payload).await?);
    }
    let acknowledged = join_all(sent.into_iter().map(IntoFuture::into_future)).await;
    acknowledged.into_iter().map(|ack| Ok(ack?.sequence)).collect()
}

async fn settle(link: &Link, sending: Sending) -> Result<Published, LogError> {
    let (ack, parts) = match sending {
        Sending::Sent { ack, parts } => (ack, parts),
        Sending::Failed(error) => return Err(error),
    };
    match ack.await {
        Ok(ack) => Ok(Published { in_stream: ack.sequence, duplicate: ack.duplicate, parts }),
        Err(error) => {
            if means_another_stream(&error) {
                link.doubt();
            }
            Err(error.into())
        }
    }
}

/// Returns the rows of a record that is in the stream.
pub(super) fn rows(epoch: &Epoch, record: &Prepared, published: &Published) -> Vec<Row> {
    let sequence = epoch.sequence(published.in_stream);
    let organization = &record.organization_id;
    let row = |conversation, event, sequence| Row { organization: organization.clone(), conversation, event, sequence };
    let mut rows: Vec<Row> = record.events.iter().map(|event| row(event.conversation_id, event.event_id, sequence)).collect();
    let conversations: HashSet<ConversationId> = record.events.iter().map(|event| event.conversation_id).collect();
    for part in &published.parts {
        rows.extend(conversations.iter().map(|conversation| row(*conversation, PART_EVENT, epoch.sequence(*part))));
    }
    rows
}

/// Notes in the index what was published. A failure here loses nothing: the records are durable, and `upkeep` notes them later.
async fn note(link: &Link, clock: &dyn Clock, epoch: &Epoch, plan: &Plan<'_>, published: &[Result<Published, LogError>]) {
    let mut all = Vec::new();
    let mut conversations: HashSet<(OrganizationId, ConversationId)> = HashSet::new();
    for (placed, published) in plan.placed.iter().zip(published) {
        if let Ok(published) = published {
            let rows = rows(epoch, placed.record(), published);
            conversations.extend(rows.iter().map(|row| (row.organization.clone(), row.conversation)));
            all.extend(rows);
        }
    }
    if all.is_empty() {
        return;
    }
    let noted = async {
        link.index().insert(&all).await?;
        // A conversation may have been erased while its records were on their way.
        for (organization, conversation) in link.index().erased_among(conversations).await? {
            erase::sweep_out(link, epoch, organization, conversation, clock.now()).await?;
        }
        Ok::<_, LogError>(())
    };
    if let Err(error) = noted.await {
        tracing::warn!("{} records are in the log but not yet in its index: {error}", published.len());
    }
}

fn refuse_all(error: &LogError, appends: usize) -> Vec<Result<Appended, LogError>> {
    tracing::warn!("{appends} appends are refused: {error}");
    (0..appends).map(|_| Err(LogError::engine(error))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::NewRecord;
    use crate::log::prepare::{Encoding, prepare};

    #[tokio::test]
    async fn a_repeat_of_what_could_not_be_published_fails_too() {
        let record = crate::log::conformance::a_record();
        let mut appends = Vec::new();
        for _ in 0..2 {
            appends.push(prepare(vec![NewRecord::from(record.clone())], Encoding::Message).await.unwrap());
        }
        let epoch = Epoch::new("COLLOQUY", 1, 0);
        let plan = Plan::of(&appends, &Known::default()).unwrap();
        assert_eq!(plan.placed.len(), 1);
        let answers = plan.answers(&epoch, vec![Err(LogError::engine("not now"))]);
        assert!(answers.iter().all(Result::is_err), "{answers:?}");
        let published = Published { in_stream: 7, duplicate: false, parts: Vec::new() };
        let answers = Plan::of(&appends, &Known::default()).unwrap().answers(&epoch, vec![Ok(published)]);
        let counts: Vec<_> = answers.into_iter().map(Result::unwrap).map(|one| (one.accepted, one.duplicates)).collect();
        assert_eq!(counts, [(3, 0), (0, 3)]);
    }
}
