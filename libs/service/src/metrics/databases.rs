//! How busy the connections to databases are.

use opentelemetry::KeyValue;
use opentelemetry::metrics::AsyncInstrument;

use super::gauge;
use super::gauges::Sources;

/// How many connections a pool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolUse {
    /// Open, and waiting for work.
    pub idle: u64,
    /// Open, and at work.
    pub used: u64,
    /// The most it may open.
    pub max: u64,
}

struct Pool {
    service: &'static str,
    pool: &'static str,
    connections: PoolUse,
}

static SOURCES: Sources<Pool> = Sources::new();

/// Registers a pool of `service`, for example its `writer`.
pub fn register_pool(service: &'static str, pool: &'static str, connections: impl Fn() -> PoolUse + Send + Sync + 'static) {
    SOURCES.add(
        move || Pool { service, pool, connections: connections() },
        || gauge("colloquy_database_pool_connections", "Connections to a database, by what they do.", observe),
    );
}

fn observe(gauge: &dyn AsyncInstrument<u64>) {
    for Pool { service, pool, connections } in SOURCES.ask() {
        let PoolUse { idle, used, max } = connections;
        for (state, number) in [("idle", idle), ("used", used), ("max", max)] {
            gauge.observe(
                number,
                &[KeyValue::new("service", service), KeyValue::new("pool", pool), KeyValue::new("state", state)],
            );
        }
    }
}
