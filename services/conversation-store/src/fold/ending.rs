//! Why a conversation ended, and at what cost. Where it stands and when it ended is [`colloquy_events::standing`]'s.

use colloquy_events::{Cost, Ended};

use super::set;

/// What the ends so far say. A real end replaces an inferred one altogether.
#[derive(Default)]
pub(super) struct Ending {
    inferred: bool,
    pub(super) end_reason: Option<String>,
    pub(super) end_reason_detail: Option<String>,
    pub(super) failure_code: Option<String>,
    pub(super) failure_message: Option<String>,
    pub(super) cost: Option<Cost>,
    pub(super) transferred_to: Option<String>,
}

impl Ending {
    /// Adds what a later end says; inferred ones come before all real ones.
    pub(super) fn learn(&mut self, ended: &Ended) {
        if self.inferred && !ended.inferred {
            *self = Self::default();
        }
        self.inferred = ended.inferred;
        set(&mut self.end_reason, &ended.end_reason);
        set(&mut self.end_reason_detail, &ended.end_reason_detail);
        set(&mut self.failure_code, &ended.failure_code);
        set(&mut self.failure_message, &ended.failure_message);
        set(&mut self.cost, &ended.cost);
        set(&mut self.transferred_to, &ended.transferred_to);
    }
}
