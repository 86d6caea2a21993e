//! Collects every bad field of a request, so that its sender mends it once.

use std::collections::HashSet;

use colloquy_types::{ConversationId, ConversationName, OrganizationId};

use crate::{FieldViolation, Problem};

/// How many conversations one call may name.
const MOST_TOGETHER: usize = 100;

/// The bad fields found so far.
#[derive(Debug, Default)]
pub struct FieldErrors(Vec<FieldViolation>);

impl FieldErrors {
    /// Returns an empty collection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that `field` is bad.
    pub fn add(&mut self, field: impl Into<String>, message: impl ToString) {
        self.0.push(FieldViolation { field: field.into(), message: message.to_string() });
    }

    /// Returns the value, or notes why `field` has none.
    pub fn check<T, E: ToString>(&mut self, field: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.add(field, error.to_string())).ok()
    }

    /// Parses `text`, or notes why `field` cannot be.
    pub fn parse<T: std::str::FromStr<Err: ToString>>(&mut self, field: &str, text: &str) -> Option<T> {
        self.check(field, text.parse())
    }

    /// Returns the conversations named, each once, in their order; or notes why they cannot be read together.
    pub fn conversations(&mut self, field: &str, names: &[String], organization: &OrganizationId) -> Vec<ConversationId> {
        if names.is_empty() || names.len() > MOST_TOGETHER {
            self.add(field, format!("must name 1 to {MOST_TOGETHER} conversations, not {}", names.len()));
            return Vec::new();
        }
        let mut seen = HashSet::with_capacity(names.len());
        let read = |(at, name): (usize, &String)| self.parse::<ConversationName>(&format!("{field}[{at}]"), name);
        let named: Vec<ConversationName> = names.iter().enumerate().filter_map(read).collect();
        named.iter().map(|name| name.id(organization)).filter(|id| seen.insert(*id)).collect()
    }

    /// Notes when `text` is longer than `max` characters.
    pub fn max_chars(&mut self, field: &str, text: &str, max: usize) {
        if text.chars().count() > max {
            self.add(field, format!("must be at most {max} characters"));
        }
    }

    /// Returns whether nothing was bad.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ends the collection.
    ///
    /// # Errors
    /// An `INVALID_ARGUMENT` problem naming every bad field.
    pub fn finish(self) -> Result<(), Problem> {
        if self.0.is_empty() { Ok(()) } else { Err(Problem::invalid(self.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversations_are_named_once_and_what_is_none_is_pointed_at() {
        let acme: OrganizationId = "acme".parse().unwrap();
        let id = ConversationId::derive(&acme, colloquy_types::Provider::Vapi, "call-1");
        let mut fields = FieldErrors::new();
        let names = ["vapi:call-1".to_owned(), id.to_string()];
        assert_eq!(fields.conversations("ids", &names, &acme), [id]);
        assert!(fields.is_empty());
        fields.conversations("ids", &["vapi:call-1".to_owned(), "no name".to_owned()], &acme);
        fields.conversations("more", &[], &acme);
        fields.conversations("many", &vec![id.to_string(); 101], &acme);
        let problem = fields.finish().unwrap_err();
        let bad: Vec<_> = problem.fields.iter().map(|bad| bad.field.as_str()).collect();
        assert_eq!(bad, ["ids[1]", "more", "many"]);
    }
}
