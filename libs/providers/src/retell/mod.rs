//! Retell AI (notes, 2).

mod ending;
mod transcript;

use colloquy_events::{
    Analysis, Authority, CallSuccessful, Cost, Data, Direction, Facts, JsonMap, RecordingChannel, ResolutionStatus, Transfer,
    TransferState, Update,
};
use colloquy_types::{Provider, Timestamp};
use serde_json::Value;

use crate::analysis::{Ending, sentiment, take_well_known};
use crate::delivery::{Delivery, external_id, fingerprint};
use crate::latency;
use crate::mapping::{Context, MapError, Mapped};
use crate::recording;
use crate::time;
use crate::value::{first, flag, map as object, non_empty, number, phone, remainder, short, text, word};
use transcript::Transcript;

/// Fields of `call` and `chat` that have their own place in the canonical record, or none at all: transcripts in every form,
/// and the token that lets its holder join.
const KNOWN: &[&str] = &[
    "access_token",
    "agent_id",
    "agent_name",
    "agent_version",
    "call_analysis",
    "call_id",
    "call_status",
    "call_type",
    "chat_analysis",
    "chat_id",
    "chat_status",
    "chat_type",
    "direction",
    "disconnection_reason",
    "duration_ms",
    "end_timestamp",
    "from_number",
    "latency",
    "message_with_tool_calls",
    "post_session_transcript_with_tool_calls",
    "pre_session_transcript_with_tool_calls",
    "scrubbed_message_with_tool_calls",
    "scrubbed_transcript_with_tool_calls",
    "start_timestamp",
    "to_number",
    "transcript",
    "transcript_object",
    "transcript_with_tool_calls",
    "transfer_destination",
    "version",
];

/// Maps a delivery: `{event, call}` or `{event, chat}` (2.1, "Events").
pub(crate) fn map(body: &Value, context: &Context<'_>) -> Result<Mapped, MapError> {
    let Some(event) = text(&body["event"]) else { return Err(MapError::field("event", "is required")) };
    match event.as_str() {
        "call_started" | "chat_started" => started(&event, body, context),
        "call_ended" | "chat_ended" => over(&event, 1, body, context),
        "call_analyzed" | "chat_analyzed" => over(&event, 2, body, context),
        "transcript_updated" => transcript_updated(&event, body, context),
        "transfer_started" => transfer(&event, TransferState::Started, body, context),
        "transfer_bridged" => transfer(&event, TransferState::Bridged, body, context),
        "transfer_cancelled" => transfer(&event, TransferState::Cancelled, body, context),
        "transfer_ended" => transfer(&event, TransferState::Ended, body, context),
        // Questions that expect an answer, sent here by mistake: no part of a conversation's life.
        "call_inbound" | "chat_inbound" => Ok(Mapped::nothing()),
        other => Err(MapError::unknown_event(other)),
    }
}

/// Returns the record and its id. Chat events have it under `chat`, some integrations read them from `call`: either will do.
fn record<'a>(event: &str, body: &'a Value) -> Result<(&'a Value, String), MapError> {
    let is_chat = event.starts_with("chat_") || !body["call"].is_object();
    let names = if is_chat { ["chat", "call"] } else { ["call", "chat"] };
    let Some(name) = names.into_iter().find(|name| body[*name].is_object()) else {
        return Err(MapError::field(names[0], "must be an object"));
    };
    let record = &body[name];
    let ids = if is_chat { ["chat_id", "call_id"] } else { ["call_id", "chat_id"] };
    let id_name = ids.into_iter().find(|id| !record[*id].is_null()).unwrap_or(ids[0]);
    Ok((record, external_id(&format!("{name}.{id_name}"), &record[id_name])?))
}

fn begin<'a>(event: &str, key: &[&str], body: &'a Value, context: &Context<'_>) -> Result<(Delivery, &'a Value), MapError> {
    let (record, id) = record(event, body)?;
    Ok((Delivery::new(context, Provider::Retell, id, key), record))
}

fn started(event: &str, body: &Value, context: &Context<'_>) -> Result<Mapped, MapError> {
    let (mut delivery, record) = begin(event, &[event], body, context)?;
    let started_at = time::unix_millis(&record["start_timestamp"]);
    let facts = Facts { metadata: non_empty(remainder(record, KNOWN)), ..identity(record) };
    delivery.push(started_at, Data::Started(facts));
    delivery.finish()
}

/// `*_ended` has everything but the analysis, `*_analyzed` has everything: the latter is the higher revision.
fn over(event: &str, revision: u32, body: &Value, context: &Context<'_>) -> Result<Mapped, MapError> {
    let (mut delivery, record) = begin(event, &[event], body, context)?;
    let started_at = time::unix_millis(&record["start_timestamp"]);
    let ended_at = time::unix_millis(&record["end_timestamp"]);
    let is_chat = is_chat(record);
    let reason = short(&record["disconnection_reason"]);
    let ending = if is_chat {
        ending::of_status(word(&record["chat_status"]))
    } else {
        ending::of_call(reason.as_deref().unwrap_or_default(), word(&record["call_status"]))
    };

    // A call that never connected has no start; it became known when it ended.
    delivery.push(started_at.or(ended_at), Data::Started(identity(record)));
    let transcript = Transcript::read(record, started_at, &mut delivery.turn_ids());
    if let Some(Transcript { turns, parts, .. }) = transcript {
        delivery.push(ended_at, Data::TranscriptCompleted { turns, revision });
        if started_at.is_some() {
            let version = agent_version(record);
            parts.push(&mut delivery, version.as_deref(), started_at, ended_at, ending.reason);
        }
    }

    let mut ended = ending.ended(reason);
    ended.facts = technical(record);
    ended.ended_at = ended_at;
    ended.duration_ms = time::millis_as_ms(&record["duration_ms"]).or_else(|| time::between(started_at, ended_at));
    let cents = number(&first(&[&record["call_cost"], &record["chat_cost"]])["combined_cost"]);
    ended.cost = cents.and_then(|cents| Cost::from_provider(cents / 100.0, "USD"));
    ended.transferred_to = if ending.is_transfer() { phone(&record["transfer_destination"]) } else { None };
    let analysis = first(&[&record["call_analysis"], &record["chat_analysis"]]);
    ended.voicemail = flag(&analysis["in_voicemail"]).map(|flagged| flagged || ended.voicemail == Some(true)).or(ended.voicemail);
    push_transfer_outcome(&mut delivery, record, &ending, ended_at);
    // Both events tell of one end, and neither says when it was sent: a millisecond lets the one that knows more win.
    let told_at = time::after(ended_at, Some(i64::from(revision) - 1));
    delivery.push(told_at, Data::Ended(ended));

    if object(analysis).is_some() {
        delivery.push(ended_at, Data::Analyzed(analyzed(analysis, &ending)));
    }
    // The multi-channel file holds the same conversation once more, so it is only wanted in the absence of the mixed one.
    let urls = ["recording_url", "scrubbed_recording_url", "recording_multi_channel_url", "scrubbed_recording_multi_channel_url"];
    recording::push(&mut delivery, ended_at, RecordingChannel::Mixed, &urls.map(|name| &record[name]));
    delivery.finish()
}

/// A call can be transferred, or fail to be, without transfer events: they are opt-in.
fn push_transfer_outcome(delivery: &mut Delivery, record: &Value, ending: &Ending, ended_at: Option<Timestamp>) {
    let state = if ending.is_transfer() {
        TransferState::Bridged
    } else if ending.transfer_failed {
        TransferState::Cancelled
    } else {
        return;
    };
    let at = time::unix_millis(&record["transfer_end_timestamp"]).or(ended_at);
    let destination = phone(&record["transfer_destination"]);
    delivery.push(at, Data::TransferUpdated(Transfer { state, destination }));
}

/// `transcript_updated` has no key: of many the latest wins (6.1). What it says names it, since links in the body may be signed anew.
fn transcript_updated(event: &str, body: &Value, context: &Context<'_>) -> Result<Mapped, MapError> {
    let (mut delivery, record) = begin(event, &[event], body, context)?;
    let started_at = time::unix_millis(&record["start_timestamp"]);
    delivery.push_facts(started_at, Update { facts: identity(record), status: None });
    if let Some(transcript) = Transcript::read(record, started_at, &mut delivery.turn_ids()) {
        let taken_at = transcript.taken_at();
        delivery.extend_key(fingerprint(&transcript.turns));
        delivery.push(taken_at, Data::TranscriptUpdated { turns: transcript.turns });
    }
    delivery.finish()
}

/// Transfer events are told apart by the call's start and the destination (6.1). Only the last one is dated.
fn transfer(event: &str, state: TransferState, body: &Value, context: &Context<'_>) -> Result<Mapped, MapError> {
    let destination = transfer_destination(body, record(event, body)?.0);
    let start = text(&record(event, body)?.0["start_timestamp"]).unwrap_or_default();
    let key = [event, &start, destination.as_deref().unwrap_or_default()];
    let (mut delivery, record) = begin(event, &key, body, context)?;
    let mut facts = identity(record);
    if let Some(option) = object(&body["transfer_option"]) {
        facts.metadata = Some([("transfer_option".to_owned(), Value::Object(option.clone()))].into_iter().collect());
    }
    delivery.push_facts(time::unix_millis(&record["start_timestamp"]), Update { facts, status: None });
    let at = match state {
        TransferState::Ended => time::unix_millis(&record["transfer_end_timestamp"]),
        TransferState::Started | TransferState::Bridged | TransferState::Cancelled => None,
    };
    delivery.push(at, Data::TransferUpdated(Transfer { state, destination }));
    delivery.finish()
}

/// `{number, extension}` beside `call`, or a number or `sip:` address within it.
fn transfer_destination(body: &Value, record: &Value) -> Option<String> {
    let beside = &body["transfer_destination"];
    let number = phone(first(&[&beside["number"], beside])).or_else(|| phone(&record["transfer_destination"]))?;
    match short(&beside["extension"]) {
        Some(extension) => Some(format!("{number};ext={extension}")),
        None => Some(number),
    }
}

fn is_chat(record: &Value) -> bool {
    !record["chat_id"].is_null() || record["call_id"].is_null()
}

fn agent_version(record: &Value) -> Option<String> {
    short(first(&[&record["agent_version"], &record["version"]]))
}

/// Who, how and when: what every event of the record repeats.
fn identity(record: &Value) -> Facts {
    let direction = word(&record["direction"]).parse::<Direction>().ok();
    let caller = match direction {
        Some(Direction::Inbound) => &record["from_number"],
        Some(Direction::Outbound) => &record["to_number"],
        None => &Value::Null,
    };
    Facts {
        agent_id: short(&record["agent_id"]),
        agent_name: short(&record["agent_name"]),
        agent_version_id: agent_version(record),
        channel: channel(record),
        direction,
        caller_number: phone(caller),
        started_at: time::unix_millis(&record["start_timestamp"]),
        voice_platform: (!record["telephony_identifier"]["twilio_call_sid"].is_null()).then(|| "twilio".to_owned()),
        ..Facts::default()
    }
}

fn channel(record: &Value) -> Option<String> {
    let kind = first(&[&record["call_type"], &record["chat_type"]]);
    let channel = match word(kind) {
        "phone_call" => "phone",
        "web_call" => "web",
        "sms_chat" => "sms",
        "api_chat" => "chat",
        "" if is_chat(record) => "chat",
        "" if record["from_number"].is_string() => "phone",
        // A kind added later is its own channel.
        _ => return short(kind),
    };
    Some(channel.to_owned())
}

/// What is known at the end and has no place of its own, and latencies. Each of the latter is a distribution in milliseconds.
fn technical(record: &Value) -> Facts {
    let latency: JsonMap = object(&record["latency"])
        .into_iter()
        .flatten()
        .filter_map(|(stage, figures)| {
            let measured: JsonMap = ["num", "min", "max", "p50", "p90", "p95", "p99"]
                .into_iter()
                .filter_map(|name| Some((name.to_owned(), Value::from(number(&figures[name])?))))
                .map(|(name, value)| if name == "num" { (name, whole(value)) } else { (name, value) })
                .collect();
            let values = figures["values"].as_array().map(|values| values.iter().filter_map(number).collect());
            let measured = non_empty(measured).map(Value::Object).or_else(|| latency::distribution(values?))?;
            Some((stage.clone(), measured))
        })
        .collect();
    Facts { metadata: non_empty(remainder(record, KNOWN)), latency_ms: non_empty(latency), ..Facts::default() }
}

fn whole(value: Value) -> Value {
    value.as_f64().map_or(value, |number| Value::from(number as i64))
}

/// `call_analysis` and `chat_analysis` (2.1).
fn analyzed(given: &Value, ending: &Ending) -> Analysis {
    let mut analysis = Analysis::by(Authority::Provider);
    analysis.call_successful = flag(first(&[&given["call_successful"], &given["chat_successful"]]))
        .map(|successful| if successful { CallSuccessful::Success } else { CallSuccessful::Failure });
    analysis.summary = text(first(&[&given["call_summary"], &given["chat_summary"]]));
    // `Unknown` is no mood.
    analysis.sentiment = sentiment(&given["user_sentiment"]);
    analysis.resolution_status = ending.is_transfer().then_some(ResolutionStatus::Transferred);
    if let Some(extracted) = object(&given["custom_analysis_data"]) {
        take_well_known(&mut analysis, extracted);
        analysis.custom_analysis = Some(extracted.clone());
    }
    let known = [
        "call_summary",
        "chat_summary",
        "user_sentiment",
        "call_successful",
        "chat_successful",
        "in_voicemail",
        "custom_analysis_data",
    ];
    if let Some(rest) = non_empty(remainder(given, &known)) {
        // Ratings that only old data has.
        analysis.facts.metadata = Some([("analysis".to_owned(), Value::Object(rest))].into_iter().collect());
    }
    analysis
}
