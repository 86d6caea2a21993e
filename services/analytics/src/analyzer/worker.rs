//! The work in the background: what waits is asked about, what was found is told, and what is old is forgotten.

use std::sync::Arc;
use std::time::Duration;

use colloquy_storage::StoreError;
use colloquy_types::{Clock, Timestamp};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::asker::{Asked, Asker, Place, Question, day_of, next_day};
use super::conversations::{Conversations, Unread};
use super::insight::{self, INSIGHT, INSIGHT_ID, INSIGHT_VERSION};
use super::run::RunResult;
use super::store::{Claimed, Done, NewRun, Store};
use super::transcript::Transcript;
use crate::store::Store as Figures;

/// An answer that cannot be used is asked for so often.
const GARBAGE_TRIES: u32 = 3;
/// A model that does not answer is asked so often, over some hours.
const TRIES: u32 = 9;
const FIRST_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);
/// When another service or the store is away.
const PAUSE: Duration = Duration::from_secs(10);
/// When other questions hold the tokens that are left of the day. Each of them is answered, or given up, within minutes.
const CROWDED: Duration = Duration::from_secs(30);
/// How many conversations are told at once.
const NEWS: u32 = 100;
const PRUNE_EVERY: Duration = Duration::from_secs(60 * 60);
const PRUNE_AT_ONCE: u32 = 1_000;
const ANSWERS_KEPT_MILLIS: i64 = 30 * 24 * 60 * 60 * 1_000;
const BUDGETS_KEPT_DAYS: i64 = 40;

/// How the work is done.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How many questions are asked at once, in the background and by hand.
    pub concurrency: usize,
    /// How often it is looked whether something is due when nobody says so.
    pub look_every: Duration,
    /// For how long a worker has a conversation. Longer than any question takes.
    pub lease: Duration,
    /// How long a conversation waits before it is asked about, since more may be heard of it.
    pub settle: Duration,
    /// How long a caller waits for a run.
    pub patience: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            concurrency: 4,
            look_every: Duration::from_secs(1),
            lease: Duration::from_secs(5 * 60),
            settle: Duration::from_secs(5),
            patience: Duration::from_secs(55),
        }
    }
}

/// Works.
#[derive(Clone)]
pub(super) struct Worker {
    pub(super) store: Arc<dyn Store>,
    pub(super) figures: Arc<dyn Figures>,
    pub(super) conversations: Conversations,
    /// Without one nothing is asked, and what waits goes on waiting.
    pub(super) asker: Option<Arc<Asker>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) wake: Arc<Notify>,
    /// Wakes whoever makes figures.
    pub(super) wake_figures: Arc<Notify>,
    pub(super) pace: Pace,
    pub(super) stop: CancellationToken,
}

fn later(at: Timestamp, wait: Duration) -> Timestamp {
    at.saturating_add_millis(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
}

/// Returns what becomes of a conversation of which `attempts` questions, this one among them, were asked in vain.
fn after_failure(now: Timestamp, attempts: u32, most: u32, wanted: Option<Duration>) -> Done {
    if attempts >= most {
        return Done::Failed;
    }
    let wait = FIRST_WAIT.saturating_mul(1 << attempts.saturating_sub(1).min(16)).max(wanted.unwrap_or_default());
    Done::Again { due_at: later(now, wait.min(LONGEST_WAIT)), attempts }
}

/// Returns what becomes of a conversation that could not be read now, of which `attempts` questions were asked in vain before. Who is
/// away comes back; but reading one conversation may take too long always, and then it is given up in the end.
fn after_unread(now: Timestamp, attempts: u32, code: Code) -> Done {
    match code {
        Code::DeadlineExceeded => after_failure(now, attempts.saturating_add(1), TRIES, None),
        _ => Done::Again { due_at: later(now, PAUSE), attempts },
    }
}

impl Worker {
    /// Works until the service stops.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let mut working = JoinSet::new();
        let mut pruned_at = None;
        while !self.stop.is_cancelled() {
            while working.try_join_next().is_some() {}
            let wait = match self.look(&mut working).await {
                Ok(()) => self.pace.look_every,
                Err(error) => {
                    tracing::warn!("what waits for the model cannot be read or told, and is tried again: {error}");
                    PAUSE
                }
            };
            let is_time = pruned_at.is_none_or(|at: tokio::time::Instant| at.elapsed() >= PRUNE_EVERY);
            if is_time && self.prune().await {
                pruned_at = Some(tokio::time::Instant::now());
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
                Some(_) = working.join_next(), if !working.is_empty() => {}
            }
        }
        // Whoever asks the model gives up at once, and leaves its conversation to the next who takes it.
        while working.join_next().await.is_some() {}
        Ok(())
    }

    async fn look(&self, working: &mut JoinSet<()>) -> Result<(), StoreError> {
        self.tell().await?;
        let Some(asker) = &self.asker else { return Ok(()) };
        let places = asker.free_places();
        if places.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        let room = u32::try_from(places.len()).unwrap_or(u32::MAX);
        let claimed = self.store.claim(now, later(now, self.pace.lease), room).await?;
        for (claimed, place) in claimed.into_iter().zip(places) {
            let (worker, asker) = (self.clone(), Arc::clone(asker));
            working.spawn(async move {
                if let Err(error) = worker.work(&asker, &place, &claimed).await {
                    // Its lease runs out, and somebody takes it again.
                    tracing::warn!(analyzer.id = %claimed.analyzer_id, conversation.id = %claimed.conversation_id,
                        "a conversation could not be asked about: {error}");
                }
            });
        }
        Ok(())
    }

    /// Has conversations analysed again of which something was found.
    pub(super) async fn tell(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let news = self.store.claim_news(now, later(now, PAUSE), NEWS).await?;
        if news.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = news.iter().map(|one| (one.organization_id.clone(), one.conversation_id)).collect();
        self.figures.mark(&keys, now).await?;
        self.wake_figures.notify_one();
        for one in &news {
            self.told(one).await?;
        }
        Ok(())
    }

    async fn told(&self, news: &NewRun) -> Result<(), StoreError> {
        self.store.told(news).await
    }

    /// Forgets what is old. Returns whether nothing of it is left.
    async fn prune(&self) -> bool {
        let now = self.clock.now();
        let before = now.saturating_add_millis(-ANSWERS_KEPT_MILLIS);
        match self.store.prune(before, day_of(now) - BUDGETS_KEPT_DAYS, PRUNE_AT_ONCE).await {
            Ok(gone) => gone < u64::from(PRUNE_AT_ONCE),
            Err(error) => {
                tracing::debug!("old answers could not be removed: {error}");
                true
            }
        }
    }

    /// Asks about one conversation, and writes down what came of it.
    async fn work(&self, asker: &Asker, place: &Place, claimed: &Claimed) -> Result<(), StoreError> {
        let organization = &claimed.organization_id;
        let (version, definition) = if claimed.analyzer_id == INSIGHT_ID {
            // It may have been switched off since.
            if !insight::is_wanted(&*self.figures, organization).await? {
                return self.done(claimed, Done::Succeeded).await;
            }
            (INSIGHT_VERSION, INSIGHT.clone())
        } else {
            let Some(analyzer) = self.store.analyzer(organization, claimed.analyzer_id).await? else {
                return self.done(claimed, Done::Succeeded).await;
            };
            let version = claimed.version.unwrap_or(analyzer.version);
            let Some(definition) = self.store.definition(organization, claimed.analyzer_id, version).await? else {
                return self.done(claimed, Done::Failed).await;
            };
            (version, definition)
        };
        let input = match self.conversations.read(organization, claimed.conversation_id).await {
            Ok(input) => input,
            Err(Unread::Gone) => return self.done(claimed, Done::Succeeded).await,
            Err(Unread::Later(status)) => {
                let done = after_unread(self.clock.now(), claimed.attempts, status.code());
                return self.unread(claimed, &status, done).await;
            }
            Err(Unread::Never(status)) => return self.unread(claimed, &status, Done::Failed).await,
        };
        if input.record.status.is_live() {
            // It is queued again when it ends.
            return self.done(claimed, Done::Succeeded).await;
        }
        let transcript = Transcript::of(&input);
        let question = Question {
            organization_id: organization,
            conversation_id: claimed.conversation_id,
            analyzer_id: claimed.analyzer_id,
            version,
            definition: &definition,
            transcript: &transcript,
            again: false,
        };
        let asked = asker.ask(place, &question).await?;
        let now = self.clock.now();
        let attempts = claimed.attempts.saturating_add(1);
        let (run, done) = match asked {
            Asked::Equal(_) => (None, Done::Succeeded),
            Asked::New(run) => {
                let done = if run.result.found().is_some() { Done::Succeeded } else { Done::Failed };
                (Some(run), done)
            }
            Asked::Garbage(run) => (Some(run), after_failure(now, attempts, GARBAGE_TRIES, None)),
            Asked::Later { .. } if self.stop.is_cancelled() => (None, Done::Again { due_at: now, attempts: claimed.attempts }),
            Asked::Later { after, given_up } => match after_failure(now, attempts, TRIES, after) {
                Done::Failed => (Some(given_up), Done::Failed),
                again => (None, again),
            },
            Asked::NotNow { nothing_left } => (None, self.rest(claimed, now, later(now, CROWDED), nothing_left).await?),
            Asked::OverBudget { nothing_left } => (None, self.rest(claimed, now, next_day(now), nothing_left).await?),
        };
        if let (Done::Failed, Some(RunResult::Failed(why))) = (done, run.as_deref().map(|run| &run.result)) {
            tracing::warn!(analyzer.id = %claimed.analyzer_id, conversation.id = %claimed.conversation_id,
                "a conversation is given up: {why}");
        }
        self.store.finish(claimed, run.as_deref(), done).await?;
        self.wake.notify_one();
        Ok(())
    }

    /// Lets a conversation wait for tokens, and when nothing is left of them whatever else of its organization is due: it would be read
    /// in vain.
    async fn rest(&self, claimed: &Claimed, now: Timestamp, due_at: Timestamp, nothing_left: bool) -> Result<Done, StoreError> {
        if nothing_left {
            self.store.postpone(&claimed.organization_id, now, due_at).await?;
        }
        Ok(Done::Again { due_at, attempts: claimed.attempts })
    }

    async fn unread(&self, claimed: &Claimed, status: &Status, done: Done) -> Result<(), StoreError> {
        if done == Done::Failed {
            tracing::warn!(conversation.id = %claimed.conversation_id, "a conversation cannot be read ({:?})", status.code());
        }
        self.done(claimed, done).await
    }

    async fn done(&self, claimed: &Claimed, done: Done) -> Result<(), StoreError> {
        self.store.finish(claimed, None, done).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyzer::samples::at;

    #[test]
    fn waits_grow_and_end() {
        let wait =
            |attempts: u32, wanted: Option<u64>| match after_failure(at(0), attempts, TRIES, wanted.map(Duration::from_secs)) {
                Done::Again { due_at, .. } => Some(due_at.millis_since(at(0)) / 1_000),
                _ => None,
            };
        assert_eq!([1, 2, 3].map(|attempts| wait(attempts, None)), [Some(30), Some(60), Some(120)]);
        assert_eq!(wait(1, Some(90)), Some(90));
        assert_eq!(wait(8, None), Some(3_600));
        assert_eq!(wait(1, Some(1_000_000)), Some(3_600));
        assert_eq!(wait(TRIES, None), None);
        assert_eq!(after_failure(at(0), GARBAGE_TRIES, GARBAGE_TRIES, None), Done::Failed);
    }

    #[test]
    fn what_always_takes_too_long_to_read_is_given_up_and_who_is_away_is_waited_for() {
        let again = |seconds: i64, attempts: u32| Done::Again { due_at: at(seconds * 1_000), attempts };
        assert_eq!(after_unread(at(0), 0, Code::DeadlineExceeded), again(30, 1));
        assert_eq!(after_unread(at(0), TRIES - 1, Code::DeadlineExceeded), Done::Failed);
        assert_eq!(after_unread(at(0), TRIES - 1, Code::Unavailable), again(10, TRIES - 1));
    }
}
