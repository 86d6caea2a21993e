//! What a reader that comes back is given again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use colloquy_types::Position;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::super::link::{Epoch, Link};
use super::super::reader;
use crate::log::{ConsumerStart, LogError, Page, ReadRequest};

/// A reader that stands before what the servers have handed out: its view was restored, or lost its last writes, or it died with
/// work in its hands. It gets all of that again, read by position; what the servers hand out again besides is a repeat.
///
/// Beginning the consumer itself anew would not do: acknowledgements that are still under way would count for the new one.
pub(super) struct CatchingUp {
    pub(super) pages: mpsc::Receiver<Result<(Position, Page), LogError>>,
    /// From here on the last pages had nothing.
    pub(super) nothing_since: Option<Position>,
    /// Whether all of it was read.
    complete: Arc<AtomicBool>,
    _reading: AbortOnDropHandle<()>,
}

impl CatchingUp {
    pub(super) fn begin(link: Arc<Link>, epoch: Arc<Epoch>, start: &ConsumerStart, after: Position, until: u64) -> Self {
        let (found, pages) = mpsc::channel(1);
        let (organization, max_events) = (start.organization.clone(), start.max_events.max(1));
        let complete = Arc::new(AtomicBool::new(false));
        let completed = Arc::clone(&complete);
        // A task of its own, since the future that waits for it is dropped with every acknowledgement.
        let reading = tokio::spawn(async move {
            let mut after = after;
            while after < Position::end_of(until) {
                let organization = organization.as_ref();
                let request = ReadRequest { after, through: Position::end_of(until), organization, max_events };
                let page = reader::page(&link, &epoch, request, until).await;
                let place = after;
                let failed = page.is_err();
                after = page.as_ref().map_or(after, |page| page.through);
                if found.send(page.map(|page| (place, page))).await.is_err() || failed {
                    return;
                }
            }
            completed.store(true, Ordering::SeqCst);
        });
        Self { pages, nothing_since: None, complete, _reading: AbortOnDropHandle::new(reading) }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::SeqCst)
    }
}
