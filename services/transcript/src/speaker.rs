//! What speakers are called in captions and plain text.

use colloquy_events::{Role, Turn};

use crate::width;
use crate::wording::one_line;

/// No name takes more than a caption's line.
const LONGEST_NAME: usize = 42;

/// What the roles are called where a turn does not name its speaker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Names {
    /// The person.
    pub user: String,
    /// The AI agent.
    pub agent: String,
    /// A person on the agent's side.
    pub human_agent: String,
}

impl Default for Names {
    /// To a caller, whoever answers is the agent.
    fn default() -> Self {
        Self { user: "User".into(), agent: "Agent".into(), human_agent: "Agent".into() }
    }
}

impl Names {
    /// Returns what the speaker of a turn is called: on one line, and never empty.
    pub fn of(&self, turn: &Turn) -> String {
        let (role, fallback) = match turn.role {
            Role::User => (&self.user, "User"),
            Role::Agent => (&self.agent, "Agent"),
            Role::HumanAgent => (&self.human_agent, "Agent"),
            Role::Tool | Role::System => return turn.role.to_string(),
        };
        let given = [turn.speaker.as_deref(), Some(role)].into_iter().flatten().map(one_line);
        let name = given.into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| fallback.to_owned());
        width::truncate(&name, LONGEST_NAME)
    }
}
