//! What can be counted of the turns of a conversation: who talked how long, when nobody did, who spoke into whose turn, and how
//! long answers took. Pure functions of the turns; each figure knows which turns it came from.
//!
//! The AI agent and a person on the agent's side are one side, the user is the other; tools and the platform do not speak. What
//! counts of a turn is what was heard of it. Times are milliseconds from the start of the conversation.
//!
//! A turn has a *span* when it is known when it begins and when it ends: from its words, else from its own two times ([`Times`]).
//! Captions need a time for every turn and estimate it; figures are facts, so a turn without a span counts for
//! [`Figures::turn_count`] and [`Figures::exchanges`], and for nothing that is measured. Where a side spoke and no turn of it has a span, what is measured is [`Figure::absent`], with the reason.
//!
//! Everything follows the times: what is measured is the same of turns that come in another order. Only where turns begin in the
//! same instant does what is counted ([`turn_count`]) take them as they came. A turn whose start is not known keeps its place behind
//! the turn before it.

mod crosstalk;
mod distribution;
mod hold;
mod latency;
mod names;
mod order;
mod phrases;
mod silence;
mod span;
mod talk;
mod times;

use colloquy_events::{Role, Turn};

pub use crosstalk::{Interruptions, SHORTEST_OVERLAP_MS, YIELDS_WITHIN_MS};
pub use distribution::Distribution;
pub use hold::Hold;
pub use names::words_of_name;
pub use order::{starts, turn_count};
pub use phrases::is_backchannel;
pub use silence::{SILENCE_MS, Silence};
pub use talk::Talk;
pub use times::{LATEST_MS, Times, word_span};

use crate::span::Span;

/// The versions of the formulas: what a figure says it was made by.
pub mod formula {
    /// [`super::Figures::turn_count`].
    pub const TURN_COUNT: &str = "turn_count/2";
    /// [`super::Figures::exchanges`].
    pub const EXCHANGES: &str = "exchanges/2";
    /// [`super::Figures::length_ms`].
    pub const DURATION: &str = "duration/1";
    /// [`super::Figures::talk`].
    pub const TALK: &str = "talk/1";
    /// [`super::Figures::silence`].
    pub const SILENCE: &str = "silence/1";
    /// [`super::Figures::hold`].
    pub const HOLD: &str = "hold/1";
    /// [`super::Figures::interruptions_by_user`] and [`super::Figures::interruptions_by_agent`].
    pub const INTERRUPTIONS: &str = "interruptions/2";
    /// [`super::Figures::overlaps_by_user`] and [`super::Figures::overlaps_by_agent`].
    pub const OVERLAPS: &str = "overlaps/2";
    /// [`super::Figures::response_latency`].
    pub const RESPONSE_LATENCY: &str = "response_latency/1";
}

/// A figure: what the turns show, which of them, and why that is not the whole truth if it is not.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Figure<T> {
    /// What was counted of the turns that have times. With [`Self::absent`] it is not what happened.
    pub counted: T,
    /// Which turns it came from, as places among the turns that were given, ascending.
    pub turns: Vec<u32>,
    /// Why it could not be established; `None` when it was.
    pub absent: Option<Absent>,
}

impl<T> Figure<T> {
    fn new(counted: T, mut turns: Vec<u32>, absent: Option<Absent>) -> Self {
        turns.sort_unstable();
        turns.dedup();
        Self { counted, turns, absent }
    }

    /// Returns the value, if it could be established.
    pub const fn value(&self) -> Option<&T> {
        if self.absent.is_none() { Some(&self.counted) } else { None }
    }
}

/// Why a figure could not be established.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Absent {
    /// There is no turn with words in it.
    NothingSaid,
    /// Nobody knows when any turn was spoken.
    NoTimes,
    /// Nobody knows when the agent's side spoke, though it did.
    NoTimesOfAgent,
    /// Nobody knows when the user spoke, though they did.
    NoTimesOfUser,
    /// Nobody knows when the last turn ended.
    NoEnd,
    /// Nobody knows how long the wait lasted that was announced.
    NoTimesOfHold,
    /// The agent's side answered nothing, as far as times are known.
    NoAnswer,
}

impl Absent {
    /// Returns the reason, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NothingSaid => "nothing was said",
            Self::NoTimes => "it is not known when the turns were spoken",
            Self::NoTimesOfAgent => "it is not known when the agent spoke",
            Self::NoTimesOfUser => "it is not known when the person spoke",
            Self::NoEnd => "it is not known when the last turn ended",
            Self::NoTimesOfHold => "it is not known how long the person was kept waiting",
            Self::NoAnswer => "the agent answered no turn of the person whose end is known",
        }
    }
}

impl std::fmt::Display for Absent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What can be chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// From when on a pause is silence, in milliseconds; at least one.
    pub silence_ms: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { silence_ms: SILENCE_MS }
    }
}

/// What can be counted of a conversation.
#[derive(Clone, PartialEq, Debug)]
pub struct Figures {
    /// Maximal same-speaker runs among spoken turns, by their starts.
    pub turn_count: Figure<u32>,
    /// Turns of the user that the agent's side answered: how often it follows the user, by the starts of turns.
    pub exchanges: Figure<u32>,
    /// Up to where turns reach, in milliseconds from the start of the conversation; `None` while no turn has a time.
    pub reach_ms: Option<i64>,
    /// From the first start to the last end.
    pub length_ms: Figure<i64>,
    /// Who talked how long.
    pub talk: Figure<BySide>,
    /// When nobody talked.
    pub silence: Figure<Silence>,
    /// When the user was kept waiting on purpose.
    pub hold: Figure<Hold>,
    /// When the user cut the agent's side off.
    pub interruptions_by_user: Figure<Interruptions>,
    /// When the agent's side cut the user off.
    pub interruptions_by_agent: Figure<Interruptions>,
    /// When the user spoke into the agent's turns without cutting them off.
    pub overlaps_by_user: Figure<Interruptions>,
    /// When the agent's side spoke into the user's turns without cutting them off.
    pub overlaps_by_agent: Figure<Interruptions>,
    /// From the end of the user's turn to the beginning of the answer, in milliseconds; `None` without answers.
    pub response_latency: Figure<Option<Distribution>>,
}

/// How much each side talked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BySide {
    /// The agent's side.
    pub agent: Talk,
    /// The user.
    pub user: Talk,
}

impl BySide {
    /// Returns the agent's part of what was talked, from 0 to 1; `None` when nobody did.
    pub fn agent_ratio(&self) -> Option<f64> {
        let talked = self.agent.ms + self.user.ms;
        (talked > 0).then(|| self.agent.ms as f64 / talked as f64)
    }
}

impl Figures {
    /// Counts what `turns`, in the order of the transcript, show.
    pub fn of(turns: &[Turn], settings: Settings) -> Self {
        let silence_ms = settings.silence_ms.max(1);
        let spoken = Spoken::of(turns);
        let all: Vec<u32> = spoken.in_transcript.iter().map(|speech| speech.place).collect();
        let nothing = spoken.in_transcript.is_empty().then_some(Absent::NothingSaid);
        let crosstalk::Crosstalk { by_user, by_agent } = crosstalk::Crosstalk::of(&spoken);
        let both = spoken.times_of_both();
        Self {
            turn_count: Figure::new(turn_count(turns), all.clone(), None),
            exchanges: Figure::new(exchanges(turns), all, nothing),
            reach_ms: spoken.in_transcript.iter().flat_map(|speech| [speech.times.start, speech.times.end]).flatten().max(),
            length_ms: length(&spoken),
            talk: Figure::new(spoken.talk(), spoken.places_with_spans(), both),
            silence: silence::figure(&spoken, silence_ms),
            hold: hold::figure(turns, &spoken, silence_ms),
            interruptions_by_user: by_user.interruptions(both),
            interruptions_by_agent: by_agent.interruptions(both),
            overlaps_by_user: by_user.overlaps(both),
            overlaps_by_agent: by_agent.overlaps(both),
            response_latency: latency::figure(&spoken),
        }
    }
}

/// Who speaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Side {
    User,
    Agent,
}

impl Side {
    /// Returns whose a spoken turn is.
    fn of(turn: &Turn) -> Self {
        if turn.role == Role::User { Self::User } else { Self::Agent }
    }
}

/// A turn that is speech.
#[derive(Clone, Copy, Debug)]
struct Speech<'a> {
    turn: &'a Turn,
    /// Its place among the turns that were given.
    place: u32,
    side: Side,
    times: Times,
}

impl Speech<'_> {
    fn span(&self) -> Option<Span> {
        self.times.start.zip(self.times.end).map(|(start, end)| Span { start, end })
    }
}

/// A turn that is speech, and when it is spoken.
#[derive(Clone, Copy, Debug)]
struct Timed<'a> {
    speech: Speech<'a>,
    span: Span,
}

/// The turns that are speech.
struct Spoken<'a> {
    in_transcript: Vec<Speech<'a>>,
    /// By their starts; a turn without one follows the turn before it.
    by_start: Vec<Speech<'a>>,
    /// Those of the agent's side that have a span, by their starts.
    agent: Vec<Timed<'a>>,
    /// Those of the user that have a span, by their starts.
    user: Vec<Timed<'a>>,
}

impl<'a> Spoken<'a> {
    fn of(turns: &'a [Turn]) -> Self {
        let spoken = turns.iter().enumerate().filter(|(_, turn)| turn.is_spoken());
        let in_transcript: Vec<Speech<'a>> = spoken
            .map(|(place, turn)| Speech {
                turn,
                place: u32::try_from(place).unwrap_or(u32::MAX),
                side: Side::of(turn),
                times: Times::of(turn),
            })
            .collect();
        let by_start = by_start(&in_transcript);
        let timed = |side| {
            let ours = by_start.iter().filter(move |speech: &&Speech<'a>| speech.side == side);
            ours.filter_map(|speech| speech.span().map(|span| Timed { speech: *speech, span })).collect()
        };
        let (agent, user) = (timed(Side::Agent), timed(Side::User));
        Self { in_transcript, by_start, agent, user }
    }

    fn talk(&self) -> BySide {
        BySide { agent: Talk::of(&self.agent), user: Talk::of(&self.user) }
    }

    fn places_with_spans(&self) -> Vec<u32> {
        self.agent.iter().chain(&self.user).map(|timed| timed.speech.place).collect()
    }

    fn spoke(&self, side: Side) -> bool {
        self.in_transcript.iter().any(|speech| speech.side == side)
    }

    /// Returns why nothing can be said of both sides together, if that is so.
    fn times_of_both(&self) -> Option<Absent> {
        if self.in_transcript.is_empty() {
            return Some(Absent::NothingSaid);
        }
        match (self.agent.is_empty() && self.spoke(Side::Agent), self.user.is_empty() && self.spoke(Side::User)) {
            (false, false) => None,
            _ if self.agent.is_empty() && self.user.is_empty() => Some(Absent::NoTimes),
            (true, _) => Some(Absent::NoTimesOfAgent),
            (_, true) => Some(Absent::NoTimesOfUser),
        }
    }
}

/// Puts turns in the order of their starts. Those of one instant are ordered by what they are, not by how they came; one without
/// a start stays behind the turn it followed, and an end of it that is before where that one starts cannot be true.
fn by_start<'a>(in_transcript: &[Speech<'a>]) -> Vec<Speech<'a>> {
    let mut behind = (i64::MIN, i64::MIN, Side::User, Role::Agent, None);
    let mut keyed: Vec<_> = in_transcript
        .iter()
        .map(|speech| {
            let mut speech = *speech;
            match speech.times.start {
                Some(start) => {
                    let turn = speech.turn;
                    behind = (start, speech.times.end.unwrap_or(i64::MAX), speech.side, turn.role, turn.heard());
                }
                None => speech.times.end = speech.times.end.filter(|end| *end >= behind.0),
            }
            (behind, speech)
        })
        .collect();
    keyed.sort_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, speech)| speech).collect()
}

fn exchanges(turns: &[Turn]) -> u32 {
    let sides: Vec<Side> = order::spoken_by_start(turns).into_iter().map(Side::of).collect();
    count(sides.windows(2).filter(|pair| **pair == [Side::User, Side::Agent]).count())
}

fn length(spoken: &Spoken<'_>) -> Figure<i64> {
    let times = || spoken.in_transcript.iter().map(|speech| (speech.place, speech.times));
    let first = times().filter_map(|(place, times)| Some((times.start?, place))).min();
    let last_start = times().filter_map(|(place, times)| Some((times.start?, place))).max();
    let last_end = times().filter_map(|(place, times)| Some((times.end?, place))).max();
    let Some((first_start, first)) = first else {
        let reason = if spoken.in_transcript.is_empty() { Absent::NothingSaid } else { Absent::NoTimes };
        return Figure::new(0, Vec::new(), Some(reason));
    };
    let (reach, last) = last_end.max(last_start).unwrap_or((first_start, first));
    let ended = last_end.is_some_and(|(end, _)| end >= reach);
    Figure::new(reach - first_start, vec![first, last], (!ended).then_some(Absent::NoEnd))
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
