//! Where rules, where they stand, alerts, and events that are still to be told are kept.

mod alerts;
#[cfg(test)]
mod conformance;
mod history;
mod merge;
mod outbox;
mod rules;
mod sql;
mod states;

use std::sync::Arc;

use async_trait::async_trait;
use colloquy_events::{Event, Severity};
use colloquy_storage::{Database, StoreError};
use colloquy_types::{ConversationId, EventId, OrganizationId, Timestamp};
use uuid::Uuid;

use super::alert::{Alert, Handling};
use super::rule::Rule;
use super::state::{Standing, State};
use crate::features::Features;

/// Returns the store in `database`.
pub fn open(database: &Database) -> Arc<dyn AlertStore> {
    match database {
        Database::Sqlite(sqlite) => Arc::new(sql::SqlStore::new(sqlite.writer().clone(), sqlite.readers().clone())),
        Database::Postgres(pool) => Arc::new(sql::SqlStore::new(pool.clone(), pool.clone())),
    }
}

/// A place in a list, newest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// When the last item of the page before was made.
    pub at: Timestamp,
    /// Its id.
    pub id: Uuid,
}

/// Which alerts to list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// Only of this rule.
    pub rule_id: Option<Uuid>,
    /// Only in this state.
    pub state: Option<Handling>,
    /// Only of this conversation.
    pub conversation_id: Option<ConversationId>,
    /// Only of this severity.
    pub severity: Option<Severity>,
}

/// A rule over a window that is to be looked at.
#[derive(Clone, PartialEq, Debug)]
pub struct Due {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Which one.
    pub rule_id: Uuid,
    /// Since when it has been due.
    pub due_at: Timestamp,
    /// The last window that was looked at ended then.
    pub evaluated_until: Timestamp,
    /// Where it stands.
    pub standing: Standing,
    /// Whether the value was too bad when last there was one, and has not recovered since.
    pub is_bad: bool,
    /// The alert that is open because of it.
    pub alert_id: Option<Uuid>,
    /// Whether an alert is to be raised that was not, because the rule was muted.
    pub owed: bool,
}

/// What looking at a rule over a window came to.
#[derive(Clone, PartialEq, Debug)]
pub struct Look {
    /// What was looked at.
    pub due: Due,
    /// The rule's revision by which it was judged.
    pub revision: i64,
    /// The window that was looked at ended then.
    pub until: Timestamp,
    /// When to look next.
    pub next_at: Timestamp,
    /// Where the rule stands now.
    pub state: State,
    /// The value.
    pub value: Option<f64>,
    /// As in [`Due`].
    pub is_bad: bool,
    /// As in [`Due`].
    pub owed: bool,
    /// The alert to raise.
    pub opened: Option<Alert>,
    /// Whether the open alert is dealt with by this.
    pub resolves: bool,
    /// When it was looked at.
    pub at: Timestamp,
}

/// A rule, and where it stands when it is one over a window.
pub type Shown = (Rule, Option<Standing>);

/// A conversation that time brought to where a rule begins to look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Crossing {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Which one.
    pub conversation_id: ConversationId,
    /// When the last of what was heard of it was received.
    pub heard_at: Timestamp,
}

/// Keeps rules and alerts.
#[async_trait]
pub trait AlertStore: Send + Sync + 'static {
    // Rules

    /// Returns the number that changes whenever a rule of the organization does; `None` before it has its first rules.
    async fn version(&self, organization: &OrganizationId) -> Result<Option<i64>, StoreError>;

    /// Returns all rules of an organization, with that number.
    async fn rules(&self, organization: &OrganizationId) -> Result<(i64, Vec<Rule>), StoreError>;

    /// Returns since when conversations are watched here: the `now` of whoever asked first.
    async fn beginning(&self, now: Timestamp) -> Result<Timestamp, StoreError>;

    /// Gives an organization its first rules; once, whoever tries.
    async fn begin(&self, organization: &OrganizationId, first: &[Rule]) -> Result<(), StoreError>;

    /// Keeps a new rule. `false` when the organization has `limit` already.
    async fn create_rule(&self, rule: &Rule, limit: u32) -> Result<bool, StoreError>;

    /// Returns one rule.
    async fn rule(&self, organization: &OrganizationId, id: Uuid) -> Result<Option<Shown>, StoreError>;

    /// Returns a page of an organization's rules, newest first.
    async fn page_of_rules(
        &self,
        organization: &OrganizationId,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<Shown>, StoreError>;

    /// Replaces a rule, if its revision is still one less than the new one's. `false` when it is not, or it is gone. One over a window
    /// that watches something else than before, or again, is looked at anew.
    async fn replace_rule(&self, before: &Rule, rule: &Rule) -> Result<bool, StoreError>;

    /// Removes a rule; its alerts stay. `false` when there is none.
    async fn delete_rule(&self, organization: &OrganizationId, id: Uuid) -> Result<bool, StoreError>;

    // Rules on conversations

    /// Returns which of these alerts were raised already.
    async fn raised(&self, organization: &OrganizationId, alerts: &[Uuid]) -> Result<Vec<Uuid>, StoreError>;

    /// Keeps alerts, with the events that tell of them; those that are there already stay as they are. Returns the new ones' ids.
    async fn raise(&self, alerts: &[Alert]) -> Result<Vec<Uuid>, StoreError>;

    /// Returns the conversations that run, and that time alone has brought, after `since` and by `now`, to where a rule begins to
    /// look. All of them for rules that were changed after `since`, and none of which nothing was heard since a rule watches. With each,
    /// when the last of what was heard of it was received.
    async fn crossing(&self, since: Timestamp, now: Timestamp) -> Result<Vec<Crossing>, StoreError>;

    /// Returns the rows of conversations.
    async fn rows(&self, organization: &OrganizationId, conversations: &[ConversationId]) -> Result<Vec<Features>, StoreError>;

    /// Returns conversations that began in `[from, to)`, oldest first, after that place.
    async fn history(
        &self,
        organization: &OrganizationId,
        from: Timestamp,
        to: Timestamp,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<Features>, StoreError>;

    // Rules over a window

    /// Returns rules that are due, the longest due first.
    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<Due>, StoreError>;

    /// Takes a rule that is due, until then. `false` when somebody else has.
    async fn claim(&self, due: &Due, until: Timestamp) -> Result<bool, StoreError>;

    /// Keeps what a look came to, with all that follows of it. `false`, and nothing is kept, when somebody else looked at this window or
    /// a later one, or the rule is another one by now.
    async fn look(&self, look: &Look) -> Result<bool, StoreError>;

    // For people

    /// Returns one alert.
    async fn alert(&self, organization: &OrganizationId, id: Uuid) -> Result<Option<Alert>, StoreError>;

    /// Returns a page of alerts, newest first.
    async fn page_of_alerts(
        &self,
        organization: &OrganizationId,
        wanted: &Wanted,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<Alert>, StoreError>;

    /// Notes how far an alert is dealt with, and returns it as it is then; `None` when there is none. What is resolved stays so.
    async fn handle(
        &self,
        organization: &OrganizationId,
        id: Uuid,
        to: Handling,
        at: Timestamp,
    ) -> Result<Option<Alert>, StoreError>;

    /// Returns open alerts of which it is time to tell again.
    async fn untold(&self, now: Timestamp, limit: u32) -> Result<Vec<Alert>, StoreError>;

    /// Notes that an open alert is told of again. `false` when somebody else did.
    async fn renotify(&self, alert: &Alert, at: Timestamp) -> Result<bool, StoreError>;

    // Events

    /// Returns events that are still to be told, oldest first.
    async fn outbox(&self, limit: u32) -> Result<Vec<(OrganizationId, Event)>, StoreError>;

    /// Notes that they were told.
    async fn told(&self, events: &[(OrganizationId, EventId)]) -> Result<(), StoreError>;
}
