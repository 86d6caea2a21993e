//! Queues conversations that are over, and adds to their figures what was found in them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use colloquy_events::ResolutionStatus;
use colloquy_storage::StoreError;
use colloquy_types::{Clock, ConversationId, OrganizationId};
use serde_json::Value;
use tokio::sync::Notify;
use uuid::Uuid;

use super::asker::Asker;
use super::definition::Definition;
use super::insight::{self, INSIGHT, INSIGHT_ID, INSIGHT_VERSION, Insight};
use super::prompt::Prompt;
use super::store::{Priority, Queued, Store};
use super::transcript::Transcript;
use super::worker::Pace;
use crate::analysis::{Analysis, CustomValue, Topic};
use crate::hooks::{Adding, Adds, Analysed, Seen};
use crate::input::Input;
use crate::judgement;
use crate::organization::Leading;
use crate::store::Store as Figures;

/// What custom values of a provider say they come from.
const PROVIDER: &str = "provider";
/// What values of the model say they come from.
const MODEL: &str = "model";

/// What was found in a conversation, of every analyzer the newest.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Results {
    /// By name; of two analyzers with the same name the newer run counts.
    pub custom: BTreeMap<String, CustomValue>,
    /// What the built-in analyzer found.
    pub insight: Option<Insight>,
}

impl Results {
    /// Reads what was found in conversations; nothing was in those that are missing.
    pub(super) async fn of(
        store: &dyn Store,
        organization: &OrganizationId,
        conversations: &[ConversationId],
    ) -> Result<HashMap<ConversationId, Self>, StoreError> {
        let mut found: HashMap<ConversationId, Self> = HashMap::new();
        for run in store.newest_runs(organization, conversations).await? {
            let results = found.entry(run.conversation_id).or_default();
            if run.analyzer_id == INSIGHT_ID {
                results.insight = run.result.found().map(Insight::of);
            } else {
                results.custom.extend(run.custom());
            }
        }
        Ok(found)
    }

    /// Brings what was found into an analysis. What the provider extracted under the same name stays, unless ours leads.
    fn add_to(self, input: &Input, analysis: &mut Analysis, own_leads: bool) {
        for (name, custom) in self.custom {
            let provider_has = analysis.custom.get(&name).is_some_and(|known| known.source == PROVIDER && known.value.is_some());
            if provider_has && (!own_leads || custom.value.is_none()) {
                if let Some(value) = custom.value {
                    analysis.own.custom_analysis.insert(name, value);
                }
                continue;
            }
            // What could not be established is said, so that what an earlier run found does not stand for ever.
            analysis.own.custom_analysis.insert(name.clone(), custom.value.clone().unwrap_or(Value::Null));
            analysis.custom.insert(name, custom);
        }
        if let Some(insight) = self.insight {
            add_insight(insight, analysis);
        }
        analysis.leading = judgement::leading(&input.record.judgements, &analysis.own, own_leads);
    }
}

/// What can be computed stays as it was computed; the model adds what only it can say, and what could not be computed.
fn add_insight(insight: Insight, analysis: &mut Analysis) {
    let own = &mut analysis.own;
    if insight.summary.is_some() {
        own.summary = insight.summary;
    }
    if insight.intent.is_some() {
        own.intent = insight.intent;
    }
    if let Some(topics) = insight.topics {
        let is_new = |topic: &String| !analysis.topics.value.iter().flatten().any(|known| known.name == *topic);
        let new: Vec<Topic> = topics.iter().filter(|topic| is_new(topic)).map(|topic| of_model(topic)).collect();
        analysis.topics.value.get_or_insert_default().extend(new);
        analysis.topics.absent_because = None;
        own.topics = Some(topics);
    }
    if own.resolution_status.is_none_or(|status| status == ResolutionStatus::Unknown) && insight.resolution_status.is_some() {
        own.resolution_status = insight.resolution_status;
    }
    if own.satisfaction_score.is_none() {
        own.satisfaction_score = insight.satisfaction_score;
    }
}

fn of_model(name: &str) -> Topic {
    Topic { name: name.to_owned(), source: MODEL.to_owned(), turns: Vec::new() }
}

/// Listens to what is analysed, and adds to it.
pub struct Listener {
    pub(super) store: Arc<dyn Store>,
    pub(super) figures: Arc<dyn Figures>,
    /// Without one nothing is queued; what was found before is added all the same.
    pub(super) asker: Option<Arc<Asker>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) wake: Arc<Notify>,
    pub(super) pace: Pace,
}

impl Listener {
    /// Returns the analyzers whose newest run of this conversation is not about its words as they are now.
    async fn unasked(&self, asker: &Asker, input: &Input, transcript: &Transcript) -> Result<Vec<Uuid>, StoreError> {
        let (organization, conversation) = (&input.record.organization_id, input.record.conversation_id);
        let known = self.store.newest_keys(organization, conversation).await?;
        let is_unasked = |id: Uuid, version: u32, definition: &Definition| {
            let key = asker.key(id, version, &Prompt::of(definition, transcript));
            !known.contains(&key)
        };
        let mut unasked = Vec::new();
        if is_unasked(INSIGHT_ID, INSIGHT_VERSION, &INSIGHT) && insight::is_wanted(&*self.figures, organization).await? {
            unasked.push(INSIGHT_ID);
        }
        for analyzer in self.store.enabled_analyzers(organization).await? {
            let is_for = analyzer.is_for(input.record.agent_id.as_deref());
            if is_for && is_unasked(analyzer.analyzer_id, analyzer.version, &analyzer.definition) {
                unasked.push(analyzer.analyzer_id);
            }
        }
        Ok(unasked)
    }

    async fn queue_unasked(&self, asker: &Asker, seen: &Seen<'_>) -> Result<(), StoreError> {
        let transcript = Transcript::of(seen.input);
        if transcript.is_empty() {
            return Ok(());
        }
        let unasked = self.unasked(asker, seen.input, &transcript).await?;
        let record = &seen.input.record;
        let queued: Vec<_> = unasked.into_iter().map(|analyzer| (analyzer, record.conversation_id)).collect();
        let settle = i64::try_from(self.pace.settle.as_millis()).unwrap_or(i64::MAX);
        let due_at = self.clock.now().saturating_add_millis(settle);
        let how = Queued { priority: Priority::Live, due_at, version: None, backfill_id: None };
        self.store.enqueue(&record.organization_id, &queued, how).await?;
        if !queued.is_empty() && settle == 0 {
            self.wake.notify_one();
        }
        Ok(())
    }
}

#[async_trait]
impl Analysed for Listener {
    async fn analysed(&self, seen: &[Seen<'_>]) -> Result<(), StoreError> {
        let Some(asker) = &self.asker else { return Ok(()) };
        for seen in seen.iter().filter(|seen| seen.analysis.settled) {
            self.queue_unasked(asker, seen).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Adds for Listener {
    async fn add(&self, organization: &OrganizationId, to: &mut [Adding<'_>]) -> Result<(), StoreError> {
        let conversations: Vec<ConversationId> = to.iter().map(|adding| adding.input.record.conversation_id).collect();
        let mut found = Results::of(&*self.store, organization, &conversations).await?;
        if found.is_empty() {
            return Ok(());
        }
        let settings = self.figures.settings(std::slice::from_ref(organization)).await?;
        let own_leads = settings.get(organization).is_some_and(|settings| settings.leading == Leading::Own);
        for Adding { input, analysis } in to {
            if let Some(results) = found.remove(&input.record.conversation_id) {
                results.add_to(input, analysis, own_leads);
            }
        }
        Ok(())
    }
}
