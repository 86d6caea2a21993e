//! What a service brings to the loop.

use async_trait::async_trait;
use colloquy_events::Record;
use colloquy_storage::StoreError;
use colloquy_types::Position;

use crate::UnknownEvents;

/// A view of the log and the place it has reached, kept together.
#[async_trait]
pub trait Reader: Send + Sync + 'static {
    /// Returns the name of its durable consumer, for example `transcript`.
    fn name(&self) -> &'static str;

    /// Returns how far the view is complete, by its own database; [`Position::START`] before the first record.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn position(&self) -> Result<Position, StoreError>;

    /// Brings the view up to `through`, in one transaction: inserts the events, folds, writes, and keeps `through` as the new
    /// position. Records that were applied before may come again; there may be none, when only the position moves.
    ///
    /// # Errors
    /// A transient error is tried again for as long as it lasts. After any other, the records are tried in smaller parts, to find
    /// the one at fault.
    async fn apply(&self, records: &[Record], through: Position) -> Result<(), StoreError>;

    /// Keeps a record that cannot be applied, with the reason, where people see it and can have it tried again. It may come
    /// again.
    ///
    /// # Errors
    /// Any error is tried again for as long as it lasts: what is not kept must not be skipped.
    async fn set_aside(&self, record: &Record, reason: &str) -> Result<(), StoreError>;

    /// Returns where it keeps events that say what this release does not know, until one that knows them picks them up. Without
    /// such a place, as is the default, they are counted and skipped, and count for a later release only once the view is made
    /// anew.
    fn unknown_events(&self) -> Option<&UnknownEvents> {
        None
    }
}
