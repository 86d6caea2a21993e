//! Reading a model's answer, of which nothing is believed that does not fit.
//!
//! What does not fit its field leaves that field not established, with the reason; only an answer that is no form at all fails
//! the run.

use jiff::civil::Date;
use serde_json::{Map, Value};

use super::definition::{Definition, Field, Kind};
use super::insight::INSIGHT;
use super::run::{Found, FoundValue};
use super::transcript::Transcript;

const LONGEST_TEXT: usize = 4_000;
const LONGEST_REASON: usize = 500;
const MOST_WORDS: usize = 20;
const LONGEST_WORD: usize = 100;
const MOST_TURNS: usize = 100;

/// Why an answer is no form. It says nothing of the answer itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Garbage {
    /// It cannot be parsed.
    #[error("the model's answer is not JSON")]
    NotJson,
    /// It is JSON of another shape.
    #[error("the model's answer does not follow the schema: it has no '{0}'")]
    NoForm(&'static str),
}

/// Reads an answer.
///
/// # Errors
/// When it is no form at all.
pub(super) fn read(answer: &str, definition: &Definition, transcript: &Transcript) -> Result<Found, Garbage> {
    let form = parse(answer).ok_or(Garbage::NotJson)?;
    let part = |name: &'static str, is_asked: bool| match form.get(name).and_then(Value::as_object) {
        Some(part) => Ok(part.clone()),
        None if is_asked => Err(Garbage::NoForm(name)),
        None => Ok(Map::new()),
    };
    let fields = part("fields", !definition.fields.is_empty())?;
    let scorecard = part("scorecard", !definition.scorecard.is_empty())?;
    // What is said of the whole needs no turn to point at.
    let needs_evidence = *definition != *INSIGHT;
    let value = |field: &Field| {
        let read = Entry::of(fields.get(&field.name), transcript, needs_evidence).and_then(|entry| entry.value(&field.kind));
        (field.name.clone(), read.unwrap_or_else(FoundValue::absent))
    };
    let answer = |name: &String| {
        let read = Entry::of(scorecard.get(name), transcript, true).and_then(|entry| entry.answer());
        (name.clone(), read.unwrap_or_else(FoundValue::absent))
    };
    Ok(Found {
        values: definition.fields.iter().map(value).collect(),
        scorecard: definition.scorecard.iter().map(|question| answer(&question.name)).collect(),
    })
}

/// Parses the object of an answer. Models wrap JSON in fences and write numbers that JSON does not have.
fn parse(answer: &str) -> Option<Map<String, Value>> {
    let text = answer.trim();
    let text = text.strip_prefix("```json").or_else(|| text.strip_prefix("```")).unwrap_or(text);
    let text = text.strip_suffix("```").unwrap_or(text).trim();
    serde_json::from_str(text).or_else(|_| serde_json::from_str(&without_odd_numbers(text))).ok()
}

/// Replaces what stands where numbers stand and is none by `null`.
fn without_odd_numbers(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let len = if first == '"' {
            string_len(rest)
        } else if first.is_ascii_alphanumeric() || first == '-' || first == '+' {
            rest.find(|letter: char| !(letter.is_ascii_alphanumeric() || "+-.".contains(letter))).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(len);
        let is_odd = token.trim_start_matches(['-', '+']).parse::<f64>().is_ok_and(|number| !number.is_finite());
        written.push_str(if is_odd { "null" } else { token });
        rest = after;
    }
    written
}

/// Returns how long the string is that a text begins with.
fn string_len(text: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// An entry of the form whose turns are real.
struct Entry<'a> {
    value: &'a Value,
    reason: String,
    confidence: Option<f64>,
    turns: Vec<colloquy_types::TurnId>,
}

impl<'a> Entry<'a> {
    /// Reads what all entries have, or says why the entry counts for nothing.
    fn of(entry: Option<&'a Value>, transcript: &Transcript, needs_evidence: bool) -> Result<Self, String> {
        let entry = entry.ok_or("the model did not answer this")?.as_object().ok_or("the model's answer has another shape")?;
        let reason: String = entry.get("reason").and_then(Value::as_str).unwrap_or_default().trim().to_owned();
        let reason: String = reason.chars().filter(|letter| !letter.is_control()).take(LONGEST_REASON).collect();
        let established =
            entry.get("established").and_then(Value::as_bool).ok_or("the model did not say whether it is established")?;
        let value = entry.get("value").unwrap_or(&Value::Null);
        if !established {
            return Err(if reason.is_empty() { "the model could not establish it".to_owned() } else { reason });
        }
        if value.is_null() {
            return Err("the model gave no value".to_owned());
        }
        let confidence = entry.get("confidence").and_then(Value::as_f64).filter(|confidence| (0.0..=1.0).contains(confidence));
        let mut turns = Vec::new();
        for number in entry.get("turns").and_then(Value::as_array).into_iter().flatten() {
            let turn = number.as_u64().and_then(|number| transcript.turn(number));
            let turn = turn.ok_or("the model named a turn as evidence that it was not shown")?;
            if !turns.contains(&turn) && turns.len() < MOST_TURNS {
                turns.push(turn);
            }
        }
        if turns.is_empty() && needs_evidence {
            return Err("the model named no turn as evidence".to_owned());
        }
        Ok(Self { value, reason, confidence, turns })
    }

    fn found(self, value: Value) -> FoundValue {
        FoundValue { value: Some(value), absent_because: None, confidence: self.confidence, turns: self.turns }
    }

    fn value(self, kind: &Kind) -> Result<FoundValue, String> {
        let value = typed(self.value, kind)?;
        Ok(self.found(value))
    }

    fn answer(self) -> Result<FoundValue, String> {
        match self.value.as_str() {
            Some("yes") => Ok(self.found(Value::Bool(true))),
            Some("no") => Ok(self.found(Value::Bool(false))),
            Some("not_applicable") => Err(match self.reason.as_str() {
                "" => "it does not apply".to_owned(),
                reason => format!("it does not apply: {reason}"),
            }),
            _ => Err("the model's answer is none of yes, no and not_applicable".to_owned()),
        }
    }
}

fn typed(value: &Value, kind: &Kind) -> Result<Value, String> {
    let wrong = || format!("the model's value is not of the type {}", kind.as_str());
    match kind {
        Kind::Boolean => value.is_boolean().then(|| value.clone()).ok_or_else(wrong),
        Kind::Number => value.as_f64().filter(|number| number.is_finite()).map(|_| value.clone()).ok_or_else(wrong),
        Kind::Enum { choices } => {
            let text = value.as_str().ok_or_else(wrong)?;
            let choice = choices.iter().find(|choice| *choice == text);
            choice.map(|choice| Value::from(choice.as_str())).ok_or_else(|| "the model's value is none of the choices".to_owned())
        }
        Kind::String { .. } => {
            let text = clean(value.as_str().ok_or_else(wrong)?);
            match text.chars().count() {
                0 => Err("the model's value is empty".to_owned()),
                1..=LONGEST_TEXT => Ok(Value::from(text)),
                _ => Err(format!("the model's value is longer than {LONGEST_TEXT} characters")),
            }
        }
        Kind::Date => {
            let text = value.as_str().ok_or_else(wrong)?.trim();
            let is_day = text.len() == "2026-03-02".len() && text.is_ascii();
            let day = text.parse::<Date>().ok().filter(|_| is_day);
            day.map(|day| Value::from(day.to_string())).ok_or_else(|| "the model's value is not a date (YYYY-MM-DD)".to_owned())
        }
        Kind::Words => {
            let words = value.as_array().ok_or_else(wrong)?;
            let words: Option<Vec<String>> = words.iter().map(|word| word.as_str().map(clean)).collect();
            let mut words = words.ok_or_else(wrong)?;
            words.retain(|word| !word.is_empty() && word.chars().count() <= LONGEST_WORD);
            words.truncate(MOST_WORDS);
            if words.is_empty() { Err("the model's value is empty".to_owned()) } else { Ok(Value::from(words)) }
        }
    }
}

fn clean(text: &str) -> String {
    text.trim().replace('\0', "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::analyzer::samples;

    fn transcript() -> Transcript {
        Transcript::of(&samples::input("acme", 1, &["Hello", "By e-mail, please", "Of course"]))
    }

    fn entry(value: Value) -> Value {
        json!({ "established": true, "value": value, "confidence": 0.9, "turns": [2], "reason": "said so" })
    }

    /// Reads one field of a type, answered so.
    fn value(kind: Kind, answer: Value) -> FoundValue {
        let field = Field { name: "it".to_owned(), kind, description: String::new() };
        let definition = Definition { fields: vec![field], scorecard: Vec::new() };
        let answer = json!({ "fields": { "it": answer } }).to_string();
        read(&answer, &definition, &transcript()).unwrap().values["it"].clone()
    }

    fn choices() -> Kind {
        Kind::Enum { choices: vec!["SMS".to_owned(), "Email".to_owned()] }
    }

    #[test]
    fn what_fits_is_taken_with_its_evidence() {
        let text = || Kind::String { examples: Vec::new() };
        for (kind, given, taken) in [
            (choices(), json!("Email"), json!("Email")),
            (text(), json!(" by friends\0 "), json!("by friends")),
            (Kind::Boolean, json!(false), json!(false)),
            (Kind::Number, json!(0), json!(0)),
            (Kind::Number, json!(-1.5), json!(-1.5)),
            (Kind::Date, json!("2024-02-29"), json!("2024-02-29")),
            (Kind::Words, json!(["a", ""]), json!(["a"])),
        ] {
            let found = value(kind, entry(given));
            assert_eq!(found.value, Some(taken));
            assert_eq!((found.confidence, found.turns), (Some(0.9), vec![samples::turn_id(1, 1)]));
        }
    }

    #[test]
    fn what_does_not_fit_is_not_established_and_says_why() {
        let text = || Kind::String { examples: Vec::new() };
        for (kind, given) in [
            (choices(), json!("email")),
            (choices(), json!("Fax")),
            (choices(), json!(1)),
            (text(), json!("")),
            (text(), json!("x".repeat(LONGEST_TEXT + 1))),
            (text(), json!(["x"])),
            (Kind::Boolean, json!("true")),
            (Kind::Boolean, json!(0)),
            (Kind::Number, json!("NaN")),
            (Kind::Number, json!("3")),
            (Kind::Date, json!("2026-02-29")),
            (Kind::Date, json!("tomorrow")),
            (Kind::Date, json!("2026-02-28T00:00:00Z")),
            (Kind::Date, json!(20_260_228)),
            (Kind::Words, json!([1])),
            (Kind::Words, json!([])),
            (Kind::Boolean, json!(null)),
        ] {
            let found = value(kind, entry(given.clone()));
            assert_eq!(found.value, None, "{given}");
            assert!(found.absent_because.is_some_and(|reason| !reason.is_empty()), "{given}");
        }
    }

    #[test]
    fn what_has_no_evidence_is_not_established() {
        for turns in [json!([]), json!([0]), json!([4]), json!([2, 99]), json!([-1]), json!([1.5]), json!(["2"]), json!(null)] {
            let mut given = entry(json!(true));
            given["turns"] = turns.clone();
            assert_eq!(value(Kind::Boolean, given).value, None, "{turns}");
        }
    }

    #[test]
    fn a_value_that_is_not_established_is_never_taken() {
        let given = json!({ "established": false, "value": false, "confidence": 1, "turns": [1], "reason": "not mentioned" });
        assert_eq!(value(Kind::Boolean, given), FoundValue::absent("not mentioned"));
        for odd in [json!(null), json!(true), json!({}), json!({ "value": true, "turns": [1] }), json!([])] {
            assert_eq!(value(Kind::Boolean, odd.clone()).value, None, "{odd}");
        }
    }

    #[test]
    fn a_confidence_that_is_none_is_left_out() {
        for odd in [json!(1.01), json!(-0.1), json!("high"), json!(null)] {
            let mut given = entry(json!(true));
            given["confidence"] = odd;
            let found = value(Kind::Boolean, given);
            assert_eq!((found.value, found.confidence), (Some(json!(true)), None));
        }
    }

    #[test]
    fn questions_are_answered_with_yes_no_or_not_at_all() {
        let definition = samples::definition();
        let mut form = samples::answer();
        form["scorecard"]["greeted"] = entry(json!("not_applicable"));
        let found = read(&form.to_string(), &definition, &transcript()).unwrap();
        assert_eq!(found.scorecard["greeted"].value, None);
        assert_eq!(found.scorecard["greeted"].absent_because.as_deref(), Some("it does not apply: said so"));
        assert_eq!(found.scorecard["polite"].value, Some(json!(true)));
        form["scorecard"]["greeted"] = entry(json!(true));
        assert_eq!(read(&form.to_string(), &definition, &transcript()).unwrap().scorecard["greeted"].value, None);
    }

    #[test]
    fn numbers_that_json_does_not_have_spoil_their_field_only() {
        let definition = samples::definition();
        for odd in ["NaN", "-Infinity", "1e999"] {
            let answer = samples::answer().to_string().replace("3.5", odd);
            let found = read(&answer, &definition, &transcript()).unwrap();
            assert_eq!(found.values["comfort"].value, None, "{odd}");
            assert_eq!(found.values["working"].value, Some(json!(true)));
        }
    }

    #[test]
    fn fences_around_the_form_do_not_matter() {
        let answer = format!("```json\n{}\n```", samples::answer());
        assert!(read(&answer, &samples::definition(), &transcript()).is_ok());
    }

    #[test]
    fn garbage_is_garbage() {
        for garbage in ["", "I am sorry", "[]", "\"fields\"", "{\"fields\": {", "null", "NaN"] {
            assert_eq!(read(garbage, &samples::definition(), &transcript()), Err(Garbage::NotJson), "{garbage}");
        }
        for shape in ["{}", "{\"fields\": []}", "{\"fields\": {}}"] {
            assert!(matches!(read(shape, &samples::definition(), &transcript()), Err(Garbage::NoForm(_))), "{shape}");
        }
    }

    proptest! {
        #[test]
        fn nothing_a_model_says_breaks_the_reader(answer in "[\\[\\]{}\",:a-z0-9.eN+\\\\ -]{0,200}") {
            let _ = read(&answer, &samples::definition(), &transcript());
        }
    }
}
