//! Carries out commands at vendors.
//!
//! A worker claims a command for a while; who dies with it loses it to another one then. Before the vendor is called it is noted
//! that somebody set about it, so that a command which may have been carried out is not carried out twice, unless that does no harm.

use std::sync::Arc;
use std::time::Duration;

use colloquy_service::Describe;
use colloquy_storage::StoreError;
use colloquy_types::Clock;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::command::{Outcome, Reason, may_be_repeated};
use crate::control::Control;
use crate::ending::outcome_after_the_end;
use crate::error::Error;
use crate::share::Shares;
use crate::store::Given;
use crate::timing::Timing;
use crate::vendor::{Action, Failure, Target, Vendor};

/// How long a claim lasts: longer than anything below takes together.
const CLAIM_MILLIS: i64 = 60_000;
/// How many commands one replica carries out at the same time.
const AT_ONCE: usize = 128;
/// From how many of one organization on its others wait: commands to a vendor that does not answer take their time, and must not
/// keep those of everybody else from being carried out.
const OF_ONE: usize = 32;
/// How many are claimed together, and so by how much that is exceeded at most.
const TOGETHER: usize = 16;
/// How long what became of a command is tried to be kept.
const INSIST: Duration = Duration::from_secs(15);
/// How long commands that are being carried out are waited for when the process stops.
const GRACE: Duration = Duration::from_secs(5);
/// No detail is kept longer.
const LONGEST_DETAIL: usize = 500;

/// Carries out commands until `stop`.
///
/// # Errors
/// Never; a store that is away is asked again.
pub async fn run(control: Arc<Control>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut bell = control.bell.listen();
    let mut running = JoinSet::new();
    let shares = Shares::of(OF_ONE);
    let mut failing = false;
    while !stop.is_cancelled() {
        let room = TOGETHER.min(AT_ONCE - running.len());
        let mut is_more = false;
        match claim(&control, &shares, room).await {
            Ok(claimed) => {
                is_more = room > 0 && claimed.len() == room;
                if std::mem::take(&mut failing) {
                    tracing::info!("commands can be claimed again");
                }
                for given in claimed {
                    let control = Arc::clone(&control);
                    let share = shares.take_anyway(&given.command.organization_id);
                    running.spawn(async move {
                        let _share = share;
                        carry_out(&control, given).await;
                    });
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!("commands cannot be claimed, which is tried again: {error}");
                }
                tokio::time::sleep(control.timing.first_wait).await;
            }
        }
        if is_more {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = bell.heard() => {}
            Some(_) = running.join_next(), if !running.is_empty() => {}
            () = tokio::time::sleep(control.timing.look_every) => {}
        }
    }
    let all = async { while running.join_next().await.is_some() {} };
    // What is cut off here is claimed by another replica, or after the start.
    let _ = tokio::time::timeout(GRACE, all).await;
    Ok(())
}

async fn claim(control: &Control, shares: &Shares, room: usize) -> Result<Vec<Given>, StoreError> {
    if room == 0 {
        return Ok(Vec::new());
    }
    let now = control.clock.now();
    let (until, limit) = (now.saturating_add_millis(CLAIM_MILLIS), u32::try_from(room).unwrap_or(u32::MAX));
    control.store.claim(now, until, &shares.used_up(), limit).await
}

/// Carries out one command, and tells what became of it.
async fn carry_out(control: &Control, given: Given) {
    let outcome = match outcome(control, &given).await {
        Ok(Some(outcome)) => outcome,
        // Somebody else has it.
        Ok(None) => return,
        Err(error) => {
            tracing::warn!(command.id = %given.command.command_id, "a command is given back: {error}");
            let _ = control.store.unclaim(&given.command).await;
            return;
        }
    };
    let give_up = Instant::now() + INSIST;
    let mut wait = control.timing.first_wait;
    while let Err(error) = control.finish(&given, outcome.clone()).await {
        if Instant::now() + wait >= give_up {
            // It is claimed again: what may not be repeated becomes `outcome_unknown` then.
            tracing::error!(command.id = %given.command.command_id, "what became of a command cannot be kept: {error}");
            return;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(control.timing.longest_wait);
    }
    let command = &given.command;
    if let Err(problem) = control.announcer.announce(&command.organization_id, command.conversation_id).await {
        tracing::warn!(command.id = %command.command_id, "what became of a command is told later: {}", problem.message);
    }
}

/// Returns what becomes of a command; `None` when somebody else has it by now.
async fn outcome(control: &Control, given: &Given) -> Result<Option<Outcome>, StoreError> {
    let command = &given.command;
    let kind = command.action.kind();
    if given.conversation.ended {
        return Ok(Some(outcome_after_the_end(command)));
    }
    if command.attempts > 0 && !may_be_repeated(kind) {
        let detail = "it was being carried out when the process that did so ended";
        return Ok(Some(Outcome::Rejected(Reason::OutcomeUnknown, detail.to_owned())));
    }
    let Some(vendor) = control.vendors.get(&given.conversation.provider) else {
        let detail = format!("there is no way to steer {} conversations", given.conversation.provider);
        return Ok(Some(Outcome::Rejected(Reason::Unsupported, detail)));
    };
    let mut tries = Tries::begin(control.timing, command.attempts);
    let target = loop {
        match control.target(&given.conversation).await {
            Ok(target) => break target,
            Err(Error::Store(error)) => return Err(error),
            Err(error) if tries.wait().await => {
                tracing::debug!("credentials are asked for again: {error}");
            }
            Err(error) => {
                let detail = format!("its source cannot be asked for credentials: {}", error.describe().message);
                return Ok(Some(Outcome::Rejected(Reason::VendorUnavailable, shortened(detail))));
            }
        }
    };
    let (capabilities, limits) = vendor.capabilities(&target);
    if !capabilities.contains(&kind) {
        // Where the agent cannot be silenced, holding the conversation is all there is to it.
        let lease_only = matches!(command.action, Action::TakeOver | Action::Release) && !capabilities.is_empty();
        let unsupported = Outcome::Rejected(Reason::Unsupported, shortened(limits));
        return Ok(Some(if lease_only { Outcome::Applied } else { unsupported }));
    }
    perform(control, given, vendor.as_ref(), &target, tries).await
}

async fn perform(
    control: &Control,
    given: &Given,
    vendor: &dyn Vendor,
    target: &Target,
    mut tries: Tries,
) -> Result<Option<Outcome>, StoreError> {
    let command = &given.command;
    let repeatable = may_be_repeated(command.action.kind());
    loop {
        if !control.store.start(command).await? {
            return Ok(None);
        }
        let done = tokio::time::timeout(control.timing.silence, vendor.perform(target, &command.action)).await;
        let failure = match done {
            Ok(Ok(())) => return Ok(Some(Outcome::Applied)),
            Ok(Err(failure)) => failure,
            Err(_) => Failure::Unknown("the vendor did not answer".to_owned()),
        };
        let (reason, detail, again) = match failure {
            Failure::Ended if tries.before > 0 && command.action == Action::End => return Ok(Some(Outcome::Applied)),
            Failure::Ended => (Reason::ConversationEnded, "the conversation is over at the vendor".to_owned(), false),
            Failure::Refused(detail) => (Reason::VendorRefused, detail, false),
            Failure::Unavailable(detail) => (Reason::VendorUnavailable, detail, true),
            Failure::Unknown(detail) => (Reason::OutcomeUnknown, detail, repeatable),
        };
        tries.before += 1;
        if !again || !tries.wait().await {
            return Ok(Some(Outcome::Rejected(reason, shortened(detail))));
        }
    }
}

/// How often and for how long a command is tried.
struct Tries {
    before: u32,
    until: Instant,
    wait: Duration,
    longest_wait: Duration,
}

impl Tries {
    fn begin(timing: Timing, before: u32) -> Self {
        let until = Instant::now() + timing.patience;
        Self { before, until, wait: timing.first_wait, longest_wait: timing.longest_wait }
    }

    /// Waits for the next try; `false` when there is none.
    async fn wait(&mut self) -> bool {
        if Instant::now() + self.wait >= self.until {
            return false;
        }
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).min(self.longest_wait);
        true
    }
}

/// Returns a vendor's words as they can be kept: PostgreSQL takes no NUL.
fn shortened(detail: String) -> String {
    detail.chars().filter(|letter| !letter.is_control()).take(LONGEST_DETAIL).collect()
}
