//! Asks the model about one conversation: once for equal words, within the day's budget, and takes nothing on trust.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use colloquy_storage::StoreError;
use colloquy_types::{Clock, ConversationId, OrganizationId, Timestamp};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::answer;
use super::definition::Definition;
use super::model::{AskError, Model};
use super::prompt::Prompt;
use super::run::{Found, Run, RunResult, Usage};
use super::store::{Key, Reserved, Store};
use super::transcript::Transcript;

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1_000;

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
    /// There is such a run already.
    Equal(Box<Run>),
    /// A run, to be kept.
    New(Box<Run>),
    /// The model answered, and nothing that can be used: a run that failed, to be kept. It may be asked again.
    Garbage(Box<Run>),
    /// Other questions hold the tokens that are left of the day; there may be some when those are answered.
    NotNow,
    /// The organization has used its tokens of the day.
    OverBudget,
    /// The model did not answer, and may later. What the run is should it be given up.
    Later { after: Option<Duration>, given_up: Box<Run> },
}

/// Asks.
pub(super) struct Asker {
    pub(super) store: Arc<dyn Store>,
    pub(super) model: Arc<dyn Model>,
    pub(super) tokens_per_day: u64,
    pub(super) clock: Arc<dyn Clock>,
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

    /// Answers a question, from what is known if that is allowed.
    pub(super) async fn ask(&self, question: &Question<'_>) -> Result<Asked, StoreError> {
        let prompt = Prompt::of(question.definition, question.transcript);
        let key = self.key(question.analyzer_id, question.version, &prompt);
        let (organization, conversation) = (question.organization_id, question.conversation_id);
        if !question.again
            && let Some(run) = self.store.equal_run(organization, conversation, &key).await?
        {
            return Ok(Asked::Equal(Box::new(run)));
        }
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
        let most = prompt.most_tokens();
        if most > self.tokens_per_day {
            let why = format!("the question may take {most} tokens, and a day has {}", self.tokens_per_day);
            return Ok(Asked::New(run(RunResult::Failed(why), Usage::default(), false)));
        }
        let day = day_of(self.clock.now());
        match self.store.reserve_tokens(organization, day, most, self.tokens_per_day).await? {
            Reserved::Yes => {}
            Reserved::NotNow => return Ok(Asked::NotNow),
            Reserved::NotToday => return Ok(Asked::OverBudget),
        }
        let answered = tokio::select! {
            answered = self.model.ask(&prompt) => answered,
            () = self.stop.cancelled() => {
                let usage = Usage { input: prompt.input_tokens(), output: 0 };
                Err(AskError::Later { why: "the service was stopped while the model was asked".to_owned(), after: None, usage })
            }
        };
        let usage = answered.as_ref().map_or_else(AskError::usage, |answer| answer.usage);
        self.store.settle_tokens(organization, day, most, usage.total()).await?;
        Ok(match answered {
            Ok(answer) => match answer::read(&answer.text, question.definition, question.transcript) {
                Ok(found) => {
                    self.store.keep_answer(organization, &known_as, &answer.text, self.clock.now()).await?;
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
