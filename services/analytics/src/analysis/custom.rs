//! Values that the provider extracted by name.

use std::collections::BTreeMap;

use colloquy_events::{Authority, JsonMap};
use serde_json::Value;

use super::CustomValue;
use crate::input::Judgement;

const NOTHING: &str = "the provider left it empty";

/// Returns the provider's values. What it left empty (`null`, an empty text, list or object) was not established.
pub(super) fn of(judgements: &BTreeMap<String, Judgement>) -> BTreeMap<String, CustomValue> {
    let nothing = JsonMap::new();
    let extracted = judgements.get(Authority::Provider.as_str()).map_or(&nothing, |judgement| &judgement.custom_analysis);
    extracted.iter().map(|(name, value)| (name.clone(), of_provider(value))).collect()
}

fn of_provider(value: &Value) -> CustomValue {
    let value = (!is_empty(value)).then(|| value.clone());
    let not_established_because = value.is_none().then(|| NOTHING.to_owned());
    let source = Authority::Provider.as_str().to_owned();
    CustomValue { value, not_established_because, confidence: None, turns: Vec::new(), source, version: 0 }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_left_empty_was_not_established_and_false_and_zero_were() {
        let analysis = json!({"a": "", "b": false, "c": 0, "d": null, "e": "SMS", "f": [], "g": {}});
        let judgement = Judgement { custom_analysis: analysis.as_object().unwrap().clone(), ..Judgement::default() };
        let values = of(&BTreeMap::from([("provider".to_owned(), judgement)]));
        let established: Vec<&str> =
            values.iter().filter(|(_, value)| value.value.is_some()).map(|(name, _)| name.as_str()).collect();
        assert_eq!(established, ["b", "c", "e"]);
        assert!(values.values().all(|value| value.value.is_some() != value.not_established_because.is_some()));
        assert!(of(&BTreeMap::new()).is_empty());
    }
}
