//! When the user was kept waiting on purpose.
//!
//! A hold is announced by the agent's side: by a phrase such as "please hold" or "one moment" in what it said last in a turn
//! ([`crate::phrases::announces_hold`]), by a call of a tool with `hold` for a word of its name behind the turn, or by a note of
//! the platform there that says "on hold". It lasts from the end of that turn to the beginning of the next turn of the agent's
//! side, or to where turns reach when there is none; time in which somebody speaks does not count. Less than the length of a
//! silence is no hold: whoever says "one moment" and goes on at once kept nobody waiting.

use colloquy_events::{Role, Turn};

use crate::names::words_of_name;
use crate::phrases::{announces_hold, says_on_hold};
use crate::span::{Span, free, union};
use crate::{Absent, Figure, Side, Speech, Spoken, count};

/// When the user was kept waiting on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Hold {
    /// All of it, in milliseconds.
    pub total_ms: i64,
    /// How often.
    pub count: u32,
}

/// Measures the holds. The turns they come from are those that announce them, and those that end them.
pub(crate) fn figure(turns: &[Turn], spoken: &Spoken<'_>, at_least_ms: i64) -> Figure<Hold> {
    let announcing = announcing(turns);
    let mut spans: Vec<Span> = spoken.agent.iter().chain(&spoken.user).map(|timed| timed.span).collect();
    spans.sort_unstable();
    let talk = union(spans);
    let reach = talk.last().map_or(0, |stretch| stretch.end);
    let is_announced = |speech: &Speech<'_>| speech.side == Side::Agent && announcing.get(speech.place as usize) == Some(&true);

    let mut hold = Hold::default();
    let mut holds = 0;
    let mut evidence = Vec::new();
    let mut unmeasured = false;
    let mut waiting: Option<Wait> = None;
    let mut end = |wait: Wait, at: Option<i64>, by: Option<u32>| {
        let (Some(from), Some(until)) = (wait.from, wait.until.or(at)) else {
            unmeasured = true;
            return;
        };
        let waited = if until > from { free(Span { start: from, end: until }, &talk) } else { 0 };
        if waited >= at_least_ms {
            hold.total_ms += waited;
            holds += 1;
            evidence.extend([wait.announced].into_iter().chain(by));
        }
    };
    for speech in &spoken.by_start {
        match (speech.side, &mut waiting) {
            (Side::Agent, _) => {
                if let Some(wait) = waiting.take() {
                    end(wait, speech.times.start, Some(speech.place));
                }
                waiting = is_announced(speech).then_some(Wait { announced: speech.place, from: speech.times.end, until: None });
            }
            // Nobody knows for how long the user speaks: the wait is known up to here.
            (Side::User, Some(wait)) if speech.span().is_none() && wait.until.is_none() => {
                wait.from = wait.from.filter(|_| speech.times.start.is_some());
                wait.until = speech.times.start;
            }
            (Side::User, _) => {}
        }
    }
    if let Some(wait) = waiting {
        end(wait, Some(reach), None);
    }
    hold.count = count(holds);
    let absent = match spoken.times_of_both() {
        _ if unmeasured && holds == 0 => Some(Absent::NoTimesOfHold),
        // With the times of one side only, that no hold was announced is known still.
        absent => absent.filter(|absent| matches!(absent, Absent::NothingSaid | Absent::NoTimes)),
    };
    Figure::new(hold, evidence, absent)
}

/// A wait that was announced.
struct Wait {
    announced: u32,
    /// `None` when nobody knows.
    from: Option<i64>,
    /// Up to where it is known, when that is before the agent's side speaks again.
    until: Option<i64>,
}

/// Returns of each turn whether it announces a hold.
fn announcing(turns: &[Turn]) -> Vec<bool> {
    let mut announcing = vec![false; turns.len()];
    let mut last_of_agent = None;
    for (place, turn) in turns.iter().enumerate() {
        match turn.role {
            Role::Agent | Role::HumanAgent if turn.is_spoken() => {
                last_of_agent = Some(place);
                announcing[place] = turn.heard().is_some_and(announces_hold);
            }
            Role::Tool | Role::System | Role::Agent if puts_on_hold(turn) => {
                if let Some(last) = last_of_agent {
                    announcing[last] = true;
                }
            }
            _ => {}
        }
    }
    announcing
}

fn puts_on_hold(turn: &Turn) -> bool {
    let called = turn.tool_call.as_ref().and_then(|call| call.name.as_deref());
    called.is_some_and(|name| words_of_name(name).any(|word| word.eq_ignore_ascii_case("hold")))
        || (turn.role == Role::System && turn.text.as_deref().is_some_and(says_on_hold))
}
