//! What tests of several modules share.

use std::sync::Arc;

use colloquy_events::convert::timestamp_to_pb;
use colloquy_events::{Data, Event, Record};
use colloquy_proto::conversation::v1 as conversation_pb;
use colloquy_proto::transcript::v1 as transcript_pb;
use colloquy_storage::{Database, DatabaseUrl, Durability};
use colloquy_types::{ConversationId, EventId, OrganizationId, Position, Provider, RecordId, Timestamp, TurnId};
use uuid::Uuid;

use crate::analysis::{Analysis, Rules, analyse};
use crate::features::Features;
use crate::input::Input;
use crate::store::{self, Claimed, Store};

/// Returns a time so many milliseconds after one that does not matter.
pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_780_000_000_000 + millis).unwrap()
}

/// Returns the organization most tests are about.
pub(crate) fn acme() -> OrganizationId {
    "acme".parse().unwrap()
}

/// Returns a conversation by its number.
pub(crate) fn conversation(number: u128) -> ConversationId {
    ConversationId(Uuid::from_u128(number))
}

/// Returns what happened in a conversation, by the conversation's number.
pub(crate) fn event(number: u128, data: Data) -> Event {
    Event {
        event_id: EventId::generate(),
        conversation_id: conversation(number),
        provider: Provider::Native,
        external_id: number.to_string(),
        occurred_at: at(0),
        ordinal: 0,
        data,
    }
}

/// Returns a record of the log, received a second after the one before it.
pub(crate) fn record(organization: &str, sequence: u64, events: Vec<Event>) -> Record {
    Record {
        record_id: RecordId(Uuid::from_u128(sequence.into())),
        organization_id: organization.parse().unwrap(),
        source_id: None,
        received_at: at(i64::try_from(sequence).unwrap() * 1_000),
        events,
        traceparent: String::new(),
        sequence,
    }
}

/// Returns a claim on a conversation of [`acme`].
pub(crate) fn claimed(number: u128) -> Claimed {
    Claimed {
        organization_id: acme(),
        conversation_id: conversation(number),
        position: Position::START,
        heard_at: None,
        failures: 0,
        claim: Uuid::nil(),
    }
}

/// A store with a database of its own.
pub(crate) struct Fixture {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) database: Database,
    _folder: tempfile::TempDir,
}

impl Fixture {
    async fn open(url: impl FnOnce(&std::path::Path) -> DatabaseUrl) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&url(folder.path()), crate::NAME, Durability::Lazy, &store::migrations()).await.unwrap();
        Self { store: store::open(&database), database, _folder: folder }
    }

    /// Opens one on SQLite.
    pub(crate) async fn sqlite() -> Option<Self> {
        Some(Self::open(|folder| DatabaseUrl::SqliteFolder(folder.to_owned())).await)
    }

    /// Opens one on PostgreSQL; `None` when there is no server and none is required.
    pub(crate) async fn postgres() -> Option<Self> {
        let url = colloquy_testkit::postgres::database_url().await?;
        Some(Self::open(|_| DatabaseUrl::Postgres(url)).await)
    }
}

/// Returns a record as conversation-store has it.
pub(crate) fn record_pb(number: u128, status: conversation_pb::ConversationStatus) -> conversation_pb::Conversation {
    conversation_pb::Conversation {
        conversation_id: conversation(number).to_string(),
        organization_id: "acme".to_owned(),
        provider: "native".to_owned(),
        external_id: number.to_string(),
        agent_id: Some("agent".to_owned()),
        status: status.into(),
        created_at: Some(timestamp_to_pb(at(0))),
        started_at: Some(timestamp_to_pb(at(0))),
        tags: vec!["vip".to_owned(), "a\0b".to_owned()],
        ..Default::default()
    }
}

/// Returns turns as transcript has them, one of each of these texts, the person's first.
pub(crate) fn turns_pb(number: u128, texts: &[&str]) -> Vec<transcript_pb::Turn> {
    let turn = |(index, text): (usize, &&str)| {
        let role = if index % 2 == 0 { transcript_pb::TurnRole::User } else { transcript_pb::TurnRole::Agent };
        let start_ms = index as i64 * 2_000;
        transcript_pb::Turn {
            turn_id: TurnId::derive(conversation(number), &index.to_string()).to_string(),
            index: index as u32,
            role: role.into(),
            text: Some((*text).to_owned()),
            start_ms: Some(start_ms),
            end_ms: Some(start_ms + 1_500),
            timing: transcript_pb::Timing::Turn.into(),
            ..Default::default()
        }
    };
    texts.iter().enumerate().map(turn).collect()
}

/// Returns what a conversation that is over comes to when these things are said in it.
pub(crate) fn made(number: u128, texts: &[&str]) -> (Features, Analysis) {
    made_of(number, turns_pb(number, texts))
}

/// The same of things that are said from these times on, a second and a half each.
pub(crate) fn made_at(number: u128, texts: &[&str], starts: &[i64]) -> (Features, Analysis) {
    let mut turns = turns_pb(number, texts);
    for (turn, start) in turns.iter_mut().zip(starts) {
        (turn.start_ms, turn.end_ms) = (Some(*start), Some(start + 1_500));
    }
    made_of(number, turns)
}

fn made_of(number: u128, turns: Vec<transcript_pb::Turn>) -> (Features, Analysis) {
    let record = record_pb(number, conversation_pb::ConversationStatus::Completed);
    let input = Input::of(&record, turns).unwrap();
    let analysis = analyse(&input, &Rules::default());
    (Features::of(&input, &analysis, Position::START), analysis)
}
