//! Why a command is not taken.

use std::time::Duration;

use colloquy_events::CommandKind;
use colloquy_service::{Describe, Problem};
use colloquy_storage::StoreError;
use colloquy_types::{Provider, Timestamp};

/// Why a command is not taken, or nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such conversation, or not in this organization.
    #[error("conversation '{0}' does not exist")]
    NotFound(String),
    /// There is no such command for the organization's own agents.
    #[error("command '{0}' does not exist, or is not one for your own agents")]
    CommandNotFound(String),
    /// The conversation is over.
    #[error("the conversation has ended")]
    Ended,
    /// The provider cannot do it.
    #[error("{}", unsupported(*.provider, *.command, .capabilities, .limits))]
    Unsupported {
        /// Who the conversation runs on.
        provider: Provider,
        /// What was asked for.
        command: CommandKind,
        /// What the provider can do.
        capabilities: Vec<CommandKind>,
        /// Why not more, for people.
        limits: String,
    },
    /// The command needs a lease and came without one.
    #[error("commands need the lease that 'take_over' answers with; {0}")]
    LeaseRequired(Held),
    /// The lease does not count any more, or never did.
    #[error("the lease does not count any more; {0}")]
    LeaseLost(Held),
    /// Somebody else holds the conversation.
    #[error("{0}; a key with the scope 'admin' can take it with 'force'")]
    LeaseHeld(Held),
    /// `force` needs more than this key has.
    #[error("'force' needs the scope 'admin'")]
    ForceNotAllowed,
    /// The idempotency key belongs to another command.
    #[error("the idempotency key belongs to another command to this conversation")]
    KeyReused,
    /// The command was noted, but its event could not be written.
    #[error("the event log does not take the command right now: {}", .0.message)]
    NotAnnounced(Problem),
    /// What another service had to say could not be asked.
    #[error("{}", .0.message)]
    Upstream(Problem),
    /// The store failed.
    #[error("storage failed")]
    Store(#[from] StoreError),
}

/// Who holds a conversation, and until when; not the lease's id, which would make everybody a holder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held(pub Option<(String, Timestamp)>);

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some((holder, until)) => write!(f, "'{holder}' holds the conversation until {until}"),
            None => f.write_str("nobody holds the conversation"),
        }
    }
}

fn unsupported(provider: Provider, command: CommandKind, capabilities: &[CommandKind], limits: &str) -> String {
    let can: Vec<&str> = capabilities.iter().map(|kind| kind.as_str()).collect();
    let can = if can.is_empty() { "none".to_owned() } else { can.join(", ") };
    let limits = if limits.is_empty() { String::new() } else { format!(" ({limits})") };
    format!("'{command}' cannot be given to this {provider} conversation; commands that can: {can}{limits}")
}

impl Describe for Error {
    fn describe(&self) -> Problem {
        let message = self.to_string();
        match self {
            Self::NotFound(_) => Problem::not_found("CONVERSATION_NOT_FOUND", message),
            Self::CommandNotFound(_) => Problem::not_found("COMMAND_NOT_FOUND", message),
            Self::Ended => Problem::failed_precondition("CONVERSATION_ENDED", message),
            Self::Unsupported { .. } => Problem::failed_precondition("COMMAND_UNSUPPORTED", message),
            Self::LeaseRequired(_) => Problem::failed_precondition("LEASE_REQUIRED", message),
            Self::LeaseLost(_) => Problem::failed_precondition("LEASE_LOST", message),
            Self::LeaseHeld(_) => Problem::failed_precondition("LEASE_HELD", message),
            Self::ForceNotAllowed => Problem::permission_denied("SCOPE_MISSING", message),
            Self::KeyReused => Problem::already_exists("IDEMPOTENCY_KEY_REUSED", message),
            // It is carried out once the log takes it: the same key asks for the same command, not for another one.
            Self::NotAnnounced(_) => Problem::unavailable("COMMAND_NOT_ANNOUNCED", message, Duration::from_secs(1)),
            Self::Upstream(problem) => problem.clone(),
            Self::Store(error) => error.describe(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_reason() {
        let held = Held(Some(("Ada".to_owned(), Timestamp::default())));
        let unsupported = Error::Unsupported {
            provider: Provider::Retell,
            command: CommandKind::Mute,
            capabilities: vec![CommandKind::TakeOver, CommandKind::End],
            limits: "Retell mutes nobody".to_owned(),
        };
        assert_eq!(
            unsupported.to_string(),
            "'mute' cannot be given to this retell conversation; commands that can: take_over, end (Retell mutes nobody)"
        );
        let reasons = [
            (Error::NotFound("x".to_owned()), "CONVERSATION_NOT_FOUND"),
            (Error::CommandNotFound("x".to_owned()), "COMMAND_NOT_FOUND"),
            (Error::Ended, "CONVERSATION_ENDED"),
            (unsupported, "COMMAND_UNSUPPORTED"),
            (Error::LeaseRequired(Held(None)), "LEASE_REQUIRED"),
            (Error::LeaseLost(held.clone()), "LEASE_LOST"),
            (Error::LeaseHeld(held), "LEASE_HELD"),
            (Error::ForceNotAllowed, "SCOPE_MISSING"),
            (Error::KeyReused, "IDEMPOTENCY_KEY_REUSED"),
            (Error::NotAnnounced(Problem::deadline_exceeded("late")), "COMMAND_NOT_ANNOUNCED"),
            (Error::Upstream(Problem::deadline_exceeded("late")), "DEADLINE_EXCEEDED"),
            (Error::Store(StoreError::Corrupt("row".to_owned())), "INTERNAL"),
        ];
        for (error, reason) in reasons {
            assert_eq!(error.describe().reason, reason, "{error}");
        }
    }
}
