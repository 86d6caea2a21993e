//! Vendors that cannot be steered.

use async_trait::async_trait;
use colloquy_events::CommandKind;

use super::{Action, Failure, Target, Vendor};

/// A vendor without any means, and why.
pub struct Unsupported {
    reason: &'static str,
}

impl Unsupported {
    /// Returns a vendor that refuses everything for this reason.
    pub const fn new(reason: &'static str) -> Self {
        Self { reason }
    }
}

#[async_trait]
impl Vendor for Unsupported {
    fn capabilities(&self, _target: &Target) -> (Vec<CommandKind>, String) {
        (Vec::new(), self.reason.to_owned())
    }

    async fn perform(&self, _target: &Target, _action: &Action) -> Result<(), Failure> {
        Err(Failure::Refused(self.reason.to_owned()))
    }
}
