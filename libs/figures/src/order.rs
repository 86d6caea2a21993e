//! Turns by their starts, for what is counted of them.
//!
//! Who tells a transcript tells a turn when it is over, so somebody who goes on speaking stands behind whoever spoke meanwhile. What
//! is counted of turns follows when they began. Turns that begin in the same instant stay as they came, for many a provider knows
//! whole seconds only; one without a start stays behind the turn it followed. Where no turn has a start, the time of day stands
//! for it where it is known; the two are never mixed, since their clocks may differ.

use colloquy_events::{Turn, turn_set};

use crate::Times;

/// Returns the number of maximal same-speaker runs among the spoken turns, by their starts.
///
/// Whoever shows this number takes it from here, of turns in the order of the transcript, with or without what was said, but with
/// the times of their words where they have them ([`Times`]): so it is the same everywhere.
pub fn turn_count(turns: &[Turn]) -> u32 {
    turn_set::count_runs(spoken_by_start(turns))
}

/// Returns when each turn begins, by its place; a turn without a start begins with the one it followed. `None` for what is not
/// speech, and for turns before the first start that is known. They are milliseconds on one clock, for comparing them with one
/// another: from the start of the conversation, or times of day where no turn says more.
pub fn starts(turns: &[Turn]) -> Vec<Option<i64>> {
    let told = |start: &dyn Fn(&Turn) -> Option<i64>| -> Vec<Option<i64>> {
        turns.iter().map(|turn| if turn.is_spoken() { start(turn) } else { None }).collect()
    };
    let mut starts = told(&|turn| Times::of(turn).start);
    if starts.iter().all(Option::is_none) {
        starts = told(&|turn| turn.at.map(|at| at.as_millis()));
    }
    let mut behind = None;
    for (start, _) in starts.iter_mut().zip(turns).filter(|(_, turn)| turn.is_spoken()) {
        behind = start.or(behind);
        *start = behind;
    }
    starts
}

/// Returns the turns that are speech, by their starts.
pub(crate) fn spoken_by_start(turns: &[Turn]) -> Vec<&Turn> {
    let starts = starts(turns).into_iter().zip(turns);
    let mut spoken: Vec<(Option<i64>, &Turn)> = starts.filter(|(_, turn)| turn.is_spoken()).collect();
    spoken.sort_by_key(|(start, _)| *start);
    spoken.into_iter().map(|(_, turn)| turn).collect()
}
