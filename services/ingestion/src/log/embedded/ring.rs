//! The newest records, in memory: readers that keep up never touch the file, however many they are.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::log::LogRecord;

/// What a record occupies beside its message.
const OVERHEAD: usize = size_of::<LogRecord>();

/// The records most recently written, without a gap, bounded by their size.
#[derive(Debug)]
pub(super) struct Ring {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    records: VecDeque<LogRecord>,
    bytes: usize,
}

impl Ring {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds records, which follow on those that are there.
    pub(super) fn push(&self, records: Vec<LogRecord>) {
        let mut inner = self.lock();
        for record in records {
            inner.bytes += record.message.len() + OVERHEAD;
            inner.records.push_back(record);
        }
        while inner.bytes > self.limit
            && let Some(oldest) = inner.records.pop_front()
        {
            inner.bytes -= oldest.message.len() + OVERHEAD;
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        *self.lock() = Inner::default();
    }

    /// Visits the records from `first` on until `visit` says stop; returns `false` when they do not all stand here.
    pub(super) fn visit_from(&self, first: u64, mut visit: impl FnMut(&LogRecord) -> bool) -> bool {
        let inner = self.lock();
        let Some(skip) = inner.records.front().and_then(|oldest| first.checked_sub(oldest.sequence)) else { return false };
        for record in inner.records.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX)) {
            if !visit(record) {
                break;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn record(sequence: u64) -> LogRecord {
        let organization_id = "default".parse().unwrap();
        LogRecord { sequence, organization_id, event_count: 1, message: Bytes::from_static(&[0; 100]) }
    }

    fn from(ring: &Ring, first: u64) -> Option<Vec<u64>> {
        let mut seen = Vec::new();
        let whole = ring.visit_from(first, |record| {
            seen.push(record.sequence);
            seen.len() < 2
        });
        whole.then_some(seen)
    }

    #[test]
    fn the_newest_records_stay_and_older_ones_are_not_pretended() {
        let ring = Ring::new(3 * (100 + OVERHEAD));
        assert_eq!(from(&ring, 1), None);
        ring.push((1..=5).map(record).collect());
        assert_eq!(from(&ring, 2), None);
        assert_eq!(from(&ring, 3), Some(vec![3, 4]));
        assert_eq!(from(&ring, 5), Some(vec![5]));
        assert_eq!(from(&ring, 6), Some(vec![]));
        ring.clear();
        assert_eq!(from(&ring, 5), None);
    }
}
