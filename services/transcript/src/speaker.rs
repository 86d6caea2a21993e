//! What speakers are called: in plain text by their role alone, in captions by their names where those are known.

use colloquy_events::{Role, Turn};

use crate::width;
use crate::wording::one_line;

/// No name takes more than a caption's line.
const LONGEST_NAME: usize = 42;

/// What the roles are called in captions where a turn does not name its speaker.
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
    fn default() -> Self {
        let called = |role| by_role(role).to_owned();
        Self { user: called(Role::User), agent: called(Role::Agent), human_agent: called(Role::HumanAgent) }
    }
}

impl Names {
    /// Returns what the speaker of a turn is called: on one line, and never empty.
    pub fn of(&self, turn: &Turn) -> String {
        let role = match turn.role {
            Role::User => &self.user,
            Role::Agent => &self.agent,
            Role::HumanAgent => &self.human_agent,
            Role::Tool | Role::System => return turn.role.to_string(),
        };
        let name = match turn.speaker.as_deref().map(one_line).filter(|speaker| !speaker.is_empty()) {
            Some(speaker) if is_name(&speaker) => speaker,
            // Several speak in this role, and whose name is known may be another.
            Some(_) => String::new(),
            None => one_line(role),
        };
        if name.is_empty() {
            return by_role(turn.role).to_owned();
        }
        width::truncate(&name, LONGEST_NAME)
    }
}

/// Returns what a role is called. To a caller, whoever answers is the agent.
pub const fn by_role(role: Role) -> &'static str {
    match role {
        Role::User => "User",
        Role::Agent | Role::HumanAgent => "Agent",
        Role::Tool | Role::System => role.as_str(),
    }
}

/// Returns whether people call somebody that. What tells several speakers of a role apart is the provider's id of each where it
/// does not say their names: one word with digits or underscores in it.
fn is_name(speaker: &str) -> bool {
    let is_one_word = !speaker.contains(char::is_whitespace);
    !is_one_word || !speaker.contains(|letter: char| letter.is_numeric() || letter == '_')
}

#[cfg(test)]
mod tests {
    use colloquy_types::TurnId;

    use super::*;

    #[test]
    fn a_caption_names_its_speaker_and_shows_nobody_an_id() {
        let called = |role: Role, speaker: &str| {
            let names = Names { agent: "Ana".into(), ..Names::default() };
            names.of(&Turn { speaker: Some(speaker.to_owned()), ..Turn::new(TurnId::generate(), role) })
        };
        for id in ["agent_2601kjq4x8n3eyz9v7m5c1d0abcd", "a7c39a1e-5d53-4e52-b3d8-3fbf8cbe5e4e", "user_abc", "1042"] {
            assert_eq!((called(Role::Agent, id), called(Role::User, id)), ("Agent".to_owned(), "User".to_owned()), "{id}");
        }
        assert_eq!((called(Role::Agent, " "), called(Role::HumanAgent, " ")), ("Ana".to_owned(), "Agent".to_owned()));
        for name in ["Ms Lee", "Booking", "Agent 2", "Zoë", "billing-desk"] {
            assert_eq!(called(Role::Agent, name), name);
        }
    }
}
