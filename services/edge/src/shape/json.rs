//! JSON that services keep as text, embedded as it stands.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// JSON as it stands in a message; what is no JSON becomes the fallback.
#[derive(Debug)]
pub(crate) struct Json {
    raw: Option<Box<RawValue>>,
    fallback: Fallback,
}

#[derive(Debug, Clone, Copy)]
enum Fallback {
    Null,
    Object,
    Array,
}

impl Json {
    /// Returns an object.
    pub(crate) fn object(text: String) -> Self {
        Self::new(text, Fallback::Object)
    }

    /// Returns an array.
    pub(crate) fn array(text: String) -> Self {
        Self::new(text, Fallback::Array)
    }

    /// Returns any value, or null.
    pub(crate) fn any(text: Option<String>) -> Self {
        Self::new(text.unwrap_or_default(), Fallback::Null)
    }

    fn new(text: String, fallback: Fallback) -> Self {
        // Checked, not parsed: a service that kept half a document must not break the whole answer.
        Self { raw: RawValue::from_string(text).ok(), fallback }
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (&self.raw, self.fallback) {
            (Some(raw), _) => raw.serialize(serializer),
            (None, Fallback::Null) => serializer.serialize_none(),
            (None, Fallback::Object) => serde_json::Map::new().serialize(serializer),
            (None, Fallback::Array) => [(); 0].serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_becomes_the_fallback() {
        let write = |json: Json| serde_json::to_string(&json).unwrap();
        assert_eq!(write(Json::object("{\"a\": 1.10}".into())), "{\"a\": 1.10}");
        assert_eq!(write(Json::object(String::new())), "{}");
        assert_eq!(write(Json::array("[1,".into())), "[]");
        assert_eq!(write(Json::any(None)), "null");
    }
}
