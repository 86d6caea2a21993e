//! One side speaking while the other does.
//!
//! A side speaks *into* the other's turns when a turn of it begins after the other side began to speak and before it ceased.
//! Turns that begin in the same instant speak into nobody's, nor does one that takes no time. Both talk from there to its end, or
//! to where the other side ceases.
//!
//! It is an *interruption* when both talk for at least [`SHORTEST_OVERLAP_MS`], the other side ceases within [`YIELDS_WITHIN_MS`]
//! of being spoken into, and it is more than a backchannel ([`crate::is_backchannel`]); otherwise it is an *overlap*. A turn of
//! the agent's side of which less was heard than was said was interrupted by the user, whatever times show: it makes an
//! interruption of what the user said last into it, or counts as one by itself when nothing was said into it. One of which
//! nothing was heard is no turn.
//!
//! However many turns one speaks into, it is one interruption, or one overlap. Time in which several of them overlap counts once.

use std::collections::BTreeSet;

use crate::span::{Span, covered, union};
use crate::{Absent, Figure, Speech, Spoken, Timed, count, is_backchannel};

/// Shorter than this, in milliseconds, speaking at once is no interruption.
pub const SHORTEST_OVERLAP_MS: i64 = 300;
/// Who is interrupted ceases within this many milliseconds.
pub const YIELDS_WITHIN_MS: i64 = 1_000;

/// One side speaking while the other does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Interruptions {
    /// How often.
    pub count: u32,
    /// How long both talked, in milliseconds.
    pub overlap_ms: i64,
}

/// What each side spoke into the other's turns.
pub(crate) struct Crosstalk {
    pub(crate) by_user: BySide,
    pub(crate) by_agent: BySide,
}

impl Crosstalk {
    pub(crate) fn of(spoken: &Spoken<'_>) -> Self {
        let mut by_user = BySide::of(&spoken.user, &spoken.agent);
        by_user.learn_of_cuts(spoken.by_start.iter().filter(|speech| is_cut(speech)));
        Self { by_user, by_agent: BySide::of(&spoken.agent, &spoken.user) }
    }
}

/// What one side spoke into the other's turns.
pub(crate) struct BySide {
    /// By their beginnings.
    onsets: Vec<Onset>,
    /// Which of them are interruptions.
    interrupting: BTreeSet<usize>,
    /// Turns that were cut, as places, without an onset to show for it.
    cut: Vec<u32>,
}

/// A turn that begins while the other side speaks.
struct Onset {
    /// While both talk.
    both: Span,
    /// The turn, and one that it begins in.
    turns: [u32; 2],
}

impl BySide {
    /// Both sides come by their starts.
    fn of(these: &[Timed<'_>], those: &[Timed<'_>]) -> Self {
        let stretches = union(those.iter().map(|timed| timed.span));
        let mut stretches = stretches.iter().peekable();
        let mut others = those.iter().peekable();
        let mut found = Self { onsets: Vec::new(), interrupting: BTreeSet::new(), cut: Vec::new() };
        let mut speaks_until = i64::MIN;
        // Of the turns that have begun, the one that lasts longest.
        let mut running: Option<(i64, u32)> = None;
        for this in these.iter().filter(|this| !this.span.is_empty()) {
            let start = this.span.start;
            while let Some(stretch) = stretches.next_if(|stretch| stretch.start < start) {
                speaks_until = stretch.end;
            }
            while let Some(other) = others.next_if(|other| other.span.start < start) {
                running = running.max(Some((other.span.end, other.speech.place)));
            }
            let Some((_, other)) = running.filter(|_| speaks_until > start) else { continue };
            let both = Span { start, end: this.span.end.min(speaks_until) };
            let yields = speaks_until - start <= YIELDS_WITHIN_MS;
            if yields && both.ms() >= SHORTEST_OVERLAP_MS && !is_backchannel(this.speech.turn.heard().unwrap_or_default()) {
                found.interrupting.insert(found.onsets.len());
            }
            found.onsets.push(Onset { both, turns: [this.speech.place, other] });
        }
        found
    }

    /// Adds what turns show that were cut, whether or not it is known when they were spoken. They come by their starts, and those
    /// of one instant by their ends: what interrupted one may have interrupted the next as well, so their order matters.
    fn learn_of_cuts<'a>(&mut self, cut: impl Iterator<Item = &'a Speech<'a>>) {
        for speech in cut {
            let within = speech.span().map_or(0..0, |span| {
                let first = self.onsets.partition_point(|onset| onset.both.start <= span.start);
                let end = self.onsets.partition_point(|onset| onset.both.start < span.end);
                first..end.max(first)
            });
            if self.interrupting.range(within.clone()).next().is_some() {
                continue;
            }
            match within.last() {
                Some(last) => _ = self.interrupting.insert(last),
                None => self.cut.push(speech.place),
            }
        }
    }

    /// Returns the interruptions. A turn that was cut is one even where times are not known: then nothing is said against it.
    pub(crate) fn interruptions(&self, absent: Option<Absent>) -> Figure<Interruptions> {
        let onsets = || self.interrupting.iter().filter_map(|index| self.onsets.get(*index));
        let counted = Interruptions {
            count: count(self.interrupting.len() + self.cut.len()),
            overlap_ms: covered(onsets().map(|onset| onset.both)),
        };
        let turns = onsets().flat_map(|onset| onset.turns).chain(self.cut.iter().copied()).collect();
        Figure::new(counted, turns, absent.filter(|_| self.cut.is_empty()))
    }

    /// Returns the overlaps that are no interruptions.
    pub(crate) fn overlaps(&self, absent: Option<Absent>) -> Figure<Interruptions> {
        let others = || self.onsets.iter().enumerate().filter(|(index, _)| !self.interrupting.contains(index));
        let counted =
            Interruptions { count: count(others().count()), overlap_ms: covered(others().map(|(_, onset)| onset.both)) };
        Figure::new(counted, others().flat_map(|(_, onset)| onset.turns).collect(), absent)
    }
}

/// Whether less was heard of a turn of the agent's side than was said.
fn is_cut(speech: &Speech<'_>) -> bool {
    match (speech.side, speech.turn.heard_text.as_deref(), speech.turn.text.as_deref()) {
        (crate::Side::Agent, Some(heard), Some(said)) => heard.trim() != said.trim(),
        _ => false,
    }
}
