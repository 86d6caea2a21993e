//! What every backend must do, run on each.

use colloquy_storage::DatabaseUrl;
use colloquy_types::{KeyId, OrganizationId, Timestamp};
use tempfile::TempDir;

use super::{Keys, open};
use crate::{NewApiKey, Secret};

/// A store of a test's own; `None` when the engine is not there and need not be.
struct Store {
    keys: std::sync::Arc<dyn Keys>,
    _folder: TempDir,
}

async fn sqlite() -> Option<Store> {
    let folder = TempDir::new().unwrap();
    let keys = open(&DatabaseUrl::SqliteFolder(folder.path().to_owned())).await.unwrap();
    Some(Store { keys, _folder: folder })
}

async fn postgres() -> Option<Store> {
    let url = colloquy_testkit::postgres::database_url().await?;
    let keys = open(&DatabaseUrl::Postgres(url)).await.unwrap();
    Some(Store { keys, _folder: TempDir::new().unwrap() })
}

macro_rules! suite {
    ($engine:ident; $($case:ident),+ $(,)?) => { mod $engine { $(
        #[tokio::test]
        async fn $case() {
            if let Some(store) = super::$engine().await {
                super::$case(store.keys.as_ref()).await;
            }
        }
    )+ } };
}
macro_rules! on_both {
    ($($case:ident),+ $(,)?) => { suite!(sqlite; $($case),+); suite!(postgres; $($case),+); };
}
on_both!(
    a_key_is_found_by_its_hash_alone,
    a_page_holds_the_newest_keys_of_one_organization,
    revoking_twice_keeps_the_first_end,
    one_hash_belongs_to_one_key,
    making_an_organization_twice_changes_nothing,
);

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn organization(name: &str) -> OrganizationId {
    name.parse().unwrap()
}

async fn add(keys: &dyn Keys, name: &str, secret: &Secret) -> KeyId {
    let key_id = KeyId::generate();
    let new = NewApiKey {
        key_id,
        organization_id: organization(name),
        name: "a key".to_owned(),
        secret: secret.clone(),
        scopes: "conversations:read,audio:read".parse().unwrap(),
        created_at: at(1_000),
        expires_at: Some(at(9_000)),
    };
    keys.create_organization(&organization(name), at(1)).await.unwrap();
    keys.insert_key(new).await.unwrap();
    key_id
}

async fn a_key_is_found_by_its_hash_alone(keys: &dyn Keys) {
    assert!(!keys.any_key().await.unwrap());
    let secret = Secret::generate().unwrap();
    let key_id = add(keys, "acme", &secret).await;
    let found = keys.key_by_hash(&secret.hash()).await.unwrap().unwrap();
    assert_eq!((found.key_id, found.organization_id.as_str()), (key_id, "acme"));
    assert_eq!(found.scopes.to_string(), "conversations:read,audio:read");
    assert!(found.is_good(at(8_999)) && !found.is_good(at(9_000)));
    assert!(keys.key_by_hash(&Secret::generate().unwrap().hash()).await.unwrap().is_none());
    assert!(keys.any_key().await.unwrap());
}

async fn a_page_holds_the_newest_keys_of_one_organization(keys: &dyn Keys) {
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(add(keys, "acme", &Secret::generate().unwrap()).await);
    }
    add(keys, "other", &Secret::generate().unwrap()).await;
    made.sort();
    made.reverse();
    let first = keys.list_keys(&organization("acme"), None, 3).await.unwrap();
    let second = keys.list_keys(&organization("acme"), first.keys.last().map(|key| key.key_id), 3).await.unwrap();
    assert_eq!((first.has_more, second.has_more), (true, false));
    let listed: Vec<KeyId> = first.keys.iter().chain(&second.keys).map(|key| key.key_id).collect();
    assert_eq!(listed, made);
}

async fn revoking_twice_keeps_the_first_end(keys: &dyn Keys) {
    let key_id = add(keys, "acme", &Secret::generate().unwrap()).await;
    for now in [5_000, 6_000] {
        let key = keys.revoke_key(&organization("acme"), key_id, at(now)).await.unwrap().unwrap();
        assert_eq!(key.revoked_at, Some(at(5_000)));
        assert!(!key.is_good(at(5_001)));
    }
    assert!(keys.revoke_key(&organization("other"), key_id, at(7_000)).await.unwrap().is_none());
}

async fn one_hash_belongs_to_one_key(keys: &dyn Keys) {
    let secret = Secret::generate().unwrap();
    add(keys, "acme", &secret).await;
    let again = NewApiKey {
        key_id: KeyId::generate(),
        organization_id: organization("acme"),
        name: String::new(),
        secret,
        scopes: "admin".parse().unwrap(),
        created_at: at(2),
        expires_at: None,
    };
    assert!(matches!(keys.insert_key(again).await, Err(colloquy_storage::StoreError::Conflict)));
}

async fn making_an_organization_twice_changes_nothing(keys: &dyn Keys) {
    let acme = organization("acme");
    assert_eq!(keys.organization_created_at(&acme).await.unwrap(), None);
    keys.create_organization(&acme, at(3)).await.unwrap();
    keys.create_organization(&acme, at(4)).await.unwrap();
    assert_eq!(keys.organization_created_at(&acme).await.unwrap(), Some(at(3)));
}
