//! The rules of organizations, at hand: what every replica keeps in memory, and reads again when a rule changed anywhere.

use std::collections::HashMap;
use std::sync::Arc;

use colloquy_storage::StoreError;
use colloquy_types::{Clock, OrganizationId};
use moka::future::Cache;
use uuid::Uuid;

use super::defaults;
use super::evaluate::Compiled;
use super::rule::Rule;
use super::store::AlertStore;

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

    /// Returns an organization's rules; it gets its first ones now if it has never had any. Whether any changed is asked every time, which is
    /// one row: who has just changed a rule on one replica wants the next conversation judged by it, on whichever replica that is.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn of(&self, organization: &OrganizationId) -> Result<Arc<Rules>, StoreError> {
        let known = self.pages.get(organization).await;
        // Before the rules are read, so that they are never believed to be younger than they are.
        let version = self.begun(organization).await?;
        if let Some(page) = known.filter(|page| page.version == version) {
            return Ok(page.rules);
        }
        let (version, rules) = self.store.rules(organization).await?;
        let rules: Vec<Arc<Rule>> = rules.into_iter().map(Arc::new).collect();
        let rules = Arc::new(Rules {
            compiled: Compiled::of(&rules, true),
            by_id: rules.into_iter().map(|rule| (rule.rule_id, rule)).collect(),
        });
        self.pages.insert(organization.clone(), Page { version, rules: Arc::clone(&rules) }).await;
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
