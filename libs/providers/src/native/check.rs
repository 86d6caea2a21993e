//! Reading native data field by field, so that a sender learns everything that is wrong at once.

use std::fmt::Display;
use std::str::FromStr;

use colloquy_events::JsonMap;
use colloquy_types::Timestamp;
use serde_json::Value;

use super::FieldError;
use crate::time;

/// The longest id, name or code, in bytes.
pub(super) const MAX_ID: usize = 256;
/// The longest text, in bytes.
pub(super) const MAX_TEXT: usize = 1 << 20;
/// The most topics, tags, attachments and the like.
pub(super) const MAX_ITEMS: usize = 100;
/// The most words of a turn.
pub(super) const MAX_WORDS: usize = 20_000;

/// One JSON object of a native event. What is asked for is what is allowed; the rest is reported by [`Self::finish`].
pub(super) struct Fields<'a, 'e> {
    path: String,
    map: &'a JsonMap,
    allowed: Vec<&'static str>,
    errors: &'e mut Vec<FieldError>,
}

impl<'a, 'e> Fields<'a, 'e> {
    pub(super) const fn new(path: String, map: &'a JsonMap, errors: &'e mut Vec<FieldError>) -> Self {
        Self { path, map, allowed: Vec::new(), errors }
    }

    /// Reports that something is wrong with a field.
    pub(super) fn error(&mut self, name: &str, message: impl Display) {
        self.errors.push(FieldError { field: format!("{}.{name}", self.path), message: message.to_string() });
    }

    /// Reports every field that nothing asked for.
    pub(super) fn finish(self) {
        for name in self.map.keys().filter(|name| !self.allowed.contains(&name.as_str())) {
            // What is written back is bounded, whatever was sent.
            let shown: String = name.chars().filter(|letter| !letter.is_control()).take(64).collect();
            let message = format!("is not a field of this event; allowed: {}", self.allowed.join(", "));
            self.errors.push(FieldError { field: format!("{}.{shown}", self.path), message });
        }
    }

    /// Returns a field's value; `null` says as little as absence.
    pub(super) fn value(&mut self, name: &'static str) -> Option<&'a Value> {
        self.allowed.push(name);
        self.map.get(name).filter(|value| !value.is_null())
    }

    fn read<T>(&mut self, name: &'static str, expected: &str, read: impl FnOnce(&'a Value) -> Option<T>) -> Option<T> {
        let value = self.value(name)?;
        let read = read(value);
        if read.is_none() {
            self.error(name, expected);
        }
        read
    }

    /// Reports a field that has to be there and is not.
    pub(super) fn require(&mut self, name: &'static str) {
        if self.map.get(name).is_none_or(Value::is_null) {
            self.error(name, "is required");
        }
    }

    /// Reads text of any content.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        let text = self.read(name, "must be a string", Value::as_str)?;
        if text.len() > MAX_TEXT {
            self.error(name, "must not be longer than 1 MiB");
            return None;
        }
        Some(text.to_owned())
    }

    /// Reads an id, name or code: 1 to 256 bytes without control characters.
    pub(super) fn id(&mut self, name: &'static str) -> Option<String> {
        let text = self.read(name, "must be a string", Value::as_str)?;
        match id_problem(text) {
            Some(problem) => {
                self.error(name, problem);
                None
            }
            None => Some(text.to_owned()),
        }
    }

    /// Reads one of a set of words.
    pub(super) fn word<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Option<T> {
        match self.read(name, "must be a string", Value::as_str)?.parse() {
            Ok(word) => Some(word),
            Err(error) => {
                self.error(name, error);
                None
            }
        }
    }

    /// Reads a truth value.
    pub(super) fn flag(&mut self, name: &'static str) -> Option<bool> {
        self.read(name, "must be true or false", Value::as_bool)
    }

    /// Reads a whole number of a range.
    pub(super) fn integer(&mut self, name: &'static str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let expected = format!("must be a whole number from {} to {}", range.start(), range.end());
        self.read(name, &expected, |value| value.as_i64().filter(|number| range.contains(number)))
    }

    /// Reads a number of a range.
    pub(super) fn number(&mut self, name: &'static str, range: std::ops::RangeInclusive<f64>) -> Option<f64> {
        let expected = format!("must be a number from {} to {}", range.start(), range.end());
        self.read(name, &expected, |value| value.as_f64().filter(|number| range.contains(number)))
    }

    /// Reads an offset or length in milliseconds.
    pub(super) fn millis(&mut self, name: &'static str) -> Option<i64> {
        self.integer(name, 0..=time::MAX_OFFSET_MS)
    }

    /// Reads a length in seconds, as milliseconds.
    pub(super) fn seconds(&mut self, name: &'static str) -> Option<i64> {
        let seconds = self.number(name, 0.0..=time::MAX_OFFSET_MS as f64 / 1000.0)?;
        Some((seconds * 1000.0).round() as i64)
    }

    /// Reads a time.
    pub(super) fn time(&mut self, name: &'static str) -> Option<Timestamp> {
        let text = self.read(name, "must be a string", Value::as_str)?;
        match parse_time(text) {
            Ok(at) => Some(at),
            Err(problem) => {
                self.error(name, problem);
                None
            }
        }
    }

    /// Reads an object of any content.
    pub(super) fn object(&mut self, name: &'static str) -> Option<&'a JsonMap> {
        self.read(name, "must be an object", Value::as_object)
    }

    /// Reads an array of any content, of at most `max` items.
    pub(super) fn array(&mut self, name: &'static str, max: usize) -> Option<&'a [Value]> {
        let items = self.read(name, "must be an array", Value::as_array)?;
        if items.len() > max {
            self.error(name, format!("must not have more than {max} items"));
            return None;
        }
        Some(items)
    }

    /// Reads an array of names.
    pub(super) fn names(&mut self, name: &'static str) -> Option<Vec<String>> {
        let items = self.array(name, MAX_ITEMS)?;
        let mut names = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match item.as_str().map(|text| (text, id_problem(text))) {
                Some((text, None)) => names.push(text.to_owned()),
                Some((_, Some(problem))) => self.error(&format!("{name}[{index}]"), problem),
                None => self.error(&format!("{name}[{index}]"), "must be a string"),
            }
        }
        Some(names)
    }

    /// Reads an object of known fields with `read`.
    pub(super) fn nested<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Fields<'a, '_>) -> T) -> Option<T> {
        let map = self.object(name)?;
        Some(self.within(name, map, read))
    }

    /// Reads an array of objects of known fields with `read`.
    pub(super) fn nested_list<T>(
        &mut self,
        name: &'static str,
        max: usize,
        mut read: impl FnMut(&mut Fields<'a, '_>) -> Option<T>,
    ) -> Vec<T> {
        let mut items = Vec::new();
        for (index, item) in self.array(name, max).unwrap_or_default().iter().enumerate() {
            let item_name = format!("{name}[{index}]");
            match item.as_object() {
                Some(map) => items.extend(self.within(&item_name, map, &mut read)),
                None => self.error(&item_name, "must be an object"),
            }
        }
        items
    }

    fn within<T>(&mut self, name: &str, map: &'a JsonMap, read: impl FnOnce(&mut Fields<'a, '_>) -> T) -> T {
        let mut fields = Fields::new(format!("{}.{name}", self.path), map, &mut *self.errors);
        let result = read(&mut fields);
        fields.finish();
        result
    }
}

/// Returns what is wrong with an id, if anything is.
pub(super) fn id_problem(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("must not be empty")
    } else if text.len() > MAX_ID {
        Some("must not be longer than 256 bytes")
    } else if text.contains(char::is_control) {
        Some("must not contain control characters")
    } else {
        None
    }
}

/// Reads a time, or says what is wrong with it.
pub(super) fn parse_time(text: &str) -> Result<Timestamp, String> {
    let at: Timestamp = text.parse().map_err(|error: colloquy_types::TimestampError| error.to_string())?;
    if time::is_sane(at) { Ok(at) } else { Err("must lie between the years 2000 and 2100".to_owned()) }
}
