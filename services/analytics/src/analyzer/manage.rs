//! Analyzers: made, shown, changed and removed; and what they said.

use std::sync::Arc;

use colloquy_service::FieldErrors;
use colloquy_types::{Clock, ConversationId, OrganizationId};
use uuid::Uuid;

use super::definition::{Analyzer, Definition, Given};
use super::error::Error;
use super::run::Run;
use super::store::{Place, RunFilter, Store};

/// No organization has more.
const MOST_ANALYZERS: u32 = 50;
/// How often a change is tried that somebody else's came before.
const TRIES: u32 = 5;

/// The analyzers of every organization.
#[derive(Clone)]
pub(super) struct Analyzers {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl Analyzers {
    pub(super) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// Makes an analyzer.
    pub(super) async fn create(&self, organization: OrganizationId, mut given: Given) -> Result<Analyzer, Error> {
        given.name.get_or_insert_default();
        let now = self.clock.now();
        let mut analyzer = Analyzer {
            organization_id: organization,
            analyzer_id: Uuid::now_v7(),
            name: String::new(),
            agent_ids: Vec::new(),
            enabled: false,
            definition: Definition::default(),
            version: 1,
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        apply(&mut analyzer, given)?;
        if !self.store.create_analyzer(&analyzer, MOST_ANALYZERS).await? {
            return Err(Error::TooMany(MOST_ANALYZERS));
        }
        Ok(analyzer)
    }

    /// Returns an analyzer as it is now.
    pub(super) async fn get(&self, organization: &OrganizationId, id: Uuid) -> Result<Analyzer, Error> {
        self.store.analyzer(organization, id).await?.ok_or(Error::AnalyzerNotFound(id))
    }

    /// Returns an analyzer as one of its versions was.
    pub(super) async fn get_version(&self, organization: &OrganizationId, id: Uuid, version: u32) -> Result<Analyzer, Error> {
        let analyzer = self.get(organization, id).await?;
        let definition = self.store.definition(organization, id, version).await?.ok_or(Error::VersionNotFound(id, version))?;
        Ok(Analyzer { definition, version, ..analyzer })
    }

    /// Returns a page of an organization's analyzers, newest first.
    pub(super) async fn page(
        &self,
        organization: &OrganizationId,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<Analyzer>, Error> {
        Ok(self.store.page_of_analyzers(organization, after, limit).await?)
    }

    /// Changes an analyzer, again when somebody else changed it meanwhile.
    pub(super) async fn change(&self, organization: &OrganizationId, id: Uuid, given: Given) -> Result<Analyzer, Error> {
        for _ in 0..TRIES {
            let mut analyzer = self.get(organization, id).await?;
            if apply(&mut analyzer, given.clone())? {
                analyzer.version += 1;
            }
            analyzer.revision += 1;
            analyzer.updated_at = self.clock.now();
            if self.store.replace_analyzer(&analyzer).await? {
                return Ok(analyzer);
            }
        }
        Err(Error::Busy(id))
    }

    /// Removes an analyzer.
    pub(super) async fn delete(&self, organization: &OrganizationId, id: Uuid) -> Result<(), Error> {
        if self.store.delete_analyzer(organization, id).await? { Ok(()) } else { Err(Error::AnalyzerNotFound(id)) }
    }

    /// Returns a page of runs, newest first.
    pub(super) async fn runs(
        &self,
        organization: &OrganizationId,
        analyzer_id: Option<Uuid>,
        conversation_id: Option<ConversationId>,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<Run>, Error> {
        Ok(self.store.page_of_runs(organization, RunFilter { analyzer_id, conversation_id }, after, limit).await?)
    }
}

/// Brings what was given into an analyzer. Returns whether what it asks has changed.
fn apply(analyzer: &mut Analyzer, given: Given) -> Result<bool, Error> {
    let mut errors = FieldErrors::new();
    let changed = given.check(&mut errors).apply(analyzer, &mut errors);
    errors.finish()?;
    Ok(changed)
}
