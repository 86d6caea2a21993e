//! Measures what the product promises about speed, memory and disk, on a server of its own.
//!
//! Not a test: machines differ and are noisy. Compare the numbers of one run with each other.
//!
//! ```text
//! cargo run --release -p colloquy-load -- --turns 1000000 --conversations 1000000
//! COLLOQUY_TEST_POSTGRES_URL=postgres://… cargo run --release -p colloquy-load -- --engine postgres
//! cargo run --release -p colloquy-load -- --only sockets      # live streams: memory and latency
//! … --engine postgres --only webhooks                         # outbound webhooks: rate, processor time, latency
//! … --only understanding --conversations 1000000              # analytics, search and alerts
//! … --only search --turns 300000                              # what the index of words costs, and how far it lags
//! tests/run load    # the suite: starts PostgreSQL, NATS and S3 for it
//! ```

#![expect(clippy::unwrap_used, reason = "a benchmark that fails should end")]

mod latency;
mod outbound;
mod processor;
mod reads;
mod search;
mod sockets;
mod space;
mod suite;
mod understanding;
mod writes;

use clap::Parser;
use colloquy_e2e::{Engine, Server};

/// What to measure, and how much of it.
#[derive(Parser)]
struct Options {
    /// `sqlite`, `postgres`, or `suite`: separate processes, two replicas of each reader, on PostgreSQL, JetStream and S3.
    #[arg(long, default_value = "sqlite")]
    engine: String,
    /// Turns to send in native batches; memory and disk are measured after them.
    #[arg(long, default_value_t = 200_000)]
    turns: u64,
    /// Conversations to list from.
    #[arg(long, default_value_t = 100_000)]
    conversations: u64,
    /// Seconds for each measurement that is bounded by time.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Live streams to hold open.
    #[arg(long, default_value_t = 10_000)]
    sockets: usize,
    /// Webhooks to deliver.
    #[arg(long, default_value_t = 20_000)]
    webhooks: u64,
    /// Measure only `sockets`, `webhooks`, `search` (what indexing `--turns` costs) or `understanding` (analytics, search and alerts
    /// over `--conversations`).
    #[arg(long)]
    only: Option<String>,
}

#[tokio::main]
async fn main() {
    let options = Options::parse();
    if options.engine == "suite" {
        return suite::measure(options.turns, options.seconds).await;
    }
    match options.only.as_deref() {
        Some("sockets") => return sockets::measure(engine(&options.engine).await, options.sockets).await,
        Some("webhooks") => return outbound::measure(engine(&options.engine).await, options.webhooks).await,
        Some("understanding") => {
            return understanding::measure(engine(&options.engine).await, options.conversations).await;
        }
        Some("search") => return search::measure(async || engine(&options.engine).await, options.turns, options.seconds).await,
        Some(other) => panic!("there is no measurement '{other}'"),
        None => {}
    }
    let server = Server::start(engine(&options.engine).await).await;
    let idle = space::memory_kib(&server);
    writes::native_batches(&server, options.turns).await;
    space::report(&server, options.turns, idle);
    reads::transcript(&server).await;
    writes::single_turns(&server, options.seconds, Some(3_000)).await;
    writes::single_turns(&server, options.seconds, None).await;
    writes::webhooks(&server, options.seconds).await;
    drop(server);

    let server = Server::start(engine(&options.engine).await).await;
    reads::lists(&server, options.conversations).await;
    drop(server);
    sockets::measure(engine(&options.engine).await, options.sockets).await;
    outbound::measure(engine(&options.engine).await, options.webhooks).await;
    search::measure(async || engine(&options.engine).await, options.turns, options.seconds).await;
    understanding::measure(engine(&options.engine).await, options.conversations).await;
}

/// Returns an engine with nothing in it.
async fn engine(name: &str) -> Engine {
    match name {
        "sqlite" => Engine::Sqlite,
        _ => Engine::Postgres(colloquy_testkit::postgres::database_url().await.expect("COLLOQUY_TEST_POSTGRES_URL is set")),
    }
}
