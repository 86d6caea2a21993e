//! The reader and the workers together, with the other services made up.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use colloquy_events::{Authority, Data, EndStatus, Ended, Event, Turn};
use colloquy_log_client::{Appender, Reader as _, UnknownEvents};
use colloquy_proto::conversation::v1::ConversationStatus;
use colloquy_service::Progress;
use colloquy_service::transport::Transport;
use colloquy_storage::StoreError;
use colloquy_types::{ConversationId, ManualClock, OrganizationId, Position, TurnId};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Parts, tasks};
use crate::analysed::Frontier;
use crate::hooks::{Adding, Adds, Analysed, Contributors, Seen};
use crate::neighbours::Neighbours;
use crate::organization::{Leading, SettingsChange};
use crate::reader::Reader;
use crate::store::Figures;
use crate::testing::{Fixture, acme, at, conversation, event, record, record_pb, turns_pb};

/// Listens, and can be made to fail.
#[derive(Default)]
struct Ear {
    heard: Mutex<Vec<(ConversationId, bool, bool)>>,
    fails: AtomicUsize,
    panics: AtomicUsize,
}

fn take_one(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(1)).is_ok()
}

#[async_trait]
impl Analysed for Ear {
    async fn analysed(&self, seen: &[Seen<'_>]) -> Result<(), StoreError> {
        let heard = |seen: &Seen<'_>| (seen.input.record.conversation_id, seen.analysis.settled, seen.newly_settled);
        self.heard.lock().unwrap().extend(seen.iter().map(heard));
        assert!(!take_one(&self.panics), "a listener is broken");
        if take_one(&self.fails) {
            return Err(StoreError::Corrupt("what a listener keeps".to_owned()));
        }
        Ok(())
    }
}

/// Adds a summary to every analysis.
struct Summary;

#[async_trait]
impl Adds for Summary {
    async fn add(&self, _: &OrganizationId, to: &mut [Adding<'_>]) -> Result<(), StoreError> {
        for adding in to {
            adding.analysis.own.summary = Some("they talked".to_owned());
        }
        Ok(())
    }
}

struct World {
    fixture: Fixture,
    others: Arc<Neighbours>,
    ear: Arc<Ear>,
    clock: ManualClock,
    progress: Progress,
    wake: Arc<Notify>,
    transport: Transport,
    reader: Reader,
    stop: CancellationToken,
}

impl World {
    async fn start(replicas: usize) -> Self {
        Self::over(Fixture::sqlite().await.unwrap(), replicas, Vec::new()).await
    }

    async fn over(fixture: Fixture, replicas: usize, contributors: Contributors) -> Self {
        let others = Arc::new(Neighbours::default());
        let transport = others.transport();
        let (clock, wake, ear) = (ManualClock::at(at(0)), Arc::new(Notify::new()), Arc::new(Ear::default()));
        let stop = CancellationToken::new();
        for _ in 0..replicas {
            let parts = Parts {
                store: fixture.store.clone(),
                conversations: transport.clone(),
                transcripts: transport.clone(),
                log: Appender::new(transport.clone()),
                contributors: contributors.clone(),
                listeners: vec![ear.clone()],
                clock: Arc::new(clock.clone()),
                wake: wake.clone(),
                stop: stop.clone(),
            };
            for task in tasks(parts) {
                tokio::spawn(task.work);
            }
        }
        let unknown = UnknownEvents::of(&fixture.database);
        let reader = Reader::new(fixture.store.clone(), unknown, Arc::new(clock.clone()), wake.clone());
        let progress = Progress::starting_at(Position::START);
        Self { fixture, others, ear, clock, progress, wake, transport, reader, stop }
    }

    /// What the other services say of a conversation from now on.
    fn is(&self, number: u128, status: ConversationStatus, texts: &[&str]) {
        self.others.know(record_pb(number, status), turns_pb(number, texts));
    }

    /// What the log says next.
    async fn hears(&self, events: Vec<Event>) -> u64 {
        let sequence = self.progress.current().sequence() + 1;
        let through = Position::end_of(sequence);
        self.reader.apply(&[record("acme", sequence, events)], through).await.unwrap();
        self.progress.advance_to(through);
        through.0
    }

    async fn hears_end(&self, number: u128) -> u64 {
        self.hears(vec![event(number, Data::Ended(Ended::new(EndStatus::Completed)))]).await
    }

    fn frontier(&self) -> Frontier {
        Frontier::new(
            self.fixture.store.clone(),
            self.progress.clone(),
            self.transport.clone(),
            Arc::new(self.clock.clone()),
            self.wake.clone(),
        )
    }

    /// Waits until everything is analysed, however busy the machine is; what is tried again a second later, too.
    async fn settle(&self) {
        let position = self.progress.current();
        colloquy_testkit::until(Duration::from_secs(180), "everything is analysed", async || {
            let store = &self.fixture.store;
            store.hurry(&acme(), None, position, colloquy_types::Clock::now(&self.clock)).await.unwrap();
            let is_waiting = store.is_waiting(&acme(), None, position).await.unwrap();
            if is_waiting {
                self.clock.advance_millis(20);
            }
            !is_waiting
        })
        .await;
    }

    async fn figures(&self, number: u128) -> Option<Figures> {
        self.fixture.store.figures(&acme(), conversation(number)).await.unwrap()
    }

    fn told(&self) -> Vec<Event> {
        self.others.told.lock().unwrap().clone()
    }

    fn heard(&self) -> Vec<(ConversationId, bool, bool)> {
        self.ear.heard.lock().unwrap().clone()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn said(number: u128) -> Event {
    let turn_id = TurnId::derive(conversation(number), "0");
    event(number, Data::TurnAdded(Turn::new(turn_id, colloquy_events::Role::User)))
}

fn authority(event: &Event) -> Authority {
    match &event.data {
        Data::Analyzed(analysis) => analysis.authority,
        other => panic!("{other:?}"),
    }
}

const PLEASED: [&str; 4] =
    ["Hello, I need help with my order.", "Of course.", "Thank you so much, that was wonderful!", "You are welcome."];
const ANGRY: [&str; 4] =
    ["Hello, I need help with my order.", "Of course.", "This is terrible, the worst service ever, I hate it!", "I am sorry."];

#[tokio::test]
async fn a_conversation_that_ended_is_analysed_and_our_judgement_told_once() {
    let world = World::start(1).await;
    world.is(1, ConversationStatus::Completed, &PLEASED);
    let position = world.hears_end(1).await;
    world.settle().await;
    let Figures { features, analysis, .. } = world.figures(1).await.unwrap();
    assert_eq!((features.settled, features.turn_count, features.position), (true, 4, Position(position)));
    assert_eq!(analysis.turn_ids.len(), 4);
    assert_eq!(world.told().iter().map(authority).collect::<Vec<_>>(), [Authority::Own]);
    // The same again is no news.
    world.hears_end(1).await;
    world.settle().await;
    assert_eq!(world.told().len(), 1);
    let id = conversation(1);
    assert_eq!(world.heard(), [(id, true, true), (id, true, false)]);
}

#[tokio::test]
async fn what_is_heard_late_changes_figures_and_judgement() {
    let world = World::start(1).await;
    world.is(1, ConversationStatus::Completed, &PLEASED);
    world.hears_end(1).await;
    world.settle().await;
    let before = world.figures(1).await.unwrap().features;
    world.is(1, ConversationStatus::Completed, &ANGRY);
    world.hears(vec![said(1)]).await;
    world.settle().await;
    let after = world.figures(1).await.unwrap().features;
    assert!(after.sentiment_score < before.sentiment_score, "{before:?} {after:?}");
    assert_eq!(world.told().len(), 2);
    // Back to what it was is news again.
    world.is(1, ConversationStatus::Completed, &PLEASED);
    world.hears(vec![said(1)]).await;
    world.settle().await;
    assert_eq!(world.told().len(), 3);
}

#[tokio::test]
async fn a_running_conversation_is_analysed_after_a_second_or_when_somebody_asks() {
    let world = World::start(1).await;
    world.is(1, ConversationStatus::InProgress, &PLEASED[..2]);
    world.hears(vec![said(1)]).await;
    assert!(world.fixture.store.claim(at(999), at(999), 1).await.unwrap().is_empty());
    assert_eq!(world.figures(1).await, None);
    let asked = world.progress.current().0;
    world.frontier().wait_for(&acme(), asked).await.unwrap();
    let features = world.figures(1).await.unwrap().features;
    assert_eq!((features.settled, features.turn_count), (false, 2));
    assert_eq!(world.told(), []);
    world.is(1, ConversationStatus::InProgress, &PLEASED[..3]);
    world.hears(vec![said(1)]).await;
    world.clock.advance_millis(60_000);
    colloquy_testkit::until(Duration::from_secs(20), "the third turn counts", async || {
        world.figures(1).await.is_some_and(|figures| figures.features.turn_count == 3)
    })
    .await;
    world.is(1, ConversationStatus::Completed, &PLEASED);
    world.hears_end(1).await;
    world.settle().await;
    let heard: Vec<_> = world.heard().into_iter().map(|(_, settled, newly)| (settled, newly)).collect();
    assert_eq!(heard, [(false, false), (false, false), (true, true)]);
    assert_eq!(world.told().len(), 1);
}

#[tokio::test]
async fn what_breaks_off_is_done_again_to_the_same_effect() {
    let world = World::start(1).await;
    world.is(1, ConversationStatus::Completed, &PLEASED);
    world.ear.fails.store(1, Ordering::SeqCst);
    world.hears_end(1).await;
    colloquy_testkit::until(Duration::from_secs(20), "the listener failed", async || world.heard().len() == 1).await;
    // It is tried again a second later, and the log's answer gets lost.
    world.others.answers_get_lost.store(true, Ordering::SeqCst);
    world.ear.panics.store(1, Ordering::SeqCst);
    colloquy_testkit::until(Duration::from_secs(20), "everybody heard", async || {
        world.clock.advance_millis(500);
        world.told().len() == 1
    })
    .await;
    world.settle().await;
    let id = conversation(1);
    assert_eq!(world.heard(), [(id, true, true), (id, true, true), (id, true, true)]);
    world.hears_end(1).await;
    world.settle().await;
    assert_eq!(world.told().len(), 1);
}

#[tokio::test]
async fn what_fails_for_many_is_done_for_each() {
    let world = World::start(1).await;
    let numbers: Vec<u128> = (1..=20).collect();
    for number in &numbers {
        world.is(*number, ConversationStatus::Completed, &PLEASED);
    }
    world.ear.panics.store(1, Ordering::SeqCst);
    world.hears(numbers.iter().map(|number| event(*number, Data::Ended(Ended::new(EndStatus::Completed)))).collect()).await;
    world.settle().await;
    let told: HashSet<ConversationId> = world.told().iter().map(|event| event.conversation_id).collect();
    assert_eq!((told.len(), world.told().len()), (20, 20));
    let mut heard: HashMap<ConversationId, usize> = HashMap::new();
    for (id, ..) in world.heard() {
        *heard.entry(id).or_default() += 1;
    }
    assert_eq!(heard.len(), 20);
    assert!(heard.values().any(|times| *times > 1) && heard.values().all(|times| *times <= 2), "{heard:?}");
}

#[tokio::test]
async fn those_that_are_ready_do_not_wait_for_one_that_is_not() {
    let world = World::start(1).await;
    let numbers: Vec<u128> = (1..=9).collect();
    let ids: Vec<String> = numbers.iter().map(|number| conversation(*number).to_string()).collect();
    for number in &numbers {
        world.is(*number, ConversationStatus::Completed, &PLEASED);
    }
    // Whichever of them are left out of the answer for all are asked for alone, and not answered.
    world.others.slow.lock().unwrap().extend(ids);
    world.hears(numbers.iter().map(|number| event(*number, Data::Ended(Ended::new(EndStatus::Completed)))).collect()).await;
    colloquy_testkit::until(Duration::from_secs(20), "those in the answer for all are told", async || world.told().len() == 6)
        .await;
    world.others.slow.lock().unwrap().clear();
    world.settle().await;
    assert_eq!(world.told().len(), 9);
}

async fn replicas_share(fixture: Fixture) {
    let world = World::over(fixture, 2, Vec::new()).await;
    for number in 0..90 {
        world.is(number, ConversationStatus::Completed, &PLEASED);
    }
    let ended = |number| event(number, Data::Ended(Ended::new(EndStatus::Completed)));
    world.hears((0..60).map(ended).collect()).await;
    world.hears((30..90).map(ended).collect()).await;
    world.settle().await;
    let told: HashSet<ConversationId> = world.told().iter().map(|event| event.conversation_id).collect();
    assert_eq!((told.len(), world.told().len()), (90, 90));
    let newly: Vec<_> = world.heard().into_iter().filter(|(_, _, newly)| *newly).collect();
    assert_eq!(newly.len(), 90);
    for number in 0..90 {
        assert_eq!(world.figures(number).await.unwrap().features.turn_count, 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_share_the_work_on_sqlite() {
    replicas_share(Fixture::sqlite().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_share_the_work_on_postgres() {
    if let Some(fixture) = Fixture::postgres().await {
        replicas_share(fixture).await;
    }
}

#[tokio::test]
async fn a_conversation_that_was_erased_leaves_no_figures() {
    let world = World::start(1).await;
    world.is(1, ConversationStatus::Completed, &PLEASED);
    world.hears_end(1).await;
    world.settle().await;
    assert!(world.figures(1).await.is_some());
    world.others.records.lock().unwrap().clear();
    world.hears(vec![said(1)]).await;
    world.settle().await;
    assert_eq!(world.figures(1).await, None);
}

#[tokio::test]
async fn settings_hold_from_the_next_analysis_on() {
    let world = World::start(1).await;
    world.is(1, ConversationStatus::Completed, &PLEASED);
    world.hears_end(1).await;
    world.settle().await;
    let change = SettingsChange { leading: Some(Leading::Own), ..SettingsChange::default() };
    world.fixture.store.change_settings(&acme(), change, at(0)).await.unwrap();
    world.hears_end(1).await;
    world.settle().await;
    assert_eq!(world.told().iter().map(authority).collect::<Vec<_>>(), [Authority::Own, Authority::OwnLeading]);
}

#[tokio::test]
async fn one_that_cannot_be_read_holds_nobody_up() {
    let world = World::start(1).await;
    world.is(1, ConversationStatus::Unspecified, &PLEASED);
    world.is(2, ConversationStatus::Completed, &[]);
    world.others.turns.lock().unwrap().remove(&conversation(2).to_string());
    world.hears(vec![said(1), said(2)]).await;
    world.hears_end(2).await;
    colloquy_testkit::until(Duration::from_secs(20), "the first is given up", async || {
        world.clock.advance_millis(5_000);
        !world.fixture.store.is_waiting(&acme(), None, world.progress.current()).await.unwrap()
    })
    .await;
    assert_eq!(world.figures(1).await, None);
    let features = world.figures(2).await.unwrap().features;
    assert_eq!((features.turn_count, features.settled), (0, true));
    // Once it can be read, it is.
    world.is(1, ConversationStatus::Completed, &PLEASED);
    world.hears_end(1).await;
    colloquy_testkit::until(Duration::from_secs(20), "the first is analysed", async || {
        world.clock.advance_millis(5_000);
        world.figures(1).await.is_some()
    })
    .await;
}

#[tokio::test]
async fn what_others_add_is_part_of_the_analysis() {
    let world = World::over(Fixture::sqlite().await.unwrap(), 1, vec![Arc::new(Summary)]).await;
    world.is(1, ConversationStatus::Completed, &PLEASED);
    world.hears_end(1).await;
    world.settle().await;
    assert_eq!(world.figures(1).await.unwrap().analysis.own.summary.as_deref(), Some("they talked"));
    let told = world.told();
    let Data::Analyzed(judged) = &told[0].data else { panic!("{told:?}") };
    assert_eq!(judged.summary.as_deref(), Some("they talked"));
}

#[tokio::test]
async fn what_is_known_reaches_up_to_what_waits() {
    let world = World::start(0).await;
    let frontier = world.frontier();
    // Nothing waits and the log has nothing more: all but what may be on its way.
    world.clock.set(at(10_000));
    assert_eq!(frontier.data_through(&acme()).await.unwrap(), at(9_000));
    world.hears_end(1).await;
    assert_eq!(frontier.data_through(&acme()).await.unwrap(), at(1_000));
}

#[tokio::test]
async fn nobody_waits_for_what_is_not_theirs() {
    let world = World::start(0).await;
    let position = world.hears_end(1).await;
    let frontier = world.frontier();
    frontier.wait_for(&acme(), 0).await.unwrap();
    frontier.wait_for(&"other".parse().unwrap(), position).await.unwrap();
    frontier.wait_for_conversation(&acme(), conversation(2), Some(Position(position))).await.unwrap();
}
