//! Which rules a conversation comes under: the same decision live, when time alone passes, and over history.
//!
//! An organization's rules are compiled once. What is said is read once for all of them, and only for rules that everything else holds
//! for. What may still turn counts once a conversation is over, what only grows counts at once (see [`super::fields::Course`]).

use std::sync::Arc;

use colloquy_events::{JsonMap, Role, Turn};
use colloquy_filter::evaluate;
use colloquy_types::Timestamp;
use serde_json::{Value, json};

use super::fields::{Course, Figure, Seen, is_fixed, started, value_of};
use super::phrases::{Phrases, Words};
use super::rule::{Condition, Needs, Op, Rule, Side, Subject, Test};
use crate::features::Features;

/// Evidence names at most this many turns a condition.
const MOST_TURNS: usize = 5;

/// A conversation that rules are applied to.
#[derive(Clone, Copy, Debug)]
pub struct Conversation<'a> {
    /// Its row.
    pub row: &'a Features,
    /// Its turns; `None` when they are not at hand.
    pub turns: Option<&'a [Turn]>,
    /// When it is looked at.
    pub now: Timestamp,
}

/// A rule that a conversation came under.
#[derive(Clone, PartialEq, Debug)]
pub struct Fired {
    /// The rule.
    pub rule: Arc<Rule>,
    /// Since when, where that can be told; else when it was looked at, or when the conversation ended.
    pub at: Timestamp,
    /// What the rule saw.
    pub evidence: JsonMap,
}

/// What a look at a conversation came to.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Verdict {
    /// The rules it came under, in their order.
    pub fired: Vec<Fired>,
    /// Whether there are rules that depend on what was said, and that is not at hand.
    pub needs_turns: bool,
}

/// The rules on conversations of one organization, ready to be applied.
#[derive(Debug, Default)]
pub struct Compiled {
    rules: Vec<Ready>,
    phrases: Phrases,
}

#[derive(Debug)]
struct Ready {
    rule: Arc<Rule>,
    needs: Needs,
    /// Whether what its filter asks for may still turn.
    waits: bool,
    /// The numbers of the phrases of each condition; none for those that are not about what was said.
    phrases: Vec<Vec<usize>>,
    is_about_words: bool,
}

/// Where a phrase was said.
#[derive(Debug, Default, Clone)]
struct Said {
    by_user: Vec<u32>,
    by_agent: Vec<u32>,
}

/// A condition that holds: what was seen, and since when.
struct Held {
    at: Timestamp,
    evidence: Value,
    figure: Option<(String, Value)>,
}

impl Compiled {
    /// Compiles the rules on conversations among `rules`, but those that are not enabled when `only_enabled`.
    pub fn of<'a>(rules: impl IntoIterator<Item = &'a Arc<Rule>>, only_enabled: bool) -> Self {
        let mut compiled = Self::default();
        for rule in rules.into_iter().filter(|rule| rule.metric.is_none() && (rule.enabled || !only_enabled)) {
            let phrases: Vec<Vec<usize>> = (rule.conditions.iter())
                .map(|condition| match &condition.test {
                    Test::Says { phrases, .. } => phrases.iter().filter_map(|phrase| compiled.phrases.add(phrase)).collect(),
                    Test::Compare { .. } => Vec::new(),
                })
                .collect();
            compiled.rules.push(Ready {
                needs: rule.needs,
                waits: rule.filter.expression.as_deref().is_some_and(|expression| !is_fixed(expression)),
                is_about_words: phrases.iter().any(|phrases| !phrases.is_empty()),
                phrases,
                rule: Arc::clone(rule),
            });
        }
        compiled
    }

    /// Returns how many there are.
    pub const fn len(&self) -> usize {
        self.rules.len()
    }

    /// Returns whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Returns the rules a conversation comes under.
    pub fn evaluate(&self, conversation: &Conversation<'_>) -> Verdict {
        let mut verdict = Verdict::default();
        let mut said: Option<Vec<Said>> = None;
        for ready in &self.rules {
            if !ready.watches(conversation.row) {
                continue;
            }
            if !ready.is_about_words {
                verdict.fired.extend(ready.decide(conversation, &[]));
            } else if ready.may_hold(conversation) {
                let Some(turns) = conversation.turns else {
                    verdict.needs_turns = true;
                    continue;
                };
                let said = said.get_or_insert_with(|| self.listen(turns));
                verdict.fired.extend(ready.decide(conversation, said));
            }
        }
        verdict
    }

    /// Returns which phrases were said where.
    fn listen(&self, turns: &[Turn]) -> Vec<Said> {
        let mut said = vec![Said::default(); self.phrases.len()];
        let mut words = Words::default();
        // What is partial may still change.
        for (number, turn) in turns.iter().enumerate().filter(|(_, turn)| turn.is_final && turn.is_spoken()) {
            words.read(turn.heard().unwrap_or_default());
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            self.phrases.find(&words, |phrase| {
                let places = if turn.role == Role::User { &mut said[phrase].by_user } else { &mut said[phrase].by_agent };
                if places.len() < MOST_TURNS && places.last() != Some(&number) {
                    places.push(number);
                }
            });
        }
        said
    }
}

impl Ready {
    /// Returns whether the rule watches the conversation.
    fn watches(&self, row: &Features) -> bool {
        let Some(expression) = self.rule.filter.expression.as_deref() else { return true };
        (row.settled || !self.waits) && evaluate(expression, &|field| value_of(row, field))
    }

    /// Returns whether the rule holds if everything is said that it listens for.
    fn may_hold(&self, conversation: &Conversation<'_>) -> bool {
        match self.needs {
            Needs::All => self.rule.conditions.iter().all(|condition| match &condition.test {
                Test::Compare { subject, op, values } => compare(subject, *op, values, conversation).is_some(),
                Test::Says { .. } => true,
            }),
            Needs::Any => true,
        }
    }

    fn decide(&self, conversation: &Conversation<'_>, said: &[Said]) -> Option<Fired> {
        let mut held: Vec<Held> = Vec::new();
        for (condition, phrases) in self.rule.conditions.iter().zip(&self.phrases) {
            let holds = match &condition.test {
                Test::Compare { subject, op, values } => compare(subject, *op, values, conversation)
                    .map(|seen| describe(condition, subject, seen, since(subject, *op, values, conversation))),
                Test::Says { side, phrases: texts } => heard(condition, *side, texts, phrases, said, conversation),
            };
            match holds {
                Some(holds) => held.push(holds),
                None if self.needs == Needs::All => return None,
                None => {}
            }
        }
        let times = held.iter().map(|held| held.at);
        let at = match self.needs {
            Needs::All => times.max(),
            Needs::Any => times.min(),
        }?;
        let mut evidence = JsonMap::new();
        evidence.insert("at".to_owned(), json!(at));
        for held in &held {
            evidence.extend(held.figure.clone());
        }
        evidence.insert("conditions".to_owned(), held.into_iter().map(|held| held.evidence).collect());
        Some(Fired { rule: Arc::clone(&self.rule), at, evidence })
    }
}

/// Returns what is seen of the subject, if it compares as it must, and counts by now.
fn compare<'a>(subject: &Subject, op: Op, values: &[Value], conversation: &Conversation<'a>) -> Option<Seen<'a>> {
    let row = conversation.row;
    let seen = match subject {
        Subject::Figure(figure) => {
            if !row.settled && !counts_live(figure, op) {
                return None;
            }
            figure.read(row, conversation.now)
        }
        Subject::Custom(name) => {
            if !row.settled {
                return None;
            }
            match row.custom.get(name) {
                Some(Value::String(text)) => Seen::Text(text),
                Some(Value::Number(number)) => Seen::Number(number.as_f64()?),
                // A store keeps truths as numbers.
                Some(Value::Bool(truth)) => Seen::Number(f64::from(u8::from(*truth))),
                _ => Seen::Absent,
            }
        }
    };
    let holds = match op {
        // It differs from all of them.
        Op::Ne => values.iter().all(|value| stands(seen, op, value)),
        _ => values.iter().any(|value| stands(seen, op, value)),
    };
    holds.then_some(seen)
}

const fn counts_live(figure: &Figure, op: Op) -> bool {
    match figure.course {
        Course::Fixed => true,
        Course::Comes => !matches!(op, Op::Ne),
        Course::Grows => matches!(op, Op::Gt | Op::Gte),
        Course::Settles => false,
    }
}

fn stands(seen: Seen<'_>, op: Op, value: &Value) -> bool {
    match (seen, value) {
        (Seen::Number(seen), Value::Number(value)) => value.as_f64().is_some_and(|value| op.holds(seen, value)),
        (Seen::Number(seen), Value::Bool(value)) => op.holds(seen, f64::from(u8::from(*value))),
        (Seen::Text(seen), Value::String(value)) => match op {
            Op::Eq => seen == value,
            Op::Ne => seen != value,
            Op::Contains => contains(seen, value),
            _ => false,
        },
        (Seen::Words(seen), Value::String(value)) => match op {
            Op::Eq => seen.iter().any(|word| word == value),
            Op::Ne => !seen.is_empty() && seen.iter().all(|word| word != value),
            Op::Contains => seen.iter().any(|word| contains(word, value)),
            _ => false,
        },
        // A value of another kind is a different one.
        (Seen::Number(_), Value::String(_)) | (Seen::Text(_), Value::Number(_) | Value::Bool(_)) => op == Op::Ne,
        _ => false,
    }
}

/// Returns whether the words of `value` stand in `seen`. What people name with underscores are words too.
fn contains(seen: &str, value: &str) -> bool {
    let (seen, value) = (Words::of(&seen.replace('_', " ")), Words::of(&value.replace('_', " ")));
    let (seen, value): (Vec<&str>, Vec<&str>) = (seen.iter().collect(), value.iter().collect());
    seen.windows(value.len().max(1)).any(|words| words == value)
}

/// Returns since when a comparison holds: what is over held at its end at the latest.
fn since(subject: &Subject, op: Op, values: &[Value], conversation: &Conversation<'_>) -> Timestamp {
    let row = conversation.row;
    let latest = row.ended_at.unwrap_or(conversation.now);
    match subject {
        Subject::Figure(figure) if figure.is_duration() && matches!(op, Op::Gt | Op::Gte) => {
            let seconds = values.first().and_then(Value::as_f64).unwrap_or_default();
            started(row).saturating_add_millis((seconds * 1000.0) as i64).min(latest.max(started(row)))
        }
        _ => latest,
    }
}

fn describe(condition: &Condition, subject: &Subject, seen: Seen<'_>, at: Timestamp) -> Held {
    let shown = match (subject, seen) {
        // Who it was stands in the conversation, and nowhere else.
        (Subject::Figure(figure), _) if figure.personal => None,
        (Subject::Custom(_), Seen::Text(_)) => None,
        (_, Seen::Number(number)) => Some(json!(number)),
        (_, Seen::Text(text)) => Some(json!(text)),
        // What people talked of is told as far as the rule names it.
        (Subject::Figure(figure), Seen::Words(words)) if figure.is_said() => {
            let named: Vec<&String> = words.iter().filter(|word| condition.names(word)).collect();
            (!named.is_empty()).then(|| json!(named))
        }
        (_, Seen::Words(words)) => Some(json!(words)),
        (_, Seen::Absent) => None,
    };
    let mut evidence = json!({"field": condition.field, "op": condition.op.as_str()});
    if !matches!(subject, Subject::Figure(figure) if figure.personal) {
        evidence["value"] = condition.value.clone();
    }
    if let Some(shown) = &shown {
        evidence["seen"] = shown.clone();
    }
    let figure = shown.filter(|shown| !shown.is_array()).map(|shown| (condition.field.clone(), shown));
    Held { at, evidence, figure }
}

/// Returns where one of the phrases was first said by that side, with the phrase that was said first.
fn heard(
    condition: &Condition,
    side: Side,
    texts: &[String],
    phrases: &[usize],
    said: &[Said],
    conversation: &Conversation<'_>,
) -> Option<Held> {
    let turns = conversation.turns.unwrap_or_default();
    let mut first: Option<(u32, usize)> = None;
    let mut places: Vec<u32> = Vec::new();
    for (text, phrase) in phrases.iter().enumerate() {
        let Said { by_user, by_agent } = said.get(*phrase)?;
        let here: Vec<u32> = match side {
            Side::User => by_user.clone(),
            Side::Agent => by_agent.clone(),
            Side::Anybody => by_user.iter().chain(by_agent).copied().collect(),
        };
        let earliest = here.iter().copied().min().map(|turn| (turn, text));
        first = match (first, earliest) {
            (Some(one), Some(other)) if other.0 < one.0 => Some(other),
            (None, other) => other,
            (one, _) => one,
        };
        places.extend(here);
    }
    let (earliest, phrase) = first?;
    places.sort_unstable();
    places.dedup();
    places.truncate(MOST_TURNS);
    let place = |turn: &u32| turns.get(*turn as usize).map(|turn| place(turn, conversation.row));
    let shown: Vec<Value> = places.iter().filter_map(place).collect();
    let at = turns.get(earliest as usize).and_then(|turn| time_of(turn, conversation.row));
    let at = at.unwrap_or_else(|| conversation.row.ended_at.unwrap_or(conversation.now));
    let evidence = json!({
        "field": condition.field,
        "op": condition.op.as_str(),
        "phrase": texts.get(phrase),
        "turns": shown,
    });
    let figure = texts.get(phrase).map(|phrase| ("phrase".to_owned(), json!(phrase)));
    Some(Held { at, evidence, figure })
}

/// Returns when a turn was said.
fn time_of(turn: &Turn, row: &Features) -> Option<Timestamp> {
    turn.at.or_else(|| Some(started(row).saturating_add_millis(turn.start_ms?)))
}

fn place(turn: &Turn, row: &Features) -> Value {
    let mut place = json!({"turn_id": turn.turn_id});
    if let Some(at) = time_of(turn, row) {
        place["at"] = json!(at);
    }
    if let Some(start_ms) = turn.start_ms {
        place["start_ms"] = json!(start_ms);
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::samples::{at, condition, features, filtered, live, rule, turn};
    use colloquy_types::TurnId;

    fn fired(rule: Rule, row: &Features, turns: &[Turn], now: Timestamp) -> Option<Fired> {
        let compiled = Compiled::of(&[Arc::new(rule)], true);
        compiled.evaluate(&Conversation { row, turns: Some(turns), now }).fired.pop()
    }

    fn holds(conditions: &[Condition], row: &Features) -> bool {
        fired(rule(1, conditions.to_vec()), row, &[], at(0)).is_some()
    }

    #[test]
    fn every_kind_of_value_compares() {
        let row = features(1);
        let cases = [
            ("error_count", "gte", json!(2), true),
            ("error_count", "gt", json!(2), false),
            ("error_count", "eq", json!([1, 2]), true),
            ("error_count", "ne", json!([1, 2]), false),
            ("silence_seconds", "gt", json!(6.5), true),
            ("satisfaction_score", "lt", json!(2.5), true),
            ("status", "eq", json!("completed"), true),
            ("status", "ne", json!("completed"), false),
            ("resolution_status", "eq", json!(["escalated", "transferred"]), true),
            ("topic", "eq", json!("billing"), true),
            ("topic", "ne", json!("billing"), false),
            ("topic", "contains", json!("Refund"), true),
            ("tag", "eq", json!("vip"), true),
            ("intent", "contains", json!("book appointment"), true),
            ("custom.plan", "eq", json!("gold"), true),
            ("custom.plan", "ne", json!("silver"), true),
            ("custom.seats", "gt", json!(2), true),
            ("custom.urgent", "eq", json!(true), true),
            ("custom.urgent", "eq", json!(false), false),
            ("custom.nothing", "ne", json!("x"), false),
        ];
        for (field, op, value, expected) in cases {
            assert_eq!(holds(&[condition(field, op, value.clone())], &row), expected, "{field} {op} {value}");
        }
    }

    #[test]
    fn all_conditions_must_hold() {
        let row = features(1);
        let good = condition("error_count", "gte", json!(1));
        let bad = condition("error_count", "gte", json!(100));
        assert!(
            holds(std::slice::from_ref(&good), &row) && !holds(&[good.clone(), bad.clone()], &row) && !holds(&[bad, good], &row)
        );
    }

    #[test]
    fn one_sign_is_enough_for_rules_whose_conditions_are_signs() {
        let signs = vec![
            condition("resolution_status", "eq", json!("unresolved")),
            condition("user_text", "contains", json!(["human please", "real person"])),
        ];
        let rule = Rule { needs: Needs::Any, ..rule(1, signs) };
        let turns = [turn(0, Role::User, "Give me a real person", 4_000)];
        let found = fired(rule.clone(), &features(1), &turns, at(0)).unwrap();
        assert_eq!(found.evidence["conditions"].as_array().unwrap().len(), 1);
        assert_eq!(found.evidence["phrase"], "real person");
        assert!(fired(rule, &features(1), &[], at(0)).is_none());
    }

    #[test]
    fn what_is_half_heard_raises_nothing() {
        let row = live(1);
        for (field, op, value, expected) in [
            ("satisfaction_score", "lt", json!(2.5), false),
            ("resolution_status", "eq", json!("escalated"), false),
            ("sentiment_shift", "lt", json!(10), false),
            ("custom.plan", "eq", json!("gold"), false),
            ("error_count", "gte", json!(1), true),
            ("error_count", "lt", json!(100), false),
            ("longest_silence_seconds", "gt", json!(1), true),
            ("turn_count", "lt", json!(100), false),
            ("agent_id", "eq", json!("agent-1"), true),
        ] {
            assert_eq!(holds(&[condition(field, op, value)], &row), expected, "{field} {op}");
        }
    }

    #[test]
    fn a_conversation_that_runs_lasts_until_now() {
        let long = || rule(1, vec![condition("duration_seconds", "gt", json!(900))]);
        let row = live(1);
        let begun = started(&row);
        assert!(fired(long(), &row, &[], begun.saturating_add_millis(900_000)).is_none());
        let found = fired(long(), &row, &[], begun.saturating_add_millis(950_000)).unwrap();
        assert_eq!(found.at, begun.saturating_add_millis(900_000));
        assert_eq!(found.evidence["duration_seconds"], json!(950.0));
        let over = Features { settled: true, duration_ms: Some(60_000), ..row };
        assert!(fired(long(), &over, &[], begun.saturating_add_millis(950_000)).is_none());
    }

    #[test]
    fn evidence_names_turns_and_the_phrase_of_the_rule_and_repeats_nobody() {
        let turns = [
            turn(0, Role::Agent, "Shall I get you a human, please?", 0),
            turn(1, Role::User, "Human, please! My number is 555 0100.", 2_000),
            turn(2, Role::User, "HUMAN PLEASE", 9_000),
        ];
        let row = features(1);
        let found = fired(rule(1, vec![condition("user_text", "contains", json!("human please"))]), &row, &turns, at(0)).unwrap();
        let said = &found.evidence["conditions"][0];
        let ids: Vec<TurnId> =
            said["turns"].as_array().unwrap().iter().map(|turn| turn["turn_id"].as_str().unwrap().parse().unwrap()).collect();
        assert_eq!(ids, [turns[1].turn_id, turns[2].turn_id]);
        assert_eq!((found.at, said["turns"][0]["start_ms"].as_i64()), (started(&row).saturating_add_millis(2_000), Some(2_000)));
        assert!(!Value::Object(found.evidence).to_string().contains("555"));

        let caller = condition("caller", "eq", json!("+15550100"));
        let found = fired(rule(1, vec![caller]), &Features { caller: Some("+15550100".to_owned()), ..row }, &[], at(0)).unwrap();
        assert!(!Value::Object(found.evidence).to_string().contains("5550100"));
    }

    #[test]
    fn evidence_has_no_words_of_a_conversation_but_those_the_rule_names() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let row = Features { keywords: words(&["invoice", "jane doe"]), topics: words(&["jane doe", "refund"]), ..features(1) };
        for (field, op, value, seen) in [
            ("keyword", "eq", json!(["invoice", "other"]), Some(json!(["invoice"]))),
            ("keyword", "ne", json!("other"), None),
            ("keyword", "contains", json!("jane"), None),
            ("topic", "eq", json!("refund"), Some(json!(["refund"]))),
            ("tag", "eq", json!("vip"), Some(json!(["vip"]))),
        ] {
            let found = fired(rule(1, vec![condition(field, op, value)]), &row, &[], at(0)).unwrap();
            assert_eq!(found.evidence["conditions"][0].get("seen"), seen.as_ref(), "{field} {op}");
            assert!(!Value::Object(found.evidence).to_string().contains("doe"), "{field} {op}");
        }
    }

    #[test]
    fn partial_turns_and_machinery_say_nothing() {
        let mut turns = [turn(0, Role::User, "human please", 0), turn(1, Role::Tool, "human please", 0)];
        turns[0].is_final = false;
        let rule = rule(1, vec![condition("text", "contains", json!("human please"))]);
        assert!(fired(rule, &features(1), &turns, at(0)).is_none());
    }

    #[test]
    fn turns_are_asked_for_only_when_they_would_decide() {
        let listens = |errors: i64| {
            let conditions = vec![condition("error_count", "gte", json!(errors)), condition("text", "contains", json!("x"))];
            Compiled::of(&[Arc::new(rule(1, conditions))], true)
        };
        let row = features(1);
        let conversation = Conversation { row: &row, turns: None, now: at(0) };
        assert!(listens(1).evaluate(&conversation).needs_turns);
        assert!(!listens(100).evaluate(&conversation).needs_turns);
    }

    #[test]
    fn what_is_not_so_yet_may_still_come() {
        let running = Features { error_codes: Vec::new(), tags: vec!["vip".to_owned()], ..live(1) };
        let fires = |condition: Condition, row: &Features| {
            let rules = [Arc::new(rule(1, vec![condition]))];
            let conversation = Conversation { row, turns: None, now: at(20_000) };
            !Compiled::of(&rules, true).evaluate(&conversation).fired.is_empty()
        };
        let is_over = Features { tags: vec!["vip".to_owned()], ..features(1) };
        for (field, op, value, live, over) in [
            ("status", "ne", "completed", false, false),
            ("status", "ne", "failed", false, true),
            ("status", "eq", "in_progress", true, false),
            ("tag", "ne", "refund", false, true),
            ("tag", "eq", "vip", true, true),
            ("channel", "ne", "web", true, true),
        ] {
            let condition = || condition(field, op, json!(value));
            assert_eq!((fires(condition(), &running), fires(condition(), &is_over)), (live, over), "{field} {op} {value}");
        }
        let watches = |filter: &str, row: &Features| {
            let rules = [Arc::new(filtered(rule(1, vec![condition("duration_seconds", "gt", json!(5))]), filter))];
            let conversation = Conversation { row, turns: None, now: at(20_000) };
            !Compiled::of(&rules, true).evaluate(&conversation).fired.is_empty()
        };
        for (filter, live, over) in [
            (r#"status = "in_progress""#, true, false),
            (r#"NOT status = "completed""#, false, false),
            (r#"tag != "refund""#, false, true),
            (r#"NOT tag != "vip""#, true, true),
        ] {
            assert_eq!((watches(filter, &running), watches(filter, &is_over)), (live, over), "{filter}");
        }
    }

    #[test]
    fn a_filter_that_may_still_turn_waits_for_the_end() {
        let conditions = || vec![condition("error_count", "gte", json!(1))];
        let filtered = |expression: &str| {
            let rule = crate::alert::samples::filtered(rule(1, conditions()), expression);
            (fired(rule.clone(), &live(1), &[], at(0)).is_some(), fired(rule, &features(1), &[], at(0)).is_some())
        };
        assert_eq!(filtered(r#"agent_id = "agent-1""#), (true, true));
        assert_eq!(filtered(r#"agent_id = "agent-2""#), (false, false));
        assert_eq!(filtered("satisfaction_score < 2.5"), (false, true));
        assert_eq!(filtered("duration_seconds > 1"), (false, true));
    }
}
