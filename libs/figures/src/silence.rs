//! When nobody talked: every gap of at least the given length between two spans, whosever they are. Before the first and after
//! the last there is none. Where a turn begins of which nobody knows when it ends, silence ceases until the next span; so it does
//! behind a turn that is followed by one of which nobody knows when it was spoken at all.

use crate::{Figure, Spoken, count};

/// From when on a pause is silence, in milliseconds, unless a setting says otherwise.
pub const SILENCE_MS: i64 = 3_000;

/// When nobody talked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Silence {
    /// All of it, in milliseconds.
    pub total_ms: i64,
    /// The longest, in milliseconds.
    pub longest_ms: i64,
    /// How often.
    pub count: u32,
    /// The turn before the longest, as a place among all turns; of several as long, the last.
    pub longest_after: Option<u32>,
}

/// Counts the pauses. The turns they come from are those before and after each.
pub(crate) fn figure(spoken: &Spoken<'_>, silence_ms: i64) -> Figure<Silence> {
    let mut silence = Silence::default();
    let mut pauses = 0;
    let mut turns = Vec::new();
    // Up to where somebody was heard, and who; and whether nobody knows how much longer.
    let mut heard: Option<(i64, u32)> = None;
    let mut somebody_may_speak = false;
    for speech in &spoken.by_start {
        if let (Some(start), Some((until, before))) = (speech.times.start, heard)
            && !somebody_may_speak
            && start - until >= silence_ms
        {
            silence.total_ms += start - until;
            if start - until >= silence.longest_ms {
                (silence.longest_ms, silence.longest_after) = (start - until, Some(before));
            }
            pauses += 1;
            turns.extend([before, speech.place]);
        }
        match speech.span() {
            Some(span) => {
                heard = heard.max(Some((span.end, speech.place)));
                somebody_may_speak = false;
            }
            None => somebody_may_speak = true,
        }
    }
    silence.count = count(pauses);
    Figure::new(silence, turns, spoken.times_of_both())
}
