//! What can be asked of this service: taking commands, telling what became of them, and ending them.

use std::collections::HashMap;
use std::sync::Arc;

use colloquy_service::metrics;
use colloquy_storage::StoreError;
use colloquy_types::{Clock, ConversationId, ConversationName, OrganizationId, Provider};
use uuid::Uuid;

use crate::announcer::Announcer;
use crate::bell::Bell;
use crate::command::{Command, Outcome, Reason, State, with_the_lease};
use crate::conversation::Conversation;
use crate::credentials::{Access, Credentials};
use crate::ending;
use crate::error::Error;
use crate::lease::Lease;
use crate::lookup::Lookup;
use crate::order::{Abilities, Order};
use crate::scene::{Find, Scene};
use crate::store::{ControlStore, Given};
use crate::timing::Timing;
use crate::vendor::{Target, Vendor};

/// How many commands are told of one conversation.
const LATEST: u32 = 100;

/// The vendors' means, by provider.
pub type Vendors = HashMap<Provider, Arc<dyn Vendor>>;

/// The service, apart from how it is called.
pub struct Control {
    /// What it keeps.
    pub store: Arc<dyn ControlStore>,
    /// Tells the log.
    pub announcer: Announcer,
    /// Finds conversations.
    pub lookup: Lookup,
    /// What calls vendors.
    pub credentials: Credentials,
    /// The vendors.
    pub vendors: Vendors,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Rings when there is something to carry out.
    pub bell: Bell,
    /// How long things are waited for.
    pub timing: Timing,
}

/// What became of an order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The command.
    pub given: Given,
    /// The lease, for a `take_over`.
    pub lease: Option<Lease>,
}

/// Who holds a conversation, and what can be done to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Overview {
    /// The conversation.
    pub conversation: Conversation,
    /// Who holds it.
    pub lease: Option<Lease>,
    /// What can be done.
    pub abilities: Abilities,
    /// The latest commands, newest first.
    pub commands: Vec<Command>,
}

impl Control {
    /// Takes an order: once the log has it, it is answered.
    ///
    /// # Errors
    /// Why it is not taken.
    pub async fn send(&self, organization_id: &OrganizationId, name: &ConversationName, order: &Order) -> Result<Answer, Error> {
        let conversation = self.lookup.find(organization_id, name).await?;
        let id = conversation.conversation_id;
        // Asked before the conversation is locked: nobody waits under a lock for another service.
        let abilities = self.abilities(&conversation).await?;
        let find = order.idempotency_key.as_deref().map_or(Find::Nothing, Find::Key);
        let mut decided = None;
        let mut decide = |scene: &Scene| match order.decide(scene, &abilities, self.clock.now()) {
            Ok((change, taken)) => {
                decided = Some(Ok(taken));
                change
            }
            Err(error) => {
                decided = Some(Err(error));
                None
            }
        };
        let known = self.store.change(organization_id, id, find, &mut decide).await?;
        let taken = match (known, decided) {
            (true, Some(decided)) => decided?,
            _ if conversation.ended => return Err(Error::Ended),
            _ => return Err(Error::NotFound(id.to_string())),
        };
        // Also for a command that was given before: whoever gave it may not have come this far.
        self.announcer.announce(organization_id, id).await.map_err(Error::NotAnnounced)?;
        let given = self.store.command(organization_id, taken.command_id).await?;
        let given = given.ok_or_else(|| Error::CommandNotFound(taken.command_id.to_string()))?;
        if taken.is_new && given.command.state == State::Applied {
            count(&given, &Outcome::Applied);
        }
        Ok(Answer { given, lease: taken.lease })
    }

    /// Tells who holds a conversation, what can be done to it and what was.
    ///
    /// # Errors
    /// When it does not exist, or cannot be found out.
    pub async fn overview(&self, organization_id: &OrganizationId, name: &ConversationName) -> Result<Overview, Error> {
        let conversation = self.lookup.find(organization_id, name).await?;
        let id = conversation.conversation_id;
        let abilities = self.abilities(&conversation).await?;
        let lease = self.store.lease(organization_id, id).await?;
        let lease = lease.filter(|lease| lease.counts_at(self.clock.now()) && !conversation.ended);
        let commands = self.store.commands(organization_id, id, LATEST).await?;
        Ok(Overview { conversation, lease, abilities, commands })
    }

    /// Notes what an own agent says of a command; its first answer counts.
    ///
    /// # Errors
    /// When there is no such command for own agents, or the answer cannot be kept.
    pub async fn report(
        &self,
        organization_id: &OrganizationId,
        command_id: Uuid,
        refused: Option<String>,
    ) -> Result<Given, Error> {
        let unknown = || Error::CommandNotFound(command_id.to_string());
        let given = self.store.command(organization_id, command_id).await?.filter(|given| given.command.native);
        let given = given.ok_or_else(unknown)?;
        let outcome = refused.map_or(Outcome::Applied, |detail| Outcome::Rejected(Reason::AgentRefused, detail));
        self.finish(&given, outcome).await?;
        let id = given.command.conversation_id;
        self.announcer.announce(organization_id, id).await.map_err(Error::NotAnnounced)?;
        self.store.command(organization_id, command_id).await?.ok_or_else(unknown)
    }

    /// Ends a command, unless it has ended already. The log is told by [`Announcer::announce`].
    ///
    /// # Errors
    /// When the store fails.
    pub async fn finish(&self, given: &Given, outcome: Outcome) -> Result<(), StoreError> {
        let Command { organization_id, conversation_id, command_id, .. } = &given.command;
        let mut finished = false;
        let mut decide = |scene: &Scene| {
            let change = ending::finish(scene, outcome.clone(), self.clock.now());
            finished = change.is_some();
            change
        };
        self.store.change(organization_id, *conversation_id, Find::Id(*command_id), &mut decide).await?;
        if finished {
            count(given, &outcome);
        }
        Ok(())
    }

    /// Frees a conversation whose lease ran out, or which is over. The log is told by [`Announcer::announce`].
    ///
    /// # Errors
    /// When the store fails.
    pub async fn free(&self, organization_id: &OrganizationId, conversation_id: ConversationId) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut decide = |scene: &Scene| ending::free(scene, now);
        self.store.change(organization_id, conversation_id, Find::Nothing, &mut decide).await?;
        Ok(())
    }

    /// Returns what is known of how a conversation can be reached.
    ///
    /// # Errors
    /// When the credentials cannot be found out.
    pub async fn target(&self, conversation: &Conversation) -> Result<Target, Error> {
        let access = match conversation.source_id {
            Some(source_id) if conversation.provider != Provider::Native => {
                self.credentials.of(&conversation.organization_id, source_id).await.map_err(Error::Upstream)?
            }
            _ => Access::default(),
        };
        Ok(Target {
            provider: conversation.provider,
            external_id: conversation.external_id.clone(),
            channel: conversation.channel.clone(),
            control_url: conversation.control_url.as_ref().and_then(|url| url.parse().ok()),
            api_key: access.api_key,
            base_url: access.base_url,
        })
    }

    async fn abilities(&self, conversation: &Conversation) -> Result<Abilities, Error> {
        let none = |limits: String| Abilities { commands: Vec::new(), limits };
        if conversation.ended {
            return Ok(none("the conversation has ended".to_owned()));
        }
        let Some(vendor) = self.vendors.get(&conversation.provider) else {
            return Ok(none(format!("there is no way to steer {} conversations", conversation.provider)));
        };
        let (capabilities, limits) = vendor.capabilities(&self.target(conversation).await?);
        Ok(Abilities { commands: with_the_lease(capabilities), limits })
    }
}

fn count(given: &Given, outcome: &Outcome) {
    metrics::control_command(given.conversation.provider.as_str(), given.command.action.kind().as_str(), outcome.as_str());
}
