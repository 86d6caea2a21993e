//! Places in the event log.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The place of an event in the log: the sequence number of its record, then its index within that record.
///
/// Both log engines number records; packing the index into the low sixteen bits gives every event a position of its own that
/// ascends with the log, survives restarts, and stays exact as a JSON number for 137 billion records.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

impl Position {
    /// The place before the first event.
    pub const START: Self = Self(0);
    /// The greatest number of events one record may carry.
    pub const MAX_EVENTS_PER_RECORD: usize = 1 << 16;

    /// Returns the position of event `index` of record `sequence`.
    pub const fn new(sequence: u64, index: u16) -> Self {
        Self(sequence << 16 | index as u64)
    }

    /// Returns the last position a record can have: having passed it means having passed the whole record.
    pub const fn end_of(sequence: u64) -> Self {
        Self::new(sequence, u16::MAX)
    }

    /// Returns the sequence number of the record.
    pub const fn sequence(self) -> u64 {
        self.0 >> 16
    }

    /// Returns the index within the record.
    pub const fn index(self) -> u16 {
        (self.0 & 0xffff) as u16
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
