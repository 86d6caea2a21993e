//! Who adds to an analysis, and who wants to know of it.

use std::sync::Arc;

use async_trait::async_trait;
use colloquy_storage::StoreError;
use colloquy_types::{OrganizationId, Timestamp};

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

/// Does something whenever conversations were analysed.
///
/// It is told after the figures are written and before the conversations leave the queue: what fails, or is cut short by a crash, is
/// told again, so whoever listens must not mind hearing of the same state twice.
#[async_trait]
pub trait Analysed: Send + Sync {
    /// Hears of conversations that were analysed, together for speed only. After an error, or a panic, it hears of each of them alone;
    /// what fails then goes back into the queue, for later.
    async fn analysed(&self, seen: &[Seen<'_>]) -> Result<(), StoreError>;
}

/// All that listen, in the order in which they are told.
pub type Listeners = Vec<Arc<dyn Analysed>>;

/// An analysis that may be added to.
#[derive(Debug)]
pub struct Adding<'a> {
    /// The record and the turns.
    pub input: &'a Input,
    /// What was established so far.
    pub analysis: &'a mut Analysis,
}

/// Adds to analyses what was established by other means than the built-in analysers, before figures are made of them.
///
/// What it adds may change without anything new being heard of the conversation; whoever changes it has the conversation analysed
/// again ([`crate::store::Store::mark`]).
#[async_trait]
pub trait Adds: Send + Sync {
    /// Adds to the analyses of conversations of one organization. When it fails, none of them counts.
    async fn add(&self, organization: &OrganizationId, to: &mut [Adding<'_>]) -> Result<(), StoreError>;
}

/// All that add, in their order.
pub type Contributors = Vec<Arc<dyn Adds>>;
