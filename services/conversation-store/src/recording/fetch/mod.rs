//! Fetches recordings that are offered at a URL, before the URL expires.
//!
//! A worker claims what is due and renews its claim while it works; the claim of a worker that died runs out, and another one
//! begins again. Everything an attempt leaves behind has a name derived from what it is (the object from its content, the event
//! from the object), so that beginning again at any point changes nothing that was done.
//!
//! URLs are secrets: a signed one is all that is needed to get the recording. They are in no log line and in no event but the one
//! they came in.

mod retry;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use colloquy_outbound::{Client, Limits};
use colloquy_service::Describe;
use colloquy_storage::StoreError;
use colloquy_types::{Clock, Timestamp};
use futures::StreamExt;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::error::Error;
use super::journal::Described;
use super::media_type;
use super::objects::ObjectsError;
use super::service::Recordings;
use super::store::Fetch;
use crate::turn_events::Named;

/// How many recordings are fetched at once.
const CONCURRENCY: usize = 4;
/// How long one fetch may take, redirects and all.
const TIMEOUT: Duration = Duration::from_secs(10 * 60);
const MAX_REDIRECTS: usize = 3;
/// How long work is held back after a failure that has nothing to do with the server it is fetched from.
const OWN_FAILURE_WAIT: Duration = Duration::from_secs(30);
/// How long what is done is held back, so that the view can learn of it.
const VIEW_WAIT: Duration = Duration::from_secs(5 * 60);

/// How a worker keeps time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// How often it looks for work when it has none.
    pub(crate) poll: Duration,
    /// How long a claim holds without being renewed.
    pub(crate) lease: Duration,
    /// How often it renews its claims.
    pub(crate) renew: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { poll: Duration::from_secs(1), lease: Duration::from_secs(60), renew: Duration::from_secs(15) }
    }
}

/// Fetches recordings.
#[derive(Clone)]
pub(crate) struct Fetcher {
    pub(crate) recordings: Arc<Recordings>,
    pub(crate) client: Client,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) timing: Timing,
    pub(crate) stop: CancellationToken,
}

/// Why a recording was not fetched.
enum Failure {
    /// The server, or the way to it, may do better next time.
    Passing { reason: String, asked: Option<Duration> },
    /// It will be the same next time.
    Lasting(String),
    /// It is our side that could not keep it.
    Own(Error),
}

impl From<colloquy_outbound::Error> for Failure {
    fn from(error: colloquy_outbound::Error) -> Self {
        let reason = error.to_string();
        if error.is_retryable() { Self::Passing { reason, asked: error.retry_after() } } else { Self::Lasting(reason) }
    }
}

impl From<ObjectsError> for Failure {
    fn from(error: ObjectsError) -> Self {
        match error {
            ObjectsError::TooLarge { .. } => Self::Lasting(error.to_string()),
            ObjectsError::Empty => Self::Passing { reason: "the server answered with nothing".to_owned(), asked: None },
            error => Self::Own(error.into()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Own(error.into())
    }
}

/// What became of an attempt.
enum Ended {
    Fetched,
    Failed(Failure),
    /// The work is no longer this worker's.
    Lost,
    Stopped,
}

impl Fetcher {
    /// Fetches what is to be fetched until told to stop; what is under way then is given back.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut attempts = JoinSet::new();
        while !self.stop.is_cancelled() {
            let found = self.begin_due(&mut attempts).await;
            let rest = if found { Duration::ZERO } else { self.timing.poll };
            let is_full = attempts.len() >= CONCURRENCY;
            tokio::select! {
                () = self.stop.cancelled() => {}
                Some(ended) = attempts.join_next() => note_panic(ended),
                () = tokio::time::sleep(rest), if !is_full => {}
            }
        }
        while let Some(ended) = attempts.join_next().await {
            note_panic(ended);
        }
        Ok(())
    }

    /// Begins as much of what is due as there is room for; returns whether there was any.
    async fn begin_due(&self, attempts: &mut JoinSet<()>) -> bool {
        let room = CONCURRENCY.saturating_sub(attempts.len());
        if room == 0 {
            return false;
        }
        match self.recordings.store.claim(self.clock.now(), self.lease_end(), room as u32).await {
            Ok(claimed) => {
                let found = !claimed.is_empty();
                for fetch in claimed {
                    let worker = self.clone();
                    attempts.spawn(async move { worker.attempt(fetch).await });
                }
                found
            }
            Err(error) => {
                tracing::warn!("recordings to fetch cannot be looked for right now: {error}");
                false
            }
        }
    }

    fn lease_end(&self) -> Timestamp {
        self.after(self.timing.lease)
    }

    fn after(&self, wait: Duration) -> Timestamp {
        self.clock.now().saturating_add_millis(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
    }

    async fn attempt(&self, fetch: Fetch) {
        let ended = tokio::select! {
            biased;
            () = self.stop.cancelled() => Ended::Stopped,
            () = self.keep_claim(&fetch) => Ended::Lost,
            fetched = self.fetch(&fetch) => fetched.map_or_else(Ended::Failed, |()| Ended::Fetched),
        };
        if let Err(error) = self.settle(&fetch, ended).await {
            let problem = error.describe();
            // The claim runs out and the work begins again.
            tracing::warn!(
                conversation.id = %fetch.conversation_id,
                "what became of fetching a recording could not be noted: {}",
                problem.message
            );
        }
    }

    /// Renews the claim for as long as it can be; returns once the work is somebody else's or done.
    async fn keep_claim(&self, fetch: &Fetch) {
        loop {
            tokio::time::sleep(self.timing.renew).await;
            match self.recordings.store.hold(fetch, self.lease_end()).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => tracing::warn!("a claim could not be renewed: {error}"),
            }
        }
    }

    async fn fetch(&self, fetch: &Fetch) -> Result<(), Failure> {
        if fetch.attempt > retry::MAX_ATTEMPTS {
            // Its attempts ended with the process that made them.
            return Err(Failure::Lasting("it could not be fetched".to_owned()));
        }
        let Ok(url) = Url::parse(&fetch.url) else {
            return Err(Failure::Lasting("its address is not a URL".to_owned()));
        };
        let Some(conversation) = self.conversation(fetch).await? else {
            return Err(Failure::Lasting("its conversation is gone".to_owned()));
        };
        let limits = Limits { max_bytes: self.recordings.objects.limit(), timeout: TIMEOUT, max_redirects: MAX_REDIRECTS };
        let mut download = self.client.get(&url, &limits).await?;
        let mut upload = self.recordings.objects.upload(fetch.organization_id.clone());
        while let Some(bytes) = download.next().await {
            upload.write(&bytes?).await?;
        }
        let sniffed = media_type::sniff(upload.head());
        let answered = download.content_type.as_deref().and_then(media_type::essence);
        if sniffed.is_none()
            && let Some(answered) = answered.as_deref().filter(|answered| is_something_else(answered))
        {
            return Err(Failure::Lasting(format!("the server answered with {answered}, which is no recording")));
        }
        let claims = [fetch.content_type.as_deref(), answered.as_deref()];
        let claims: Vec<&str> = claims.into_iter().flatten().collect();
        let described = Described {
            channel: fetch.channel,
            content_type: media_type::settle(sniffed, &claims).unwrap_or_else(|| media_type::UNKNOWN.to_owned()),
            duration_ms: media_type::duration_ms(upload.head(), upload.size()).or(fetch.duration_ms),
        };
        let object = upload.finish().await?;
        let journal = &self.recordings.journal;
        journal.stored(&conversation, &object, described).await.map_err(|problem| Failure::Own(problem.into()))?;
        Ok(())
    }

    async fn conversation(&self, fetch: &Fetch) -> Result<Option<Named>, StoreError> {
        self.recordings.store.conversation(&fetch.organization_id, fetch.conversation_id).await
    }

    /// Notes what became of an attempt, so that the work is done, tried again, or given up.
    async fn settle(&self, fetch: &Fetch, ended: Ended) -> Result<(), Error> {
        let store = &self.recordings.store;
        let id = fetch.conversation_id;
        match ended {
            Ended::Lost => {}
            Ended::Stopped => store.release(fetch, self.clock.now()).await?,
            Ended::Fetched => {
                store.hold(fetch, self.after(VIEW_WAIT)).await?;
                tracing::info!(conversation.id = %id, recording.channel = %fetch.channel, "the recording of {id} was fetched");
            }
            Ended::Failed(Failure::Own(error)) => {
                tracing::warn!(conversation.id = %id, "the recording of {id} could not be kept: {}", error.describe().message);
                store.release(fetch, self.after(OWN_FAILURE_WAIT)).await?;
            }
            Ended::Failed(Failure::Passing { reason, asked }) => match retry::wait_after(fetch.attempt, asked, rand::random()) {
                Some(wait) => {
                    tracing::info!(
                        conversation.id = %id,
                        attempt = fetch.attempt,
                        wait_ms = wait.as_millis() as u64,
                        "the recording of {id} could not be fetched and will be tried again: {reason}"
                    );
                    store.hold(fetch, self.after(wait)).await?;
                }
                None => self.give_up(fetch, reason).await?,
            },
            Ended::Failed(Failure::Lasting(reason)) => self.give_up(fetch, reason).await?,
        }
        Ok(())
    }

    async fn give_up(&self, fetch: &Fetch, reason: String) -> Result<(), Error> {
        let store = &self.recordings.store;
        let id = fetch.conversation_id;
        let announced = match self.conversation(fetch).await? {
            Some(conversation) => {
                store.events(&fetch.organization_id, &conversation).await?.into_iter().find(|event| fetch.came_in(event))
            }
            None => None,
        };
        // Without its announcement there is nothing left to say it of.
        if let Some(announced) = announced {
            tracing::warn!(conversation.id = %id, "the recording of {id} was given up: {reason}");
            let written = self.recordings.journal.failed(&fetch.organization_id, &announced, fetch.channel, reason).await;
            if let Err(problem) = written {
                store.release(fetch, self.after(OWN_FAILURE_WAIT)).await?;
                return Err(problem.into());
            }
        }
        store.hold(fetch, self.after(VIEW_WAIT)).await?;
        Ok(())
    }
}

/// Returns whether the media type names text, such as a page that says that one has to sign in.
fn is_something_else(essence: &str) -> bool {
    essence.starts_with("text/") || essence.ends_with("json") || essence.ends_with("xml")
}

/// An attempt that panicked has left its claim, which runs out.
fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        tracing::error!("fetching a recording panicked");
    }
}
