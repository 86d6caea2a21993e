//! Conversations made up, and how they get into a database.

use std::collections::BTreeMap;

use colloquy_storage::Database;
use colloquy_storage::engine::{Engine, Rows, Value};
use colloquy_types::ConversationId;
use sqlx::Pool;
use uuid::Uuid;

use super::{Fixture, time};
use crate::analysis::Analysis;
use crate::query::time::HOUR;
use crate::store::packed::pack;

/// A conversation as far as the tests need one.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) id: Uuid,
    pub(super) created_at: i64,
    pub(super) agent: Option<&'static str>,
    pub(super) outcome: Option<&'static str>,
    pub(super) status: &'static str,
    pub(super) resolution: &'static str,
    pub(super) sentiment: Option<&'static str>,
    pub(super) duration: Option<i64>,
    pub(super) turns: i64,
    pub(super) score: Option<f64>,
    pub(super) rating: Option<f64>,
    pub(super) latency: Option<f64>,
    /// The longest, in milliseconds.
    pub(super) silence: Option<i64>,
    pub(super) cost: Option<(i64, &'static str)>,
    pub(super) topics: Vec<&'static str>,
    pub(super) plan: Option<&'static str>,
    pub(super) paid: Option<f64>,
}

impl Made {
    /// Returns a plain conversation that began at a time.
    pub(super) fn at(number: u128, at: &str) -> Self {
        Self {
            id: Uuid::from_u128(number),
            created_at: time(at).as_millis(),
            agent: Some("a"),
            outcome: None,
            status: "completed",
            resolution: "unknown",
            sentiment: None,
            duration: Some(60_000),
            turns: 2,
            score: None,
            rating: None,
            latency: None,
            silence: None,
            cost: None,
            topics: Vec::new(),
            plan: None,
            paid: None,
        }
    }

    pub(super) fn ended_at(&self) -> Option<i64> {
        Some(self.created_at + self.duration?).filter(|_| self.status != "in_progress")
    }
}

/// Numbers that are the same every time.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.0 >> 33).unwrap() % bound
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(i64::try_from(all.len()).unwrap()) as usize].clone()
    }

    fn sometimes<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(5) > 0).then(|| value(self))
    }
}

/// Makes up conversations that began in `[from, to)`.
pub(super) fn made_up(count: u128, from: &str, to: &str, seed: u64) -> Vec<Made> {
    let random = &mut Random(seed);
    let (from, to) = (time(from).as_millis(), time(to).as_millis());
    (0..count)
        .map(|number| Made {
            id: Uuid::from_u128(number + (u128::from(seed) << 64)),
            created_at: from + random.below((to - from) / 1000) * 1000 + random.below(1000),
            agent: random.sometimes(|random| random.one_of(&["a", "b", "c"])),
            outcome: random.sometimes(|random| random.one_of(&["booked", "refused", "ünkl'ar\""])),
            status: random.one_of(&["completed", "completed", "failed", "abandoned", "in_progress"]),
            resolution: random.one_of(&["resolved", "unresolved", "escalated", "transferred", "unknown"]),
            sentiment: random.sometimes(|random| random.one_of(&["positive", "neutral", "negative"])),
            duration: random.sometimes(|random| random.below(900_000)),
            turns: random.below(40),
            score: random.sometimes(|random| random.below(2001) as f64 / 1000.0 - 1.0),
            rating: random.sometimes(|random| (1 + random.below(5)) as f64),
            latency: random.sometimes(|random| random.below(3_000_000) as f64 / 777.0),
            silence: None,
            cost: random.sometimes(|random| (random.below(5_000_000), "EUR")),
            topics: match random.below(4) {
                0 => Vec::new(),
                1 => vec!["billing"],
                2 => vec!["delivery"],
                _ => vec!["billing", "delivery"],
            },
            plan: random.sometimes(|random| random.one_of(&["free", "pro"])),
            paid: random.sometimes(|random| random.below(2) as f64),
        })
        .collect()
}

impl Fixture {
    /// Writes conversations, and notes their hours, as the pipeline does.
    pub(super) async fn write(&self, made: &[Made]) {
        match &self.database {
            Database::Sqlite(sqlite) => write(sqlite.writer(), made).await,
            Database::Postgres(pool) => write(pool, made).await,
        }
    }

    /// Keeps the analysis of a conversation.
    pub(super) async fn keep(&self, conversation: ConversationId, analysis: &Analysis) {
        let packed = pack(analysis, &BTreeMap::new()).unwrap();
        match &self.database {
            Database::Sqlite(sqlite) => keep(sqlite.writer(), conversation, &packed).await,
            Database::Postgres(pool) => keep(pool, conversation, &packed).await,
        }
    }

    /// Removes conversations, likewise.
    pub(super) async fn remove(&self, made: &[Made]) {
        match &self.database {
            Database::Sqlite(sqlite) => remove(sqlite.writer(), made).await,
            Database::Postgres(pool) => remove(pool, made).await,
        }
    }
}

async fn write<E: Engine>(pool: &Pool<E>, made: &[Made]) {
    let mut transaction = E::begin(pool).await.unwrap();
    let all = || made.iter();
    let rows = Rows::new(made.len())
        .id("conversation_id", all().map(|made| made.id))
        .opt_text("agent_id", all().map(|made| made.agent))
        .opt_text("outcome", all().map(|made| made.outcome))
        .text("status", all().map(|made| made.status))
        .text("resolution_status", all().map(|made| made.resolution))
        .opt_text("sentiment", all().map(|made| made.sentiment))
        .int("created_at", all().map(|made| made.created_at))
        .opt_int("ended_at", all().map(Made::ended_at))
        .opt_int("duration_ms", all().map(|made| made.duration))
        .int("turn_count", all().map(|made| made.turns))
        .opt_real("sentiment_score", all().map(|made| made.score))
        .opt_real("caller_rating", all().map(|made| made.rating))
        .opt_real("response_latency_ms", all().map(|made| made.latency))
        .opt_int("longest_silence_ms", all().map(|made| made.silence))
        .opt_int("cost_micros", all().map(|made| made.cost.map(|(amount, _)| amount)))
        .opt_text("cost_currency", all().map(|made| made.cost.map(|(_, currency)| currency)));
    let names = "agent_id, outcome, status, resolution_status, sentiment, created_at, ended_at, duration_ms, turn_count, \
                 sentiment_score, caller_rating, response_latency_ms, longest_silence_ms, cost_micros, cost_currency";
    let sets: Vec<String> = names.split(", ").map(|name| format!("{} = excluded.{}", name.trim(), name.trim())).collect();
    let sql = format!(
        "with {{k}} insert into features (organization_id, conversation_id, position, settled, provider, external_id, call_successful, \
         error_count, {names}) select 'acme', conversation_id, 1, true, 'native', 'x', 'unknown', 0, {names} from k where true \
         on conflict (organization_id, conversation_id) do update set {}",
        sets.join(", ")
    );
    E::execute(&mut transaction, &sql, &[], Some(&rows)).await.unwrap();
    let words: Vec<(Uuid, &str)> = all().flat_map(|made| made.topics.iter().map(|topic| (made.id, *topic))).collect();
    let rows = Rows::new(words.len()).id("id", words.iter().map(|(id, _)| *id)).text("word", words.iter().map(|(_, word)| *word));
    let sql = "with {k} insert into feature_words (organization_id, conversation_id, kind, word) select 'acme', id, 'topic', word from k";
    E::execute(&mut transaction, sql, &[], Some(&rows)).await.unwrap();
    let texts = all().filter_map(|made| Some((made.id, "plan", Some(made.plan?), None)));
    let values: Vec<(Uuid, &str, Option<&str>, Option<f64>)> =
        texts.chain(all().filter_map(|made| Some((made.id, "paid", None, Some(made.paid?))))).collect();
    let rows = Rows::new(values.len())
        .id("id", values.iter().map(|value| value.0))
        .text("name", values.iter().map(|value| value.1))
        .opt_text("text_value", values.iter().map(|value| value.2))
        .opt_real("number_value", values.iter().map(|value| value.3));
    let sql = "with {k} insert into feature_values (organization_id, conversation_id, name, text_value, number_value) \
               select 'acme', id, name, text_value, number_value from k";
    E::execute(&mut transaction, sql, &[], Some(&rows)).await.unwrap();
    note::<E>(&mut transaction, made).await;
    transaction.commit().await.unwrap();
}

async fn keep<E: Engine>(pool: &Pool<E>, conversation: ConversationId, packed: &[u8]) {
    let mut connection = pool.acquire().await.unwrap();
    let sql = "insert into analyses (organization_id, conversation_id, analysis) values ('acme', $1, $2)";
    E::execute(&mut connection, sql, &[Value::Id(conversation.0), Value::Bytes(packed)], None).await.unwrap();
}

async fn remove<E: Engine>(pool: &Pool<E>, made: &[Made]) {
    let mut transaction = E::begin(pool).await.unwrap();
    for table in ["features", "feature_words", "feature_values"] {
        let rows = Rows::new(made.len()).id("id", made.iter().map(|made| made.id));
        let sql =
            format!("with {{k}} delete from {table} where organization_id = 'acme' and conversation_id in (select id from k)");
        E::execute(&mut transaction, &sql, &[], Some(&rows)).await.unwrap();
    }
    note::<E>(&mut transaction, made).await;
    transaction.commit().await.unwrap();
}

async fn note<E: Engine>(connection: &mut E::Connection, made: &[Made]) {
    let mut hours: Vec<i64> = made.iter().map(|made| made.created_at.div_euclid(HOUR)).collect();
    hours.sort_unstable();
    hours.dedup();
    let rows = Rows::new(hours.len()).int("hour", hours.iter().copied());
    let sql = "with {k} insert into rollup_dirty (organization_id, hour, changes) select 'acme', hour, 1 from k where true \
               on conflict (organization_id, hour) do update set changes = rollup_dirty.changes + 1";
    E::execute(connection, sql, &[], Some(&rows)).await.unwrap();
}
