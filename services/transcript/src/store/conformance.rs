//! What every store must do.

use async_trait::async_trait;
use colloquy_types::{ConversationId, OrganizationId, Position, RecordId, Timestamp};
use uuid::Uuid;

use super::{Conversation, MAX_UNPACKED_BYTES, SetAside, TranscriptStore};
use crate::kept::{Kept, Row};

/// A store with a database of its own.
#[async_trait]
pub(crate) trait Harness: Sized + Send + Sync {
    /// Opens an empty one; `None` when its engine is not there and need not be.
    async fn start() -> Option<Self>;
    /// Returns the store.
    fn store(&self) -> &dyn TranscriptStore;
    /// Returns the reasons in `set_aside`.
    async fn reasons_set_aside(&self) -> Vec<String>;
}

macro_rules! transcript_store_suite {
    ($harness:ty) => {
        $crate::store::conformance::transcript_store_suite!(@cases $harness;
            the_greatest_of_a_lane_is_kept_whatever_the_order,
            organizations_do_not_see_each_other,
            a_batch_and_its_position_are_kept_together,
            batches_of_any_size_are_kept_whole,
            what_is_too_long_to_answer_is_said_to_be,
            conversations_are_read_together_as_far_as_there_is_room,
            a_record_is_set_aside_once,
        );
    };
    (@cases $harness:ty; $($case:ident),+ $(,)?) => { $(
        #[tokio::test]
        async fn $case() {
            if let Some(harness) = <$harness as $crate::store::conformance::Harness>::start().await {
                $crate::store::conformance::$case(&harness).await;
            }
        }
    )+ };
}
pub(crate) use transcript_store_suite;

fn organization(name: &str) -> OrganizationId {
    name.parse().unwrap()
}

fn row(organization_id: &str, conversation: u128, lane: u128, rank: u8, data: &[u8]) -> Row {
    Row {
        organization_id: organization(organization_id),
        conversation_id: ConversationId(Uuid::from_u128(conversation)),
        kept: Kept { lane: Uuid::from_u128(lane), rank: vec![0, rank], data: data.to_vec() },
    }
}

async fn data_of(store: &dyn TranscriptStore, organization_id: &str, conversation: u128) -> Option<Vec<Vec<u8>>> {
    let found = store.conversation(&organization(organization_id), ConversationId(Uuid::from_u128(conversation))).await;
    match found.unwrap() {
        Conversation::Known(kept) => Some(kept.into_iter().map(|kept| kept.data).collect()),
        Conversation::Unknown => None,
        Conversation::TooLong => panic!("too long"),
    }
}

pub(crate) async fn the_greatest_of_a_lane_is_kept_whatever_the_order(harness: &impl Harness) {
    let store = harness.store();
    for (sequence, rank) in [3_u8, 200, 4, 200].into_iter().enumerate() {
        store.apply(&[row("acme", 1, 1, rank, &[rank])], Position::end_of(sequence as u64)).await.unwrap();
    }
    store.apply(&[row("acme", 1, 2, 0, b"other lane")], Position::end_of(9)).await.unwrap();
    assert_eq!(data_of(store, "acme", 1).await.unwrap(), [vec![200], b"other lane".to_vec()]);
}

pub(crate) async fn organizations_do_not_see_each_other(harness: &impl Harness) {
    let store = harness.store();
    let rows = [row("acme", 1, 1, 1, b"acme"), row("acme-eu", 1, 1, 1, b"eu"), row("acme-eu", 2, 1, 1, b"eu 2")];
    store.apply(&rows, Position(1)).await.unwrap();
    assert_eq!(data_of(store, "acme", 1).await.unwrap(), [b"acme"]);
    assert_eq!(data_of(store, "acme-eu", 1).await.unwrap(), [b"eu"]);
    assert_eq!(data_of(store, "acme", 2).await, None);
    assert_eq!(data_of(store, "nobody", 1).await, None);
}

pub(crate) async fn a_batch_and_its_position_are_kept_together(harness: &impl Harness) {
    let store = harness.store();
    assert_eq!(store.position().await.unwrap(), Position::START);
    store.apply(&[row("acme", 1, 1, 1, b"a")], Position::end_of(7)).await.unwrap();
    assert_eq!(store.position().await.unwrap(), Position::end_of(7));
    store.apply(&[], Position::end_of(5)).await.unwrap();
    assert_eq!(store.position().await.unwrap(), Position::end_of(7));
    // Two rows of one lane are the caller's mistake: PostgreSQL refuses the batch, SQLite takes both. Either is whole.
    let twice = [row("acme", 2, 1, 1, b"b"), row("acme", 2, 1, 2, b"c")];
    let applied = store.apply(&twice, Position::end_of(8)).await.is_ok();
    assert_eq!(store.position().await.unwrap() == Position::end_of(8), applied);
    assert_eq!(data_of(store, "acme", 2).await, applied.then(|| vec![b"c".to_vec()]));
}

pub(crate) async fn batches_of_any_size_are_kept_whole(harness: &impl Harness) {
    let store = harness.store();
    for (number, size) in [0_u128, 1, 2, 3, 255, 256, 257, 1_023].into_iter().enumerate() {
        let rows: Vec<Row> = (0..size).map(|lane| row("acme", number as u128, lane, 1, &lane.to_be_bytes())).collect();
        store.apply(&rows, Position::end_of(number as u64)).await.unwrap();
        let data = data_of(store, "acme", number as u128).await.unwrap_or_default();
        let mut lanes: Vec<u128> = data.into_iter().map(|data| u128::from_be_bytes(data.try_into().unwrap())).collect();
        lanes.sort_unstable();
        assert_eq!(lanes, (0..size).collect::<Vec<_>>());
    }
}

pub(crate) async fn what_is_too_long_to_answer_is_said_to_be(harness: &impl Harness) {
    let store = harness.store();
    // A compressed payload says first how long it is.
    let mut data = vec![1];
    data.extend_from_slice(&(MAX_UNPACKED_BYTES as u32 / 2).to_le_bytes());
    let rows: Vec<Row> = (0..3).map(|lane| row("acme", 1, lane, 1, &data)).collect();
    store.apply(&rows[..2], Position(1)).await.unwrap();
    assert_eq!(data_of(store, "acme", 1).await.unwrap().len(), 2);
    store.apply(&rows[2..], Position(2)).await.unwrap();
    let found = store.conversation(&organization("acme"), ConversationId(Uuid::from_u128(1))).await.unwrap();
    assert_eq!(found, Conversation::TooLong);
}

pub(crate) async fn conversations_are_read_together_as_far_as_there_is_room(harness: &impl Harness) {
    let store = harness.store();
    let mut rows = vec![row("acme", 1, 1, 1, &[0; 40]), row("acme", 1, 2, 1, &[0; 40]), row("other", 5, 1, 1, b"theirs")];
    rows.extend([row("acme", 2, 1, 1, &[0; 60]), row("acme", 3, 1, 1, &[0; 9]), row("acme", 4, 1, 1, &[0; 9])]);
    rows.sort_by_key(|row| (row.organization_id.clone(), row.conversation_id, row.kept.lane));
    store.apply(&rows, Position(1)).await.unwrap();
    let together = async |conversations: &[u128], bytes| {
        let ids: Vec<ConversationId> = conversations.iter().map(|id| ConversationId(Uuid::from_u128(*id))).collect();
        let found = store.conversations(&organization("acme"), &ids, bytes).await.unwrap();
        let found = found.into_iter().map(|(id, kept)| (id.0.as_u128(), kept.map(|kept| kept.len())));
        found.collect::<Vec<_>>()
    };
    assert_eq!(together(&[4, 1, 9, 5, 2, 3], 1_000).await, [(4, Some(1)), (1, Some(2)), (2, Some(1)), (3, Some(1))]);
    assert_eq!(together(&[9], 1_000).await, []);
    // Room is for whole conversations, and what one could not use is for the next.
    assert_eq!(together(&[1, 2, 3, 4], 75).await, [(1, None), (2, Some(1)), (3, Some(1)), (4, None)]);
}

pub(crate) async fn a_record_is_set_aside_once(harness: &impl Harness) {
    let aside = |id: u128, reason: &str| SetAside {
        organization_id: organization("acme"),
        record_id: RecordId(Uuid::from_u128(id)),
        sequence: 3,
        reason: reason.to_owned(),
        at: Timestamp::default(),
    };
    let store = harness.store();
    for (id, reason) in [(1, "first"), (1, "again"), (2, "second")] {
        store.set_aside(&aside(id, reason)).await.unwrap();
    }
    assert_eq!(harness.reasons_set_aside().await, ["first", "second"]);
}
