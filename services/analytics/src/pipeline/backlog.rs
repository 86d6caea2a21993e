//! How much waits to be analysed, for the gauges.

use std::sync::Arc;
use std::time::Duration;

use colloquy_service::Task;
use colloquy_service::metrics::{AnalysisBacklog, Polled, register_analysis_backlog};
use colloquy_types::Clock;
use tokio_util::sync::CancellationToken;

use crate::store::Store;

const ASK_EVERY: Duration = Duration::from_secs(10);

/// Returns the task that asks for it now and then.
pub(super) fn task(store: Arc<dyn Store>, clock: Arc<dyn Clock>, stop: CancellationToken) -> Task {
    let polled = Polled::default();
    register_analysis_backlog(polled.reader());
    let asking = polled.keep_asking(ASK_EVERY, stop, async move || ask(&*store, &*clock).await);
    Task::new("analytics backlog", asking)
}

async fn ask(store: &dyn Store, clock: &dyn Clock) -> Option<AnalysisBacklog> {
    let now = clock.now();
    let backlog = store.backlog(now).await.ok()?;
    let late = backlog.oldest_due_at.map_or(0, |oldest| now.millis_since(oldest).max(0));
    let oldest_due_seconds = late as f64 / 1_000.0;
    Some(AnalysisBacklog { waiting: backlog.waiting, oldest_due_seconds, hours: backlog.hours })
}
