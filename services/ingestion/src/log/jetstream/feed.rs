//! The newest records, in memory: one subscription a replica serves everybody who follows the log there. It begins when somebody
//! first follows.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use colloquy_types::Position;
use futures::StreamExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::link::{Epoch, Link};
use super::load;
use crate::log::{LogError, LogRecord};

/// How soon the subscription is made again after it broke.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
/// After how long without a record it is asked whether the stream is still the same.
const DOUBT_AFTER: Duration = Duration::from_secs(5);
/// What a record occupies beside its message.
const OVERHEAD: usize = size_of::<LogRecord>();

/// The newest records.
pub(super) struct Feed {
    limit: usize,
    recent: Mutex<Recent>,
    end: watch::Sender<Position>,
    begun: OnceLock<()>,
}

#[derive(Default)]
struct Recent {
    /// Every record with this number or a higher one stands here; 0 means none does.
    from: u64,
    records: VecDeque<LogRecord>,
    bytes: usize,
}

impl Feed {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        let (recent, end) = (Mutex::default(), watch::Sender::new(Position::START));
        Arc::new(Self { limit, recent, end, begun: OnceLock::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is something after `position`.
    pub(super) async fn wait_beyond(self: &Arc<Self>, link: &Arc<Link>, position: Position, stop: &CancellationToken) {
        self.begun.get_or_init(|| {
            let (feed, link, stop) = (Arc::downgrade(self), Arc::clone(link), stop.clone());
            // Ends with the log, which holds the feed, or with `stop`.
            tokio::spawn(async move { Box::pin(stop.run_until_cancelled(follow(feed, link))).await });
        });
        let mut end = self.end.subscribe();
        let _ = end.wait_for(|end| *end > position).await;
    }

    /// Visits the records from `first` on until `visit` says stop; returns `false` when they do not all stand here.
    pub(super) fn visit_from(&self, first: u64, mut visit: impl FnMut(&LogRecord) -> bool) -> bool {
        let recent = self.lock();
        if recent.from == 0 || first < recent.from {
            return false;
        }
        let skip = recent.records.partition_point(|record| record.sequence < first);
        for record in recent.records.iter().skip(skip) {
            if !visit(record) {
                break;
            }
        }
        true
    }

    /// Forgets everything: something was erased.
    pub(super) fn clear(&self) {
        let mut recent = self.lock();
        let next = recent.records.back().map_or(recent.from, |last| last.sequence + 1);
        *recent = Recent { from: next, ..Recent::default() };
    }

    /// Returns up to where the subscription has come.
    pub(super) fn end(&self) -> Position {
        *self.end.borrow()
    }

    fn begin_at(&self, epoch: &Epoch, last: u64) {
        *self.lock() = Recent { from: epoch.sequence(last + 1), ..Recent::default() };
        self.end.send_if_modified(|end| std::mem::replace(end, epoch.end_of(last).max(*end)) != epoch.end_of(last));
    }

    fn push(&self, record: LogRecord) {
        let end = Position::end_of(record.sequence);
        let mut recent = self.lock();
        recent.bytes += record.message.len() + OVERHEAD;
        recent.records.push_back(record);
        while recent.bytes > self.limit
            && let Some(oldest) = recent.records.pop_front()
        {
            recent.bytes -= oldest.message.len() + OVERHEAD;
            recent.from = oldest.sequence + 1;
        }
        drop(recent);
        self.end.send_if_modified(|current| end > *current && std::mem::replace(current, end) != end);
    }
}

async fn follow(feed: Weak<Feed>, link: Arc<Link>) {
    loop {
        if feed.strong_count() == 0 {
            return;
        }
        if let Err(error) = subscribe(&feed, &link).await {
            tracing::debug!("following the stream is begun again: {error}");
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// Follows the stream from its present end until something breaks.
async fn subscribe(feed: &Weak<Feed>, link: &Link) -> Result<(), LogError> {
    let mut connections = link.connections();
    let epoch = link.epoch().await?;
    let last = link.extent(&epoch).await?.last;
    let config = OrderedConfig {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: last + 1 },
        filter_subject: epoch.records_of(None),
        ..OrderedConfig::default()
    };
    let consumer = link.stream().await?.create_consumer(config).await.map_err(LogError::engine)?;
    let mut messages = consumer.messages().await.map_err(LogError::engine)?;
    match feed.upgrade() {
        Some(feed) => feed.begin_at(&epoch, last),
        None => return Ok(()),
    }
    let mut seen = last;
    loop {
        let message = tokio::select! {
            message = messages.next() => message,
            // The stream may be another one on another connection.
            _ = connections.changed() => return Ok(()),
            () = tokio::time::sleep(DOUBT_AFTER) => {
                if *link.epoch().await? != *epoch {
                    return Ok(());
                }
                continue;
            }
        };
        let Some(message) = message else { return Ok(()) };
        let message = message.map_err(LogError::engine)?;
        let in_stream = message.info().map_err(LogError::engine)?.stream_sequence;
        // The client begins at the very first message when it has to make its consumer anew before it has seen one.
        if in_stream <= seen {
            continue;
        }
        seen = in_stream;
        let record = load::record(link, &epoch, in_stream, message.message.payload).await?;
        let Some(feed) = feed.upgrade() else { return Ok(()) };
        if let Some(record) = record {
            feed.push(record);
        }
    }
}
