//! What every store must do, run on each engine.

use std::sync::Arc;

use colloquy_providers::verify::{Scheme, Verification};
use colloquy_storage::{DatabaseUrl, StoreError};
use colloquy_types::{OrganizationId, Provider, QuarantineId, SourceId, Timestamp};
use tempfile::TempDir;
use uuid::Uuid;

use super::{Place, QuarantineFilter, Quarantining, Store};
use crate::quarantine::{Bounds, Quarantined, QuarantinedBody, StoredRecording};
use crate::source::{SealedAccess, SealedSecrets, Source};
use crate::{MasterKey, Settings};

/// A store with a database of its own.
pub(crate) struct Harness {
    store: Arc<dyn Store>,
    _folder: TempDir,
}

impl Harness {
    async fn open(url: Option<DatabaseUrl>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::in_folder(folder.path().to_owned(), MasterKey::new([7; 32]));
        if let Some(url) = url {
            settings.database = url;
        }
        let (_, store) = super::open(&settings).await.unwrap();
        Self { store, _folder: folder }
    }

    async fn sqlite() -> Option<Self> {
        Some(Self::open(None).await)
    }

    async fn postgres() -> Option<Self> {
        let url = colloquy_testkit::postgres::database_url().await?;
        Some(Self::open(Some(DatabaseUrl::Postgres(url))).await)
    }
}

macro_rules! store_suite {
    ($($case:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $case() {
                let harness = super::Harness::sqlite().await.expect("SQLite is always there");
                super::$case(harness.store.as_ref()).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $case() {
                // Absent only where tests may run without a server; `tests/run` requires one.
                if let Some(harness) = super::Harness::postgres().await {
                    super::$case(harness.store.as_ref()).await;
                }
            })+
        }
    };
}

store_suite!(
    a_source_is_read_as_it_was_written,
    a_source_of_another_organization_is_not_found,
    only_the_next_revision_replaces_a_source,
    a_deleted_source_is_gone,
    pages_of_sources_equal_one_big_list,
    a_quarantined_delivery_is_read_as_it_was_written,
    a_repeated_delivery_counts_attempts_and_takes_no_more_room,
    a_resolved_delivery_loses_its_body_and_waits_again_when_it_comes_again,
    a_full_quarantine_refuses_what_waits_and_drops_what_is_resolved,
    pages_of_quarantine_equal_one_big_list,
);

fn organization(name: &str) -> OrganizationId {
    name.parse().unwrap()
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn a_source(of: &str, number: u128, created_at: i64) -> Source {
    Source {
        organization_id: organization(of),
        source_id: SourceId(Uuid::from_u128(number)),
        provider: Provider::Vapi,
        name: "Zoë's 💥 line".to_owned(),
        client_id: Some("client-7".to_owned()),
        verification: Verification { scheme: Scheme::Hmac, header: Some("x-sig".to_owned()), ..Verification::default() },
        secrets: SealedSecrets {
            current: Some(vec![0, 1, 255]),
            previous: Some(vec![9]),
            previous_expires_at: Some(at(created_at + 5)),
        },
        control: SealedAccess { api_key: Some(vec![7, 0]), base_url: Some("https://api.eu.example".to_owned()) },
        created_at: at(created_at),
        updated_at: at(created_at + 1),
        revision: 1,
    }
}

async fn a_source_is_read_as_it_was_written(store: &dyn Store) {
    let rich = a_source("acme", 1, -5);
    let bare = Source {
        client_id: None,
        secrets: SealedSecrets::default(),
        control: SealedAccess::default(),
        verification: Verification { scheme: Scheme::None, ..Verification::default() },
        ..a_source("acme", 2, 5)
    };
    for source in [&rich, &bare] {
        store.create_source(source).await.unwrap();
        assert_eq!(store.source(&source.organization_id, source.source_id).await.unwrap().as_ref(), Some(source));
        assert_eq!(store.source_by_id(source.source_id).await.unwrap().as_ref(), Some(source));
    }
    assert!(matches!(store.create_source(&rich).await, Err(StoreError::Conflict)));
}

async fn a_source_of_another_organization_is_not_found(store: &dyn Store) {
    let source = a_source("acme", 1, 0);
    store.create_source(&source).await.unwrap();
    let other = organization("other");
    assert_eq!(store.source(&other, source.source_id).await.unwrap(), None);
    assert!(!store.delete_source(&other, source.source_id).await.unwrap());
    let stolen = Source { organization_id: other.clone(), revision: 2, ..source.clone() };
    assert!(!store.replace_source(&stolen).await.unwrap());
    assert_eq!(store.page_of_sources(&other, None, 10).await.unwrap(), []);
    assert_eq!(store.source_by_id(source.source_id).await.unwrap(), Some(source));
}

async fn only_the_next_revision_replaces_a_source(store: &dyn Store) {
    let source = a_source("acme", 1, 0);
    store.create_source(&source).await.unwrap();
    let control = SealedAccess { api_key: None, base_url: Some("https://api.us.example".to_owned()) };
    let next = Source { name: "new".to_owned(), client_id: None, control, updated_at: at(9), revision: 2, ..source.clone() };
    assert!(store.replace_source(&next).await.unwrap());
    assert!(!store.replace_source(&next).await.unwrap());
    assert!(!store.replace_source(&Source { revision: 4, ..next.clone() }).await.unwrap());
    assert_eq!(store.source_by_id(source.source_id).await.unwrap(), Some(next));
}

async fn a_deleted_source_is_gone(store: &dyn Store) {
    let source = a_source("acme", 1, 0);
    store.create_source(&source).await.unwrap();
    assert!(store.delete_source(&source.organization_id, source.source_id).await.unwrap());
    assert!(!store.delete_source(&source.organization_id, source.source_id).await.unwrap());
    assert_eq!(store.source_by_id(source.source_id).await.unwrap(), None);
}

async fn pages_of_sources_equal_one_big_list(store: &dyn Store) {
    let acme = organization("acme");
    for number in 0..7 {
        // Some made in the same millisecond.
        store.create_source(&a_source("acme", number, (number / 2) as i64)).await.unwrap();
        store.create_source(&a_source("other", number + 100, 1)).await.unwrap();
    }
    let all = store.page_of_sources(&acme, None, 100).await.unwrap();
    let mut newest_first = all.clone();
    newest_first.sort_by_key(|source| std::cmp::Reverse((source.created_at, source.source_id)));
    assert_eq!(all, newest_first);
    assert_eq!(all.len(), 7);

    let mut walked = Vec::new();
    let mut after = None;
    loop {
        let page = store.page_of_sources(&acme, after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(Place { at: last.created_at, id: last.source_id });
        walked.extend(page);
    }
    assert_eq!(walked, all);
}

const WIDE: Bounds = Bounds { max_entries: 100, max_bytes: 1_000_000 };

fn a_delivery(number: u128, received_at: i64) -> Quarantined {
    Quarantined {
        organization_id: organization("acme"),
        quarantine_id: QuarantineId(Uuid::from_u128(number)),
        source_id: SourceId(Uuid::from_u128(1)),
        provider: Provider::ElevenLabs,
        received_at: at(received_at),
        reason: "unknown event type 'x'".to_owned(),
        size_bytes: 10,
        attempts: 1,
        resolved_at: None,
        position: None,
        recording: None,
    }
}

fn a_body(length: usize) -> QuarantinedBody {
    QuarantinedBody { sealed: vec![3; length] }
}

async fn kept(store: &dyn Store, delivery: &Quarantined) -> Quarantined {
    store.quarantined(&delivery.organization_id, delivery.quarantine_id).await.unwrap().unwrap().0
}

async fn a_quarantined_delivery_is_read_as_it_was_written(store: &dyn Store) {
    let recording = StoredRecording {
        object_key: "acme/fa".to_owned(),
        sha256: "fa".to_owned(),
        size_bytes: 7,
        content_type: Some("audio/mpeg".to_owned()),
    };
    let delivery = Quarantined { recording: Some(recording), ..a_delivery(1, 5) };
    assert_eq!(store.quarantine(&delivery, &a_body(4), WIDE).await.unwrap(), Quarantining::Kept);
    let found = store.quarantined(&delivery.organization_id, delivery.quarantine_id).await.unwrap();
    assert_eq!(found, Some((delivery.clone(), a_body(4))));
    assert_eq!(store.quarantined(&organization("other"), delivery.quarantine_id).await.unwrap(), None);
}

async fn a_repeated_delivery_counts_attempts_and_takes_no_more_room(store: &dyn Store) {
    let narrow = Bounds { max_entries: 1, max_bytes: 4 };
    let first = a_delivery(1, 5);
    store.quarantine(&first, &a_body(4), narrow).await.unwrap();
    let again = Quarantined { received_at: at(9), reason: "another".to_owned(), ..first.clone() };
    assert_eq!(store.quarantine(&again, &a_body(4), narrow).await.unwrap(), Quarantining::Kept);
    assert_eq!(kept(store, &first).await, Quarantined { attempts: 2, reason: "another".to_owned(), ..first });
}

async fn a_resolved_delivery_loses_its_body_and_waits_again_when_it_comes_again(store: &dyn Store) {
    let delivery = a_delivery(1, 5);
    store.quarantine(&delivery, &a_body(4), WIDE).await.unwrap();
    let failed = Quarantined { attempts: 2, reason: "still".to_owned(), ..delivery.clone() };
    store.note_attempt(&failed).await.unwrap();
    let found = store.quarantined(&delivery.organization_id, delivery.quarantine_id).await.unwrap();
    assert_eq!(found, Some((failed.clone(), a_body(4))));

    let resolved = Quarantined { attempts: 3, resolved_at: Some(at(8)), position: Some(65_536), ..failed };
    store.note_attempt(&resolved).await.unwrap();
    let found = store.quarantined(&delivery.organization_id, delivery.quarantine_id).await.unwrap();
    assert_eq!(found, Some((resolved, a_body(0))));

    store.quarantine(&delivery, &a_body(4), WIDE).await.unwrap();
    let found = store.quarantined(&delivery.organization_id, delivery.quarantine_id).await.unwrap();
    assert_eq!(found, Some((Quarantined { attempts: 4, ..delivery }, a_body(4))));
}

async fn a_full_quarantine_refuses_what_waits_and_drops_what_is_resolved(store: &dyn Store) {
    let bounds = Bounds { max_entries: 3, max_bytes: 10 };
    for number in 1..=3 {
        assert_eq!(store.quarantine(&a_delivery(number, 5), &a_body(3), bounds).await.unwrap(), Quarantining::Kept);
    }
    let fourth = a_delivery(4, 6);
    assert_eq!(store.quarantine(&fourth, &a_body(1), bounds).await.unwrap(), Quarantining::Full);
    let elsewhere = Quarantined { source_id: SourceId(Uuid::from_u128(2)), ..a_delivery(5, 6) };
    assert_eq!(store.quarantine(&elsewhere, &a_body(9), bounds).await.unwrap(), Quarantining::Kept);

    store.note_attempt(&Quarantined { resolved_at: Some(at(9)), ..a_delivery(2, 5) }).await.unwrap();
    assert_eq!(store.quarantine(&fourth, &a_body(5), bounds).await.unwrap(), Quarantining::Full, "too many bytes");
    assert_eq!(store.quarantine(&fourth, &a_body(4), bounds).await.unwrap(), Quarantining::Kept);
    let acme = organization("acme");
    let filter = QuarantineFilter { source_id: Some(fourth.source_id), include_resolved: true };
    let left = store.page_of_quarantine(&acme, filter, None, 10).await.unwrap();
    let numbers: Vec<u128> = left.iter().map(|delivery| delivery.quarantine_id.0.as_u128()).collect();
    assert_eq!(numbers, [4, 3, 1]);
}

async fn pages_of_quarantine_equal_one_big_list(store: &dyn Store) {
    let acme = organization("acme");
    for number in 1..=9 {
        let source_id = SourceId(Uuid::from_u128(number % 2));
        let delivery = Quarantined { source_id, ..a_delivery(number, (number / 3) as i64) };
        store.quarantine(&delivery, &a_body(1), WIDE).await.unwrap();
        if number % 3 == 0 {
            store.note_attempt(&Quarantined { resolved_at: Some(at(9)), ..delivery }).await.unwrap();
        }
    }
    let filters = [None, Some(SourceId(Uuid::from_u128(1)))]
        .into_iter()
        .flat_map(|source_id| [true, false].map(|include_resolved| QuarantineFilter { source_id, include_resolved }));
    for (filter, expected) in filters.zip([9, 6, 5, 3]) {
        let all = store.page_of_quarantine(&acme, filter, None, 100).await.unwrap();
        assert_eq!(all.len(), expected, "{filter:?}");
        assert!(all.is_sorted_by_key(|delivery| std::cmp::Reverse((delivery.received_at, delivery.quarantine_id))));
        let mut walked = Vec::new();
        let mut after = None;
        loop {
            let page = store.page_of_quarantine(&acme, filter, after, 2).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(Place { at: last.received_at, id: last.quarantine_id });
            walked.extend(page);
        }
        assert_eq!(walked, all);
    }
    let other = store.page_of_quarantine(&organization("other"), QuarantineFilter::default(), None, 9).await.unwrap();
    assert_eq!(other, []);
}
