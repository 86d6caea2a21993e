//! Captions: the transcript cut into cues that a player shows over the recording.
//!
//! Every cue lasts one to seven seconds, has at most two lines of 42 columns (the speaker's name apart), and begins only when
//! the one before it has ended. To get there:
//!
//! 1. `pace` says when each piece of a turn's text is spoken: from its words where it has them, else in proportion.
//! 2. `split` cuts the turn where it reads best: after a sentence, a clause, a pause, at worst inside a word.
//! 3. `schedule` puts the cues of all turns in the order of their times, joins or lengthens those that are too short, and
//!    moves those that collide (people interrupt each other, and some providers know whole seconds only).
//! 4. `lines` breaks each cue into lines.

mod lines;
mod pace;
mod pieces;
mod schedule;
mod split;
mod srt;
#[cfg(test)]
mod tests;
mod vtt;

use std::collections::BTreeMap;

use colloquy_events::Turn;

use crate::speaker::Names;
use crate::timing::{self, Source};
use crate::wording::Wording;

use schedule::Draft;

pub use srt::srt;
pub use vtt::vtt;

/// The most columns a line takes.
const COLUMNS: usize = 42;
/// The shortest time a cue is shown.
const SHORTEST_MS: i64 = 1000;
/// The longest time a cue is shown.
const LONGEST_MS: i64 = 7000;

/// How captions are made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// How long the conversation lasted, if that is known.
    pub duration_ms: Option<i64>,
    /// Which text is shown.
    pub wording: Wording,
    /// What the speakers are called.
    pub names: Names,
}

/// A piece of text and when it is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cue {
    /// When it appears, in milliseconds from the start of the conversation.
    pub start_ms: i64,
    /// When it disappears; one to seven seconds later.
    pub end_ms: i64,
    /// Who says it.
    pub speaker: String,
    /// What is said, in one or two lines of plain text.
    pub lines: Vec<String>,
}

/// Returns the cues of a conversation, in the order they are shown.
pub fn cues(turns: &[Turn], options: &Options) -> Vec<Cue> {
    let timings = timing::in_order(turns, options.duration_ms);
    let mut drafts = Vec::new();
    let mut turns_of_speaker: BTreeMap<String, i64> = BTreeMap::new();
    for (index, (turn, timing)) in turns.iter().zip(timings).enumerate() {
        let (Some(timing), Some(text)) = (timing, options.wording.of(turn)) else { continue };
        let words = if options.wording.translates(turn) { &[] } else { turn.words.as_slice() };
        let pace = pace::Pace::new(&text, words, timing);
        let speaker = options.names.of(turn);
        let order_ms = turns_of_speaker.entry(speaker.clone()).or_default();
        for part in split::split(&text, &pace) {
            // Turns are in order even where the times of their words are not.
            let (start_ms, end_ms) = (part.start_ms.max(timing.start_ms), part.end_ms.max(timing.start_ms));
            // Somebody else may be shown in the middle of a turn, but not on the strength of a guess.
            let known = timing.source != Source::Estimated;
            *order_ms = (*order_ms).max(if known { start_ms } else { timing.start_ms });
            let (speaker, text) = (speaker.clone(), part.text.to_owned());
            drafts.push(Draft { turn: index, role: turn.role, speaker, order_ms: *order_ms, start_ms, end_ms, text });
        }
    }
    schedule::schedule(drafts)
}

/// Returns a time as `HH:MM:SS` and milliseconds behind a separator.
fn timestamp(ms: i64, separator: char) -> String {
    let (seconds, ms) = (ms / 1000, ms % 1000);
    format!("{:02}:{:02}:{:02}{separator}{ms:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
