//! Who talked how long: the union of a side's spans. Two turns of one side that overlap are counted once, and one within another
//! adds nothing. Words a minute are the words of turns with a span over that time.

use unicode_segmentation::UnicodeSegmentation;

use crate::Timed;
use crate::span::covered;

/// How much one side talked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Talk {
    /// How long, in milliseconds.
    pub ms: i64,
    /// How many words, in that time.
    pub words: u64,
}

impl Talk {
    pub(crate) fn of(side: &[Timed<'_>]) -> Self {
        let words = |timed: &Timed<'_>| timed.speech.turn.heard().map_or(0, |text| text.unicode_words().count() as u64);
        Self { ms: covered(side.iter().map(|timed| timed.span)), words: side.iter().map(words).sum() }
    }

    /// Returns the words a minute of speech; `None` without speech.
    pub fn words_per_minute(self) -> Option<f64> {
        (self.ms > 0).then(|| self.words as f64 * 60_000.0 / self.ms as f64)
    }
}
