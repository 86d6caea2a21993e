use std::time::Instant;

use colloquy_events::{Data, EndStatus, Ended, Event, Facts, Record, Role, Turn};
use colloquy_storage::DatabaseUrl;
use colloquy_types::{ConversationId, EventId, OrganizationId, Position, Provider, RecordId, Timestamp, TurnId};
use uuid::Uuid;

use super::*;
use crate::list::{Column, Filter, Query, Sort};

fn conversation(organization: &OrganizationId, number: u64, turns: u64) -> Record {
    let id = ConversationId(Uuid::new_v5(&Uuid::nil(), &number.to_be_bytes()));
    let start = 1_700_000_000_000 + number as i64 * 1000;
    let event = |n: u64, data| Event {
        event_id: EventId(Uuid::new_v5(&id.0, &n.to_be_bytes())),
        conversation_id: id,
        provider: Provider::Native,
        external_id: format!("conversation-{number}"),
        occurred_at: Timestamp::from_millis(start + n as i64 * 500).unwrap(),
        ordinal: n as u32,
        data,
    };
    let facts = Facts {
        agent_id: Some(format!("agent-{}", number % 20)),
        agent_name: Some("Support".into()),
        channel: Some("phone".into()),
        language: Some("en".into()),
        client_id: Some(format!("client-{}", number % 50)),
        started_at: Timestamp::from_millis(start).ok(),
        caller_number: Some(format!("+1202555{:04}", number % 10000)),
        tags: vec!["vip".into()],
        ..Facts::default()
    };
    let mut events = vec![event(0, Data::Started(facts))];
    for n in 1..=turns {
        events.push(event(
            n,
            Data::TurnAdded(Turn {
                text: Some("I would like to reschedule my appointment to next Tuesday please".into()),
                index: Some(n as u32),
                start_ms: Some(n as i64 * 500),
                at: Timestamp::from_millis(start + n as i64 * 500).ok(),
                ..Turn::new(
                    TurnId(Uuid::new_v5(&id.0, &(n + 1000).to_be_bytes())),
                    if n % 2 == 0 { Role::User } else { Role::Agent },
                )
            }),
        ));
    }
    events
        .push(event(turns + 1, Data::Ended(Ended { end_reason: Some("user_ended".into()), ..Ended::new(EndStatus::Completed) })));
    Record {
        record_id: RecordId::derive(organization, events.iter().map(|e| e.event_id)),
        organization_id: organization.clone(),
        source_id: None,
        received_at: Timestamp::from_millis(start + 10_000).unwrap(),
        events,
        traceparent: String::new(),
        sequence: number,
    }
}

async fn measure(url: DatabaseUrl, size: impl Fn() -> Option<u64>) {
    let total: u64 = std::env::var("BENCH").ok().and_then(|n| n.parse().ok()).unwrap_or(40_000);
    let database = open_database(&url).await.unwrap();
    let store = over(&database).await.unwrap();
    let organization: OrganizationId = "default".parse().unwrap();
    let now = Timestamp::from_millis(1_800_000_000_000).unwrap();
    let mut done = 0;
    let mut number = 0;
    let mut spent = 0.0;
    while done < total {
        let batch: Vec<Record> = (0..83).map(|n| conversation(&organization, number + n, 12)).collect();
        number += 83;
        let begun = Instant::now();
        store.apply(&batch, Position(number), now).await.unwrap();
        spent += begun.elapsed().as_secs_f64();
        done += 83 * 12;
    }
    eprintln!("new conversations: {:.1} us/turn, {number} conversations", spent * 1e6 / done as f64);
    if let Some(size) = size() {
        eprintln!("disk {:.0} B/turn", size as f64 / done as f64);
    }
    // One more turn each for conversations all over, a turn a conversation.
    let mut spent = 0.0;
    for round in 0..10u64 {
        let batch: Vec<Record> = (0..1000)
            .map(|n| {
                let mut record = conversation(&organization, (n * 7 + round * 13) % number, 13 + round);
                record.events.drain(..13 + round as usize);
                record.events.pop();
                record
            })
            .collect();
        let begun = Instant::now();
        store.apply(&batch, Position(number), now).await.unwrap();
        spent += begun.elapsed().as_secs_f64();
    }
    eprintln!("single turns: {:.1} us/turn", spent * 1e6 / 10_000.0);
    let filter = Filter { equal: vec![(Column::AgentId, "agent-3".into())], ..Filter::default() };
    let query =
        Query { organization_id: organization.clone(), filter, sort: Sort::default(), limit: 30, cursor: None, count: false };
    let mut times = Vec::new();
    for _ in 0..300 {
        let begun = Instant::now();
        let page = store.page(&query, now).await.unwrap();
        for kept in &page.conversations {
            crate::convert::record::decode(&kept.bytes, &organization, kept.id).unwrap();
        }
        times.push(begun.elapsed());
    }
    times.sort();
    eprintln!("list: p50 {:?} p99 {:?}", times[150], times[297]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn bench_sqlite() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("conversation_store.sqlite");
    measure(DatabaseUrl::SqliteFolder(folder.path().to_owned()), move || std::fs::metadata(&path).ok().map(|m| m.len())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn bench_postgres() {
    let Some(url) = colloquy_testkit::postgres::database_url().await else { return };
    measure(DatabaseUrl::Postgres(url), || None).await;
}
