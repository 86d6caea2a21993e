//! What was said, as the analysers of text read it: bounded, and free of what no person says.

use colloquy_events::Role;

use crate::input::Input;

/// Of one turn, no more than this many characters are read.
const MOST_OF_A_TURN: usize = 2_000;
/// Of all turns together, no more than this many bytes are read: about a hundred hours of talking.
const MOST_OF_ALL: usize = 6_000_000;

/// Who said something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    /// The person.
    User,
    /// The agent, or a human who helps it.
    Agent,
}

/// A turn in which something was said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said<'a> {
    /// Its place among all turns.
    pub(super) turn: u32,
    /// Who said it.
    pub(super) side: Side,
    /// Whether a human on the agent's side said it.
    pub(super) by_human_agent: bool,
    /// The beginning of what was heard.
    pub(super) text: &'a str,
}

/// Returns the turns in which something was said, in order.
pub(super) fn all(input: &Input) -> Vec<Said<'_>> {
    let mut read = 0;
    let spoken = input.turns.iter().enumerate().filter(|(_, turn)| turn.is_spoken());
    let said = spoken.map_while(|(place, turn)| {
        let text = beginning(turn.heard()?, MOST_OF_A_TURN);
        read += text.len();
        let side = if turn.role == Role::User { Side::User } else { Side::Agent };
        let by_human_agent = turn.role == Role::HumanAgent;
        (read <= MOST_OF_ALL).then_some(Said { turn: u32::try_from(place).ok()?, side, by_human_agent, text })
    });
    said.collect()
}

/// Returns the first `most` characters of a text.
pub(super) fn beginning(text: &str, most: usize) -> &str {
    // As many bytes cannot be more characters, and so most texts need no counting.
    if text.len() <= most {
        return text;
    }
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}
