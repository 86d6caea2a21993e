//! Whether an order is taken, and what follows from it.

use colloquy_events::{CommandKind, LeaseState};
use colloquy_types::Timestamp;
use uuid::Uuid;

use crate::command::{Command, Outcome};
use crate::error::{Error, Held};
use crate::lease::Lease;
use crate::scene::{Change, Scene};
use crate::vendor::Action;

/// How long an idempotency key names its command.
const KEY_MILLIS: i64 = 24 * 60 * 60 * 1_000;

/// What somebody asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    /// What to do.
    pub action: Action,
    /// The lease they say they hold.
    pub lease_id: Option<Uuid>,
    /// The same key again is the same command.
    pub idempotency_key: Option<String>,
    /// The name they want to go by; `None` when they did not say.
    pub holder: Option<String>,
    /// How long their lease is to last.
    pub lease_millis: i64,
    /// Whether to take the conversation away from whoever holds it.
    pub force: bool,
    /// The API key they use.
    pub key_id: String,
}

/// What the conversation's provider can do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Abilities {
    /// The commands it takes.
    pub commands: Vec<CommandKind>,
    /// Why not more, for people.
    pub limits: String,
}

/// What came of an order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Taken {
    /// The command.
    pub command_id: Uuid,
    /// The lease, for a `take_over`.
    pub lease: Option<Lease>,
    /// Whether the command is new, rather than one that was given before.
    pub is_new: bool,
}

impl Order {
    fn name(&self) -> String {
        self.holder.clone().unwrap_or_else(|| self.key_id.clone())
    }

    /// Returns whether `earlier` is the same command, given before. Two who take a conversation over without a name are two, even if
    /// they thought of the same idempotency key.
    fn is(&self, earlier: &Command) -> bool {
        let is_same_person = match self.action {
            Action::TakeOver => self.name() == earlier.holder,
            _ => self.holder.as_ref().is_none_or(|holder| *holder == earlier.holder),
        };
        self.action == earlier.action && is_same_person
    }

    /// The answer to a command that was given before: with its lease as long as that one counts, and only to the API key it was
    /// taken with. An idempotency key is no secret, and who learns the lease holds the conversation.
    fn again(&self, earlier: &Command, lease: Option<&Lease>, now: Timestamp) -> Taken {
        let is_own = |lease: &&Lease| earlier.lease_id == Some(lease.lease_id) && lease.key_id == self.key_id;
        let lease = lease.filter(|lease| lease.counts_at(now)).filter(is_own).cloned();
        Taken { command_id: earlier.command_id, lease, is_new: false }
    }

    /// Decides. `Ok` without a change is an answer that was given before.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn decide(&self, scene: &Scene, abilities: &Abilities, now: Timestamp) -> Result<(Option<Change>, Taken), Error> {
        let mut change = Change::of(scene, now);
        if let Some(earlier) = &scene.command {
            if now.millis_since(earlier.accepted_at) < KEY_MILLIS {
                return if self.is(earlier) {
                    Ok((None, self.again(earlier, scene.lease.as_ref(), now)))
                } else {
                    Err(Error::KeyReused)
                };
            }
            change.key_freed = Some(earlier.command_id);
        }
        if scene.conversation.ended {
            return Err(Error::Ended);
        }
        if !abilities.commands.contains(&self.action.kind()) {
            return Err(Error::Unsupported {
                provider: scene.conversation.provider,
                command: self.action.kind(),
                capabilities: abilities.commands.clone(),
                limits: abilities.limits.clone(),
            });
        }
        let held = scene.lease.as_ref().filter(|lease| lease.counts_at(now));
        let taken = match &self.action {
            Action::TakeOver => self.take_over(&mut change, scene, held, now)?,
            Action::Release => {
                let lease = if self.force { held } else { Some(self.own(held)?) };
                if let Some(lease) = lease {
                    let own = self.lease_id == Some(lease.lease_id);
                    change.free(lease, if own { LeaseState::Released } else { LeaseState::Forced });
                }
                let holder = lease.filter(|_| !self.force).map_or_else(|| self.name(), |lease| lease.holder.clone());
                self.accept(&mut change, &holder, None)
            }
            _ => {
                let holder = self.own(held)?.holder.clone();
                self.accept(&mut change, &holder, None)
            }
        };
        Ok((Some(change), taken))
    }

    /// Returns the lease, if it is the one of who asks.
    fn own<'a>(&self, held: Option<&'a Lease>) -> Result<&'a Lease, Error> {
        match (held, self.lease_id) {
            (Some(lease), Some(own)) if lease.lease_id == own => Ok(lease),
            (held, Some(_)) => Err(Error::LeaseLost(holder(held))),
            (held, None) => Err(Error::LeaseRequired(holder(held))),
        }
    }

    fn take_over(&self, change: &mut Change, scene: &Scene, held: Option<&Lease>, now: Timestamp) -> Result<Taken, Error> {
        let expires_at = now.saturating_add_millis(self.lease_millis);
        match (held, &scene.lease) {
            (Some(lease), _) if self.lease_id == Some(lease.lease_id) => {
                return Ok(match &self.holder {
                    Some(next) if *next != lease.holder => self.hand_over(change, next, expires_at, now),
                    _ => renew(change, lease, expires_at),
                });
            }
            (Some(lease), _) if self.force => change.free(lease, LeaseState::Forced),
            // Whoever believes to hold it must learn that they do not.
            (held, _) if self.lease_id.is_some() && !self.force => return Err(Error::LeaseLost(holder(held))),
            (Some(_), _) => return Err(Error::LeaseHeld(holder(held))),
            (None, Some(ran_out)) => change.free(ran_out, LeaseState::Expired),
            (None, None) => {}
        }
        let mut lease = self.lease(self.name(), expires_at, now);
        let taken = self.accept(change, &lease.holder.clone(), Some(lease.lease_id));
        lease.command_id = taken.command_id;
        change.hold(lease.clone(), LeaseState::Taken);
        Ok(Taken { lease: Some(lease), ..taken })
    }

    /// Gives the conversation to another person. The agent is silent already, so nobody has to do anything: the command is
    /// applied at once.
    fn hand_over(&self, change: &mut Change, next: &str, expires_at: Timestamp, now: Timestamp) -> Taken {
        let mut lease = self.lease(next.to_owned(), expires_at, now);
        let key = self.idempotency_key.as_deref();
        let command = change.accept(Action::TakeOver, next, Some(lease.lease_id), key);
        lease.command_id = command.command_id;
        change.hold(lease.clone(), LeaseState::HandedOver);
        change.finish(&command, Outcome::Applied);
        Taken { command_id: command.command_id, lease: Some(lease), is_new: true }
    }

    fn lease(&self, holder: String, expires_at: Timestamp, now: Timestamp) -> Lease {
        // Random, not ascending: who holds a lease must not be able to guess the next one.
        let lease_id = Uuid::new_v4();
        Lease { lease_id, command_id: Uuid::nil(), holder, key_id: self.key_id.clone(), taken_at: now, expires_at }
    }

    fn accept(&self, change: &mut Change, holder: &str, lease_id: Option<Uuid>) -> Taken {
        let command = change.accept(self.action.clone(), holder, lease_id, self.idempotency_key.as_deref());
        Taken { command_id: command.command_id, lease: None, is_new: true }
    }
}

/// Prolongs a lease; the answer is the command that took it.
fn renew(change: &mut Change, lease: &Lease, expires_at: Timestamp) -> Taken {
    let lease = Lease { expires_at, ..lease.clone() };
    change.renew(lease.clone());
    Taken { command_id: lease.command_id, lease: Some(lease), is_new: false }
}

fn holder(held: Option<&Lease>) -> Held {
    Held(held.map(|lease| (lease.holder.clone(), lease.expires_at)))
}
