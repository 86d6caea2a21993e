//! What the person wanted, told from the first turn in which they say it.

use super::Figure;
use super::hits::{Hit, Hits};
use super::lexicon::{Cue, Meaning};
use super::said::{Said, Side};
use super::topics::absent_because;

const ANALYZER: &str = "intent/1";
/// What is wanted later on is another matter.
const FIRST_TURNS: usize = 8;
/// So many words after `I don't want`, what follows is not wanted.
const NOT_WANTED_WITHIN: usize = 4;

/// Returns the intent as a word such as `book_appointment`: of the first of the person's turns that tells one, the phrase of
/// most words, and of several such the first.
pub(super) fn of(said: &[Said<'_>], hits: &Hits) -> Figure<String> {
    let first_turns: Vec<usize> = (0..said.len()).filter(|&place| said[place].side == Side::User).take(FIRST_TURNS).collect();
    if first_turns.is_empty() {
        return Figure::absent("the person said nothing", ANALYZER);
    }
    for place in first_turns {
        let of_turn: Vec<&Hit> = hits.built_in.iter().filter(|hit| hit.said == place).collect();
        let wanted = of_turn.iter().filter_map(|hit| match hit.found.meaning {
            Meaning::Intent(name) if !is_denied(hit, &of_turn) => Some((hit.found, name)),
            _ => None,
        });
        let best = wanted.max_by_key(|(found, _)| (found.words, usize::MAX - found.start));
        if let Some((_, name)) = best {
            return Figure::of(name.to_owned(), ANALYZER, [said[place].turn]);
        }
    }
    Figure::absent(absent_because(said, hits, "none of the person's first turns tells what they wanted"), ANALYZER)
}

/// Returns whether the person says right before that this is not what they want.
fn is_denied(hit: &Hit, of_turn: &[&Hit]) -> bool {
    let before = of_turn.iter().filter(|other| other.found.meaning == Meaning::Cue(Cue::NotWanted));
    before.clone().any(|denial| denial.found.end <= hit.found.start && hit.found.start - denial.found.end < NOT_WANTED_WITHIN)
}

#[cfg(test)]
mod tests {
    use crate::analysis::tests::{agent, analysed, user};

    #[test]
    fn what_people_want_has_a_name() {
        let cases = [
            ("Hi, I'd like to move my cleaning appointment to Thursday.", "reschedule_appointment"),
            ("I need to cancel my appointment tomorrow", "cancel_appointment"),
            ("Could I book an appointment with Dr. Meyer?", "book_appointment"),
            ("I want my money back for this order", "request_refund"),
            ("Where is my package? It never arrived", "track_order"),
            ("How much does a crown cost?", "ask_price"),
            ("Let me talk to a human please", "speak_to_human"),
            ("The app keeps crashing on my phone", "report_problem"),
            ("I moved house and need to update my address", "update_account"),
            ("Is the clinic open on Saturday?", "ask_opening_hours"),
            ("I forgot my password", "reset_password"),
            ("Ich möchte meinen Termin verschieben", "reschedule_appointment"),
            ("Quiero cancelar mi cita del jueves por favor", "cancel_appointment"),
            ("Bonjour, je voudrais prendre un rendez-vous avec le docteur", "book_appointment"),
            ("Eu quero cancelar a minha assinatura por favor", "cancel_subscription"),
        ];
        for (text, expected) in cases {
            assert_eq!(analysed(vec![user(text)]).intent.value.as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_denied_is_not_wanted() {
        let turns = vec![user("I don't want to cancel my subscription, I want to upgrade")];
        assert_eq!(analysed(turns).intent.value.as_deref(), Some("change_plan"));
    }

    #[test]
    fn the_agent_wants_nothing_and_small_talk_tells_nothing() {
        let turns = vec![agent("Would you like to book an appointment?"), user("Hello there, how are you today?")];
        let intent = analysed(turns).intent;
        assert_eq!((intent.value, intent.absent_because.is_some()), (None, true));
    }

    #[test]
    fn the_first_turn_that_tells_decides() {
        let turns = vec![user("Hi, good morning"), agent("Hello"), user("I want a refund"), user("or cancel my appointment")];
        let intent = analysed(turns).intent;
        assert_eq!((intent.value.as_deref(), intent.turns.as_slice()), (Some("request_refund"), [2].as_slice()));
    }
}
