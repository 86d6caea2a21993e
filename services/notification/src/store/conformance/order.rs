//! Endpoints that are told in order.

use std::collections::HashMap;
use std::sync::Mutex;

use super::*;

fn ordered(number: u128) -> Endpoint {
    Endpoint { ordered: true, ..endpoint("acme", number) }
}

pub(super) async fn the_later_waits_until_the_earlier_has_ended(fixture: &Fixture) {
    let endpoint = ordered(1);
    fixture.create(&endpoint).await;
    let messages =
        [message("acme", 1, 1), message("acme", 1, 2), message("acme", 2, 3), message("acme", 1, 4), message("acme", 1, 5)];
    let of = |number: usize| delivery(&messages[number], &endpoint);
    assert_eq!(fixture.apply(&messages[..4], &endpoint).await, BTreeSet::from([1, 3]));
    assert_eq!(fixture.apply(&messages[4..], &endpoint).await, BTreeSet::new());
    assert_eq!(fixture.numbers(&endpoint, at(0)).await, Vec::<u64>::new());
    // A failure that will be tried again holds its conversation, and no other.
    fixture.finish(&of(0), Status::Pending, Some(at(10))).await;
    assert_eq!(fixture.numbers(&endpoint, at(9)).await, Vec::<u64>::new());
    assert_eq!(fixture.has_work(at(9)).await, Vec::<u128>::new());
    fixture.finish(&of(2), Status::Succeeded, None).await;
    let first = fixture.claim(&endpoint, at(10)).await.remove(0).delivery;
    assert_eq!(first.position, messages[0].position);
    // Exhausted lets the next one go, and that the next one.
    fixture.finish(&first, Status::Exhausted, None).await;
    assert_eq!(fixture.has_work(at(10)).await, [1]);
    assert_eq!(fixture.numbers(&endpoint, at(10)).await, [2]);
    fixture.finish(&of(1), Status::Failed, None).await;
    assert_eq!(fixture.numbers(&endpoint, at(10)).await, [4]);
    // A claim that runs out keeps its place.
    assert_eq!(fixture.numbers(&endpoint, at(70_010)).await, [4]);
    fixture.finish(&of(3), Status::Succeeded, None).await;
    assert_eq!(fixture.numbers(&endpoint, at(10)).await, [5]);
    assert_eq!(fixture.apply(&[message("acme", 1, 6)], &endpoint).await, BTreeSet::new());
    fixture.finish(&of(4), Status::Succeeded, None).await;
    assert_eq!(fixture.numbers(&endpoint, at(10)).await, [6]);
}

pub(super) async fn what_lies_beyond_a_gap_waits(fixture: &Fixture) {
    let (endpoint, unordered) = (ordered(1), super::endpoint("acme", 2));
    fixture.create(&endpoint).await;
    fixture.create(&unordered).await;
    let messages: Vec<Message> = [(1, 1), (1, 3), (2, 4), (1, 5)].map(|(c, number)| message("acme", c, number)).to_vec();
    assert_eq!(fixture.apply_through(&messages[1..], &endpoint, 0).await, BTreeSet::new());
    assert_eq!(fixture.apply_through(&[message("acme", 9, 6)], &unordered, 0).await, BTreeSet::from([6]));
    assert_eq!(fixture.has_work(soon()).await, [2]);
    // The gap is closed by another replica.
    assert_eq!(fixture.apply_through(&messages[..1], &endpoint, 4).await, BTreeSet::from([1]));
    assert_eq!(fixture.numbers(&endpoint, at(0)).await, [4]);
    fixture.finish(&delivery(&messages[0], &endpoint), Status::Succeeded, None).await;
    assert_eq!(fixture.numbers(&endpoint, at(0)).await, [3]);
    fixture.finish(&delivery(&messages[1], &endpoint), Status::Succeeded, None).await;
    // What is first now lies beyond again, until the position has passed it.
    assert_eq!(fixture.has_work(at(0)).await, Vec::<u128>::new());
    assert_eq!(fixture.apply_through(&[], &endpoint, 5).await, BTreeSet::new());
    assert_eq!(fixture.numbers(&endpoint, at(0)).await, [5]);
}

pub(super) async fn what_comes_late_goes_first_but_not_beside(fixture: &Fixture) {
    let endpoint = ordered(1);
    fixture.create(&endpoint).await;
    let messages: Vec<Message> = (1..=3).map(|number| message("acme", 1, number)).collect();
    assert_eq!(fixture.apply(&messages[1..], &endpoint).await, BTreeSet::from([2]));
    assert_eq!(fixture.apply_through(&messages[..1], &endpoint, 3).await, BTreeSet::new());
    assert_eq!(fixture.has_work(at(0)).await, Vec::<u128>::new());
    fixture.finish(&delivery(&messages[1], &endpoint), Status::Succeeded, None).await;
    assert_eq!(fixture.numbers(&endpoint, at(0)).await, [1]);
    fixture.finish(&delivery(&messages[0], &endpoint), Status::Succeeded, None).await;
    assert_eq!(fixture.numbers(&endpoint, at(0)).await, [3]);
    // Tried again, all of them, in their order.
    fixture.finish(&delivery(&messages[2], &endpoint), Status::Succeeded, None).await;
    let deliveries: Vec<Delivery> = messages.iter().rev().map(|message| delivery(message, &endpoint)).collect();
    fixture.store.add(&messages, &deliveries, at(7)).await.unwrap();
    for number in 1..=3 {
        let claimed = fixture.claim(&endpoint, at(7)).await;
        assert_eq!(claimed.iter().map(|one| one.delivery.position.sequence()).collect::<Vec<_>>(), [number]);
        fixture.finish(&claimed[0].delivery, Status::Succeeded, None).await;
    }
    assert_eq!(fixture.numbers(&endpoint, at(7)).await, Vec::<u64>::new());
}

pub(super) async fn order_can_be_asked_for_and_given_up(fixture: &Fixture) {
    let endpoint = endpoint("acme", 1);
    fixture.create(&endpoint).await;
    let messages: Vec<Message> = (1..=4).map(|number| message("acme", 1, number)).collect();
    fixture.apply(&messages, &endpoint).await;
    let of = |number: usize| delivery(&messages[number], &endpoint);
    for number in [1, 2, 3] {
        fixture.finish(&of(number), Status::Pending, Some(at(20))).await;
    }
    let in_order = Endpoint { ordered: true, revision: 2, ..endpoint.clone() };
    assert!(fixture.store.replace_endpoint(&in_order).await.unwrap());
    // One is still claimed.
    assert_eq!(fixture.has_work(at(30)).await, Vec::<u128>::new());
    fixture.finish(&of(0), Status::Succeeded, None).await;
    assert_eq!(fixture.numbers(&in_order, at(30)).await, [2]);
    let in_no_order = Endpoint { ordered: false, revision: 3, ..endpoint.clone() };
    assert!(fixture.store.replace_endpoint(&in_no_order).await.unwrap());
    assert_eq!(fixture.numbers(&in_no_order, at(30)).await, [3, 4]);
    let again = Endpoint { ordered: true, revision: 4, ..in_no_order };
    for number in [1, 2, 3] {
        fixture.finish(&Delivery { attempt_count: u32::from(number > 0), ..of(number) }, Status::Pending, Some(at(40))).await;
    }
    assert!(fixture.store.replace_endpoint(&again).await.unwrap());
    assert_eq!(fixture.numbers(&again, at(40)).await, [2]);
}

/// What a receiver would see: of each conversation what is being sent, and what was sent last.
#[derive(Default)]
struct Receiver {
    sending: HashMap<u128, u64>,
    last: HashMap<u128, u64>,
    count: usize,
}

impl Receiver {
    fn begin(&mut self, delivery: &Delivery) {
        let (conversation, number) = (delivery.conversation_id.0.as_u128(), delivery.position.sequence());
        assert_eq!(self.sending.insert(conversation, number), None, "{number} is sent beside another of {conversation}");
        let last = self.last.insert(conversation, number);
        assert!(last.is_none_or(|last| last < number), "{number} of {conversation} comes after {last:?}");
        self.count += 1;
    }

    fn end(&mut self, delivery: &Delivery) {
        self.sending.remove(&delivery.conversation_id.0.as_u128());
    }
}

const RECORDS: u64 = 240;

/// What replicas know of each other's progress: which records are committed, and up to where there is no gap.
#[derive(Default)]
struct Progress {
    committed: BTreeSet<u64>,
}

impl Progress {
    fn through(&self, with: &[u64]) -> u64 {
        (1..=RECORDS).take_while(|number| self.committed.contains(number) || with.contains(number)).last().unwrap_or(0)
    }
}

pub(super) async fn replicas_that_read_and_send_at_once_keep_the_order(fixture: &Fixture) {
    let endpoint = ordered(1);
    fixture.create(&endpoint).await;
    let (receiver, progress) = (Arc::new(Mutex::new(Receiver::default())), Arc::new(Mutex::new(Progress::default())));
    let mut tasks = tokio::task::JoinSet::new();
    for replica in 0..3_u64 {
        let (store, endpoint) = (Arc::clone(&fixture.store), endpoint.clone());
        let (receiver, progress) = (Arc::clone(&receiver), Arc::clone(&progress));
        tasks.spawn(async move {
            // The log hands each replica its share, in batches; each commits when it does.
            let mine: Vec<u64> = (1..=RECORDS).filter(|number| (number / 5) % 3 == replica).collect();
            for numbers in mine.chunks(7) {
                let messages: Vec<Message> =
                    numbers.iter().map(|number| message("acme", u128::from(1 + number % 4), *number)).collect();
                let batch = batch(&messages, &[&endpoint]);
                let through = progress.lock().unwrap().through(numbers);
                let claimed = store.apply(&batch, Position::end_of(through), soon(), &|_| ()).await.unwrap();
                let claimed: Vec<&Delivery> =
                    batch.deliveries.iter().filter(|delivery| claimed.contains(&delivery.delivery_id)).collect();
                claimed.iter().for_each(|delivery| receiver.lock().unwrap().begin(delivery));
                progress.lock().unwrap().committed.extend(numbers);
                tokio::task::yield_now().await;
                claimed.iter().for_each(|delivery| receiver.lock().unwrap().end(delivery));
                let results: Vec<Finished> = claimed.iter().map(|delivery| finished(delivery, Status::Succeeded, None)).collect();
                store.finish(&results).await.unwrap();
            }
            // Then it learns how far the others are, and the view moves on.
            let through = progress.lock().unwrap().through(&[]);
            store.apply(&Batch::default(), Position::end_of(through), soon(), &|_| ()).await.unwrap();
        });
    }
    for _ in 0..3 {
        let (store, endpoint, receiver) = (Arc::clone(&fixture.store), endpoint.clone(), Arc::clone(&receiver));
        tasks.spawn(async move {
            let limit = std::time::Instant::now() + std::time::Duration::from_secs(60);
            while receiver.lock().unwrap().count < RECORDS as usize {
                assert!(std::time::Instant::now() < limit, "{} were sent", receiver.lock().unwrap().count);
                let claimed = store.claim(&endpoint, at(0), soon(), 3).await.unwrap();
                claimed.iter().for_each(|one| receiver.lock().unwrap().begin(&one.delivery));
                tokio::task::yield_now().await;
                claimed.iter().for_each(|one| receiver.lock().unwrap().end(&one.delivery));
                let results: Vec<Finished> = claimed.iter().map(|one| finished(&one.delivery, Status::Succeeded, None)).collect();
                store.finish(&results).await.unwrap();
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    assert_eq!(fixture.store.backlog(soon()).await.unwrap(), (0, None));
}

pub(super) async fn what_is_about_no_conversation_waits_for_nothing(fixture: &Fixture) {
    let endpoint = endpoint("acme", 1);
    fixture.create(&endpoint).await;
    let messages: Vec<Message> = (1..=3).map(|number| message("acme", 0, number)).collect();
    let deliveries: Vec<Delivery> = messages.iter().map(|message| delivery(message, &endpoint)).collect();
    fixture.store.add(&messages[..2], &deliveries[..2], at(0)).await.unwrap();
    let in_order = Endpoint { ordered: true, revision: 2, ..endpoint.clone() };
    assert!(fixture.store.replace_endpoint(&in_order).await.unwrap());
    fixture.store.add(&messages[2..], &deliveries[2..], at(0)).await.unwrap();
    assert_eq!(fixture.numbers(&in_order, at(0)).await, [1, 2, 3]);
    for delivery in &deliveries {
        fixture.finish(delivery, Status::Exhausted, None).await;
    }
    assert_eq!(fixture.store.recover(&acme(), endpoint.endpoint_id, at(0), at(1), at(5)).await.unwrap(), 3);
    assert_eq!(fixture.numbers(&in_order, at(5)).await, [1, 2, 3]);
}

/// One worker ends the first of a lane, whose next lies beyond a gap, while a replica closes the gap: again and again, since it
/// depends on the moment.
pub(super) async fn a_mark_made_while_the_position_moves_is_seen(fixture: &Fixture) {
    let endpoint = ordered(1);
    fixture.create(&endpoint).await;
    for round in 0..100_u64 {
        let [first, gap, beyond] = [1, 2, 3].map(|number| 3 * round + number);
        let messages = [first, beyond].map(|number| message("acme", u128::from(first), number));
        assert_eq!(fixture.apply_through(&messages, &endpoint, first).await, BTreeSet::from([first]));
        let end = async {
            tokio::time::sleep(std::time::Duration::from_micros(100 * (round % 20))).await;
            fixture.finish(&delivery(&messages[0], &endpoint), Status::Succeeded, None).await;
        };
        let close = async {
            tokio::time::sleep(std::time::Duration::from_micros(100 * (round / 5))).await;
            fixture.apply_through(&[message("acme", u128::from(gap), gap)], &endpoint, beyond).await
        };
        let ((), mut claimed) = tokio::join!(end, close);
        assert!(claimed.remove(&gap));
        if claimed.is_empty() {
            assert_eq!(fixture.numbers(&endpoint, at(0)).await, [beyond], "it waits for what has come");
        }
        for message in [messages[1].clone(), message("acme", u128::from(gap), gap)] {
            fixture.finish(&delivery(&message, &endpoint), Status::Succeeded, None).await;
        }
    }
}
