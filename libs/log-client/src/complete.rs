//! Up to where a view is complete.
//!
//! One stream alone gets the log in order, and then it is simply where the last batch ended. Streams of one name share the work:
//! between two batches of one there are others, perhaps not applied yet, and only the log knows once they are acknowledged.

use std::collections::BTreeMap;

use colloquy_types::Position;

/// How many batches beyond a gap are remembered. Forgetting one only means to learn of it from the log.
const MAX_ISLANDS: usize = 1_000;

/// What one batch covers: everything after `after`, up to and with `through`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) after: Position,
    pub(crate) through: Position,
}

/// Up to where a view is complete, and what it has beyond that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Complete {
    through: Position,
    /// Spans beyond a gap, by their beginning.
    islands: BTreeMap<Position, Position>,
}

impl Complete {
    pub(crate) const fn up_to(through: Position) -> Self {
        Self { through, islands: BTreeMap::new() }
    }

    pub(crate) const fn through(&self) -> Position {
        self.through
    }

    /// Returns whether something beyond a gap is applied.
    pub(crate) fn has_gap(&self) -> bool {
        !self.islands.is_empty()
    }

    /// Notes that all streams together have applied everything up to `position`.
    pub(crate) fn acknowledged(&mut self, position: Position) {
        self.through = self.through.max(position);
        self.merge();
    }

    /// Notes that a batch is applied.
    pub(crate) fn add(&mut self, span: Span) {
        let through = self.islands.entry(span.after).or_insert(span.through);
        *through = span.through.max(*through);
        self.merge();
        if self.islands.len() > MAX_ISLANDS {
            self.islands.pop_last();
        }
    }

    /// Returns whether applying `spans` one after the other leaves no gap at any time.
    pub(crate) fn continues_with(&self, spans: &[Span]) -> bool {
        let mut through = self.through;
        spans.iter().all(|span| {
            let follows = span.after <= through;
            through = through.max(span.through);
            follows
        })
    }

    fn merge(&mut self) {
        while let Some(first) = self.islands.first_entry()
            && *first.key() <= self.through
        {
            self.through = self.through.max(first.remove());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up_to(through: u64) -> Complete {
        Complete::up_to(Position(through))
    }

    fn span(after: u64, through: u64) -> Span {
        Span { after: Position(after), through: Position(through) }
    }

    #[test]
    fn batches_in_order_leave_nothing_out() {
        let mut complete = up_to(10);
        assert!(complete.continues_with(&[span(10, 20), span(20, 30), span(3, 5)]));
        complete.add(span(10, 20));
        complete.add(span(5, 15));
        assert_eq!(complete, up_to(20));
    }

    #[test]
    fn a_gap_is_closed_by_a_batch_or_by_the_log() {
        let mut complete = up_to(10);
        assert!(!complete.continues_with(&[span(10, 20), span(30, 40)]));
        complete.add(span(30, 40));
        complete.add(span(50, 60));
        assert_eq!(complete.through(), Position(10));
        complete.add(span(10, 30));
        assert_eq!(complete.through(), Position(40));
        complete.acknowledged(Position(50));
        assert_eq!(complete, up_to(60));
        complete.acknowledged(Position(7));
        assert_eq!(complete.through(), Position(60));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut complete = up_to(0);
        for place in 1..5_000 {
            complete.add(span(place * 10, place * 10 + 5));
        }
        assert_eq!(complete.islands.len(), MAX_ISLANDS);
        complete.acknowledged(Position(30));
        assert_eq!(complete.through(), Position(35));
    }
}
