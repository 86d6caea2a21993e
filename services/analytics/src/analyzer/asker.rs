//! Asks the model about one conversation: once for equal words, within the day's budget, and takes nothing on trust.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use colloquy_storage::StoreError;
use colloquy_types::{Clock, ConversationId, OrganizationId, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::answer;
use super::definition::Definition;
use super::model::{AskError, Model};
use super::prompt::Prompt;
use super::run::{Found, Run, RunResult, Usage};
use super::store::{Key, Reservation, Reserved, Store};
use super::transcript::Transcript;

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1_000;
/// Longer than a model is waited for.
const HELD_MILLIS: i64 = 5 * 60 * 1_000;
const STOPPED: &str = "the service was stopped while the model was asked";

/// A question about one conversation.
pub(super) struct Question<'a> {
    pub(super) organization_id: &'a OrganizationId,
    pub(super) conversation_id: ConversationId,
    pub(super) analyzer_id: Uuid,
    pub(super) version: u32,
    pub(super) definition: &'a Definition,
    pub(super) transcript: &'a Transcript,
    /// Whether to ask although there is an answer.
    pub(super) again: bool,
}

/// What came of a question.
#[derive(Debug)]
pub(super) enum Asked {
    /// There is such a run already, and it is the newest.
    Equal(Box<Run>),
    /// A run, to be kept.
    New(Box<Run>),
    /// The model answered, and nothing that can be used: a run that failed, to be kept. It may be asked again.
    Garbage(Box<Run>),
    /// Other questions hold the tokens that are left of the day; there may be some when those are answered.
    NotNow {
        /// Whether there are hardly any for other questions either.
        nothing_left: bool,
    },
    /// The organization has not so many tokens left of the day.
    OverBudget {
        /// Whether it has hardly any.
        nothing_left: bool,
    },
    /// The model did not answer, and may later. What the run is should it be given up.
    Later { after: Option<Duration>, given_up: Box<Run> },
}

/// What the model said, and what it took; or that there were no tokens to ask it.
enum Heard {
    Model(Result<String, AskError>, Usage),
    NoTokens(Asked),
}

/// Room for one who asks.
pub(super) type Place = OwnedSemaphorePermit;

/// Asks.
pub(super) struct Asker {
    pub(super) store: Arc<dyn Store>,
    pub(super) model: Arc<dyn Model>,
    pub(super) tokens_per_day: u64,
    pub(super) clock: Arc<dyn Clock>,
    /// How many may ask at once, in the background and by hand.
    pub(super) places: Arc<Semaphore>,
    pub(super) stop: CancellationToken,
}

/// Returns the day of a time, since the epoch (UTC).
pub(super) const fn day_of(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(DAY_MILLIS)
}

/// Returns when the day after that of a time begins (UTC).
pub(super) fn next_day(at: Timestamp) -> Timestamp {
    let begins = day_of(at).saturating_add(1).saturating_mul(DAY_MILLIS);
    Timestamp::from_millis(begins).unwrap_or(Timestamp::MAX)
}

impl Asker {
    /// Returns what makes a run of this question the same as another.
    pub(super) fn key(&self, analyzer_id: Uuid, version: u32, prompt: &Prompt) -> Key {
        Key { analyzer_id, version, model: self.model.name().to_owned(), prompt_hash: prompt.hash }
    }

    /// Returns every place that is free now.
    pub(super) fn free_places(&self) -> Vec<Place> {
        std::iter::from_fn(|| Arc::clone(&self.places).try_acquire_owned().ok()).collect()
    }

    /// Returns the next place that is free, if that is soon.
    pub(super) async fn place_within(&self, wait: Duration) -> Option<Place> {
        tokio::time::timeout(wait, Arc::clone(&self.places).acquire_owned()).await.ok()?.ok()
    }

    /// Answers a question of somebody who has a place, from what is known if that is allowed.
    pub(super) async fn ask(&self, _place: &Place, question: &Question<'_>) -> Result<Asked, StoreError> {
        let prompt = Prompt::of(question.definition, question.transcript);
        let key = self.key(question.analyzer_id, question.version, &prompt);
        let (organization, conversation) = (question.organization_id, question.conversation_id);
        let run = |result: RunResult, usage: Usage, cached: bool| {
            let score = result.found().and_then(|found| found.score(question.definition));
            Box::new(Run {
                organization_id: organization.clone(),
                run_id: Uuid::now_v7(),
                analyzer_id: key.analyzer_id,
                version: key.version,
                conversation_id: conversation,
                model: key.model.clone(),
                prompt_hash: key.prompt_hash,
                result,
                score,
                usage,
                at: self.clock.now(),
                cached,
            })
        };
        if !question.again
            && let Some(equal) = self.store.equal_run(organization, conversation, &key).await?
        {
            // What was asked last may be something else: other words, or another model. The answer to what is asked now counts again.
            let is_newest = self.store.newest_keys(organization, conversation).await?.contains(&key);
            return Ok(match is_newest {
                true => Asked::Equal(Box::new(equal)),
                false => Asked::New(run(equal.result, Usage::default(), true)),
            });
        }
        if question.transcript.is_empty() {
            let found = Found::nothing_said(question.definition);
            return Ok(Asked::New(run(RunResult::Succeeded(found), Usage::default(), false)));
        }
        let known_as = known_as(&key);
        if !question.again
            && let Some(answer) = self.store.answer(organization, &known_as).await?
            && let Ok(found) = answer::read(&answer, question.definition, question.transcript)
        {
            return Ok(Asked::New(run(RunResult::Succeeded(found), Usage::default(), true)));
        }
        let most = prompt.most().total();
        if most > self.tokens_per_day {
            let why = format!("the question may take {most} tokens, and a day has {}", self.tokens_per_day);
            return Ok(Asked::New(run(RunResult::Failed(why), Usage::default(), false)));
        }
        let (answered, usage) = match self.ask_model(organization, &prompt).await? {
            Heard::Model(answered, usage) => (answered, usage),
            Heard::NoTokens(asked) => return Ok(asked),
        };
        Ok(match answered {
            Ok(answer) => match answer::read(&answer, question.definition, question.transcript) {
                Ok(found) => {
                    self.store.keep_answer(organization, &known_as, &answer, self.clock.now()).await?;
                    Asked::New(run(RunResult::Succeeded(found), usage, false))
                }
                Err(garbage) => Asked::Garbage(run(RunResult::Failed(garbage.to_string()), usage, false)),
            },
            Err(AskError::Unusable { why, .. }) => Asked::Garbage(run(RunResult::Failed(why), usage, false)),
            Err(AskError::Later { why, after, .. }) => {
                Asked::Later { after, given_up: run(RunResult::Failed(why), usage, false) }
            }
            Err(AskError::Refused(why)) => Asked::Later { after: None, given_up: run(RunResult::Failed(why), usage, false) },
        })
    }

    /// Asks the model, and again while it may answer soon. Tokens are put aside for every try: each may take as many as the first.
    async fn ask_model(&self, organization: &OrganizationId, prompt: &Prompt) -> Result<Heard, StoreError> {
        let most = prompt.most();
        let mut spent = Usage::default();
        let mut tried = 0;
        let mut failed = None;
        loop {
            let now = self.clock.now();
            let held_until = now.saturating_add_millis(HELD_MILLIS);
            let reservation = Reservation { id: Uuid::now_v7(), day: day_of(now), tokens: most.total(), held_until };
            let none = match self.store.reserve_tokens(organization, &reservation, now, self.tokens_per_day).await? {
                Reserved::Yes => None,
                Reserved::NotNow { left } => Some(Asked::NotNow { nothing_left: self.is_nothing(left) }),
                Reserved::NotToday { left } => Some(Asked::OverBudget { nothing_left: self.is_nothing(left) }),
            };
            match (none, failed) {
                (None, _) => {}
                (Some(none), None) => return Ok(Heard::NoTokens(none)),
                (Some(_), Some(failed)) => return Ok(Heard::Model(Err(failed), spent)),
            }
            let answered = tokio::select! {
                answered = self.model.ask(prompt) => answered,
                () = self.stop.cancelled() => Err(AskError::Later { why: STOPPED.to_owned(), after: None, usage: most }),
            };
            tried += 1;
            let took = answered.as_ref().map_or_else(AskError::usage, |answer| answer.usage);
            spent = Usage { input: spent.input.saturating_add(took.input), output: spent.output.saturating_add(took.output) };
            self.store.settle_tokens(organization, &reservation, took.total()).await?;
            let error = match answered {
                Ok(answer) => return Ok(Heard::Model(Ok(answer.text), spent)),
                Err(error) => error,
            };
            let AskError::Later { why, after, .. } = &error else { return Ok(Heard::Model(Err(error), spent)) };
            let wait = self.model.patience().before_next(tried, *after);
            let Some(wait) = wait.filter(|_| !self.stop.is_cancelled()) else { return Ok(Heard::Model(Err(error), spent)) };
            tracing::debug!(attempt = tried, "the model is asked again: {why}");
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stop.cancelled() => return Ok(Heard::Model(Err(error), spent)),
            }
            failed = Some(error);
        }
    }

    /// Returns whether so few tokens are left of a day that hardly any question can be asked with them.
    const fn is_nothing(&self, left: u64) -> bool {
        left <= self.tokens_per_day / 50
    }
}

/// Returns what an answer is known by: what was asked, of whom.
fn known_as(key: &Key) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&(key.model.len() as u64).to_be_bytes());
    context.update(key.model.as_bytes());
    context.update(&key.prompt_hash);
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_at_midnight_utc() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(next_day(at("2026-03-02T00:00:00Z")), at("2026-03-03T00:00:00Z"));
        assert_eq!(next_day(at("2026-03-02T23:59:59.999Z")), at("2026-03-03T00:00:00Z"));
        assert_eq!(day_of(at("1970-01-02T00:00:00Z")), 1);
        assert_eq!(next_day(Timestamp::MAX), Timestamp::MAX);
    }
}
