//! Commands: what was asked for, and what became of it.

use std::fmt;

use colloquy_events::CommandKind;
use colloquy_types::{ConversationId, OrganizationId, Position, Provider, Timestamp};
use uuid::Uuid;

use crate::vendor::Action;

/// A command, as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// What it is known by.
    pub command_id: Uuid,
    /// The conversation it is for.
    pub conversation_id: ConversationId,
    /// Whether an own agent carries it out, rather than a vendor.
    pub native: bool,
    /// Its place among what happened to the conversation here.
    pub number: i64,
    /// What to do.
    pub action: Action,
    /// Who gave it.
    pub holder: String,
    /// The lease that came of it, for a command that took one.
    pub lease_id: Option<Uuid>,
    /// The same key again is the same command.
    pub idempotency_key: Option<String>,
    /// What became of it.
    pub state: State,
    /// When it was taken.
    pub accepted_at: Timestamp,
    /// When it was carried out or rejected.
    pub finished_at: Option<Timestamp>,
    /// Where its `control.accepted` is; `None` until the log has it.
    pub position: Option<Position>,
    /// Until when a worker has it.
    pub claimed_until: Timestamp,
    /// How often somebody set about it, so that it may have been carried out.
    pub attempts: u32,
}

/// What became of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// It was taken and is to be carried out.
    Accepted,
    /// It was carried out.
    Applied,
    /// It was not, or nobody knows.
    Rejected {
        /// Why, by code.
        reason: String,
        /// Why, for people.
        detail: Option<String>,
    },
}

impl State {
    /// Returns the word of the API.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Applied => "applied",
            Self::Rejected { .. } => "rejected",
        }
    }
}

/// How a command ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was carried out.
    Applied,
    /// It was not, or nobody knows.
    Rejected(Reason, String),
}

impl Outcome {
    /// Returns one word for it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Rejected(reason, _) => reason.as_str(),
        }
    }
}

impl From<Outcome> for State {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Applied => Self::Applied,
            Outcome::Rejected(reason, detail) => {
                Self::Rejected { reason: reason.as_str().to_owned(), detail: (!detail.is_empty()).then_some(detail) }
            }
        }
    }
}

/// Why a command was rejected. The words are part of the API.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The provider cannot do it.
    Unsupported,
    /// The conversation ended before it was done.
    ConversationEnded,
    /// The vendor refused.
    VendorRefused,
    /// The vendor could not be reached for as long as it was tried; it surely did nothing.
    VendorUnavailable,
    /// It may have been done: what would have said so got lost, and doing it twice would be worse.
    OutcomeUnknown,
    /// The own agent refused.
    AgentRefused,
    /// No own agent answered in time.
    NoAnswer,
}

impl Reason {
    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unsupported => "unsupported",
            Self::ConversationEnded => "conversation_ended",
            Self::VendorRefused => "vendor_refused",
            Self::VendorUnavailable => "vendor_unavailable",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::AgentRefused => "agent_refused",
            Self::NoAnswer => "no_answer",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The parts of an action, as they are kept and sent.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Parts<'a> {
    /// What to say or to inject.
    pub text: Option<&'a str>,
    /// Where to transfer to.
    pub destination: Option<&'a str>,
    /// Whether the agent is to be muted.
    pub muted: Option<bool>,
}

impl<'a> Parts<'a> {
    /// Takes an action apart.
    pub fn of(action: &'a Action) -> Self {
        match action {
            Action::TakeOver | Action::Release | Action::End => Self::default(),
            Action::Say(text) | Action::InjectContext(text) => Self { text: Some(text), ..Self::default() },
            Action::Transfer(destination) => Self { destination: Some(destination), ..Self::default() },
            Action::Mute(muted) => Self { muted: Some(*muted), ..Self::default() },
        }
    }

    /// Puts an action together; `None` when a part is missing.
    pub fn action(self, kind: CommandKind) -> Option<Action> {
        Some(match kind {
            CommandKind::TakeOver => Action::TakeOver,
            CommandKind::Release => Action::Release,
            CommandKind::Say => Action::Say(self.text?.to_owned()),
            CommandKind::InjectContext => Action::InjectContext(self.text?.to_owned()),
            CommandKind::Transfer => Action::Transfer(self.destination?.to_owned()),
            CommandKind::Mute => Action::Mute(self.muted?),
            CommandKind::End => Action::End,
        })
    }
}

/// Returns whether doing it twice is no worse than doing it once.
pub const fn may_be_repeated(kind: CommandKind) -> bool {
    match kind {
        CommandKind::TakeOver | CommandKind::Release | CommandKind::Mute | CommandKind::End => true,
        CommandKind::Say | CommandKind::InjectContext | CommandKind::Transfer => false,
    }
}

/// Returns the provider's commands from the commands of its own means: whoever can do anything at all to a conversation can
/// be its holder, even where the provider has no means to silence the agent.
pub fn with_the_lease(mut capabilities: Vec<CommandKind>) -> Vec<CommandKind> {
    if !capabilities.is_empty() {
        capabilities.extend([CommandKind::TakeOver, CommandKind::Release]);
        capabilities.sort_unstable();
        capabilities.dedup();
    }
    capabilities
}

/// Returns whether own agents carry out the commands to a provider's conversations.
pub const fn is_native(provider: Provider) -> bool {
    matches!(provider, Provider::Native)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_survive_being_taken_apart() {
        let actions = [
            Action::TakeOver,
            Action::Release,
            Action::Say("hello".to_owned()),
            Action::InjectContext("they are a regular".to_owned()),
            Action::Transfer("+12025550123".to_owned()),
            Action::Mute(false),
            Action::End,
        ];
        for action in actions {
            assert_eq!(Parts::of(&action).action(action.kind()), Some(action));
        }
        assert_eq!(Parts::default().action(CommandKind::Say), None);
    }

    #[test]
    fn whoever_can_do_anything_can_hold_a_conversation() {
        assert_eq!(with_the_lease(Vec::new()), []);
        let expected = [CommandKind::TakeOver, CommandKind::Release, CommandKind::InjectContext];
        assert_eq!(with_the_lease(vec![CommandKind::InjectContext]), expected);
    }
}
