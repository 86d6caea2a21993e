//! Erasure: every event of one conversation leaves the file, and the journal beside it.

use colloquy_proto::log::v1 as pb;
use colloquy_storage::StoreError;
use colloquy_types::{ConversationId, OrganizationId, Timestamp};
use sqlx::{Connection, SqliteConnection};

use super::codec;
use super::group::Numbers;

/// How often the journal is tried to be emptied while readers still look into it.
const CHECKPOINT_ATTEMPTS: u32 = 4;

/// Removes the events of a conversation and remembers that it is erased. Deleted content is overwritten by SQLite itself
/// (`secure_delete`); the journal is emptied by [`empty_journal`].
pub(super) async fn erase(
    connection: &mut SqliteConnection,
    numbers: &mut Numbers,
    organization: &OrganizationId,
    conversation: ConversationId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut transaction = connection.begin_with("begin immediate").await?;
    let number: i64 = sqlx::query_scalar(
        "insert into conversations (organization_id, conversation_id, number, erased_at)
         values ($1, $2, $3, $4)
         on conflict do update set erased_at = coalesce(erased_at, excluded.erased_at)
         returning number",
    )
    .bind(organization.as_str())
    .bind(conversation.0)
    .bind(numbers.conversation + 1)
    .bind(now.as_millis())
    .fetch_one(&mut *transaction)
    .await?;
    let sequences: Vec<i64> =
        sqlx::query_scalar("select distinct sequence from event_ids where conversation = $1 order by sequence")
            .bind(number)
            .fetch_all(&mut *transaction)
            .await?;
    let mut erased = 0;
    for sequence in sequences {
        erased += erase_from_record(&mut transaction, organization, conversation, sequence).await?;
    }
    sqlx::query("delete from event_ids where conversation = $1").bind(number).execute(&mut *transaction).await?;
    transaction.commit().await?;
    numbers.conversation = numbers.conversation.max(number);
    Ok(erased)
}

/// Empties the places of the conversation's events; other conversations' events stay where they are, so that their positions do
/// not change. The raw body goes: it carried the erased ones too.
async fn erase_from_record(
    connection: &mut SqliteConnection,
    organization: &OrganizationId,
    conversation: ConversationId,
    sequence: i64,
) -> Result<u64, StoreError> {
    let body: Vec<u8> =
        sqlx::query_scalar("select body from records where sequence = $1").bind(sequence).fetch_one(&mut *connection).await?;
    let mut message = codec::decode(organization, &body)?;
    let id = conversation.to_string();
    let mut erased = 0;
    for event in &mut message.events {
        if event.conversation_id == id {
            *event = pb::Event::default();
            erased += 1;
        }
    }
    let empty = message.events.iter().all(|event| event.event_id.is_empty());
    let rest = if empty { Vec::new() } else { codec::encode(message) };
    sqlx::query("update records set body = $2, raw_body = null, event_count = iif($3, 0, event_count) where sequence = $1")
        .bind(sequence)
        .bind(rest)
        .bind(empty)
        .execute(connection)
        .await?;
    Ok(erased)
}

/// Moves the journal into the file and truncates it: what was deleted still stands in it until then.
///
/// # Errors
/// When readers keep it in use; trying again helps.
pub(super) async fn empty_journal(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    for _ in 0..CHECKPOINT_ATTEMPTS {
        let (busy, _, _): (i64, i64, i64) = sqlx::query_as("pragma wal_checkpoint(truncate)").fetch_one(&mut *connection).await?;
        if busy == 0 {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut))
}
