//! What is measured of the database now and then.

use std::time::Duration;

use colloquy_service::Task;
use colloquy_service::metrics::{Polled, register_recording_fetch_queue};
use colloquy_storage::Database;
use tokio_util::sync::CancellationToken;

/// How often the gauges ask how much there is.
const ASK_EVERY: Duration = Duration::from_secs(15);
/// What is to be fetched; an index holds no others.
const WAITING: &str = "select count(*) from recordings where state = 'remote'";

/// Returns the task that keeps asking how many recordings are still to be fetched.
pub(crate) fn fetch_queue(database: Database, stop: CancellationToken) -> Task {
    let waiting = Polled::default();
    register_recording_fetch_queue(waiting.reader());
    let ask = async move || {
        let waiting: Result<i64, _> = match &database {
            Database::Sqlite(sqlite) => sqlx::query_scalar(WAITING).fetch_one(sqlite.readers()).await,
            Database::Postgres(pool) => sqlx::query_scalar(WAITING).fetch_one(pool).await,
        };
        waiting.ok().and_then(|waiting| u64::try_from(waiting).ok())
    };
    Task::new("fetch queue gauge", waiting.keep_asking(ASK_EVERY, stop, ask))
}
