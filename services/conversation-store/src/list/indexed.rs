//! Which part of a filter the indexes of lists serve.

use colloquy_events::Status;
use colloquy_filter::{Expression, Field, Op, Value, whole_comparison};
use colloquy_types::Timestamp;

use super::{Column, Filter, Lead};

impl Filter {
    /// Takes an expression apart: what must hold in any case and an index serves becomes a part of the filter with a name, what is
    /// left is checked of each conversation that the rest lets through.
    pub(crate) fn of(expression: Expression) -> Self {
        let mut filter = Self::default();
        let mut rest = Vec::new();
        let mut left = vec![expression];
        while let Some(part) = left.pop() {
            match part {
                Expression::All(parts) => left.extend(parts.into_iter().rev()),
                part => rest.extend(filter.take(part)),
            }
        }
        filter.rest = match rest.len() {
            0 => None,
            1 => rest.pop(),
            _ => Some(Expression::All(rest)),
        };
        filter
    }

    /// Makes a condition part of the filter; returns it when it cannot.
    fn take(&mut self, part: Expression) -> Option<Expression> {
        let taken = match &part {
            Expression::Compare { field: Field::Known(field), op, value } => {
                self.follow(field, *op, value);
                self.take_comparison(field, *op, value)
            }
            Expression::Compare { field: Field::Custom(name), op: Op::Eq | Op::Has, value } => {
                self.follow_extracted(name, value);
                false
            }
            Expression::Any(parts) => self.take_one_of(parts),
            _ => false,
        };
        (!taken).then_some(part)
    }

    /// Notes what a condition tells of where conversations are found, while it stays a condition.
    fn follow(&mut self, name: &'static str, op: Op, value: &Value) {
        match (name, op, value) {
            // One that has begun was created when it began.
            ("started_at", Op::Eq, value) => {
                self.take_time(Op::Gte, value);
                self.take_time(Op::Lte, value);
            }
            ("started_at", ..) => {
                self.take_time(op, value);
            }
            ("external_id", Op::Eq | Op::Has, Value::Text(id)) => self.lead = Some(Lead::ExternalId(id.clone())),
            _ => {}
        }
    }

    fn follow_extracted(&mut self, name: &str, value: &Value) {
        let name = name.to_owned();
        let lead = match value {
            Value::Text(text) => Lead::Text { name, is: text.clone() },
            Value::Integer(number) => Lead::Number { name, is: *number as f64 },
            Value::Number(number) => Lead::Number { name, is: *number },
            Value::Bool(truth) => Lead::Number { name, is: f64::from(u8::from(*truth)) },
            Value::Prefix(_) | Value::Time(_) => return,
        };
        self.lead.get_or_insert(lead);
    }

    fn take_comparison(&mut self, name: &'static str, op: Op, value: &Value) -> bool {
        match (name, op, value) {
            ("status", Op::Eq | Op::Has, Value::Text(word)) => self.take_statuses(&[word]),
            ("tag", Op::Eq | Op::Has, Value::Text(word)) => self.take_tags(&[word]),
            ("topic", Op::Eq | Op::Has, Value::Text(word)) if self.topic.is_none() => {
                self.topic = Some(word.clone());
                true
            }
            ("created_at", ..) => self.take_time(op, value),
            ("duration_ms" | "duration_seconds", ..) => self.take_duration(name, op, value),
            (name, Op::Eq | Op::Has, Value::Text(text)) => match Column::ALL.into_iter().find(|column| column.as_str() == name) {
                Some(column) => {
                    self.equal.push((column, text.clone()));
                    true
                }
                None => false,
            },
            _ => false,
        }
    }

    /// Takes one of several values of one field.
    fn take_one_of(&mut self, parts: &[Expression]) -> bool {
        let mut wanted: Option<&'static str> = None;
        let mut values = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Expression::Compare { field: Field::Known(field), op: Op::Eq | Op::Has, value: Value::Text(value) }
                    if wanted.is_none_or(|wanted| wanted == *field) =>
                {
                    wanted = Some(field);
                    values.push(value.as_str());
                }
                _ => return false,
            }
        }
        match wanted {
            Some("status") => self.take_statuses(&values),
            Some("tag") => self.take_tags(&values),
            Some(name) => self.take_values(name, &values),
            None => false,
        }
    }

    fn take_values(&mut self, name: &str, values: &[&str]) -> bool {
        let column = Column::ALL.into_iter().find(|column| column.as_str() == name);
        match (column, unlike(values)) {
            (Some(column), Some(values)) if self.one_of.is_none() => {
                self.one_of = Some((column, values));
                true
            }
            _ => false,
        }
    }

    fn take_statuses(&mut self, words: &[&str]) -> bool {
        let wanted = |status: &&Status| words.contains(&status.as_str());
        let statuses: Vec<&'static str> = Status::ALL.iter().filter(wanted).map(|status| status.as_str()).collect();
        if statuses.is_empty() || !self.statuses.is_empty() {
            return false;
        }
        self.statuses = statuses;
        true
    }

    fn take_tags(&mut self, words: &[&str]) -> bool {
        match unlike(words) {
            Some(tags) if self.tags.is_empty() => {
                self.tags = tags;
                true
            }
            _ => false,
        }
    }

    fn take_time(&mut self, op: Op, value: &Value) -> bool {
        let (Value::Time(time), Some(bound)) = (value, bound(op)) else { return false };
        let moved = match bound {
            Bound::From { beyond } | Bound::Until { including: beyond } if beyond => time.as_millis().saturating_add(1),
            _ => time.as_millis(),
        };
        let Ok(time) = Timestamp::from_millis(moved) else { return false };
        match bound {
            Bound::From { .. } => self.created_from = self.created_from.max(Some(time)),
            Bound::Until { .. } => self.created_before = Some(self.created_before.map_or(time, |before| before.min(time))),
        }
        true
    }

    fn take_duration(&mut self, name: &'static str, op: Op, value: &Value) -> bool {
        let Some((op, millis)) = whole_comparison(&Field::Known(name), op, value) else { return false };
        match bound(op) {
            Some(Bound::From { beyond }) => {
                let least = millis.saturating_add(i64::from(beyond));
                self.duration_min_ms = self.duration_min_ms.max(Some(least));
            }
            Some(Bound::Until { including }) => {
                let most = millis.saturating_sub(i64::from(!including));
                self.duration_max_ms = Some(self.duration_max_ms.map_or(most, |before| before.min(most)));
            }
            None => return false,
        }
        true
    }
}

/// Returns the values, each once; `None` when they are too many to read what has each of them by itself.
fn unlike(values: &[&str]) -> Option<Vec<String>> {
    const MOST: usize = 20;
    let mut values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
    values.sort_unstable();
    values.dedup();
    (1..=MOST).contains(&values.len()).then_some(values)
}

/// One end of a range.
#[derive(Clone, Copy)]
enum Bound {
    From { beyond: bool },
    Until { including: bool },
}

const fn bound(op: Op) -> Option<Bound> {
    match op {
        Op::Gt => Some(Bound::From { beyond: true }),
        Op::Gte => Some(Bound::From { beyond: false }),
        Op::Lt => Some(Bound::Until { including: false }),
        Op::Lte => Some(Bound::Until { including: true }),
        Op::Eq | Op::Ne | Op::Has => None,
    }
}

#[cfg(test)]
mod tests {
    use colloquy_filter::{View, parse, to_text};

    use super::*;

    fn of(text: &str) -> Filter {
        Filter::of(parse(text, View::Conversations).unwrap())
    }

    fn at(millis: i64) -> Option<Timestamp> {
        Some(Timestamp::from_millis(millis).unwrap())
    }

    #[test]
    fn what_an_index_serves_is_taken_out_of_a_filter() {
        let filter = of("agent_id = a AND (status = failed OR status:completed) AND tag:x AND topic = y AND channel != phone \
             AND created_at > 1970-01-01T00:00:05Z AND created_at <= 1970-01-01T00:00:09Z AND duration_seconds >= 1.5 \
             AND duration_ms < 9000 AND (turn_count > 3 OR outcome = z)");
        assert_eq!(filter.equal, [(Column::AgentId, "a".to_owned())]);
        assert_eq!(filter.statuses, ["completed", "failed"]);
        assert_eq!((filter.tags.as_slice(), filter.topic.as_deref()), (["x".to_owned()].as_slice(), Some("y")));
        assert_eq!((filter.created_from, filter.created_before), (at(5_001), at(9_001)));
        assert_eq!((filter.duration_min_ms, filter.duration_max_ms), (Some(1_500), Some(8_999)));
        assert_eq!(to_text(&filter.rest.unwrap()), "channel != \"phone\" AND (turn_count > 3 OR outcome = \"z\")");
    }

    #[test]
    fn one_of_several_values_is_taken_when_they_are_of_one_field() {
        let filter = of("agent_id = b OR agent_id = a OR agent_id:b");
        assert_eq!(filter.one_of, Some((Column::AgentId, vec!["a".to_owned(), "b".to_owned()])));
        assert_eq!(filter.rest, None);
        let many = (0..21).map(|number| format!("agent_id = a{number}")).collect::<Vec<_>>().join(" OR ");
        for text in
            ["agent_id = a OR client_id = a", "agent_id = a OR NOT agent_id = b", "agent_id = a OR agent_id = \"b*\"", &many]
        {
            let filter = of(text);
            assert!(filter.one_of.is_none() && filter.rest.is_some(), "{text}");
        }
        let twice = of("(agent_id = a OR agent_id = b) (client_id = c OR client_id = d)");
        assert!(twice.one_of.is_some() && twice.rest.is_some());
    }

    #[test]
    fn what_is_asked_twice_must_hold_twice() {
        let filter = of("agent_id = a agent_id = b tag:x tag:y topic:p topic:q status = failed status = completed \
             created_at >= 1970-01-01T00:00:01Z created_at >= 1970-01-01T00:00:02Z duration_ms > 5 duration_ms > 3");
        assert_eq!(filter.equal.len(), 2);
        assert_eq!(
            (filter.tags.len(), filter.topic.as_deref(), filter.statuses.as_slice()),
            (1, Some("p"), ["failed"].as_slice())
        );
        assert_eq!((filter.created_from, filter.duration_min_ms), (at(2_000), Some(6)));
        assert_eq!(to_text(&filter.rest.unwrap()), "tag:\"y\" AND topic:\"q\" AND status = \"completed\"");
    }

    #[test]
    fn what_few_have_in_common_leads_and_stays_a_condition() {
        let led = |text: &str| {
            let filter = of(text);
            assert_eq!(to_text(filter.rest.as_ref().unwrap()), text);
            filter.lead
        };
        let id = Some(Lead::ExternalId("c1".to_owned()));
        assert_eq!(led("custom.plan = \"gold\" AND external_id = \"c1\""), id);
        assert_eq!(led("external_id = \"c1\" AND custom.plan = \"gold\""), id);
        let name = || "plan".to_owned();
        assert_eq!(led("custom.plan:\"gold\""), Some(Lead::Text { name: name(), is: "gold".to_owned() }));
        assert_eq!(led("custom.plan = true"), Some(Lead::Number { name: name(), is: 1.0 }));
        assert_eq!(led("custom.plan = -2.5"), Some(Lead::Number { name: name(), is: -2.5 }));
        for text in ["NOT custom.plan = \"gold\"", "custom.plan != 1.0", "custom.plan = \"g*\"", "external_id = \"c*\""] {
            assert_eq!(led(text), None, "{text}");
        }
    }

    #[test]
    fn when_it_began_is_looked_for_where_it_was_created() {
        let at = |text: &str| {
            let filter = of(text);
            assert!(filter.rest.is_some(), "{text}");
            (filter.created_from, filter.created_before)
        };
        let time = "1970-01-01T00:00:05.000Z";
        assert_eq!(at(&format!("started_at > {time}")), (self::at(5_001), None));
        assert_eq!(at(&format!("started_at = {time}")), (self::at(5_000), self::at(5_001)));
        for text in [format!("NOT started_at > {time}"), format!("started_at != {time}"), format!("ended_at > {time}")] {
            assert_eq!(at(&text), (None, None), "{text}");
        }
    }

    #[test]
    fn nothing_is_nothing_and_what_is_negated_is_left() {
        assert_eq!(of(""), Filter::default());
        for text in
            ["NOT agent_id = \"a\"", "agent_id:*", "agent_id = \"a*\"", "tag = \"x\" OR topic = \"x\"", "duration_seconds = 1.5"]
        {
            let filter = of(text);
            assert_eq!(Filter { rest: None, ..filter.clone() }, Filter::default(), "{text}");
            assert_eq!(to_text(&filter.rest.unwrap()), text);
        }
    }
}
