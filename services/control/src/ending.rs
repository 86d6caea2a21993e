//! What ends by itself: leases that nobody renews, and whatever belongs to a conversation that is over.

use colloquy_events::LeaseState;
use colloquy_types::Timestamp;

use crate::command::{Command, Outcome, Reason};
use crate::scene::{Change, Scene};
use crate::vendor::Action;

/// Frees a conversation whose lease ran out, or which is over. When it goes on, the agent is told to speak again.
pub fn free(scene: &Scene, now: Timestamp) -> Option<Change> {
    let lease = scene.lease.as_ref()?;
    let mut change = Change::of(scene, now);
    if scene.conversation.ended {
        change.free(lease, LeaseState::Released);
        return Some(change);
    }
    if lease.counts_at(now) {
        return None;
    }
    change.free(lease, LeaseState::Expired);
    change.accept(Action::Release, &lease.holder, None, None);
    Some(change)
}

/// Ends the scene's command, unless it has ended already.
pub fn finish(scene: &Scene, outcome: Outcome, now: Timestamp) -> Option<Change> {
    let command = scene.command.as_ref().filter(|command| command.finished_at.is_none())?;
    let mut change = Change::of(scene, now);
    change.finish(command, outcome);
    Some(change)
}

/// Returns what becomes of a command whose conversation is over. Who was told to end it and may have done so has done it.
pub fn outcome_after_the_end(command: &Command) -> Outcome {
    match (&command.action, command.attempts) {
        (Action::End, 1..) => Outcome::Applied,
        (action, 1..) if !crate::command::may_be_repeated(action.kind()) => {
            Outcome::Rejected(Reason::OutcomeUnknown, "the conversation ended while it was being carried out".to_owned())
        }
        _ => Outcome::Rejected(Reason::ConversationEnded, "the conversation ended before it was carried out".to_owned()),
    }
}
