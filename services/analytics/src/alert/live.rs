//! Applies rules to conversations as they happen: whenever one was analysed, and when time alone may have decided.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use colloquy_service::Problem;
use colloquy_storage::StoreError;
use colloquy_types::{Clock, ConversationId, OrganizationId, Provider, Timestamp};
use moka::future::Cache;
use tokio::sync::{Mutex, Notify};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use uuid::Uuid;

use super::alert::{About, Alert, id_for_conversation};
use super::book::{Book, Rules};
use super::evaluate::{Conversation, Fired};
use super::store::{AlertStore, Crossing};
use super::transcripts::Transcripts;
use crate::features::Features;
use crate::hooks::{Analysed, Seen};

/// How often to look for running conversations that time brought under a rule.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// How many alerts are remembered as raised. A conversation is analysed again and again, and comes under the same rules each time.
const REMEMBERED: u64 = 100_000;

/// What is needed.
pub struct Parts {
    /// Where alerts are kept.
    pub store: Arc<dyn AlertStore>,
    /// The rules.
    pub book: Book,
    /// What was said.
    pub transcripts: Arc<dyn Transcripts>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Rung for what is to be told.
    pub bell: Arc<Notify>,
}

/// Watches conversations.
pub struct Conversations {
    parts: Parts,
    raised: Cache<Uuid, ()>,
    /// Up to when running conversations were looked at.
    looked: Mutex<Timestamp>,
}

impl Conversations {
    /// Returns a watch that has not looked at anything yet.
    pub fn new(parts: Parts) -> Self {
        Self { parts, raised: Cache::new(REMEMBERED), looked: Mutex::new(Timestamp::MIN) }
    }

    /// Looks at running conversations until the stop.
    ///
    /// # Errors
    /// Never: what fails is tried again.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            if let Err(problem) = self.look().await {
                tracing::warn!("rules could not be applied to running conversations yet: {}", problem.message);
            }
        }
    }

    /// Looks at the running conversations that time alone may have brought under a rule since the last look. One of which it cannot be read
    /// what was said is judged by all else, and holds up no other.
    ///
    /// # Errors
    /// When the store or transcripts are not available: the next look is about the same conversations.
    pub async fn look(&self) -> Result<(), Problem> {
        use colloquy_service::Describe;
        let Parts { store, book, transcripts, clock, .. } = &self.parts;
        let mut looked = self.looked.lock().await;
        let now = clock.now();
        let crossing = store.crossing(*looked, now).await.map_err(|error| error.describe())?;
        let mut missed = None;
        let mut by_organization: HashMap<OrganizationId, HashMap<ConversationId, Timestamp>> = HashMap::new();
        for Crossing { organization_id, conversation_id, heard_at } in crossing {
            by_organization.entry(organization_id).or_default().insert(conversation_id, heard_at);
        }
        for (organization, heard) in by_organization {
            let conversations: Vec<ConversationId> = heard.keys().copied().collect();
            let rules = book.of(&organization).await.map_err(|error| error.describe())?;
            for row in store.rows(&organization, &conversations).await.map_err(|error| error.describe())? {
                let mut verdict = rules.compiled.evaluate(&Conversation { row: &row, turns: None, now });
                if verdict.needs_turns {
                    match transcripts.turns(&organization, row.conversation_id).await {
                        Ok(turns) => verdict = rules.compiled.evaluate(&Conversation { row: &row, turns: Some(&turns), now }),
                        Err(problem) if is_passing(&problem) => missed = Some(problem),
                        Err(problem) => {
                            verdict = rules.compiled.evaluate(&Conversation { row: &row, turns: Some(&[]), now });
                            tracing::debug!(
                                conversation.id = %row.conversation_id,
                                "a running conversation is judged without what was said: {}",
                                problem.message
                            );
                        }
                    }
                }
                let Some(heard_at) = heard.get(&row.conversation_id) else { continue };
                self.raise(&row, verdict.fired, *heard_at, now).await.map_err(|error| error.describe())?;
            }
        }
        match missed {
            Some(problem) => Err(problem),
            None => {
                *looked = now;
                Ok(())
            }
        }
    }

    async fn raise(&self, row: &Features, fired: Vec<Fired>, heard_at: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        let Parts { store, bell, .. } = &self.parts;
        let fired: Vec<(Uuid, Fired)> = (fired.into_iter())
            .map(|fired| (id_for_conversation(fired.rule.rule_id, row.conversation_id), fired))
            .filter(|(_, fired)| fired.rule.watches_from <= heard_at)
            .filter(|(id, fired)| !fired.rule.is_muted(now) && !self.raised.contains_key(id))
            .collect();
        if fired.is_empty() {
            return Ok(());
        }
        let ids: Vec<Uuid> = fired.iter().map(|(id, _)| *id).collect();
        let known = store.raised(&row.organization_id, &ids).await?;
        let new: Vec<Alert> =
            (fired.into_iter()).filter(|(id, _)| !known.contains(id)).map(|(id, fired)| alert(row, id, fired, now)).collect();
        if !new.is_empty() {
            let raised = store.raise(&new).await?;
            for alert in new.iter().filter(|alert| raised.contains(&alert.alert_id)) {
                colloquy_service::metrics::alert_opened("conversation", alert.severity.as_str());
            }
            bell.notify_one();
        }
        for id in ids {
            self.raised.insert(id, ()).await;
        }
        Ok(())
    }
}

/// Returns whether another try may find it better.
const fn is_passing(problem: &Problem) -> bool {
    matches!(problem.code, Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted)
}

fn alert(row: &Features, id: Uuid, fired: Fired, now: Timestamp) -> Alert {
    let about = About::Conversation {
        id: row.conversation_id,
        provider: row.provider.parse().unwrap_or(Provider::Native),
        // A database takes no NUL, which a vendor may send in any text.
        external_id: row.external_id.replace('\0', ""),
    };
    let Fired { rule, evidence, .. } = fired;
    Alert { conversation_count: 1, conversation_ids: vec![row.conversation_id], ..Alert::open(&rule, id, about, now, evidence) }
}

#[async_trait]
impl Analysed for Conversations {
    async fn analysed(&self, seen: &[Seen<'_>]) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        let mut books: HashMap<&OrganizationId, Arc<Rules>> = HashMap::new();
        for seen in seen {
            let row = seen.features;
            let rules = match books.entry(&row.organization_id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => unknown.insert(self.parts.book.of(&row.organization_id).await?),
            };
            let verdict = rules.compiled.evaluate(&Conversation { row, turns: Some(&seen.input.turns), now });
            self.raise(row, verdict.fired, seen.heard_at, now).await?;
        }
        Ok(())
    }
}
