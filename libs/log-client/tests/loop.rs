//! The loop against a log that does what each test needs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use colloquy_events::{Data, Event, Facts, Record};
use colloquy_log_client::{Appender, Reader, run};
use colloquy_proto::log::v1 as pb;
use colloquy_proto::log::v1::consume_request::Request as Said;
use colloquy_proto::log::v1::event_log_service_server::{EventLogService, EventLogServiceServer};
use colloquy_service::transport::{LocalSlot, Transport};
use colloquy_service::{Problem, Progress};
use colloquy_storage::StoreError;
use colloquy_types::{ConversationId, EventId, Position, Provider, RecordId, Timestamp};
use futures::Stream;
use prost::Message;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

const LIMIT: Duration = Duration::from_secs(20);

/// A log in memory: one record a batch, each stream from the position it asks for.
#[derive(Clone, Default)]
struct FakeLog(Arc<Inner>);

#[derive(Default)]
struct Inner {
    records: Mutex<Vec<pb::Record>>,
    acknowledged: Mutex<Vec<u64>>,
    /// Where each stream began.
    starts: Mutex<Vec<u64>>,
    /// How many calls are refused before one is taken.
    refusals: AtomicU32,
    /// After how many records each stream breaks; 0 is never.
    break_after: AtomicU32,
    /// What other replicas have acknowledged, for whoever asks.
    others_acknowledged: AtomicU64,
    /// Records that other replicas have: each batch says that it follows on the record before it.
    shared: AtomicBool,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl FakeLog {
    fn with(records: impl IntoIterator<Item = pb::Record>) -> Self {
        let log = Self::default();
        *log.0.records.lock().unwrap() = records.into_iter().collect();
        log
    }

    fn transport(&self) -> Transport {
        let slot = LocalSlot::new();
        slot.fill(Routes::new(EventLogServiceServer::new(self.clone())).into_axum_router());
        slot.transport()
    }

    fn refuse(&self) -> Result<(), Status> {
        let refused = self.0.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if refused.is_ok() { Err(Problem::unavailable("TEST", "not now", Duration::from_millis(1)).into()) } else { Ok(()) }
    }
}

#[tonic::async_trait]
impl EventLogService for FakeLog {
    async fn append(&self, request: Request<pb::AppendRequest>) -> Result<Response<pb::AppendResponse>, Status> {
        self.refuse()?;
        let mut records = self.0.records.lock().unwrap();
        let accepted = request.get_ref().records.iter().map(|record| record.events.len() as u32).sum();
        records.extend(request.into_inner().records);
        Ok(Response::new(pb::AppendResponse { position: 7, accepted, duplicates: 1 }))
    }

    type ConsumeStream = Answers<pb::ConsumeResponse>;

    async fn consume(&self, request: Request<Streaming<pb::ConsumeRequest>>) -> Result<Response<Self::ConsumeStream>, Status> {
        self.refuse()?;
        let mut said = request.into_inner();
        let Some(pb::ConsumeRequest { request: Some(Said::Start(start)) }) = said.message().await? else { panic!("no start") };
        let after = Position(start.after_position.unwrap());
        if after.sequence() > 1_000_000 {
            return Err(Status::out_of_range("beyond the end"));
        }
        self.0.starts.lock().unwrap().push(after.sequence());
        let (batches, answers) = mpsc::channel(4);
        let log = self.clone();
        tokio::spawn(async move {
            while let Ok(Some(pb::ConsumeRequest { request: Some(Said::Ack(ack)) })) = said.message().await {
                log.0.acknowledged.lock().unwrap().push(ack.batch_id);
            }
        });
        let log = self.clone();
        tokio::spawn(async move {
            let break_after = log.0.break_after.load(Ordering::SeqCst) as usize;
            let records: Vec<_> =
                log.0.records.lock().unwrap().iter().filter(|record| record.sequence > after.sequence()).cloned().collect();
            let limit = if break_after == 0 { usize::MAX } else { break_after };
            for record in records.into_iter().take(limit) {
                let batch_id = record.sequence + 500;
                let before = if record.sequence == 1 { Position::START } else { Position::end_of(record.sequence - 1) };
                let after_position = if log.0.shared.load(Ordering::SeqCst) { before.0 } else { 0 };
                let batch = pb::ConsumeResponse {
                    batch_id,
                    records: vec![record.encode_to_vec().into()],
                    delivery_count: 1,
                    after_position,
                    acknowledged_position: 0,
                };
                batches.send(Ok(batch)).await.ok();
            }
            if break_after > 0 {
                batches.send(Err(Status::unknown("broken"))).await.ok();
            } else {
                batches.closed().await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    type TailStream = Answers<pb::TailResponse>;

    async fn tail(&self, _: Request<pb::TailRequest>) -> Result<Response<Self::TailStream>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn erase(&self, _: Request<pb::EraseRequest>) -> Result<Response<pb::EraseResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn get_consumer(&self, _: Request<pb::GetConsumerRequest>) -> Result<Response<pb::GetConsumerResponse>, Status> {
        self.refuse()?;
        let acknowledged_position = self.0.others_acknowledged.load(Ordering::SeqCst);
        let consumer = pb::Consumer { acknowledged_position, ..pb::Consumer::default() };
        Ok(Response::new(pb::GetConsumerResponse { consumer: Some(consumer) }))
    }

    async fn list_consumers(&self, _: Request<pb::ListConsumersRequest>) -> Result<Response<pb::ListConsumersResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }
}

/// A view that notes what it is given, and fails as it is told.
#[derive(Default)]
struct View {
    state: Mutex<State>,
    /// How many calls fail before one works.
    outage: AtomicU32,
    /// Records that cannot be applied.
    poison: HashSet<u64>,
    /// Records that make it panic.
    panics: HashSet<u64>,
    /// Records at which it never comes to an end.
    hangs: HashSet<u64>,
}

#[derive(Clone, Default)]
struct State {
    position: Position,
    applied: Vec<u64>,
    transactions: usize,
    set_aside: Vec<(u64, String)>,
}

impl View {
    fn outage(&self) -> Result<(), StoreError> {
        let failed = self.outage.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if failed.is_ok() { Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut)) } else { Ok(()) }
    }

    fn applied(&self) -> Vec<u64> {
        self.state.lock().unwrap().applied.clone()
    }
}

#[async_trait]
impl Reader for View {
    fn name(&self) -> &'static str {
        "view"
    }

    async fn position(&self) -> Result<Position, StoreError> {
        Ok(self.state.lock().unwrap().position)
    }

    async fn apply(&self, records: &[Record], through: Position) -> Result<(), StoreError> {
        self.outage()?;
        for record in records {
            assert!(!self.panics.contains(&record.sequence), "record {} is too much", record.sequence);
            if self.hangs.contains(&record.sequence) {
                std::future::pending::<()>().await;
            }
            if self.poison.contains(&record.sequence) {
                return Err(StoreError::Corrupt(format!("poison {}", record.sequence)));
            }
        }
        let mut state = self.state.lock().unwrap();
        assert!(through >= state.position, "the position never goes back");
        state.position = through;
        state.transactions += 1;
        state.applied.extend(records.iter().map(|record| record.sequence));
        Ok(())
    }

    async fn set_aside(&self, record: &Record, reason: &str) -> Result<(), StoreError> {
        self.outage()?;
        self.state.lock().unwrap().set_aside.push((record.sequence, reason.to_owned()));
        Ok(())
    }
}

fn record(sequence: u64) -> Record {
    let conversation_id = ConversationId::generate();
    let event = Event {
        event_id: EventId::generate(),
        conversation_id,
        provider: Provider::Native,
        external_id: conversation_id.to_string(),
        occurred_at: Timestamp::default(),
        ordinal: 0,
        data: Data::Started(Facts::default()),
    };
    Record {
        record_id: RecordId::generate(),
        organization_id: "acme".parse().unwrap(),
        source_id: None,
        received_at: Timestamp::default(),
        events: vec![event],
        traceparent: String::new(),
        sequence,
    }
}

fn records(sequences: impl IntoIterator<Item = u64>) -> Vec<pb::Record> {
    sequences.into_iter().map(|sequence| record(sequence).into()).collect()
}

struct Running {
    view: Arc<View>,
    progress: Progress,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    fn start(view: View, log: &FakeLog) -> Self {
        let (view, progress, stop) = (Arc::new(view), Progress::starting_at(Position::START), CancellationToken::new());
        let task = tokio::spawn(run(Arc::clone(&view) as Arc<dyn Reader>, log.transport(), progress.clone(), stop.clone()));
        Self { view, progress, stop, task }
    }

    async fn through(&self, sequence: u64) {
        let reached = async {
            while self.progress.current() < Position::end_of(sequence) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(LIMIT, reached).await.unwrap_or_else(|_| panic!("only {} was reached", self.progress.current()));
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(1), self.task).await.expect("it stops within a second").unwrap().unwrap();
    }
}

#[tokio::test]
async fn records_are_applied_in_order_and_acknowledged() {
    let log = FakeLog::with(records(1..=50));
    let running = Running::start(View::default(), &log);
    running.through(50).await;
    assert_eq!(running.view.applied(), (1..=50).collect::<Vec<_>>());
    let acknowledged = async {
        while log.0.acknowledged.lock().unwrap().len() < 50 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LIMIT, acknowledged).await.expect("every batch is acknowledged");
    assert_eq!(*log.0.acknowledged.lock().unwrap(), (501..=550).collect::<Vec<_>>());
    running.stop().await;
}

#[tokio::test]
async fn what_is_waiting_becomes_one_transaction() {
    let log = FakeLog::with(records(1..=100));
    // The first transaction has to wait, and what comes meanwhile is joined.
    let running = Running::start(View { outage: AtomicU32::new(2), ..View::default() }, &log);
    running.through(100).await;
    let transactions = running.view.state.lock().unwrap().transactions;
    assert!(transactions < 80, "{transactions} transactions for 100 batches");
    running.stop().await;
}

#[tokio::test]
async fn a_gap_that_another_replica_fills_is_waited_for_and_never_skipped() {
    let log = FakeLog::with(records([1, 2, 5]));
    log.0.shared.store(true, Ordering::SeqCst);
    let running = Running::start(View::default(), &log);
    let applied = async {
        while running.view.applied() != [1, 2, 5] {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LIMIT, applied).await.expect("all of its share is applied");
    // Records 3 and 4 are elsewhere: after a restart without any log's help, the view must ask for them.
    assert_eq!(running.view.state.lock().unwrap().position, Position::end_of(2));
    let reading = running.progress.clone();
    let waiting = tokio::spawn(async move { reading.wait_for(Position::new(5, 0).0).await });
    log.0.others_acknowledged.store(Position::end_of(5).0, Ordering::SeqCst);
    assert_eq!(tokio::time::timeout(LIMIT, waiting).await.unwrap().unwrap(), Ok(()));
    running.stop().await;
}

#[tokio::test]
async fn a_gap_that_another_replica_closed_in_the_view_is_noticed() {
    let log = FakeLog::with(records([1, 2, 5]));
    log.0.shared.store(true, Ordering::SeqCst);
    let running = Running::start(View::default(), &log);
    let applied = async {
        while running.view.applied() != [1, 2, 5] {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LIMIT, applied).await.expect("all of its share is applied");
    // The other replica writes 3 and 4, and the log cannot say so yet.
    running.view.state.lock().unwrap().position = Position::end_of(4);
    running.through(5).await;
    assert_eq!(running.view.state.lock().unwrap().position, Position::end_of(5));
    running.stop().await;
}

#[tokio::test]
async fn a_restored_view_is_not_complete_because_it_once_was() {
    let log = FakeLog::with(records(1..=5));
    // What it had acknowledged before its database was put back.
    log.0.others_acknowledged.store(Position::end_of(5).0, Ordering::SeqCst);
    let running = Running::start(View { hangs: HashSet::from([3]), ..View::default() }, &log);
    let reading = running.progress.clone();
    let read = tokio::time::timeout(Duration::from_millis(300), reading.wait_for(Position::new(5, 0).0)).await;
    assert!(read.is_err(), "record 3 is not applied, but a read that needs it was answered: {read:?}");
    running.stop().await;
}

#[tokio::test]
async fn a_restart_begins_after_the_readers_own_position() {
    let log = FakeLog::with(records(1..=10));
    let view = View::default();
    view.state.lock().unwrap().position = Position::end_of(6);
    let running = Running::start(view, &log);
    running.through(10).await;
    assert_eq!(running.view.applied(), [7, 8, 9, 10]);
    assert_eq!(*log.0.starts.lock().unwrap(), [6]);
    running.stop().await;
}

#[tokio::test]
async fn a_broken_stream_is_taken_up_where_the_view_stands() {
    let log = FakeLog::with(records(1..=20));
    log.0.refusals.store(2, Ordering::SeqCst);
    log.0.break_after.store(3, Ordering::SeqCst);
    let running = Running::start(View::default(), &log);
    running.through(20).await;
    assert_eq!(running.view.applied(), (1..=20).collect::<Vec<_>>());
    assert!(log.0.starts.lock().unwrap().len() >= 7);
    running.stop().await;
}

#[tokio::test]
async fn an_outage_of_the_store_is_waited_out() {
    let log = FakeLog::with(records(1..=10));
    let running = Running::start(View { outage: AtomicU32::new(4), ..View::default() }, &log);
    running.through(10).await;
    assert_eq!(running.view.applied(), (1..=10).collect::<Vec<_>>());
    assert!(running.view.state.lock().unwrap().set_aside.is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_record_that_cannot_be_applied_is_set_aside_and_nothing_else_is() {
    let log = FakeLog::with(records(1..=40));
    let view = View { poison: HashSet::from([7, 8, 40]), panics: HashSet::from([1, 23]), ..View::default() };
    let running = Running::start(view, &log);
    running.through(40).await;
    let state = running.view.state.lock().unwrap().clone();
    let faults = [1, 7, 8, 23, 40];
    assert_eq!(state.applied, (1..=40).filter(|sequence| !faults.contains(sequence)).collect::<Vec<_>>());
    assert_eq!(state.set_aside.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), faults);
    // What a panic says may quote the record.
    assert_eq!(state.set_aside[0].1, "panicked");
    assert!(state.set_aside[1].1.contains("poison 7"));
    running.stop().await;
}

#[tokio::test]
async fn unknown_kinds_and_erased_events_are_skipped_and_unreadable_records_set_aside() {
    let mut some = records(1..=3);
    let unknown = pb::Event { data: None, ..some[0].events[0].clone() };
    some[0].events.splice(0..0, [pb::Event::default(), unknown]);
    some[1].events[0].provider = "telegraph".to_owned();
    let mut nobody = records([4]);
    nobody[0].organization_id = "NOT A NAME".to_owned();
    let log = FakeLog::with(some.into_iter().chain(nobody));
    let running = Running::start(View::default(), &log);
    running.through(4).await;
    let state = running.view.state.lock().unwrap().clone();
    assert_eq!(state.applied, [1, 3]);
    assert_eq!(state.set_aside.len(), 1);
    assert!(state.set_aside[0].0 == 2 && state.set_aside[0].1.contains("events[0].provider"), "{:?}", state.set_aside);
    running.stop().await;
}

#[tokio::test]
async fn a_view_of_another_log_ends_in_an_error() {
    let view = View::default();
    view.state.lock().unwrap().position = Position::end_of(2_000_000);
    let running = Running::start(view, &FakeLog::default());
    let ended = tokio::time::timeout(LIMIT, running.task).await.expect("it ends").unwrap();
    assert!(format!("{:#}", ended.unwrap_err()).contains("another log"));
}

#[tokio::test]
async fn it_stops_within_a_second_whatever_it_is_doing() {
    let log = FakeLog::with(records(1..=3));
    let idle = Running::start(View::default(), &log);
    idle.through(3).await;
    idle.stop().await;
    let hanging = Running::start(View { hangs: HashSet::from([2]), ..View::default() }, &FakeLog::with(records(2..=3)));
    tokio::time::sleep(Duration::from_millis(20)).await;
    hanging.stop().await;
    let waiting = Running::start(View { outage: AtomicU32::new(u32::MAX), ..View::default() }, &log);
    tokio::time::sleep(Duration::from_millis(20)).await;
    waiting.stop().await;
    let unreachable = FakeLog::default();
    unreachable.0.refusals.store(u32::MAX, Ordering::SeqCst);
    let unconnected = Running::start(View::default(), &unreachable);
    tokio::time::sleep(Duration::from_millis(20)).await;
    unconnected.stop().await;
}

#[tokio::test]
async fn an_append_is_tried_again_while_the_log_is_away() {
    let log = FakeLog::default();
    log.0.refusals.store(3, Ordering::SeqCst);
    let appended = Appender::new(log.transport()).append(vec![record(0), record(0)]).await.unwrap();
    assert_eq!((appended.position, appended.accepted, appended.duplicates), (Position(7), 2, 1));
    assert_eq!(log.0.records.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_append_gives_up_in_the_end() {
    let log = FakeLog::default();
    log.0.refusals.store(u32::MAX, Ordering::SeqCst);
    let status = Appender::new(log.transport()).append(vec![record(0)]).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
}
