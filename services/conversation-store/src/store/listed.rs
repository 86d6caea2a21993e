//! Lists and analytics mean the same by what both can be filtered by, also of rows that an older release wrote.

use colloquy_events::{Analysis, Authority, Cost, Data, Direction, EndStatus, Ended, ErrorRaised, Event, Facts, Update};
use colloquy_filter::{Expression, Field, FieldValue, Op, Value, evaluate, to_text};
use colloquy_storage::Database;
use colloquy_types::{ManualClock, Timestamp};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value as Json, json};
use sqlx::AssertSqlSafe;

use super::conformance::{Fixture, apply, at, event, expression, get, ids, postgres, query, sqlite, started, walk};
use super::*;
use crate::list::{Filter, Lead, Sort, SortField};
use crate::renewal::Renewal;
use crate::turn_events::Named;

macro_rules! on_both_engines {
    ($($case:ident),+ $(,)?) => {
        mod on_sqlite { $( #[tokio::test] async fn $case() { super::$case(&super::sqlite().await.unwrap()).await; } )+ }
        mod on_postgres {
            $( #[tokio::test]
            async fn $case() {
                // There is no PostgreSQL everywhere; where there must be one, asking for it fails without.
                if let Some(fixture) = super::postgres().await { super::$case(&fixture).await; }
            } )+
        }
    };
}

on_both_engines!(
    lists_and_memory_agree,
    what_several_say_of_a_name_is_found_as_it_leads,
    what_is_not_established_any_more_is_not_found,
    long_values_are_found_by_their_beginning,
    what_an_older_release_wrote_is_brought_up_to_date,
    whatever_an_older_release_writes_is_noticed,
    walks_lose_nothing_to_what_is_brought_up_to_date,
    what_an_older_release_has_moved_is_listed_once,
    large_conversations_are_brought_up_to_date_one_by_one,
    a_conversation_that_cannot_be_folded_keeps_no_other_from_it,
    few_of_many_are_found_in_the_list_s_order,
);

/// A conversation, as far as these filters ask.
#[derive(Debug, Clone, Default)]
struct Made {
    external_id: String,
    direction: Option<Direction>,
    end_reason: Option<String>,
    failure_code: Option<String>,
    intent: Option<String>,
    cost: Option<(i64, String)>,
    started_at: Option<i64>,
    ended_at: Option<i64>,
    keywords: Vec<String>,
    error_codes: Vec<String>,
    custom: Vec<(String, Json)>,
}

impl Made {
    fn events(&self, number: u128) -> Vec<Event> {
        let facts = Facts { direction: self.direction, started_at: self.started_at.map(at), ..Facts::default() };
        let mut all = vec![Data::Updated(Update { facts, status: None })];
        if self.end_reason.is_some() || self.ended_at.is_some() || self.cost.is_some() || self.failure_code.is_some() {
            let cost = self.cost.clone();
            let cost = cost.map(|(amount_micros, currency)| Cost { amount_micros, currency, source: "provider".to_owned() });
            all.push(Data::Ended(Ended {
                end_reason: self.end_reason.clone(),
                failure_code: self.failure_code.clone(),
                ended_at: self.ended_at.map(at),
                cost,
                ..Ended::new(EndStatus::Failed)
            }));
        }
        all.push(Data::Analyzed(Analysis {
            intent: self.intent.clone(),
            keywords: Some(self.keywords.clone()),
            custom_analysis: Some(self.custom.iter().cloned().collect()),
            ..Analysis::by(Authority::Provider)
        }));
        let error = |code: &String| Data::ErrorRaised(ErrorRaised { code: code.clone(), message: None, component: None });
        all.extend(self.error_codes.iter().map(error));
        let numbered = (1..).zip(all);
        numbered.map(|(place, data)| Event { external_id: self.external_id.clone(), ..event(number, place, 3, data) }).collect()
    }

    fn value_of(&self, field: &Field) -> FieldValue<'_> {
        let text = |text: &'_ Option<String>| text.is_some();
        let time = |millis: Option<i64>| millis.map_or(FieldValue::Absent, |millis| FieldValue::Time(at(millis)));
        match field {
            Field::Known("external_id") => FieldValue::Text(&self.external_id),
            Field::Known("direction") => self.direction.map_or(FieldValue::Absent, |word| FieldValue::Text(word.as_str())),
            Field::Known("end_reason") if text(&self.end_reason) => FieldValue::Text(self.end_reason.as_deref().unwrap()),
            Field::Known("failure_code") if text(&self.failure_code) => FieldValue::Text(self.failure_code.as_deref().unwrap()),
            Field::Known("intent") if text(&self.intent) => FieldValue::Text(self.intent.as_deref().unwrap()),
            Field::Known("cost_micros" | "cost") => {
                self.cost.as_ref().map_or(FieldValue::Absent, |(micros, _)| FieldValue::Integer(*micros))
            }
            Field::Known("cost_currency") => {
                self.cost.as_ref().map_or(FieldValue::Absent, |(_, currency)| FieldValue::Text(currency))
            }
            Field::Known("started_at") => time(self.started_at),
            Field::Known("ended_at") => time(self.ended_at),
            Field::Known("keyword") => FieldValue::Words(&self.keywords),
            Field::Known("error_code") => FieldValue::Words(&self.error_codes),
            Field::Custom(name) => match self.custom.iter().find(|(known, _)| known == name) {
                Some((_, Json::String(text))) if !text.trim().is_empty() => FieldValue::Text(text),
                Some((_, Json::Number(number))) => FieldValue::Number(number.as_f64().unwrap()),
                Some((_, Json::Bool(truth))) => FieldValue::Bool(*truth),
                _ => FieldValue::Absent,
            },
            Field::Known(_) => FieldValue::Absent,
        }
    }
}

/// Texts that sort differently by bytes than by people, begin with one another, and mean something to databases.
fn text() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "ab", "B", "b", "ä", "a%", "a_", "a'", "5", "a\"b", "\u{10FFFF}"]).prop_map(str::to_owned)
}

fn any_made() -> impl Strategy<Value = Made> {
    let optional = || prop::option::of(text());
    let words = || prop::collection::btree_set(text(), 0..3).prop_map(|words| words.into_iter().collect::<Vec<_>>());
    let value = prop_oneof![
        text().prop_map(Json::from),
        (-3..4_i32).prop_map(Json::from),
        (-30..30_i32).prop_map(|tenths| Json::from(f64::from(tenths) / 10.0)),
        any::<bool>().prop_map(Json::from),
        prop::sample::select(vec![json!(null), json!(" "), json!([]), json!([1]), json!({"a": 1})]),
    ];
    let custom = prop::collection::btree_map(prop::sample::select(vec!["plan", "a'b", "two words"]), value, 0..3);
    let direction = prop::option::of(prop::sample::select(vec![Direction::Inbound, Direction::Outbound]));
    let time = || prop::option::of(1..6_i64);
    let cost = prop::option::of((-3..4_i64, prop::sample::select(vec!["USD", "EUR"])));
    let facts = (text(), direction, optional(), optional(), optional(), cost, time(), time());
    (facts, words(), words(), custom).prop_map(|(facts, keywords, error_codes, custom)| {
        let (external_id, direction, end_reason, failure_code, intent, cost, started_at, ended_at) = facts;
        Made {
            external_id,
            direction,
            end_reason,
            failure_code,
            intent,
            cost: cost.map(|(micros, currency)| (micros * 500_000, currency.to_owned())),
            started_at,
            ended_at: ended_at.map(|later| started_at.unwrap_or(0) + later),
            keywords,
            error_codes,
            custom: custom.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        }
    })
}

fn any_expression() -> impl Strategy<Value = Expression> {
    let custom =
        || prop::sample::select(vec!["plan", "a'b", "two words", "none"]).prop_map(|name| Field::Custom(name.to_owned())).boxed();
    let known = |names: &[&'static str]| prop::sample::select(names.to_vec()).prop_map(Field::Known).boxed();
    let single = ["external_id", "end_reason", "failure_code", "intent", "cost_currency"];
    let texts = || prop_oneof![3 => known(&single), 1 => known(&["keyword", "error_code"]), 2 => custom()];
    let order = || prop::sample::select(vec![Op::Eq, Op::Ne, Op::Lt, Op::Lte, Op::Gt, Op::Gte]);
    let same = || prop::sample::select(vec![Op::Eq, Op::Eq, Op::Ne, Op::Has]);
    let number = || (-30..30_i32).prop_map(|tenths| Value::Number(f64::from(tenths) / 10.0));
    let leaf = prop_oneof![
        3 => (texts(), same(), text().prop_map(Value::Text)),
        1 => (texts(), same(), text().prop_map(Value::Prefix)),
        1 => (prop_oneof![known(&single), custom()], order(), text().prop_map(Value::Text)),
        1 => (known(&["direction"]), same(), Just(Value::Text("inbound".to_owned()))),
        1 => (known(&["started_at", "ended_at"]), order(), (1..9_i64).prop_map(|millis| Value::Time(at(millis)))),
        1 => (known(&["cost"]), order(), number()),
        1 => (known(&["cost_micros"]), order(), (-3..4_i64).prop_map(|halves| Value::Integer(halves * 500_000))),
        2 => (custom(), order(), prop_oneof![number(), (-3..4_i32).prop_map(|whole| Value::Number(f64::from(whole)))]),
        1 => (custom(), same(), any::<bool>().prop_map(Value::Bool)),
    ]
    .prop_map(|(field, op, value)| Expression::Compare { field, op, value });
    let all = ["direction", "end_reason", "intent", "cost", "started_at", "ended_at", "keyword", "error_code"];
    let present = prop_oneof![known(&all), custom()].prop_map(Expression::Present);
    prop_oneof![4 => leaf, 1 => present].prop_recursive(3, 10, 3, |inner| {
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 1..4).prop_map(Expression::All),
            1 => prop::collection::vec(inner.clone(), 1..4).prop_map(Expression::Any),
            1 => inner.prop_map(|part| Expression::Not(Box::new(part))),
        ]
    })
}

async fn lists_and_memory_agree(fixture: &Fixture) {
    let mut runner = TestRunner::deterministic();
    let mut made = prop::collection::vec(any_made(), 40).new_tree(&mut runner).unwrap().current();
    let events = (1..).zip(&made).flat_map(|(number, made)| made.events(number));
    apply(fixture, events.collect()).await;
    // When something ended is told by more than what says so.
    for (number, made) in (1..).zip(&mut made) {
        let record = get(fixture, number).await.unwrap();
        let millis = |at: Option<prost_types::Timestamp>| at.map(|at| at.seconds * 1_000 + i64::from(at.nanos) / 1_000_000);
        (made.started_at, made.ended_at) = (millis(record.started_at), millis(record.ended_at));
    }
    let expressions = any_expression();
    let (mut some, mut led) = (0, 0);
    for _ in 0..600 {
        let wanted = expressions.new_tree(&mut runner).unwrap().current();
        let holds = |made: &Made| evaluate(&wanted, &|field| made.value_of(field));
        let expected: Vec<u128> = (1..).zip(&made).filter(|(_, made)| holds(made)).map(|(number, _)| number).collect();
        let filter = Filter::of(wanted.clone());
        led += usize::from(filter.lead.is_some());
        let wanted_page = query(filter, Sort::default(), 100);
        let page = fixture.store.page(&wanted_page, at(1_000)).await.unwrap();
        let mut found: Vec<u128> = page.conversations.iter().map(|kept| kept.id.0.as_u128()).collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{}", to_text(&wanted));
        assert_eq!(page.total, Some(expected.len() as i64), "{}", to_text(&wanted));
        some += usize::from(!expected.is_empty() && expected.len() < made.len());
    }
    assert!(some > 150 && led > 50, "{some} told conversations apart, {led} were led by an index");
}

fn judged(authority: Authority, values: Json) -> Data {
    Data::Analyzed(Analysis { custom_analysis: values.as_object().cloned(), ..Analysis::by(authority) })
}

async fn found(fixture: &Fixture, text: &str) -> Vec<u128> {
    ids(fixture, &query(expression(text), Sort::default(), 100)).await
}

async fn what_several_say_of_a_name_is_found_as_it_leads(fixture: &Fixture) {
    for (number, authority) in [(1, Authority::Own), (2, Authority::OwnLeading)] {
        apply(
            fixture,
            vec![
                event(number, 1, number as i64, Data::Started(started("a", number as i64))),
                event(number, 2, 20, judged(Authority::Provider, json!({"plan": "gold", "paid": false, "note": " "}))),
                event(number, 3, 30, judged(authority, json!({"plan": "silver", "paid": null, "note": "late"}))),
            ],
        )
        .await;
    }
    assert_eq!(found(fixture, "custom.plan = gold").await, [1]);
    assert_eq!(found(fixture, "custom.plan = silver").await, [2]);
    assert_eq!(found(fixture, "custom.note:late custom.paid = false").await, [2, 1]);
    apply(fixture, vec![event(1, 4, 40, judged(Authority::Human, json!({"plan": null, "paid": true})))]).await;
    assert_eq!(found(fixture, "custom.plan:*").await, [2]);
    assert_eq!(found(fixture, "custom.paid = true").await, [1]);
    assert_eq!(found(fixture, "custom.paid = 0").await, [2]);
}

async fn what_is_not_established_any_more_is_not_found(fixture: &Fixture) {
    let told = |number, time, values| event(1, number, time, judged(Authority::Own, values));
    apply(fixture, vec![event(1, 1, 10, Data::Started(started("a", 10))), told(2, 20, json!({"plan": "gold", "size": 3}))]).await;
    assert_eq!(found(fixture, "custom.plan = gold AND custom.size >= 3").await, [1]);
    // When it began turns out to be another time: values go with it.
    let moved = Data::Updated(Update { facts: started("a", 900), status: None });
    apply(fixture, vec![event(1, 3, 25, moved)]).await;
    assert_eq!(found(fixture, "custom.plan = gold created_at >= 1970-01-01T00:00:00.900Z").await, [1]);
    assert_eq!(found(fixture, "custom.size = 3 custom.plan:*").await, [1]);
    apply(fixture, vec![told(4, 30, json!({"size": null}))]).await;
    assert_eq!(found(fixture, "custom.plan:* OR custom.size:*").await, [0; 0]);
    let values = "select count(*) from conversation_values";
    assert_eq!(number(fixture, values).await, 0);
}

async fn long_values_are_found_by_their_beginning(fixture: &Fixture) {
    let long = "x".repeat(9_000);
    let values = json!({"note": long, "y".repeat(200): 1});
    let ended = Ended { end_reason: Some(format!("a\0{long}")), ..Ended::new(EndStatus::Completed) };
    let course = vec![event(1, 1, 10, Data::Ended(ended)), event(1, 2, 20, judged(Authority::Provider, values))];
    apply(fixture, course).await;
    assert_eq!(found(fixture, "custom.note = \"xxx*\" AND end_reason = \"ax*\"").await, [1]);
    assert_eq!(found(fixture, &format!("custom.note = {}", "x".repeat(512))).await, [0; 0]);
}

async fn number(fixture: &Fixture, sql: &str) -> i64 {
    let sql = AssertSqlSafe(sql.to_owned());
    match &fixture.database {
        Database::Sqlite(sqlite) => sqlx::query_scalar(sql).fetch_one(sqlite.writer()).await.unwrap(),
        Database::Postgres(pool) => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
    }
}

async fn run(fixture: &Fixture, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    match &fixture.database {
        Database::Sqlite(sqlite) => drop(sqlx::query(sql).execute(sqlite.writer()).await.unwrap()),
        Database::Postgres(pool) => drop(sqlx::query(sql).execute(pool).await.unwrap()),
    }
}

/// Leaves the rows as a release leaves them that knows neither the later columns nor values by name.
async fn leave_as_an_older_release_does(fixture: &Fixture) {
    run(
        fixture,
        "update conversations set direction = null, end_reason = null, failure_code = null, intent = null, cost_currency = null,
             cost_micros = null, started_at = null, ended_at = null, keywords = null, error_codes = null,
             turns = substr(turns, 3)",
    )
    .await;
    run(fixture, "delete from conversation_values").await;
}

/// What v0.1.0 writes when nothing but turns changes. It writes turns as it reads them: without the mark before them.
const TURNS_OF_V0_1_0: &str =
    "with k (organization_id, conversation_id, last_received_at, list_version, record, turns, turn_count) as (
         select organization_id, conversation_id, last_received_at, list_version, record, substr(turns, 3), turn_count
         from conversations where external_id = EXTERNAL_ID)
     update conversations set
         last_received_at = k.last_received_at,
         list_version = k.list_version,
         record = k.record,
         turns = k.turns,
         turn_count = k.turn_count
     from k
     where conversations.organization_id = k.organization_id and conversations.conversation_id = k.conversation_id";

/// What v0.1.0 knows of a conversation, in its order.
const NAMES_OF_V0_1_0: &str = "last_received_at, list_version, record, turns, external_id, live, agent_version_id, provider, \
    agent_id, client_id, user_id, caller, channel, status, call_successful, resolution_status, outcome, sentiment, language, \
    created_at, duration_ms, turn_count, satisfaction_score";

/// Returns what v0.1.0 writes when anything else changes: here nothing but when conversations were created.
fn whole_of_v0_1_0(created_at: &str) -> String {
    let sets: Vec<String> = NAMES_OF_V0_1_0.split(", ").map(|name| format!("{0} = excluded.{0}", name.trim())).collect();
    let values = NAMES_OF_V0_1_0.replace("created_at", created_at).replace("turns,", "substr(turns, 3),");
    format!(
        "insert into conversations (organization_id, conversation_id, {NAMES_OF_V0_1_0})
         select organization_id, conversation_id, {values} from conversations where external_id = EXTERNAL_ID
         on conflict (organization_id, conversation_id) do update set {}",
        sets.join(", ")
    )
}

/// Runs a statement of v0.1.0 that writes one conversation.
async fn write_as_v0_1_0(fixture: &Fixture, statement: &str, number: u128) {
    let external_id = match fixture.database {
        Database::Sqlite(_) => format!("cast('c{number}' as blob)"),
        Database::Postgres(_) => format!("'c{number}'::bytea"),
    };
    run(fixture, &statement.replace("EXTERNAL_ID", &external_id)).await;
}

async fn outdated(fixture: &Fixture) -> i64 {
    let condition = match fixture.database {
        Database::Sqlite(_) => <sqlx::Sqlite as super::engine::Engine>::OUTDATED,
        Database::Postgres(_) => <sqlx::Postgres as super::engine::Engine>::OUTDATED,
    };
    number(fixture, &format!("select count(*) from conversations where {condition}")).await
}

async fn renew(fixture: &Fixture) {
    let clock = Arc::new(ManualClock::at(Timestamp::default()));
    Renewal::new(Arc::clone(&fixture.store), clock).renew_all(Duration::ZERO).await.unwrap();
}

async fn what_an_older_release_wrote_is_brought_up_to_date(fixture: &Fixture) {
    const CONVERSATIONS: u128 = 150;
    let ended = |reason: &str| Data::Ended(Ended { end_reason: Some(reason.to_owned()), ..Ended::new(EndStatus::Failed) });
    let course = |number: u128| {
        let facts = Facts { direction: Some(Direction::Inbound), ..started("a", number as i64) };
        vec![
            event(number, 1, number as i64, Data::Started(facts)),
            event(number, 2, 500, ended("agent_hung_up")),
            event(number, 3, 600, judged(Authority::Provider, json!({"plan": "gold", "size": 2}))),
        ]
    };
    apply(fixture, (1..=CONVERSATIONS).flat_map(course).collect()).await;
    let asked = "direction = inbound end_reason = agent_hung_up custom.plan = gold custom.size < 3 started_at:*";
    let all: Vec<u128> = (1..=CONVERSATIONS).rev().collect();
    assert_eq!(ids(fixture, &query(expression(asked), Sort::default(), 200)).await, all);
    let before = get(fixture, 7).await.unwrap();
    leave_as_an_older_release_does(fixture).await;
    assert_eq!((found(fixture, asked).await, outdated(fixture).await), (vec![], CONVERSATIONS as i64));

    // Something is told of one meanwhile, and somebody walks: neither is disturbed.
    apply(fixture, vec![event(9, 4, 700, judged(Authority::Provider, json!({"plan": "silver"})))]).await;
    assert_eq!(found(fixture, "custom.plan = silver").await, [9]);
    let first = fixture.store.page(&query(Filter::default(), Sort::default(), 100), at(1_000)).await.unwrap();
    let version = number(fixture, "select version from view_state").await;
    renew(fixture).await;
    assert_eq!((outdated(fixture).await, number(fixture, "select version from view_state").await), (0, version));
    let rest = Query { cursor: first.next, ..query(Filter::default(), Sort::default(), 100) };
    assert_eq!(ids(fixture, &rest).await, all[100..]);
    let others: Vec<u128> = all.iter().copied().filter(|number| *number != 9).collect();
    assert_eq!(ids(fixture, &query(expression(asked), Sort::default(), 200)).await, others);
    assert_eq!(get(fixture, 7).await.unwrap(), before);
    assert_eq!(walk(fixture, &expression(asked), Sort::default(), 40, Vec::new()).await, others);
}

async fn whatever_an_older_release_writes_is_noticed(fixture: &Fixture) {
    let ended = Ended { end_reason: Some("agent_hung_up".to_owned()), ..Ended::new(EndStatus::Failed) };
    let values = || judged(Authority::Provider, json!({"plan": "gold"}));
    for number in 1..=3 {
        let course = [Data::Started(started("a", 10)), Data::Ended(ended.clone()), values()];
        apply(fixture, (1..).zip(course).map(|(place, data)| event(number, place, 20, data)).collect()).await;
    }
    assert_eq!(outdated(fixture).await, 0);
    // Neither when it was last heard of nor how long its record is tells that it was written.
    for (statement, number) in [(TURNS_OF_V0_1_0, 1), (&whole_of_v0_1_0("created_at"), 2)] {
        write_as_v0_1_0(fixture, statement, number).await;
    }
    assert_eq!(outdated(fixture).await, 2);
    run(fixture, "update conversations set end_reason = 'stale'").await;
    run(fixture, "update conversation_values set text_value = 'stale'").await;
    renew(fixture).await;
    assert_eq!(outdated(fixture).await, 0);
    let both = "end_reason = agent_hung_up custom.plan = gold";
    assert_eq!(
        (found(fixture, both).await, found(fixture, "end_reason = stale custom.plan = stale").await),
        (vec![1, 2], vec![3])
    );
    // What is told of one brings it up to date as well, even when only turns come.
    write_as_v0_1_0(fixture, TURNS_OF_V0_1_0, 1).await;
    run(fixture, "update conversation_values set text_value = 'stale'").await;
    let turn = colloquy_events::Turn::new(colloquy_types::TurnId(uuid::Uuid::from_u128(9)), colloquy_events::Role::User);
    apply(fixture, vec![event(1, 9, 30, Data::TurnAdded(turn))]).await;
    assert_eq!((outdated(fixture).await, found(fixture, both).await), (0, vec![1]));
}

async fn walks_lose_nothing_to_what_is_brought_up_to_date(fixture: &Fixture) {
    for number in 1..=6 {
        let ended = Ended { end_reason: Some("new".to_owned()), ..Ended::new(EndStatus::Failed) };
        let values = judged(Authority::Provider, json!({"plan": "gold"}));
        let course = [Data::Started(started("a", number as i64 * 10)), Data::Ended(ended), values];
        apply(fixture, (1..).zip(course).map(|(place, data)| event(number, place, 500, data)).collect()).await;
    }
    // What an older release was told has left these columns and values behind.
    run(fixture, "update conversations set end_reason = 'old'").await;
    run(fixture, "update conversation_values set text_value = 'silver'").await;
    for number in 1..=6 {
        write_as_v0_1_0(fixture, TURNS_OF_V0_1_0, number).await;
    }
    let mut walks = Vec::new();
    for text in ["end_reason = old", "custom.plan = silver"] {
        let first = fixture.store.page(&query(expression(text), Sort::default(), 2), at(1_000)).await.unwrap();
        walks.push((text, first));
    }
    renew(fixture).await;
    assert_eq!(outdated(fixture).await, 0);
    for (text, first) in walks {
        let mut walked: Vec<u128> = first.conversations.iter().map(|kept| kept.id.0.as_u128()).collect();
        let rest = Query { cursor: first.next, ..query(expression(text), Sort::default(), 10) };
        walked.extend(ids(fixture, &rest).await);
        assert_eq!(walked, [6, 5, 4, 3, 2, 1], "{text}");
        assert_eq!(found(fixture, text).await, [0; 0], "{text}");
    }
    assert_eq!(found(fixture, "end_reason = new custom.plan = gold").await, [6, 5, 4, 3, 2, 1]);
}

async fn what_an_older_release_has_moved_is_listed_once(fixture: &Fixture) {
    for number in 1..=6 {
        let values = judged(Authority::Provider, json!({"plan": "gold"}));
        let course = [Data::Started(started("a", number as i64 * 10)), values];
        apply(fixture, (1..).zip(course).map(|(place, data)| event(number, place, 500, data)).collect()).await;
    }
    let told = Data::Updated(Update { facts: started("a", 90), status: None });
    apply(fixture, vec![event(1, 3, 501, told)]).await;
    // That the first began last, an older release was told: when its values say it began has not changed.
    write_as_v0_1_0(fixture, &whole_of_v0_1_0("created_at"), 1).await;
    run(fixture, "update conversation_values set created_at = 10 where created_at = 90").await;
    let ascending = Sort { field: SortField::CreatedAt, descending: false };
    let gold = |limit| query(expression("custom.plan = gold"), ascending, limit);
    let first = fixture.store.page(&gold(2), at(1_000)).await.unwrap();
    let early = "custom.plan = gold created_at < 1970-01-01T00:00:00.020Z";
    assert_eq!(found(fixture, early).await, [0; 0], "not where it no longer is");
    assert_eq!(first.total, Some(5));
    assert_eq!(found(fixture, "custom.plan = \"g*\" created_at >= 1970-01-01T00:00:00.090Z").await, [1], "its values are there");
    renew(fixture).await;
    let mut walked: Vec<u128> = first.conversations.iter().map(|kept| kept.id.0.as_u128()).collect();
    walked.extend(ids(fixture, &Query { cursor: first.next, ..gold(10) }).await);
    assert_eq!(walked, [2, 3, 4, 5, 6, 1]);
    assert_eq!(walk(fixture, &expression("custom.plan = gold"), ascending, 2, Vec::new()).await, walked);
}

async fn large_conversations_are_brought_up_to_date_one_by_one(fixture: &Fixture) {
    for number in 1..=3 {
        apply(fixture, vec![event(number, 1, number as i64, Data::Started(started("a", number as i64)))]).await;
        write_as_v0_1_0(fixture, TURNS_OF_V0_1_0, number).await;
    }
    // A field of three million bytes that no record has.
    let many_bytes = match fixture.database {
        Database::Sqlite(_) => "update conversations set record = cast(record || x'c23ec08db701' || zeroblob(3000000) as blob)",
        Database::Postgres(_) => {
            "update conversations set record = record || '\\xc23ec08db701'::bytea || decode(repeat('00', 3000000), 'hex')"
        }
    };
    run(fixture, many_bytes).await;
    let mut after = None;
    for left in [2, 1, 0] {
        after = fixture.store.renew(after.as_ref(), 16, at(1_000)).await.unwrap();
        assert_eq!((outdated(fixture).await, after.is_some()), (left, left > 0));
    }
}

async fn a_conversation_that_cannot_be_folded_keeps_no_other_from_it(fixture: &Fixture) {
    for number in 1..=3 {
        apply(fixture, vec![event(number, 1, number as i64, judged(Authority::Provider, json!({"plan": "gold"})))]).await;
    }
    leave_as_an_older_release_does(fixture).await;
    let spoilt = match fixture.database {
        Database::Sqlite(_) => "update conversations set turns = x'ff00' where created_at = 2",
        Database::Postgres(_) => "update conversations set turns = '\\xff00'::bytea where created_at = 2",
    };
    run(fixture, spoilt).await;
    renew(fixture).await;
    assert_eq!(outdated(fixture).await, 1);
    assert_eq!(found(fixture, "custom.plan = gold").await, [3, 1]);
}

#[tokio::test]
async fn where_another_replica_was_first_nothing_is_written() {
    let Some(fixture) = postgres().await else { return };
    apply(&fixture, vec![event(1, 1, 1, Data::Started(started("a", 1)))]).await;
    let Database::Postgres(pool) = &fixture.database else { panic!("PostgreSQL") };
    let store = super::postgres::store(pool);
    // The row that every batch of every replica needs is not even waited for.
    let mut holder = pool.begin().await.unwrap();
    sqlx::query("select 1 from view_state for update").execute(&mut *holder).await.unwrap();
    let provider = colloquy_types::Provider::Native;
    let named = Named { conversation_id: super::conformance::id(1), provider, external_id: "c1".to_owned() };
    let found = [(super::conformance::acme(), named)];
    let renewed = store.renew_these(&found, at(1_000));
    tokio::time::timeout(Duration::from_secs(10), renewed).await.expect("nobody is waited for").unwrap();
}

/// Many times as many conversations as are looked up one by one, made of one.
const MULTIPLY: &str = "insert into conversations (organization_id, conversation_id, provider, external_id, live, last_received_at,
         status, call_successful, resolution_status, created_at, duration_ms, turn_count, satisfaction_score, list_version, record,
         turns, direction)
     select organization_id, ID, provider, external_id, live, last_received_at, status, call_successful, resolution_status,
         n * 10, n % 500, n % 7, n % 5, list_version, record, turns, case when n % 5000 = 3 then 'inbound' end
     from conversations, NUMBERS";

async fn few_of_many_are_found_in_the_list_s_order(fixture: &Fixture) {
    const MANY: i64 = 50_000;
    apply(fixture, vec![event(1, 1, 1, Data::Started(started("a", 1)))]).await;
    let (id, numbers) = match fixture.database {
        Database::Sqlite(_) => (
            "unhex(printf('%032x', n + 1000))",
            "(with recursive k(n) as (select 1 union all select n + 1 from k where n < MANY) select n from k) as k",
        ),
        Database::Postgres(_) => ("lpad(to_hex(n + 1000), 32, '0')::uuid", "generate_series(1, MANY) as k(n)"),
    };
    run(fixture, &MULTIPLY.replace(" ID,", &format!(" {id},")).replace("NUMBERS", &numbers.replace("MANY", &MANY.to_string())))
        .await;
    let wanted: Vec<i64> = (1..=MANY).filter(|n| n % 5_000 == 3).collect();
    for field in SortField::ALL {
        for descending in [true, false] {
            let key = |n: i64| match field {
                SortField::CreatedAt => n * 10,
                SortField::Duration => n % 500,
                SortField::TurnCount => n % 7,
                SortField::Satisfaction => n % 5,
            };
            let mut expected = wanted.clone();
            expected.sort_by_key(|n| (if descending { -key(*n) } else { key(*n) }, *n));
            let expected: Vec<u128> = expected.into_iter().map(|n| n as u128 + 1_000).collect();
            let walked = walk(fixture, &expression("direction = inbound"), Sort { field, descending }, 3, Vec::new()).await;
            assert_eq!(walked, expected, "{field:?} {descending}");
        }
    }
    let common = expression("turn_count < 5 created_at >= 1970-01-01T00:00:01Z");
    let first = ids(fixture, &query(common, Sort::default(), 4)).await;
    let newest = (1..=MANY).rev().filter(|n| n % 7 < 5).take(4).map(|n| n as u128 + 1_000);
    assert_eq!(first, newest.collect::<Vec<_>>());
    assert_eq!(ids(fixture, &query(expression("turn_count > 100"), Sort::default(), 4)).await, [0; 0]);
    let late = "direction = inbound created_at >= 1970-01-01T00:01:00Z created_at < 1970-01-01T00:07:00Z";
    let range: Vec<u128> = wanted.iter().rev().filter(|n| (6_000..42_000).contains(*n)).map(|n| *n as u128 + 1_000).collect();
    assert_eq!(ids(fixture, &query(expression(late), Sort::default(), 100)).await, range);
}

#[test]
fn an_id_of_the_provider_is_looked_up_before_values_by_name() {
    let filter = expression("custom.plan = gold external_id = c1");
    assert_eq!(filter.lead, Some(Lead::ExternalId("c1".to_owned())));
}

#[tokio::test]
async fn what_leads_has_an_index() {
    let fixture = sqlite().await.unwrap();
    let Database::Sqlite(database) = &fixture.database else { panic!("SQLite") };
    for (text, index) in [
        ("external_id = c1 agent_id = a", "conversations_by_external_id"),
        ("custom.plan = gold agent_id = a", "conversation_values_by_text"),
        ("custom.size = 3", "conversation_values_by_number"),
        ("intent = a", "conversations_by_intent"),
        ("end_reason = a", "conversations_by_end_reason"),
        ("failure_code = a", "conversations_by_failure_code"),
    ] {
        for statement in list::statements::<sqlx::Sqlite>(&query(expression(text), Sort::default(), 30)) {
            let plan = super::conformance::explain(database.writer(), statement).await.join(" / ");
            assert!(plan.contains(index), "{text}: {plan}");
        }
    }
}
