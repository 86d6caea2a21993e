//! A whole `ConversationFilter`: its plain parameters and its expression as one tree.

use colloquy_events::convert::timestamp_from_pb;
use colloquy_events::{CallSuccessful, ResolutionStatus, Sentiment, Status};
use colloquy_proto::conversation::v1 as pb;
use colloquy_service::FieldErrors;
use colloquy_types::{Provider, Timestamp, normalize_phone_number};

use crate::expression::{Expression, Field, Op, Value};
use crate::{LONGEST_TEXT, View, parse};

/// How many tags one filter may name.
const MOST_TAGS: usize = 20;

/// What the expression of a filter is called in errors: as its parameter is outside.
const EXPRESSION: &str = "filter";

/// Reads a filter for a view. What holds is everything it says together: [`Expression::All`], flat at the top.
///
/// # Errors
/// Every bad field, by its name in the filter; the expression is called `filter`.
pub fn read(filter: &pb::ConversationFilter, view: View) -> Result<Expression, FieldErrors> {
    let mut reader = Reader { errors: FieldErrors::new(), parts: Vec::new() };
    reader.text("agent_id", filter.agent_id.as_deref());
    reader.text("client_id", filter.client_id.as_deref());
    reader.text("user_id", filter.user_id.as_deref());
    let caller = filter.caller.as_deref().map(|caller| normalize_phone_number(caller).unwrap_or_else(|| caller.to_owned()));
    reader.text("caller", caller.as_deref());
    reader.text("channel", filter.channel.as_deref());
    reader.text("outcome", filter.outcome.as_deref());
    reader.text("language", filter.language.as_deref());
    reader.word::<Provider>("provider", filter.provider.as_deref());
    reader.word::<CallSuccessful>("call_successful", filter.call_successful.as_deref());
    reader.word::<ResolutionStatus>("resolution_status", filter.resolution_status.as_deref());
    reader.word::<Sentiment>("sentiment", filter.sentiment.as_deref());
    reader.statuses(&filter.statuses);
    reader.text("topic", filter.topic.as_deref());
    reader.tags(&filter.tags);
    reader.time("created_from", Op::Gte, filter.created_from);
    reader.time("created_before", Op::Lt, filter.created_before);
    reader.duration("duration_min_ms", Op::Gte, filter.duration_min_ms);
    reader.duration("duration_max_ms", Op::Lte, filter.duration_max_ms);
    match parse(&filter.expression, view) {
        Ok(Expression::All(parts)) => reader.parts.extend(parts),
        Ok(other) => reader.parts.push(other),
        Err(error) => reader.errors.add(EXPRESSION, error),
    }
    if reader.errors.is_empty() { Ok(Expression::All(reader.parts)) } else { Err(reader.errors) }
}

struct Reader {
    errors: FieldErrors,
    parts: Vec<Expression>,
}

fn is(field: &'static str, value: &str) -> Expression {
    Expression::Compare { field: Field::Known(field), op: Op::Eq, value: Value::Text(value.to_owned()) }
}

impl Reader {
    fn is_searchable(&mut self, field: &str, value: &str) -> bool {
        if value.len() > LONGEST_TEXT {
            self.errors.add(field, format!("must be at most {LONGEST_TEXT} bytes"));
        } else if value.contains('\0') {
            self.errors.add(field, "must not contain the character NUL");
        } else {
            return true;
        }
        false
    }

    fn text(&mut self, field: &'static str, value: Option<&str>) {
        if let Some(value) = value
            && self.is_searchable(field, value)
        {
            self.parts.push(is(field, value));
        }
    }

    fn word<T: std::str::FromStr<Err: ToString>>(&mut self, field: &'static str, value: Option<&str>) {
        if let Some(value) = value
            && self.errors.parse::<T>(field, value).is_some()
        {
            self.parts.push(is(field, value));
        }
    }

    /// All of them together say nothing.
    fn statuses(&mut self, wanted: &[i32]) {
        let mut statuses: Vec<Status> = wanted.iter().filter_map(|status| self.status(*status)).collect();
        statuses.sort_unstable();
        statuses.dedup();
        if !statuses.is_empty() && statuses.len() < Status::ALL.len() {
            self.any(statuses.iter().map(|status| is("status", status.as_str())).collect());
        }
    }

    fn status(&mut self, status: i32) -> Option<Status> {
        match pb::ConversationStatus::try_from(status) {
            Ok(pb::ConversationStatus::Initiated) => Some(Status::Initiated),
            Ok(pb::ConversationStatus::InProgress) => Some(Status::InProgress),
            Ok(pb::ConversationStatus::Completed) => Some(Status::Completed),
            Ok(pb::ConversationStatus::Failed) => Some(Status::Failed),
            Ok(pb::ConversationStatus::Abandoned) => Some(Status::Abandoned),
            Ok(pb::ConversationStatus::Unspecified) | Err(_) => {
                self.errors.add("statuses", "must be initiated, in_progress, completed, failed or abandoned");
                None
            }
        }
    }

    fn tags(&mut self, tags: &[String]) {
        let mut wanted: Vec<&String> = tags.iter().filter(|tag| self.is_searchable("tags", tag)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        if wanted.len() > MOST_TAGS {
            self.errors.add("tags", format!("must be at most {MOST_TAGS} tags"));
        }
        if !wanted.is_empty() {
            self.any(wanted.into_iter().map(|tag| is("tag", tag)).collect());
        }
    }

    fn any(&mut self, mut parts: Vec<Expression>) {
        self.parts.push(if parts.len() == 1 { parts.remove(0) } else { Expression::Any(parts) });
    }

    fn time(&mut self, name: &str, op: Op, at: Option<prost_types::Timestamp>) {
        let Some(at) = at else { return };
        let read = timestamp_from_pb(name, at).map_err(|bad| bad.message);
        let Some(at): Option<Timestamp> = self.errors.check(name, read) else { return };
        self.parts.push(Expression::Compare { field: Field::Known("created_at"), op, value: Value::Time(at) });
    }

    fn duration(&mut self, name: &str, op: Op, millis: Option<i64>) {
        let Some(millis) = millis else { return };
        if millis < 0 {
            self.errors.add(name, "must not be negative");
        }
        self.parts.push(Expression::Compare { field: Field::Known("duration_ms"), op, value: Value::Integer(millis) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::to_text;

    fn named(filter: &pb::ConversationFilter) -> Vec<(String, String)> {
        let problem = read(filter, View::Conversations).unwrap_err().finish().unwrap_err();
        problem.fields.into_iter().map(|bad| (bad.field, bad.message)).collect()
    }

    #[test]
    fn parameters_and_expression_become_one_tree() {
        let filter = pb::ConversationFilter {
            agent_id: Some("a".to_owned()),
            caller: Some("+1 (202) 555-0123".to_owned()),
            statuses: vec![4, 3, 4],
            tags: vec!["x".to_owned(), "x".to_owned()],
            duration_min_ms: Some(1_500),
            expression: "turn_count > 2 topic:b".to_owned(),
            ..Default::default()
        };
        assert_eq!(
            to_text(&read(&filter, View::Conversations).unwrap()),
            "agent_id = \"a\" AND caller = \"+12025550123\" AND (status = \"completed\" OR status = \"failed\") \
             AND tag = \"x\" AND duration_ms >= 1500 AND turn_count > 2 AND topic:\"b\""
        );
        let all = pb::ConversationFilter { statuses: vec![1, 2, 3, 4, 5], ..Default::default() };
        assert_eq!(read(&all, View::Analytics).unwrap(), Expression::All(Vec::new()));
    }

    #[test]
    fn every_bad_field_is_named_at_once() {
        let filter = pb::ConversationFilter {
            agent_id: Some("x".repeat(4_096)),
            client_id: Some("a\0".to_owned()),
            provider: Some("twilio".to_owned()),
            sentiment: Some("so so".to_owned()),
            statuses: vec![0, 99],
            duration_min_ms: Some(-1),
            created_from: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
            tags: (0..21).map(|number| number.to_string()).collect(),
            expression: "status = failed AND".to_owned(),
            ..Default::default()
        };
        let bad = named(&filter);
        let mut names: Vec<&str> = bad.iter().map(|(name, _)| name.as_str()).collect();
        names.dedup();
        let expected =
            ["agent_id", "client_id", "provider", "sentiment", "statuses", "tags", "created_from", "duration_min_ms", "filter"];
        assert_eq!(names, expected);
        assert!(bad.last().unwrap().1.starts_with("column 20: "), "{bad:?}");
    }
}
