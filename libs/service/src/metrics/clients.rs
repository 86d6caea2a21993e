//! What is measured when one service calls another.

use std::sync::OnceLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;

use super::counter;

/// Notes that a call to `service` (`transcript`) is tried again.
pub fn client_retry(service: &'static str) {
    static RETRIES: OnceLock<Counter<u64>> = OnceLock::new();
    let retries = RETRIES.get_or_init(|| counter("colloquy_client_retries", "Calls to a service that were tried again."));
    retries.add(1, &[KeyValue::new("service", service)]);
}
