//! The end of a call: `status-update` with `ended`, then `end-of-call-report` (3.1).

use colloquy_events::{
    Analysis, Authority, Cost, Data, Facts, JsonMap, RecordingChannel, ResolutionStatus, Transfer, TransferState,
};
use colloquy_types::Timestamp;
use serde_json::{Value, json};

use super::ending::{self, Circumstances};
use super::transcript::Transcript;
use super::{begin, destination, identity, said_at, started_at, success};
use crate::analysis::{Ending, take_well_known};
use crate::delivery::Delivery;
use crate::latency;
use crate::mapping::{Context, MapError, Mapped};
use crate::recording;
use crate::time;
use crate::value::{first, list, map as object, non_empty, number, remainder, short, text};

/// The report is made after processing: it decides over `status-update`, which is revision 0.
const REVISION: u32 = 2;

/// Fields of `call` that have their own place in the canonical record, or none at all: transcripts, prompts, links, and the
/// addresses by which a running call can be steered.
const KNOWN_CALL: &[&str] = &[
    "analysis",
    "artifact",
    "assistant",
    "assistantId",
    "assistantOverrides",
    "cost",
    "customer",
    "destination",
    "endedAt",
    "endedMessage",
    "endedReason",
    "id",
    "messages",
    "monitor",
    "phoneNumber",
    "squad",
    "startedAt",
    "status",
    "summary",
    "transcript",
    "updatedAt",
    "workflow",
];

pub(super) fn end_of_call(message: &Value, context: &Context<'_>) -> Result<Mapped, MapError> {
    ended(begin(message, &["end-of-call-report"], context)?, message, REVISION)
}

/// Writes down an end as far as `message` knows it.
pub(super) fn ended(mut delivery: Delivery, message: &Value, revision: u32) -> Result<Mapped, MapError> {
    let call = &message["call"];
    let started_at = started_at(message);
    let ended_at = time::iso(first(&[&message["endedAt"], &call["endedAt"]]));
    let over_at = ended_at.or_else(|| said_at(message));
    let reason = short(first(&[&message["endedReason"], &call["endedReason"]]));
    let transcript = Transcript::read(message, started_at, &mut delivery.turn_ids());
    let circumstances =
        Circumstances { connected: started_at.is_some(), user_spoke: transcript.as_ref().is_some_and(Transcript::user_spoke) };
    let ending = ending::of_call(reason.as_deref().unwrap_or_default(), circumstances);

    let known_since = started_at.or_else(|| time::iso(&call["createdAt"])).or(over_at);
    let facts = identity(message);
    let agent_version_id = facts.agent_version_id.clone();
    let agent_id = facts.agent_id.clone();
    delivery.push(known_since, Data::Started(facts));
    if let Some(Transcript { turns, mut parts, .. }) = transcript {
        // Before the report the history may be left out: an empty one would take back what was heard live.
        if revision == REVISION || !turns.is_empty() {
            delivery.push(over_at, Data::TranscriptCompleted { turns, revision });
        }
        if parts.is_empty() && circumstances.connected {
            parts.saw(agent_id, started_at);
        }
        parts.push(&mut delivery, agent_version_id.as_deref(), started_at, ended_at, ending.reason);
    }
    push_transfer_outcome(&mut delivery, message, &ending, over_at);

    let mut ended = ending.ended(reason);
    ended.facts = technical(message);
    ended.ended_at = ended_at;
    ended.duration_ms = time::between(started_at, ended_at);
    let cost = number(first(&[&message["cost"], &call["cost"]]));
    ended.cost = cost.and_then(|dollars| Cost::from_provider(dollars, "USD"));
    ended.transferred_to = if ending.is_transfer() { destination(message) } else { None };
    ended.failure_message = text(&call["endedMessage"]).filter(|_| ended.failure_code.is_some()).or(ended.failure_message);
    // Both messages tell of one end. The report, which knows what it cost after all, is sent later and so wins.
    delivery.push(over_at.max(said_at(message)), Data::Ended(ended));

    if revision == REVISION {
        if let Some(analysis) = analysis(message, &ending) {
            delivery.push(said_at(message).or(over_at), Data::Analyzed(analysis));
        }
        push_recordings(&mut delivery, message, over_at);
    }
    delivery.finish()
}

fn push_transfer_outcome(delivery: &mut Delivery, message: &Value, ending: &Ending, at: Option<Timestamp>) {
    let state = if ending.is_transfer() {
        TransferState::Bridged
    } else if ending.transfer_failed {
        TransferState::Cancelled
    } else {
        return;
    };
    delivery.push(at, Data::TransferUpdated(Transfer { state, destination: destination(message) }));
}

/// What is known at the end and has no place of its own.
fn technical(message: &Value) -> Facts {
    let call = &message["call"];
    let artifact = &message["artifact"];
    let mut metadata = remainder(call, KNOWN_CALL);
    metadata.retain(|_, value| value != &json!({}) && value != &json!([]));
    let customer = first(&[&message["customer"], &call["customer"]]);
    let phone_number = first(&[&message["phoneNumber"], &call["phoneNumber"]]);
    let line: JsonMap = remainder(phone_number, &[])
        .into_iter()
        .filter(|(name, _)| ["id", "name", "number", "provider", "twilioAccountSid"].contains(&name.as_str()))
        .collect();
    let kept = [
        ("assistantMetadata", message["assistant"]["metadata"].clone()),
        ("compliance", message["compliance"].clone()),
        ("costs", message["costs"].clone()),
        ("customer", Value::Object(remainder(customer, &["number", "name", "externalId"]))),
        ("nodes", artifact["nodes"].clone()),
        ("phoneNumber", Value::Object(line)),
        ("scorecards", artifact["scorecards"].clone()),
        ("variableValues", artifact["variableValues"].clone()),
    ];
    for (name, value) in kept {
        if !matches!(value, Value::Null) && value != json!({}) && value != json!([]) {
            metadata.insert(name.to_owned(), value);
        }
    }
    let metrics = &artifact["performanceMetrics"];
    // The server's address, and what it takes to call it, are nothing of the agent's.
    let settings = remainder(first(&[&message["assistant"], &call["assistant"]]), &["server"]);
    Facts {
        metadata: non_empty(metadata),
        agent_version: non_empty(settings),
        latency_ms: non_empty(latencies(metrics)),
        quality: non_empty(quality(metrics)),
        ..Facts::default()
    }
}

/// `performanceMetrics`: figures of every turn, and averages. Milliseconds, by their magnitude.
fn latencies(metrics: &Value) -> JsonMap {
    let mut stages = JsonMap::new();
    for stage in ["turn", "model", "voice", "transcriber", "endpointing"] {
        let name = format!("{stage}Latency");
        let values = list(&metrics["turnLatencies"]).iter().filter_map(|turn| number(&turn[&name])).collect();
        let mut figures = match latency::distribution(values) {
            Some(Value::Object(figures)) => figures,
            _ => JsonMap::new(),
        };
        if let Some(average) = number(&metrics[format!("{name}Average")]) {
            figures.insert("avg".to_owned(), json!(average));
        }
        if !figures.is_empty() {
            stages.insert(stage.to_owned(), Value::Object(figures));
        }
    }
    stages
}

/// `numAssistantInterrupted` counts how often the agent was cut off: by the user.
fn quality(metrics: &Value) -> JsonMap {
    let figures = [("interruptions_by_user", "numAssistantInterrupted"), ("interruptions_by_agent", "numUserInterrupted")];
    figures.into_iter().filter_map(|(ours, theirs)| Some((ours.to_owned(), json!(number(&metrics[theirs])? as i64)))).collect()
}

/// Message-level `analysis` first; the copy within `call` may be empty, and the message-level `summary` is an old duplicate.
fn analysis(message: &Value, ending: &Ending) -> Option<Analysis> {
    let given = [&message["analysis"], &message["call"]["analysis"]].into_iter().find(|analysis| object(analysis).is_some());
    let given = given.unwrap_or(&Value::Null);
    let mut extracted = JsonMap::new();
    if let Some(data) = object(&given["structuredData"]) {
        extracted.extend(data.clone());
    }
    for output in object(&message["artifact"]["structuredOutputs"]).into_iter().flat_map(JsonMap::values) {
        if let Some(name) = short(&output["name"]) {
            extracted.insert(name, output["result"].clone());
        }
    }
    let mut analysis = Analysis::by(Authority::Provider);
    analysis.summary = text(&given["summary"]).or_else(|| text(&message["summary"]));
    analysis.call_successful = success::read(&given["successEvaluation"]);
    take_well_known(&mut analysis, &extracted);
    analysis.custom_analysis = non_empty(extracted);
    if analysis == Analysis::by(Authority::Provider) {
        return None;
    }
    analysis.resolution_status = ending.is_transfer().then_some(ResolutionStatus::Transferred);
    if let Some(rest) = non_empty(remainder(given, &["summary", "structuredData", "successEvaluation"])) {
        analysis.facts.metadata = Some([("analysis".to_owned(), Value::Object(rest))].into_iter().collect());
    }
    Some(analysis)
}

/// 3.5: the plain links lead to private storage, so the presigned ones, which live for a short time, come first. They are made
/// anew for every delivery, which is why nothing is named by them.
fn push_recordings(delivery: &mut Delivery, message: &Value, at: Option<Timestamp>) {
    let artifact = &message["artifact"];
    let mono = &artifact["recording"]["mono"];
    let mixed = [
        &artifact["presignedMonoUrl"],
        &artifact["presignedStereoUrl"],
        &artifact["recordingUrl"],
        &mono["combinedUrl"],
        &artifact["stereoRecordingUrl"],
        &artifact["recording"]["stereoUrl"],
        &message["recordingUrl"],
        &message["stereoRecordingUrl"],
    ];
    recording::push(delivery, at, RecordingChannel::Mixed, &mixed);
    recording::push(delivery, at, RecordingChannel::User, &[&artifact["presignedCustomerUrl"], &mono["customerUrl"]]);
    recording::push(delivery, at, RecordingChannel::Agent, &[&artifact["presignedAssistantUrl"], &mono["assistantUrl"]]);
}
