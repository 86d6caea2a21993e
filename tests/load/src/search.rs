//! What the index of words costs, how far it lags, and how search compares with the bare query beneath it.

use std::time::{Duration, Instant};

use colloquy_e2e::{Engine, Server};
use reqwest::Method;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use crate::latency::Latencies;
use crate::writes;

/// How often each engine's state is tried, in turns, so that a busy moment does not fall on one of them alone.
const ROUNDS: usize = 3;
/// How often it is looked how far the index lags.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How many turns a search returns.
const PAGE: usize = 50;

/// Measures how fast turns are taken without the index and with it, and how far it lags at half of that.
pub(crate) async fn measure(engine: impl AsyncFn() -> Engine, turns: u64, seconds: u64) {
    let (mut off, mut on) = (0.0_f64, 0.0_f64);
    for _ in 0..ROUNDS {
        for (switch, best) in [("off", &mut off), ("on", &mut on)] {
            println!("search {switch}:");
            let server = Server::start_with(engine().await, &[("COLLOQUY_TRANSCRIPT_SEARCH", switch)]).await;
            let started = Instant::now();
            let mut rate = writes::native_batches(&server, turns).await;
            if switch == "on" {
                searchable(&server).await;
                rate = turns as f64 / started.elapsed().as_secs_f64();
            }
            *best = best.max(rate);
        }
    }
    println!("turns readable without the index: {off:.0}/s; readable and searchable: {on:.0}/s ({:.0} %)", on / off * 100.0);

    let server = Server::start(engine().await).await;
    let lag = async {
        let mut latencies = Latencies::default();
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until {
            latencies.add(searchable(&server).await);
            tokio::time::sleep(LOOK_EVERY).await;
        }
        latencies
    };
    let (sent, mut lag) = tokio::join!(writes::steady_batches(&server, on / 2.0, seconds), lag);
    println!("at half of that ({sent:.0} turns/s), a turn can be found: {}", lag.summary());
}

/// Writes a turn, and returns how long it takes until it can be found.
async fn searchable(server: &Server) -> Duration {
    let conversation = Uuid::now_v7();
    let turn = json!({"event_id": Uuid::now_v7(), "conversation_id": conversation, "type": "turn.added",
        "data": {"index": 0, "role": "user", "text": "marker", "start_ms": 0, "end_ms": 500}});
    let position = server.post("/v1/events", &json!({"events": [turn]})).await["position"].as_u64().unwrap();
    let started = Instant::now();
    let path = format!("/v1/search?q=marker&page_size=1&conversation_id={conversation}&min_position={position}");
    while !server.request(Method::GET, &path).send().await.unwrap().status().is_success() {}
    started.elapsed()
}

/// Measures the bare query that search is compared with: the organization and the words in one index, newest first.
pub(crate) struct Bare {
    connection: PgConnection,
    organization: i64,
}

impl Bare {
    /// Makes a table of its own of the words that are indexed, in the database of a server.
    pub(crate) async fn of(url: &str) -> Self {
        let mut connection = PgConnection::connect(url).await.unwrap();
        for sql in [
            "create extension if not exists btree_gin",
            "create table bare as select * from colloquy_transcript.search_turns",
            "create index bare_words on bare using gin (organization_id, words)",
            "vacuum analyze bare",
        ] {
            sqlx::query(sql).execute(&mut connection).await.unwrap();
        }
        let sql = "select number from colloquy_transcript.search_organizations order by number desc limit 1";
        let organization = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
        Self { connection, organization }
    }

    /// Asks for the newest turns with these words, as often as it is asked for.
    pub(crate) async fn ask(&mut self, words: &[&str], rounds: usize) -> Latencies {
        let words: Vec<String> = words.iter().map(|word| format!("'{}x{word}'", self.organization)).collect();
        let sql = format!(
            "select conversation_id, turn_id, number, role, agent_id, at from bare \
             where organization_id = 'default' and words @@ cast($1 as tsquery) order by at desc limit {PAGE}"
        );
        let mut latencies = Latencies::default();
        for _ in 0..rounds {
            let started = Instant::now();
            let query = sqlx::query(AssertSqlSafe(sql.as_str())).bind(words.join(" & "));
            query.fetch_all(&mut self.connection).await.unwrap();
            latencies.add(started.elapsed());
        }
        latencies
    }
}
