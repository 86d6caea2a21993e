//! What became of the person's request, with what was seen.
//!
//! In this order, each with the turns that show it:
//! 1. Handed to a human (the record's end, a tool that hands people over ([`super::handover`]) and went through, a human who
//!    speaks): `escalated` when the person asked for one or was not being helped, else `transferred`.
//! 2. Ended by a failure: `unresolved`.
//! 3. While it runs, or where the person said nothing, nothing is told.
//! 4. What speaks for it (an action that succeeded, the agent saying that it is done, the person closing content: thanks, `that's
//!    all`, or a goodbye in a good mood) and against it (a tool whose last action failed, the person asking for a
//!    human in vain, saying that it is not solved, leaving in a bad mood or falling silent, the agent saying that it cannot
//!    help) is looked for: only one side, and it is `resolved` or `unresolved`; both or neither, and it is not told.

use std::collections::HashMap;

use colloquy_events::{ResolutionStatus, Role, Status, ToolCall, end_reason};
use colloquy_figures::words_of_name;

use super::handover::{self, Moved};
use super::hits::Hits;
use super::lexicon::{Cue, Meaning};
use super::said::{Said, Side};
use super::{Figure, Mood, Seen, sentiment};
use crate::input::Input;

const ANALYZER: &str = "resolution/2";
/// Closings are looked for in so many of the last turns of each side.
const LAST_TURNS: usize = 3;
/// A last turn of this score or worse is a bad mood.
const BAD_MOOD: f64 = -0.35;

/// What is in the names of tools that do something for the person, rather than look something up.
const ACTIONS: [&str; 18] = [
    "book",
    "cancel",
    "confirm_app",
    "create",
    "email",
    "move",
    "order",
    "pay",
    "place",
    "refund",
    "register",
    "reschedule",
    "reset",
    "schedule",
    "send",
    "submit",
    "update",
    "reserve",
];
/// What is in the names of tools that only look something up.
const LOOK_UPS: [&str; 9] = ["check", "get", "find", "search", "list", "lookup", "fetch", "status", "availab"];

/// Returns what became of the request, and what was seen.
pub(super) fn of(input: &Input, said: &[Said<'_>], hits: &Hits, mood: &Figure<Mood>) -> (Figure<ResolutionStatus>, Vec<Seen>) {
    let cues = Cues::of(said, hits);
    let tools = Tools::of(input);
    let mut seen = Vec::new();
    let status = decide(input, said, &cues, &tools, mood, &mut seen);
    let mut turns: Vec<u32> = seen.iter().filter_map(|seen| seen.turn).collect();
    turns.sort_unstable();
    turns.dedup();
    let figure = match status {
        Ok(status) => Figure::of(status, ANALYZER, turns),
        Err(reason) => Figure::absent(reason, ANALYZER).with_turns(turns),
    };
    (figure, seen)
}

fn decide(
    input: &Input,
    said: &[Said<'_>],
    cues: &Cues,
    tools: &Tools,
    mood: &Figure<Mood>,
    seen: &mut Vec<Seen>,
) -> Result<ResolutionStatus, &'static str> {
    let record = &input.record;
    let mut note = |what: &str, in_favour: Option<bool>, turn: Option<u32>| {
        seen.push(Seen { what: what.to_owned(), in_favour, turn });
    };
    let asked = cues.first(Cue::AsksForHuman, Side::User);
    let unhelped = cues.last(Cue::StillBroken, Side::User);
    let handed_over = match record.end_reason.as_deref() {
        Some(end_reason::TRANSFERRED) => Some(("the conversation ended with a transfer", None)),
        Some(end_reason::TAKEN_OVER) => Some(("a human agent took over", None)),
        _ => None,
    };
    let human = said.iter().find(|said| said.by_human_agent).map(|said| ("a human agent speaks", Some(said.turn)));
    let tool = tools.handed_over.map(|turn| ("a tool handed the person over", Some(turn)));
    if let Some((what, turn)) = handed_over.or(human).or(tool) {
        note(what, None, turn);
        if let Some(turn) = asked {
            note("the person asked for a human", Some(false), Some(turn));
        }
        if let Some(turn) = unhelped {
            note("the person says that it is not solved", Some(false), Some(turn));
        }
        let escalated = asked.or(unhelped).is_some();
        return Ok(if escalated { ResolutionStatus::Escalated } else { ResolutionStatus::Transferred });
    }
    if record.status == Status::Failed {
        note("the conversation failed", Some(false), said.last().map(|said| said.turn));
        return Ok(ResolutionStatus::Unresolved);
    }
    let Some(last_of_user) = said.iter().rev().find(|said| said.side == Side::User) else {
        return Err("the person said nothing");
    };
    if record.status.is_live() {
        return Err("the conversation is not over");
    }

    let latest_done = cues.closing(Cue::Done, Side::Agent);
    if let Some(turn) = tools.succeeded {
        note("a tool did what it was asked for", Some(true), Some(turn));
    }
    if let Some(turn) = latest_done {
        note("the agent says that it is done", Some(true), Some(turn));
    }
    let score = |turn: u32| mood.value.as_ref()?.by_turn.iter().find(|(of, _)| *of == turn).map(|(_, score)| *score);
    let content = [(Cue::AllDone, "the person says that nothing more is needed"), (Cue::Thanks, "the person thanks at the end")];
    for (cue, what) in content {
        if let Some(turn) = cues.closing(cue, Side::User) {
            note(what, Some(true), Some(turn));
        }
    }
    if let Some(turn) = cues.closing(Cue::Farewell, Side::User) {
        // Polite people say goodbye whatever came of it.
        let content = score(turn).is_some_and(|score| score >= sentiment::THRESHOLD);
        note("the person says goodbye", content.then_some(true), Some(turn));
    }

    // A failure counts until the same is done after all.
    if let Some(turn) = tools.failed() {
        note("a tool failed, and nothing shows that it was made good", Some(false), Some(turn));
    }
    if let Some(turn) = asked {
        note("the person asked for a human and got none", Some(false), Some(turn));
    }
    if let Some(turn) = cues.closing(Cue::StillBroken, Side::User) {
        note("the person says that it is not solved", Some(false), Some(turn));
    }
    if let Some(turn) = cues.closing(Cue::CannotHelp, Side::Agent).filter(|turn| latest_done.is_none_or(|done| done < *turn)) {
        note("the agent says that it cannot help", Some(false), Some(turn));
    }
    if score(last_of_user.turn).is_some_and(|score| score <= BAD_MOOD) {
        note("the person's last turn is in a bad mood", Some(false), Some(last_of_user.turn));
    }
    if record.end_reason.as_deref() == Some(end_reason::SILENCE_TIMEOUT) {
        note("the person fell silent", Some(false), None);
    }

    let speaks = |in_favour| seen.iter().any(|seen| seen.in_favour == Some(in_favour));
    match (speaks(true), speaks(false)) {
        (true, false) => Ok(ResolutionStatus::Resolved),
        (false, true) => Ok(ResolutionStatus::Unresolved),
        (true, true) => Err("some of what was seen speaks for it and some against it"),
        (false, false) => Err("nothing shows what became of the request"),
    }
}

/// Where the cues are.
struct Cues {
    /// Cue, side, turn, and whether the turn is among the side's last ones; in order.
    all: Vec<(Cue, Side, u32, bool)>,
}

impl Cues {
    fn of(said: &[Said<'_>], hits: &Hits) -> Self {
        let last_of = |side| said.iter().enumerate().rev().filter(move |(_, said)| said.side == side).take(LAST_TURNS).last();
        let begins = |side| last_of(side).map_or(usize::MAX, |(place, _)| place);
        let (user, agent) = (begins(Side::User), begins(Side::Agent));
        let cues = hits.built_in.iter().filter_map(|hit| match hit.found.meaning {
            Meaning::Cue(cue) => {
                let Said { side, turn, .. } = said[hit.said];
                let closing = hit.said >= if side == Side::User { user } else { agent };
                Some((cue, side, turn, closing))
            }
            _ => None,
        });
        Self { all: cues.collect() }
    }

    /// Returns the first turn of a side with a cue.
    fn first(&self, cue: Cue, side: Side) -> Option<u32> {
        self.all.iter().find(|found| found.0 == cue && found.1 == side).map(|found| found.2)
    }

    /// Returns the last turn of a side with a cue.
    fn last(&self, cue: Cue, side: Side) -> Option<u32> {
        self.all.iter().rev().find(|found| found.0 == cue && found.1 == side).map(|found| found.2)
    }

    /// Returns the last turn of a side with a cue, if it is among the side's last turns.
    fn closing(&self, cue: Cue, side: Side) -> Option<u32> {
        self.all.iter().rev().find(|found| found.0 == cue && found.1 == side && found.3).map(|found| found.2)
    }
}

/// What tools did, by the last turn that shows it.
#[derive(Default)]
struct Tools {
    handed_over: Option<u32>,
    succeeded: Option<u32>,
    /// What came last of each tool that does something for the person, by its name: the turn, and whether it failed.
    last: HashMap<String, (u32, bool)>,
}

impl Tools {
    fn of(input: &Input) -> Self {
        let mut tools = Self::default();
        let mut calls: Vec<&ToolCall> = Vec::new();
        let mut last_call = None;
        for (turn, place) in input.turns.iter().zip(0_u32..) {
            if let Some(call) = &turn.tool_call {
                last_call = Some(call);
                if call.id.is_some() && call.name.is_some() {
                    calls.push(call);
                }
            }
            let Some(result) = &turn.tool_result else { continue };
            let called =
                result.id.as_deref().and_then(|id| calls.iter().rev().take(64).find(|call| call.id.as_deref() == Some(id)));
            let call = called.copied().or(last_call.filter(|_| result.id.is_none()));
            let name = match call {
                Some(call) => call.name.as_deref(),
                None => turn.speaker.as_deref().filter(|_| result.id.is_some()),
            };
            if turn.role != Role::System {
                let moved = handover::of(name.unwrap_or_default(), call.and_then(|call| call.arguments.as_ref()));
                tools.learn(name.unwrap_or_default(), moved, result.is_error == Some(true), place);
            }
        }
        tools
    }

    fn learn(&mut self, name: &str, moved: Option<Moved>, failed: bool, place: u32) {
        let folded = name.to_lowercase();
        let is = |parts: &[&str]| parts.iter().any(|part| folded.contains(part));
        match moved {
            Some(Moved::ToHuman) if !failed => self.handed_over = Some(place),
            // Another agent goes on with it, or nobody came: nothing is done yet.
            Some(Moved::ToHuman | Moved::ToAgent) => {}
            Some(Moved::Thing) => self.done(name, failed, place),
            None if is(&ACTIONS) && !is(&LOOK_UPS) => self.done(name, failed, place),
            None => {}
        }
    }

    fn done(&mut self, name: &str, failed: bool, place: u32) {
        let words: Vec<String> = words_of_name(name).map(str::to_lowercase).collect();
        self.last.insert(words.join(" "), (place, failed));
        if !failed {
            self.succeeded = Some(place);
        }
    }

    /// Returns the last turn in which a tool failed that did not do the same after all.
    fn failed(&self) -> Option<u32> {
        self.last.values().filter(|(_, failed)| *failed).map(|(turn, _)| *turn).max()
    }
}

#[cfg(test)]
mod tests {
    use colloquy_events::{ToolCall, ToolResult, Turn};

    use super::*;
    use crate::analysis::tests::{agent, analysed, input, turn, user};
    use crate::analysis::{Rules, analyse};

    fn tool(name: &str, failed: bool) -> [Turn; 2] {
        let call = ToolCall { id: Some("1".to_owned()), name: Some(name.to_owned()), arguments: None };
        let result = ToolResult { id: Some("1".to_owned()), content: None, is_error: Some(failed) };
        [Turn { tool_call: Some(call), ..turn(Role::Tool, "") }, Turn { tool_result: Some(result), ..turn(Role::Tool, "") }]
    }

    fn status(turns: Vec<Turn>) -> Option<ResolutionStatus> {
        analysed(turns).resolution.value
    }

    #[test]
    fn content_closings_and_actions_that_succeed_resolve() {
        assert_eq!(
            status(vec![user("Is the clinic open on Saturday?"), agent("From nine."), user("Great, thanks")]),
            Some(ResolutionStatus::Resolved)
        );
        let mut turns = vec![user("I want to move my appointment to Thursday, please")];
        turns.extend(tool("book_slot", false));
        let analysis = analysed(turns);
        assert_eq!(analysis.resolution.value, Some(ResolutionStatus::Resolved));
        assert_eq!(analysis.resolution.turns, [2]);
        assert_eq!(analysis.resolution_seen[0].what, "a tool did what it was asked for");
    }

    #[test]
    fn offers_are_not_done_and_goodbyes_alone_mean_nothing() {
        let offer = vec![user("I want to move my appointment"), agent("Two is free, shall I book it?"), user("Hm. Bye.")];
        let analysis = analysed(offer);
        assert_eq!(analysis.resolution.value, None);
        let seen: Vec<(&str, Option<bool>)> =
            analysis.resolution_seen.iter().map(|seen| (seen.what.as_str(), seen.in_favour)).collect();
        assert_eq!(seen, [("the person says goodbye", None)]);
    }

    #[test]
    fn looking_something_up_resolves_nothing() {
        let mut turns = vec![user("I want to move my appointment to Thursday, please")];
        turns.extend(tool("check_booking_availability", false));
        assert_eq!(status(turns), None);
    }

    #[test]
    fn what_contradicts_itself_is_not_told() {
        let mut turns = vec![user("Please book it for me")];
        turns.extend(tool("book slot", true));
        turns.push(agent("It is booked."));
        let analysis = analysed(turns);
        assert_eq!(analysis.resolution.value, None);
        assert_eq!(analysis.resolution_seen.len(), 2);
    }

    #[test]
    fn asking_for_a_human_in_vain_is_unresolved_and_with_success_escalated() {
        let asked = vec![user("Let me talk to a human please"), agent("How can I help you?"), user("A real person!")];
        assert_eq!(status(asked.clone()), Some(ResolutionStatus::Unresolved));
        let mut transferred = input(asked);
        transferred.record.end_reason = Some(end_reason::TRANSFERRED.to_owned());
        assert_eq!(analyse(&transferred, &Rules::default()).resolution.value, Some(ResolutionStatus::Escalated));
        let mut plain = vec![user("I have a question about my invoice")];
        plain.extend(tool("transfer_to_number", false));
        assert_eq!(status(plain), Some(ResolutionStatus::Transferred));
    }

    #[test]
    fn what_another_agent_goes_on_with_or_what_moves_money_is_handed_to_nobody() {
        for name in ["transfer_to_agent", "handoff-to-billing-assistant"] {
            let mut turns = vec![user("I have a question about my invoice")];
            turns.extend(tool(name, false));
            assert_eq!(status(turns), None, "{name}");
        }
        let mut turns = vec![user("Send 50 dollars from checking to savings, please")];
        turns.extend(tool("transfer_funds", false));
        assert_eq!(status(turns), Some(ResolutionStatus::Resolved));
        for name in ["transfer_to_number", "transferCall", "escalate", "Transfer to live agent"] {
            let mut turns = vec![user("I have a question about my invoice")];
            turns.extend(tool(name, false));
            assert_eq!(status(turns), Some(ResolutionStatus::Transferred), "{name}");
        }
    }

    #[test]
    fn a_failure_is_made_good_by_the_same_tool_alone() {
        let talk = |tools: &[(&str, bool)]| {
            let turns = tools.iter().flat_map(|(name, failed)| tool(name, *failed));
            let analysis = analysed(std::iter::once(user("Please book it for me and send me an email")).chain(turns).collect());
            let failed = analysis.resolution_seen.iter().find(|seen| seen.in_favour == Some(false)).and_then(|seen| seen.turn);
            (analysis.resolution.value, failed)
        };
        assert_eq!(talk(&[("book_slot", true), ("send_email", false)]), (None, Some(2)));
        assert_eq!(talk(&[("book_slot", true), ("bookSlot", false)]), (Some(ResolutionStatus::Resolved), None));
        assert_eq!(talk(&[("book_slot", true), ("send_email", true), ("book_slot", false)]), (None, Some(4)));
        assert_eq!(talk(&[("book_slot", false), ("book_slot", true)]), (None, Some(4)));
    }

    #[test]
    fn failures_and_bad_endings_are_unresolved() {
        let mut failed = input(vec![user("Thanks, bye")]);
        failed.record.status = Status::Failed;
        assert_eq!(analyse(&failed, &Rules::default()).resolution.value, Some(ResolutionStatus::Unresolved));
        assert_eq!(status(vec![user("This is terrible and useless, I hate it")]), Some(ResolutionStatus::Unresolved));
    }

    #[test]
    fn what_runs_and_what_was_never_said_is_not_told() {
        let mut live = input(vec![user("Great, thanks")]);
        live.record.status = Status::InProgress;
        let reason = analyse(&live, &Rules::default()).resolution.absent_because;
        assert_eq!(reason.as_deref(), Some("the conversation is not over"));
        assert_eq!(status(vec![agent("Hello?")]), None);
        assert_eq!(status(Vec::new()), None);
    }
}
