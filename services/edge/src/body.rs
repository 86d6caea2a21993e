//! Small bodies of JSON, read strictly: every bad, missing or unknown field is named by its path, all of them at once.

use std::fmt;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::Request;
use colloquy_service::FieldErrors;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::problem::Refusal;
use crate::upload;

/// The greatest body of everything but events and uploads.
pub(crate) const MAX_SMALL_BODY_BYTES: usize = 1 << 20;
/// The content type of most bodies.
pub(crate) const JSON: &[&str] = &["application/json"];
/// The content types of changes.
pub(crate) const MERGE_PATCH: &[&str] = &["application/json", "application/merge-patch+json"];

/// Reads the whole body of `request`, which must be of one of `content_types` and at most `max_bytes`.
///
/// # Errors
/// 415, 413, 408, or 400 when it broke off.
pub(crate) async fn read(
    request: Request,
    content_types: &[&str],
    max_bytes: usize,
    timeout: Duration,
) -> Result<Bytes, Refusal> {
    let (parts, mut body) = request.into_parts();
    if !is_one_of(&parts.headers, content_types) {
        upload::discard_unless_held_back(&parts.headers, body).await;
        return Err(Refusal::unsupported_media(&content_types.join(" or ")));
    }
    if content_length(&parts.headers).is_some_and(|length| length > max_bytes as u64) {
        upload::discard_unless_held_back(&parts.headers, body).await;
        return Err(Refusal::too_large(max_bytes as u64));
    }
    match tokio::time::timeout(timeout, Limited::new(&mut body, max_bytes).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            upload::discard_unless_held_back(&parts.headers, body).await;
            Err(Refusal::too_large(max_bytes as u64))
        }
        Ok(Err(_)) => Err(Refusal::body_broke_off()),
        Err(_) => Err(Refusal::body_too_slow()),
    }
}

/// Returns whether the sender holds its body back until it is told to go on.
pub(crate) fn waits_for_permission(headers: &HeaderMap) -> bool {
    headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Returns how long the sender says its body is.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Returns the media type without its parameters, in lower case.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next()?.trim();
    (!essence.is_empty()).then(|| essence.to_ascii_lowercase())
}

fn is_one_of(headers: &HeaderMap, content_types: &[&str]) -> bool {
    media_type(headers).is_some_and(|given| content_types.contains(&given.as_str()))
}

/// What a field of an object is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Member<T> {
    /// Not there.
    Absent,
    /// `null`.
    Null,
    /// A value of the right type.
    Value(T),
}

impl<T> Member<T> {
    /// Returns the value, where `null` is as good as absent.
    pub(crate) fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// Returns whether the field is there, be it `null`.
    pub(crate) fn is_given(&self) -> bool {
        !matches!(self, Self::Absent)
    }
}

/// A JSON object whose fields are read one by one. Reading a field makes it known; [`Object::finish`] refuses the others.
pub(crate) struct Object<'a> {
    path: String,
    members: Vec<(String, &'a RawValue)>,
    known: Vec<&'static str>,
}

impl<'a> Object<'a> {
    /// Reads the object that is a whole body.
    ///
    /// # Errors
    /// A 400 when it is not JSON, or not an object.
    pub(crate) fn from_body(body: &'a [u8]) -> Result<Self, Refusal> {
        let Members(members) = serde_json::from_slice(body).map_err(|error| not_understood(&error))?;
        Ok(Self { path: String::new(), members, known: Vec::new() })
    }

    /// Reads the object that stands at `path`.
    pub(crate) fn at(path: String, raw: &'a RawValue, errors: &mut FieldErrors) -> Option<Self> {
        match serde_json::from_str(raw.get()) {
            Ok(Members(members)) => Some(Self { path, members, known: Vec::new() }),
            Err(error) if error.is_data() && raw.get().starts_with('{') => {
                errors.add(path, without_place(&error));
                None
            }
            Err(_) => {
                errors.add(path, "must be an object");
                None
            }
        }
    }

    /// Returns the path of one of its fields.
    pub(crate) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Returns a field as it stands.
    pub(crate) fn raw(&mut self, name: &'static str) -> Member<&'a RawValue> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        match self.members.iter().find(|(given, _)| given == name) {
            None => Member::Absent,
            Some((_, raw)) if raw.get() == "null" => Member::Null,
            Some((_, raw)) => Member::Value(raw),
        }
    }

    /// Reads a field of type `T`, which is called `expected` when it is not.
    pub(crate) fn read<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        expected: &str,
        errors: &mut FieldErrors,
    ) -> Member<T> {
        let raw = match self.raw(name) {
            Member::Value(raw) => raw,
            Member::Null => return Member::Null,
            Member::Absent => return Member::Absent,
        };
        match serde_json::from_str(raw.get()) {
            Ok(value) => Member::Value(value),
            Err(_) => {
                errors.add(self.path_of(name), format!("must be {expected}"));
                Member::Absent
            }
        }
    }

    /// Reads a text.
    pub(crate) fn text(&mut self, name: &'static str, errors: &mut FieldErrors) -> Member<String> {
        self.read(name, "a string", errors)
    }

    /// Reads a text that must be there.
    pub(crate) fn required_text(&mut self, name: &'static str, errors: &mut FieldErrors) -> Option<String> {
        if !self.raw(name).is_given() {
            errors.add(self.path_of(name), "is required");
            return None;
        }
        match self.text(name, errors) {
            Member::Null => {
                errors.add(self.path_of(name), "must be a string");
                None
            }
            member => member.value(),
        }
    }

    /// Reads an object.
    pub(crate) fn object(&mut self, name: &'static str, errors: &mut FieldErrors) -> Member<Object<'a>> {
        match self.raw(name) {
            Member::Absent => Member::Absent,
            Member::Null => Member::Null,
            Member::Value(raw) => match Object::at(self.path_of(name), raw, errors) {
                Some(object) => Member::Value(object),
                None => Member::Absent,
            },
        }
    }

    /// Names the fields nobody read.
    pub(crate) fn finish(self, errors: &mut FieldErrors) {
        for (name, _) in &self.members {
            if !self.known.contains(&name.as_str()) {
                let name: String = name.chars().take(64).collect();
                errors.add(self.path_of(&name), format!("is not a field here; allowed: {}", self.known.join(", ")));
            }
        }
    }
}

/// Says that a body is not the JSON it should be.
pub(crate) fn not_understood(error: &serde_json::Error) -> Refusal {
    if error.is_data() {
        return Refusal::field("body", without_place(error));
    }
    Refusal::field("body", format!("must be valid JSON: {error}"))
}

/// What is wrong, without the line and column of a part that was cut out of its body.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

/// The fields of an object in their order, none of them twice.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ReadMembers)
    }
}

struct ReadMembers;

impl<'de> Visitor<'de> for ReadMembers {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<(String, &'de RawValue)> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            // Objects of this API have a handful of fields; the bound keeps the search below from growing with the body.
            if members.len() == 256 {
                return Err(serde::de::Error::custom("has more than 256 fields"));
            }
            if members.iter().any(|(known, _)| *known == name) {
                let name: String = name.chars().take(64).collect();
                return Err(serde::de::Error::custom(format_args!("has the field '{name}' twice")));
            }
            members.push((name, map.next_value()?));
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_names_everything_that_is_wrong_with_it() {
        let body = br#"{"name": 5, "inner": {"what": 1}, "gone": null, "extra": true}"#;
        let mut errors = FieldErrors::new();
        let mut object = Object::from_body(body).unwrap_or_else(|_| panic!("it is an object"));
        assert_eq!(object.text("name", &mut errors), Member::Absent);
        assert_eq!(object.text("gone", &mut errors), Member::Null);
        assert_eq!(object.required_text("missing", &mut errors), None);
        if let Member::Value(inner) = object.object("inner", &mut errors) {
            inner.finish(&mut errors);
        }
        object.finish(&mut errors);
        let fields: Vec<String> = errors.finish().unwrap_err().fields.into_iter().map(|bad| bad.field).collect();
        assert_eq!(fields, ["name", "missing", "inner.what", "extra"]);
    }

    #[test]
    fn a_field_that_is_read_twice_is_allowed_once() {
        let mut errors = FieldErrors::new();
        let mut object = Object::from_body(br#"{"what": 1}"#).unwrap_or_else(|_| panic!("it is an object"));
        if !object.raw("time").is_given() {
            object.object("time", &mut errors);
        }
        object.required_text("name", &mut FieldErrors::new());
        object.text("name", &mut errors);
        object.finish(&mut errors);
        let bad = errors.finish().unwrap_err().fields.remove(0);
        assert_eq!(bad.message, "is not a field here; allowed: time, name");
    }

    #[test]
    fn bodies_that_are_no_objects_are_refused() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        for bad in ["", "[]", "1", "{", "{\"a\": NaN}", "{\"a\":1,\"a\":2}", "null", &deep] {
            assert!(Object::from_body(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Object::from_body(b"{\"a\": \"\xff\"}").is_err());
    }
}
