//! The transcript is a function of the set of deliveries: any order, any repeats and any batches of them give the same bytes.

use std::collections::HashMap;

use colloquy_events::Record;
use colloquy_storage::{Database, DatabaseUrl, Durability};
use colloquy_transcript::convert::transcript_to_pb;
use colloquy_transcript::fold::fold;
use colloquy_transcript::kept::{Kept, Row, events, rows};
use colloquy_transcript::render::{Format, render};
use colloquy_transcript::store::{self, Conversation, TranscriptStore};
use colloquy_types::{ConversationId, Position, Provider};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use prost::Message;
use uuid::Uuid;

use crate::samples;

/// Returns everything anybody can read of a conversation, as bytes.
pub(crate) fn readable(conversation_id: ConversationId, kept: &[Kept]) -> Vec<u8> {
    let transcript = fold(&events(conversation_id, kept).unwrap());
    let mut bytes = transcript_to_pb(conversation_id, transcript.clone()).encode_to_vec();
    for format in [Format::Text, Format::Srt, Format::Vtt] {
        for language in [None, transcript.translation_language.as_deref()] {
            let rendered = render(transcript.clone(), format, language.unwrap_or_default()).unwrap();
            bytes.extend(rendered.content.into_bytes());
        }
    }
    bytes
}

/// A store in memory, by the rule every store follows.
#[derive(Default)]
struct Memory(HashMap<(ConversationId, Uuid), Kept>);

impl Memory {
    fn apply(&mut self, rows: Vec<Row>) {
        for Row { conversation_id, kept, .. } in rows {
            let slot = self.0.entry((conversation_id, kept.lane)).or_insert_with(|| kept.clone());
            if kept.rank > slot.rank {
                *slot = kept;
            }
        }
    }

    fn readable(&self, conversation_id: ConversationId) -> Vec<u8> {
        let kept: Vec<Kept> = self.0.iter().filter(|(key, _)| key.0 == conversation_id).map(|(_, kept)| kept.clone()).collect();
        readable(conversation_id, &kept)
    }
}

/// Batches of deliveries, by their numbers: every one at least once, some more often, in any order.
fn any_batches(deliveries: usize) -> impl Strategy<Value = Vec<Vec<usize>>> {
    let repeats = prop::collection::vec(0..deliveries, 0..=deliveries);
    let order = repeats.prop_map(move |repeats| (0..deliveries).chain(repeats).collect::<Vec<_>>()).prop_shuffle();
    (order, 1..=deliveries).prop_map(|(order, size)| order.chunks(size).map(<[usize]>::to_vec).collect())
}

fn batch(records: &[Record], numbers: &[usize]) -> Vec<Row> {
    let chosen: Vec<Record> = numbers.iter().map(|&number| records[number].clone()).collect();
    rows(&chosen)
}

#[test]
fn every_order_repetition_and_batching_of_deliveries_gives_the_same_transcript() {
    for provider in Provider::ALL {
        let records = samples::records(provider);
        let mut in_order = Memory::default();
        in_order.apply(rows(&records));
        let conversations = samples::conversations(&records);
        let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(200) });
        let tested = runner.run(&any_batches(records.len()), |batches| {
            let mut memory = Memory::default();
            for numbers in &batches {
                memory.apply(batch(&records, numbers));
            }
            for id in &conversations {
                prop_assert!(memory.readable(*id) == in_order.readable(*id), "{provider}: {id} differs");
            }
            Ok(())
        });
        tested.unwrap();
    }
}

async fn stored(store: &dyn TranscriptStore, conversation_id: ConversationId) -> Vec<u8> {
    match store.conversation(&samples::organization(), conversation_id).await.unwrap() {
        Conversation::Known(kept) => readable(conversation_id, &kept),
        other => panic!("{other:?}"),
    }
}

async fn the_same_on(url: &DatabaseUrl, provider: Provider, batches: &[Vec<usize>]) {
    let database = Database::open(url, "transcript", Durability::Lazy, &store::migrations()).await.unwrap();
    let store = store::open(&database);
    let records = samples::records(provider);
    for (number, numbers) in batches.iter().enumerate() {
        store.apply(&batch(&records, numbers), Position::end_of(number as u64)).await.unwrap();
    }
    let mut in_order = Memory::default();
    in_order.apply(rows(&records));
    for id in samples::conversations(&records) {
        assert!(stored(&*store, id).await == in_order.readable(id), "{provider}: {id} differs after {batches:?}");
    }
    database.close().await;
}

fn some_batches(provider: Provider, cases: usize) -> Vec<Vec<Vec<usize>>> {
    let mut runner = TestRunner::deterministic();
    let any = any_batches(samples::records(provider).len());
    (0..cases).map(|_| any.new_tree(&mut runner).unwrap().current()).collect()
}

#[tokio::test]
async fn sqlite_keeps_the_same_whatever_the_order() {
    for provider in Provider::ALL {
        for batches in some_batches(provider, 6) {
            let folder = tempfile::tempdir().unwrap();
            the_same_on(&DatabaseUrl::SqliteFolder(folder.path().to_owned()), provider, &batches).await;
        }
    }
}

#[tokio::test]
async fn postgresql_keeps_the_same_whatever_the_order() {
    for provider in Provider::ALL {
        for batches in some_batches(provider, 2) {
            let Some(url) = colloquy_testkit::postgres::database_url().await else { return };
            the_same_on(&DatabaseUrl::Postgres(url), provider, &batches).await;
        }
    }
}
