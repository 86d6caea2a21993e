//! The rules of organizations, at hand: what every replica keeps in memory, and reads again when a rule changed anywhere.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use colloquy_storage::StoreError;
use colloquy_types::{Clock, OrganizationId};
use moka::future::Cache;
use tokio::time::Instant;
use uuid::Uuid;

use super::defaults;
use super::evaluate::Compiled;
use super::rule::Rule;
use super::store::AlertStore;

/// For how long rules are believed to be as they were. Until then a change on another replica may not be noticed.
const BELIEVED: Duration = Duration::from_secs(1);
/// How many organizations' rules are at hand.
const ORGANIZATIONS: u64 = 10_000;

/// The rules of an organization.
#[derive(Debug)]
pub struct Rules {
    /// By id.
    pub by_id: HashMap<Uuid, Arc<Rule>>,
    /// Those on conversations that are enabled, ready to be applied.
    pub compiled: Compiled,
}

#[derive(Clone)]
struct Page {
    version: i64,
    read_at: Instant,
    rules: Arc<Rules>,
}

/// The rules of organizations. Cheap to clone.
#[derive(Clone)]
pub struct Book {
    store: Arc<dyn AlertStore>,
    clock: Arc<dyn Clock>,
    pages: Cache<OrganizationId, Page>,
}

impl Book {
    /// Returns a book over what `store` keeps.
    pub fn new(store: Arc<dyn AlertStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, pages: Cache::new(ORGANIZATIONS) }
    }

    /// Returns an organization's rules; it gets its first ones now if it has never had any.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn of(&self, organization: &OrganizationId) -> Result<Arc<Rules>, StoreError> {
        let known = self.pages.get(organization).await;
        if let Some(page) = known.as_ref().filter(|page| page.read_at.elapsed() < BELIEVED) {
            return Ok(Arc::clone(&page.rules));
        }
        // Before the rules are read, so that they are never believed to be younger than they are.
        let read_at = Instant::now();
        let version = self.begun(organization).await?;
        if let Some(page) = known.filter(|page| page.version == version) {
            let rules = Arc::clone(&page.rules);
            self.pages.insert(organization.clone(), Page { read_at, ..page }).await;
            return Ok(rules);
        }
        let (version, rules) = self.store.rules(organization).await?;
        let rules: Vec<Arc<Rule>> = rules.into_iter().map(Arc::new).collect();
        let rules = Arc::new(Rules {
            compiled: Compiled::of(&rules, true),
            by_id: rules.into_iter().map(|rule| (rule.rule_id, rule)).collect(),
        });
        self.pages.insert(organization.clone(), Page { version, read_at, rules: Arc::clone(&rules) }).await;
        Ok(rules)
    }

    /// Gives an organization its first rules if it has never had any; returns the number that changes with its rules.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn begun(&self, organization: &OrganizationId) -> Result<i64, StoreError> {
        if let Some(version) = self.store.version(organization).await? {
            return Ok(version);
        }
        let now = self.clock.now();
        let began_at = self.store.beginning(now).await?;
        self.store.begin(organization, &defaults::rules(organization, now, began_at)).await?;
        Ok(self.store.version(organization).await?.unwrap_or_default())
    }

    /// Reads an organization's rules again when they are next asked for.
    pub async fn forget(&self, organization: &OrganizationId) {
        self.pages.invalidate(organization).await;
    }
}
