//! Ends what ends by itself: leases, commands that own agents do not answer, and what is kept of conversations that are long
//! over. It also tells the log what a process that died did not. Every replica does all of it; each step is done once.

use std::sync::Arc;

use colloquy_service::{Describe, Problem};
use colloquy_storage::StoreError;
use colloquy_types::Clock;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::command::{Outcome, Reason};
use crate::control::Control;
use crate::ending::outcome_after_the_end;
use crate::store::Key;

/// How many of a kind are ended in one go.
const AT_ONCE: u32 = 200;
/// How long an own agent has to answer.
const ANSWER_MILLIS: i64 = 60_000;
/// How long whoever made a change has to tell the log of it.
const TELL_MILLIS: i64 = 2_000;
/// How often what is long over is forgotten, in rounds.
const PRUNE_EVERY: u32 = 600;
/// For how long a conversation that is over is remembered.
const REMEMBER_MILLIS: i64 = 3 * 24 * 60 * 60 * 1_000;

/// Sweeps until `stop`.
///
/// # Errors
/// Never; what fails is tried again.
pub async fn run(control: Arc<Control>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(control.timing.look_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut failing, mut round) = (false, 0_u32);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let round_of = async {
            sweep(&control).await?;
            if round.is_multiple_of(PRUNE_EVERY) {
                prune(&control).await.map_err(|error| error.describe())?;
            }
            Ok::<(), Problem>(())
        };
        // Every step is whole by itself, so it may end between any two.
        let swept = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            swept = round_of => swept,
        };
        round = round.wrapping_add(1);
        match swept {
            Ok(()) if failing => {
                failing = false;
                tracing::info!("leases and commands are swept again");
            }
            Ok(()) => {}
            Err(problem) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!("leases and commands cannot be swept, which is tried again: {}", problem.message);
                }
            }
        }
    }
}

/// Ends what ought to have ended by now.
///
/// # Errors
/// The first failure. What was ended by then is told in a later round, if not in this one.
pub async fn sweep(control: &Control) -> Result<(), Problem> {
    let mut ended = free(control).await.map_err(|error| error.describe())?;
    ended.extend(end_unanswered(control).await.map_err(|error| error.describe())?);
    let before = control.clock.now().saturating_add_millis(-TELL_MILLIS);
    ended.extend(control.store.unannounced(before, AT_ONCE).await.map_err(|error| error.describe())?);
    // Last, since it may wait for the log: what ended has ended already. One after the other and no further once the log is away,
    // for they all go to the one log. What cannot be told of one conversation holds up no other.
    let mut first_failure = Ok(());
    for (organization_id, conversation_id) in ended {
        match control.announcer.announce(&organization_id, conversation_id).await {
            Ok(()) => {}
            Err(problem) if matches!(problem.code, Code::Unavailable | Code::DeadlineExceeded) => return Err(problem),
            Err(problem) => first_failure = first_failure.and(Err(problem)),
        }
    }
    first_failure
}

/// Frees conversations; returns which.
async fn free(control: &Control) -> Result<Vec<Key>, StoreError> {
    let to_free = control.store.to_free(control.clock.now(), AT_ONCE).await?;
    for (organization_id, conversation_id) in &to_free {
        control.free(organization_id, *conversation_id).await?;
    }
    Ok(to_free)
}

/// Ends commands that own agents do not answer; returns of which conversations.
async fn end_unanswered(control: &Control) -> Result<Vec<Key>, StoreError> {
    let before = control.clock.now().saturating_add_millis(-ANSWER_MILLIS);
    let mut conversations = Vec::new();
    for given in control.store.unanswered(before, AT_ONCE).await? {
        let outcome = if given.conversation.ended {
            outcome_after_the_end(&given.command)
        } else {
            Outcome::Rejected(Reason::NoAnswer, "no agent answered within a minute".to_owned())
        };
        control.finish(&given, outcome).await?;
        conversations.push((given.command.organization_id, given.command.conversation_id));
    }
    Ok(conversations)
}

async fn prune(control: &Control) -> Result<(), StoreError> {
    let before = control.clock.now().saturating_add_millis(-REMEMBER_MILLIS);
    while control.store.prune(before, AT_ONCE).await? == u64::from(AT_ONCE) {}
    Ok(())
}
