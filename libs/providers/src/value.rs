//! Reading JSON that may hold anything: absent, `null` and ill-typed fields all read as `None`.
//!
//! Providers add fields and values without notice and write numbers as text and back (notes, 0), so mappers ask for what they
//! need instead of decoding into fixed structures.

use colloquy_events::JsonMap;
use serde_json::Value;

use crate::mapping::MapError;
use crate::redaction;

/// The longest id, name or code we take as one. Longer ones cannot be indexed, and no provider makes them.
pub(crate) const MAX_SHORT: usize = 256;

/// Parses a delivery's body, which has to be a JSON object, without its secrets and without U+0000.
pub(crate) fn parse(body: &[u8]) -> Result<Value, MapError> {
    Ok(parse_taking(body, |_| ())?.0)
}

/// Parses a delivery's body as [`parse`] does; what `take` finds is taken before secrets are removed.
pub(crate) fn parse_taking<T>(body: &[u8], take: impl FnOnce(&Value) -> T) -> Result<(Value, T), MapError> {
    let mut value: Value =
        serde_json::from_slice(body).map_err(|error| MapError::Malformed(format!("the body is not JSON: {error}")))?;
    if !value.is_object() {
        return Err(MapError::Malformed("the body must be a JSON object".to_owned()));
    }
    let taken = take(&value);
    redaction::redact_value(&mut value);
    if has_escaped_nul(body) {
        strip_nul(&mut value);
    }
    Ok((value, taken))
}

/// Returns whether the JSON text may hold U+0000, which only an escape can bring in.
pub(crate) fn has_escaped_nul(json: &[u8]) -> bool {
    json.windows(6).any(|window| window == b"\\u0000")
}

/// Removes U+0000, which PostgreSQL's text cannot hold, from every string and key.
pub(crate) fn strip_nul(value: &mut Value) {
    match value {
        Value::String(text) => text.retain(|letter| letter != '\0'),
        Value::Array(items) => items.iter_mut().for_each(strip_nul),
        Value::Object(map) => {
            if map.keys().any(|key| key.contains('\0')) {
                *map = std::mem::take(map).into_iter().map(|(key, value)| (key.replace('\0', ""), value)).collect();
            }
            map.values_mut().for_each(strip_nul);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Reads text that is not empty; a number stands for its digits.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Reads an id, name or code.
pub(crate) fn short(value: &Value) -> Option<String> {
    text(value).filter(|text| text.len() <= MAX_SHORT)
}

/// Reads text that is compared with known words.
pub(crate) fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Reads a finite number, also one written as text.
pub(crate) fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// Reads a truth value, also one written as text.
pub(crate) fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Reads an array; anything else is an empty one.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Reads an object that is not empty.
pub(crate) fn map(value: &Value) -> Option<&JsonMap> {
    value.as_object().filter(|map| !map.is_empty())
}

/// Returns the first of `values` that is neither absent nor `null`, else `null`.
pub(crate) fn first<'a>(values: &[&'a Value]) -> &'a Value {
    values.iter().copied().find(|value| !value.is_null()).unwrap_or(&Value::Null)
}

/// Returns JSON that travels as a string; a string that is no JSON object or array stays the string it is (6.4).
pub(crate) fn embedded(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) => match serde_json::from_str(text) {
            Ok(mut inner @ (Value::Object(_) | Value::Array(_))) => {
                redaction::redact_value(&mut inner);
                strip_nul(&mut inner);
                Some(inner)
            }
            _ => Some(value.clone()),
        },
        other => Some(other.clone()),
    }
}

/// Returns the fields of `value` that are not `null` and not among `known`: what the canonical record has no place for.
pub(crate) fn remainder(value: &Value, known: &[&str]) -> JsonMap {
    let Some(map) = value.as_object() else { return JsonMap::new() };
    map.iter()
        .filter(|(key, value)| !value.is_null() && !known.contains(&key.as_str()) && !is_link(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Links are often signed, so they open what they lead to; they never become metadata.
fn is_link(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.ends_with("url") || key.ends_with("urls")
}

/// Returns the map unless it is empty.
pub(crate) fn non_empty(map: JsonMap) -> Option<JsonMap> {
    (!map.is_empty()).then_some(map)
}

/// Returns a telephone number in E.164 where it can be written so, else as it is given.
pub(crate) fn phone(value: &Value) -> Option<String> {
    let given = short(value)?;
    Some(colloquy_types::normalize_phone_number(&given).unwrap_or(given))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nul_is_removed_from_values_keys_and_embedded_json() {
        let body = br#"{"a\u0000":"b\u0000c","d":["\u0000"],"e":"{\"f\":\"g\\u0000\"}"}"#;
        let value = parse(body).unwrap();
        assert_eq!(value["a"], json!("bc"));
        assert_eq!(value["d"], json!([""]));
        assert_eq!(embedded(&value["e"]), Some(json!({"f": "g"})));
    }

    #[test]
    fn only_objects_and_arrays_are_taken_out_of_strings() {
        assert_eq!(embedded(&json!("12")), Some(json!("12")));
        assert_eq!(embedded(&json!("[12]")), Some(json!([12])));
        assert_eq!(embedded(&json!("{broken")), Some(json!("{broken")));
        assert_eq!(embedded(&json!(null)), None);
    }

    #[test]
    fn links_never_become_metadata() {
        let rest = remainder(&json!({"a": 1, "b": null, "log_url": "x", "presignedUrls": [], "known": 2}), &["known"]);
        assert_eq!(Value::Object(rest), json!({"a": 1}));
    }
}
