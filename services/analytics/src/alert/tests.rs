//! Rules and alerts as a whole: over one database, with as many replicas as a test wants.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use colloquy_events::{Data, Role, Turn};
use colloquy_filter::Expression;
use colloquy_proto::conversation::v1::ConversationStatus;
use colloquy_service::Problem;
use colloquy_types::{Clock, ConversationId, ManualClock, OrganizationId, Position, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio::sync::Notify;
use uuid::Uuid;

use super::alert::{Alert, Handling};
use super::backtest::Backtests;
use super::book::Book;
use super::live::{self, Conversations};
use super::measure::Measures;
use super::phrases::{Phrases, Words};
use super::reminder::Reminder;
use super::rule::{Comparison, Metric, Needs, NoData, Rule};
use super::samples::{acme, at, condition, features, filtered, live as running, metric, rule, seconds, turn, window_rule, write};
use super::state::{Measured, State};
use super::store::{AlertStore, Wanted, open};
use super::transcripts::Transcripts;
use super::windows::{self, Windows};
use crate::features::Features;
use crate::hooks::{Analysed, Seen};
use crate::input::Input;
use crate::query::{Measure, Queries};
use crate::testing::{Fixture, made, record_pb};

/// What was said, as a test decides.
#[derive(Default)]
struct Said {
    turns: HashMap<ConversationId, Vec<Turn>>,
    /// Of these it cannot be read.
    unreadable: HashMap<ConversationId, Problem>,
    read: AtomicU64,
}

#[async_trait]
impl Transcripts for Said {
    async fn turns(&self, _: &OrganizationId, conversation: ConversationId) -> Result<Vec<Turn>, Problem> {
        self.read.fetch_add(1, Ordering::SeqCst);
        if let Some(problem) = self.unreadable.get(&conversation) {
            return Err(problem.clone());
        }
        Ok(self.turns.get(&conversation).cloned().unwrap_or_default())
    }

    async fn saying(
        &self,
        _: &OrganizationId,
        phrase: &str,
        among: &[ConversationId],
        _: Position,
    ) -> Result<Option<HashSet<ConversationId>>, Problem> {
        let mut phrases = Phrases::default();
        phrases.add(phrase).unwrap();
        let says = |turn: &Turn| {
            let mut found = false;
            phrases.find(&Words::of(turn.heard().unwrap_or_default()), |_| found = true);
            found
        };
        let found = among.iter().filter(|id| self.turns.get(id).is_some_and(|turns| turns.iter().any(says)));
        Ok(Some(found.copied().collect()))
    }
}

/// Figures that are complete at once, or up to when a test says.
struct Complete {
    queries: Queries,
    through: Arc<Mutex<Timestamp>>,
}

#[async_trait]
impl Measures for Complete {
    async fn measure(
        &self,
        organization: &OrganizationId,
        measure: &Measure,
        which: &Expression,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Measured, Problem> {
        let found = self.queries.measure(organization, measure, which, from, to).await.unwrap();
        Ok(Measured { value: found.value, count: found.n })
    }

    async fn conversations(
        &self,
        organization: &OrganizationId,
        which: &Expression,
        from: Timestamp,
        to: Timestamp,
        limit: u32,
    ) -> Result<Vec<ConversationId>, Problem> {
        Ok(self.queries.conversations(organization, which, from, to, limit).await.unwrap())
    }

    async fn data_through(&self, _: &OrganizationId) -> Result<Timestamp, Problem> {
        Ok(*self.through.lock().unwrap())
    }
}

struct World {
    fixture: Fixture,
    store: Arc<dyn AlertStore>,
    clock: ManualClock,
    said: Arc<Said>,
    through: Arc<Mutex<Timestamp>>,
    bell: Arc<Notify>,
}

impl World {
    async fn new(rules: &[Rule]) -> Self {
        Self::on(Fixture::sqlite().await.unwrap(), rules, Said::default()).await
    }

    async fn on(fixture: Fixture, rules: &[Rule], said: Said) -> Self {
        let store = open(&fixture.database);
        store.begin(&acme(), rules).await.unwrap();
        let (clock, through) = (ManualClock::at(at(0)), Arc::new(Mutex::new(Timestamp::MAX)));
        Self { fixture, store, clock, said: Arc::new(said), through, bell: Arc::default() }
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.clock.clone())
    }

    fn book(&self) -> Book {
        Book::new(Arc::clone(&self.store), self.clock())
    }

    /// A replica that has just started.
    fn conversations(&self) -> Conversations {
        Conversations::new(live::Parts {
            store: Arc::clone(&self.store),
            book: self.book(),
            transcripts: Arc::clone(&self.said) as Arc<dyn Transcripts>,
            clock: self.clock(),
            bell: Arc::clone(&self.bell),
        })
    }

    /// The same.
    fn windows(&self) -> Windows {
        Windows::new(windows::Parts {
            store: Arc::clone(&self.store),
            book: self.book(),
            measures: Arc::new(Complete {
                queries: Queries::new(&self.fixture.database, self.clock()),
                through: Arc::clone(&self.through),
            }),
            clock: self.clock(),
            bell: Arc::clone(&self.bell),
        })
    }

    fn backtests(&self) -> Backtests {
        Backtests::new(Arc::clone(&self.store), Arc::clone(&self.said) as Arc<dyn Transcripts>, self.clock())
    }

    async fn alerts(&self) -> Vec<Alert> {
        self.store.page_of_alerts(&acme(), &Wanted::default(), None, 10_000).await.unwrap()
    }

    async fn kinds(&self) -> Vec<&'static str> {
        self.store.outbox(10_000).await.unwrap().iter().map(|(_, event)| event.data.kind()).collect()
    }
}

async fn analyse(replica: &Conversations, row: &Features, turns: Vec<Turn>) {
    analyse_what_was_heard(replica, row, turns, at(1)).await;
}

async fn analyse_what_was_heard(replica: &Conversations, row: &Features, turns: Vec<Turn>, heard_at: Timestamp) {
    let (_, analysis) = made(1, &[]);
    let record = record_pb(1, ConversationStatus::Completed);
    let mut input = Input::of(&record, Vec::new()).unwrap();
    input.turns = turns;
    let seen = Seen { input: &input, analysis: &analysis, features: row, heard_at, newly_settled: false };
    replica.analysed(&[seen]).await.unwrap();
}

fn failing(number: u128) -> Rule {
    rule(number, vec![condition("error_count", "gte", json!(1))])
}

#[tokio::test]
async fn replicas_and_restarts_raise_an_alert_once() {
    let world = World::new(&[failing(1)]).await;
    let (one, other) = (world.conversations(), world.conversations());
    let row = features(1);
    tokio::join!(analyse(&one, &row, Vec::new()), analyse(&other, &row, Vec::new()));
    analyse(&one, &row, Vec::new()).await;
    analyse(&world.conversations(), &row, Vec::new()).await;
    assert_eq!(world.alerts().await.len(), 1);
    assert_eq!(world.kinds().await, ["alert.opened"]);
}

#[tokio::test]
async fn what_is_resolved_is_not_opened_by_later_analyses() {
    let world = World::new(&[failing(1)]).await;
    analyse(&world.conversations(), &features(1), Vec::new()).await;
    let id = world.alerts().await[0].alert_id;
    world.store.handle(&acme(), id, Handling::Resolved, at(1)).await.unwrap();
    analyse(&world.conversations(), &Features { error_count: 9, ..features(1) }, Vec::new()).await;
    assert_eq!(world.alerts().await[0].state, Handling::Resolved);
    assert_eq!(world.kinds().await, ["alert.opened", "alert.resolved"]);
}

#[tokio::test]
async fn a_rule_watches_what_is_heard_from_when_it_begins() {
    let world = World::new(&[Rule { watches_from: seconds(50), ..failing(1) }]).await;
    let replica = world.conversations();
    world.clock.set(seconds(60));
    // Analysed now, and received before.
    analyse_what_was_heard(&replica, &features(1), Vec::new(), at(49_999)).await;
    assert!(world.alerts().await.is_empty());
    // It began long ago, and is received now.
    let old = Features { created_at: at(-90 * 86_400_000), ..features(2) };
    analyse_what_was_heard(&replica, &old, Vec::new(), seconds(50)).await;
    assert_eq!(world.alerts().await.len(), 1);
    // Something is heard of the first one after all.
    analyse_what_was_heard(&replica, &features(1), Vec::new(), seconds(61)).await;
    assert_eq!(world.alerts().await.len(), 2);
}

#[tokio::test]
async fn the_first_rules_watch_from_when_the_service_began_whoever_comes_later() {
    let fixture = Fixture::sqlite().await.unwrap();
    let store = open(&fixture.database);
    store.beginning(seconds(10)).await.unwrap();
    let clock = ManualClock::at(seconds(20));
    let parts = live::Parts {
        store: Arc::clone(&store),
        book: Book::new(Arc::clone(&store), Arc::new(clock.clone())),
        transcripts: Arc::new(Said::default()),
        clock: Arc::new(clock),
        bell: Arc::default(),
    };
    let replica = Conversations::new(parts);
    let alerts = || async { store.page_of_alerts(&acme(), &Wanted::default(), None, 100).await.unwrap().len() };
    // It lay in the log when the service was new.
    analyse_what_was_heard(&replica, &features(1), Vec::new(), seconds(9)).await;
    assert_eq!(alerts().await, 0);
    // The first that is heard of an organization, before it has its rules.
    analyse_what_was_heard(&replica, &features(2), Vec::new(), seconds(19)).await;
    assert!(alerts().await > 0);
}

#[tokio::test]
async fn a_muted_rule_raises_nothing_until_then() {
    let world = World::new(&[Rule { muted_until: Some(seconds(60)), ..failing(1) }]).await;
    let replica = world.conversations();
    analyse(&replica, &features(1), Vec::new()).await;
    assert!(world.alerts().await.is_empty());
    world.clock.set(seconds(60));
    analyse(&replica, &features(1), Vec::new()).await;
    assert_eq!(world.alerts().await.len(), 1);
}

#[tokio::test]
async fn a_long_conversation_is_noticed_while_nothing_happens_in_it() {
    let long = rule(1, vec![condition("duration_seconds", "gt", json!(900))]);
    let insists = condition("user_text", "contains", json!("still there"));
    let both = rule(2, vec![condition("duration_seconds", "gt", json!(900)), insists]);
    let mut said = Said::default();
    said.turns.insert(running(1).conversation_id, vec![turn(0, Role::User, "are you still there", 5_000)]);
    let world = World::on(Fixture::sqlite().await.unwrap(), &[long, both], said).await;
    write(&world.fixture.database, &[running(1), running(2), features(3)]).await;
    let (one, other) = (world.conversations(), world.conversations());
    world.clock.set(seconds(890));
    one.look().await.unwrap();
    assert!(world.alerts().await.is_empty());
    world.clock.set(seconds(903));
    one.look().await.unwrap();
    other.look().await.unwrap();
    world.clock.set(seconds(906));
    one.look().await.unwrap();
    let raised: BTreeSet<(u128, u128)> = world
        .alerts()
        .await
        .iter()
        .map(|alert| (alert.rule_id.as_u128(), alert.conversation_id().unwrap().0.as_u128()))
        .collect();
    assert_eq!(raised, BTreeSet::from([(1, 1), (1, 2), (2, 1)]));
    assert_eq!(world.kinds().await.len(), 3);
}

#[tokio::test]
async fn a_conversation_that_cannot_be_read_holds_up_no_other() {
    let insists = condition("user_text", "contains", json!("still there"));
    let long = || condition("duration_seconds", "gt", json!(900));
    let both = Rule { needs: Needs::Any, ..rule(1, vec![long(), insists.clone()]) };
    let said_so = rule(2, vec![long(), insists]);
    let mut said = Said::default();
    said.turns.insert(running(2).conversation_id, vec![turn(0, Role::User, "are you still there", 5_000)]);
    let too_long = Problem::exhausted("TRANSCRIPT_TOO_LONG", "it is too long");
    said.unreadable.insert(running(1).conversation_id, too_long);
    said.unreadable.insert(running(3).conversation_id, Problem::unavailable("UPSTREAM", "gone", Duration::from_secs(1)));
    let world = World::on(Fixture::sqlite().await.unwrap(), &[both, said_so], said).await;
    write(&world.fixture.database, &[running(1), running(2), running(3)]).await;
    let replica = world.conversations();
    world.clock.set(seconds(903));
    // One may be read next time.
    assert!(replica.look().await.is_err());
    let raised: BTreeSet<(u128, u128)> = (world.alerts().await.iter())
        .map(|alert| (alert.rule_id.as_u128(), alert.conversation_id().unwrap().0.as_u128()))
        .collect();
    assert_eq!(raised, BTreeSet::from([(1, 1), (1, 2), (2, 2)]));
}

#[tokio::test]
async fn a_reminder_is_an_event_of_its_own_and_told_once() {
    let world = World::new(&[Rule { renotify_after_ms: Some(60_000), ..failing(1) }]).await;
    analyse(&world.conversations(), &features(1), Vec::new()).await;
    let reminder = || Reminder::new(Arc::clone(&world.store), world.clock(), Arc::clone(&world.bell));
    assert_eq!(reminder().remind().await.unwrap(), 0);
    world.clock.set(seconds(61));
    let (one, other) = (reminder(), reminder());
    let (one, other) = tokio::join!(one.remind(), other.remind());
    assert_eq!(one.unwrap() + other.unwrap(), 1);
    let ids: BTreeSet<_> = world.store.outbox(10).await.unwrap().into_iter().map(|(_, event)| event.event_id).collect();
    assert_eq!(ids.len(), 2);
    let id = world.alerts().await[0].alert_id;
    world.store.handle(&acme(), id, Handling::Acknowledged, seconds(70)).await.unwrap();
    world.clock.set(seconds(500));
    assert_eq!(reminder().remind().await.unwrap(), 0);
}

/// Writes a conversation of each length, a minute apart, the first at second 0.
async fn lengths(world: &World, lengths: &[i64]) -> Vec<Features> {
    let rows: Vec<Features> = (lengths.iter().enumerate())
        .map(|(number, length)| {
            let began = seconds(number as i64 * 60);
            let duration_ms = Some(length * 1_000);
            Features { created_at: began, started_at: Some(began), duration_ms, ..features(number as u128 + 1) }
        })
        .collect();
    write(&world.fixture.database, &rows).await;
    rows
}

/// Lets time pass in steps of ten seconds; returns where the rule stood after each step in which that changed.
async fn pass(world: &World, replicas: &[Windows], from: i64, to: i64) -> Vec<State> {
    let mut states = Vec::new();
    for now in (from..to).step_by(10) {
        world.clock.set(seconds(now));
        for replica in replicas {
            replica.look().await.unwrap();
        }
        let (_, standing) = world.store.rule(&acme(), Uuid::from_u128(1)).await.unwrap().unwrap();
        let state = standing.unwrap().state;
        if states.last() != Some(&state) {
            states.push(state);
        }
    }
    states
}

#[tokio::test]
async fn a_value_that_is_too_bad_raises_one_alert_until_it_has_recovered() {
    let metric = Metric { window_ms: 120_000, threshold: 100.0, recovery_margin: Some(0.2), ..metric() };
    let world = World::new(&[window_rule(1, metric)]).await;
    // Around the threshold again and again, then well below it.
    lengths(&world, &[50, 120, 120, 90, 110, 95, 105, 90, 90, 20, 20, 20]).await;
    let replicas = [world.windows(), world.windows()];
    let states = pass(&world, &replicas, 0, 780).await;
    assert_eq!(states, [State::Unknown, State::Ok, State::Alert, State::Ok]);
    let alerts = world.alerts().await;
    assert_eq!((alerts.len(), alerts[0].state), (1, Handling::Resolved));
    assert!(alerts[0].conversation_count > 0 && !alerts[0].conversation_ids.is_empty());
    assert_eq!(world.kinds().await, ["alert.opened", "alert.resolved"]);
}

#[tokio::test]
async fn an_alert_over_a_window_that_was_resolved_by_hand_stays_quiet_until_all_was_well() {
    let metric = Metric { window_ms: 120_000, threshold: 100.0, ..metric() };
    let world = World::new(&[window_rule(1, metric)]).await;
    lengths(&world, &[200, 200, 200, 200, 10, 10, 10, 10, 200, 200]).await;
    let replicas = [world.windows()];
    pass(&world, &replicas, 0, 120).await;
    let first = world.alerts().await[0].alert_id;
    world.store.handle(&acme(), first, Handling::Resolved, seconds(120)).await.unwrap();
    pass(&world, &replicas, 120, 240).await;
    assert_eq!(world.alerts().await.len(), 1);
    pass(&world, &replicas, 240, 640).await;
    assert_eq!(world.alerts().await.len(), 2);
}

#[tokio::test]
async fn a_mute_only_delays_an_alert_that_is_still_due() {
    let metric = Metric { window_ms: 600_000, threshold: 100.0, ..metric() };
    let world = World::new(&[Rule { muted_until: Some(seconds(200)), ..window_rule(1, metric) }]).await;
    lengths(&world, &[200, 200, 200]).await;
    let replicas = [world.windows()];
    let states = pass(&world, &replicas, 0, 200).await;
    assert_eq!((states.last(), world.alerts().await.len()), (Some(&State::Alert), 0));
    pass(&world, &replicas, 200, 300).await;
    assert_eq!(world.alerts().await.len(), 1);
}

#[tokio::test]
async fn what_is_owed_when_a_mute_ends_is_still_so_after_a_while_without_data() {
    let metric = Metric { window_ms: 120_000, threshold: 100.0, ..metric() };
    let world = World::new(&[Rule { muted_until: Some(seconds(400)), ..window_rule(1, metric) }]).await;
    // Nothing between the third minute and the eighth.
    let rows = [0, 1, 2, 8, 9].map(|minute| Features {
        created_at: seconds(minute * 60),
        duration_ms: Some(200_000),
        ..features(minute.unsigned_abs().into())
    });
    write(&world.fixture.database, &rows).await;
    let states = pass(&world, &[world.windows()], 0, 400).await;
    assert_eq!(states, [State::Unknown, State::Alert, State::NoData]);
    assert_eq!(world.alerts().await.len(), 0);
    pass(&world, &[world.windows()], 400, 600).await;
    assert_eq!(world.alerts().await.len(), 1);
}

#[tokio::test]
async fn figures_that_lag_behind_are_waited_for_only_for_so_long() {
    let metric = Metric { window_ms: 100_000, threshold: 100.0, ..metric() };
    let world = World::new(&[window_rule(1, metric)]).await;
    lengths(&world, &[200; 20]).await;
    let replicas = [world.windows()];
    // A little behind: what is complete is looked at.
    *world.through.lock().unwrap() = seconds(75);
    world.clock.set(seconds(100));
    replicas[0].look().await.unwrap();
    let looked = || async {
        let due = world.store.due(Timestamp::MAX, 10).await.unwrap().pop().unwrap();
        due.evaluated_until.millis_since(at(0)) / 1_000
    };
    assert_eq!(looked().await, 70);
    // It is not looked at again before there is more, but soon then.
    world.clock.set(seconds(110));
    replicas[0].look().await.unwrap();
    assert_eq!(looked().await, 70);
    *world.through.lock().unwrap() = seconds(95);
    world.clock.set(seconds(116));
    replicas[0].look().await.unwrap();
    assert_eq!(looked().await, 90);
    // Far behind: nothing is waited for any more.
    world.clock.set(seconds(220));
    replicas[0].look().await.unwrap();
    assert_eq!(looked().await, 210);
    world.clock.set(seconds(240));
    replicas[0].look().await.unwrap();
    assert_eq!(looked().await, 230);
    // Whoever has just started gives them the same time.
    world.clock.set(seconds(400));
    let started = world.windows();
    started.look().await.unwrap();
    assert_eq!(looked().await, 230);
    world.clock.set(seconds(520));
    started.look().await.unwrap();
    assert_eq!(looked().await, 510);
}

#[tokio::test]
async fn the_three_comparisons_see_what_they_compare() {
    let base = Metric { window_ms: 120_000, no_data: NoData::Ok, ..metric() };
    let relative = Metric { comparison: Comparison::Relative, threshold: 0.5, ..base.clone() };
    let share = Metric { comparison: Comparison::Share, field: String::new(), op: String::new(), threshold: 0.5, ..base };
    let share = Rule { conditions: vec![condition("duration_seconds", "gt", json!(100))], ..window_rule(2, share) };
    let world = World::new(&[window_rule(1, relative), share]).await;
    lengths(&world, &[60, 60, 60, 60, 120, 120]).await;
    pass(&world, &[world.windows()], 0, 400).await;
    let mut seen: HashMap<u128, Alert> = HashMap::new();
    for alert in world.alerts().await {
        seen.insert(alert.rule_id.as_u128(), alert);
    }
    let grew = &seen[&1].evidence;
    assert_eq!((grew["before"].as_f64(), grew["comparison"].as_str()), (Some(60.0), Some("relative")));
    let part = &seen[&2].evidence;
    assert!(part["value"].as_f64() > Some(0.5) && part["matching"].as_u64() == Some(seen[&2].conversation_count));
}

/// The rules that the two roads are compared with.
fn many_rules() -> Vec<Rule> {
    vec![
        failing(1),
        rule(2, vec![condition("satisfaction_score", "lt", json!(2.5)), condition("channel", "eq", json!(["phone", "web"]))]),
        rule(3, vec![condition("user_text", "contains", json!(["human please", "real person"]))]),
        rule(4, vec![condition("text", "contains", json!("thank you")), condition("duration_seconds", "gt", json!(60))]),
        filtered(rule(5, vec![condition("topic", "contains", json!("refund"))]), r#"agent_id = "agent-1" AND error_count < 3"#),
        rule(6, vec![condition("custom.urgent", "eq", json!(true)), condition("custom.seats", "gte", json!(2))]),
        Rule { needs: Needs::Any, ..rule(7, many_signs()) },
    ]
}

fn many_signs() -> Vec<super::rule::Condition> {
    vec![
        condition("resolution_status", "eq", json!(["escalated", "transferred"])),
        condition("user_text", "contains", json!(["human please", "talk to a person"])),
        condition("sentiment_shift", "lte", json!(-0.8)),
    ]
}

fn a_conversation(number: u128, random: &mut StdRng) -> (Features, Vec<Turn>) {
    let mut one_of = |words: &[&str]| words[random.random_range(0..words.len())].to_owned();
    let said = ["hello", "Human, please!", "a real person now", "thank you so much", "let me talk to a person", ""];
    let turns: Vec<Turn> = (0..4)
        .map(|place| turn(place, if place % 2 == 0 { Role::User } else { Role::Agent }, &one_of(&said), place as i64 * 1_000))
        .collect();
    let row = Features {
        channel: Some(one_of(&["phone", "web", "chat"])),
        agent_id: Some(one_of(&["agent-1", "agent-2"])),
        resolution_status: one_of(&["resolved", "escalated", "unknown", "unresolved"]),
        topics: vec![one_of(&["refund request", "billing"])],
        error_count: random.random_range(0..5),
        duration_ms: Some(random.random_range(0..120_000)),
        satisfaction_score: random.random_bool(0.8).then(|| f64::from(random.random_range(10..50)) / 10.0),
        sentiment_shift: random.random_bool(0.8).then(|| random.random_range(-1.5..1.5)),
        custom: [("urgent".to_owned(), json!(random.random_bool(0.5))), ("seats".to_owned(), json!(random.random_range(0..4)))]
            .into(),
        created_at: at(i64::try_from(number).unwrap() * 10),
        ..features(number)
    };
    (row, turns)
}

#[tokio::test]
async fn history_says_what_was_raised_live() {
    let mut random = StdRng::seed_from_u64(7);
    let conversations: Vec<_> = (1..=1_500).map(|number| a_conversation(number, &mut random)).collect();
    let mut said = Said::default();
    for (row, turns) in &conversations {
        said.turns.insert(row.conversation_id, turns.clone());
    }
    let world = World::on(Fixture::sqlite().await.unwrap(), &many_rules(), said).await;
    world.clock.set(seconds(1_000_000));
    let replica = world.conversations();
    for (row, turns) in &conversations {
        analyse(&replica, row, turns.clone()).await;
    }
    let rows: Vec<Features> = conversations.into_iter().map(|(row, _)| row).collect();
    write(&world.fixture.database, &rows).await;

    let mut live: HashMap<Uuid, BTreeSet<ConversationId>> = HashMap::new();
    for alert in world.alerts().await {
        live.entry(alert.rule_id).or_default().insert(alert.conversation_id().unwrap());
    }
    for rule in many_rules() {
        let raised = live.remove(&rule.rule_id).unwrap_or_default();
        let id = rule.rule_id.as_u128();
        let outcome = world.backtests().run(rule, at(0), seconds(1_000_000)).await.unwrap();
        let listed: BTreeSet<ConversationId> = outcome.hits.iter().map(|hit| hit.conversation.as_ref().unwrap().0).collect();
        assert!(!raised.is_empty(), "rule {id}");
        assert_eq!((outcome.count, outcome.examined), (raised.len() as u64, 1_500), "rule {id}");
        assert!(listed.is_subset(&raised) && listed.len() == raised.len().min(1_000), "rule {id}");
        if id != 5 {
            assert_eq!(outcome.warnings.is_empty(), raised.len() <= 750, "rule {id}: {:?}", outcome.warnings);
        }
    }
}

#[tokio::test]
async fn a_backtest_reads_only_what_may_decide_and_raises_nothing() {
    let mut said = Said::default();
    let rows: Vec<Features> = (1..=300).map(features).collect();
    for row in &rows {
        let text = if row.conversation_id.0.as_u128() % 100 == 0 { "a real person" } else { "hello" };
        said.turns.insert(row.conversation_id, vec![turn(0, Role::User, text, 0)]);
    }
    let world = World::on(Fixture::sqlite().await.unwrap(), &[], said).await;
    write(&world.fixture.database, &rows).await;
    let listens = Rule { enabled: false, ..rule(3, vec![condition("user_text", "contains", json!("real person"))]) };
    let outcome = world.backtests().run(listens, at(0), seconds(1)).await.unwrap();
    assert_eq!((outcome.count, world.said.read.load(Ordering::SeqCst)), (3, 3));
    assert!(world.alerts().await.is_empty() && world.kinds().await.is_empty());
}

#[tokio::test]
async fn a_rule_that_would_fire_on_everything_is_warned_of() {
    let world = World::new(&[]).await;
    write(&world.fixture.database, &(1..=40).map(features).collect::<Vec<_>>()).await;
    let outcome = world.backtests().run(failing(1), at(0), seconds(1)).await.unwrap();
    assert_eq!((outcome.count, outcome.warnings.len()), (40, 1));
    assert!(outcome.warnings[0].contains("100 %"), "{:?}", outcome.warnings);
    let nothing = world.backtests().run(failing(1), seconds(10), seconds(11)).await.unwrap();
    assert_eq!((nothing.examined, nothing.warnings.len()), (0, 1));
}

#[tokio::test]
async fn history_says_when_a_window_was_too_bad() {
    let mut random = StdRng::seed_from_u64(11);
    for (op, comparison, threshold) in [
        ("avg", Comparison::Absolute, 100.0),
        ("p90", Comparison::Absolute, 150.0),
        ("count", Comparison::Absolute, 2.0),
        ("sum", Comparison::Relative, 0.6),
        ("sum", Comparison::Absolute, 200.0),
        ("", Comparison::Share, 0.6),
    ] {
        let metric = Metric {
            field: if op.is_empty() { String::new() } else { "duration_seconds".to_owned() },
            op: op.to_owned(),
            window_ms: 180_000,
            comparison,
            threshold,
            ..metric()
        };
        let conditions = if op.is_empty() { vec![condition("duration_seconds", "gt", json!(100))] } else { Vec::new() };
        let rule = Rule { conditions, ..window_rule(1, metric) };
        let world = World::new(std::slice::from_ref(&rule)).await;
        let random: Vec<i64> = (0..40).map(|_| random.random_range(10..200)).collect();
        lengths(&world, &random).await;
        pass(&world, &[world.windows()], 0, 2_700).await;
        let mut live: Vec<Timestamp> = Vec::new();
        for (_, event) in world.store.outbox(1_000).await.unwrap() {
            if let Data::AlertOpened(alert) = event.data {
                live.push(alert.evidence.unwrap()["at"].as_str().unwrap().parse().unwrap());
            }
        }
        live.sort_unstable();
        let outcome = world.backtests().run(rule, seconds(1), seconds(2_690)).await.unwrap();
        let history: Vec<Timestamp> = outcome.hits.iter().map(|hit| hit.at).collect();
        assert!(!live.is_empty(), "{op} {comparison:?}");
        assert_eq!(history, live, "{op} {comparison:?}");
    }
}
