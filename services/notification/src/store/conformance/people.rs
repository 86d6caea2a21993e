//! What people see and do.

use super::super::DeliveryFilter;
use super::*;

impl Fixture {
    async fn list(&self, endpoint: &Endpoint, filter: DeliveryFilter, limit: u32) -> Vec<u64> {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let id = endpoint.endpoint_id;
            let page = self.store.page_of_deliveries(&endpoint.organization_id, id, &filter, after, limit).await.unwrap();
            assert!(page.len() <= limit as usize);
            let Some(last) = page.last() else { return seen };
            after = Some(Place { created_at: last.created_at, id: last.delivery_id });
            seen.extend(page.iter().map(|delivery| delivery.position.sequence()));
        }
    }
}

pub(super) async fn lists_show_what_is_asked_for_newest_first(fixture: &Fixture) {
    let endpoint = endpoint("acme", 1);
    fixture.create(&endpoint).await;
    let types = ["conversation.ended", "alert.opened", "turn.added"];
    let statuses = Status::ALL;
    for number in 0..60_u64 {
        let told =
            Message { event_type: types[number as usize % 3].to_owned(), ..message("acme", u128::from(number % 5), number) };
        let made = Delivery { created_at: at(number as i64 / 2), ..delivery(&told, &endpoint) };
        let batch = Batch { messages: vec![told], deliveries: vec![made.clone()], ..Batch::default() };
        fixture.store.apply(&batch, Position::end_of(number), soon(), &|_| ()).await.unwrap();
        let status = statuses[number as usize % 4];
        fixture.finish(&made, status, (status == Status::Pending).then(soon)).await;
    }
    let expected = |wanted: &dyn Fn(u64) -> bool| -> Vec<u64> {
        let mut numbers: Vec<(i64, Uuid, u64)> = (0..60_u64)
            .filter(|number| wanted(*number))
            .map(|number| {
                let told = message("acme", u128::from(number % 5), number);
                (number as i64 / 2, delivery(&told, &endpoint).delivery_id, number)
            })
            .collect();
        numbers.sort_unstable();
        numbers.into_iter().rev().map(|(.., number)| number).collect()
    };
    for limit in [1, 7, 100] {
        assert_eq!(fixture.list(&endpoint, DeliveryFilter::default(), limit).await, expected(&|_| true));
        for (place, status) in statuses.into_iter().enumerate() {
            let filter = DeliveryFilter { status: Some(status), ..DeliveryFilter::default() };
            assert_eq!(fixture.list(&endpoint, filter, limit).await, expected(&|number| number as usize % 4 == place));
        }
        let filter = DeliveryFilter { event_type: Some(types[1].to_owned()), ..DeliveryFilter::default() };
        assert_eq!(fixture.list(&endpoint, filter, limit).await, expected(&|number| number % 3 == 1));
        let filter = DeliveryFilter { conversation_id: Some(ConversationId(Uuid::from_u128(2))), ..DeliveryFilter::default() };
        assert_eq!(fixture.list(&endpoint, filter, limit).await, expected(&|number| number % 5 == 2));
        let filter = DeliveryFilter {
            status: Some(statuses[1]),
            conversation_id: Some(ConversationId(Uuid::from_u128(2))),
            event_type: Some(types[2].to_owned()),
        };
        let wanted = |number| number % 4 == 1 && number % 5 == 2 && number % 3 == 2;
        assert_eq!(fixture.list(&endpoint, filter, limit).await, expected(&wanted));
    }
}

pub(super) async fn organizations_and_endpoints_do_not_see_each_other(fixture: &Fixture) {
    let (ours, other, theirs) = (endpoint("acme", 1), endpoint("acme", 2), endpoint("globex", 1));
    for endpoint in [&ours, &other, &theirs] {
        fixture.create(endpoint).await;
    }
    let told = message("acme", 1, 1);
    fixture.apply(std::slice::from_ref(&told), &ours).await;
    let made = delivery(&told, &ours);
    for endpoint in [&other, &theirs] {
        let organization = &endpoint.organization_id;
        assert_eq!(fixture.list(endpoint, DeliveryFilter::default(), 10).await, Vec::<u64>::new());
        assert_eq!(fixture.store.delivery(organization, endpoint.endpoint_id, made.delivery_id).await.unwrap(), None);
        assert_eq!(fixture.claim(endpoint, soon()).await, []);
    }
    fixture.finish(&made, Status::Exhausted, None).await;
    for endpoint in [&other, &theirs] {
        let organization = &endpoint.organization_id;
        assert!(!fixture.store.retry(organization, endpoint.endpoint_id, made.delivery_id, at(0)).await.unwrap());
        assert_eq!(fixture.store.recover(organization, endpoint.endpoint_id, at(-9), at(9), at(9)).await.unwrap(), 0);
    }
    // The same message of two organizations is two.
    let theirs_too = Message { organization_id: "globex".parse().unwrap(), ..told };
    assert_eq!(fixture.apply(&[theirs_too], &theirs).await, BTreeSet::from([1]));
    assert!(fixture.store.delete_endpoint(&"globex".parse().unwrap(), theirs.endpoint_id).await.unwrap());
    assert_eq!(fixture.delivery(&made).await.unwrap().status, Status::Exhausted);
}

pub(super) async fn a_delivery_that_has_ended_can_be_tried_again(fixture: &Fixture) {
    let endpoint = endpoint("acme", 1);
    fixture.create(&endpoint).await;
    let told = message("acme", 1, 1);
    fixture.apply(std::slice::from_ref(&told), &endpoint).await;
    let made = delivery(&told, &endpoint);
    let retry = async |now| fixture.store.retry(&acme(), endpoint.endpoint_id, made.delivery_id, now).await.unwrap();
    let mut attempts = 0;
    for status in [Status::Exhausted, Status::Failed, Status::Succeeded] {
        fixture.finish(&Delivery { attempt_count: attempts, ..made.clone() }, status, None).await;
        attempts += 1;
        assert!(retry(at(2)).await);
        // It is due already.
        assert!(retry(at(3)).await);
        let kept = fixture.delivery(&made).await.unwrap();
        assert_eq!((kept.status, kept.schedule_attempts, kept.attempt_count), (Status::Pending, 0, attempts));
        assert_eq!((kept.next_attempt_at, kept.attempts.len()), (Some(at(2)), attempts as usize));
        assert_eq!(fixture.numbers(&endpoint, at(2)).await, [1]);
    }
    let nobody = Uuid::from_u128(99);
    assert!(!fixture.store.retry(&acme(), endpoint.endpoint_id, nobody, at(0)).await.unwrap());
}

pub(super) async fn what_waits_for_its_next_attempt_can_be_tried_now(fixture: &Fixture) {
    let endpoint = endpoint("acme", 1);
    fixture.create(&endpoint).await;
    let told = message("acme", 1, 1);
    fixture.apply(std::slice::from_ref(&told), &endpoint).await;
    let made = delivery(&told, &endpoint);
    let retry = async |now| fixture.store.retry(&acme(), endpoint.endpoint_id, made.delivery_id, now).await.unwrap();
    // Somebody has claimed it.
    assert!(retry(at(1)).await);
    assert_eq!(fixture.delivery(&made).await.unwrap(), made);
    assert_eq!(fixture.numbers(&endpoint, at(1)).await, Vec::<u64>::new());
    fixture.finish(&made, Status::Pending, Some(at(900_000))).await;
    let failed = fixture.delivery(&made).await.unwrap();
    assert!(retry(at(2)).await);
    assert_eq!(fixture.delivery(&made).await.unwrap(), Delivery { next_attempt_at: Some(at(2)), ..failed });
    let claimed = fixture.claim(&endpoint, at(2)).await.remove(0).delivery;
    assert_eq!((claimed.schedule_attempts, claimed.attempt_count), (1, 1));
    assert!(retry(at(3)).await);
    assert_eq!(fixture.numbers(&endpoint, at(3)).await, Vec::<u64>::new());
    fixture.finish(&claimed, Status::Succeeded, None).await;
    assert_eq!(fixture.delivery(&made).await.unwrap().attempt_count, 2);
}

pub(super) async fn of_what_is_told_in_order_only_the_first_is_tried_now(fixture: &Fixture) {
    let endpoint = Endpoint { ordered: true, ..endpoint("acme", 1) };
    fixture.create(&endpoint).await;
    let messages = [message("acme", 1, 1), message("acme", 1, 2)];
    fixture.apply(&messages, &endpoint).await;
    let [first, second] = [0, 1].map(|number| delivery(&messages[number], &endpoint));
    fixture.finish(&first, Status::Pending, Some(at(900_000))).await;
    let retry =
        async |one: &Delivery| assert!(fixture.store.retry(&acme(), endpoint.endpoint_id, one.delivery_id, at(2)).await.unwrap());
    retry(&second).await;
    assert_eq!(fixture.numbers(&endpoint, at(2)).await, Vec::<u64>::new());
    assert_eq!(fixture.store.recover(&acme(), endpoint.endpoint_id, at(-9), at(9), at(2)).await.unwrap(), 1);
    assert_eq!(fixture.numbers(&endpoint, at(2)).await, [1]);
    retry(&first).await;
    assert_eq!(fixture.numbers(&endpoint, at(2)).await, Vec::<u64>::new());
}

pub(super) async fn everything_missed_in_a_stretch_of_time_is_tried_again(fixture: &Fixture) {
    let endpoint = Endpoint { ordered: true, ..endpoint("acme", 1) };
    fixture.create(&endpoint).await;
    let types = ["conversation.ended", "turn.added"];
    for number in 0..40_u64 {
        let told = Message { event_type: types[number as usize % 2].to_owned(), ..message("acme", u128::from(number), number) };
        let made = Delivery { created_at: at(number as i64), ..delivery(&told, &endpoint) };
        let batch = Batch { messages: vec![told], deliveries: vec![made.clone()], ..Batch::default() };
        fixture.store.apply(&batch, Position::end_of(number), soon(), &|_| ()).await.unwrap();
        let status =
            [Status::Succeeded, Status::Failed, Status::Exhausted, Status::Exhausted, Status::Pending][number as usize % 5];
        fixture.finish(&made, status, (status == Status::Pending).then_some(at(1_000_000))).await;
    }
    let recover = async |since, until, now| {
        fixture.store.recover(&acme(), endpoint.endpoint_id, at(since), at(until), at(now)).await.unwrap()
    };
    // Of then, twelve were given up, and four wait for their next attempt.
    assert_eq!(recover(10, 30, 50).await, 16);
    assert_eq!(recover(10, 30, 50).await, 0);
    let mut due = fixture.numbers(&endpoint, at(50)).await;
    due.sort_unstable();
    let missed: Vec<u64> = (10..30).filter(|number| number % 5 != 0).collect();
    assert_eq!(due, missed);
    assert_eq!(recover(-100, 100, 50).await, 16);
}

pub(super) async fn what_is_added_again_is_due_again(fixture: &Fixture) {
    let endpoint = endpoint("acme", 1);
    fixture.create(&endpoint).await;
    let messages: Vec<Message> = (1..=3).map(|number| message("acme", 1, number)).collect();
    let deliveries: Vec<Delivery> = messages.iter().map(|message| delivery(message, &endpoint)).collect();
    fixture.apply(&messages[..2], &endpoint).await;
    fixture.finish(&deliveries[0], Status::Succeeded, None).await;
    // One has ended, one is claimed, one is new; and of a message that is there the kept one counts.
    let other: Vec<Message> =
        messages.iter().map(|message| Message { body: crate::message::Body::Snapshot, ..message.clone() }).collect();
    fixture.store.add(&other, &deliveries, at(5)).await.unwrap();
    let claimed = fixture.claim(&endpoint, at(5)).await;
    let numbers: Vec<u64> = claimed.iter().map(|one| one.delivery.position.sequence()).collect();
    assert_eq!(numbers, [3, 1]);
    assert_eq!(claimed[1].message, messages[0]);
    assert_eq!((claimed[1].delivery.schedule_attempts, claimed[1].delivery.attempt_count), (0, 1));
    fixture.store.add(&[], &[], at(5)).await.unwrap();
}

pub(super) async fn trying_again_does_not_grow_without_end(fixture: &Fixture) {
    let endpoint = endpoint("acme", 1);
    fixture.create(&endpoint).await;
    let told = message("acme", 1, 1);
    fixture.apply(std::slice::from_ref(&told), &endpoint).await;
    let made = delivery(&told, &endpoint);
    for attempt_count in 0..60 {
        fixture.finish(&Delivery { attempt_count, ..made.clone() }, Status::Failed, None).await;
        assert!(fixture.store.retry(&acme(), endpoint.endpoint_id, made.delivery_id, at(0)).await.unwrap());
    }
    let kept = fixture.delivery(&made).await.unwrap();
    assert_eq!((kept.attempt_count, kept.attempts.len()), (60, 20));
    let sql = "select attempts from pending";
    let text: String = match &fixture.database {
        Database::Sqlite(sqlite) => sqlx::query_scalar(sql).fetch_one(sqlite.readers()).await.unwrap(),
        Database::Postgres(pool) => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
    };
    assert_eq!(text.lines().count(), 20);
}

pub(super) async fn however_much_was_missed_is_tried_again_in_its_order(fixture: &Fixture) {
    let endpoint = Endpoint { ordered: true, ..endpoint("acme", 1) };
    fixture.create(&endpoint).await;
    let messages: Vec<Message> = (1..=2_300).map(|number| message("acme", 1 + u128::from(number) % 3, number)).collect();
    fixture.apply(&messages, &endpoint).await;
    let results: Vec<Finished> =
        messages.iter().map(|message| finished(&delivery(message, &endpoint), Status::Exhausted, None)).collect();
    fixture.store.finish(&results).await.unwrap();
    let recovered = fixture.store.recover(&acme(), endpoint.endpoint_id, at(0), at(1), at(5)).await.unwrap();
    assert_eq!(recovered, 2_300);
    assert_eq!(fixture.store.backlog(at(5)).await.unwrap(), (2_300, Some(at(5))));
    let mut first = fixture.numbers(&endpoint, at(5)).await;
    first.sort_unstable();
    assert_eq!(first, [1, 2, 3]);
}
