//! What goes, and what stays.

use bytes::Bytes;

use super::super::{DeliveryFilter, Replay};
use super::*;

impl Fixture {
    async fn count(&self, table: &str) -> i64 {
        // A name of ours.
        let sql = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        match &self.database {
            Database::Sqlite(sqlite) => sqlx::query_scalar(sql).fetch_one(sqlite.readers()).await.unwrap(),
            Database::Postgres(pool) => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
        }
    }

    /// Prunes until nothing more goes; returns how often something went.
    async fn prune(&self, before: Timestamp, limit: u32) -> u64 {
        let mut rounds = 0;
        while self.store.prune(before, limit).await.unwrap() > 0 {
            rounds += 1;
        }
        rounds
    }
}

pub(super) async fn what_is_old_and_not_needed_goes(fixture: &Fixture) {
    let (one, other) = (endpoint("acme", 1), endpoint("acme", 2));
    fixture.create(&one).await;
    fixture.create(&other).await;
    let messages: Vec<Message> = (1..=5).map(|number| message("acme", 1, number)).collect();
    let known = Known { channel: Some("phone".to_owned()), ..Known::default() };
    let batch = Batch { known: vec![(acme(), messages[0].conversation_id, known)], ..batch(&messages, &[&one, &other]) };
    fixture.store.apply(&batch, Position::end_of(5), soon(), &|_| ()).await.unwrap();
    let end = async |number: usize, endpoint: &Endpoint, moment: i64| {
        let made = delivery(&messages[number], endpoint);
        let attempt = Attempt { at: at(moment), ..attempt(0, Status::Succeeded) };
        let result = Finished { attempt: Some(attempt), ..finished(&made, Status::Succeeded, None) };
        fixture.store.finish(&[result]).await.unwrap();
    };
    // The first has ended for both, the second for one, the third long after, the others not at all.
    end(0, &one, 0).await;
    end(0, &other, 10).await;
    end(1, &one, 0).await;
    end(2, &one, 500_000).await;
    end(2, &other, 0).await;
    assert_eq!(fixture.prune(at(-1), 100).await, 0);
    let before = at(100_000);
    assert_eq!(fixture.store.prune(before, 2).await.unwrap(), 2);
    assert_ne!(fixture.prune(before, 2).await, 0);
    assert_eq!((fixture.count("ended").await, fixture.count("pending").await), (1, 5));
    assert_eq!((fixture.count("messages").await, fixture.count("conversations").await), (4, 0));
    assert_eq!(fixture.delivery(&delivery(&messages[0], &one)).await, None);
    assert_eq!(fixture.delivery(&delivery(&messages[2], &one)).await.unwrap().status, Status::Succeeded);
    let claimed = fixture.claim(&other, soon()).await;
    assert_eq!(claimed.len(), 3);
    // What was kept because it was needed goes once it is not.
    for claimed in claimed {
        fixture.finish(&claimed.delivery, Status::Succeeded, None).await;
    }
    fixture.prune(at(200_000_000), 100).await;
    assert_eq!((fixture.count("ended").await, fixture.count("pending").await), (0, 2));
    assert_eq!(fixture.count("messages").await, 2);
}

pub(super) async fn what_a_removed_endpoint_leaves_behind_goes(fixture: &Fixture) {
    let (gone, stays) = (endpoint("acme", 1), endpoint("acme", 2));
    fixture.create(&gone).await;
    fixture.create(&stays).await;
    let messages: Vec<Message> = (1..=10).map(|number| message("acme", 1, number)).collect();
    fixture.store.apply(&batch(&messages, &[&gone, &stays]), Position::end_of(10), soon(), &|_| ()).await.unwrap();
    for message in &messages[..4] {
        fixture.finish(&delivery(message, &gone), Status::Exhausted, None).await;
    }
    assert!(fixture.store.delete_endpoint(&acme(), gone.endpoint_id).await.unwrap());
    assert_eq!(fixture.store.prune(at(-1_000_000), 3).await.unwrap(), 3);
    assert_eq!(fixture.prune(at(-1_000_000), 3).await, 3);
    assert_eq!((fixture.count("pending").await, fixture.count("ended").await), (10, 0));
    assert_eq!(fixture.count("gone_endpoints").await, 0);
    let page = fixture.store.page_of_deliveries(&acme(), stays.endpoint_id, &DeliveryFilter::default(), None, 100).await;
    assert_eq!(page.unwrap().len(), 10);
}

pub(super) async fn a_replay_is_worked_on_by_one_until_it_is_done(fixture: &Fixture) {
    let endpoint = endpoint("acme", 1);
    fixture.create(&endpoint).await;
    let replay = Replay {
        organization_id: acme(),
        replay_id: Uuid::from_u128(7),
        endpoint_id: endpoint.endpoint_id,
        request: Bytes::from_static(&[0, 1, 255]),
        page_token: String::new(),
    };
    let claim = async |now| fixture.store.claim_replay(at(now), at(now + 10)).await.unwrap();
    assert_eq!(claim(0).await, None);
    fixture.store.create_replay(&replay).await.unwrap();
    assert_eq!(claim(0).await, Some(replay.clone()));
    assert_eq!(claim(9).await, None);
    fixture.store.advance_replay(&acme(), replay.replay_id, Some("next"), at(20)).await.unwrap();
    assert_eq!(claim(19).await, None);
    // Whoever worked on it crashed.
    assert_eq!(claim(20).await, Some(Replay { page_token: "next".to_owned(), ..replay.clone() }));
    fixture.store.advance_replay(&acme(), replay.replay_id, None, at(20)).await.unwrap();
    assert_eq!(claim(100).await, None);
    // It goes with its endpoint.
    fixture.store.create_replay(&replay).await.unwrap();
    fixture.store.delete_endpoint(&acme(), endpoint.endpoint_id).await.unwrap();
    assert_eq!(claim(100).await, None);
    fixture.store.create_replay(&Replay { replay_id: Uuid::from_u128(8), ..replay }).await.unwrap();
    assert_eq!(claim(100).await, None);
}
