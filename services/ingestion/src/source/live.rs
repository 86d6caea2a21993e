//! Sources as the webhook path needs them: found by id alone, secrets opened, kept for a few seconds, so that a delivery costs
//! no read of the database.

use std::sync::Arc;
use std::time::Duration;

use colloquy_providers::verify::{Headers, Rejection, Verification, Verifier};
use colloquy_types::{OrganizationId, Provider, SourceId, Timestamp};

use super::{Secret, SecretBox, Source};
use crate::error::Error;
use crate::store::Store;

/// How long a source is believed unchanged. A change made by another replica takes effect within this time.
const CACHED_FOR: Duration = Duration::from_secs(5);
/// How many sources are remembered, unknown ids included.
const CACHED_SOURCES: u64 = 10_000;

/// A source that deliveries come through.
#[derive(Debug)]
pub(crate) struct LiveSource {
    pub(crate) organization_id: OrganizationId,
    pub(crate) source_id: SourceId,
    pub(crate) provider: Provider,
    pub(crate) client_id: Option<String>,
    verification: Verification,
    secret: Option<Secret>,
    previous: Option<(Secret, Timestamp)>,
}

impl LiveSource {
    fn open(source: Source, secrets: &SecretBox) -> Result<Self, Error> {
        let open = |sealed: &Vec<u8>| secrets.open(&source.organization_id, source.source_id, sealed);
        let secret = source.secrets.current.as_ref().map(open).transpose()?;
        let previous = source.secrets.previous.as_ref().map(open).transpose()?.zip(source.secrets.previous_expires_at);
        Ok(Self {
            organization_id: source.organization_id,
            source_id: source.source_id,
            provider: source.provider,
            client_id: source.client_id,
            verification: source.verification,
            secret,
            previous,
        })
    }

    /// Begins to verify a delivery that arrives at `now`, by the current secret or the previous one while it is valid.
    pub(crate) fn verifier(&self, headers: &Headers, now: Timestamp) -> Result<Verifier, Rejection> {
        let previous = self.previous.iter().filter(|(_, until)| *until > now).map(|(secret, _)| secret);
        let secrets: Vec<&[u8]> = self.secret.iter().chain(previous).map(|secret| secret.expose().as_bytes()).collect();
        Verifier::begin(self.provider, &self.verification, &secrets, headers, now)
    }
}

/// Finds sources by id.
#[derive(Clone)]
pub(crate) struct LiveSources {
    store: Arc<dyn Store>,
    secrets: SecretBox,
    cache: moka::future::Cache<SourceId, Option<Arc<LiveSource>>>,
}

impl LiveSources {
    pub(crate) fn new(store: Arc<dyn Store>, secrets: SecretBox) -> Self {
        let cache = moka::future::Cache::builder().max_capacity(CACHED_SOURCES).time_to_live(CACHED_FOR).build();
        Self { store, secrets, cache }
    }

    /// Returns the source, whoever's it is. Concurrent calls for one source read it once.
    pub(crate) async fn find(&self, id: SourceId) -> Result<Arc<LiveSource>, Error> {
        if let Some(cached) = self.cache.get(&id).await {
            return cached.ok_or(Error::SourceNotFound(id));
        }
        // Boxed: it is the rare path, and its future is large.
        let read = Box::pin(self.cache.try_get_with(id, self.read(id))).await;
        match read {
            Ok(source) => source.ok_or(Error::SourceNotFound(id)),
            // The error is shared with all who waited, so it cannot be moved out.
            Err(error) => Err(Error::Invalid(colloquy_service::Describe::describe(&*error))),
        }
    }

    async fn read(&self, id: SourceId) -> Result<Option<Arc<LiveSource>>, Error> {
        let source = self.store.source_by_id(id).await?;
        source.map(|source| LiveSource::open(source, &self.secrets).map(Arc::new)).transpose()
    }

    /// Forgets a source that was changed here.
    pub(crate) async fn forget(&self, id: SourceId) {
        self.cache.invalidate(&id).await;
    }
}
