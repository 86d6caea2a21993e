//! Reads the log into the store, and hands what is to be told at once to whoever tells it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use colloquy_events::Record;
use colloquy_log_client::UnknownEvents;
use colloquy_storage::StoreError;
use colloquy_types::{Clock, ConversationId, OrganizationId, Position, Timestamp};
use tokio::time::Instant;
use uuid::Uuid;

use crate::delivery::Delivery;
use crate::kept::{Keeping, Kept};
use crate::matching::{Audience, Listeners};
use crate::message::{Body, Message};
use crate::payload::{known_of, wanted_messages_of};
use crate::store::{Batch, Claimed, Known, READER, Store};

/// No reason is kept longer; enough to see what was wrong.
const LONGEST_REASON: usize = 1_000;
/// How long what other replicas read before is waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(10);
/// No filter asks for anything longer.
const LONGEST_KNOWN: usize = 500;

/// Takes deliveries that were made just now, claimed already.
pub trait Dispatch: Send + Sync + 'static {
    /// Returns how many more deliveries to an endpoint would be taken now.
    fn room(&self, endpoint_id: Uuid) -> usize;

    /// Takes them. Does not wait: what there is no room for after all is given back, and due again. Nothing is written of them before
    /// they are `kept`.
    fn fresh(&self, claimed: Vec<Claimed>, kept: Kept);

    /// Learns that these endpoints have something due that nobody has claimed. Does not wait.
    fn due(&self, endpoint_ids: &HashSet<Uuid>);

    /// Looks for what is due: something was made due by other means. Does not wait.
    fn look(&self);
}

/// What the reader needs.
pub struct Parts {
    /// Where it keeps what it reads.
    pub store: Arc<dyn Store>,
    /// Where it keeps what it does not know.
    pub unknown_events: UnknownEvents,
    /// Who tells.
    pub dispatch: Arc<dyn Dispatch>,
    /// For how long a new delivery is claimed for `dispatch`.
    pub claim: Duration,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The reader of this service.
pub struct Reader {
    parts: Parts,
    listeners: Mutex<Option<(i64, Arc<Listeners>)>>,
    /// Whether the last batch could not be kept. Then nothing is attempted before it is: it comes again until it can be kept, and
    /// receivers would hear of it each time.
    has_failed: AtomicBool,
}

impl Reader {
    /// Returns the reader.
    pub const fn new(parts: Parts) -> Self {
        Self { parts, listeners: Mutex::new(None), has_failed: AtomicBool::new(false) }
    }

    /// Returns who listens now. Whether anything changed is asked every time, which is one row: who has just made an endpoint
    /// wants to hear of the next event.
    async fn listeners(&self) -> Result<Arc<Listeners>, StoreError> {
        let known = self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((version, listeners)) = known
            && version == self.parts.store.endpoints_version().await?
        {
            return Ok(listeners);
        }
        let (version, endpoints) = self.parts.store.enabled_endpoints().await?;
        let listeners = Arc::new(Listeners::new(endpoints));
        *self.listeners.lock().unwrap_or_else(PoisonError::into_inner) = Some((version, Arc::clone(&listeners)));
        Ok(listeners)
    }

    /// Returns what is to be told, and whom.
    async fn matched(
        &self,
        records: &[Record],
        learned: &Learned,
        listeners: &Listeners,
        through: Position,
        now: Timestamp,
    ) -> Result<(Vec<Message>, Vec<Delivery>), StoreError> {
        let mut told = Vec::new();
        let (mut seen, mut asked) = (HashSet::new(), HashSet::new());
        for record in records {
            let Some(audience) = listeners.of(&record.organization_id) else { continue };
            for message in wanted_messages_of(record, |event_type| audience.listens_to(event_type)) {
                if !seen.insert((record.organization_id.clone(), message.message_id)) {
                    continue;
                }
                if audience.has_filters() && !message.is_about_none() {
                    asked.insert((record.organization_id.clone(), message.conversation_id));
                }
                told.push((message, audience));
            }
        }
        let asked: Vec<_> = asked.into_iter().collect();
        let nothing = Known::default();
        let mut known = self.known(&asked, learned).await?;
        let first = records.iter().map(|record| record.sequence).min().unwrap_or_default();
        let is_ahead = records.iter().any(|record| Position::end_of(record.sequence) > through);
        let is_undecided = |(message, audience): &(Message, &Audience)| {
            let known = known.get(&(message.organization_id.clone(), message.conversation_id)).unwrap_or(&nothing);
            audience.may_hear(message, known)
        };
        if is_ahead && told.iter().any(is_undecided) {
            self.wait_for_others(first).await?;
            known = self.known(&asked, learned).await?;
        }
        let (mut messages, mut deliveries) = (Vec::with_capacity(told.len()), Vec::with_capacity(told.len()));
        for (message, audience) in told {
            let known = known.get(&(message.organization_id.clone(), message.conversation_id)).unwrap_or(&nothing);
            let before = deliveries.len();
            deliveries.extend(audience.deliveries_of(&message, known, now));
            if deliveries.len() > before {
                messages.push(message);
            }
        }
        Ok((messages, deliveries))
    }

    /// Waits until what comes before a record is kept: another replica has read it, and it may say what a filter asks for. Not for
    /// long, since that replica may be gone, and what it had may be on its way to this one.
    async fn wait_for_others(&self, first: u64) -> Result<(), StoreError> {
        let before = Position::end_of(first.saturating_sub(1));
        let end = Instant::now() + LONGEST_WAIT;
        while self.parts.store.position().await? < before && Instant::now() < end {
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
        Ok(())
    }

    /// Keeps a batch. What waits for nothing is attempted while it is written to the disk; see [`crate::kept`].
    async fn keep(&self, batch: &Batch, through: Position, claimed_until: Timestamp) -> Result<(), StoreError> {
        let dispatch = &self.parts.dispatch;
        let early: OnceLock<HashSet<Uuid>> = OnceLock::new();
        let (keeping, kept) = Keeping::begin();
        let may_be_early = !self.has_failed.swap(true, Ordering::Relaxed);
        let before_commit = |ready: &[Uuid]| {
            let is_ready = |message: &Message| matches!(message.body, Body::Ready(_));
            let claimed = claimed_of(batch, ready, is_ready);
            if may_be_early && !claimed.is_empty() {
                early.set(claimed.iter().map(|claimed| claimed.delivery.delivery_id).collect()).ok();
                dispatch.fresh(claimed, kept.clone());
            }
        };
        let mut claimed = self.parts.store.apply(batch, through, claimed_until, &before_commit).await?;
        keeping.done();
        self.has_failed.store(false, Ordering::Relaxed);
        claimed.retain(|delivery| early.get().is_none_or(|early| !early.contains(delivery)));
        if !claimed.is_empty() {
            dispatch.fresh(claimed_of(batch, &claimed, |_| true), Kept::already());
        }
        Ok(())
    }

    /// Returns what is known of conversations: what was, and what the batch says.
    async fn known(&self, conversations: &[(OrganizationId, ConversationId)], learned: &Learned) -> Result<Learned, StoreError> {
        if conversations.is_empty() {
            return Ok(Learned::new());
        }
        let kept = self.parts.store.known(conversations).await?;
        let mut known: Learned =
            kept.into_iter().map(|(organization, conversation, known)| ((organization, conversation), known)).collect();
        for key in conversations {
            if let Some(news) = learned.get(key) {
                known.entry(key.clone()).or_default().learn(news);
            }
        }
        Ok(known)
    }
}

type Learned = HashMap<(OrganizationId, ConversationId), Known>;

/// Returns what records say of conversations.
fn learn(records: &[Record]) -> Learned {
    let mut learned = Learned::new();
    for record in records {
        for event in &record.events {
            let Some(known) = known_of(event).and_then(comparable) else { continue };
            learned.entry((record.organization_id.clone(), event.conversation_id)).or_default().learn(&known);
        }
    }
    learned
}

/// Leaves out what no filter can ask for; `None` when nothing is left. PostgreSQL takes no NUL, and a vendor may send anything.
fn comparable(mut known: Known) -> Option<Known> {
    let set = known.set_client_id.as_mut().map(|set| &mut set.client_id);
    for word in [&mut known.agent_id, &mut known.client_id, &mut known.channel].into_iter().chain(set) {
        word.take_if(|word| word.len() > LONGEST_KNOWN || word.contains('\0'));
    }
    (known != Known::default()).then_some(known)
}

#[async_trait]
impl colloquy_log_client::Reader for Reader {
    fn name(&self) -> &'static str {
        READER
    }

    async fn position(&self) -> Result<Position, StoreError> {
        self.parts.store.position().await
    }

    async fn apply(&self, records: &[Record], through: Position) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        let claimed_until = now.saturating_add_millis(i64::try_from(self.parts.claim.as_millis()).unwrap_or(i64::MAX));
        let learned = learn(records);
        let (messages, deliveries) = if records.is_empty() {
            Default::default()
        } else {
            let listeners = self.listeners().await?;
            self.matched(records, &learned, &listeners, through, now).await?
        };
        let known = learned.into_iter().map(|((organization, conversation), known)| (organization, conversation, known));
        let (unclaimed, due) = beyond_room(&deliveries, &*self.parts.dispatch);
        let batch = Batch { known: known.collect(), messages, deliveries, unclaimed };
        self.keep(&batch, through, claimed_until).await?;
        if !due.is_empty() {
            self.parts.dispatch.due(&due);
        }
        Ok(())
    }

    async fn set_aside(&self, record: &Record, reason: &str) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        let reason = presentable(reason);
        self.parts.store.set_aside(&record.organization_id, record.record_id, record.sequence, &reason, now).await
    }

    fn unknown_events(&self) -> Option<&UnknownEvents> {
        Some(&self.parts.unknown_events)
    }
}

/// Returns the deliveries there is no room for, and their endpoints. Who claims more than it can hold keeps it from everybody until
/// the claim runs out.
pub(crate) fn beyond_room(deliveries: &[Delivery], dispatch: &dyn Dispatch) -> (HashSet<Uuid>, HashSet<Uuid>) {
    let mut rooms: HashMap<Uuid, usize> = HashMap::new();
    let (mut beyond, mut endpoints) = (HashSet::new(), HashSet::new());
    for delivery in deliveries {
        let room = rooms.entry(delivery.endpoint_id).or_insert_with(|| dispatch.room(delivery.endpoint_id));
        match room.checked_sub(1) {
            Some(left) => *room = left,
            None => {
                beyond.insert(delivery.delivery_id);
                endpoints.insert(delivery.endpoint_id);
            }
        }
    }
    (beyond, endpoints)
}

/// Returns those deliveries of a batch that are claimed and whose messages are `wanted`, in the batch's order.
fn claimed_of(batch: &Batch, claimed: &[Uuid], wanted: impl Fn(&Message) -> bool) -> Vec<Claimed> {
    let claimed: HashSet<&Uuid> = claimed.iter().collect();
    let messages: HashMap<(&str, Uuid), &Message> =
        batch.messages.iter().map(|message| ((message.organization_id.as_str(), message.message_id), message)).collect();
    let deliveries = batch.deliveries.iter().filter(|delivery| claimed.contains(&delivery.delivery_id));
    deliveries
        .filter_map(|delivery| {
            let message =
                messages.get(&(delivery.organization_id.as_str(), delivery.message_id)).filter(|message| wanted(message))?;
            Some(Claimed { delivery: delivery.clone(), message: (*message).clone() })
        })
        .collect()
}

/// Returns a reason as it can be kept and shown: PostgreSQL takes no NUL, and a reason that is refused would be tried for ever.
fn presentable(reason: &str) -> String {
    reason.chars().filter(|letter| !letter.is_control()).take(LONGEST_REASON).collect()
}

#[cfg(test)]
mod tests {
    use colloquy_events::{Change, Data, EndStatus, Ended, Event, Facts, Patch, Role, Turn};
    use colloquy_log_client::Reader as _;
    use colloquy_storage::{Database, DatabaseUrl, Durability};
    use colloquy_types::{EventId, ManualClock, Provider, RecordId, TurnId};

    use super::*;
    use crate::endpoint::{Endpoint, Filter};
    use crate::store::samples;

    /// Has room for two deliveries to each endpoint, always.
    #[derive(Default)]
    struct Told(Mutex<Vec<Claimed>>, Mutex<HashSet<Uuid>>);

    impl Dispatch for Told {
        fn room(&self, _: Uuid) -> usize {
            2
        }

        fn fresh(&self, claimed: Vec<Claimed>, _: Kept) {
            self.0.lock().unwrap().extend(claimed);
        }

        fn due(&self, endpoint_ids: &HashSet<Uuid>) {
            self.1.lock().unwrap().extend(endpoint_ids);
        }

        fn look(&self) {}
    }

    impl Told {
        fn take(&self) -> Vec<(u128, String)> {
            let claimed = std::mem::take(&mut *self.0.lock().unwrap());
            claimed.into_iter().map(|one| (one.delivery.endpoint_id.as_u128(), one.message.event_type)).collect()
        }
    }

    struct Fixture {
        reader: Reader,
        store: Arc<dyn Store>,
        told: Arc<Told>,
        _folder: tempfile::TempDir,
    }

    async fn fixture() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::SqliteFolder(folder.path().to_owned());
        let database = Database::open(&url, crate::NAME, Durability::Lazy, &crate::store::migrations()).await.unwrap();
        let store = crate::store::open(&database);
        let told = Arc::new(Told::default());
        let reader = Reader::new(Parts {
            store: Arc::clone(&store),
            unknown_events: UnknownEvents::of(&database),
            dispatch: Arc::clone(&told) as Arc<dyn Dispatch>,
            claim: Duration::from_secs(60),
            clock: Arc::new(ManualClock::at(samples::at(0))),
        });
        Fixture { reader, store, told, _folder: folder }
    }

    impl Fixture {
        async fn apply(&self, sequence: u64, events: Vec<(u128, Data)>) -> Vec<(u128, String)> {
            let record = record(sequence, events);
            self.reader.apply(&[record], Position::end_of(sequence)).await.unwrap();
            self.told.take()
        }
    }

    fn record(sequence: u64, events: Vec<(u128, Data)>) -> Record {
        let event = |(index, (conversation, data)): (usize, (u128, Data))| Event {
            event_id: EventId(Uuid::new_v5(&Uuid::from_u128(conversation), format!("{sequence} {index}").as_bytes())),
            conversation_id: ConversationId(Uuid::from_u128(conversation)),
            provider: Provider::Native,
            external_id: conversation.to_string(),
            occurred_at: samples::at(0),
            ordinal: u32::try_from(index).unwrap(),
            data,
        };
        Record {
            record_id: RecordId(Uuid::from_u128(sequence.into())),
            organization_id: "acme".parse().unwrap(),
            source_id: None,
            received_at: samples::at(0),
            events: events.into_iter().enumerate().map(event).collect(),
            traceparent: String::new(),
            sequence,
        }
    }

    fn started(agent: &str) -> Data {
        Data::Started(Facts { agent_id: Some(agent.to_owned()), ..Facts::default() })
    }

    fn turn() -> Data {
        Data::TurnAdded(Turn::new(TurnId(Uuid::from_u128(5)), Role::User))
    }

    fn endpoint(number: u128, event_type: &str) -> Endpoint {
        Endpoint { event_types: vec![event_type.to_owned()], ..samples::endpoint("acme", number) }
    }

    fn to(number: u128, event_type: &str) -> (u128, String) {
        (number, event_type.to_owned())
    }

    #[tokio::test]
    async fn an_endpoint_hears_of_the_next_event_and_of_each_once() {
        let fixture = fixture().await;
        assert_eq!(fixture.apply(1, vec![(1, started("a")), (1, turn())]).await, []);
        fixture.store.create_endpoint(&endpoint(1, "turn.*"), 10).await.unwrap();
        assert_eq!(fixture.apply(2, vec![(1, turn()), (2, started("a"))]).await, [to(1, "turn.added")]);
        assert_eq!(fixture.apply(2, vec![(1, turn()), (2, started("a"))]).await, []);
        assert_eq!(fixture.reader.position().await.unwrap(), Position::end_of(2));
        fixture.store.delete_endpoint(&"acme".parse().unwrap(), Uuid::from_u128(1)).await.unwrap();
        assert_eq!(fixture.apply(3, vec![(1, turn())]).await, []);
    }

    #[tokio::test]
    async fn a_filter_asks_what_was_heard_before_and_in_the_same_batch() {
        let fixture = fixture().await;
        assert_eq!(fixture.apply(1, vec![(1, started("a")), (2, started("b"))]).await, []);
        let filter = Filter { agent_id: Some("a".to_owned()), ..Filter::default() };
        fixture.store.create_endpoint(&Endpoint { filter, ..endpoint(1, "conversation.*") }, 10).await.unwrap();
        let ended = || Data::Ended(Ended::new(EndStatus::Completed));
        let told = fixture.apply(2, vec![(1, ended()), (2, ended()), (3, started("a")), (4, ended())]).await;
        assert_eq!(told, [to(1, "conversation.ended"), to(1, "conversation.started")]);
    }

    #[tokio::test]
    async fn a_filter_waits_for_what_another_replica_is_still_keeping() {
        let fixture = fixture().await;
        let filter = Filter { agent_id: Some("a".to_owned()), ..Filter::default() };
        fixture.store.create_endpoint(&Endpoint { filter, ..endpoint(1, "conversation.ended") }, 10).await.unwrap();
        let later = [record(2, vec![(1, Data::Ended(Ended::new(EndStatus::Completed)))])];
        let earlier = [record(1, vec![(1, started("a"))])];
        // The later record was handed to one replica, the earlier one to another, which is slower.
        let (first, second) =
            tokio::join!(fixture.reader.apply(&later, Position::START), fixture.reader.apply(&earlier, Position::end_of(1)),);
        first.unwrap();
        second.unwrap();
        assert_eq!(fixture.told.take(), [to(1, "conversation.ended")]);
    }

    #[tokio::test]
    async fn what_there_is_no_room_for_is_due_at_once_to_anybody() {
        let fixture = fixture().await;
        let (narrow, wide) = (endpoint(1, "turn.*"), endpoint(2, "conversation.*"));
        fixture.store.create_endpoint(&narrow, 10).await.unwrap();
        fixture.store.create_endpoint(&wide, 10).await.unwrap();
        let told = fixture.apply(1, vec![(1, started("a")), (1, turn()), (2, turn()), (3, turn()), (4, turn())]).await;
        assert_eq!(told, [to(2, "conversation.started"), to(1, "turn.added"), to(1, "turn.added")]);
        assert_eq!(std::mem::take(&mut *fixture.told.1.lock().unwrap()), HashSet::from([narrow.endpoint_id]));
        let claimed = fixture.store.claim(&narrow, samples::at(0), samples::at(60_000), 10).await.unwrap();
        assert_eq!(claimed.len(), 2);
        assert_eq!(fixture.store.claim(&wide, samples::at(0), samples::at(60_000), 10).await.unwrap(), []);
    }

    #[tokio::test]
    async fn what_is_never_asked_for_is_not_kept() {
        let fixture = fixture().await;
        let odd = Facts {
            agent_id: Some("a\0b".to_owned()),
            client_id: Some("x".repeat(501)),
            channel: Some("phone".to_owned()),
            ..Facts::default()
        };
        fixture.apply(1, vec![(1, Data::Started(odd))]).await;
        let key = ("acme".parse().unwrap(), ConversationId(Uuid::from_u128(1)));
        let known = fixture.store.known(&[key]).await.unwrap();
        assert_eq!(known[0].2, Known { channel: Some("phone".to_owned()), ..Known::default() });
    }

    #[tokio::test]
    async fn whose_a_conversation_is_a_person_decides_whatever_its_source_says_later() {
        let fixture = fixture().await;
        for (number, client) in [(1, "acme"), (2, "beta")] {
            let filter = Filter { client_id: Some(client.to_owned()), ..Filter::default() };
            let endpoint = Endpoint { filter, ..endpoint(number, "conversation.ended") };
            fixture.store.create_endpoint(&endpoint, 10).await.unwrap();
        }
        let facts = || Facts { client_id: Some("acme".to_owned()), ..Facts::default() };
        let ended = || Data::Ended(Ended { facts: facts(), ..Ended::new(EndStatus::Completed) });
        let set = |to: Option<&str>| Data::Patched(Patch { client_id: Change::To(to.map(str::to_owned)), ..Patch::default() });
        fixture.apply(1, (1..=4).map(|conversation| (conversation, Data::Started(facts()))).collect()).await;
        // One that nobody can ask for is still not the source's.
        let patches = vec![(2, set(Some("beta"))), (3, set(None)), (4, set(Some(&"x".repeat(501))))];
        fixture.apply(2, patches).await;
        let told = fixture.apply(3, (1..=4).map(|conversation| (conversation, ended())).collect()).await;
        assert_eq!(told, [to(1, "conversation.ended"), to(2, "conversation.ended")]);
    }

    #[test]
    fn a_reason_can_always_be_kept() {
        assert_eq!(presentable("events[3]: a\0b\nc"), "events[3]: abc");
        assert_eq!(presentable(&"ä".repeat(5_000)).chars().count(), LONGEST_REASON);
    }
}
