//! Many replicas of the reader over one log: whatever each of them is handed, in whatever order and however often, together they
//! leave what one undisturbed reader leaves.

use std::sync::Arc;

use colloquy_events::{Data, Event, Facts, Record, Role, Turn, Update};
use colloquy_log_client::{Reader as _, UnknownEvents};
use colloquy_storage::{Database, DatabaseUrl, Durability};
use colloquy_transcript::NAME;
use colloquy_transcript::reader::Reader;
use colloquy_transcript::search;
use colloquy_transcript::store::{self, Conversation};
use colloquy_types::{ConversationId, EventId, ManualClock, Position, Provider, Timestamp, TurnId};
use rand::rngs::StdRng;
use rand::seq::{IndexedMutRandom, IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;

use crate::permutations::readable;
use crate::samples;

const REPLICAS: usize = 6;
const SEEDS: [u64; 4] = [1, 2, 3, 4];

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + millis).unwrap()
}

fn turn(random: &mut StdRng, id: ConversationId) -> Turn {
    let role = *[Role::User, Role::Agent].choose(random).unwrap();
    let number = random.random_range(0..8_u32);
    let turn_id = TurnId::derive(id, &number.to_string());
    let text = Some(format!("words {}", random.random_range(0..5)));
    Turn { index: Some(number), text, is_final: random.random_bool(0.7), ..Turn::new(turn_id, role) }
}

/// Makes up an event that says something of turns, or of what a transcript shows besides.
fn event(random: &mut StdRng, id: ConversationId, number: usize) -> Event {
    let turns = |random: &mut StdRng| (0..random.random_range(0..4)).map(|_| turn(random, id)).collect();
    let facts = Facts { agent_name: Some(format!("Ann {}", random.random_range(0..4))), ..Facts::default() };
    let data = match random.random_range(0..9) {
        0 => Data::Started(facts),
        1 => Data::Updated(Update { facts, status: None }),
        2 => Data::TranscriptUpdated { turns: turns(random) },
        3 => Data::TranscriptCompleted { turns: turns(random), revision: random.random_range(0..2) },
        4 => Data::TurnUpdated(turn(random, id)),
        _ => Data::TurnAdded(turn(random, id)),
    };
    Event {
        event_id: EventId::derive(id, &["event", &number.to_string()]),
        conversation_id: id,
        provider: Provider::Native,
        external_id: "made".to_owned(),
        occurred_at: at(random.random_range(-9..9)),
        ordinal: random.random_range(0..2),
        data,
    }
}

/// Returns a log: the samples, and conversations made up of few words, some of whose events are told twice, differently.
fn log(random: &mut StdRng) -> Vec<Record> {
    let mut records: Vec<Record> = Provider::ALL.into_iter().flat_map(samples::records).collect();
    for conversation in 0..40 {
        let id = ConversationId::derive(&samples::organization(), Provider::Native, &format!("made {conversation}"));
        for number in 0..random.random_range(2..25) {
            let first = event(random, id, number);
            if random.random_bool(0.2) {
                let again = Event { data: event(random, id, number).data, ..first.clone() };
                records.push(samples::record(&samples::organization(), vec![again]));
            }
            records.push(samples::record(&samples::organization(), vec![first]));
        }
    }
    for (number, record) in records.iter_mut().enumerate() {
        record.sequence = number as u64 + 1;
    }
    records
}

/// Returns what each replica is handed: every record to one of them, some to others too, some again, in any order and any batches.
fn handed_out(random: &mut StdRng, log: &[Record]) -> Vec<Vec<Vec<Record>>> {
    let mut hands: Vec<Vec<Record>> = vec![Vec::new(); REPLICAS];
    for record in log {
        hands.choose_mut(random).unwrap().push(record.clone());
        while random.random_bool(0.6) {
            hands.choose_mut(random).unwrap().push(record.clone());
        }
    }
    let in_batches = |mut hand: Vec<Record>| {
        hand.shuffle(random);
        let mut batches = Vec::new();
        while !hand.is_empty() {
            let rest = hand.split_off(hand.len().min(random.random_range(1..30)));
            batches.push(hand);
            hand = rest;
        }
        batches
    };
    hands.into_iter().map(in_batches).collect()
}

async fn open(url: &DatabaseUrl) -> Database {
    Database::open(url, NAME, Durability::Lazy, &store::migrations()).await.unwrap()
}

/// A reader with a pool of its own, as another process has it.
fn reader(database: &Database) -> Reader {
    Reader::new(
        store::open(database),
        search::store::open(database),
        Arc::new(ManualClock::at(at(0))),
        UnknownEvents::of(database),
    )
}

async fn read_all(reader: Reader, batches: Vec<Vec<Record>>) {
    for batch in batches {
        let through = Position::end_of(batch.iter().map(|record| record.sequence).max().unwrap_or_default());
        reader.apply(&batch, through).await.unwrap();
    }
}

/// Returns all transcripts as bytes, and the rows they are made of.
async fn everything(database: &Database, log: &[Record]) -> Vec<(String, Vec<u8>)> {
    let store = store::open(database);
    let mut all = vec![("position".to_owned(), store.position().await.unwrap().0.to_be_bytes().to_vec())];
    for id in samples::conversations(log) {
        match store.conversation(&samples::organization(), id).await.unwrap() {
            Conversation::Known(mut kept) => {
                all.push((format!("transcript of {id}"), readable(id, &kept)));
                kept.sort_unstable_by_key(|kept| kept.lane);
                all.push((format!("rows of {id}"), format!("{kept:?}").into_bytes()));
            }
            other => panic!("{id}: {other:?}"),
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_replicas_leave_what_one_undisturbed_reader_leaves() {
    for seed in SEEDS {
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let log = log(&mut random);
        let folder = tempfile::tempdir().unwrap();
        let alone = open(&DatabaseUrl::SqliteFolder(folder.path().to_owned())).await;
        read_all(reader(&alone), log.chunks(40).map(<[Record]>::to_vec).collect()).await;
        let expected = everything(&alone, &log).await;

        let Some(url) = colloquy_testkit::postgres::database_url().await else { return };
        let url = DatabaseUrl::Postgres(url);
        let mut replicas = JoinSet::new();
        for batches in handed_out(&mut random, &log) {
            replicas.spawn(read_all(reader(&open(&url).await), batches));
        }
        while let Some(read) = replicas.join_next().await {
            read.unwrap();
        }
        let together = open(&url).await;
        for (expected, found) in expected.iter().zip(everything(&together, &log).await) {
            assert!(*expected == found, "seed {seed}: {} differs from {}", found.0, expected.0);
        }
        together.close().await;
    }
}
