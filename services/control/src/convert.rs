//! To and from `colloquy.control.v1`.

use colloquy_events::CommandKind;
use colloquy_events::convert::timestamp_to_pb;
use colloquy_proto::control::v1 as pb;
use colloquy_service::{FieldErrors, Problem};
use colloquy_types::{ConversationName, normalize_phone_number};
use uuid::Uuid;

use crate::command::{Command, Parts, State};
use crate::control::{Answer, Overview};
use crate::conversation::Conversation;
use crate::lease::{LEASE_SECONDS, Lease, USUAL_LEASE_SECONDS};
use crate::order::Order;
use crate::store::Given;

/// The longest text to say or to inject, in characters.
const MAX_TEXT: usize = 4_000;
/// The longest name and the longest idempotency key, in characters.
const MAX_NAME: usize = 200;
/// The longest address, in characters.
const MAX_ADDRESS: usize = 256;
/// The longest reason of an own agent, in characters.
const MAX_REASON: usize = 500;

/// An order, and the conversation it is for.
#[derive(Debug)]
pub struct Send {
    /// The conversation.
    pub conversation: ConversationName,
    /// The order.
    pub order: Order,
}

/// What an own agent says of a command.
#[derive(Debug)]
pub struct Report {
    /// The command.
    pub command_id: Uuid,
    /// Why it was not carried out, when it was not.
    pub refused: Option<String>,
}

/// Reads an order, given with the API key `key_id`.
///
/// # Errors
/// Every bad field.
pub fn send(request: pb::SendCommandRequest, key_id: String) -> Result<Send, Problem> {
    let mut errors = FieldErrors::new();
    let conversation = errors.parse("conversation_id", &request.conversation_id);
    let kind: Option<CommandKind> = errors.parse("command", &request.command);
    let lease_id = lease_id(&mut errors, &request.lease_id);
    let idempotency_key = name(&mut errors, "idempotency_key", request.idempotency_key);
    let holder = name(&mut errors, "holder", request.holder);
    let lease_millis = lease_millis(&mut errors, request.lease_seconds);
    let parts = kind.map(|kind| {
        let text = text(&mut errors, kind, request.text);
        let destination = destination(&mut errors, kind, request.destination);
        let muted = muted(&mut errors, kind, request.muted);
        if request.force && !matches!(kind, CommandKind::TakeOver | CommandKind::Release) {
            errors.add("force", "only for take_over and release");
        }
        (kind, text, destination, muted)
    });
    errors.finish()?;
    let action = parts.and_then(|(kind, text, destination, muted)| {
        Parts { text: text.as_deref(), destination: destination.as_deref(), muted }.action(kind)
    });
    // Nothing is missing unless it was noted as bad.
    let (Some(conversation), Some(action)) = (conversation, action) else { return Err(Problem::invalid(Vec::new())) };
    let order = Order { action, lease_id, idempotency_key, holder, lease_millis, force: request.force, key_id };
    Ok(Send { conversation, order })
}

fn lease_id(errors: &mut FieldErrors, text: &str) -> Option<Uuid> {
    if text.is_empty() {
        return None;
    }
    errors.check("lease_id", text.parse().map_err(|_| "must be the UUID that take_over answered with"))
}

fn lease_millis(errors: &mut FieldErrors, seconds: u32) -> i64 {
    let seconds = if seconds == 0 { USUAL_LEASE_SECONDS } else { seconds };
    if !LEASE_SECONDS.contains(&seconds) {
        errors.add("lease_seconds", format!("must be from {} to {}", LEASE_SECONDS.start(), LEASE_SECONDS.end()));
    }
    i64::from(seconds) * 1_000
}

fn name(errors: &mut FieldErrors, field: &str, text: String) -> Option<String> {
    errors.max_chars(field, &text, MAX_NAME);
    if text.chars().any(char::is_control) {
        errors.add(field, "must not have control characters");
    }
    (!text.is_empty()).then_some(text)
}

fn text(errors: &mut FieldErrors, kind: CommandKind, text: Option<String>) -> Option<String> {
    if !matches!(kind, CommandKind::Say | CommandKind::InjectContext) {
        return unwanted(errors, "text", "only for say and inject_context", text);
    }
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
        errors.add("text", format!("is required for {kind}"));
        return None;
    };
    errors.max_chars("text", &text, MAX_TEXT);
    if text.contains('\0') {
        errors.add("text", "must not have NUL characters");
    }
    Some(text)
}

fn destination(errors: &mut FieldErrors, kind: CommandKind, destination: Option<String>) -> Option<String> {
    if kind != CommandKind::Transfer {
        return unwanted(errors, "destination", "only for transfer", destination);
    }
    let Some(destination) = destination.filter(|destination| !destination.trim().is_empty()) else {
        errors.add("destination", "is required for transfer");
        return None;
    };
    let read = if is_sip(&destination) { Some(destination) } else { normalize_phone_number(&destination) };
    errors.check("destination", read.ok_or("must be a number in E.164, for example +12025550123, or a sip: address"))
}

fn is_sip(address: &str) -> bool {
    let rest = address.strip_prefix("sip:").or_else(|| address.strip_prefix("sips:"));
    rest.is_some_and(|rest| {
        !rest.is_empty()
            && address.chars().count() <= MAX_ADDRESS
            && !rest.chars().any(|letter| letter.is_whitespace() || letter.is_control())
    })
}

fn muted(errors: &mut FieldErrors, kind: CommandKind, muted: Option<bool>) -> Option<bool> {
    if kind == CommandKind::Mute {
        return Some(muted.unwrap_or(true));
    }
    unwanted(errors, "muted", "only for mute", muted)
}

fn unwanted<T>(errors: &mut FieldErrors, field: &str, message: &str, value: Option<T>) -> Option<T> {
    if value.is_some() {
        errors.add(field, message);
    }
    None
}

/// Reads which conversation to tell of.
///
/// # Errors
/// When it is named badly.
pub fn get(request: &pb::GetControlRequest) -> Result<ConversationName, Problem> {
    let mut errors = FieldErrors::new();
    let name = errors.parse("conversation_id", &request.conversation_id);
    errors.finish()?;
    name.ok_or_else(|| Problem::invalid(Vec::new()))
}

/// Reads whose commands to hand out.
///
/// # Errors
/// When the agent cannot be one.
pub fn agent(request: pb::SubscribeRequest) -> Result<Option<String>, Problem> {
    let mut errors = FieldErrors::new();
    let agent_id = name(&mut errors, "agent_id", request.agent_id);
    errors.finish()?;
    Ok(agent_id)
}

/// Reads what an own agent says of a command.
///
/// # Errors
/// Every bad field.
pub fn report(request: pb::ReportCommandRequest) -> Result<Report, Problem> {
    let mut errors = FieldErrors::new();
    let command_id = errors.check("command_id", request.command_id.parse().map_err(|_| "must be a UUID"));
    if let Some(refused) = &request.rejected {
        errors.max_chars("rejected", refused, MAX_REASON);
        if refused.contains('\0') {
            errors.add("rejected", "must not have NUL characters");
        }
    }
    errors.finish()?;
    let command_id = command_id.ok_or_else(|| Problem::invalid(Vec::new()))?;
    Ok(Report { command_id, refused: request.rejected })
}

/// Writes a command.
pub fn command_to_pb(command: &Command, conversation: &Conversation) -> pb::Command {
    let parts = Parts::of(&command.action);
    let (reason, detail) = match &command.state {
        State::Rejected { reason, detail } => (Some(reason.clone()), detail.clone()),
        State::Accepted | State::Applied => (None, None),
    };
    pb::Command {
        command_id: command.command_id.to_string(),
        conversation_id: command.conversation_id.to_string(),
        external_id: conversation.external_id.clone(),
        command: command.action.kind().as_str().to_owned(),
        text: parts.text.map(str::to_owned),
        destination: parts.destination.map(str::to_owned),
        muted: parts.muted,
        holder: command.holder.clone(),
        state: command.state.as_str().to_owned(),
        reason,
        detail,
        accepted_at: Some(timestamp_to_pb(command.accepted_at)),
        finished_at: command.finished_at.map(timestamp_to_pb),
    }
}

/// Writes a command with what came with it.
pub fn given_to_pb(given: &Given) -> pb::Command {
    command_to_pb(&given.command, &given.conversation)
}

/// Writes the answer to an order.
pub fn answer_to_pb(answer: &Answer) -> pb::SendCommandResponse {
    pb::SendCommandResponse {
        command: Some(given_to_pb(&answer.given)),
        lease: answer.lease.as_ref().map(|lease| lease_to_pb(lease, Some(lease.lease_id))),
        position: answer.given.command.position.unwrap_or_default().0,
    }
}

/// Writes who holds a conversation and what can be done to it. The lease's id is not told: who knows it may command. Without
/// `with_words` what somebody had the agent say or be told is left out, as it is of the history.
pub fn overview_to_pb(overview: &Overview, with_words: bool) -> pb::GetControlResponse {
    let shown = |command| {
        let command = command_to_pb(command, &overview.conversation);
        pb::Command { text: command.text.filter(|_| with_words), ..command }
    };
    pb::GetControlResponse {
        conversation_id: overview.conversation.conversation_id.to_string(),
        lease: overview.lease.as_ref().map(|lease| lease_to_pb(lease, None)),
        capabilities: overview.abilities.commands.iter().map(|kind| kind.as_str().to_owned()).collect(),
        limits: overview.abilities.limits.clone(),
        commands: overview.commands.iter().map(shown).collect(),
    }
}

fn lease_to_pb(lease: &Lease, lease_id: Option<Uuid>) -> pb::Lease {
    pb::Lease {
        lease_id: lease_id.map(|id| id.to_string()).unwrap_or_default(),
        holder: lease.holder.clone(),
        expires_at: Some(timestamp_to_pb(lease.expires_at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::Action;

    fn request(command: &str) -> pb::SendCommandRequest {
        pb::SendCommandRequest { conversation_id: "vapi:call_1".to_owned(), command: command.to_owned(), ..Default::default() }
    }

    fn bad_fields(request: pb::SendCommandRequest) -> Vec<String> {
        let problem = send(request, "key".to_owned()).unwrap_err();
        problem.fields.into_iter().map(|bad| bad.field).collect()
    }

    #[test]
    fn every_bad_field_is_told_at_once() {
        let request = pb::SendCommandRequest {
            conversation_id: "call_1".to_owned(),
            command: "say".to_owned(),
            lease_id: "mine".to_owned(),
            idempotency_key: "k".repeat(201),
            text: Some("x".repeat(4_001)),
            destination: Some("+12025550123".to_owned()),
            muted: Some(true),
            holder: "Ada\n".to_owned(),
            lease_seconds: 601,
            force: true,
        };
        let mut bad = bad_fields(request);
        bad.sort_unstable();
        let expected = [
            "conversation_id",
            "destination",
            "force",
            "holder",
            "idempotency_key",
            "lease_id",
            "lease_seconds",
            "muted",
            "text",
        ];
        assert_eq!(bad, expected);
    }

    #[test]
    fn an_unknown_command_is_told_which_there_are() {
        let problem = send(request("shout"), "key".to_owned()).unwrap_err();
        assert!(problem.message.contains("take_over, release, say, inject_context, transfer, mute, end"), "{}", problem.message);
    }

    #[test]
    fn what_a_command_needs_is_required() {
        for (command, field) in [("say", "text"), ("inject_context", "text"), ("transfer", "destination")] {
            assert_eq!(bad_fields(request(command)), [field], "{command}");
        }
        for destination in ["2025550123", "sip:", "sip:a b", "tel:nobody", &format!("sip:{}", "x".repeat(300))] {
            let request = pb::SendCommandRequest { destination: Some(destination.to_owned()), ..request("transfer") };
            assert_eq!(bad_fields(request), ["destination"], "{destination}");
        }
    }

    #[test]
    fn numbers_are_normalised_and_the_lease_has_its_usual_length() {
        let transfer = pb::SendCommandRequest { destination: Some("+1 (202) 555-0123".to_owned()), ..request("transfer") };
        let order = send(transfer, "key".to_owned()).unwrap().order;
        assert_eq!((order.action, order.lease_millis), (Action::Transfer("+12025550123".to_owned()), 30_000));
        let order = send(request("mute"), "key".to_owned()).unwrap().order;
        assert_eq!((order.action, order.holder), (Action::Mute(true), None));
    }
}
