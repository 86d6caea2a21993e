//! Changes to a stored message that leave alone what they do not change: what a newer release wrote into it, too, of which this one
//! knows nothing.

use std::collections::BTreeMap;

use prost::DecodeError;
use prost::encoding::{DecodeContext, decode_key, skip_field};

/// The fields of an encoded message, each as it stands there, by number.
type Fields = BTreeMap<u32, Vec<u8>>;

/// Returns the `stored` message, changed as `before` and `after` differ: the message as this release knows it. A field that differs is
/// taken whole; every other one stays as it is stored.
pub(super) fn changed(stored: &[u8], before: &[u8], after: &[u8]) -> Vec<u8> {
    let (Ok(stored), Ok(before), Ok(mut merged)) = (fields(stored), fields(before), fields(after)) else { return after.to_vec() };
    for (number, kept) in stored {
        if before.get(&number) == merged.get(&number) {
            merged.insert(number, kept);
        }
    }
    merged.into_values().flatten().collect()
}

fn fields(mut message: &[u8]) -> Result<Fields, DecodeError> {
    let mut fields = Fields::new();
    while !message.is_empty() {
        let rest = message;
        let (number, wire_type) = decode_key(&mut message)?;
        skip_field(wire_type, number, &mut message, DecodeContext::default())?;
        let (field, _) = rest.split_at(rest.len() - message.len());
        fields.entry(number).or_default().extend_from_slice(field);
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use colloquy_proto::analytics::v1::{AlertCondition, AlertRule};
    use prost::Message;
    use prost::encoding::string;

    use super::*;

    /// The number of a field that no release has yet.
    const FROM_THE_FUTURE: u32 = 1_999;

    fn condition(field: &str) -> AlertCondition {
        AlertCondition { field: field.to_owned(), ..AlertCondition::default() }
    }

    fn rule(name: &str, conditions: &[&str]) -> AlertRule {
        let conditions = conditions.iter().map(|field| condition(field)).collect();
        AlertRule { name: name.to_owned(), conditions, severity: "info".to_owned(), enabled: true, ..AlertRule::default() }
    }

    /// Returns it as a newer release writes it: with more in the rule, and in its only condition.
    fn newer(name: &str, field: &str) -> Vec<u8> {
        let mut inner = condition(field).encode_to_vec();
        string::encode(FROM_THE_FUTURE, &"within".to_owned(), &mut inner);
        let mut bytes = rule(name, &[]).encode_to_vec();
        prost::encoding::bytes::encode(5, &inner, &mut bytes);
        string::encode(FROM_THE_FUTURE, &"besides".to_owned(), &mut bytes);
        bytes
    }

    fn says(bytes: &[u8], text: &str) -> bool {
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }

    #[test]
    fn what_is_not_changed_stays_as_it_is_stored() {
        let stored = newer("one", "text");
        let before = AlertRule::decode(&*stored).unwrap();
        let after = AlertRule { name: "other".to_owned(), enabled: false, severity: String::new(), ..before.clone() };
        let merged = changed(&stored, &before.encode_to_vec(), &after.encode_to_vec());
        assert_eq!(AlertRule::decode(&*merged).unwrap(), after);
        assert!(says(&merged, "besides") && says(&merged, "within"));
        // A field that is changed is what this release makes of it.
        let after = AlertRule { conditions: vec![condition("text"), condition("agent_text")], ..before.clone() };
        let merged = changed(&stored, &before.encode_to_vec(), &after.encode_to_vec());
        assert_eq!(AlertRule::decode(&*merged).unwrap(), after);
        assert!(says(&merged, "besides") && !says(&merged, "within"));
    }

    #[test]
    fn what_is_not_stored_or_cannot_be_read_is_written_as_this_release_knows_it() {
        let (before, after) = (rule("one", &["text"]).encode_to_vec(), rule("other", &["text"]).encode_to_vec());
        for stored in [&b""[..], b"\xff", &before[..before.len() - 1]] {
            assert_eq!(changed(stored, &before, &after), after);
        }
    }
}
