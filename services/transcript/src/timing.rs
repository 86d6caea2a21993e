//! When each spoken turn begins and ends, whatever the provider left out.
//!
//! Times that are given are kept, also where a turn begins before the one that precedes it: somebody who goes on speaking is often
//! told after whoever spoke meanwhile. What is missing is filled in from the neighbours. What is shown one after the other ([`in_order`])
//! begins no earlier than what is shown before.

use colloquy_events::Turn;
use colloquy_figures::{LATEST_MS, Times};

use crate::width;

/// An estimated turn lasts at least this long.
const SHORTEST_MS: i64 = 1000;

/// When a turn is spoken, in milliseconds from the start of the conversation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// Where it begins; never negative.
    pub start_ms: i64,
    /// Where it ends; never before its start.
    pub end_ms: i64,
    /// Where the times come from.
    pub source: Source,
}

/// Where times come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// From the first and the last word.
    Word,
    /// The turn has both.
    Turn,
    /// At least one of the two is a guess.
    Estimated,
}

impl Source {
    /// Returns the word for it in a transcript.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Word => "word",
            Self::Turn => "turn",
            Self::Estimated => "estimated",
        }
    }
}

/// Returns the times of each turn, in the same places; none for turns that are not speech.
///
/// A turn without a start begins where the one before ends; several in a row share the time up to the next known start by
/// their lengths. A turn without an end lasts until the next begins, and at least a second; the last one until the end of the
/// conversation, or, if that is not known, for as long as it takes to say.
pub fn of_turns(turns: &[Turn], duration_ms: Option<i64>) -> Vec<Option<Timing>> {
    timed(turns, spoken(turns).collect(), duration_ms)
}

/// Returns the times of each turn as [`of_turns`] does, but none begins before the one that precedes it.
pub fn in_order(turns: &[Turn], duration_ms: Option<i64>) -> Vec<Option<Timing>> {
    let mut spoken: Vec<Known> = spoken(turns).collect();
    order_known_starts(&mut spoken);
    timed(turns, spoken, duration_ms)
}

fn spoken(turns: &[Turn]) -> impl Iterator<Item = Known> {
    turns.iter().filter(|turn| turn.is_spoken()).map(Known::of)
}

fn timed(turns: &[Turn], spoken: Vec<Known>, duration_ms: Option<i64>) -> Vec<Option<Timing>> {
    let duration = duration_ms.filter(|ms| (0..=LATEST_MS).contains(ms));
    let starts = fill_starts(&spoken, duration);
    let mut timings = spoken.iter().enumerate().map(|(i, known)| {
        let start_ms = starts[i];
        let end_ms = known.end.unwrap_or_else(|| match (starts.get(i + 1), duration) {
            (Some(next), _) => (*next).max(start_ms + SHORTEST_MS),
            (None, Some(duration)) if duration > start_ms => duration.max(start_ms + SHORTEST_MS),
            (None, _) => start_ms + known.length,
        });
        Timing { start_ms, end_ms: end_ms.max(start_ms), source: known.source() }
    });
    turns.iter().map(|turn| if turn.is_spoken() { timings.next() } else { None }).collect()
}

/// What a spoken turn says about its own times.
struct Known {
    start: Option<i64>,
    end: Option<i64>,
    from_words: bool,
    /// About how long it takes to say.
    length: i64,
}

impl Known {
    fn of(turn: &Turn) -> Self {
        let length = turn.heard().map_or(0, width::spoken_ms).clamp(SHORTEST_MS, LATEST_MS);
        let Times { start, end, from_words } = Times::of(turn);
        Self { start, end, from_words, length }
    }

    fn source(&self) -> Source {
        match (self.start, self.end) {
            _ if self.from_words => Source::Word,
            (Some(_), Some(_)) => Source::Turn,
            _ => Source::Estimated,
        }
    }
}

fn order_known_starts(spoken: &mut [Known]) {
    let mut latest = 0;
    for start in spoken.iter_mut().filter_map(|known| known.start.as_mut()) {
        latest = latest.max(*start);
        *start = latest;
    }
}

fn fill_starts(spoken: &[Known], duration: Option<i64>) -> Vec<i64> {
    let mut starts: Vec<i64> = Vec::with_capacity(spoken.len());
    while let Some(known) = spoken.get(starts.len()) {
        if let Some(start) = known.start {
            starts.push(start);
            continue;
        }
        let first = starts.len();
        let gap = &spoken[first..];
        let gap = &gap[..gap.iter().position(|known| known.start.is_some()).unwrap_or(gap.len())];
        let next_start = spoken.get(first + gap.len()).and_then(|next| next.start);
        // The turn before takes its share too, unless it is known how much that is.
        let (begin, before) = match first.checked_sub(1) {
            None => (0, 0),
            Some(last) => spoken[last].end.map_or((starts[last], spoken[last].length), |end| (end.max(starts[last]), 0)),
        };
        let begin = next_start.map_or(begin, |next| begin.min(next));
        let wanted = before + gap.iter().map(|known| known.length).sum::<i64>();
        let room = next_start.or(duration.filter(|end| *end > begin)).map_or(wanted, |end| wanted.min(end - begin));
        let mut said = before;
        for known in gap {
            starts.push(begin + scale(said, room, wanted));
            said += known.length;
        }
    }
    starts
}

fn scale(part: i64, room: i64, wanted: i64) -> i64 {
    let scaled = i128::from(part) * i128::from(room) / i128::from(wanted.max(1));
    i64::try_from(scaled).unwrap_or(room)
}

#[cfg(test)]
mod tests {
    use colloquy_events::{Role, Word};
    use colloquy_types::TurnId;

    use super::*;

    fn turn(start_ms: Option<i64>, end_ms: Option<i64>, text: &str) -> Turn {
        Turn { text: Some(text.into()), start_ms, end_ms, ..Turn::new(TurnId::generate(), Role::User) }
    }

    fn with_words(words: &[(i64, i64)]) -> Turn {
        let word = |&(start_ms, end_ms): &(i64, i64)| Word { text: "word".into(), start_ms, end_ms };
        Turn { words: words.iter().map(word).collect(), ..turn(Some(7), Some(8), "word word") }
    }

    fn times(turns: &[Turn], duration_ms: Option<i64>) -> Vec<(i64, i64, &'static str)> {
        let timings = of_turns(turns, duration_ms).into_iter().flatten();
        timings.map(|timing| (timing.start_ms, timing.end_ms, timing.source.as_str())).collect()
    }

    #[test]
    fn words_say_more_than_the_turn_and_the_turn_more_than_nothing() {
        let turns = [with_words(&[(1000, 1400), (1500, 2200)]), turn(Some(3000), Some(4000), "b"), turn(Some(5000), None, "c")];
        assert_eq!(times(&turns, Some(9000)), [(1000, 2200, "word"), (3000, 4000, "turn"), (5000, 9000, "estimated")]);
    }

    #[test]
    fn a_missing_end_is_the_next_start_and_at_least_a_second_later() {
        let turns = [turn(Some(0), None, "a"), turn(Some(4000), None, "b"), turn(Some(4000), None, "c")];
        assert_eq!(times(&turns, Some(4500)), [(0, 4000, "estimated"), (4000, 5000, "estimated"), (4000, 5000, "estimated")]);
    }

    #[test]
    fn the_last_turn_lasts_as_long_as_it_takes_to_say_when_nobody_knows_better() {
        let thirty = "123456789 123456789 123456789 ";
        for duration in [None, Some(500), Some(-1), Some(i64::MAX)] {
            assert_eq!(times(&[turn(Some(1000), None, thirty)], duration), [(1000, 3000, "estimated")], "{duration:?}");
        }
    }

    #[test]
    fn a_missing_start_is_where_the_turn_before_ends() {
        let turns = [turn(Some(1000), Some(2500), "a"), turn(None, None, "b"), turn(Some(6000), Some(7000), "c")];
        assert_eq!(times(&turns, None)[1], (2500, 6000, "estimated"));
        assert_eq!(times(&[turn(None, Some(900), "a")], None), [(0, 900, "estimated")]);
    }

    #[test]
    fn turns_without_any_time_follow_each_other_and_share_what_time_there_is() {
        let text = "fifteen letters";
        let untimed = || turn(None, None, text);
        assert_eq!(times(&[untimed(), untimed()], None), [(0, 1000, "estimated"), (1000, 2000, "estimated")]);
        let squeezed = times(&[turn(Some(1000), None, text), untimed(), untimed(), turn(Some(2500), None, text)], None);
        assert_eq!(squeezed.iter().map(|timing| timing.0).collect::<Vec<_>>(), [1000, 1500, 2000, 2500]);
    }

    #[test]
    fn impossible_times_count_as_missing() {
        let turns = [
            turn(Some(-200), Some(700), "before the call was answered"),
            turn(Some(5000), Some(4000), "ends before it starts"),
            turn(Some(1_750_000_000_000), None, "a date"),
            turn(Some(3000), Some(3500), "goes back"),
            with_words(&[(9000, 8000), (-5, -1), (9000, i64::MAX)]),
        ];
        let times = times(&turns, None);
        assert_eq!(times[0], (0, 700, "turn"));
        assert_eq!((times[1].0, times[1].2), (5000, "estimated"));
        assert_eq!((times[2].0, times[2].2), (3000, "estimated"));
        assert_eq!(times[3], (3000, 3500, "turn"));
        assert_eq!(times[4], (7, 8, "turn"));
        let shown: Vec<i64> = in_order(&turns, None).into_iter().flatten().map(|timing| timing.start_ms).collect();
        assert_eq!(shown, [0, 5000, 5000, 5000, 5000]);
    }

    #[test]
    fn whoever_goes_on_speaking_keeps_the_times_that_were_told_though_told_last() {
        let turns = [turn(Some(5000), Some(6000), "meanwhile"), turn(Some(3000), Some(9000), "a long story")];
        assert_eq!(times(&turns, None), [(5000, 6000, "turn"), (3000, 9000, "turn")]);
    }

    #[test]
    fn only_speech_is_timed() {
        let silent = Turn::new(TurnId::generate(), Role::Tool);
        let timings = of_turns(&[silent, turn(Some(1), Some(2), "a"), turn(Some(3), Some(4), "  ")], None);
        assert_eq!(timings.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false]);
    }
}
