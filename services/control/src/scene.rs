//! What is decided about one conversation, in one step: a [`Scene`] is what the store holds of it, locked, and a [`Change`] what
//! the store writes, all of it or nothing. The rules are in [`crate::order`] and [`crate::ending`]; neither asks anybody.

use colloquy_events::{Command as Commanded, CommandDone, CommandRefused, Data, LeaseChange, LeaseState};
use colloquy_types::{ConversationId, EventId, OrganizationId, Timestamp};
use uuid::Uuid;

use crate::command::{Command, Outcome, Parts, State, is_native};
use crate::conversation::Conversation;
use crate::lease::Lease;
use crate::vendor::Action;

/// What the store holds of one conversation while it is locked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scene {
    /// The conversation.
    pub conversation: Conversation,
    /// Who holds it, perhaps only until a moment ago.
    pub lease: Option<Lease>,
    /// The command that was asked for.
    pub command: Option<Command>,
    /// The last number given in the conversation.
    pub numbered: i64,
}

/// Which command of the conversation belongs to the scene.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Find<'a> {
    /// None.
    Nothing,
    /// The one with this idempotency key.
    Key(&'a str),
    /// The one with this id.
    Id(Uuid),
}

/// An event that the log is to have.
#[derive(Clone, PartialEq, Debug)]
pub struct Note {
    /// Its place among what happened to the conversation here.
    pub number: i64,
    /// Derived from what it speaks of, so that writing it twice is writing it once.
    pub event_id: EventId,
    /// The command that is accepted by it.
    pub accepts: Option<Uuid>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// What happened.
    pub data: Data,
}

/// What becomes of the lease.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Hold {
    /// Nothing.
    #[default]
    Keep,
    /// It is this one now.
    Set(Lease),
    /// Nobody holds the conversation any more.
    Clear,
}

/// What to write.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    organization_id: OrganizationId,
    conversation_id: ConversationId,
    native: bool,
    now: Timestamp,
    /// The last number given.
    pub numbered: i64,
    /// What becomes of the lease.
    pub lease: Hold,
    /// The command whose idempotency key is free again.
    pub key_freed: Option<Uuid>,
    /// New commands.
    pub accepted: Vec<Command>,
    /// Commands that ended, as they are now. One that has ended already stays as it is.
    pub finished: Vec<Command>,
    /// What the log is to have.
    pub notes: Vec<Note>,
}

impl Change {
    /// Returns a change of nothing yet.
    pub fn of(scene: &Scene, now: Timestamp) -> Self {
        Self {
            organization_id: scene.conversation.organization_id.clone(),
            conversation_id: scene.conversation.conversation_id,
            native: is_native(scene.conversation.provider),
            now,
            numbered: scene.numbered,
            lease: Hold::Keep,
            key_freed: None,
            accepted: Vec::new(),
            finished: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Accepts a command, and returns it.
    pub fn accept(&mut self, action: Action, holder: &str, lease_id: Option<Uuid>, key: Option<&str>) -> Command {
        let command_id = Uuid::now_v7();
        let parts = Parts::of(&action);
        let data = Data::ControlAccepted(Commanded {
            command_id,
            command: action.kind(),
            text: parts.text.map(str::to_owned),
            destination: parts.destination.map(str::to_owned),
            muted: parts.muted,
            holder: Some(holder.to_owned()),
        });
        let number = self.note(&["accepted", &command_id.to_string()], Some(command_id), data);
        let command = Command {
            organization_id: self.organization_id.clone(),
            command_id,
            conversation_id: self.conversation_id,
            native: self.native,
            number,
            action,
            holder: holder.to_owned(),
            lease_id,
            idempotency_key: key.map(str::to_owned),
            state: State::Accepted,
            accepted_at: self.now,
            finished_at: None,
            position: None,
            claimed_until: Timestamp::default(),
            attempts: 0,
        };
        self.accepted.push(command.clone());
        command
    }

    /// Ends a command, which may be one that was accepted just now.
    pub fn finish(&mut self, command: &Command, outcome: Outcome) {
        let (command_id, kind) = (command.command_id, command.action.kind());
        let data = match &outcome {
            Outcome::Applied => Data::ControlApplied(CommandDone { command_id, command: kind }),
            Outcome::Rejected(reason, detail) => Data::ControlRejected(CommandRefused {
                command_id,
                command: kind,
                reason: reason.as_str().to_owned(),
                detail: (!detail.is_empty()).then(|| detail.clone()),
            }),
        };
        self.note(&["finished", &command_id.to_string()], None, data);
        let finished = Command { state: outcome.into(), finished_at: Some(self.now), ..command.clone() };
        match self.accepted.iter_mut().find(|accepted| accepted.command_id == command_id) {
            Some(accepted) => *accepted = finished,
            None => self.finished.push(finished),
        }
    }

    /// Gives the conversation to a holder.
    pub fn hold(&mut self, lease: Lease, state: LeaseState) {
        self.lease_changed(&lease, state, Some(lease.expires_at));
        self.lease = Hold::Set(lease);
    }

    /// Prolongs a lease. Nobody needs to know.
    pub fn renew(&mut self, lease: Lease) {
        self.lease = Hold::Set(lease);
    }

    /// Frees the conversation.
    pub fn free(&mut self, lease: &Lease, state: LeaseState) {
        self.lease_changed(lease, state, None);
        self.lease = Hold::Clear;
    }

    fn lease_changed(&mut self, lease: &Lease, state: LeaseState, expires_at: Option<Timestamp>) {
        let change = LeaseChange { state, holder: lease.holder.clone(), expires_at };
        self.note(&["lease", state.as_str(), &lease.lease_id.to_string()], None, Data::ControlLeaseChanged(change));
    }

    fn note(&mut self, identity: &[&str], accepts: Option<Uuid>, data: Data) -> i64 {
        self.numbered += 1;
        let identity: Vec<&str> = std::iter::once("control").chain(identity.iter().copied()).collect();
        self.notes.push(Note {
            number: self.numbered,
            event_id: EventId::derive(self.conversation_id, &identity),
            accepts,
            occurred_at: self.now,
            data,
        });
        self.numbered
    }
}
