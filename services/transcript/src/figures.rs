//! What can be counted of a transcript: who spoke how long, when nobody did, and who spoke into whose turn.
//!
//! The AI agent and a person on the agent's side are one side, the user is the other; tools and the platform do not speak. What
//! counts of a turn is what was heard of it.
//!
//! A turn has a *span* when it is known when it begins and when it ends: from its words, else from its own two times. Captions
//! need a time for every turn and estimate it; figures are facts, so a turn without a span counts for [`Figures::turn_count`],
//! as far as it reaches for [`Figures::duration_ms`], and for nothing else here.
//!
//! - A side's *talk* is the length of the union of its spans: two turns of one side that overlap are counted once, and one
//!   within another adds nothing. *Words a minute* are the words of turns with a span over that time. The agent's *share* is
//!   `agent / (agent + user)`.
//! - *Silence* is every gap of at least [`SILENCE_MS`] between two spans, whosever they are. Before the first and after the last
//!   there is none, and where a turn begins of which nobody knows when it ends, silence ceases until the next span.
//! - The user *interrupts* when their turn begins while a turn of the agent's side runs: after its start, before its end. It
//!   is one interruption however many turns it cuts into, and its overlap lasts from its start to its end, or to where the last
//!   of the turns that ran ends. Turns that begin in the same instant interrupt nobody, nor does one that takes no time. An
//!   agent's turn of which less was heard than was said was interrupted too, even when no times show it, unless the turn that
//!   did it is counted already; one of which nothing was heard is no turn. The agent interrupts the user likewise, by times
//!   alone. The overlaps of one side are a union as well: moments in which both spoke.

use colloquy_events::{Role, Turn, turn_set};
use unicode_segmentation::UnicodeSegmentation;

use crate::timing;

/// From when on a pause is silence, in milliseconds.
pub const SILENCE_MS: i64 = 2_000;

/// What can be counted of a transcript.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Figures {
    /// Maximal same-speaker runs among spoken turns.
    pub turn_count: u32,
    /// Up to where turns reach, in milliseconds from the start; `None` while no turn has a time.
    pub duration_ms: Option<i64>,
    /// How the agent's side spoke.
    pub agent: Talk,
    /// How the user spoke.
    pub user: Talk,
    /// When nobody spoke.
    pub silence: Silence,
    /// When the user spoke into the agent's turns.
    pub by_user: Interruptions,
    /// When the agent's side spoke into the user's turns.
    pub by_agent: Interruptions,
}

/// How much one side spoke.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Talk {
    /// How long, in milliseconds.
    pub ms: i64,
    /// How many words, in that time.
    pub words: u64,
}

impl Talk {
    /// Returns the words a minute of speech; `None` without speech.
    pub fn words_per_minute(self) -> Option<f64> {
        (self.ms > 0).then(|| self.words as f64 * 60_000.0 / self.ms as f64)
    }
}

/// When nobody spoke.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Silence {
    /// All of it, in milliseconds.
    pub total_ms: i64,
    /// The longest, in milliseconds.
    pub longest_ms: i64,
    /// How often.
    pub count: u32,
}

/// One side speaking into the other's turns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Interruptions {
    /// How often.
    pub count: u32,
    /// How long both spoke, in milliseconds.
    pub overlap_ms: i64,
}

impl Figures {
    /// Counts what `turns`, in order, show.
    pub fn of(turns: &[Turn]) -> Self {
        let mut agent = Side::default();
        let mut user = Side::default();
        let mut duration_ms = None;
        let mut beginnings = Vec::new();
        for turn in turns.iter().filter(|turn| turn.is_spoken()) {
            let (start, end) = timing::known(turn);
            duration_ms = duration_ms.max(start).max(end);
            let side = if turn.role == Role::User { &mut user } else { &mut agent };
            match (start, end) {
                (Some(start), Some(end)) => side.speak(turn, Span { start, end }),
                (Some(start), None) => beginnings.push(start),
                _ => {}
            }
            if turn.role != Role::User && is_cut(turn) {
                side.cut.push(start.zip(end).map(|(start, end)| Span { start, end }));
            }
        }
        agent.spans.sort_unstable();
        user.spans.sort_unstable();
        let by_user = interruptions(&user.spans, &agent.spans);
        let by_agent = interruptions(&agent.spans, &user.spans);
        Self {
            turn_count: turn_set::count_runs(turns),
            duration_ms,
            silence: silence(&agent.spans, &user.spans, &beginnings),
            by_user: Interruptions { count: count(by_user.len() + unseen(&agent.cut, &by_user)), overlap_ms: covered(&by_user) },
            by_agent: Interruptions { count: count(by_agent.len()), overlap_ms: covered(&by_agent) },
            agent: agent.talk(),
            user: user.talk(),
        }
    }

    /// Returns the agent's share of what was spoken, from 0 to 1; `None` when nothing was.
    pub fn agent_share(&self) -> Option<f64> {
        let spoken = self.agent.ms + self.user.ms;
        (spoken > 0).then(|| self.agent.ms as f64 / spoken as f64)
    }
}

/// Whether less was heard of a turn than was said.
fn is_cut(turn: &Turn) -> bool {
    match (turn.heard_text.as_deref(), turn.text.as_deref()) {
        (Some(heard), Some(said)) => heard.trim() != said.trim(),
        _ => false,
    }
}

/// From when until when, in milliseconds; the end is not before the start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Span {
    start: i64,
    end: i64,
}

impl Span {
    const fn is_empty(self) -> bool {
        self.start >= self.end
    }
}

/// What one side said.
#[derive(Default)]
struct Side {
    spans: Vec<Span>,
    words: u64,
    /// Turns that were cut, with their spans where they have one.
    cut: Vec<Option<Span>>,
}

impl Side {
    fn speak(&mut self, turn: &Turn, span: Span) {
        self.spans.push(span);
        self.words += turn.heard().map_or(0, |text| text.unicode_words().count() as u64);
    }

    fn talk(&self) -> Talk {
        Talk { ms: covered(&self.spans), words: self.words }
    }
}

/// Returns how much time `spans`, in order of their starts, cover together.
fn covered(spans: &[Span]) -> i64 {
    let mut reached = i64::MIN;
    let mut total = 0;
    for span in spans {
        total += (span.end - span.start.max(reached)).max(0);
        reached = reached.max(span.end);
    }
    total
}

/// Returns how long both sides spoke for each span of `these` that begins while one of `those` runs; both are in order.
fn interruptions(these: &[Span], those: &[Span]) -> Vec<Span> {
    let mut overlaps = Vec::new();
    let mut begun = those.iter().peekable();
    let mut runs_until = i64::MIN;
    for span in these.iter().filter(|span| !span.is_empty()) {
        while let Some(other) = begun.next_if(|other| other.start < span.start) {
            runs_until = runs_until.max(other.end);
        }
        if runs_until > span.start {
            overlaps.push(Span { start: span.start, end: span.end.min(runs_until) });
        }
    }
    overlaps
}

/// Returns how many of the turns that were cut have no interruption begin within them.
fn unseen(cut: &[Option<Span>], interruptions: &[Span]) -> usize {
    let is_seen = |turn: &Span| {
        let after_start = interruptions.partition_point(|interruption| interruption.start <= turn.start);
        interruptions.get(after_start).is_some_and(|interruption| interruption.start < turn.end)
    };
    cut.iter().filter(|turn| !turn.as_ref().is_some_and(is_seen)).count()
}

/// Returns the pauses between the spans of both sides. From one of `beginnings` on, nobody knows how long somebody spoke.
fn silence(agent: &[Span], user: &[Span], beginnings: &[i64]) -> Silence {
    /// What is heard from a moment on.
    enum Heard {
        Until(i64),
        UntilNobodyKnows,
    }
    let spans = agent.iter().chain(user).map(|span| (span.start, Heard::Until(span.end)));
    let mut sounds: Vec<_> = spans.chain(beginnings.iter().map(|start| (*start, Heard::UntilNobodyKnows))).collect();
    sounds.sort_by_key(|(start, heard)| (*start, matches!(heard, Heard::UntilNobodyKnows)));
    let mut silence = Silence::default();
    let mut quiet_since = None;
    let mut reached = i64::MIN;
    for (start, heard) in sounds {
        let pause = quiet_since.map_or(0, |since: i64| start - since);
        if pause >= SILENCE_MS {
            silence.total_ms += pause;
            silence.longest_ms = silence.longest_ms.max(pause);
            silence.count += 1;
        }
        quiet_since = match heard {
            Heard::Until(end) => {
                reached = reached.max(end);
                Some(reached)
            }
            // It began while somebody else spoke, or after; either way it may be heard still.
            Heard::UntilNobodyKnows => None,
        };
    }
    silence
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
