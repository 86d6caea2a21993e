//! Durable consumers: who has been handed what, and how far each has acknowledged.
//!
//! What was handed out is kept as ranges, not as records: handing a range out again reads it again. Acknowledgements are written
//! down by the writer now and then; what a crash loses of them is handed out once more, which readers must bear anyway.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use colloquy_events::convert::timestamp_from_pb;
use colloquy_storage::StoreError;
use colloquy_types::{OrganizationId, Position};
use tokio::sync::Notify;

use super::Shared;
use crate::log::{Batch, Consumer, ConsumerStart, ConsumerState, LogError, Page, ReadRequest};

/// How many batches one stream may hold without acknowledging.
const WINDOW: usize = 4;
/// How many consumers an organization may have, and how many all of them together. Services always find room.
const MAX_CONSUMERS_OF_ORGANIZATION: usize = 50;
const MAX_CONSUMERS: usize = 1_000;

/// Whose consumer it is (`None`: a service's) and its name.
pub(super) type ConsumerKey = (Option<OrganizationId>, String);

/// Every consumer there is.
#[derive(Debug, Default)]
pub(super) struct Consumers(Mutex<HashMap<ConsumerKey, Arc<Group>>>);

/// The streams of one name.
#[derive(Debug)]
pub(super) struct Group {
    organization: Option<OrganizationId>,
    state: Mutex<State>,
    /// One stream at a time takes new records, so that they are handed out in order.
    taking: tokio::sync::Mutex<()>,
    /// Something can be taken that could not before.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Everything up to here was handed out, or is of no concern.
    cursor: Position,
    handed_out: BTreeMap<u64, HandedOut>,
    /// What lost streams had not acknowledged, in order.
    returned: VecDeque<Range>,
    streams: usize,
    last_id: u64,
    saved: Option<Position>,
}

#[derive(Debug)]
struct HandedOut {
    stream: u64,
    range: Range,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    after: Position,
    through: Position,
    /// How often it was handed out.
    deliveries: u32,
}

impl State {
    /// Returns how far everything is acknowledged.
    fn acknowledged(&self) -> Position {
        let handed_out = self.handed_out.values().map(|handed_out| handed_out.range.after);
        handed_out.chain(self.returned.iter().map(|range| range.after)).min().unwrap_or(self.cursor)
    }

    fn hand_out(&mut self, stream: u64, range: Range) -> u64 {
        self.last_id += 1;
        self.handed_out.insert(self.last_id, HandedOut { stream, range });
        self.last_id
    }

    fn held_by(&self, stream: u64) -> usize {
        self.handed_out.values().filter(|handed_out| handed_out.stream == stream).count()
    }

    fn put_back(&mut self, range: Range) {
        let place = self.returned.partition_point(|other| other.after < range.after);
        self.returned.insert(place, range);
    }
}

impl Group {
    fn new(organization: Option<OrganizationId>, acknowledged: Position) -> Arc<Self> {
        let state = State { cursor: acknowledged, saved: Some(acknowledged), ..State::default() };
        Arc::new(Self { organization, state: Mutex::new(state), taking: tokio::sync::Mutex::default(), changed: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn state(&self, shared: &Shared, name: String) -> Result<ConsumerState, LogError> {
        let (acknowledged, handed_out, redelivered) = {
            let state = self.lock();
            let records = |range: &Range| range.through.sequence().saturating_sub(range.after.sequence());
            let handed_out = state.handed_out.values().map(|handed_out| records(&handed_out.range)).sum();
            let again = state.handed_out.values().map(|handed_out| &handed_out.range).filter(|range| range.deliveries > 1);
            (state.acknowledged(), handed_out, again.map(records).sum())
        };
        let end = shared.end();
        let organization = self.organization.as_ref();
        let oldest = ReadRequest { after: acknowledged, through: end, organization, max_events: 1 };
        let oldest = shared.read(oldest).await?.records.into_iter().next();
        let oldest = oldest.map(|record| record.to_message()).transpose();
        let oldest = oldest.map_err(|error| StoreError::Corrupt(error.to_string()))?.and_then(|message| message.received_at);
        Ok(ConsumerState {
            name,
            organization: self.organization.clone(),
            acknowledged,
            end,
            lag_records: end.sequence().saturating_sub(acknowledged.sequence()),
            handed_out,
            redelivered,
            oldest_received_at: oldest.and_then(|at| timestamp_from_pb("received_at", at).ok()),
        })
    }
}

impl Consumers {
    fn lock(&self) -> MutexGuard<'_, HashMap<ConsumerKey, Arc<Group>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Restores a consumer from the file.
    pub(super) fn restore(&self, key: ConsumerKey, acknowledged: Position) {
        let group = Group::new(key.0.clone(), acknowledged);
        self.lock().insert(key, group);
    }

    /// Returns what has been acknowledged since it was last asked.
    pub(super) fn take_unsaved(&self) -> Vec<(ConsumerKey, Position)> {
        let groups = self.lock();
        let unsaved = groups.iter().filter_map(|(key, group)| {
            let mut state = group.lock();
            let acknowledged = state.acknowledged();
            (state.saved.replace(acknowledged) != Some(acknowledged)).then(|| (key.clone(), acknowledged))
        });
        unsaved.collect()
    }

    /// Notes that what [`Consumers::take_unsaved`] returned could not be written down.
    pub(super) fn mark_unsaved(&self, keys: impl IntoIterator<Item = ConsumerKey>) {
        let groups = self.lock();
        for key in keys {
            if let Some(group) = groups.get(&key) {
                group.lock().saved = None;
            }
        }
    }

    /// Tells how far the consumers of `organization` have come, by name; only the one called `name` when it is given.
    pub(super) async fn states(
        &self,
        shared: &Shared,
        organization: Option<&OrganizationId>,
        name: Option<&str>,
    ) -> Result<Vec<ConsumerState>, LogError> {
        let wanted = |key: &ConsumerKey| key.0.as_ref() == organization && name.is_none_or(|name| key.1 == name);
        let mut groups: Vec<_> =
            self.lock().iter().filter(|(key, _)| wanted(key)).map(|(key, group)| (key.1.clone(), Arc::clone(group))).collect();
        groups.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut states = Vec::with_capacity(groups.len());
        for (name, group) in groups {
            states.push(group.state(shared, name).await?);
        }
        Ok(states)
    }

    /// Adds a stream.
    pub(super) fn join(&self, shared: Arc<Shared>, start: ConsumerStart) -> Result<ConsumerStream, LogError> {
        let end = shared.end();
        if let Some(after) = start.after
            && after > end
        {
            return Err(LogError::BeyondEnd { after, end });
        }
        let mut groups = self.lock();
        let key = (start.organization, start.name);
        if !groups.contains_key(&key) && key.0.is_some() {
            let own = groups.keys().filter(|other| other.0 == key.0).count();
            for (count, limit) in [(groups.len(), MAX_CONSUMERS), (own, MAX_CONSUMERS_OF_ORGANIZATION)] {
                if count >= limit {
                    return Err(LogError::TooManyConsumers(limit));
                }
            }
        }
        let organization = key.0.clone();
        let group = groups.entry(key).or_insert_with(|| {
            let group = Group::new(organization, Position::START);
            // A consumer that has acknowledged nothing yet is known all the same.
            group.lock().saved = None;
            group
        });
        let mut state = group.lock();
        if let Some(after) = start.after
            && state.streams == 0
        {
            state.cursor = after;
            state.handed_out.clear();
            state.returned.clear();
        }
        state.streams += 1;
        state.last_id += 1;
        let stream = state.last_id;
        drop(state);
        Ok(ConsumerStream { shared, group: Arc::clone(group), stream, max_events: start.max_events.max(1) })
    }
}

/// One stream of a consumer.
pub(super) struct ConsumerStream {
    shared: Arc<Shared>,
    group: Arc<Group>,
    stream: u64,
    max_events: u32,
}

/// What a stream found when it looked for work.
enum Found {
    Batch(Batch),
    /// Nothing beyond this position.
    NothingAfter(Position),
}

impl ConsumerStream {
    /// Takes what a lost stream left behind, or what is new.
    async fn take(&self) -> Result<Found, LogError> {
        let _turn = self.group.taking.lock().await;
        loop {
            let (range, returned) = {
                let state = self.group.lock();
                match state.returned.front() {
                    Some(range) => (*range, true),
                    None => (Range { after: state.cursor, through: self.shared.end(), deliveries: 0 }, false),
                }
            };
            let page = self.read(range).await?;
            let mut state = self.group.lock();
            if returned {
                // Meanwhile another stream may have been lost and its work put in front.
                let Some(place) = state.returned.iter().position(|other| *other == range) else { continue };
                state.returned.remove(place);
                if page.through < range.through {
                    state.put_back(Range { after: page.through, ..range });
                    self.group.changed.notify_waiters();
                }
            } else {
                state.cursor = page.through;
            }
            if page.records.is_empty() {
                if returned {
                    continue;
                }
                return Ok(Found::NothingAfter(page.through));
            }
            let range = Range { after: range.after, through: page.through, deliveries: range.deliveries + 1 };
            let batch_id = state.hand_out(self.stream, range);
            let (after, acknowledged) = (range.after, state.acknowledged());
            return Ok(Found::Batch(Batch {
                batch_id,
                records: page.records,
                delivery_count: range.deliveries,
                after,
                acknowledged,
            }));
        }
    }

    async fn read(&self, range: Range) -> Result<Page, LogError> {
        let organization = self.group.organization.as_ref();
        let request = ReadRequest { after: range.after, through: range.through, organization, max_events: self.max_events };
        self.shared.read(request).await
    }
}

#[async_trait]
impl Consumer for ConsumerStream {
    async fn next(&mut self) -> Result<Batch, LogError> {
        loop {
            let mut changed = std::pin::pin!(self.group.changed.notified());
            changed.as_mut().enable();
            if self.group.lock().held_by(self.stream) >= WINDOW {
                changed.await;
                continue;
            }
            match self.take().await? {
                Found::Batch(batch) => return Ok(batch),
                Found::NothingAfter(position) => tokio::select! {
                    () = self.shared.wait_beyond(position) => {}
                    () = changed => {}
                },
            }
        }
    }

    fn acknowledge(&mut self, batch_id: u64) {
        let mut state = self.group.lock();
        if state.handed_out.get(&batch_id).is_some_and(|handed_out| handed_out.stream == self.stream) {
            state.handed_out.remove(&batch_id);
            drop(state);
            self.group.changed.notify_waiters();
        }
    }
}

impl Drop for ConsumerStream {
    fn drop(&mut self) {
        let mut state = self.group.lock();
        state.streams -= 1;
        let held = state.handed_out.iter().filter(|(_, handed_out)| handed_out.stream == self.stream);
        let held: Vec<(u64, Range)> = held.map(|(id, handed_out)| (*id, handed_out.range)).collect();
        for (id, range) in held {
            state.handed_out.remove(&id);
            state.put_back(range);
        }
        drop(state);
        self.group.changed.notify_waiters();
    }
}
