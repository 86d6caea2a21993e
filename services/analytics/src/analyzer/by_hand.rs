//! An analyzer run over one conversation while somebody waits.

use std::sync::Arc;
use std::time::Duration;

use colloquy_types::{ConversationId, OrganizationId};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::asker::{Asked, Asker, Place, Question};
use super::conversations::{Conversations, Unread};
use super::definition::Analyzer;
use super::error::Error;
use super::run::{Run, RunResult};
use super::store::Store;
use super::transcript::Transcript;

/// An answer that cannot be used is asked for so often.
const TRIES: u32 = 3;
/// How long somebody waits until others have asked.
const WAIT: Duration = Duration::from_secs(10);

/// Runs analyzers at once. What has begun goes on when whoever asked has gone.
#[derive(Clone)]
pub(super) struct ByHand {
    pub(super) store: Arc<dyn Store>,
    pub(super) conversations: Conversations,
    pub(super) asker: Option<Arc<Asker>>,
    /// What has begun, until it is done.
    pub(super) under_way: TaskTracker,
    /// Tells the worker that a run is to be told.
    pub(super) wake: Arc<Notify>,
    pub(super) patience: Duration,
}

impl ByHand {
    /// Runs an analyzer over a conversation, or answers with the run there is when that takes too long.
    pub(super) async fn run(&self, analyzer: Analyzer, conversation: ConversationId, again: bool) -> Result<Run, Error> {
        let asker = Arc::clone(self.asker.as_ref().ok_or(Error::NoModel)?);
        let (organization, id) = (analyzer.organization_id.clone(), analyzer.analyzer_id);
        let until = Instant::now() + self.patience;
        let place = asker.place_within(WAIT.min(self.patience)).await.ok_or(Error::Crowded)?;
        let running = self.clone();
        let task = self.under_way.spawn(async move { running.ask(&asker, &place, &analyzer, conversation, again).await });
        match tokio::time::timeout_at(until, task).await {
            Ok(Ok(run)) => run,
            // It panicked, which was told already.
            Ok(Err(_)) => Err(Error::ModelUnavailable("the conversation could not be asked about".to_owned())),
            Err(_) => self.known(&organization, id, conversation).await?.ok_or(Error::TooSlow),
        }
    }

    async fn known(&self, organization: &OrganizationId, id: Uuid, conversation: ConversationId) -> Result<Option<Run>, Error> {
        let runs = self.store.newest_runs(organization, &[conversation]).await?;
        Ok(runs.into_iter().find(|run| run.analyzer_id == id))
    }

    async fn ask(
        &self,
        asker: &Asker,
        place: &Place,
        analyzer: &Analyzer,
        conversation: ConversationId,
        again: bool,
    ) -> Result<Run, Error> {
        let organization = &analyzer.organization_id;
        let input = self.conversations.read(organization, conversation).await.map_err(|unread| match unread {
            Unread::Gone => Error::ConversationNotFound(conversation),
            Unread::Later(status) | Unread::Never(status) => Error::Upstream(status),
        })?;
        if input.record.status.is_live() {
            return Err(Error::ConversationLive(conversation));
        }
        let transcript = Transcript::of(&input);
        let question = Question {
            organization_id: organization,
            conversation_id: conversation,
            analyzer_id: analyzer.analyzer_id,
            version: analyzer.version,
            definition: &analyzer.definition,
            transcript: &transcript,
            again,
        };
        let mut tries = 0;
        loop {
            tries += 1;
            match asker.ask(place, &question).await? {
                Asked::Equal(run) => return Ok(*run),
                Asked::New(run) => return self.keep(*run).await,
                Asked::Garbage(run) => {
                    let run = self.keep(*run).await?;
                    if tries == TRIES {
                        return Ok(run);
                    }
                }
                Asked::NotNow { .. } => {
                    let why = "other questions hold what is left of the day's tokens; try again when they are answered";
                    return Err(Error::ModelUnavailable(why.to_owned()));
                }
                Asked::OverBudget { .. } => return Err(Error::OverBudget),
                Asked::Later { given_up, .. } => {
                    let RunResult::Failed(why) = given_up.result else { return Err(Error::TooSlow) };
                    return Err(Error::ModelUnavailable(why));
                }
            }
        }
    }

    async fn keep(&self, run: Run) -> Result<Run, Error> {
        self.store.keep_run(&run).await?;
        self.wake.notify_one();
        Ok(run)
    }
}
