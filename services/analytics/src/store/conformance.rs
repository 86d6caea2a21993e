//! What every store must do.

use std::collections::{BTreeMap, BTreeSet};

use colloquy_types::{OrganizationId, Position, RecordId, Timestamp};
use serde_json::json;
use uuid::Uuid;

use super::{Batch, Before, Claimed, Figures, Finish, GIVEN_UP_AFTER, Mark, Store, Told, Written};
use crate::analysis::Analysis;
use crate::features::Features;
use crate::input::Judgement;
use crate::organization::{AnalysisSettings, Leading, SettingsChange};
use crate::testing::{Fixture, acme, at, conversation, made};

macro_rules! analytics_store_suite {
    ($($case:ident),+ $(,)?) => {
        mod on_sqlite { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(&super::Fixture::sqlite().await.unwrap()).await;
            }
        )+ }
        mod on_postgres { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                if let Some(fixture) = super::Fixture::postgres().await {
                    super::$case(&fixture).await;
                }
            }
        )+ }
    };
}

analytics_store_suite!(
    a_batch_and_its_position_are_kept_together,
    batches_of_any_size_are_kept_whole,
    what_is_heard_again_changes_nothing,
    a_record_is_set_aside_once,
    each_conversation_is_claimed_by_one,
    a_claim_that_runs_out_or_is_given_back_is_due_again,
    what_is_heard_during_the_work_stays_in_the_queue,
    a_running_conversation_waits_for_its_next_time_unless_it_ends,
    it_is_known_when_something_was_last_heard,
    what_somebody_waits_for_is_due_at_once,
    what_fails_again_and_again_is_not_waited_for,
    what_is_not_analysed_yet_bounds_what_is_known,
    figures_come_back_as_they_were_written,
    figures_are_replaced_and_their_hours_noted,
    what_a_worker_writes_whose_claim_was_taken_does_not_count,
    what_was_told_is_remembered,
    what_is_told_without_a_claim_is_not_remembered,
    what_was_read_up_to_a_position_stays_read_up_to_it,
    what_does_not_exist_any_more_leaves_nothing,
    a_conversation_can_be_analysed_again_without_news,
    organizations_do_not_see_each_other,
    settings_are_changed_in_part_and_read_together,
);

fn mark(number: u128, sequence: u64, due: i64, is_urgent: bool) -> Mark {
    Mark {
        organization_id: acme(),
        conversation_id: conversation(number),
        first_position: Position::new(sequence, 0),
        position: Position::end_of(sequence),
        received_at: at(i64::try_from(sequence).unwrap()),
        heard_at: at(i64::try_from(sequence).unwrap()),
        due_at: at(due),
        is_urgent,
    }
}

async fn apply(store: &dyn Store, marks: Vec<Mark>, through: u64) {
    let batch = Batch { marks, organizations: vec![acme()], received_at: Some(at(i64::try_from(through).unwrap())) };
    store.apply(&batch, Position::end_of(through), at(0)).await.unwrap();
}

async fn claim(store: &dyn Store, now: i64) -> Vec<Claimed> {
    store.claim(at(now), at(now + 1_000), 100).await.unwrap()
}

fn numbers(claimed: &[Claimed]) -> Vec<u128> {
    claimed.iter().map(|claimed| claimed.conversation_id.0.as_u128()).collect()
}

async fn finish(store: &dyn Store, claimed: &[Claimed], finish: &Finish, now: i64) {
    let finished: Vec<_> = claimed.iter().map(|claimed| (claimed.clone(), finish.clone())).collect();
    store.finish(&finished, at(now)).await.unwrap();
}

fn over() -> Finish {
    Finish::Done { settled: true, not_before: at(0), told: None }
}

fn running(not_before: i64) -> Finish {
    Finish::Done { settled: false, not_before: at(not_before), told: None }
}

async fn is_waiting(store: &dyn Store, sequence: u64) -> bool {
    store.is_waiting(&acme(), None, Position::end_of(sequence)).await.unwrap()
}

async fn a_batch_and_its_position_are_kept_together(fixture: &Fixture) {
    let store = &*fixture.store;
    assert_eq!(store.position().await.unwrap(), Position::START);
    apply(store, vec![mark(1, 3, 0, true)], 3).await;
    apply(store, Vec::new(), 2).await;
    assert_eq!(store.position().await.unwrap(), Position::end_of(3));
    assert_eq!(store.received_through(&acme()).await.unwrap(), (Some(at(3)), at(3)));
    let claimed = claim(store, 0).await;
    assert_eq!((numbers(&claimed), claimed[0].position), (vec![1], Position::end_of(3)));
}

async fn it_is_known_when_something_was_last_heard(fixture: &Fixture) {
    let store = &*fixture.store;
    let (features, analysis) = made(1, &["hello"]);
    let judgements = BTreeMap::new();
    let written = Written::Analysed { features: &features, analysis: &analysis, judgements: &judgements };
    apply(store, vec![mark(1, 3, 0, true)], 3).await;
    apply(store, vec![Mark { heard_at: at(2), ..mark(1, 4, 0, true) }], 4).await;
    let first = claim(store, 0).await;
    assert_eq!(first[0].heard_at, Some(at(3)));
    store.write(&[(&first[0], written)]).await.unwrap();
    finish(store, &first, &over(), 0).await;
    // Nothing new: it was heard when it was.
    store.mark(&[(acme(), conversation(1))], at(9)).await.unwrap();
    let again = claim(store, 9).await;
    assert_eq!(again[0].heard_at, None);
    let before = store.write(&[(&again[0], written)]).await.unwrap();
    assert_eq!(before[0].as_ref().unwrap().heard_at, at(3));
    // Something new while it is to be analysed again anyway.
    apply(store, vec![mark(1, 7, 0, true)], 7).await;
    finish(store, &again, &over(), 9).await;
    let news = claim(store, 10).await;
    assert_eq!(news[0].heard_at, Some(at(7)));
    store.write(&[(&news[0], written)]).await.unwrap();
    let before = store.write(&[(&news[0], written)]).await.unwrap();
    assert_eq!(before[0].as_ref().unwrap().heard_at, at(7));
}

async fn batches_of_any_size_are_kept_whole(fixture: &Fixture) {
    let store = &*fixture.store;
    for (number, size) in [0_u128, 1, 2, 9, 130, 300].into_iter().enumerate() {
        let marks = (0..size).map(|at| mark(number as u128 * 1_000 + at, 1, 0, true)).collect();
        apply(store, marks, 1).await;
        let claimed = store.claim(at(0), at(1_000), 1_000).await.unwrap();
        let found: BTreeSet<u128> = numbers(&claimed).into_iter().collect();
        assert_eq!(found.len(), size as usize);
        finish(store, &claimed, &over(), 0).await;
        assert!(!is_waiting(store, 1).await);
    }
}

async fn what_is_heard_again_changes_nothing(fixture: &Fixture) {
    let store = &*fixture.store;
    apply(store, vec![mark(1, 3, 0, false)], 3).await;
    finish(store, &claim(store, 0).await, &running(0), 0).await;
    apply(store, vec![mark(1, 3, 0, false)], 3).await;
    assert_eq!(numbers(&claim(store, 0).await), Vec::<u128>::new());
    apply(store, vec![mark(1, 4, 0, false)], 4).await;
    assert_eq!(numbers(&claim(store, 0).await), [1]);
}

async fn a_record_is_set_aside_once(fixture: &Fixture) {
    let store = &*fixture.store;
    for (id, reason) in [(1, "first"), (1, "again"), (2, "second")] {
        store.set_aside(&acme(), RecordId(Uuid::from_u128(id)), 3, reason, at(0)).await.unwrap();
    }
    let sql = "select reason from set_aside order by record_id";
    let reasons: Vec<String> = match &fixture.database {
        colloquy_storage::Database::Sqlite(sqlite) => sqlx::query_scalar(sql).fetch_all(sqlite.readers()).await.unwrap(),
        colloquy_storage::Database::Postgres(pool) => sqlx::query_scalar(sql).fetch_all(pool).await.unwrap(),
    };
    assert_eq!(reasons, ["first", "second"]);
}

async fn each_conversation_is_claimed_by_one(fixture: &Fixture) {
    let store = &*fixture.store;
    apply(store, (0..200).map(|number| mark(number, 1, 0, true)).collect(), 1).await;
    let worker = || async {
        let mut claimed = Vec::new();
        loop {
            let some = store.claim(at(0), at(1_000), 7).await.unwrap();
            if some.is_empty() {
                return claimed;
            }
            claimed.extend(numbers(&some));
        }
    };
    let (one, two, three) = tokio::join!(worker(), worker(), worker());
    let mut all = [one, two, three].concat();
    all.sort_unstable();
    assert_eq!(all, (0..200).collect::<Vec<_>>());
}

async fn a_claim_that_runs_out_or_is_given_back_is_due_again(fixture: &Fixture) {
    let store = &*fixture.store;
    apply(store, vec![mark(1, 1, 10, true)], 1).await;
    assert_eq!(claim(store, 9).await, []);
    let first = claim(store, 10).await;
    assert_eq!(claim(store, 500).await, []);
    store.renew(&first, at(1_500)).await.unwrap();
    assert_eq!(claim(store, 1_200).await, []);
    let second = claim(store, 1_500).await;
    assert_eq!((numbers(&second), second[0].failures), (vec![1], 0));
    // What the first has to say comes too late.
    finish(store, &first, &over(), 1_500).await;
    store.renew(&first, at(9_000)).await.unwrap();
    finish(store, &second, &Finish::Released, 1_500).await;
    let third = claim(store, 1_500).await;
    finish(store, &third, &Finish::Failed { due_at: at(3_000) }, 1_500).await;
    assert_eq!(claim(store, 2_999).await, []);
    let fourth = claim(store, 3_000).await;
    assert_eq!(fourth[0].failures, 1);
    finish(store, &fourth, &Finish::Later { due_at: at(4_000) }, 3_000).await;
    assert_eq!(claim(store, 4_000).await[0].failures, 1);
}

async fn what_is_heard_during_the_work_stays_in_the_queue(fixture: &Fixture) {
    let store = &*fixture.store;
    apply(store, vec![mark(1, 1, 0, true), mark(2, 1, 0, true)], 1).await;
    let claimed = claim(store, 0).await;
    apply(store, vec![mark(1, 5, 20, true)], 5).await;
    assert_eq!(claim(store, 30).await, []);
    finish(store, &claimed, &over(), 30).await;
    assert!(!is_waiting(store, 1).await);
    assert!(!is_waiting(store, 4).await);
    assert!(is_waiting(store, 5).await);
    assert_eq!(store.received_through(&acme()).await.unwrap().0, Some(at(5)));
    let claimed = claim(store, 30).await;
    assert_eq!((numbers(&claimed), claimed[0].position), (vec![1], Position::end_of(5)));
}

async fn a_running_conversation_waits_for_its_next_time_unless_it_ends(fixture: &Fixture) {
    let store = &*fixture.store;
    apply(store, vec![mark(1, 1, 0, false), mark(2, 1, 0, false)], 1).await;
    finish(store, &claim(store, 0).await, &running(5_000), 0).await;
    assert!(!is_waiting(store, 1).await);
    apply(store, vec![mark(1, 2, 1_000, false), mark(2, 2, 1_000, false)], 2).await;
    assert_eq!(claim(store, 4_999).await, []);
    apply(store, vec![mark(1, 3, 1_500, true)], 3).await;
    let claimed = claim(store, 1_500).await;
    assert_eq!(numbers(&claimed), [1]);
    // While it is analysed it goes on.
    apply(store, vec![mark(1, 4, 2_500, false)], 4).await;
    finish(store, &claimed, &running(4_000), 1_600).await;
    assert_eq!(numbers(&claim(store, 3_999).await), Vec::<u128>::new());
    finish(store, &claim(store, 4_000).await, &over(), 4_000).await;
    assert!(is_waiting(store, 2).await);
    assert_eq!(numbers(&claim(store, 5_000).await), [2]);
}

async fn what_somebody_waits_for_is_due_at_once(fixture: &Fixture) {
    let store = &*fixture.store;
    apply(store, (1..=3).map(|number| mark(number, u64::try_from(number).unwrap(), 1_000, false)).collect(), 3).await;
    store.hurry(&acme(), None, Position::new(2, 7), at(0)).await.unwrap();
    assert_eq!(BTreeSet::from_iter(numbers(&claim(store, 0).await)), BTreeSet::from([1, 2]));
    store.hurry(&acme(), Some(conversation(4)), Position(u64::MAX), at(0)).await.unwrap();
    assert_eq!(claim(store, 0).await, []);
    store.hurry(&acme(), Some(conversation(3)), Position(u64::MAX), at(0)).await.unwrap();
    let third = claim(store, 0).await;
    assert_eq!(numbers(&third), [3]);
    // While it is in somebody's hands, too.
    apply(store, vec![mark(3, 9, 1_000, false)], 9).await;
    store.hurry(&acme(), None, Position::end_of(9), at(5)).await.unwrap();
    finish(store, &third, &running(60_000), 10).await;
    assert_eq!(numbers(&claim(store, 10).await), [3]);
}

async fn what_fails_again_and_again_is_not_waited_for(fixture: &Fixture) {
    let store = &*fixture.store;
    apply(store, vec![mark(1, 1, 0, true)], 1).await;
    for failures in 0..GIVEN_UP_AFTER {
        assert!(is_waiting(store, 1).await);
        let claimed = claim(store, 0).await;
        assert_eq!(claimed[0].failures, failures);
        finish(store, &claimed, &Finish::Failed { due_at: at(0) }, 0).await;
    }
    assert!(!is_waiting(store, 1).await);
    assert_eq!(store.received_through(&acme()).await.unwrap(), (None, at(1)));
    finish(store, &claim(store, 0).await, &Finish::Failed { due_at: at(9_000) }, 0).await;
    store.hurry(&acme(), None, Position(u64::MAX), at(0)).await.unwrap();
    assert_eq!(claim(store, 0).await, []);
    finish(store, &claim(store, 9_000).await, &over(), 9_000).await;
    assert_eq!(store.backlog(at(9_000)).await.unwrap(), super::Backlog::default());
}

async fn what_is_not_analysed_yet_bounds_what_is_known(fixture: &Fixture) {
    let store = &*fixture.store;
    apply(store, vec![mark(1, 7, 0, true), mark(2, 4, 50, true)], 9).await;
    assert_eq!(store.received_through(&acme()).await.unwrap(), (Some(at(4)), at(9)));
    let backlog = store.backlog(at(20)).await.unwrap();
    assert_eq!((backlog.waiting, backlog.oldest_due_at), (2, Some(at(0))));
    finish(store, &claim(store, 50).await, &over(), 50).await;
    assert_eq!(store.received_through(&acme()).await.unwrap(), (None, at(9)));
    let nobody: OrganizationId = "nobody".parse().unwrap();
    assert_eq!(store.received_through(&nobody).await.unwrap(), (None, at(9)));
}

static NOBODY: std::sync::LazyLock<std::collections::BTreeMap<String, Judgement>> = std::sync::LazyLock::new(Default::default);

fn analysed<'a>(features: &'a Features, analysis: &'a Analysis) -> Written<'a> {
    Written::Analysed { features, analysis, judgements: &NOBODY }
}

async fn claimed_one(store: &dyn Store, number: u128) -> Claimed {
    apply(store, vec![mark(number, 1, 0, true)], 1).await;
    claim(store, 0).await.into_iter().find(|claimed| claimed.conversation_id == conversation(number)).unwrap()
}

async fn figures_come_back_as_they_were_written(fixture: &Fixture) {
    let store = &*fixture.store;
    let (mut features, analysis) = made(1, &["Hello, I want my money back.", "I am sorry, the refund is on its way."]);
    features.topics = vec!["refund".to_owned(), "a delivery".to_owned()];
    features.keywords = vec!["money".to_owned(), "back".to_owned()];
    features.error_codes = vec!["tts".to_owned()];
    features.response_latency_ms = Some(0.25);
    features.position = Position::end_of(7);
    let custom = [("name", json!("Kim")), ("age", json!(7)), ("ok", json!(true))];
    features.custom = custom.map(|(name, value)| (name.to_owned(), value)).into();
    let claimed = claimed_one(store, 1).await;
    let judgements = [("human".to_owned(), Judgement { summary: Some("fine".to_owned()), ..Judgement::default() })].into();
    let written = Written::Analysed { features: &features, analysis: &analysis, judgements: &judgements };
    assert_eq!(store.write(&[(&claimed, written)]).await.unwrap(), [Some(Before::default())]);
    let read = store.figures(&acme(), conversation(1)).await.unwrap().unwrap();
    let custom = [("name", json!("Kim")), ("age", json!(7.0)), ("ok", json!(1.0))];
    features.custom = custom.map(|(name, value)| (name.to_owned(), value)).into();
    assert_eq!(read, Figures { features, analysis, judgements });
}

/// Returns how often each hour of [`acme`] changed.
async fn hours(fixture: &Fixture) -> Vec<(i64, i64)> {
    let sql = "select hour, changes from rollup_dirty where organization_id = 'acme' order by hour";
    match &fixture.database {
        colloquy_storage::Database::Sqlite(sqlite) => sqlx::query_as(sql).fetch_all(sqlite.readers()).await.unwrap(),
        colloquy_storage::Database::Postgres(pool) => sqlx::query_as(sql).fetch_all(pool).await.unwrap(),
    }
}

async fn figures_are_replaced_and_their_hours_noted(fixture: &Fixture) {
    let store = &*fixture.store;
    let hour = super::hour_of(at(0));
    let claimed = claimed_one(store, 1).await;
    let (mut features, analysis) = made(1, &["Hello"]);
    store.write(&[(&claimed, analysed(&features, &analysis))]).await.unwrap();
    assert_eq!(hours(fixture).await, [(hour, 1)]);
    features.created_at = at(0).saturating_add_millis(3_600_000);
    features.tags = vec!["other".to_owned()];
    features.agent_id = None;
    store.write(&[(&claimed, analysed(&features, &analysis))]).await.unwrap();
    assert_eq!(hours(fixture).await, [(hour, 2), (hour + 1, 1)]);
    let read = store.figures(&acme(), conversation(1)).await.unwrap().unwrap().features;
    assert_eq!((read.created_at, read.tags, read.agent_id), (features.created_at, features.tags, None));
}

async fn what_a_worker_writes_whose_claim_was_taken_does_not_count(fixture: &Fixture) {
    let store = &*fixture.store;
    let late = claimed_one(store, 1).await;
    let [current] = claim(store, 5_000).await.try_into().unwrap();
    let (features, analysis) = made(1, &["Hello"]);
    let written = analysed(&features, &analysis);
    assert_eq!(store.write(&[(&late, written)]).await.unwrap(), [None]);
    assert_eq!(store.figures(&acme(), conversation(1)).await.unwrap(), None);
    // Both in one batch, when the first is late in the same process.
    assert_eq!(store.write(&[(&late, written), (&current, written)]).await.unwrap(), [None, Some(Before::default())]);
    assert!(store.figures(&acme(), conversation(1)).await.unwrap().is_some());
}

async fn what_was_told_is_remembered(fixture: &Fixture) {
    let store = &*fixture.store;
    let (features, analysis) = made(1, &["Hello"]);
    let written = analysed(&features, &analysis);
    let claimed = claimed_one(store, 1).await;
    store.write(&[(&claimed, written)]).await.unwrap();
    let told = Told { revision: 1, sha256: vec![7; 32] };
    let end = Finish::Done { settled: true, not_before: at(0), told: Some(told.clone()) };
    finish(store, &[claimed], &end, 0).await;
    let claimed = claimed_one(store, 1).await;
    let before = Before { announced: true, revision: 1, told: Some(told.sha256), heard_at: at(1) };
    assert_eq!(store.write(&[(&claimed, written)]).await.unwrap(), [Some(before.clone())]);
    finish(store, &[claimed], &running(0), 0).await;
    store.mark(&[(acme(), conversation(1))], at(0)).await.unwrap();
    let claimed = claim(store, 0).await;
    let again = store.write(&[(&claimed[0], written)]).await.unwrap();
    assert_eq!(again, [Some(Before { announced: false, ..before })]);
}

async fn what_is_told_without_a_claim_is_not_remembered(fixture: &Fixture) {
    let store = &*fixture.store;
    let (features, analysis) = made(1, &["Hello"]);
    let written = analysed(&features, &analysis);
    let slow = claimed_one(store, 1).await;
    store.write(&[(&slow, written)]).await.unwrap();
    let current = claim(store, 5_000).await;
    store.write(&[(&current[0], written)]).await.unwrap();
    // Both read that nothing was told yet.
    let telling =
        |sha256| Finish::Done { settled: true, not_before: at(0), told: Some(Told { revision: 1, sha256: vec![sha256; 32] }) };
    finish(store, &[slow], &telling(1), 5_000).await;
    finish(store, &current, &telling(2), 5_000).await;
    let claimed = claimed_one(store, 1).await;
    let before = store.write(&[(&claimed, written)]).await.unwrap();
    assert_eq!(before[0].as_ref().map(|before| (before.revision, before.told.clone())), Some((1, Some(vec![2; 32]))));
}

async fn what_was_read_up_to_a_position_stays_read_up_to_it(fixture: &Fixture) {
    let store = &*fixture.store;
    let (mut features, analysis) = made(1, &["Hello"]);
    apply(store, vec![mark(1, 4, 0, true)], 4).await;
    let claimed = claim(store, 0).await;
    features.position = claimed[0].position;
    store.write(&[(&claimed[0], analysed(&features, &analysis))]).await.unwrap();
    finish(store, &claimed, &over(), 0).await;
    // It is analysed again because something else changed,
    store.mark(&[(acme(), conversation(1))], at(10)).await.unwrap();
    assert!(is_waiting(store, 0).await);
    let claimed = claim(store, 10).await;
    assert_eq!(claimed[0].position, Position::end_of(4));
    finish(store, &claimed, &over(), 10).await;
    // or because the log says again what it said before.
    let claimed = claimed_one(store, 1).await;
    assert_eq!(claimed.position, Position::end_of(1));
    features.position = claimed.position;
    store.write(&[(&claimed, analysed(&features, &analysis))]).await.unwrap();
    let read = store.figures(&acme(), conversation(1)).await.unwrap().unwrap().features;
    assert_eq!(read.position, Position::end_of(4));
}

async fn what_does_not_exist_any_more_leaves_nothing(fixture: &Fixture) {
    let store = &*fixture.store;
    let (features, analysis) = made(1, &["Hello"]);
    let claimed = claimed_one(store, 1).await;
    store.write(&[(&claimed, analysed(&features, &analysis))]).await.unwrap();
    store.write(&[(&claimed, Written::Gone)]).await.unwrap();
    finish(store, &[claimed], &Finish::Gone, 0).await;
    assert_eq!(store.figures(&acme(), conversation(1)).await.unwrap(), None);
    for table in ["features", "feature_words", "feature_values", "analyses", "analysis_queue"] {
        let sql = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        let rows: i64 = match &fixture.database {
            colloquy_storage::Database::Sqlite(sqlite) => sqlx::query_scalar(sql).fetch_one(sqlite.readers()).await.unwrap(),
            colloquy_storage::Database::Postgres(pool) => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
        };
        assert_eq!(rows, 0, "{table}");
    }
    assert_eq!(hours(fixture).await, [(super::hour_of(at(0)), 2)]);
}

async fn a_conversation_can_be_analysed_again_without_news(fixture: &Fixture) {
    let store = &*fixture.store;
    let key = (acme(), conversation(1));
    store.mark(&[key.clone(), key.clone()], at(0)).await.unwrap();
    assert!(is_waiting(store, 0).await);
    let claimed = claim(store, 0).await;
    assert_eq!(claimed[0].position, Position::START);
    store.mark(std::slice::from_ref(&key), at(10)).await.unwrap();
    finish(store, &claimed, &over(), 10).await;
    let claimed = claim(store, 10).await;
    assert_eq!(numbers(&claimed), [1]);
    finish(store, &claimed, &running(60_000), 10).await;
    assert!(!is_waiting(store, 9).await);
    // A running one, too, and it keeps its place in the log.
    apply(store, vec![mark(1, 4, 20, true)], 4).await;
    finish(store, &claim(store, 20).await, &running(60_000), 20).await;
    store.mark(&[key], at(30)).await.unwrap();
    let claimed = claim(store, 30).await;
    assert_eq!(claimed[0].position, Position::end_of(4));
}

async fn organizations_do_not_see_each_other(fixture: &Fixture) {
    let store = &*fixture.store;
    let other: OrganizationId = "acme-eu".parse().unwrap();
    let theirs = Mark { organization_id: other.clone(), ..mark(1, 2, 500, false) };
    apply(store, vec![mark(1, 1, 500, false), theirs], 2).await;
    store.hurry(&other, None, Position(u64::MAX), at(0)).await.unwrap();
    let claimed = claim(store, 0).await;
    assert_eq!((claimed.len(), &claimed[0].organization_id), (1, &other));
    let (features, analysis) = made(1, &["Hello"]);
    let features = Features { organization_id: other.clone(), ..features };
    store.write(&[(&claimed[0], analysed(&features, &analysis))]).await.unwrap();
    assert!(store.figures(&other, conversation(1)).await.unwrap().is_some());
    assert!(store.figures(&acme(), conversation(1)).await.unwrap().is_none());
    finish(store, &claimed, &over(), 0).await;
    assert!(is_waiting(store, 2).await);
    assert!(!store.is_waiting(&other, None, Position(u64::MAX)).await.unwrap());
}

async fn settings_are_changed_in_part_and_read_together(fixture: &Fixture) {
    let store = &*fixture.store;
    let other: OrganizationId = "other".parse().unwrap();
    let now = Timestamp::default();
    let silence = SettingsChange { silence_ms: Some(700), ..SettingsChange::default() };
    let changed = store.change_settings(&acme(), silence, now).await.unwrap();
    assert_eq!(changed, AnalysisSettings { silence_ms: 700, ..AnalysisSettings::default() });
    let leading = SettingsChange { leading: Some(Leading::Own), ..SettingsChange::default() };
    let changed = store.change_settings(&acme(), leading, now).await.unwrap();
    assert_eq!((changed.silence_ms, changed.leading), (700, Leading::Own));
    let all = store.settings(&[acme(), other.clone()]).await.unwrap();
    assert_eq!((&all[&acme()], &all[&other]), (&changed, &AnalysisSettings::default()));
}
