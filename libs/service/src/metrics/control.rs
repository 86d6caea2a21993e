//! What became of commands to running conversations.

use std::sync::OnceLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;

use super::counter;

/// Notes how a command to a conversation of `provider` ended: `applied`, or the reason it was rejected for.
pub fn control_command(provider: &'static str, command: &'static str, outcome: &'static str) {
    static COMMANDS: OnceLock<Counter<u64>> = OnceLock::new();
    let commands = COMMANDS.get_or_init(|| counter("colloquy_control_commands", "Commands by what became of them."));
    let labels = [KeyValue::new("provider", provider), KeyValue::new("command", command), KeyValue::new("outcome", outcome)];
    commands.add(1, &labels);
}
