//! The store over either engine.

use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;
use colloquy_events::Event;
use colloquy_storage::StoreError;
use colloquy_storage::engine::{Engine, Value};
use colloquy_types::{ConversationId, EventId, OrganizationId, Timestamp};
use sqlx::Pool;
use uuid::Uuid;

use super::{Alert, AlertStore, Crossing, Due, Handling, Look, Place, Rule, Shown, Wanted};
use crate::features::Features;

/// The store in a database.
pub(super) struct SqlStore<E: Engine> {
    pub(super) writer: Pool<E>,
    pub(super) readers: Pool<E>,
    /// How many events could not be read when they were last looked for.
    pub(super) unreadable: AtomicUsize,
}

impl<E: Engine> SqlStore<E> {
    pub(super) fn new(writer: Pool<E>, readers: Pool<E>) -> Self {
        Self { writer, readers, unreadable: AtomicUsize::new(0) }
    }
}

/// Reads a time.
pub(super) fn time_of(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap_or_default()
}

/// Writes a time that may be absent.
pub(super) fn opt_time<'a>(time: Option<Timestamp>) -> Value<'a> {
    Value::OptInt(time.map(Timestamp::as_millis))
}

/// Reads an organization.
pub(super) fn organization_of(text: &str) -> Result<OrganizationId, StoreError> {
    text.parse().map_err(|_| corrupt("an organization"))
}

pub(super) fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}

/// Begins the values of a statement about one thing.
pub(super) fn key<'a>(organization: &'a OrganizationId, id: Uuid) -> [Value<'a>; 2] {
    [Value::Text(organization.as_str()), Value::Id(id)]
}

/// Returns `$1, …, $count`.
pub(super) fn places(count: usize) -> String {
    (1..=count).map(|place| format!("${place}")).collect::<Vec<_>>().join(", ")
}

#[async_trait]
impl<E: Engine> AlertStore for SqlStore<E> {
    async fn version(&self, organization: &OrganizationId) -> Result<Option<i64>, StoreError> {
        self.read_version(organization).await
    }

    async fn rules(&self, organization: &OrganizationId) -> Result<(i64, Vec<Rule>), StoreError> {
        self.read_rules(organization).await
    }

    async fn beginning(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        self.read_or_begin(now).await
    }

    async fn begin(&self, organization: &OrganizationId, first: &[Rule]) -> Result<(), StoreError> {
        self.insert_first_rules(organization, first).await
    }

    async fn create_rule(&self, rule: &Rule, limit: u32) -> Result<bool, StoreError> {
        self.insert_rule(rule, limit).await
    }

    async fn rule(&self, organization: &OrganizationId, id: Uuid) -> Result<Option<Shown>, StoreError> {
        self.read_rule(organization, id).await
    }

    async fn page_of_rules(
        &self,
        organization: &OrganizationId,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<Shown>, StoreError> {
        self.read_page_of_rules(organization, after, limit).await
    }

    async fn replace_rule(&self, before: &Rule, rule: &Rule) -> Result<bool, StoreError> {
        self.update_rule(before, rule).await
    }

    async fn delete_rule(&self, organization: &OrganizationId, id: Uuid) -> Result<bool, StoreError> {
        self.remove_rule(organization, id).await
    }

    async fn raised(&self, organization: &OrganizationId, alerts: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
        self.read_raised(organization, alerts).await
    }

    async fn raise(&self, alerts: &[Alert]) -> Result<Vec<Uuid>, StoreError> {
        self.insert_alerts(alerts).await
    }

    async fn crossing(&self, since: Timestamp, now: Timestamp) -> Result<Vec<Crossing>, StoreError> {
        self.read_crossing(since, now).await
    }

    async fn rows(&self, organization: &OrganizationId, conversations: &[ConversationId]) -> Result<Vec<Features>, StoreError> {
        self.read_rows(organization, conversations).await
    }

    async fn history(
        &self,
        organization: &OrganizationId,
        from: Timestamp,
        to: Timestamp,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<Features>, StoreError> {
        self.read_history(organization, from, to, after, limit).await
    }

    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<Due>, StoreError> {
        self.read_due(now, limit).await
    }

    async fn claim(&self, due: &Due, until: Timestamp) -> Result<bool, StoreError> {
        self.claim_due(due, until).await
    }

    async fn look(&self, look: &Look) -> Result<bool, StoreError> {
        self.write_look(look).await
    }

    async fn alert(&self, organization: &OrganizationId, id: Uuid) -> Result<Option<Alert>, StoreError> {
        self.read_alert(organization, id).await
    }

    async fn page_of_alerts(
        &self,
        organization: &OrganizationId,
        wanted: &Wanted,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<Alert>, StoreError> {
        self.read_page_of_alerts(organization, wanted, after, limit).await
    }

    async fn handle(
        &self,
        organization: &OrganizationId,
        id: Uuid,
        to: Handling,
        at: Timestamp,
    ) -> Result<Option<Alert>, StoreError> {
        self.write_handling(organization, id, to, at).await
    }

    async fn untold(&self, now: Timestamp, limit: u32) -> Result<Vec<Alert>, StoreError> {
        self.read_untold(now, limit).await
    }

    async fn renotify(&self, alert: &Alert, at: Timestamp) -> Result<bool, StoreError> {
        self.write_renotified(alert, at).await
    }

    async fn outbox(&self, limit: u32) -> Result<Vec<(OrganizationId, Event)>, StoreError> {
        self.read_outbox(limit).await
    }

    async fn told(&self, events: &[(OrganizationId, EventId)]) -> Result<(), StoreError> {
        self.remove_told(events).await
    }
}
