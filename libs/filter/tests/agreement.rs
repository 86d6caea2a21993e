//! Both database engines and memory agree on which conversations a filter holds for.

#![expect(clippy::unwrap_used, reason = "tests")]

use colloquy_filter::sql::{Condition, condition, features};
use colloquy_filter::{Expression, Field, FieldValue, Op, Value, evaluate, parse, to_text};
use colloquy_filter::{View, fields};
use colloquy_storage::engine::Engine;
use colloquy_types::Timestamp;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{AssertSqlSafe, Executor, Pool, Row};

/// A conversation, as far as these filters ask.
#[derive(Debug, Clone, Default)]
struct Features {
    agent_id: Option<String>,
    status: String,
    settled: bool,
    created_at: i64,
    duration_ms: Option<i64>,
    turn_count: i64,
    sentiment_score: Option<f64>,
    cost_micros: Option<i64>,
    topics: Vec<String>,
    tags: Vec<String>,
    extracted: Vec<(String, Extracted)>,
}

#[derive(Debug, Clone)]
enum Extracted {
    Text(String),
    Number(f64),
    Truth(bool),
}

impl Features {
    fn value_of(&self, field: &Field) -> FieldValue<'_> {
        let text = |text: &'_ Option<String>| text.is_some();
        match field {
            Field::Known("agent_id") if text(&self.agent_id) => FieldValue::Text(self.agent_id.as_deref().unwrap()),
            Field::Known("status") => FieldValue::Text(&self.status),
            Field::Known("settled") => FieldValue::Bool(self.settled),
            Field::Known("created_at") => FieldValue::Time(Timestamp::from_millis(self.created_at).unwrap()),
            Field::Known("duration_ms" | "duration_seconds") => self.duration_ms.map_or(FieldValue::Absent, FieldValue::Integer),
            Field::Known("turn_count") => FieldValue::Integer(self.turn_count),
            Field::Known("sentiment_score") => self.sentiment_score.map_or(FieldValue::Absent, FieldValue::Number),
            Field::Known("cost" | "cost_micros") => self.cost_micros.map_or(FieldValue::Absent, FieldValue::Integer),
            Field::Known("topic") => FieldValue::Words(&self.topics),
            Field::Known("tag") => FieldValue::Words(&self.tags),
            Field::Custom(name) => match self.extracted.iter().find(|(known, _)| known == name) {
                Some((_, Extracted::Text(text))) => FieldValue::Text(text),
                Some((_, Extracted::Number(number))) => FieldValue::Number(*number),
                Some((_, Extracted::Truth(truth))) => FieldValue::Bool(*truth),
                None => FieldValue::Absent,
            },
            Field::Known(_) => FieldValue::Absent,
        }
    }
}

/// Texts that sort differently by bytes than by people, begin with one another, and mean something to databases.
fn text() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "a", "ab", "abc", "B", "b", "ä", "a%", "a_", "a'", "5", "Z", "zz", "\u{10FFFF}"])
        .prop_map(str::to_owned)
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![(-3..4_i32).prop_map(f64::from), (-30..30_i32).prop_map(|tenths| f64::from(tenths) / 10.0)]
}

fn any_features() -> impl Strategy<Value = Features> {
    let status = prop::sample::select(vec!["completed", "failed"]).prop_map(str::to_owned);
    let extracted = (prop::sample::select(vec!["plan", "a'b"]), 0..3_u8, text(), number(), any::<bool>()).prop_map(
        |(name, kind, text, number, truth)| {
            let value = match kind {
                0 => Extracted::Text(text),
                1 => Extracted::Number(number),
                _ => Extracted::Truth(truth),
            };
            (name.to_owned(), value)
        },
    );
    let optional = || prop::option::of(-3_000..3_000_i64);
    let facts = (prop::option::of(text()), status, any::<bool>(), 0..5_i64, optional(), -3..4_i64);
    let figures = (prop::option::of(number()), optional());
    let words = || prop::collection::btree_set(text(), 0..3).prop_map(|words| words.into_iter().collect::<Vec<_>>());
    (facts, figures, words(), words(), prop::option::of(extracted)).prop_map(|(facts, figures, topics, tags, extracted)| {
        let (agent_id, status, settled, created_at, duration_ms, turn_count) = facts;
        let (sentiment_score, cost_micros) = figures;
        Features {
            agent_id,
            status,
            settled,
            created_at,
            duration_ms,
            turn_count,
            sentiment_score,
            cost_micros,
            topics,
            tags,
            extracted: extracted.into_iter().collect(),
        }
    })
}

fn any_expression() -> impl Strategy<Value = Expression> {
    let texts = vec![
        Field::Known("agent_id"),
        Field::Known("topic"),
        Field::Known("tag"),
        Field::Known("intent"),
        Field::Custom("plan".to_owned()),
        Field::Custom("a'b".to_owned()),
    ];
    let custom = prop::sample::select(vec!["plan", "a'b", "none"]).prop_map(|name| Field::Custom(name.to_owned()));
    let op = || prop::sample::select(vec![Op::Eq, Op::Ne, Op::Lt, Op::Lte, Op::Gt, Op::Gte]);
    let same = || prop::sample::select(vec![Op::Eq, Op::Ne, Op::Has]);
    let known = |name: &'static str| Just(Field::Known(name));
    let numbers = prop::sample::select(vec!["duration_seconds", "turn_count", "sentiment_score", "cost"]).prop_map(Field::Known);
    let whole = prop::sample::select(vec!["duration_ms", "turn_count", "cost_micros"]).prop_map(Field::Known);
    // Beginning with nothing is written as being there.
    let beginning = text().prop_filter("it begins with something", |text| !text.is_empty());
    let leaf = prop_oneof![
        (prop::sample::select(texts.clone()), same(), text().prop_map(Value::Text)),
        (prop::sample::select(texts), same(), beginning.prop_map(Value::Prefix)),
        (known("agent_id"), op(), text().prop_map(Value::Text)),
        (known("status"), same(), Just(Value::Text("failed".to_owned()))),
        (known("settled"), same(), any::<bool>().prop_map(Value::Bool)),
        (known("created_at"), op(), (0..5_i64).prop_map(|at| Value::Time(Timestamp::from_millis(at).unwrap()))),
        (numbers, op(), number().prop_map(Value::Number)),
        (whole, op(), (-3_000..3_000_i64).prop_map(Value::Integer)),
        (custom.clone(), op(), number().prop_map(Value::Number)),
        (custom.clone(), op(), text().prop_map(Value::Text)),
        (custom, same(), any::<bool>().prop_map(Value::Bool)),
    ]
    .prop_map(|(field, op, value)| Expression::Compare { field, op, value });
    let fields: Vec<Field> = ["agent_id", "topic", "tag", "duration_seconds", "status", "settled"].map(Field::Known).to_vec();
    let present = prop::sample::select([fields, vec![Field::Custom("plan".to_owned())]].concat()).prop_map(Expression::Present);
    prop_oneof![4 => leaf, 1 => present].prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Expression::All),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Expression::Any),
            inner.prop_map(|part| Expression::Not(Box::new(part))),
        ]
    })
}

/// The tables of analytics, with the columns these filters ask for.
fn tables(text: &str, number: &str, truth: &str) -> Vec<String> {
    let ids = format!("organization_id {text} not null, conversation_id bigint not null");
    vec![
        format!(
            "create table features ({ids}, agent_id {text}, status {text} not null, settled {truth} not null,
                 created_at bigint not null, duration_ms bigint, turn_count bigint not null, sentiment_score {number},
                 cost_micros bigint, intent {text})"
        ),
        format!("create table feature_words ({ids}, kind {text} not null, word {text} not null)"),
        format!("create table feature_values ({ids}, name {text} not null, text_value {text}, number_value {number})"),
    ]
}

async fn fill<E: Engine>(pool: &Pool<E>, rows: &[Features])
where
    for<'c> &'c mut E::Connection: Executor<'c, Database = E>,
{
    use colloquy_storage::engine::Value;
    let mut connection = pool.acquire().await.unwrap();
    for (number, row) in rows.iter().enumerate() {
        let id = number as i64;
        let values = [
            Value::Int(id),
            Value::OptText(row.agent_id.as_deref()),
            Value::Text(&row.status),
            Value::Bool(row.settled),
            Value::Int(row.created_at),
            Value::OptInt(row.duration_ms),
            Value::Int(row.turn_count),
            Value::OptReal(row.sentiment_score),
            Value::OptInt(row.cost_micros),
        ];
        let sql = "insert into features values ('acme', $1, $2, $3, $4, $5, $6, $7, $8, $9, null)";
        E::execute(&mut connection, sql, &values, None).await.unwrap();
        for (kind, words) in [("topic", &row.topics), ("tag", &row.tags)] {
            for word in words {
                let sql = "insert into feature_words values ('acme', $1, $2, $3)";
                E::execute(&mut connection, sql, &[Value::Int(id), Value::Text(kind), Value::Text(word)], None).await.unwrap();
            }
        }
        for (name, value) in &row.extracted {
            let (text, number) = match value {
                Extracted::Text(text) => (Some(text.as_str()), None),
                Extracted::Number(number) => (None, Some(*number)),
                Extracted::Truth(truth) => (None, Some(f64::from(u8::from(*truth)))),
            };
            let values = [Value::Int(id), Value::Text(name), Value::OptText(text), Value::OptReal(number)];
            E::execute(&mut connection, "insert into feature_values values ('acme', $1, $2, $3, $4)", &values, None)
                .await
                .unwrap();
        }
    }
}

async fn found<E: Engine>(pool: &Pool<E>, condition: &Condition) -> Vec<usize>
where
    usize: sqlx::ColumnIndex<E::Row>,
    i64: for<'r> sqlx::Decode<'r, E> + sqlx::Type<E>,
{
    use colloquy_storage::engine::Value;
    let mut connection = pool.acquire().await.unwrap();
    let sql = format!(
        "select conversation_id from features f where organization_id = $1 and {} order by conversation_id",
        condition.numbered(2)
    );
    let values: Vec<Value<'_>> =
        [Value::Text("acme")].into_iter().chain(condition.values.iter().map(|bound| bound.as_value())).collect();
    let rows = E::query(&mut connection, &sql, &values, None).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.iter().map(|row| row.try_get::<i64, _>(0).unwrap() as usize).collect()
}

async fn agrees<E: Engine>(pool: &Pool<E>, rounds: usize)
where
    for<'c> &'c mut E::Connection: Executor<'c, Database = E>,
    usize: sqlx::ColumnIndex<E::Row>,
    i64: for<'r> sqlx::Decode<'r, E> + sqlx::Type<E>,
{
    let mut runner = TestRunner::deterministic();
    let rows = prop::collection::vec(any_features(), 60).new_tree(&mut runner).unwrap().current();
    fill(pool, &rows).await;
    let expressions = any_expression();
    let (mut some, mut none) = (0, 0);
    for _ in 0..rounds {
        let expression = expressions.new_tree(&mut runner).unwrap().current();
        let expected: Vec<usize> =
            (0..rows.len()).filter(|number| evaluate(&expression, &|field| rows[*number].value_of(field))).collect();
        assert_eq!(found(pool, &condition(&expression, &features("f"))).await, expected, "{}", to_text(&expression));
        // What is written down and read again holds for the same.
        if let Ok(read) = parse(&to_text(&expression), View::Analytics) {
            let again: Vec<usize> =
                (0..rows.len()).filter(|number| evaluate(&read, &|field| rows[*number].value_of(field))).collect();
            assert_eq!(again, expected, "{}", to_text(&expression));
        }
        if expected.is_empty() || expected.len() == rows.len() { none += 1 } else { some += 1 }
    }
    assert!(some > none / 4, "{some} filters told conversations apart, {none} did not");
}

#[tokio::test]
async fn sqlite_and_memory_agree() {
    let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
    for table in tables("text", "real", "integer") {
        sqlx::query(AssertSqlSafe(table)).execute(&pool).await.unwrap();
    }
    agrees(&pool, 3_000).await;
}

#[tokio::test]
async fn postgres_and_memory_agree() {
    // There is no PostgreSQL everywhere; where there must be one, asking for it fails without.
    let Some(url) = colloquy_testkit::postgres::database_url().await else { return };
    let pool = PgPoolOptions::new().max_connections(1).connect(&url).await.unwrap();
    for table in tables("text collate \"C\"", "double precision", "boolean") {
        sqlx::query(AssertSqlSafe(table)).execute(&pool).await.unwrap();
    }
    agrees(&pool, 1_500).await;
}

#[test]
fn every_field_of_analytics_has_a_place() {
    let place_of = features("f");
    for spec in fields::all(View::Analytics).filter(|spec| !spec.name.starts_with(fields::EXTRACTED)) {
        assert_ne!(place_of(&Field::Known(spec.name)), colloquy_filter::sql::Place::Nowhere, "{}", spec.name);
    }
}
