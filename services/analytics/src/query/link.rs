//! The way back from a figure to its conversations: the query string of `GET /v1/conversations` that lists them.

use std::collections::BTreeMap;

use colloquy_filter::{Expression, Field, Op, Value, View, fields, to_text};
use colloquy_proto::conversation::v1 as pb;
use colloquy_types::Timestamp;

use super::schema::{Dimension, Source};

/// How the list is narrowed to what a question looks at.
pub(crate) struct Link<'a> {
    /// The question's filter as it was asked.
    filter: Option<&'a pb::ConversationFilter>,
    /// The same, read.
    read: &'a Expression,
    /// Whether the list can be filtered so.
    is_listed: bool,
}

impl<'a> Link<'a> {
    /// Returns the link of a question with this filter.
    pub(crate) fn of(filter: Option<&'a pb::ConversationFilter>, read: &'a Expression) -> Self {
        Self { filter, read, is_listed: is_listed(read) }
    }

    /// Returns the query string for a stretch of time and values of dimensions; empty where the list has no names for them.
    pub(crate) fn query(&self, (from, to): (i64, i64), dimensions: &[Dimension], values: &BTreeMap<String, String>) -> String {
        if !self.is_listed {
            return String::new();
        }
        let (from, to) = self.narrowed(from, to);
        let mut query = Query::default();
        query.add("started_after", &time(from));
        query.add("started_before", &time(to));
        let mut conditions = Vec::new();
        if let Some(filter) = self.filter {
            query.add_filter(filter);
            match statuses(filter).as_slice() {
                [] => {}
                [one] => query.add("status", one),
                several => {
                    let several = several.iter().map(|status| is(Field::Known("status"), status)).collect();
                    conditions.push(format!("({})", to_text(&Expression::Any(several))));
                }
            }
            if !filter.expression.trim().is_empty() {
                conditions.push(format!("({})", filter.expression.trim()));
            }
        }
        for dimension in dimensions {
            let value = values.get(&dimension.name).map_or("", String::as_str);
            match condition(dimension, value) {
                Some(condition) => match parameter(dimension).filter(|_| !value.is_empty() && !query.has(&dimension.name)) {
                    Some(name) => query.add(name, value),
                    None => conditions.push(to_text(&condition)),
                },
                None => return String::new(),
            }
        }
        if !conditions.is_empty() {
            query.add("filter", &conditions.join(" AND "));
        }
        query.text
    }

    /// Returns what the filter itself leaves of a stretch of time.
    fn narrowed(&self, from: i64, to: i64) -> (i64, i64) {
        let Expression::All(parts) = self.read else { return (from, to) };
        parts.iter().fold((from, to), |(from, to), part| match part {
            Expression::Compare { field: Field::Known("created_at"), op: Op::Gte, value: Value::Time(at) } => {
                (from.max(at.as_millis()), to)
            }
            Expression::Compare { field: Field::Known("created_at"), op: Op::Lt, value: Value::Time(at) } => {
                (from, to.min(at.as_millis()))
            }
            _ => (from, to),
        })
    }
}

fn time(millis: i64) -> String {
    Timestamp::from_millis(millis).unwrap_or(if millis < 0 { Timestamp::MIN } else { Timestamp::MAX }).to_string()
}

fn is_listed(expression: &Expression) -> bool {
    match expression {
        Expression::All(parts) | Expression::Any(parts) => parts.iter().all(is_listed),
        Expression::Not(part) => is_listed(part),
        Expression::Present(field) | Expression::Compare { field, .. } => is_listed_field(field),
    }
}

fn is_listed_field(field: &Field) -> bool {
    fields::spec(field).is_some_and(|spec| spec.is_in(View::Conversations))
}

/// Returns the parameter of the list that a dimension has of its own.
fn parameter(dimension: &Dimension) -> Option<&'static str> {
    const PARAMETERS: [&str; 11] = [
        "agent_id",
        "client_id",
        "provider",
        "channel",
        "status",
        "call_successful",
        "resolution_status",
        "outcome",
        "sentiment",
        "language",
        "topic",
    ];
    PARAMETERS.into_iter().find(|name| *name == dimension.name)
}

/// Returns that a dimension has a value (empty: has none); `None` where the list knows no such field.
fn condition(dimension: &Dimension, value: &str) -> Option<Expression> {
    let field = match &dimension.source {
        Source::Column(_) | Source::Words(_) => fields::find(&dimension.name, View::Conversations).ok()?.0,
        Source::Extracted(_) | Source::HourOfDay | Source::DayOfWeek => return None,
    };
    Some(match value {
        "" => Expression::Not(Box::new(Expression::Present(field))),
        value => is(field, value),
    })
}

fn is(field: Field, value: &str) -> Expression {
    Expression::Compare { field, op: Op::Eq, value: Value::Text(value.to_owned()) }
}

/// Returns the states a filter asks for, as the list calls them.
fn statuses(filter: &pb::ConversationFilter) -> Vec<String> {
    let named = filter.statuses.iter().filter_map(|status| pb::ConversationStatus::try_from(*status).ok());
    named.filter_map(|status| Some(status.as_str_name().strip_prefix("CONVERSATION_STATUS_")?.to_lowercase())).collect()
}

#[derive(Default)]
struct Query {
    text: String,
    names: Vec<String>,
}

impl Query {
    fn add(&mut self, name: &str, value: &str) {
        if !self.text.is_empty() {
            self.text.push('&');
        }
        self.names.push(name.to_owned());
        self.text.push_str(name);
        self.text.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => self.text.push(char::from(byte)),
                byte => self.text.push_str(&format!("%{byte:02X}")),
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    /// Adds the plain parameters of a filter, but for the times.
    fn add_filter(&mut self, filter: &pb::ConversationFilter) {
        let texts = [
            ("agent_id", &filter.agent_id),
            ("client_id", &filter.client_id),
            ("user_id", &filter.user_id),
            ("caller", &filter.caller),
            ("provider", &filter.provider),
            ("channel", &filter.channel),
            ("call_successful", &filter.call_successful),
            ("resolution_status", &filter.resolution_status),
            ("outcome", &filter.outcome),
            ("sentiment", &filter.sentiment),
            ("language", &filter.language),
            ("topic", &filter.topic),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                self.add(name, value);
            }
        }
        for tag in &filter.tags {
            self.add("tag", tag);
        }
        for (name, millis) in [("duration_min_seconds", filter.duration_min_ms), ("duration_max_seconds", filter.duration_max_ms)]
        {
            if let Some(millis) = millis {
                self.add(name, &(millis as f64 / 1000.0).to_string());
            }
        }
    }
}
