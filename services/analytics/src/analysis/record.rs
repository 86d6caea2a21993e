//! What the record says itself: errors by code, and cost.

use std::collections::BTreeMap;

use super::Figure;
use crate::input::{Cost, Record};

/// More kinds of errors than this are counted as `other`.
const MOST_CODES: usize = 200;

/// Returns how often each error happened. No errors is none, not unknown; a failure that no error tells of counts as one.
pub(super) fn errors(record: &Record) -> Figure<BTreeMap<String, u32>> {
    let mut by_code: BTreeMap<String, u32> = BTreeMap::new();
    let failure = record.failure_code.as_ref().filter(|code| record.errors.iter().all(|error| error.code != **code));
    for code in record.errors.iter().map(|error| &error.code).chain(failure) {
        let counts_alone = by_code.len() < MOST_CODES || by_code.contains_key(code);
        let counted_as = if counts_alone { code.as_str() } else { "other" };
        *by_code.entry(counted_as.to_owned()).or_default() += 1;
    }
    Figure::of(by_code, "errors/1", [])
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
    use super::*;
    use crate::analysis::tests::record;
    use crate::input::Error;

    #[test]
    fn errors_are_counted_by_code_and_a_failure_once() {
        let error = |code: &str| Error { code: code.to_owned(), component: None, at: None };
        let mut record = record();
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
}
