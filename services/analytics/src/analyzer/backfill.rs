//! An analyzer run over many conversations: first what it would come to, then in the background, behind what ends just now.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use colloquy_events::convert::{timestamp_from_pb, timestamp_to_pb};
use colloquy_filter::View;
use colloquy_proto::conversation::v1 as pb;
use colloquy_storage::StoreError;
use colloquy_types::{Clock, ConversationId, OrganizationId, Timestamp};
use prost::Message;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use uuid::Uuid;

use super::conversations::{Conversations, Unread};
use super::definition::{Analyzer, Definition};
use super::error::Error;
use super::prompt::Prompt;
use super::store::{Backfill, BackfillState, Priority, Queued, Store};
use super::transcript::Transcript;

/// No organization has more whose conversations are not all queued.
const MOST_BACKFILLS: u32 = 5;
const PAGE: i32 = 100;
/// An estimate looks at so many pages, and reads so many transcripts.
const PAGES: usize = 10;
const SAMPLES: usize = 8;
/// What a value of an answer has, about.
const TOKENS_A_VALUE: u64 = 60;
const TOKENS_OF_AN_ANSWER: u64 = 100;
/// A question without a sample.
const TOKENS_OF_A_QUESTION: u64 = 2_000;
/// How long somebody holds a list.
const HELD: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_secs(5);

/// Begins back-fills, and goes through their lists.
#[derive(Clone)]
pub(super) struct Backfills {
    pub(super) store: Arc<dyn Store>,
    pub(super) conversations: Conversations,
    /// How many tokens a day has; `None` without a model.
    pub(super) tokens_per_day: Option<u64>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) wake: Arc<Notify>,
}

/// What a back-fill comes to, about.
struct Estimate {
    conversations: u64,
    already_done: u64,
    tokens: u64,
}

/// How far a list has come.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct ListPlace {
    /// When the last conversation of it began.
    reached: Option<Timestamp>,
    /// Where it goes on; a list cannot be gone on with for ever, and is then begun anew from `reached`.
    token: String,
    /// From when on the list was begun that is being gone through.
    from: Option<Timestamp>,
}

impl ListPlace {
    fn read(text: &str) -> Self {
        let mut parts = text.splitn(3, ' ');
        let mut time = || parts.next()?.parse().ok().and_then(|millis| Timestamp::from_millis(millis).ok());
        let (from, reached) = (time(), time());
        Self { from, reached, token: parts.next().unwrap_or_default().to_owned() }
    }

    fn write(&self) -> String {
        let time = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.as_millis().to_string());
        format!("{} {} {}", time(self.from), time(self.reached), self.token)
    }

    fn anew(self) -> Self {
        Self { from: self.reached, reached: self.reached, token: String::new() }
    }
}

/// Narrows a filter to the agents an analyzer is for.
fn narrowed(mut filter: pb::ConversationFilter, analyzer: &Analyzer) -> pb::ConversationFilter {
    if analyzer.agent_ids.is_empty() {
        return filter;
    }
    let mut agents = String::new();
    for (index, agent) in analyzer.agent_ids.iter().enumerate() {
        let agent = agent.replace('\\', "\\\\").replace('"', "\\\"");
        // Writing to a string cannot fail.
        let _ = write!(agents, "{}agent_id = \"{agent}\"", if index == 0 { "" } else { " OR " });
    }
    filter.expression = match filter.expression.trim() {
        "" => agents,
        given => format!("({given}) AND ({agents})"),
    };
    filter
}

/// Narrows a filter to conversations that began at or after a time.
fn begun_from(mut filter: pb::ConversationFilter, from: Option<Timestamp>) -> pb::ConversationFilter {
    if let Some(from) = from {
        filter.created_from = Some(timestamp_to_pb(from));
    }
    filter
}

fn is_over(conversation: &pb::Conversation) -> bool {
    matches!(
        conversation.status(),
        pb::ConversationStatus::Completed | pb::ConversationStatus::Failed | pb::ConversationStatus::Abandoned
    )
}

fn ids(conversations: &[pb::Conversation]) -> Vec<ConversationId> {
    conversations.iter().filter(|one| is_over(one)).filter_map(|one| one.conversation_id.parse().ok()).collect()
}

impl Backfills {
    /// Begins a back-fill, or says what it would come to.
    pub(super) async fn begin(
        &self,
        analyzer: &Analyzer,
        filter: pb::ConversationFilter,
        estimate_only: bool,
    ) -> Result<BackfillState, Error> {
        let tokens_per_day = self.tokens_per_day.ok_or(Error::NoModel)?;
        // By itself: between parentheses an error would stand elsewhere, and half of one could be none.
        if let Err(errors) = colloquy_filter::conversations::read(&filter, View::Conversations) {
            errors.finish().map_err(Error::Problem)?;
        }
        let filter = narrowed(filter, analyzer);
        let estimate = self.estimate(analyzer, &filter).await?;
        let mut backfill = Backfill {
            organization_id: analyzer.organization_id.clone(),
            backfill_id: Uuid::nil(),
            analyzer_id: analyzer.analyzer_id,
            version: analyzer.version,
            filter: filter.encode_to_vec(),
            conversations: estimate.conversations,
            already_done: estimate.already_done,
            estimated_tokens: estimate.tokens,
            estimated_days: estimate.tokens as f64 / tokens_per_day.max(1) as f64,
            created_at: self.clock.now(),
            place: Some(ListPlace::default().write()),
        };
        if !estimate_only {
            backfill.backfill_id = Uuid::now_v7();
            if !self.store.create_backfill(&backfill, MOST_BACKFILLS).await? {
                return Err(Error::TooManyBackfills(MOST_BACKFILLS));
            }
            self.wake.notify_one();
        }
        Ok(BackfillState { backfill, done: 0, failed: 0, is_finished: false })
    }

    /// Returns how far a back-fill is.
    pub(super) async fn get(&self, organization: &OrganizationId, id: Uuid) -> Result<BackfillState, Error> {
        self.store.backfill(organization, id).await?.ok_or(Error::BackfillNotFound(id))
    }

    async fn estimate(&self, analyzer: &Analyzer, filter: &pb::ConversationFilter) -> Result<Estimate, Error> {
        let organization = &analyzer.organization_id;
        let (mut token, mut total, mut seen, mut done) = (String::new(), 0, 0_u64, 0_u64);
        let mut samples = Vec::new();
        for page in 0..PAGES {
            let listed = self.conversations.page(organization, filter.clone(), token, PAGE, page == 0).await;
            let listed = listed.map_err(Error::Upstream)?;
            total = listed.total.unwrap_or(total);
            let found = ids(&listed.conversations);
            let known = self.store.done_of(organization, analyzer.analyzer_id, analyzer.version, &found).await?;
            seen += listed.conversations.len() as u64;
            done += known.len() as u64;
            let room = SAMPLES.saturating_sub(samples.len()).min(SAMPLES / 2);
            samples.extend(found.iter().filter(|id| !known.contains(id)).take(room));
            token = listed.next;
            if token.is_empty() {
                break;
            }
        }
        let total = total.max(seen);
        let already_done = if total == seen || seen == 0 { done } else { (done as f64 * total as f64 / seen as f64) as u64 };
        let mean = self.mean_tokens(organization, &analyzer.definition, &samples).await?;
        let tokens = total.saturating_sub(already_done).saturating_mul(mean);
        Ok(Estimate { conversations: total, already_done, tokens })
    }

    async fn mean_tokens(
        &self,
        organization: &OrganizationId,
        definition: &Definition,
        samples: &[ConversationId],
    ) -> Result<u64, Error> {
        let values = (definition.fields.len() + definition.scorecard.len()) as u64;
        let (mut sum, mut count) = (0, 0);
        for &sample in samples {
            let input = match self.conversations.read(organization, sample).await {
                Ok(input) => input,
                // Nothing is asked about what cannot be read.
                Err(Unread::Gone | Unread::Never(_)) => continue,
                Err(Unread::Later(status)) => return Err(Error::Upstream(status)),
            };
            let transcript = Transcript::of(&input);
            count += 1;
            if !transcript.is_empty() {
                sum += Prompt::of(definition, &transcript).input_tokens() + TOKENS_OF_AN_ANSWER + values * TOKENS_A_VALUE;
            }
        }
        Ok(if count == 0 { TOKENS_OF_A_QUESTION + values * TOKENS_A_VALUE } else { u64::div_ceil(sum, count) })
    }

    /// Goes through lists until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            let wait = match self.store.claim_backfill(self.clock.now(), self.held_until()).await {
                Ok(Some(backfill)) => {
                    tokio::select! {
                        () = stop.cancelled() => return Ok(()),
                        went = self.go_through(&backfill) => match went {
                            Ok(()) => continue,
                            Err(error) => {
                                tracing::warn!(backfill.id = %backfill.backfill_id, "a back-fill waits: {error}");
                                PAUSE
                            }
                        },
                    }
                }
                Ok(None) => LOOK_EVERY,
                Err(error) => {
                    tracing::warn!("back-fills cannot be read: {error}");
                    PAUSE
                }
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn held_until(&self) -> Timestamp {
        self.clock.now().saturating_add_millis(i64::try_from(HELD.as_millis()).unwrap_or(i64::MAX))
    }

    /// Queues everything on the list that has no run of its version.
    async fn go_through(&self, backfill: &Backfill) -> Result<(), Error> {
        let (organization, id) = (&backfill.organization_id, backfill.backfill_id);
        let filter = pb::ConversationFilter::decode(&*backfill.filter)
            .map_err(|_| StoreError::Corrupt("the filter of a back-fill".to_owned()))?;
        let mut place = ListPlace::read(backfill.place.as_deref().unwrap_or_default());
        loop {
            let asked = begun_from(filter.clone(), place.from);
            let listed = match self.conversations.page(organization, asked, place.token.clone(), PAGE, false).await {
                Ok(listed) => listed,
                Err(status) if is_stale(&status) && !place.token.is_empty() => {
                    place = place.anew();
                    continue;
                }
                Err(status) if status.code() == Code::InvalidArgument => {
                    // It was good when it was given.
                    tracing::warn!(backfill.id = %id, "a back-fill ends, since its filter is not understood any more");
                    self.store.advance_backfill(organization, id, None, self.held_until()).await?;
                    return Ok(());
                }
                Err(status) => return Err(Error::Upstream(status)),
            };
            let found = ids(&listed.conversations);
            let known = self.store.done_of(organization, backfill.analyzer_id, backfill.version, &found).await?;
            let queued: Vec<_> = found
                .into_iter()
                .filter(|id| !known.contains(id))
                .map(|conversation| (backfill.analyzer_id, conversation))
                .collect();
            let how = Queued {
                priority: Priority::Backfill,
                due_at: self.clock.now(),
                version: Some(backfill.version),
                backfill_id: Some(id),
            };
            self.store.enqueue(organization, &queued, how).await?;
            let last = listed.conversations.last().and_then(|last| last.created_at);
            place.reached = last.and_then(|at| timestamp_from_pb("created_at", at).ok()).or(place.reached);
            place.token = listed.next;
            let next = (!place.token.is_empty()).then(|| place.write());
            self.store.advance_backfill(organization, id, next.as_deref(), self.held_until()).await?;
            if next.is_none() {
                return Ok(());
            }
        }
    }
}

/// Returns whether a list cannot be gone on with, but begun anew.
fn is_stale(status: &Status) -> bool {
    status.code() == Code::InvalidArgument && status.message().contains("page_token")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyzer::samples;

    #[test]
    fn a_filter_is_narrowed_to_the_agents() {
        let mut analyzer = samples::analyzer("acme", 1);
        let given = || pb::ConversationFilter { expression: "tags:\"vip\" OR tags:\"new\"".to_owned(), ..Default::default() };
        assert_eq!(narrowed(given(), &analyzer), given());
        analyzer.agent_ids = vec!["a".to_owned(), "b\"\\".to_owned()];
        let expected = r#"(tags:"vip" OR tags:"new") AND (agent_id = "a" OR agent_id = "b\"\\")"#;
        assert_eq!(narrowed(given(), &analyzer).expression, expected);
        let none = pb::ConversationFilter::default();
        assert_eq!(narrowed(none, &analyzer).expression, r#"agent_id = "a" OR agent_id = "b\"\\""#);
    }

    #[test]
    fn places_come_back_as_they_were() {
        let places = [
            ListPlace::default(),
            ListPlace { reached: Some(samples::at(1)), token: "a b".to_owned(), from: None },
            ListPlace { reached: Some(samples::at(2)), token: String::new(), from: Some(samples::at(2)) },
        ];
        for place in places {
            assert_eq!(ListPlace::read(&place.write()), place);
        }
    }
}
