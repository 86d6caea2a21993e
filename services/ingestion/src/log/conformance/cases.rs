//! The cases, each over a log of its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use colloquy_events::{Data, Event, Facts, Record, Role, Turn};
use colloquy_types::{ConversationId, EventId, OrganizationId, Position, Provider, RecordId, Timestamp, TurnId};
use futures::StreamExt;
use futures::future::join_all;

use super::harness::{LIMIT, Subject, next, received_at};
use crate::log::{Batch, Consumer, LogError, LogSettings, NewRecord, ReadRequest, TailRequest, Tailed};

fn organization(name: &str) -> OrganizationId {
    name.parse().unwrap()
}

fn turn(conversation_id: ConversationId, text: &str) -> Event {
    let data = Data::TurnAdded(Turn { text: Some(text.to_owned()), ..Turn::new(TurnId::generate(), Role::User) });
    event(conversation_id, data)
}

fn event(conversation_id: ConversationId, data: Data) -> Event {
    Event {
        event_id: EventId::generate(),
        conversation_id,
        provider: Provider::Vapi,
        external_id: format!("call_{conversation_id}"),
        occurred_at: Timestamp::from_millis(1_772_463_600_001).unwrap(),
        ordinal: 0,
        data,
    }
}

fn record_of(organization_id: &str, events: Vec<Event>) -> NewRecord {
    let organization_id = organization(organization_id);
    NewRecord::from(Record {
        record_id: RecordId::derive(&organization_id, events.iter().map(|event| event.event_id)),
        organization_id,
        source_id: None,
        received_at: Timestamp::from_millis(1_772_463_600_123).unwrap(),
        events,
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
        sequence: 0,
    })
}

fn record(events: Vec<Event>) -> NewRecord {
    record_of("acme", events)
}

/// A record with `count` turns of a conversation of its own.
pub(super) fn turns(count: usize) -> NewRecord {
    let conversation = ConversationId::generate();
    record((0..count).map(|index| turn(conversation, &format!("turn {index}"))).collect())
}

/// What is in the log, record by record.
async fn all(subject: &Subject) -> Vec<Record> {
    let mut records = Vec::new();
    let mut after = Position::START;
    loop {
        let request = ReadRequest { after, through: Position(u64::MAX), organization: None, max_events: 1_000 };
        let page = subject.log.read(request).await.unwrap();
        records.extend(page.records.iter().map(|record| record.to_record().unwrap()));
        if page.through == after {
            return records;
        }
        after = page.through;
    }
}

fn with_sequence(new: &NewRecord, sequence: u64) -> Record {
    Record { sequence, ..new.record.clone() }
}

fn sequences(batch: &Batch) -> Vec<u64> {
    batch.records.iter().map(|record| record.sequence).collect()
}

/// Takes batches, acknowledging each, until `count` records have come.
async fn take(consumer: &mut Box<dyn Consumer>, count: usize) -> Vec<u64> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let batch = next(consumer).await;
        taken.extend(sequences(&batch));
        consumer.acknowledge(batch.batch_id);
    }
    taken
}

/// Lets a consumer of which nothing is expected go on with what it has to say.
async fn consumer_pause(consumer: &mut Box<dyn Consumer>) {
    let _ = tokio::time::timeout(Duration::from_millis(5), consumer.next()).await;
}

/// Checks that nothing comes. What is in the log goes out at once, so a moment is long enough to see it.
async fn assert_idle(consumer: &mut Box<dyn Consumer>) {
    let waited = tokio::time::timeout(Duration::from_millis(150), consumer.next()).await;
    assert!(waited.is_err(), "nothing is due, but there came {waited:?}");
}

pub(crate) async fn what_was_answered_survives_a_crash(subject: Subject) {
    let records = vec![turns(3), turns(1)];
    let appended = subject.append(records.clone()).await;
    assert_eq!((appended.accepted, appended.duplicates, appended.position), (4, 0, Position::new(2, 0)));
    let subject = subject.crash().await;
    assert_eq!(all(&subject).await, [with_sequence(&records[0], 1), with_sequence(&records[1], 2)]);
    assert_eq!(subject.append(vec![turns(2)]).await.position, Position::new(3, 1));
}

pub(crate) async fn repeats_vanish_and_answer_where_the_first_ones_are(subject: Subject) {
    let (first, second) = (turns(3), turns(1));
    let appended = subject.append(vec![first.clone()]).await;
    subject.append(vec![second]).await;
    let again = subject.append(vec![first.clone()]).await;
    assert_eq!((again.accepted, again.duplicates), (0, 3));
    assert!(again.position >= appended.position && again.position.sequence() == 1, "{}", again.position);
    let subject = subject.crash().await;
    assert_eq!(subject.append(vec![first]).await.duplicates, 3);
    assert_eq!(all(&subject).await.len(), 2);
}

pub(crate) async fn repeats_within_one_append_vanish(subject: Subject) {
    let once = turns(2);
    let mut twice = once.clone();
    twice.record.events.extend(once.record.events.clone());
    let appended = subject.append(vec![twice, once.clone()]).await;
    assert_eq!((appended.accepted, appended.duplicates, appended.position.sequence()), (2, 4, 1));
    assert_eq!(all(&subject).await, [with_sequence(&once, 1)]);
}

pub(crate) async fn only_what_is_new_of_a_record_is_written(subject: Subject) {
    let first = turns(2);
    let conversation = first.record.events[0].conversation_id;
    subject.append(vec![first.clone()]).await;
    let mut events = first.record.events.clone();
    events.insert(1, turn(conversation, "new"));
    let mixed = record(events.clone());
    let appended = subject.append(vec![mixed.clone()]).await;
    assert_eq!((appended.accepted, appended.duplicates, appended.position), (1, 2, Position::new(2, 0)));
    let mut written = with_sequence(&mixed, 2);
    written.events = vec![events.swap_remove(1)];
    assert_eq!(all(&subject).await[1], written);
}

pub(crate) async fn one_event_id_in_two_organizations_is_two_events(subject: Subject) {
    let own = turns(1);
    let other = record_of("other", own.record.events.clone());
    assert_eq!(subject.append(vec![own, other]).await.accepted, 2);
}

pub(crate) async fn concurrent_appends_get_ascending_positions_without_gaps(subject: Subject) {
    let log = &subject.log;
    let appends = (0..200).map(|_| async { log.append(vec![turns(1), turns(2)]).await.unwrap().position.sequence() });
    let ends: BTreeSet<u64> = join_all(appends).await.into_iter().collect();
    assert_eq!(ends, (1..=200).map(|append| append * 2).collect());
    let read: Vec<u64> = all(&subject).await.iter().map(|record| record.sequence).collect();
    assert_eq!(read, (1..=400).collect::<Vec<_>>());
}

pub(crate) async fn concurrent_repeats_are_written_once(subject: Subject) {
    let same = turns(5);
    let appends = (0..50).map(|_| subject.append(vec![same.clone()]));
    let appended = join_all(appends).await;
    assert_eq!(appended.iter().map(|appended| appended.accepted).sum::<u32>(), 5);
    assert!(appended.iter().all(|appended| appended.position.sequence() == 1));
    assert_eq!(all(&subject).await, [with_sequence(&same, 1)]);
}

pub(crate) async fn a_full_queue_refuses_and_loses_nothing(subject: Subject) {
    let settings = LogSettings { queue_appends: 2, queue_bytes: 16 << 10, ..LogSettings::default() };
    let subject = subject.restart(settings).await;
    let appends = (0..300).map(|_| subject.log.append(vec![turns(4)]));
    let (mut kept, mut refused) = (0, 0);
    for answer in tokio::time::timeout(LIMIT, join_all(appends)).await.expect("nothing waits for ever") {
        match answer {
            Ok(appended) => kept += appended.accepted as usize,
            Err(LogError::QueueFull) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 0, "the queue was never full");
    assert_eq!(all(&subject).await.iter().map(|record| record.events.len()).sum::<usize>(), kept);
    assert_eq!(subject.append(vec![turns(1)]).await.accepted, 1);
}

pub(crate) async fn a_record_too_large_for_any_message_is_refused(subject: Subject) {
    let huge = record(vec![turn(ConversationId::generate(), &"x".repeat((63 << 20) + 100_000))]);
    assert!(matches!(subject.log.append(vec![huge]).await, Err(LogError::RecordTooLarge { .. })));
    assert_eq!(subject.append(vec![turns(1)]).await.position, Position::new(1, 0));
}

pub(crate) async fn a_consumer_gets_everything_in_order_in_batches(subject: Subject) {
    let records: Vec<NewRecord> = (0..25).map(|_| turns(4)).collect();
    subject.append(records.clone()).await;
    let mut consumer = subject.consumer("reader", None, 10).await;
    let mut got = Vec::new();
    while got.len() < 25 {
        let batch = next(&mut consumer).await;
        assert!(batch.records.len() <= 2 && batch.delivery_count == 1);
        got.extend(batch.records.iter().map(|record| record.to_record().unwrap()));
        consumer.acknowledge(batch.batch_id);
    }
    let expected: Vec<Record> = records.iter().zip(1..).map(|(record, sequence)| with_sequence(record, sequence)).collect();
    assert_eq!(got, expected);
    assert_idle(&mut consumer).await;
}

pub(crate) async fn a_consumer_is_woken_by_an_append(subject: Subject) {
    let mut consumer = subject.consumer("reader", None, 10).await;
    let waiting = tokio::spawn(async move { take(&mut consumer, 1).await });
    tokio::task::yield_now().await;
    subject.append(vec![turns(1)]).await;
    assert_eq!(waiting.await.unwrap(), [1]);
}

pub(crate) async fn a_record_greater_than_a_batch_comes_alone_and_whole(subject: Subject) {
    subject.append(vec![turns(1), turns(30), turns(1)]).await;
    let mut consumer = subject.consumer("reader", None, 10).await;
    let mut sizes = Vec::new();
    for _ in 0..3 {
        let batch = next(&mut consumer).await;
        assert_eq!(batch.records.len(), 1);
        sizes.push(batch.records[0].to_record().unwrap().events.len());
    }
    assert_eq!(sizes, [1, 30, 1]);
}

pub(crate) async fn unacknowledged_batches_are_bounded(subject: Subject) {
    subject.append((0..20).map(|_| turns(1)).collect()).await;
    let mut consumer = subject.consumer("reader", None, 1).await;
    let mut held = Vec::new();
    while let Ok(batch) = tokio::time::timeout(Duration::from_millis(300), consumer.next()).await {
        held.push(batch.unwrap());
    }
    assert!((2..=8).contains(&held.len()), "{} batches are held", held.len());
    consumer.acknowledge(held[0].batch_id);
    assert_eq!(sequences(&next(&mut consumer).await), [held.len() as u64 + 1]);
}

pub(crate) async fn a_lost_stream_is_continued_by_another(subject: Subject) {
    subject.append((0..6).map(|_| turns(1)).collect()).await;
    let mut lost = subject.consumer("reader", None, 1).await;
    let kept = next(&mut lost).await;
    let unacknowledged = next(&mut lost).await;
    lost.acknowledge(kept.batch_id);
    let mut other = subject.consumer("reader", None, 1).await;
    // The acknowledgement is under way while the stream ends: give it the time that a reader's last words have.
    tokio::time::timeout(LIMIT, async { while next(&mut other).await.records[0].sequence < 3 {} }).await.unwrap();
    drop(lost);
    let mut again = BTreeSet::new();
    let mut counts = Vec::new();
    while !again.contains(&unacknowledged.records[0].sequence) || !again.contains(&6) {
        let batch = next(&mut other).await;
        again.extend(sequences(&batch));
        if batch.records[0].sequence == 2 {
            counts.push(batch.delivery_count);
        }
        other.acknowledge(batch.batch_id);
    }
    assert_eq!(counts, [2]);
}

pub(crate) async fn streams_of_one_name_share_the_work(subject: Subject) {
    let mut readers = Vec::new();
    for _ in 0..3 {
        readers.push(subject.consumer("reader", None, 3).await);
    }
    let (got, mut gotten) = tokio::sync::mpsc::channel(1_000);
    let working: Vec<_> = readers
        .into_iter()
        .map(|mut reader| {
            let got = got.clone();
            tokio::spawn(async move {
                while let Ok(batch) = reader.next().await {
                    reader.acknowledge(batch.batch_id);
                    for sequence in sequences(&batch) {
                        got.send(sequence).await.unwrap();
                    }
                }
            })
        })
        .collect();
    for _ in 0..30 {
        subject.append((0..10).map(|_| turns(1)).collect()).await;
    }
    let mut all = Vec::new();
    while all.len() < 300 {
        all.push(tokio::time::timeout(LIMIT, gotten.recv()).await.expect("every record comes").unwrap());
    }
    all.sort_unstable();
    assert_eq!(all, (1..=300).collect::<Vec<_>>(), "each record exactly once");
    working.iter().for_each(tokio::task::JoinHandle::abort);
}

pub(crate) async fn names_do_not_share_the_work(subject: Subject) {
    subject.append((0..5).map(|_| turns(1)).collect()).await;
    for name in ["one", "two"] {
        let mut consumer = subject.consumer(name, None, 100).await;
        assert_eq!(take(&mut consumer, 5).await, [1, 2, 3, 4, 5]);
    }
}

pub(crate) async fn a_restart_resumes_after_what_was_acknowledged(subject: Subject) {
    subject.append((0..5).map(|_| turns(1)).collect()).await;
    let mut consumer = subject.consumer("reader", None, 1).await;
    let (first, second) = (next(&mut consumer).await, next(&mut consumer).await);
    let third = next(&mut consumer).await;
    consumer.acknowledge(first.batch_id);
    consumer.acknowledge(third.batch_id);
    consumer.acknowledge(second.batch_id);
    // What is acknowledged makes room: the window lets the fifth one come only after that.
    let _ = (next(&mut consumer).await, next(&mut consumer).await);
    drop(consumer);
    let subject = subject.restart(LogSettings::default()).await;
    let mut consumer = subject.consumer("reader", None, 100).await;
    // What was handed out before comes again: in no promised order, and perhaps more than once, since what the lost stream gives
    // back may still be under way.
    let (due, mut again) = (BTreeSet::from([4, 5]), BTreeSet::new());
    while again != due {
        again.extend(take(&mut consumer, 1).await);
        assert!(again.is_subset(&due), "{again:?}");
    }
}

pub(crate) async fn a_reader_with_its_own_position_begins_after_it(subject: Subject) {
    subject.append((0..5).map(|_| turns(2)).collect()).await;
    let mut consumer = subject.consumer("reader", None, 100).await;
    take(&mut consumer, 5).await;
    drop(consumer);
    // Each of these is a place after record 2, told differently; the last is within record 3.
    for after in [Position::end_of(2), Position::new(2, 1), Position::new(3, 0)] {
        // The stream before may still be ending: it is then not the only one.
        let subject = &subject;
        let resumed = async {
            loop {
                let mut consumer = subject.consumer("reader", Some(after), 100).await;
                let mut again = BTreeSet::new();
                while let Ok(batch) = tokio::time::timeout(Duration::from_millis(200), consumer.next()).await {
                    again.extend(sequences(&batch.unwrap()));
                }
                if !again.is_empty() {
                    return again;
                }
            }
        };
        let resumed = tokio::time::timeout(LIMIT, resumed).await.expect("it resumes");
        assert_eq!(resumed, BTreeSet::from([3, 4, 5]), "after {after}");
    }
}

pub(crate) async fn consumers_tell_how_far_they_have_come(subject: Subject) {
    assert_eq!(subject.log.consumer_state(None, "reader").await.unwrap(), None);
    subject.append((0..5).map(|_| turns(1)).collect()).await;
    let mut consumer = subject.consumer("reader", None, 2).await;
    let first = next(&mut consumer).await;
    let second = next(&mut consumer).await;
    assert_eq!((first.after, sequences(&first)), (Position::START, vec![1, 2]));
    assert_eq!((second.after, sequences(&second)), (Position::end_of(2), vec![3, 4]));
    consumer.acknowledge(first.batch_id);
    let mut come = async |sequence: u64| loop {
        let state = subject.log.consumer_state(None, "reader").await.unwrap().expect("it is known");
        if state.acknowledged >= Position::end_of(sequence) {
            return state;
        }
        // The acknowledgement is under way to the engine.
        consumer_pause(&mut consumer).await;
    };
    let state = tokio::time::timeout(LIMIT, come(2)).await.expect("acknowledgements arrive");
    assert_eq!((state.name.as_str(), state.acknowledged, state.lag_records), ("reader", Position::end_of(2), 3));
    assert_eq!((state.end, state.oldest_received_at.is_some()), (Position::end_of(5), true));
    assert_eq!(subject.log.consumers(None).await.unwrap().len(), 1);
    assert!(subject.log.consumers(Some(&organization("acme"))).await.unwrap().is_empty());
}

pub(crate) async fn a_position_beyond_the_end_is_refused(subject: Subject) {
    let end = subject.append(vec![turns(1)]).await.position;
    let after = Some(Position::new(end.sequence() + 1, 0));
    let start = crate::log::ConsumerStart { name: "reader".to_owned(), organization: None, after, max_events: 1 };
    assert!(matches!(subject.log.consumer(start).await, Err(LogError::BeyondEnd { .. })));
}

fn positions(events: &[crate::log::TailedEvent]) -> Vec<Position> {
    events.iter().map(|event| event.position).collect()
}

async fn tailed(subject: &Subject, request: TailRequest) -> Vec<crate::log::TailedEvent> {
    let events = subject.tail(TailRequest { until_end: true, ..request }).await;
    tokio::time::timeout(LIMIT, events.map(Result::unwrap).collect()).await.expect("it ends")
}

pub(crate) async fn a_tail_begins_where_it_is_told_and_filters(subject: Subject) {
    let (one, two) = (ConversationId::generate(), ConversationId::generate());
    let started = |id| event(id, Data::Started(Facts::default()));
    let first = record(vec![started(one), started(two), turn(one, "a")]);
    subject.append(vec![first.clone(), record(vec![turn(two, "b")])]).await;
    let from_start = TailRequest { after: Some(Position::START), ..TailRequest::default() };
    let everything = tailed(&subject, from_start.clone()).await;
    let every_position = [Position::new(1, 0), Position::new(1, 1), Position::new(1, 2), Position::new(2, 0)];
    assert_eq!(positions(&everything), every_position);
    assert_eq!(everything[2].event, first.record.events[2].clone().into());
    received_at(&everything[2], &first);
    for (index, position) in every_position.iter().enumerate() {
        let rest = tailed(&subject, TailRequest { after: Some(*position), ..TailRequest::default() }).await;
        assert_eq!(positions(&rest), every_position[index + 1..]);
    }
    let of_two = tailed(&subject, TailRequest { conversation: Some(two), ..from_start.clone() }).await;
    assert_eq!(positions(&of_two), [Position::new(1, 1), Position::new(2, 0)]);
    let of_turns = tailed(&subject, TailRequest { kinds: vec!["turn.added".to_owned()], ..from_start }).await;
    assert_eq!(positions(&of_turns), [Position::new(1, 2), Position::new(2, 0)]);
    assert!(tailed(&subject, TailRequest::default()).await.is_empty());
}

pub(crate) async fn a_tail_follows(subject: Subject) {
    subject.append(vec![turns(1)]).await;
    let mut events = subject.tail(TailRequest::default()).await;
    for sequence in 2..20 {
        subject.append(vec![turns(2)]).await;
        for index in 0..2 {
            let event = tokio::time::timeout(LIMIT, events.next()).await.expect("it follows").unwrap().unwrap();
            assert_eq!(event.position, Position::new(sequence, index));
        }
    }
}

pub(crate) async fn a_tail_tells_how_far_the_log_was_read(subject: Subject) {
    let (one, two) = (ConversationId::generate(), ConversationId::generate());
    subject.append(vec![record(vec![turn(one, "a")]), record(vec![turn(two, "b")])]).await;
    let of_one =
        TailRequest { after: Some(Position::START), conversation: Some(one), with_progress: true, ..TailRequest::default() };
    let told = |told: &Tailed| match told {
        Tailed::Event(event) => (true, event.position),
        Tailed::ReadThrough(position) => (false, *position),
    };
    let expected = [(false, Position::START), (true, Position::new(1, 0)), (false, Position::end_of(2))];
    let until_end = subject.tail_with_progress(TailRequest { until_end: true, ..of_one.clone() }).await;
    let all: Vec<Tailed> = tokio::time::timeout(LIMIT, until_end.map(Result::unwrap).collect()).await.expect("it ends");
    assert_eq!(all.iter().map(told).collect::<Vec<_>>(), expected);

    // Following, the same is told, then what comes; and after a while of other conversations' events, where it has come.
    let mut following = subject.tail_with_progress(of_one).await;
    let mut next = async || told(&tokio::time::timeout(LIMIT, following.next()).await.expect("it goes on").unwrap().unwrap());
    for expected in expected {
        assert_eq!(next().await, expected);
    }
    subject.append(vec![record(vec![turn(two, "c")])]).await;
    assert_eq!(next().await, (false, Position::end_of(3)));
    subject.append(vec![record(vec![turn(one, "d")])]).await;
    assert_eq!(next().await, (true, Position::new(4, 0)));

    let mut what_happens_next = subject.tail_with_progress(TailRequest { with_progress: true, ..TailRequest::default() }).await;
    let first = tokio::time::timeout(LIMIT, what_happens_next.next()).await.expect("it begins").unwrap().unwrap();
    assert_eq!(first, Tailed::ReadThrough(Position::end_of(4)));
}

pub(crate) async fn a_tail_of_one_conversation_finds_it_in_a_long_log(subject: Subject) {
    let subject = subject.restart(LogSettings { recent_bytes: 4_000, ..LogSettings::default() }).await;
    let wanted = ConversationId::generate();
    let mut expected = Vec::new();
    for sequence in 1..=2_600_u64 {
        expected.extend((sequence % 500 == 7).then_some(sequence));
    }
    for chunk in (1..=2_600_u64).collect::<Vec<_>>().chunks(200) {
        let records = chunk.iter().map(|sequence| match sequence % 500 {
            7 => record(vec![turn(ConversationId::generate(), "x"), turn(wanted, "a"), turn(wanted, "b")]),
            _ => turns(1),
        });
        subject.append(records.collect()).await;
    }
    let expected: Vec<Position> =
        expected.into_iter().flat_map(|sequence| [Position::new(sequence, 1), Position::new(sequence, 2)]).collect();
    let of_wanted =
        TailRequest { conversation: Some(wanted), organization: Some(organization("acme")), ..TailRequest::default() };
    for (index, after) in std::iter::once(&Position::START).chain(&expected).enumerate() {
        let request = TailRequest { after: Some(*after), ..of_wanted.clone() };
        assert_eq!(positions(&tailed(&subject, request).await), expected[index..], "after {after}");
    }
    // And it goes on from there, and tells how far it has come.
    let request = TailRequest { after: Some(expected[0]), with_progress: true, ..of_wanted };
    let mut following = subject.tail_with_progress(request).await;
    let mut next = async || tokio::time::timeout(LIMIT, following.next()).await.expect("it goes on").unwrap().unwrap();
    assert_eq!(next().await, Tailed::ReadThrough(expected[0]));
    for position in &expected[1..] {
        assert!(matches!(next().await, Tailed::Event(event) if event.position == *position));
    }
    assert_eq!(next().await, Tailed::ReadThrough(Position::end_of(2_600)));
    let position = subject.append(vec![record(vec![turn(wanted, "c")])]).await.position;
    assert!(matches!(next().await, Tailed::Event(event) if event.position.sequence() == position.sequence()));
}

pub(crate) async fn a_tail_of_one_organization_sees_no_other(subject: Subject) {
    let other = record_of("other", vec![turn(ConversationId::generate(), "b")]);
    subject.append(vec![record(vec![turn(ConversationId::generate(), "a")]), other]).await;
    for (name, positions_of) in [("acme", vec![Position::new(1, 0)]), ("other", vec![Position::new(2, 0)]), ("third", Vec::new())]
    {
        let request =
            TailRequest { after: Some(Position::START), organization: Some(organization(name)), ..TailRequest::default() };
        assert_eq!(positions(&tailed(&subject, request).await), positions_of, "{name}");
    }
}

pub(crate) async fn a_tail_ends_with_the_service(subject: Subject) {
    let mut events = subject.tail(TailRequest::default()).await;
    let mut consumer = subject.consumer("reader", None, 10).await;
    subject.append(vec![turns(1)]).await;
    assert!(events.next().await.is_some());
    next(&mut consumer).await;
    subject.stop.cancel();
    assert!(tokio::time::timeout(LIMIT, events.next()).await.expect("it ends").is_none());
}

pub(crate) async fn old_records_are_read_like_new_ones(subject: Subject) {
    let subject = subject.restart(LogSettings { recent_bytes: 4_000, ..LogSettings::default() }).await;
    let records: Vec<NewRecord> = (0..300).map(|index| turns(1 + index % 7)).collect();
    for some in records.chunks(50) {
        subject.append(some.to_vec()).await;
    }
    let mut consumer = subject.consumer("reader", None, 16).await;
    let mut got = Vec::new();
    while got.len() < records.len() {
        let batch = next(&mut consumer).await;
        got.extend(batch.records.iter().map(|record| record.to_record().unwrap()));
        consumer.acknowledge(batch.batch_id);
    }
    let expected: Vec<Record> = records.iter().zip(1..).map(|(record, sequence)| with_sequence(record, sequence)).collect();
    assert_eq!(got, expected);
}

fn found_in_files(subject: &Subject, needle: &[u8]) -> Vec<String> {
    let (mut found, mut folders) = (Vec::new(), vec![subject.path().to_owned()]);
    while let Some(folder) = folders.pop() {
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // A server may remove a file of its own while we look.
            let bytes = std::fs::read(&path).unwrap_or_default();
            if bytes.windows(needle.len()).any(|window| window == needle) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

pub(crate) async fn an_erased_conversation_is_in_no_file(subject: Subject) {
    let (erased, kept) = (ConversationId::generate(), ConversationId::generate());
    // Short enough not to be compressed, so that searching the files finds it.
    let (secret, other) = ("my number is 4929-1234", "nothing to hide here");
    let mut alone = record(vec![turn(erased, secret)]);
    alone.raw_body = Bytes::from_static(b"my number is 4929-1234");
    subject.append(vec![alone, record(vec![turn(kept, other)])]).await;
    for _ in 0..200 {
        subject.append(vec![record(vec![turn(kept, other)]), record(vec![turn(erased, secret)])]).await;
    }
    assert!(!found_in_files(&subject, secret.as_bytes()).is_empty());
    assert_eq!(subject.log.erase(&organization("acme"), erased).await.unwrap(), 201);
    assert_eq!(found_in_files(&subject, secret.as_bytes()), Vec::<String>::new());
    assert!(!found_in_files(&subject, other.as_bytes()).is_empty());
    assert_eq!(subject.log.erase(&organization("acme"), erased).await.unwrap(), 0);
    assert_eq!(subject.log.raw_body(&organization("acme"), 1).await.unwrap(), None);
    assert!(all(&subject).await.iter().all(|record| record.events[0].conversation_id == kept));
    // No sequence is given out twice, also when the last record was erased.
    let subject = subject.crash().await;
    assert_eq!(subject.append(vec![turns(1)]).await.position.sequence(), 403);
}

pub(crate) async fn an_erasure_leaves_other_conversations_in_the_log(subject: Subject) {
    let (erased, kept) = (ConversationId::generate(), ConversationId::generate());
    let mut mixed = record(vec![turn(erased, "a"), turn(kept, "b"), turn(erased, "c"), turn(kept, "d")]);
    mixed.raw_body = Bytes::from_static(b"a b c d");
    subject.append(vec![mixed.clone()]).await;
    assert_eq!(subject.log.erase(&organization("acme"), erased).await.unwrap(), 2);
    let rest = tailed(&subject, TailRequest { after: Some(Position::START), ..TailRequest::default() }).await;
    if subject.remainders_stay() {
        assert_eq!(positions(&rest), [Position::new(1, 1), Position::new(1, 3)]);
    }
    let remaining: Vec<_> = rest.iter().map(|event| event.event.clone()).collect();
    assert_eq!(remaining, [mixed.record.events[1].clone().into(), mixed.record.events[3].clone().into()]);
    for sequence in 1..=2 {
        assert_eq!(subject.log.raw_body(&organization("acme"), sequence).await.unwrap(), None);
    }
    // What remains is still known.
    assert_eq!(subject.append(vec![record(vec![mixed.record.events[1].clone()])]).await.duplicates, 1);
    assert_eq!(all(&subject).await[0].events.len(), 2);
}

pub(crate) async fn events_after_an_erasure_are_dropped(subject: Subject) {
    let (erased, kept) = (ConversationId::generate(), ConversationId::generate());
    assert_eq!(subject.log.erase(&organization("acme"), erased).await.unwrap(), 0);
    let mut mixed = record(vec![turn(erased, "a"), turn(kept, "b")]);
    mixed.raw_body = Bytes::from_static(b"a b");
    let appended = subject.append(vec![record(vec![turn(erased, "c")]), mixed]).await;
    assert_eq!((appended.accepted, appended.duplicates), (1, 2));
    assert_eq!(subject.log.raw_body(&organization("acme"), 1).await.unwrap(), None);
    let subject = subject.crash().await;
    let appended = subject.append(vec![record(vec![turn(erased, "d")])]).await;
    assert_eq!((appended.accepted, appended.duplicates, appended.position), (0, 1, Position::START));
    // The same id at another organization is another conversation.
    assert_eq!(subject.append(vec![record_of("other", vec![turn(erased, "e")])]).await.accepted, 1);
}

pub(crate) async fn a_raw_body_is_kept_for_its_organization_only(subject: Subject) {
    let mut with_body = turns(1);
    with_body.raw_body = Bytes::from(vec![7; 300_000]);
    subject.append(vec![with_body.clone(), turns(1)]).await;
    let log = Arc::clone(&subject.log);
    assert_eq!(log.raw_body(&organization("acme"), 1).await.unwrap(), Some(with_body.raw_body));
    for (name, sequence) in [("acme", 2), ("acme", 3), ("acme", u64::MAX), ("other", 1)] {
        assert_eq!(log.raw_body(&organization(name), sequence).await.unwrap(), None);
    }
}

/// Several replicas of ingestion on one log.
pub(crate) async fn replicas_share_the_log(subject: Subject) {
    let other = subject.replica().await;
    let first = turns(3);
    let appended = subject.append(vec![first.clone()]).await;
    // What one has answered, the other knows.
    let again = other.append(vec![first.clone()]).await;
    assert_eq!((again.accepted, again.duplicates, again.position), (0, 3, Position::end_of(appended.position.sequence())));
    let mut readers = [subject.consumer("reader", None, 5).await, other.consumer("reader", None, 5).await];
    let mut sent = BTreeSet::from([appended.position.sequence()]);
    for round in 0..20 {
        let log = if round % 2 == 0 { &subject.log } else { &other.log };
        sent.insert(log.append(vec![turns(2)]).await.unwrap().position.sequence());
    }
    let (mut got, mut repeats) = (BTreeSet::new(), 0);
    while got != sent {
        for reader in &mut readers {
            if let Ok(batch) = tokio::time::timeout(Duration::from_millis(100), reader.next()).await {
                let batch = batch.unwrap();
                repeats += sequences(&batch).into_iter().filter(|sequence| !got.insert(*sequence)).count();
                reader.acknowledge(batch.batch_id);
            }
        }
    }
    assert_eq!(repeats, 0, "each record exactly once");
    let conversation = first.record.events[0].conversation_id;
    assert_eq!(other.log.erase(&organization("acme"), conversation).await.unwrap(), 3);
    assert_eq!(subject.append(vec![first]).await.duplicates, 3, "what one erased, the other drops");
}

/// The servers lose everything, and numbers go on all the same.
pub(crate) async fn a_stream_made_anew_goes_on_with_the_numbers(subject: Subject) {
    let records: Vec<NewRecord> = (0..5).map(|_| turns(2)).collect();
    let before = subject.append(records.clone()).await.position;
    let mut consumer = subject.consumer("reader", None, 100).await;
    take(&mut consumer, 5).await;
    drop(consumer);
    let subject = subject.lose_servers().await;
    assert!(all(&subject).await.is_empty());
    let fresh = subject.append(vec![turns(1)]).await.position;
    assert!(fresh > before, "{fresh} comes after {before}");
    // What was lost is taken again when somebody still has it.
    assert_eq!(subject.append(vec![records[0].clone()]).await.accepted, 2);
    let mut consumer = subject.consumer("reader", Some(before), 100).await;
    assert_eq!(take(&mut consumer, 2).await, [fresh.sequence(), fresh.sequence() + 1]);
    assert_eq!(all(&subject).await.len(), 2);
}

/// A record that no single message of the server can carry.
pub(crate) async fn a_record_in_parts_is_read_and_erased_whole(subject: Subject) {
    // Random letters, since compression would make one message of it.
    let text: String = (0..400_000).map(|_| uuid::Uuid::new_v4().simple().to_string()).take(100_000).collect();
    let (conversation, kept) = (ConversationId::generate(), ConversationId::generate());
    let mut large = record(vec![turn(conversation, &text), turn(kept, "stays")]);
    large.raw_body = Bytes::from(text.clone());
    let appended = subject.append(vec![turns(1), large.clone(), turns(1)]).await;
    assert_eq!((appended.accepted, appended.duplicates), (4, 0));
    let mut consumer = subject.consumer("reader", None, 100).await;
    take(&mut consumer, 3).await;
    let read = all(&subject).await;
    assert_eq!(read[1].events, large.record.events);
    let body = subject.log.raw_body(&organization("acme"), read[1].sequence).await.unwrap();
    assert_eq!(body, Some(large.raw_body.clone()));
    assert_eq!(subject.append(vec![large]).await.duplicates, 2);
    let needle = &text.as_bytes()[2_000_000..2_000_040];
    assert_eq!(subject.log.erase(&organization("acme"), conversation).await.unwrap(), 1);
    assert_eq!(found_in_files(&subject, needle), Vec::<String>::new());
    let rest: Vec<_> = all(&subject).await.into_iter().flat_map(|record| record.events).collect();
    assert_eq!(rest.len(), 3);
    assert!(rest.iter().any(|event| event.conversation_id == kept));
}
