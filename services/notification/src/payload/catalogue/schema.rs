//! Writes JSON Schemas.

use serde_json::{Map, Value, json};

/// The schema of an object: its members, of which some are always there.
pub(super) struct Object {
    properties: Map<String, Value>,
    required: Vec<&'static str>,
}

impl Object {
    pub(super) fn new() -> Self {
        Self { properties: Map::new(), required: Vec::new() }
    }

    /// Adds a member that is always there.
    pub(super) fn with(mut self, name: &'static str, schema: Value) -> Self {
        self.required.push(name);
        self.may_have(name, schema)
    }

    /// Adds a member that is absent when it is not known.
    pub(super) fn may_have(mut self, name: &'static str, schema: Value) -> Self {
        self.properties.insert(name.to_owned(), schema);
        self
    }

    /// Adds a member that is always there, and null when it is not known.
    pub(super) fn with_nullable(self, name: &'static str, schema: Value) -> Self {
        self.with(name, nullable(schema))
    }

    pub(super) fn schema(self) -> Value {
        json!({"type": "object", "required": self.required, "properties": self.properties})
    }

    /// Returns the schema as a document of its own.
    pub(super) fn document(self, title: &str, description: &str) -> Value {
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": title,
            "description": description,
            "type": "object",
            "required": self.required,
            "properties": self.properties,
        })
    }
}

/// Lets a value be null.
pub(super) fn nullable(schema: Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

fn described(mut schema: Value, description: &str) -> Value {
    schema["description"] = description.into();
    schema
}

pub(super) fn text(description: &str) -> Value {
    described(json!({"type": "string"}), description)
}

pub(super) fn time(description: &str) -> Value {
    described(json!({"type": "string", "format": "date-time"}), description)
}

pub(super) fn uuid(description: &str) -> Value {
    described(json!({"type": "string", "format": "uuid"}), description)
}

pub(super) fn integer(description: &str) -> Value {
    described(json!({"type": "integer"}), description)
}

pub(super) fn number(description: &str) -> Value {
    described(json!({"type": "number"}), description)
}

pub(super) fn flag(description: &str) -> Value {
    described(json!({"type": "boolean"}), description)
}

/// An object whose members are somebody else's.
pub(super) fn anything(description: &str) -> Value {
    described(json!({"type": "object", "additionalProperties": true}), description)
}

/// Any JSON.
pub(super) fn any(description: &str) -> Value {
    json!({"description": description})
}

pub(super) fn list(items: Value, description: &str) -> Value {
    described(json!({"type": "array", "items": items}), description)
}

pub(super) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>, description: &str) -> Value {
    let words: Vec<&str> = words.into_iter().collect();
    described(json!({"enum": words}), description)
}
