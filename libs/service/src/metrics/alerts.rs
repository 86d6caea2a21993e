//! What alert rules count.

use std::sync::OnceLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;

use super::counter;

/// Notes that a rule of `scope` raised an alert.
pub fn alert_opened(scope: &'static str, severity: &'static str) {
    static OPENED: OnceLock<Counter<u64>> = OnceLock::new();
    let opened = OPENED.get_or_init(|| counter("colloquy_alerts_opened", "Alerts that were raised."));
    opened.add(1, &[KeyValue::new("scope", scope), KeyValue::new("severity", severity)]);
}

/// Notes that a rule over a window was looked at, and whether that counted or another replica's look did.
pub fn alert_window_looked(kept: bool) {
    static LOOKS: OnceLock<Counter<u64>> = OnceLock::new();
    let looks = LOOKS.get_or_init(|| counter("colloquy_alert_window_looks", "Looks at rules over a window."));
    looks.add(1, &[KeyValue::new("outcome", if kept { "kept" } else { "late" })]);
}
