//! The conditions and rows that both engines' searches share.

use colloquy_storage::StoreError;
use colloquy_storage::engine::{Columns, Engine, Value};
use colloquy_types::{ConversationId, TurnId};

use super::{Find, Found, Order, Place, role_number, role_of};

/// The columns of a turn that was found, as [`found`] reads them.
pub(super) const COLUMNS: &str = "t.conversation_id, t.turn_id, cast(t.number as bigint) as number, cast(t.role as bigint) as role, \
                                  t.agent_id, t.at as at, cast(t.length as bigint) as length";
/// Either order ends with this.
pub(super) const NEWEST: &str = "at desc, conversation_id, number";

/// Conditions and their values.
#[derive(Debug)]
pub(super) struct Conditions<'a> {
    pub(super) sql: String,
    pub(super) values: Vec<Value<'a>>,
}

impl<'a> Conditions<'a> {
    /// Begins with the values that a statement has already.
    pub(super) const fn after(values: Vec<Value<'a>>) -> Self {
        Self { sql: String::new(), values }
    }

    /// Adds a value, and returns its place.
    pub(super) fn bind(&mut self, value: Value<'a>) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    fn and(&mut self, condition: &str) {
        self.sql.push_str(" and ");
        self.sql.push_str(condition);
    }

    /// Adds what a search asks of turns but their words.
    pub(super) fn filters(&mut self, find: &Find<'a>) {
        let roles: Vec<String> = find.roles.iter().map(|role| role_number(*role).to_string()).collect();
        self.and(&format!("t.role in ({})", roles.join(", ")));
        if let Some(agent_id) = find.agent_id {
            let place = self.bind(Value::Text(agent_id));
            self.and(&format!("t.agent_id = {place}"));
        }
        if let Some(ConversationId(id)) = find.conversation_id {
            let organization = self.bind(Value::Text(find.organization_id.as_str()));
            let place = self.bind(Value::Id(id));
            self.and(&format!("t.organization_id = {organization} and t.conversation_id = {place}"));
        }
        if let Some(from) = find.from {
            let place = self.bind(Value::Int(from));
            self.and(&format!("t.at >= {place}"));
        }
        if let Some(before) = find.before {
            let place = self.bind(Value::Int(before));
            self.and(&format!("t.at < {place}"));
        }
    }

    /// Adds that turns come after `place` in the order of time.
    pub(super) fn older_than(&mut self, place: Place) {
        let condition = self.older(place);
        self.and(&condition);
    }

    /// Adds that turns come after `place` in the order of relevance.
    pub(super) fn less_relevant_than(&mut self, place: Place) {
        let length = self.bind(Value::Int(place.length));
        let older = self.older(place);
        self.and(&format!("(length > {length} or (length = {length} and {older}))"));
    }

    fn older(&mut self, place: Place) -> String {
        let at = self.bind(Value::Int(place.at));
        let conversation = self.bind(Value::Id(place.conversation_id));
        let number = self.bind(Value::Int(place.number));
        format!("(at < {at} or (at = {at} and (conversation_id, number) > ({conversation}, {number})))")
    }
}

/// Reads turns that were found.
pub(super) fn found<E: Engine>(rows: &[E::Row]) -> Result<Vec<Found>, StoreError> {
    let read = |row: &E::Row| {
        let mut columns = Columns::<E>::of(row);
        Ok(Found {
            conversation_id: ConversationId(columns.id()?),
            turn_id: TurnId(columns.id()?),
            number: u32::try_from(columns.int()?).unwrap_or(u32::MAX),
            role: role_of(columns.int()?)?,
            agent_id: columns.opt_text()?,
            at: columns.int()?,
            length: u32::try_from(columns.int()?).unwrap_or(u32::MAX),
        })
    };
    rows.iter().map(read).collect()
}

/// Returns what comes after `where true` of the statement that puts the newest that fit in the order of relevance, and its order.
pub(super) fn by_relevance(conditions: &mut Conditions<'_>, find: &Find<'_>, newest: &str) -> String {
    debug_assert_eq!(find.order, Order::Relevance);
    conditions.sql.clear();
    if let Some(place) = find.after {
        conditions.less_relevant_than(place);
    }
    let limit = conditions.bind(Value::Int(find.limit.into()));
    format!(
        "select conversation_id, turn_id, number, role, agent_id, at, length from ({newest}) as newest \
         where true{} order by length, {NEWEST} limit {limit}",
        conditions.sql
    )
}
