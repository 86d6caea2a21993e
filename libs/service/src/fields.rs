//! Collects every bad field of a request, so that its sender mends it once.

use crate::{FieldViolation, Problem};

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
