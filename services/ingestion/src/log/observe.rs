//! What is seen of the log from outside, whatever engine keeps it: appends, where it ends, and how far its consumers are behind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use colloquy_service::metrics::{self, ConsumerLag, Polled};
use colloquy_service::readiness::Check;
use colloquy_service::{Describe, Task, telemetry};
use colloquy_types::Clock;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use super::{Appended, ConsumerState, EventLog, LogError, NewRecord};

/// How often the log is asked. A question a consumer, which an engine may have to send over a network.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// Appends, measured and traced.
///
/// # Errors
/// Those of [`EventLog::append`].
pub(crate) async fn append(log: &dyn EventLog, records: Vec<NewRecord>) -> Result<Appended, LogError> {
    let began = Instant::now();
    let span = if telemetry::tracing_on() { span(records.len()) } else { Span::none() };
    let appended = log.append(records).instrument(span).await;
    if appended.is_ok() {
        metrics::log_append(began.elapsed());
    }
    appended
}

fn span(records: usize) -> Span {
    tracing::info_span!(
        target: telemetry::TRACE_TARGET,
        "append",
        otel.name = "colloquy.log.append",
        otel.kind = "producer",
        log.records = records,
    )
}

/// What was seen the last time.
#[derive(Debug, Clone)]
struct Seen {
    end: u64,
    lag: Vec<ConsumerLag>,
}

/// Returns the task that keeps looking at `log` for the gauges.
pub(crate) fn task(log: Arc<dyn EventLog>, clock: Arc<dyn Clock>, stop: CancellationToken) -> Task {
    let seen = Polled::default();
    let (end, lag) = (seen.reader(), seen.reader());
    metrics::register_log_end(move || end().map(|seen: Seen| seen.end));
    metrics::register_consumer_lag(move || lag().map(|seen| seen.lag).unwrap_or_default());
    let asking = seen.keep_asking(ASK_EVERY, stop, async move || look(&*log, &*clock).await.ok());
    Task::new("event log gauges", asking)
}

/// Returns the check that the log answers.
pub(crate) fn check(log: Arc<dyn EventLog>) -> Check {
    Check::new("log", move || {
        let log = Arc::clone(&log);
        async move { log.end().await.map(drop).map_err(|error| error.describe().message) }
    })
}

async fn look(log: &dyn EventLog, clock: &dyn Clock) -> Result<Seen, LogError> {
    let end = log.end().await?;
    let now = clock.now();
    let lag = |consumer: ConsumerState| ConsumerLag {
        records: consumer.lag_records,
        seconds: consumer.oldest_received_at.map_or(0.0, |oldest| now.millis_since(oldest).max(0) as f64 / 1_000.0),
        consumer: consumer.name,
    };
    Ok(Seen { end: end.sequence(), lag: log.consumers(None).await?.into_iter().map(lag).collect() })
}
