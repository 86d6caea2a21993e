//! What the record says itself: errors by code with the turns at which they happened, and cost.

use std::collections::{BTreeMap, BTreeSet};

use colloquy_events::Turn;
use colloquy_types::Timestamp;

use super::Figure;
use crate::input::{Cost, Record};

/// More kinds of errors than this are counted as `other`.
const MOST_CODES: usize = 200;

/// How often each error happened, and the turn at which it did so first: the last that had begun by then.
pub(super) struct Errors {
    /// By code.
    pub(super) counted: Figure<BTreeMap<String, u32>>,
    /// By code, as far as it is known.
    pub(super) turns: BTreeMap<String, u32>,
}

/// Counts errors. No errors is none, not unknown; a failure that no error tells of counts as one, at the last turn.
pub(super) fn errors(record: &Record, turns: &[Turn]) -> Errors {
    let begun = begun(record, turns);
    let last = u32::try_from(turns.len()).ok().and_then(|count| count.checked_sub(1));
    let turn_at = |at: Timestamp| begun[..begun.partition_point(|(begun, _)| *begun <= at)].last().map(|(_, turn)| *turn);
    let failure = record.failure_code.as_ref().filter(|code| record.errors.iter().all(|error| error.code != **code));
    let raised = record.errors.iter().map(|error| (&error.code, error.at.and_then(turn_at)));
    let (mut by_code, mut first_turns) = (BTreeMap::<String, u32>::new(), BTreeMap::<String, u32>::new());
    for (code, turn) in raised.chain(failure.map(|code| (code, last))) {
        let counts_alone = by_code.len() < MOST_CODES || by_code.contains_key(code);
        let counted_as = if counts_alone { code.as_str() } else { "other" };
        *by_code.entry(counted_as.to_owned()).or_default() += 1;
        if let Some(turn) = turn {
            first_turns.entry(counted_as.to_owned()).and_modify(|first| *first = turn.min(*first)).or_insert(turn);
        }
    }
    let evidence: BTreeSet<u32> = first_turns.values().copied().collect();
    Errors { counted: Figure::of(by_code, "errors/1", evidence), turns: first_turns }
}

/// Returns when each turn began of which that is known, in order of time.
fn begun(record: &Record, turns: &[Turn]) -> Vec<(Timestamp, u32)> {
    if record.errors.iter().all(|error| error.at.is_none()) {
        return Vec::new();
    }
    let when = |turn: &Turn| turn.at.or_else(|| Some(record.started_at?.saturating_add_millis(turn.start_ms?)));
    let mut begun: Vec<_> = (0_u32..).zip(turns).filter_map(|(place, turn)| Some((when(turn)?, place))).collect();
    begun.sort_unstable();
    begun
}

/// Returns what it cost.
pub(super) fn cost(record: &Record) -> Figure<Cost> {
    match &record.cost {
        Some(cost) => Figure::of(cost.clone(), "cost/1", []),
        None => Figure::absent("nobody said what it cost", "cost/1"),
    }
}

#[cfg(test)]
mod tests {
    use colloquy_events::Role;
    use colloquy_types::TurnId;

    use super::*;
    use crate::analysis::tests::record;
    use crate::input::Error;

    #[test]
    fn errors_are_counted_by_code_and_a_failure_once() {
        let error = |code: &str| Error { code: code.to_owned(), component: None, at: None };
        let mut record = record();
        let errors = |record: &Record| errors(record, &[]).counted;
        assert_eq!(errors(&record).value, Some(BTreeMap::new()));
        record.errors = vec![error("tool_error"), error("tool_error"), error("llm")];
        record.failure_code = Some("llm".to_owned());
        let counted = errors(&record).value.unwrap();
        assert_eq!(counted, BTreeMap::from([("llm".to_owned(), 1), ("tool_error".to_owned(), 2)]));
        record.failure_code = Some("asr".to_owned());
        assert_eq!(errors(&record).value.unwrap().len(), 3);
        record.errors = (0..1_000).map(|number| error(&number.to_string())).collect();
        assert_eq!(errors(&record).value.unwrap()["other"], 801);
    }

    #[test]
    fn an_error_happens_at_the_last_turn_that_had_begun() {
        let at = |millis: i64| Timestamp::from_millis(1_772_463_600_000 + millis).unwrap();
        let turn = |number: i64| Turn {
            start_ms: (number != 2).then_some(number * 10_000),
            at: (number == 2).then(|| at(20_000)),
            ..Turn::new(TurnId::generate(), Role::User)
        };
        let turns: Vec<Turn> = (0..4).map(turn).collect();
        let error = |code: &str, at| Error { code: code.to_owned(), component: None, at };
        let mut record = Record { started_at: Some(at(0)), ..record() };
        record.errors = vec![
            error("early", Some(at(-1))),
            error("tool", Some(at(25_000))),
            error("tool", Some(at(10_000))),
            error("llm", Some(at(20_000))),
            error("timeless", None),
        ];
        record.failure_code = Some("failed".to_owned());
        let found = errors(&record, &turns);
        let known: Vec<(&str, u32)> = found.turns.iter().map(|(code, turn)| (code.as_str(), *turn)).collect();
        assert_eq!(known, [("failed", 3), ("llm", 2), ("tool", 1)]);
        assert_eq!(found.counted.turns, [1, 2, 3]);
        assert_eq!(errors(&record, &[]).turns, BTreeMap::new());
    }
}
