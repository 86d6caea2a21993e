//! Query strings, read strictly: every bad, repeated or unknown parameter is named, all of them at once.

use std::ops::RangeInclusive;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use colloquy_service::FieldErrors;
use colloquy_types::Timestamp;
use http::request::Parts;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::problem::{Refusal, finish};

/// No id, name or word is longer, in bytes.
pub(crate) const MAX_TEXT_BYTES: usize = 256;
/// No cursor is longer, in bytes.
const MAX_CURSOR_BYTES: usize = 4_096;
/// So many values are taken of a parameter that can be repeated.
const MAX_REPEATS: usize = 100;
/// How many conversations a page has when nobody says.
pub(crate) const DEFAULT_PAGE_SIZE: i32 = 30;
/// Thirty years: no conversation is longer.
const MAX_SECONDS: f64 = 1e9;

/// The parameters of a request. Reading one makes it known; [`Query::finish`] refuses those that nobody read.
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
    errors: FieldErrors,
}

impl Query {
    /// Reads a query string.
    ///
    /// # Errors
    /// When it is not UTF-8 once decoded, or holds NUL.
    pub(crate) fn parse(raw: &str) -> Result<Self, Refusal> {
        let mut pairs = Vec::new();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).ok_or_else(|| Refusal::field("query", "names of parameters must be UTF-8 without NUL"))?;
            let value = decode(value).ok_or_else(|| Refusal::field(shortened(&name), "must be UTF-8 without NUL"))?;
            pairs.push((name, value));
        }
        Ok(Self { pairs, known: Vec::new(), errors: FieldErrors::new() })
    }

    /// Reads an object of JSON as if its members were parameters: strings, numbers, true and false; of an array, each.
    pub(crate) fn of_object(path: &str, raw: &RawValue, errors: &mut FieldErrors) -> Option<Self> {
        let Ok(members) = serde_json::from_str::<serde_json::Map<String, Value>>(raw.get()) else {
            errors.add(path, "must be an object");
            return None;
        };
        let mut pairs = Vec::new();
        for (name, value) in members {
            let values = if let Value::Array(values) = value { values } else { vec![value] };
            for value in values {
                match value {
                    Value::String(text) if !text.contains('\0') => pairs.push((name.clone(), text)),
                    Value::Number(number) => pairs.push((name.clone(), number.to_string())),
                    Value::Bool(flag) => pairs.push((name.clone(), flag.to_string())),
                    // As good as absent.
                    Value::Null => {}
                    Value::String(_) | Value::Array(_) | Value::Object(_) => {
                        errors.add(format!("{path}.{}", shortened(&name)), "must be a string, a number or an array of them");
                    }
                }
            }
        }
        Some(Self { pairs, known: Vec::new(), errors: FieldErrors::new() })
    }

    fn value(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let mut values = self.pairs.iter_mut().filter(|(given, _)| given == name).map(|(_, value)| std::mem::take(value));
        let first = values.next();
        if values.next().is_some() {
            self.errors.add(name, "must be given once");
        }
        first
    }

    fn checked(&mut self, name: &'static str, value: &str, max_bytes: usize) -> bool {
        let complaint = if value.is_empty() {
            "must not be empty".to_owned()
        } else if value.len() > max_bytes {
            format!("must be at most {max_bytes} bytes")
        } else if value.chars().any(char::is_control) {
            "must not hold control characters".to_owned()
        } else {
            return true;
        };
        self.errors.add(name, complaint);
        false
    }

    /// Reads a text.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        let value = self.value(name)?;
        self.checked(name, &value, MAX_TEXT_BYTES).then_some(value)
    }

    /// Reads a text that may be longer than an id or a name.
    pub(crate) fn long_text(&mut self, name: &'static str, max_bytes: usize) -> Option<String> {
        let value = self.value(name)?;
        self.checked(name, &value, max_bytes).then_some(value)
    }

    /// Reads a text that can be given several times.
    pub(crate) fn texts(&mut self, name: &'static str) -> Vec<String> {
        self.known.push(name);
        let given = self.pairs.iter_mut().filter(|(given, _)| given == name);
        let mut values: Vec<String> = given.map(|(_, value)| std::mem::take(value)).collect();
        if values.len() > MAX_REPEATS {
            self.errors.add(name, format!("must be given at most {MAX_REPEATS} times"));
            values.clear();
        }
        values.retain(|value| self.checked(name, value, MAX_TEXT_BYTES));
        values
    }

    /// Reads words that can be given several times, or several at once with commas between them.
    pub(crate) fn words(&mut self, name: &'static str) -> Vec<String> {
        self.known.push(name);
        let given = self.pairs.iter_mut().filter(|(given, _)| given == name);
        let values: Vec<String> = given.map(|(_, value)| std::mem::take(value)).collect();
        let mut words: Vec<String> = values.iter().flat_map(|value| value.split(',')).map(str::to_owned).collect();
        if words.len() > MAX_REPEATS {
            self.errors.add(name, format!("must name at most {MAX_REPEATS}"));
            words.clear();
        }
        words.retain(|word| self.checked(name, word, MAX_TEXT_BYTES));
        words
    }

    /// Reads the cursor; an empty one means the first page, as if there were none.
    pub(crate) fn cursor(&mut self) -> Option<String> {
        let value = self.value("cursor").filter(|value| !value.is_empty())?;
        self.checked("cursor", &value, MAX_CURSOR_BYTES).then_some(value)
    }

    /// Reads the size of a page.
    pub(crate) fn page_size(&mut self) -> i32 {
        self.integer("page_size", 1..=100).unwrap_or(DEFAULT_PAGE_SIZE)
    }

    /// Reads one of `words`.
    pub(crate) fn word(&mut self, name: &'static str, words: &[&str]) -> Option<String> {
        let value = self.value(name)?;
        if words.contains(&value.as_str()) {
            return Some(value);
        }
        self.errors.add(name, format!("must be one of {}", words.join(", ")));
        None
    }

    /// Reads a whole number within `range`.
    pub(crate) fn integer<T: FromStr + PartialOrd + std::fmt::Display>(
        &mut self,
        name: &'static str,
        range: RangeInclusive<T>,
    ) -> Option<T> {
        let value = self.value(name)?;
        match value.parse() {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                self.errors.add(name, format!("must be a whole number from {} to {}", range.start(), range.end()));
                None
            }
        }
    }

    /// Reads `true` or `false`; absent is false.
    pub(crate) fn flag(&mut self, name: &'static str) -> bool {
        self.word(name, &["true", "false"]).is_some_and(|word| word == "true")
    }

    /// Reads an RFC 3339 time. A plus sign in a query string is a space: such a time is read as it was meant.
    pub(crate) fn time(&mut self, name: &'static str) -> Option<Timestamp> {
        let value = self.value(name)?.replace(' ', "+");
        self.errors.parse(name, &value)
    }

    /// Reads a time in whole seconds since 1970.
    pub(crate) fn unix_time(&mut self, name: &'static str) -> Option<Timestamp> {
        let seconds = self.integer(name, Timestamp::MIN.as_seconds() + 1..=Timestamp::MAX.as_seconds())?;
        self.errors.check(name, Timestamp::from_millis(seconds * 1000))
    }

    /// Reads a number of seconds, with or without decimals, as milliseconds.
    pub(crate) fn seconds_as_ms(&mut self, name: &'static str) -> Option<i64> {
        let value = self.value(name)?;
        match value.parse::<f64>() {
            Ok(seconds) if (0.0..=MAX_SECONDS).contains(&seconds) => Some((seconds * 1000.0).round() as i64),
            _ => {
                self.errors.add(name, format!("must be a number of seconds from 0 to {MAX_SECONDS}"));
                None
            }
        }
    }

    /// Reads the position a read waits for.
    pub(crate) fn min_position(&mut self) -> u64 {
        self.integer("min_position", 0..=u64::MAX >> 1).unwrap_or_default()
    }

    /// Returns whether a parameter is given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.pairs.iter().any(|(given, _)| given == name)
    }

    /// Refuses a parameter that exists but is not served.
    pub(crate) fn refuse(&mut self, name: &'static str, message: &str) {
        if self.has(name) {
            self.errors.add(name, message);
            self.pairs.retain(|(given, _)| given != name);
        }
    }

    /// Notes that a parameter is bad.
    pub(crate) fn complain(&mut self, name: &'static str, message: impl ToString) {
        self.errors.add(name, message);
    }

    /// Notes that a parameter is missing; one that is there and bad was noted when it was read.
    pub(crate) fn complain_of_missing(&mut self, name: &'static str, message: impl ToString) {
        if !self.has(name) {
            self.errors.add(name, message);
        }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// A 400 naming every bad and every unknown parameter.
    pub(crate) fn finish(mut self) -> Result<(), Refusal> {
        self.complain_of_unknown();
        finish(self.errors)
    }

    /// Ends the reading of what is part of something greater at `path`, whose errors are `errors`. Returns whether all was good.
    pub(crate) fn finish_within(mut self, path: &str, errors: &mut FieldErrors) -> bool {
        self.complain_of_unknown();
        let Err(problem) = self.errors.finish() else { return true };
        for bad in problem.fields {
            errors.add(format!("{path}.{}", bad.field), bad.message);
        }
        false
    }

    fn complain_of_unknown(&mut self) {
        let mut unknown: Vec<&String> = Vec::new();
        for (name, _) in &self.pairs {
            if !self.known.contains(&name.as_str()) && !unknown.contains(&name) {
                unknown.push(name);
            }
        }
        let allowed = if self.known.is_empty() { "none".to_owned() } else { self.known.join(", ") };
        for name in unknown {
            self.errors.add(shortened(name), format!("is not a parameter of this route; allowed: {allowed}"));
        }
    }
}

/// What a caller calls a parameter may be long; what is said of it need not be.
fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

/// Decodes `+` and `%XX`; a `%` that begins no escape stands for itself, as browsers have it.
fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escape = (byte == b'%').then(|| Some(hex(*bytes.get(at + 1)?)? << 4 | hex(*bytes.get(at + 2)?)?)).flatten();
        match (escape, byte) {
            (Some(escaped), _) => {
                decoded.push(escaped);
                at += 2;
            }
            (None, b'+') => decoded.push(b' '),
            (None, byte) => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8(decoded).ok().filter(|text| !text.contains('\0'))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Self::parse(parts.uri.query().unwrap_or_default())
    }
}

/// The parameters of a route that has none.
pub(crate) struct NoQuery;

impl<S: Send + Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Query::parse(parts.uri.query().unwrap_or_default())?.finish().map(|()| Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_once_and_strictly() {
        assert_eq!(decode("a%20b+c%2B%25").as_deref(), Some("a b c+%"));
        assert_eq!(decode("100%").as_deref(), Some("100%"));
        assert_eq!(decode("%zz%4").as_deref(), Some("%zz%4"));
        assert_eq!(decode("%ff"), None);
        assert_eq!(decode("a%00"), None);
    }

    #[test]
    fn every_complaint_is_made_at_once() {
        let mut query = Query::parse("page_size=0&status=x&nope=1&tag=a&tag=b&started_after=2026-03-02T15:00:00+01:00").unwrap();
        assert_eq!(query.page_size(), DEFAULT_PAGE_SIZE);
        assert_eq!(query.word("status", &["a", "b"]), None);
        assert_eq!(query.texts("tag"), ["a", "b"]);
        assert!(query.time("started_after").is_some());
        let refusal = format!("{:?}", query.finish().unwrap_err());
        for named in ["page_size", "must be one of a, b", "nope", "allowed: page_size, status, tag, started_after"] {
            assert!(refusal.contains(named), "{named} in {refusal}");
        }
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        for bad in ["NaN", "inf", "-1", "1e99", "", "0x1"] {
            let mut query = Query::parse(&format!("seconds={bad}")).unwrap();
            assert_eq!(query.seconds_as_ms("seconds"), None, "{bad}");
            assert!(query.finish().is_err(), "{bad}");
        }
    }
}
