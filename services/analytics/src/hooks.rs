//! Who adds to an analysis, and who wants to know of it.

use std::sync::Arc;

use async_trait::async_trait;
use colloquy_storage::StoreError;
use colloquy_types::Timestamp;

use crate::analysis::Analysis;
use crate::features::Features;
use crate::input::Input;

/// A conversation that was analysed: what it was made of and what it came to.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The record and the turns.
    pub input: &'a Input,
    /// What was established of them.
    pub analysis: &'a Analysis,
    /// The row that queries and rules ask.
    pub features: &'a Features,
    /// When the last of what was heard of it was received, whenever it took place.
    pub heard_at: Timestamp,
    /// Whether it is over, and was not when it was analysed before, or was never analysed before. A crash may say so again.
    pub newly_settled: bool,
}

/// Does something whenever a conversation was analysed.
///
/// It is told after the figures are written and before the conversation leaves the queue: what fails, or is cut short by a crash, is
/// told again, so whoever listens must not mind hearing of the same state twice. An error sends the conversation back into the
/// queue, for later.
#[async_trait]
pub trait Analysed: Send + Sync {
    /// Hears of a conversation that was analysed.
    async fn analysed(&self, seen: &Seen<'_>) -> Result<(), StoreError>;
}

/// All that listen, in the order in which they are told.
pub type Listeners = Vec<Arc<dyn Analysed>>;

/// Adds to an analysis what was established by other means than the built-in analysers, before figures are made of it.
///
/// What it adds may change without anything new being heard of the conversation; whoever changes it has the conversation analysed
/// again ([`crate::store::Store::mark`]).
#[async_trait]
pub trait Adds: Send + Sync {
    /// Adds to the analysis of a conversation.
    async fn add(&self, input: &Input, analysis: &mut Analysis) -> Result<(), StoreError>;
}

/// All that add, in their order.
pub type Contributors = Vec<Arc<dyn Adds>>;
