//! The transcript as plain text.

use colloquy_events::Turn;

use crate::speaker::by_role;
use crate::wording::Wording;

/// Returns one line a spoken turn, `User: what was said` or `Agent: what was said`, each with its line break. Who it is matters more
/// here than what they are called.
pub fn text(turns: &[Turn], wording: Wording) -> String {
    let mut out = String::new();
    for turn in turns {
        if let Some(line) = wording.of(turn) {
            out.push_str(by_role(turn.role));
            out.push_str(": ");
            out.push_str(&line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use colloquy_events::Role;
    use colloquy_types::TurnId;

    use super::*;

    fn turn(role: Role, text: &str) -> Turn {
        Turn { text: Some(text.into()), ..Turn::new(TurnId::generate(), role) }
    }

    #[test]
    fn a_line_per_spoken_turn_says_who_and_what_was_heard() {
        let turns = [
            turn(Role::System, "call connected"),
            turn(Role::Agent, "Hello!\nHow can I help?"),
            Turn { heard_text: Some("I will now read".into()), ..turn(Role::Agent, "I will now read the terms.") },
            turn(Role::User, "  Stop.\r\n"),
            turn(Role::Tool, "{}"),
            turn(Role::User, " \n "),
            turn(Role::HumanAgent, "This is a person."),
            Turn { speaker: Some("Ms\nLee".into()), ..turn(Role::HumanAgent, "And me.") },
            Turn { speaker: Some("agent_2601kjq4x8n3".into()), ..turn(Role::Agent, "Hi.") },
        ];
        let expected = "Agent: Hello! How can I help?\nAgent: I will now read\nUser: Stop.\nAgent: This is a person.\nAgent: And me.\nAgent: Hi.\n";
        assert_eq!(text(&turns, Wording::Heard), expected);
        assert_eq!(text(&[], Wording::Heard), "");
    }

    #[test]
    fn the_translation_stands_in_where_there_is_one() {
        let turns = [
            Turn { translated_text: Some("Good morning".into()), ..turn(Role::User, "Guten Morgen") },
            Turn { translated_text: Some(" ".into()), ..turn(Role::Agent, "Hallo") },
        ];
        let translated = text(&turns, Wording::Translated);
        assert_eq!(translated, "User: Good morning\nAgent: Hallo\n");
    }
}
