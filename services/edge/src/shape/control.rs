//! Stepping into running conversations.

use colloquy_proto::control::v1 as pb;
use serde::Serialize;
use utoipa::ToSchema;

use super::time::Time;

/// A command that was taken.
#[derive(Serialize, ToSchema)]
pub(crate) struct CommandReceipt {
    /// UUID; names the command in events.
    command_id: String,
    /// UUID of the conversation.
    conversation_id: String,
    /// `take_over`, `release`, `say`, `inject_context`, `transfer`, `mute` or `end`.
    command: String,
    /// `accepted`, `applied` or `rejected`.
    status: String,
    /// Why it was rejected, by code.
    reason: Option<String>,
    /// The lease's id: needed by every further command; `null` but after `take_over`.
    lease_id: Option<String>,
    /// The lease after `take_over`.
    lease: Option<Lease>,
    /// The position of its `control.accepted` event.
    position: u64,
}

/// The right to command a conversation.
#[derive(Serialize, ToSchema)]
pub(crate) struct Lease {
    /// The name its holder goes by.
    holder: String,
    /// When it runs out unless it is renewed.
    expires_at: Time,
}

/// Who holds a conversation, and what can be done to it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Control {
    /// UUID.
    conversation_id: String,
    /// Who holds it; `null` when nobody does.
    lease: Option<Lease>,
    /// The commands it takes now.
    capabilities: Vec<String>,
    /// Why it does not take others; empty when it takes all.
    limits: String,
    /// The latest 100 commands, newest first.
    commands: Vec<Command>,
}

/// A command, and what became of it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Command {
    /// UUID.
    command_id: String,
    /// `take_over`, `release`, `say`, `inject_context`, `transfer`, `mute` or `end`.
    command: String,
    /// `accepted`, `applied` or `rejected`.
    status: String,
    /// Who gave it.
    holder: String,
    /// What to say or to inject.
    text: Option<String>,
    /// Where to transfer to.
    destination: Option<String>,
    /// Whether the agent is to be muted.
    muted: Option<bool>,
    /// Why it was rejected, by code.
    reason: Option<String>,
    /// Why it was rejected.
    detail: Option<String>,
    /// When it was taken.
    accepted_at: Time,
    /// When it was carried out or rejected.
    finished_at: Time,
}

impl CommandReceipt {
    /// Returns the receipt; `None` when the service left out the command.
    pub(crate) fn new(given: pb::SendCommandResponse) -> Option<Self> {
        let command = given.command?;
        Some(Self {
            command_id: command.command_id,
            conversation_id: command.conversation_id,
            command: command.command,
            status: command.state,
            reason: command.reason,
            lease_id: given.lease.as_ref().map(|lease| lease.lease_id.clone()).filter(|id| !id.is_empty()),
            lease: given.lease.map(Into::into),
            position: given.position,
        })
    }
}

impl From<pb::Lease> for Lease {
    fn from(given: pb::Lease) -> Self {
        Self { holder: given.holder, expires_at: given.expires_at.into() }
    }
}

impl From<pb::GetControlResponse> for Control {
    fn from(given: pb::GetControlResponse) -> Self {
        Self {
            conversation_id: given.conversation_id,
            lease: given.lease.map(Into::into),
            capabilities: given.capabilities,
            limits: given.limits,
            commands: given.commands.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<pb::Command> for Command {
    fn from(given: pb::Command) -> Self {
        Self {
            command_id: given.command_id,
            command: given.command,
            status: given.state,
            holder: given.holder,
            text: given.text,
            destination: given.destination,
            muted: given.muted,
            reason: given.reason,
            detail: given.detail,
            accepted_at: given.accepted_at.into(),
            finished_at: given.finished_at.into(),
        }
    }
}
