//! What tools whose names speak of a transfer move: the person to a human, the conversation to another AI agent, or things.
//!
//! Names are read word by word, and nothing is believed of a word that is not known: `transfer_to_agent` leads to another AI
//! agent, `transfer_funds` moves money, `transfer_to_number`, `escalateToHuman` and a mere `transfer` lead to a human. What the
//! provider says of a conversation's end counts besides, whatever its tools are called.

use colloquy_figures::words_of_name;
use serde_json::Value;

/// What a tool moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moved {
    /// The person, to a human.
    ToHuman,
    /// The conversation, to another AI agent.
    ToAgent,
    /// Something that belongs to the person.
    Thing,
}

/// Words that say nothing of what is moved, or where to.
const FILLERS: &str = "a an and attended blind bridge cold do execute for function immediately in initiate make my now of on or our perform \
    please request start the this to tool trigger via warm with your";
/// Words of tools that only speak of a transfer, or take it back.
const NOT_DONE: &str = "abort availability available can cancel canceled cancelled check failed fetch find get list lookup search status \
    validate";
/// Words for people: who is one is handed to, whatever else is said of them.
const HUMANS: &str = "human humans live people person real";
/// Words for AI agents.
const AGENTS: &str =
    "agent agents ai assistant assistants bot bots chatbot flow llm model node squad subagent swarm virtual workflow";
/// Words for what the person, or their call, is handed to or moved as.
const CALLS: &str = "billing call caller callers calls chat client colleague conversation customer customers department departments desk \
    dispatch dispatcher employee extension helpdesk line manager number nurse office operator operators phone queue \
    reception receptionist rep representative representatives sales session specialist staff supervisor support team user";
/// Words for what else is transferred.
const THINGS: &str = "account accounts address amount appointment appointments asset assets balance balances bank booking bookings card cards \
    cash credit credits crypto data deposit document documents domain email file files fund funds gift history inventory \
    item items license miles money order orders ownership payment payments points policy prescription prescriptions property \
    record records reservation reservations reward rewards savings share shares stock subscription ticket title vehicle wire";

/// Returns what a tool of this name, called with these arguments, moves when it succeeds; `None` when nothing tells that it moves
/// anything.
pub(super) fn of(name: &str, arguments: Option<&Value>) -> Option<Moved> {
    let words = Words::of(name)?;
    if words.has(NOT_DONE) {
        return None;
    }
    if words.has(THINGS) {
        return words.of_transfer.then_some(Moved::Thing);
    }
    if words.has(HUMANS) {
        return Some(Moved::ToHuman);
    }
    if words.has(AGENTS) || arguments.is_some_and(names_assistant) {
        return Some(Moved::ToAgent);
    }
    (words.others.is_empty() || words.has(CALLS)).then_some(Moved::ToHuman)
}

/// The words of a name that speaks of a transfer, a handover or an escalation.
struct Words {
    /// Whether it is a transfer: things are not escalated to where they belong.
    of_transfer: bool,
    /// Those that say what is moved, and where to.
    others: Vec<String>,
}

impl Words {
    fn of(name: &str) -> Option<Self> {
        let (mut hands_over, mut of_transfer) = (false, false);
        let mut others: Vec<String> = Vec::new();
        for word in words_of_name(name).map(str::to_lowercase) {
            if matches!(word.as_str(), "off" | "over") && others.last().is_some_and(|before| before == "hand") {
                others.pop();
                hands_over = true;
            } else if let Some(joined) = after_verb(&word) {
                hands_over = true;
                of_transfer |= word.starts_with("transfer");
                others.extend(Some(joined.to_owned()).filter(|joined| !joined.is_empty()));
            } else {
                others.push(word);
            }
        }
        let says_nothing =
            |word: &str| FILLERS.split_whitespace().any(|filler| filler == word) || word.chars().all(char::is_numeric);
        others.retain(|word| !says_nothing(word));
        hands_over.then_some(Self { of_transfer, others })
    }

    fn has(&self, list: &str) -> bool {
        list.split_whitespace().any(|listed| self.others.iter().any(|word| word == listed))
    }
}

/// Returns what is joined to a word for a transfer, as in `transfertohuman`, or nothing; `None` of other words.
fn after_verb(word: &str) -> Option<&str> {
    let verbs = ["transfer", "escalat", "handoff", "handover"];
    let rest = verbs.iter().find_map(|verb| word.strip_prefix(verb))?;
    let ends = ["s", "e", "es", "ed", "ing", "ion", "ions", "red", "ring"];
    Some(if ends.contains(&rest) { "" } else { rest.strip_prefix("to").unwrap_or(rest) })
}

/// Returns whether arguments name an assistant to go on, as Vapi's squads have it.
fn names_assistant(arguments: &Value) -> bool {
    let keys = ["assistant", "assistantId", "assistantName", "assistant_id", "assistant_name"];
    [arguments, &arguments["destination"]]
        .into_iter()
        .any(|object| object["type"] == "assistant" || keys.iter().any(|key| object[*key].is_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_tell_what_a_tool_moves() {
        let table: [(Option<Moved>, &str); 4] = [
            (
                Some(Moved::ToHuman),
                "transfer, escalate, handoff, hand_off, Hand over, warm-transfer, transfer_call, transferCall, \
                 bridge_transfer, transfer_to_number, transfer-to-human, transferToLiveAgent, \
                 escalate_to_human_agent, human_handoff, TRANSFER_TO_OPERATOR, transfer to support, \
                 transfer_customer_2, transfercall, transfertohuman, escalation, transfer_to_billing, \
                 handoffToSpecialist",
            ),
            (Some(Moved::ToAgent), "transfer_to_agent, transferToAssistant, agent_transfer, handoff_to_sales_agent"),
            (
                Some(Moved::Thing),
                "transfer_funds, transferMoney, bank-transfer, transfer_ownership, file_transfer, transfer_customer_data, \
                 transferfunds, balance_transfer, transfer_points_to_person",
            ),
            (
                None,
                "book_slot, cancel_transfer, get_transfer_number, check_transfer_status, transferable, handle_offer, \
                 transfer_zorp, escalate_ticket, beforehand, hand, is_it_over",
            ),
        ];
        for (expected, names) in table {
            for name in names.split(", ").chain(expected.is_none().then_some("")) {
                assert_eq!(of(name, None), expected, "{name:?}");
            }
        }
    }

    #[test]
    fn a_call_that_goes_to_an_assistant_stays_with_ai() {
        for arguments in [json!({"destination": {"type": "assistant", "assistantName": "Billing"}}), json!({"assistantId": "a"})]
        {
            assert_eq!(of("transferCall", Some(&arguments)), Some(Moved::ToAgent), "{arguments}");
        }
        for arguments in
            [json!({"destination": {"type": "number", "number": "+1"}}), json!({"destination": "+1"}), json!("x"), json!(null)]
        {
            assert_eq!(of("transferCall", Some(&arguments)), Some(Moved::ToHuman), "{arguments}");
        }
    }
}
