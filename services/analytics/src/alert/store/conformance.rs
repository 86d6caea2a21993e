//! What every store must do.

use std::sync::Arc;

use colloquy_events::{Data, Severity};
use colloquy_storage::Database;
use colloquy_storage::engine::{Columns, Engine, Value};
use colloquy_types::{ConversationId, OrganizationId, Timestamp};
use serde_json::json;
use uuid::Uuid;

use super::{AlertStore, Due, Look, Place, Rule, State, Wanted, open};
use crate::alert::alert::{Alert, Handling};
use crate::alert::rule::Metric;
use crate::alert::samples::{
    acme, alert, at, condition, features, filtered, live, metric, rule, seconds, window_alert, window_rule,
};
use crate::alert::samples::{garble, write};
use crate::features::Features;
use crate::testing::Fixture;

macro_rules! alert_store_suite {
    ($($case:ident),+ $(,)?) => {
        mod on_sqlite { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let fixture = crate::testing::Fixture::sqlite().await.unwrap();
                super::$case(super::open(&fixture.database), &fixture).await;
            }
        )+ }
        mod on_postgres { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                if let Some(fixture) = crate::testing::Fixture::postgres().await {
                    super::$case(super::open(&fixture.database), &fixture).await;
                }
            }
        )+ }
    };
}

alert_store_suite!(
    a_rule_comes_back_as_it_was,
    an_organization_has_no_more_rules_than_its_limit,
    first_rules_are_made_once_and_stay_removed,
    the_version_changes_whenever_a_rule_does,
    a_change_to_what_was_changed_meanwhile_is_refused,
    a_change_leaves_alone_what_a_newer_release_wrote,
    pages_of_rules_go_on_where_the_last_ended,
    an_alert_is_raised_and_told_of_once,
    what_a_newer_release_has_to_tell_holds_up_nothing,
    alerts_are_listed_by_what_is_asked_for,
    an_alert_is_acknowledged_and_resolved_once,
    open_alerts_are_told_of_again_when_it_is_time,
    a_rule_that_is_muted_disabled_or_gone_reminds_of_nothing,
    a_look_is_kept_once,
    a_rule_that_is_due_is_taken_by_one,
    a_rule_that_changes_is_looked_at_anew,
    a_rule_that_ceases_to_watch_a_window_ends_its_alert,
    a_conversation_that_crossed_while_its_rule_was_muted_is_found_after,
    what_runs_long_enough_is_found_once_a_look,
    history_is_read_in_order_and_whole,
);

type Store = Arc<dyn AlertStore>;

fn simple(number: u128) -> Rule {
    rule(number, vec![condition("error_count", "gte", json!(1))])
}

async fn begun(store: &Store, rules: &[Rule]) {
    store.begin(&acme(), rules).await.unwrap();
}

async fn kinds(store: &Store) -> Vec<&'static str> {
    store.outbox(100).await.unwrap().iter().map(|(_, event)| event.data.kind()).collect()
}

async fn a_rule_comes_back_as_it_was(store: Store, _: &Fixture) {
    begun(&store, &[]).await;
    let one = Rule {
        severity: Severity::Critical,
        renotify_after_ms: Some(3_600_000),
        muted_until: Some(at(9)),
        enabled: false,
        builtin: Some(crate::alert::rule::Builtin::LongDuration),
        needs: crate::alert::rule::Needs::Any,
        ..rule(1, vec![condition("user_text", "contains", json!(["a b", "c"])), condition("custom.plan", "eq", json!("gold"))])
    };
    let one = filtered(one, r#"agent_id = "a" AND NOT tag:"test""#);
    let two = window_rule(2, Metric { warning_threshold: Some(40.0), recovery_margin: Some(0.2), min_count: 7, ..metric() });
    for rule in [&one, &two] {
        assert!(store.create_rule(rule, 10).await.unwrap());
    }
    assert_eq!(store.rule(&acme(), one.rule_id).await.unwrap(), Some((one.clone(), None)));
    let (read, standing) = store.rule(&acme(), two.rule_id).await.unwrap().unwrap();
    assert_eq!((&read, standing.unwrap().state), (&two, State::Unknown));
    assert_eq!(store.rules(&acme()).await.unwrap().1, [one.clone(), two]);
    let other: OrganizationId = "other".parse().unwrap();
    assert_eq!(store.rule(&other, one.rule_id).await.unwrap(), None);
    assert_eq!(store.rules(&other).await.unwrap(), (0, Vec::new()));
}

async fn an_organization_has_no_more_rules_than_its_limit(store: Store, _: &Fixture) {
    begun(&store, &[]).await;
    let made = futures::future::join_all((1..=6).map(|number| {
        let store = Arc::clone(&store);
        async move { store.create_rule(&simple(number), 4).await.unwrap() }
    }));
    assert_eq!(made.await.into_iter().filter(|made| *made).count(), 4);
}

async fn first_rules_are_made_once_and_stay_removed(store: Store, _: &Fixture) {
    assert_eq!(store.version(&acme()).await.unwrap(), None);
    let tries = futures::future::join_all((0..4).map(|_| {
        let store = Arc::clone(&store);
        async move { store.begin(&acme(), &[simple(1), simple(2)]).await.unwrap() }
    }));
    tries.await;
    assert!(store.delete_rule(&acme(), Uuid::from_u128(1)).await.unwrap());
    begun(&store, &[simple(1), simple(2)]).await;
    assert_eq!(store.rules(&acme()).await.unwrap().1, [simple(2)]);
}

async fn the_version_changes_whenever_a_rule_does(store: Store, _: &Fixture) {
    begun(&store, &[]).await;
    let mut versions = vec![store.version(&acme()).await.unwrap().unwrap()];
    store.create_rule(&simple(1), 10).await.unwrap();
    versions.push(store.version(&acme()).await.unwrap().unwrap());
    store.replace_rule(&simple(1), &Rule { revision: 2, enabled: false, ..simple(1) }).await.unwrap();
    versions.push(store.version(&acme()).await.unwrap().unwrap());
    store.delete_rule(&acme(), Uuid::from_u128(1)).await.unwrap();
    versions.push(store.rules(&acme()).await.unwrap().0);
    assert!(versions.windows(2).all(|pair| pair[0] < pair[1]), "{versions:?}");
}

async fn a_change_to_what_was_changed_meanwhile_is_refused(store: Store, _: &Fixture) {
    begun(&store, &[simple(1)]).await;
    let changed = |name: &str| Rule { name: name.to_owned(), revision: 2, ..simple(1) };
    assert!(store.replace_rule(&simple(1), &changed("one")).await.unwrap());
    assert!(!store.replace_rule(&simple(1), &changed("other")).await.unwrap());
    assert_eq!(store.rule(&acme(), Uuid::from_u128(1)).await.unwrap().unwrap().0.name, "one");
    assert!(!store.replace_rule(&simple(7), &Rule { revision: 2, ..simple(7) }).await.unwrap());
    assert!(!store.delete_rule(&acme(), Uuid::from_u128(7)).await.unwrap());
}

/// Adds to the definition of the only rule there is, and returns it.
async fn add_to_definition<E: Engine>(pool: &sqlx::Pool<E>, more: &[u8]) -> Vec<u8> {
    let mut tx = E::begin(pool).await.unwrap();
    let rows = E::query(&mut tx, "select definition from alert_rules", &[], None).await.unwrap();
    let mut definition = Columns::<E>::of(&rows[0]).bytes().unwrap();
    definition.extend_from_slice(more);
    E::execute(&mut tx, "update alert_rules set definition = $1", &[Value::Bytes(&definition)], None).await.unwrap();
    tx.commit().await.unwrap();
    definition
}

async fn a_change_leaves_alone_what_a_newer_release_wrote(store: Store, fixture: &Fixture) {
    begun(&store, &[simple(1)]).await;
    let add = async |more: &[u8]| match &fixture.database {
        Database::Sqlite(sqlite) => add_to_definition::<sqlx::Sqlite>(sqlite.writer(), more).await,
        Database::Postgres(pool) => add_to_definition::<sqlx::Postgres>(pool, more).await,
    };
    let mut besides = Vec::new();
    prost::encoding::string::encode(1_999, &"besides".to_owned(), &mut besides);
    add(&besides).await;
    let changed = Rule { name: "other".to_owned(), revision: 2, enabled: false, ..simple(1) };
    assert!(store.replace_rule(&simple(1), &changed).await.unwrap());
    assert_eq!(store.rule(&acme(), changed.rule_id).await.unwrap(), Some((changed, None)));
    assert!(add(&[]).await.ends_with(&besides), "it is still there");
}

async fn pages_of_rules_go_on_where_the_last_ended(store: Store, _: &Fixture) {
    begun(&store, &[]).await;
    for number in 1..=5 {
        let created_at = at(i64::try_from(number / 2).unwrap());
        store.create_rule(&Rule { created_at, ..simple(number) }, 10).await.unwrap();
    }
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = store.page_of_rules(&acme(), after, 2).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        after = Some(Place { at: last.created_at, id: last.rule_id });
        seen.extend(page.iter().map(|(rule, _)| rule.rule_id.as_u128()));
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
}

async fn an_alert_is_raised_and_told_of_once(store: Store, _: &Fixture) {
    let raised = futures::future::join_all((0..4).map(|_| {
        let store = Arc::clone(&store);
        async move { store.raise(&[alert(1), alert(2)]).await.unwrap().len() }
    }));
    assert_eq!(raised.await.into_iter().sum::<usize>(), 2);
    assert_eq!(store.alert(&acme(), alert(1).alert_id).await.unwrap(), Some(alert(1)));
    let ids = [alert(2).alert_id, alert(3).alert_id];
    assert_eq!(store.raised(&acme(), &ids).await.unwrap(), [alert(2).alert_id]);
    let events = store.outbox(10).await.unwrap();
    let told: Vec<_> = events.iter().map(|(_, event)| event.clone()).collect();
    assert_eq!(told, [alert(1).opened(), alert(2).opened()]);
    let ids: Vec<_> = events.iter().map(|(organization, event)| (organization.clone(), event.event_id)).collect();
    store.told(&ids[..1]).await.unwrap();
    assert_eq!(store.outbox(10).await.unwrap().len(), 1);
}

async fn what_a_newer_release_has_to_tell_holds_up_nothing(store: Store, fixture: &Fixture) {
    garble(&fixture.database, 3).await;
    store.raise(&[alert(1), alert(2)]).await.unwrap();
    let told = store.outbox(3).await.unwrap();
    assert_eq!(told.len(), 2);
    let ids: Vec<_> = told.iter().map(|(organization, event)| (organization.clone(), event.event_id)).collect();
    store.told(&ids).await.unwrap();
    assert!(store.outbox(3).await.unwrap().is_empty());
}

async fn alerts_are_listed_by_what_is_asked_for(store: Store, _: &Fixture) {
    let critical = Alert { severity: Severity::Critical, ..alert(3) };
    store.raise(&[alert(1), alert(2), critical, window_alert(4)]).await.unwrap();
    store.handle(&acme(), alert(2).alert_id, Handling::Resolved, at(9)).await.unwrap();
    let list = |wanted: Wanted| {
        let store = Arc::clone(&store);
        async move {
            let (mut after, mut seen) = (None, Vec::new());
            loop {
                let page = store.page_of_alerts(&acme(), &wanted, after, 1).await.unwrap();
                let Some(last) = page.last() else { return seen };
                after = Some(Place { at: last.opened_at, id: last.alert_id });
                seen.push(last.opened_at.millis_since(at(0)));
            }
        }
    };
    assert_eq!(list(Wanted::default()).await, [4, 3, 2, 1]);
    assert_eq!(list(Wanted { rule_id: Some(Uuid::from_u128(2)), ..Wanted::default() }).await, [4]);
    assert_eq!(list(Wanted { state: Some(Handling::Open), ..Wanted::default() }).await, [4, 3, 1]);
    assert_eq!(list(Wanted { severity: Some(Severity::Critical), ..Wanted::default() }).await, [3]);
    let conversation_id = Some(ConversationId(Uuid::from_u128(2)));
    assert_eq!(list(Wanted { conversation_id, ..Wanted::default() }).await, [2]);
    assert_eq!(list(Wanted { conversation_id, state: Some(Handling::Open), ..Wanted::default() }).await, [0; 0]);
}

async fn an_alert_is_acknowledged_and_resolved_once(store: Store, _: &Fixture) {
    store.raise(&[alert(1)]).await.unwrap();
    let id = alert(1).alert_id;
    let handle = |to, time| {
        let store = Arc::clone(&store);
        async move { store.handle(&acme(), id, to, at(time)).await.unwrap().unwrap() }
    };
    assert_eq!(handle(Handling::Acknowledged, 5).await.acknowledged_at, Some(at(5)));
    assert_eq!(handle(Handling::Acknowledged, 6).await.acknowledged_at, Some(at(5)));
    assert_eq!(handle(Handling::Resolved, 7).await.resolved_at, Some(at(7)));
    let last = handle(Handling::Resolved, 8).await;
    assert_eq!((last.state, last.resolved_at), (Handling::Resolved, Some(at(7))));
    assert_eq!(handle(Handling::Acknowledged, 9).await, last);
    assert_eq!(kinds(&store).await, ["alert.opened", "alert.acknowledged", "alert.resolved"]);
    // Raising it again does not open it again.
    assert!(store.raise(&[alert(1)]).await.unwrap().is_empty());
    assert_eq!(store.handle(&acme(), Uuid::from_u128(99), Handling::Resolved, at(1)).await.unwrap(), None);
    let other: OrganizationId = "other".parse().unwrap();
    assert_eq!(store.handle(&other, id, Handling::Resolved, at(1)).await.unwrap(), None);
}

async fn open_alerts_are_told_of_again_when_it_is_time(store: Store, _: &Fixture) {
    begun(&store, &[Rule { renotify_after_ms: Some(60_000), ..simple(1) }]).await;
    store.raise(&[alert(1), alert(2)]).await.unwrap();
    assert!(store.untold(at(50_000), 10).await.unwrap().is_empty());
    let untold = store.untold(at(61_000), 10).await.unwrap();
    assert_eq!(untold.len(), 2);
    store.handle(&acme(), untold[1].alert_id, Handling::Acknowledged, at(61_000)).await.unwrap();
    let told = futures::future::join_all((0..3).map(|_| store.renotify(&untold[0], at(61_000)))).await;
    assert_eq!(told.into_iter().filter(|told| *told.as_ref().unwrap()).count(), 1);
    assert!(!store.renotify(&untold[1], at(61_000)).await.unwrap());
    assert!(store.untold(at(100_000), 10).await.unwrap().is_empty());
    let again = store.untold(at(122_000), 10).await.unwrap();
    assert_eq!((again.len(), again[0].renotified, again[0].renotified_at), (1, 1, Some(at(61_000))));
    store.renotify(&again[0], at(122_000)).await.unwrap();
    let numbers: Vec<_> = (store.outbox(10).await.unwrap().into_iter())
        .filter_map(|(_, event)| match event.data {
            Data::AlertOpened(alert) => alert.evidence?.get("renotified").cloned(),
            _ => None,
        })
        .collect();
    assert_eq!(numbers, [1, 2]);
}

async fn a_rule_that_is_muted_disabled_or_gone_reminds_of_nothing(store: Store, _: &Fixture) {
    let reminding = Rule { renotify_after_ms: Some(60_000), ..simple(1) };
    begun(&store, std::slice::from_ref(&reminding)).await;
    store.raise(&[alert(1)]).await.unwrap();
    let count = || async { store.untold(at(100_000), 10).await.unwrap().len() };
    assert_eq!(count().await, 1);
    let muted = Rule { muted_until: Some(at(200_000)), revision: 2, ..reminding.clone() };
    store.replace_rule(&reminding, &muted).await.unwrap();
    assert_eq!(count().await, 0);
    let disabled = Rule { enabled: false, muted_until: None, revision: 3, ..muted.clone() };
    store.replace_rule(&muted, &disabled).await.unwrap();
    assert_eq!(count().await, 0);
    let enabled = Rule { enabled: true, revision: 4, ..disabled.clone() };
    store.replace_rule(&disabled, &enabled).await.unwrap();
    assert_eq!(count().await, 1);
    store.delete_rule(&acme(), enabled.rule_id).await.unwrap();
    assert_eq!(count().await, 0);
    assert!(store.alert(&acme(), alert(1).alert_id).await.unwrap().is_some());
}

async fn only_due(store: &Store) -> Due {
    store.due(at(100_000_000), 10).await.unwrap().pop().unwrap()
}

fn look(due: Due, until: i64, state: State) -> Look {
    Look {
        revision: 1,
        until: seconds(until),
        next_at: seconds(until + 60),
        state,
        value: Some(3.5),
        is_bad: state == State::Alert,
        owed: false,
        opened: (state == State::Alert).then(|| window_alert(1)),
        resolves: state == State::Ok,
        at: seconds(until + 3),
        due,
    }
}

async fn a_look_is_kept_once(store: Store, _: &Fixture) {
    begun(&store, &[window_rule(2, metric())]).await;
    let first = only_due(&store).await;
    let alerting = look(first.clone(), 600, State::Alert);
    let kept = futures::future::join_all((0..4).map(|_| store.look(&alerting))).await;
    assert_eq!(kept.into_iter().filter(|kept| *kept.as_ref().unwrap()).count(), 1);
    let second = only_due(&store).await;
    assert_eq!((second.standing.state, second.is_bad, second.alert_id), (State::Alert, true, Some(window_alert(1).alert_id)));
    assert_eq!((second.standing.since, second.standing.last_value, second.due_at), (seconds(603), Some(3.5), seconds(660)));
    assert!(store.look(&look(second, 660, State::Ok)).await.unwrap());
    let third = only_due(&store).await;
    assert_eq!((third.standing.state, third.alert_id), (State::Ok, None));
    assert_eq!(kinds(&store).await, ["alert.opened", "alert.resolved"]);
    assert!(!store.look(&Look { revision: 7, ..look(third, 720, State::Alert) }).await.unwrap());
}

async fn a_rule_that_is_due_is_taken_by_one(store: Store, _: &Fixture) {
    begun(&store, &[window_rule(2, metric())]).await;
    let due = only_due(&store).await;
    let taken = futures::future::join_all((0..4).map(|_| store.claim(&due, seconds(90_000)))).await;
    assert_eq!(taken.into_iter().filter(|taken| *taken.as_ref().unwrap()).count(), 1);
    assert!(store.due(seconds(80_000), 10).await.unwrap().is_empty());
    // Whoever took it and died holds it up for a while only.
    assert_eq!(store.due(seconds(90_000), 10).await.unwrap().len(), 1);
}

async fn a_rule_that_changes_is_looked_at_anew(store: Store, _: &Fixture) {
    let first = window_rule(2, metric());
    begun(&store, std::slice::from_ref(&first)).await;
    store.look(&look(only_due(&store).await, 600, State::Alert)).await.unwrap();
    let renamed = Rule { name: "other".to_owned(), revision: 2, ..first.clone() };
    store.replace_rule(&first, &renamed).await.unwrap();
    assert_eq!(only_due(&store).await.standing.state, State::Alert);
    let paused = Rule { enabled: false, updated_at: seconds(700), revision: 3, ..renamed.clone() };
    store.replace_rule(&renamed, &paused).await.unwrap();
    assert!(store.due(at(100_000_000), 10).await.unwrap().is_empty());
    let (_, standing) = store.rule(&acme(), first.rule_id).await.unwrap().unwrap();
    assert_eq!(standing.map(|standing| (standing.state, standing.since)), Some((State::Paused, seconds(700))));
    let stricter = Metric { threshold: 30.0, ..metric() };
    let again = Rule { enabled: true, metric: Some(stricter), updated_at: seconds(800), revision: 4, ..paused.clone() };
    store.replace_rule(&paused, &again).await.unwrap();
    let due = only_due(&store).await;
    assert_eq!((due.standing.state, due.is_bad, due.alert_id), (State::Unknown, false, Some(window_alert(1).alert_id)));
}

async fn a_rule_that_ceases_to_watch_a_window_ends_its_alert(store: Store, _: &Fixture) {
    let first = window_rule(2, metric());
    begun(&store, std::slice::from_ref(&first)).await;
    store.look(&look(only_due(&store).await, 600, State::Alert)).await.unwrap();
    let other = Rule { metric: None, updated_at: seconds(700), revision: 2, ..rule(2, simple(2).conditions) };
    assert!(store.replace_rule(&first, &other).await.unwrap());
    let alert = store.alert(&acme(), window_alert(1).alert_id).await.unwrap().unwrap();
    assert_eq!((alert.state, alert.resolved_at), (Handling::Resolved, Some(seconds(700))));
    assert_eq!(kinds(&store).await, ["alert.opened", "alert.resolved"]);
}

async fn a_conversation_that_crossed_while_its_rule_was_muted_is_found_after(store: Store, fixture: &Fixture) {
    let conditions = vec![condition("duration_seconds", "gt", json!(900))];
    let long = Rule { muted_until: Some(seconds(2_000)), updated_at: seconds(-10_000), ..rule(1, conditions) };
    begun(&store, &[long]).await;
    write(&fixture.database, &[live(1)]).await;
    assert!(store.crossing(seconds(890), seconds(950)).await.unwrap().is_empty());
    assert_eq!(store.crossing(seconds(1_998), seconds(2_001)).await.unwrap().len(), 1);
    assert!(store.crossing(seconds(2_100), seconds(2_103)).await.unwrap().is_empty());
}

async fn what_runs_long_enough_is_found_once_a_look(store: Store, fixture: &Fixture) {
    let long = |number, threshold: i64| Rule {
        updated_at: seconds(-10_000),
        ..rule(number, vec![condition("duration_seconds", "gt", json!(threshold))])
    };
    begun(&store, &[long(1, 900), Rule { enabled: false, ..long(2, 5) }]).await;
    let running = |number: u128, created: i64| Features {
        created_at: seconds(created),
        started_at: Some(seconds(created)),
        ..live(number)
    };
    write(&fixture.database, &[running(1, 0), running(2, 500), features(3)]).await;
    let found = |since: i64, now: i64| {
        let store = Arc::clone(&store);
        async move {
            let found = store.crossing(seconds(since), seconds(now)).await.unwrap();
            let mut numbers: Vec<u128> = found.into_iter().map(|crossing| crossing.conversation_id.0.as_u128()).collect();
            numbers.sort_unstable();
            numbers
        }
    };
    assert_eq!(found(0, 899).await, [0; 0]);
    assert_eq!(found(890, 901).await, [1]);
    assert_eq!(found(1_000, 1_100).await, [0; 0]);
    assert_eq!(found(1_300, 1_400).await, [2]);
    assert_eq!(found(-5_000, 1_400).await, [1, 2]);
    // A rule that changed looks at everything.
    let changed = Rule { updated_at: seconds(1_350), revision: 2, ..long(1, 900) };
    store.replace_rule(&long(1, 900), &changed).await.unwrap();
    assert_eq!(found(1_400, 1_401).await, [1, 2]);
    // Lengths that nobody can mean hold up nobody.
    for (number, seconds) in [(8, json!(1e300)), (9, json!(-1e300))] {
        let odd = Rule { enabled: true, ..rule(number, vec![condition("duration_seconds", "gt", seconds)]) };
        assert!(store.create_rule(&odd, 100).await.unwrap());
    }
    assert_eq!(
        store.crossing(Timestamp::MIN, Timestamp::MAX).await.unwrap().len(),
        2,
        "those that any rule may look at, and each once"
    );
    for number in [8, 9] {
        assert!(store.delete_rule(&acme(), Uuid::from_u128(number)).await.unwrap());
    }
    // One that watches from now on leaves out what was heard before.
    let anew = Rule { watches_from: seconds(1_350), revision: 3, ..changed.clone() };
    store.replace_rule(&changed, &anew).await.unwrap();
    assert_eq!(found(-5_000, 1_401).await, [0; 0]);
}

async fn history_is_read_in_order_and_whole(store: Store, fixture: &Fixture) {
    let rows: Vec<Features> = (0..7_u128)
        .map(|number| Features { created_at: seconds(i64::try_from(number / 2).unwrap()), ..features(number) })
        .collect();
    write(&fixture.database, &rows).await;
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = store.history(&acme(), seconds(0), seconds(3), after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(Place { at: last.created_at, id: last.conversation_id.0 });
        seen.extend(page);
    }
    let mut expected: Vec<Features> = rows[..6].to_vec();
    for row in &mut expected {
        // A truth is kept as a number.
        row.custom.insert("urgent".to_owned(), json!(1.0));
        row.custom.insert("seats".to_owned(), json!(3.0));
    }
    assert_eq!(seen, expected);
    let ids: Vec<_> = expected.iter().map(|row| row.conversation_id).collect();
    let mut found = store.rows(&acme(), &ids).await.unwrap();
    found.sort_by_key(|row| row.conversation_id);
    assert_eq!(found, expected);
}
