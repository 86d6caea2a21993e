//! Many replicas of the reader over one log: whatever each of them is handed, in whatever order and however often, together they
//! leave what one undisturbed reader leaves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use colloquy_events::{
    Analysis, Authority, Change, Data, EndStatus, Ended, Event, Facts, Feedback, LiveStatus, Outcome, Patch, Record, Recording,
    RecordingChannel, RecordingFailed, Role, Session, SessionEnd, Turn, Update,
};
use colloquy_providers::{Context, map};
use colloquy_storage::{Database, DatabaseUrl, PgPool};
use colloquy_types::{ConversationId, EventId, OrganizationId, Position, Provider, RecordId, SourceId, Timestamp, TurnId};
use prost::Message;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use sqlx::Executor;
use tokio::task::JoinSet;

use super::{ConversationStore, open_database, over};
use crate::list::{Filter, Query, Sort, SortField};

const REPLICAS: usize = 6;
const SEEDS: [u64; 3] = [1, 2, 3];
/// PostgreSQL's code for transactions that wait for each other.
const DEADLOCK: &str = "40P01";
/// How many connections are ended while they are used.
const BREAKS: usize = 60;
const NOW: i64 = 1_800_000_000_000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn organizations() -> [OrganizationId; 2] {
    ["acme", "other"].map(|name| name.parse().unwrap())
}

fn record(organization: &OrganizationId, received_at: i64, events: Vec<Event>) -> Record {
    Record {
        record_id: RecordId::generate(),
        organization_id: organization.clone(),
        source_id: Some(SourceId::generate()),
        received_at: at(received_at),
        events,
        traceparent: String::new(),
        sequence: 0,
    }
}

/// Returns one record a sample of every provider.
fn samples(organization: &OrganizationId) -> Vec<Record> {
    let mut records = Vec::new();
    for provider in [Provider::ElevenLabs, Provider::Retell, Provider::Vapi, Provider::AgentSession] {
        let folder = format!("{}/../../tests/payloads/{provider}", env!("CARGO_MANIFEST_DIR"));
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.to_str().is_some_and(|path| path.ends_with(".json") && !path.ends_with(".headers.json")));
        files.sort();
        for path in files {
            // A provider that hears no answer sends the same again, and says of some things that they happened just now.
            for try_number in 0..2 {
                let received_at = NOW + records.len() as i64 * 1_000 + try_number;
                let context = Context { organization_id: organization, received_at: at(received_at) };
                let mapped = map(provider, &std::fs::read(&path).unwrap(), &context).unwrap();
                records.push(record(organization, received_at, mapped.events));
            }
        }
    }
    records
}

/// Makes up conversations whose events say all kinds of things, differently each time, within few words: so that they meet.
struct Made<'a> {
    random: &'a mut StdRng,
    id: ConversationId,
}

impl Made<'_> {
    fn word(&mut self, kind: &str) -> Option<String> {
        self.random.random_bool(0.5).then(|| format!("{kind}{}", self.random.random_range(0..3)))
    }

    fn time(&mut self) -> Timestamp {
        at(NOW + self.random.random_range(-20..20))
    }

    fn turn(&mut self) -> Turn {
        let role = *[Role::User, Role::Agent].choose(self.random).unwrap();
        let number = self.random.random_range(0..12_u32);
        let turn_id = TurnId::derive(self.id, &number.to_string());
        let is_final = self.random.random_bool(0.7);
        Turn {
            index: self.random.random_bool(0.5).then_some(number),
            text: self.word("text"),
            is_final,
            ..Turn::new(turn_id, role)
        }
    }

    fn turns(&mut self) -> Vec<Turn> {
        (0..self.random.random_range(0..4)).map(|_| self.turn()).collect()
    }

    fn facts(&mut self) -> Facts {
        Facts {
            agent_id: self.word("agent"),
            agent_name: self.word("Agent "),
            agent_version_id: self.word("version"),
            agent_version: self.word("setting").and_then(|word| serde_json::json!({ "setting": word }).as_object().cloned()),
            channel: self.word("channel"),
            client_id: self.word("client"),
            language: self.word("lang"),
            started_at: self.random.random_bool(0.3).then(|| self.time()),
            tags: self.word("tag").into_iter().collect(),
            metadata: self.word("value").and_then(|word| serde_json::json!({ (word.clone()): word }).as_object().cloned()),
            ..Facts::default()
        }
    }

    fn recording(&mut self) -> Data {
        let channel = *[RecordingChannel::Mixed, RecordingChannel::User].choose(self.random).unwrap();
        if self.random.random_bool(0.2) {
            return Data::RecordingFailed(RecordingFailed { channel, reason: "gone".to_owned() });
        }
        let is_stored = self.random.random_bool(0.3);
        Data::RecordingAvailable(Recording {
            url: (!is_stored).then(|| format!("https://audio.example.com/{}", self.random.random_range(0..9))),
            object_key: is_stored.then(|| format!("acme/{}", self.random.random_range(0..9))),
            sha256: None,
            size_bytes: is_stored.then_some(7),
            content_type: self.word("audio/"),
            duration_ms: None,
            channel,
        })
    }

    fn data(&mut self) -> Data {
        match self.random.random_range(0..14) {
            0 => Data::Started(self.facts()),
            1 => {
                let status = self.random.random_bool(0.5).then_some(LiveStatus::InProgress);
                Data::Updated(Update { facts: self.facts(), status })
            }
            2 => Data::Ended(Ended {
                facts: self.facts(),
                duration_ms: Some(self.random.random_range(0..9_000)),
                inferred: self.random.random_bool(0.3),
                ..Ended::new(*[EndStatus::Completed, EndStatus::Failed].choose(self.random).unwrap())
            }),
            3 => Data::Analyzed(Analysis {
                summary: self.word("summary"),
                topics: Some(self.word("topic").into_iter().collect()),
                satisfaction_score: Some(f64::from(self.random.random_range(1..5))),
                outcome: Some(Outcome { result: self.word("result"), ..Outcome::default() }),
                ..Analysis::by(*Authority::ALL.choose(self.random).unwrap())
            }),
            4 => Data::Patched(Patch {
                tags: self.random.random_bool(0.5).then(|| self.word("tag").into_iter().collect()),
                client_id: self.word("client").map_or(Change::Keep, |client| Change::To(Some(client))),
                ..Patch::default()
            }),
            5 => Data::FeedbackGiven(Feedback { rating: Some(self.random.random_range(1..=5)), ..Feedback::default() }),
            6 => self.recording(),
            7 | 8 => {
                let session_id = format!("session{}", self.random.random_range(0..2));
                let session = Session { session_id, agent_id: self.word("agent"), agent_version_id: self.word("version") };
                match self.random.random_bool(0.5) {
                    true => Data::SessionStarted(session),
                    false => Data::SessionEnded(SessionEnd { session, reason: self.word("reason") }),
                }
            }
            9 => Data::TranscriptUpdated { turns: self.turns() },
            10 if self.random.random_bool(0.3) => {
                Data::TranscriptCompleted { turns: self.turns(), revision: self.random.random_range(0..2) }
            }
            11 => Data::TurnUpdated(self.turn()),
            _ => Data::TurnAdded(self.turn()),
        }
    }

    fn events(&mut self) -> Vec<Event> {
        let how_many = self.random.random_range(3..25);
        let event = |number: i32| Event {
            event_id: EventId::derive(self.id, &["event", &number.to_string()]),
            conversation_id: self.id,
            provider: Provider::Native,
            external_id: "made".to_owned(),
            occurred_at: self.time(),
            ordinal: self.random.random_range(0..2),
            data: self.data(),
        };
        (0..how_many).map(event).collect()
    }
}

/// Returns a log: samples and made-up conversations of two organizations, each delivery perhaps twice, told differently.
fn log(random: &mut StdRng) -> Vec<Record> {
    let organizations = organizations();
    let mut records: Vec<Record> = organizations.iter().flat_map(samples).collect();
    for organization in &organizations {
        for number in 0..20 {
            let id = ConversationId::derive(organization, Provider::Native, &number.to_string());
            let mut made = Made { random, id };
            let mut events = made.events();
            while !events.is_empty() {
                let rest = events.split_off(events.len().min(made.random.random_range(1..4)));
                records.push(record(organization, NOW + made.random.random_range(0..1_000), events.clone()));
                if made.random.random_bool(0.2) {
                    // Another delivery of the same, with what changes from one to the next.
                    for event in &mut events {
                        if let Data::RecordingAvailable(recording) = &mut event.data {
                            recording.url = recording.url.as_ref().map(|url| format!("{url}?signed=again"));
                        }
                    }
                    records.push(record(organization, NOW + made.random.random_range(0..1_000), events));
                }
                events = rest;
            }
        }
    }
    // What a log hands out first, it received first.
    records.sort_by_key(|record| record.received_at);
    for (number, record) in records.iter_mut().enumerate() {
        record.sequence = number as u64 + 1;
    }
    records
}

/// Returns what each replica is handed: every record to one of them, some to others too, some again, in any order and any batches.
fn handed_out(random: &mut StdRng, log: &[Record]) -> Vec<Vec<Vec<Record>>> {
    let mut hands: Vec<Vec<Record>> = vec![Vec::new(); REPLICAS];
    for record in log {
        let owner = random.random_range(0..REPLICAS);
        for (number, hand) in hands.iter_mut().enumerate() {
            while number == owner && hand.last() != Some(record) || random.random_bool(0.15) {
                hand.push(record.clone());
            }
        }
    }
    let mut in_batches = |mut hand: Vec<Record>| {
        hand.shuffle(random);
        let mut batches = Vec::new();
        while !hand.is_empty() {
            let rest = hand.split_off(hand.len().min(random.random_range(1..30)));
            batches.push(hand);
            hand = rest;
        }
        batches
    };
    hands.into_iter().map(&mut in_batches).collect()
}

/// Applies `batches` as the reader's loop does: again while the store is away.
async fn read_all(store: Arc<dyn ConversationStore>, batches: Vec<Vec<Record>>, retries: Arc<AtomicU64>) {
    for batch in batches {
        let through = Position::end_of(batch.iter().map(|record| record.sequence).max().unwrap_or_default());
        let mut tries = 0;
        while let Err(error) = store.apply(&batch, through, at(NOW)).await {
            assert!(error.is_transient(), "it would be set aside: {error:?}");
            assert!(!format!("{error:?}").contains(DEADLOCK), "two replicas waited for each other: {error:?}");
            retries.fetch_add(1, Ordering::Relaxed);
            tries += 1;
            assert!(tries < 200, "it is never applied: {error:?}");
        }
    }
}

/// Everything that anybody can read, as text that shows where it differs.
async fn everything(store: &dyn ConversationStore, pool: &PgPool, log: &[Record]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for organization in organizations() {
        for field in SortField::ALL {
            let sort = Sort { field, descending: true };
            let organization_id = organization.clone();
            let query =
                Query { organization_id, filter: Filter::default(), sort, limit: 10_000, cursor: None, count: true, among: None };
            let page = store.page(&query, at(NOW)).await.unwrap();
            let listed: Vec<_> = page.conversations.iter().map(|kept| kept.id).collect();
            all.insert(format!("{organization} by {field:?}"), format!("{:?} {listed:?}", page.total));
        }
        let mut agents = store.agents(&organization, None, 1_000).await.unwrap();
        for agent in &mut agents {
            let detailed = store.agent(&organization, &agent.agent_id).await.unwrap();
            agent.versions =
                detailed.into_iter().filter(|other| other.provider == agent.provider).flat_map(|a| a.versions).collect();
        }
        all.insert(format!("{organization} agents"), format!("{agents:#?}"));
    }
    for record in log {
        for event in &record.events {
            let (organization, id) = (&record.organization_id, event.conversation_id);
            let name = format!("{organization} {id}");
            if all.contains_key(&name) {
                continue;
            }
            let kept = store.get(organization, id).await.unwrap().expect("every conversation is there");
            let decoded = crate::convert::record::decode(&kept.bytes, organization, id).unwrap();
            let mut history = store.events(organization, id).await.unwrap();
            history.sort_by_key(|received| received.event.event_id);
            let bytes = hex::encode(colloquy_proto::conversation::v1::Conversation::encode_to_vec(&decoded));
            all.insert(name, format!("{decoded:#?}\n{bytes}\n{}\n{history:#?}", hex::encode(&kept.bytes)));
        }
    }
    // What is not read as it is, but found by: without the numbers that tell when something was written.
    for (table, columns) in [
        ("conversations", "organization_id, conversation_id, live, last_received_at, agent_version_id, turns"),
        ("conversation_words", "*"),
        ("events", "*"),
        ("recordings", "organization_id, conversation_id, channel, state, url, object_key, content_type"),
        ("view_state", "position"),
    ] {
        let rows =
            format!("select coalesce(string_agg(t::text, E'\\n' order by t::text), '') from (select {columns} from {table}) t");
        let text: String = sqlx::query_scalar(sqlx::AssertSqlSafe(rows)).fetch_one(pool).await.unwrap();
        all.insert(format!("table {table}"), text);
    }
    all
}

fn pool(database: &Database) -> &PgPool {
    let Database::Postgres(pool) = database else { panic!("not PostgreSQL") };
    pool
}

async fn undisturbed(log: &[Record]) -> Option<BTreeMap<String, String>> {
    let url = DatabaseUrl::Postgres(colloquy_testkit::postgres::database_url().await?);
    let database = open_database(&url).await.unwrap();
    let store = over(&database).await.unwrap();
    for batch in log.chunks(50) {
        store.apply(batch, Position::end_of(batch[batch.len() - 1].sequence), at(NOW)).await.unwrap();
    }
    let all = everything(&*store, pool(&database), log).await;
    database.close().await;
    Some(all)
}

/// Runs every replica over its hand, with an own pool each, and perhaps ends their connections all the while.
async fn disturbed(log: &[Record], hands: Vec<Vec<Vec<Record>>>, breaks_connections: bool) -> (BTreeMap<String, String>, u64) {
    let url = colloquy_testkit::postgres::database_url().await.unwrap();
    let mut databases = Vec::new();
    for _ in 0..REPLICAS {
        databases.push(open_database(&DatabaseUrl::Postgres(url.clone())).await.unwrap());
    }
    let (retries, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut readers = JoinSet::new();
    for (database, batches) in databases.iter().zip(hands) {
        readers.spawn(read_all(over(database).await.unwrap(), batches, Arc::clone(&retries)));
    }
    let breaking = tokio::spawn({
        let done = Arc::clone(&done);
        async move {
            let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.unwrap();
            let end_one = "select pg_terminate_backend(pid) from pg_stat_activity
                where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle' order by random() limit 1";
            for _ in 0..if breaks_connections { BREAKS } else { 0 } {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                connection.execute(end_one).await.unwrap();
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        }
    });
    while let Some(read) = readers.join_next().await {
        read.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    breaking.await.unwrap();
    let store = over(&databases[0]).await.unwrap();
    // Connections that were ended while they were idle are noticed now.
    while store.position().await.is_err() {}
    let all = everything(&*store, pool(&databases[1]), log).await;
    for database in &databases {
        database.close().await;
    }
    (all, retries.load(Ordering::Relaxed))
}

fn assert_same(seed: u64, expected: &BTreeMap<String, String>, found: &BTreeMap<String, String>) {
    assert_eq!(expected.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>());
    for (name, expected) in expected {
        let found = &found[name];
        if expected != found {
            let differing: Vec<_> = expected.lines().zip(found.lines()).filter(|(a, b)| a != b).take(5).collect();
            panic!("seed {seed}: {name} differs: {differing:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_replicas_leave_what_one_undisturbed_reader_leaves() {
    for seed in SEEDS {
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let log = log(&mut random);
        let Some(expected) = undisturbed(&log).await else { return };
        let hands = handed_out(&mut random, &log);
        let (found, _) = disturbed(&log, hands, false).await;
        assert_same(seed, &expected, &found);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_whose_connections_break_leave_the_same() {
    for seed in [11] {
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let log = log(&mut random);
        let Some(expected) = undisturbed(&log).await else { return };
        let hands = handed_out(&mut random, &log);
        let (found, retries) = disturbed(&log, hands, true).await;
        assert_same(seed, &expected, &found);
        assert!(retries > 0, "seed {seed}: no connection broke");
    }
}
