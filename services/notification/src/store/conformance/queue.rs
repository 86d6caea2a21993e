//! The queue.

use bytes::Bytes;

use super::super::samples;
use super::*;
use crate::message::Body;

pub(super) async fn each_delivery_is_claimed_by_one(fixture: &Fixture) {
    let endpoint = endpoint("acme", 1);
    fixture.create(&endpoint).await;
    let messages: Vec<Message> = (0..400).map(|number| message("acme", u128::from(number) % 9, number)).collect();
    fixture.apply(&messages, &endpoint).await;
    let now = soon();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (store, endpoint) = (Arc::clone(&fixture.store), endpoint.clone());
        tasks.spawn(async move {
            let mut got = Vec::new();
            loop {
                let claimed = store.claim(&endpoint, now, now.saturating_add_millis(1), 7).await.unwrap();
                if claimed.is_empty() {
                    return got;
                }
                let results: Vec<Finished> =
                    claimed.iter().map(|claimed| finished(&claimed.delivery, Status::Succeeded, None)).collect();
                got.extend(claimed.into_iter().map(|claimed| claimed.delivery.position.sequence()));
                store.finish(&results).await.unwrap();
            }
        });
    }
    let mut got: Vec<u64> = tasks.join_all().await.into_iter().flatten().collect();
    got.sort_unstable();
    assert_eq!(got, (0..400).collect::<Vec<_>>());
    assert_eq!(fixture.store.backlog(now).await.unwrap(), (0, None));
}

pub(super) async fn a_claim_that_runs_out_is_due_again(fixture: &Fixture) {
    let endpoint = endpoint("acme", 1);
    fixture.create(&endpoint).await;
    let told = message("acme", 1, 1);
    assert_eq!(fixture.apply(std::slice::from_ref(&told), &endpoint).await, BTreeSet::from([1]));
    // The reader's claim, then a worker's.
    assert_eq!(fixture.numbers(&endpoint, at(59_999)).await, Vec::<u64>::new());
    assert_eq!(fixture.has_work(at(59_999)).await, Vec::<u128>::new());
    assert_eq!(fixture.has_work(soon()).await, [1]);
    let claimed = fixture.claim(&endpoint, soon()).await;
    assert_eq!(claimed, [Claimed { delivery: delivery(&told, &endpoint), message: told }]);
    assert_eq!(fixture.numbers(&endpoint, at(119_999)).await, Vec::<u64>::new());
    assert_eq!(fixture.numbers(&endpoint, at(120_000)).await, [1]);
}

pub(super) async fn what_the_reader_has_no_room_for_is_due_to_anybody(fixture: &Fixture) {
    let (plain, ordered) = (endpoint("acme", 1), Endpoint { ordered: true, ..endpoint("acme", 2) });
    fixture.create(&plain).await;
    fixture.create(&ordered).await;
    let messages = [message("acme", 1, 1), message("acme", 1, 2), message("acme", 2, 3)];
    let mut batch = batch(&messages, &[&plain, &ordered]);
    batch.unclaimed = [&messages[1], &messages[2]]
        .iter()
        .flat_map(|message| [&plain, &ordered].map(|endpoint| delivery(message, endpoint).delivery_id))
        .collect();
    let claimed = fixture.store.apply(&batch, Position::end_of(3), soon(), &|_| ()).await.unwrap();
    let expected = [&plain, &ordered].map(|endpoint| delivery(&messages[0], endpoint).delivery_id);
    assert_eq!(claimed.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(expected));
    assert_eq!(fixture.has_work(at(0)).await, [1, 2]);
    let mut due = fixture.numbers(&plain, at(0)).await;
    due.sort_unstable();
    assert_eq!(due, [2, 3]);
    // In order, there is still one of a conversation at a time.
    assert_eq!(fixture.numbers(&ordered, at(0)).await, [3]);
    fixture.finish(&delivery(&messages[0], &ordered), Status::Succeeded, None).await;
    assert_eq!(fixture.numbers(&ordered, at(0)).await, [2]);
}

pub(super) async fn the_longest_due_come_first_and_no_more_than_asked_for(fixture: &Fixture) {
    let endpoint = endpoint("acme", 1);
    fixture.create(&endpoint).await;
    let messages: Vec<Message> = (0..6).map(|number| message("acme", 1, number)).collect();
    fixture.apply(&messages, &endpoint).await;
    for (message, due) in messages.iter().zip([5, 3, 1, 4, 2, 6]) {
        fixture.finish(&delivery(message, &endpoint), Status::Pending, Some(at(due))).await;
    }
    let claim = async |now, limit| {
        let claimed = fixture.store.claim(&endpoint, at(now), soon(), limit).await.unwrap();
        claimed.iter().map(|claimed| claimed.delivery.position.sequence()).collect::<Vec<_>>()
    };
    assert_eq!(claim(0, 10).await, Vec::<u64>::new());
    assert_eq!(claim(5, 2).await, [2, 4]);
    assert_eq!(claim(5, 10).await, [1, 3, 0]);
    assert_eq!(claim(6, 10).await, [5]);
}

pub(super) async fn attempts_add_up_and_the_newest_are_kept(fixture: &Fixture) {
    let endpoint = endpoint("acme", 1);
    fixture.create(&endpoint).await;
    fixture.apply(&[message("acme", 1, 1)], &endpoint).await;
    let mut now = soon();
    for number in 0..24 {
        let claimed = fixture.claim(&endpoint, now).await.remove(0).delivery;
        assert_eq!((claimed.schedule_attempts, claimed.attempt_count), (number, number));
        now = now.saturating_add_millis(1);
        fixture.finish(&claimed, Status::Pending, Some(now)).await;
    }
    let claimed = fixture.claim(&endpoint, now).await.remove(0).delivery;
    // A worker that stops gives back what it has not tried.
    let untried = Finished { attempt: None, ..finished(&claimed, Status::Pending, Some(at(1))) };
    fixture.store.finish(&[untried]).await.unwrap();
    assert_eq!(fixture.claim(&endpoint, at(1)).await.remove(0).delivery.attempt_count, 24);
    fixture.finish(&claimed, Status::Exhausted, None).await;
    let kept = fixture.delivery(&claimed).await.unwrap();
    assert_eq!((kept.status, kept.schedule_attempts, kept.attempt_count), (Status::Exhausted, 25, 25));
    assert_eq!(kept.next_attempt_at, None);
    let expected: Vec<Attempt> =
        (5..24).map(|number| attempt(number, Status::Pending)).chain([attempt(24, Status::Exhausted)]).collect();
    assert_eq!(kept.attempts, expected);
}

pub(super) async fn what_a_worker_says_too_late_does_not_count_unless_it_was_taken(fixture: &Fixture) {
    let endpoint = endpoint("acme", 1);
    fixture.create(&endpoint).await;
    fixture.apply(&[message("acme", 1, 1)], &endpoint).await;
    let slow = fixture.claim(&endpoint, soon()).await.remove(0).delivery;
    let quick = fixture.claim(&endpoint, at(120_000)).await.remove(0).delivery;
    fixture.finish(&quick, Status::Pending, Some(at(500_000))).await;
    fixture.finish(&slow, Status::Pending, Some(at(1))).await;
    fixture.finish(&slow, Status::Exhausted, None).await;
    let kept = fixture.delivery(&slow).await.unwrap();
    assert_eq!((kept.status, kept.attempt_count, kept.next_attempt_at), (Status::Pending, 1, Some(at(500_000))));
    fixture.finish(&slow, Status::Succeeded, None).await;
    let kept = fixture.delivery(&slow).await.unwrap();
    assert_eq!((kept.status, kept.attempt_count, kept.attempts.len()), (Status::Succeeded, 2, 2));
    // And what has ended stays as it ended.
    fixture.finish(&kept, Status::Exhausted, None).await;
    fixture.finish(&kept, Status::Pending, Some(at(1))).await;
    assert_eq!(fixture.delivery(&slow).await.unwrap(), kept);
    assert_eq!(fixture.has_work(at(900_000)).await, Vec::<u128>::new());
}

pub(super) async fn since_when_an_endpoint_fails_is_noted(fixture: &Fixture) {
    let endpoint = endpoint("acme", 1);
    fixture.create(&endpoint).await;
    let messages: Vec<Message> = (0..6).map(|number| message("acme", 1, number)).collect();
    fixture.apply(&messages, &endpoint).await;
    let result = |number: usize, status: Status, moment: i64| Finished {
        attempt: Some(Attempt { at: at(moment), ..attempt(0, status) }),
        ..finished(&delivery(&messages[number], &endpoint), status, (status == Status::Pending).then(soon))
    };
    let since = async || fixture.store.endpoint(&acme(), endpoint.endpoint_id).await.unwrap().unwrap().failing_since;
    let version = async || fixture.store.endpoints_version().await.unwrap();
    let before = version().await;
    fixture.store.finish(&[result(0, Status::Succeeded, 1)]).await.unwrap();
    assert_eq!((since().await, version().await), (None, before));
    fixture.store.finish(&[result(1, Status::Pending, 11), result(2, Status::Exhausted, 10)]).await.unwrap();
    assert_eq!(since().await, Some(at(10)));
    assert_eq!(version().await, before, "whoever keeps endpoints in memory need not read them again");
    fixture.store.finish(&[result(3, Status::Failed, 20)]).await.unwrap();
    assert_eq!(since().await, Some(at(10)));
    fixture.store.finish(&[result(4, Status::Succeeded, 30)]).await.unwrap();
    assert_eq!(since().await, None);
    fixture.store.finish(&[result(1, Status::Pending, 31)]).await.unwrap();
    // A success and a failure after it, in one batch.
    let again = Finished { attempt_count: 1, ..result(1, Status::Pending, 42) };
    fixture.store.finish(&[again, result(5, Status::Succeeded, 41)]).await.unwrap();
    assert_eq!(since().await, Some(at(42)));
    let untried = Finished { attempt: None, ..result(1, Status::Pending, 0) };
    fixture.store.finish(&[untried]).await.unwrap();
    assert_eq!(since().await, Some(at(42)));
    // A person's change leaves it; to enable what was disabled begins anew.
    let kept = fixture.store.endpoint(&acme(), endpoint.endpoint_id).await.unwrap().unwrap();
    let change = |revision, enabled| Endpoint { revision, enabled, failing_since: None, ..kept.clone() };
    for (change, expected) in [(change(2, true), Some(at(42))), (change(3, false), Some(at(42))), (change(4, true), None)] {
        assert!(fixture.store.replace_endpoint(&change).await.unwrap());
        assert_eq!(since().await, expected);
    }
}

pub(super) async fn what_is_removed_while_it_is_claimed_stays_removed(fixture: &Fixture) {
    let endpoint = endpoint("acme", 1);
    fixture.create(&endpoint).await;
    let messages = [message("acme", 1, 1), message("acme", 1, 2)];
    fixture.apply(&messages, &endpoint).await;
    let claimed = fixture.claim(&endpoint, soon()).await;
    assert!(fixture.store.delete_endpoint(&acme(), endpoint.endpoint_id).await.unwrap());
    fixture.finish(&claimed[0].delivery, Status::Succeeded, None).await;
    fixture.finish(&claimed[1].delivery, Status::Pending, Some(at(0))).await;
    assert_eq!(fixture.claim(&endpoint, at(900_000)).await, []);
    assert_eq!(fixture.has_work(at(900_000)).await, Vec::<u128>::new());
    assert_eq!(fixture.store.backlog(at(900_000)).await.unwrap(), (0, None));
    for claimed in &claimed {
        assert_eq!(fixture.delivery(&claimed.delivery).await, None);
        let delivery = &claimed.delivery;
        assert!(!fixture.store.retry(&acme(), endpoint.endpoint_id, delivery.delivery_id, at(0)).await.unwrap());
    }
    let page = fixture.store.page_of_deliveries(&acme(), endpoint.endpoint_id, &Default::default(), None, 10).await.unwrap();
    assert_eq!(page, []);
    assert_eq!(fixture.apply(&[message("acme", 1, 3)], &endpoint).await, BTreeSet::new());
}

pub(super) async fn what_is_pending_fails_with_its_endpoint(fixture: &Fixture) {
    for (number, by_a_person) in [(1, false), (2, true)] {
        let endpoint = endpoint("acme", number);
        fixture.create(&endpoint).await;
        let messages = [message("acme", number, 1), message("acme", number, 2)];
        fixture.apply(&messages, &endpoint).await;
        let claimed = fixture.claim(&endpoint, soon()).await.remove(0).delivery;
        if by_a_person {
            let disabled = Endpoint { revision: 2, enabled: false, ..endpoint.clone() };
            assert!(fixture.store.replace_endpoint(&disabled).await.unwrap());
        } else {
            let reason = DisabledReason::Failing;
            assert!(fixture.store.disable_endpoint(&acme(), endpoint.endpoint_id, reason, at(5)).await.unwrap());
            let kept = fixture.store.endpoint(&acme(), endpoint.endpoint_id).await.unwrap().unwrap();
            assert_eq!((kept.enabled, kept.disabled_reason, kept.revision), (false, Some(reason), 1));
        }
        // The worker is late.
        fixture.finish(&claimed, Status::Succeeded, None).await;
        fixture.finish(&claimed, Status::Pending, Some(at(0))).await;
        for message in &messages {
            let kept = fixture.delivery(&delivery(message, &endpoint)).await.unwrap();
            assert_eq!((kept.status, kept.next_attempt_at, kept.attempt_count), (Status::Failed, None, 0));
        }
        assert_eq!(fixture.apply(&[message("acme", number, 3)], &endpoint).await, BTreeSet::new());
        assert!(!fixture.store.retry(&acme(), endpoint.endpoint_id, claimed.delivery_id, at(0)).await.unwrap());
        assert_eq!(fixture.store.recover(&acme(), endpoint.endpoint_id, at(-9), at(9), at(9)).await.unwrap(), 0);
        assert_eq!(fixture.has_work(at(900_000)).await, Vec::<u128>::new());
        assert_eq!(fixture.claim(&endpoint, at(900_000)).await, []);
    }
}

pub(super) async fn a_body_is_kept_once(fixture: &Fixture) {
    let endpoint = endpoint("acme", 1);
    fixture.create(&endpoint).await;
    let snapshot = Message { body: Body::Snapshot, ..message("acme", 1, 1) };
    fixture.apply(std::slice::from_ref(&snapshot), &endpoint).await;
    assert_eq!(fixture.claim(&endpoint, soon()).await[0].message, snapshot);
    let long = Bytes::from("{\"text\":\"".to_owned() + &"a".repeat(100_000) + "\"}");
    fixture.store.keep_body(&snapshot, &long).await.unwrap();
    fixture.store.keep_body(&snapshot, &Bytes::from_static(b"{}")).await.unwrap();
    assert_eq!(fixture.claim(&endpoint, at(120_000)).await[0].message.body, Body::Ready(long));
}

pub(super) async fn a_dead_endpoint_hides_no_other(fixture: &Fixture) {
    let endpoints: Vec<Endpoint> = (1..=3).map(|number| endpoint("acme", number)).collect();
    for endpoint in &endpoints {
        fixture.create(endpoint).await;
    }
    fixture.create(&endpoint("globex", 4)).await;
    let messages: Vec<Message> = (0..300).map(|number| message("acme", u128::from(number), number)).collect();
    fixture.apply(&messages, &endpoints[0]).await;
    let one = message("acme", 1_000, 1_000);
    fixture.apply(std::slice::from_ref(&one), &endpoints[1]).await;
    assert_eq!(fixture.has_work(at(0)).await, Vec::<u128>::new());
    assert_eq!(fixture.has_work(soon()).await, [1, 2]);
    assert_eq!(fixture.store.claim(&endpoints[0], soon(), at(120_000), 5).await.unwrap().len(), 5);
    assert_eq!(fixture.has_work(soon()).await, [1, 2]);
    assert_eq!(fixture.numbers(&endpoints[1], soon()).await, [1_000]);
    assert_eq!(fixture.has_work(soon()).await, [1]);
}

pub(super) async fn the_backlog_is_what_is_pending_and_since_when(fixture: &Fixture) {
    assert_eq!(fixture.store.backlog(at(0)).await.unwrap(), (0, None));
    let endpoint = samples::endpoint("acme", 1);
    fixture.create(&endpoint).await;
    let messages = [message("acme", 1, 1), message("acme", 1, 2)];
    fixture.apply(&messages, &endpoint).await;
    assert_eq!(fixture.store.backlog(at(0)).await.unwrap(), (2, None));
    fixture.finish(&delivery(&messages[0], &endpoint), Status::Pending, Some(at(70_000))).await;
    assert_eq!(fixture.store.backlog(at(100_000)).await.unwrap(), (2, Some(soon())));
    fixture.finish(&delivery(&messages[1], &endpoint), Status::Succeeded, None).await;
    assert_eq!(fixture.store.backlog(at(100_000)).await.unwrap(), (1, Some(at(70_000))));
}
