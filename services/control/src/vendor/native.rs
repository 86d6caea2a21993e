//! Own agents: they are handed their commands over `Subscribe`, and answer with `ReportCommand`.

use async_trait::async_trait;
use colloquy_events::CommandKind;

use super::{Action, Failure, Target, Vendor};

/// The means of own agents.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnAgents;

#[async_trait]
impl Vendor for OwnAgents {
    /// What an own agent can do, it says itself, when it is asked.
    fn capabilities(&self, _: &Target) -> (Vec<CommandKind>, String) {
        (CommandKind::ALL.to_vec(), String::new())
    }

    /// Own agents are not called: they come for their commands.
    async fn perform(&self, _: &Target, _: &Action) -> Result<(), Failure> {
        Err(Failure::Unavailable("own agents are handed their commands over Subscribe".to_owned()))
    }
}
