//! One side speaking while the other does.
//!
//! A side speaks *into* the other's turns when a turn of it begins after the other side began to speak and before it ceased.
//! Turns that begin in the same instant speak into nobody's, nor does one that takes no time. Both talk from there to its end, or
//! to where the other side ceases.
//!
//! It is an *interruption* when both talk for at least [`SHORTEST_OVERLAP_MS`], the other side ceases within [`YIELDS_WITHIN_MS`]
//! of being spoken into, and it is more than a backchannel ([`crate::is_backchannel`]); otherwise it is an *overlap*.
//!
//! A turn of the agent's side of which less was heard than was said was *cut*. Providers let it end where the user begins, so that
//! times alone show no overlap. Who cut it is the user's turn that begins nearest to that end, no more than [`YIELDS_WITHIN_MS`]
//! from it, and is more than a backchannel: it is an interruption, however shortly both talk. Where no turn of the user begins
//! there, the user did not cut it (they hung up, or the platform stopped the agent) and it counts for nothing: an interruption
//! begins with somebody who speaks. Where it is not known when it ended, or when the user spoke, times say nothing against what
//! the provider says, and the cut counts as an interruption by itself. A turn of which nothing was heard is no turn.
//!
//! However many turns one speaks into, it is one interruption, or one overlap. Time in which several of them overlap counts once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::span::{Span, covered, union};
use crate::{Absent, Figure, Side, Speech, Spoken, Timed, count, is_backchannel};

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
        by_user.learn_of_cuts(spoken);
        Self { by_user, by_agent: BySide::of(&spoken.agent, &spoken.user) }
    }
}

/// What one side spoke into the other's turns.
pub(crate) struct BySide {
    /// By their beginnings.
    onsets: Vec<Onset>,
    /// Which of them are interruptions.
    interrupting: BTreeSet<usize>,
    /// Turns that were cut without an onset to show for it, by who cut them, or by themselves where that is not known; as places.
    cut: BTreeMap<u32, Vec<u32>>,
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
        let mut found = Self { onsets: Vec::new(), interrupting: BTreeSet::new(), cut: BTreeMap::new() };
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
            if yields && both.ms() >= SHORTEST_OVERLAP_MS && takes_the_floor(&this.speech) {
                found.interrupting.insert(found.onsets.len());
            }
            found.onsets.push(Onset { both, turns: [this.speech.place, other] });
        }
        found
    }

    /// Adds what turns of the agent's side show that were cut, where these are onsets of the user. They come by their starts, and
    /// those of one instant by their ends: what interrupted one may have interrupted the next as well, so their order matters.
    fn learn_of_cuts(&mut self, spoken: &Spoken<'_>) {
        let floor = Floor::of(spoken);
        let by_place: HashMap<u32, usize> = (0..).zip(&self.onsets).map(|(index, onset)| (onset.turns[0], index)).collect();
        for speech in spoken.by_start.iter().filter(|speech| is_cut(speech)) {
            let (Some(span), Some(floor)) = (speech.span(), &floor) else {
                self.cut.insert(speech.place, Vec::new());
                continue;
            };
            let near = span.start.max(span.end - YIELDS_WITHIN_MS - 1);
            let first = self.onsets.partition_point(|onset| onset.both.start <= near);
            let end = self.onsets.partition_point(|onset| onset.both.start < span.end).max(first);
            if self.interrupting.range(first..end).next().is_some() {
                continue;
            }
            let Some(by) = floor.taken_at_end_of(span) else { continue };
            match by_place.get(&by) {
                Some(onset) => _ = self.interrupting.insert(*onset),
                None => self.cut.entry(by).or_default().push(speech.place),
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
        let cut = self.cut.iter().flat_map(|(by, turns)| turns.iter().chain([by])).copied();
        let turns = onsets().flat_map(|onset| onset.turns).chain(cut).collect();
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

/// When the user began to say more than a backchannel, and in which turn, as a place; in order.
struct Floor(Vec<(i64, u32)>);

impl Floor {
    /// Returns `None` where that is not known of every turn of the user.
    fn of(spoken: &Spoken<'_>) -> Option<Self> {
        let mut of_user = spoken.by_start.iter().filter(|speech| speech.side == Side::User);
        if of_user.clone().any(|speech| speech.times.start.is_none()) {
            return None;
        }
        let taken = of_user.by_ref().filter(|speech| takes_the_floor(speech));
        Some(Self(taken.filter_map(|speech| Some((speech.times.start?, speech.place))).collect()))
    }

    /// Returns the turn that begins nearest to where a turn ends, among those that begin after it and not far from that end.
    fn taken_at_end_of(&self, turn: Span) -> Option<u32> {
        let (before, behind) = self.0.split_at(self.0.partition_point(|(start, _)| *start < turn.end));
        let far = |start: i64| (start - turn.end).abs();
        let near = [before.last(), behind.first()].into_iter().flatten();
        let near = near.filter(|(start, _)| *start > turn.start && far(*start) <= YIELDS_WITHIN_MS);
        near.min_by_key(|(start, _)| far(*start)).map(|(_, place)| *place)
    }
}

fn takes_the_floor(speech: &Speech<'_>) -> bool {
    !is_backchannel(speech.turn.heard().unwrap_or_default())
}

/// Whether less was heard of a turn of the agent's side than was said.
fn is_cut(speech: &Speech<'_>) -> bool {
    match (speech.side, speech.turn.heard_text.as_deref(), speech.turn.text.as_deref()) {
        (Side::Agent, Some(heard), Some(said)) => heard.trim() != said.trim(),
        _ => false,
    }
}
