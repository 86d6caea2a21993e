//! ElevenLabs Agents (notes, 1).

mod ending;
mod transcript;

use colloquy_events::{
    Analysis, Authority, CallSuccessful, Cost, Data, Direction, EndStatus, Ended, ErrorRaised, Facts, Feedback, JsonMap,
    LiveStatus, Recording, RecordingChannel, ResolutionStatus, Thumbs, Transfer, TransferState, Update,
};
use colloquy_types::{Provider, Timestamp};
use serde_json::{Value, json};

use crate::analysis::take_well_known;
use crate::delivery::{Delivery, external_id};
use crate::latency;
use crate::mapping::{Context, MapError, Mapped};
use crate::time;
use crate::value::{first, flag, list, map as object, non_empty, number, phone, remainder, short, text, word};
use transcript::Transcript;

/// There is one final transcript of a conversation; when analysis is run again, the time of emission decides.
const REVISION: u32 = 1;

/// More tags than this are no tags.
const MAX_TAGS: usize = 100;

/// Fields of `data` that have their own place in the canonical record.
const KNOWN_DATA: &[&str] = &[
    "agent_id",
    "agent_name",
    "analysis",
    "conversation_id",
    "full_audio",
    "metadata",
    "otlp_traces",
    "status",
    "tag_ids",
    "transcript",
    "user_id",
    "version_id",
    "visited_agents",
];

/// Fields of `data.metadata` that have their own place in the canonical record.
const KNOWN_METADATA: &[&str] = &[
    "call_duration_secs",
    "cost_fiat",
    "error",
    "feedback",
    "main_language",
    "start_time_unix_secs",
    "termination_reason",
    "warnings",
];

/// Maps a delivery: `{type, event_timestamp, data}` (1.1, "Envelope").
pub(crate) fn map(body: &Value, context: &Context<'_>) -> Result<Mapped, MapError> {
    let Some(event) = text(&body["type"]) else { return Err(MapError::field("type", "is required")) };
    match event.as_str() {
        // The unredacted form and the short names are how the settings call them; their wire names are not documented.
        "post_call_transcription" | "transcript" | "unredacted_transcript" => post_call(&event, body, context),
        "post_call_audio" | "audio" | "unredacted_audio" => post_call_audio(&event, body, context),
        "call_initiation_failure" => initiation_failure(&event, body, context),
        "answering_machine_detection" => other_news(&event, body, context),
        // The same workspace webhook also tells of voices, dubbing and the like.
        "voice_removal_notice" | "voice_removal_notice_withdrawn" | "voice_removed" => Ok(Mapped::nothing()),
        other if is_about_no_conversation(other, body) => Ok(Mapped::nothing()),
        other => Err(MapError::unknown_event(other)),
    }
}

/// The kinds of news a workspace can subscribe to besides conversations (1.1, "Event types on the wire").
fn is_about_no_conversation(event: &str, body: &Value) -> bool {
    let prefixes = ["voice_", "speech_to_text", "dubbing", "qa_", "alert"];
    body["data"]["conversation_id"].is_null() && prefixes.iter().any(|prefix| event.starts_with(prefix))
}

fn begin(event: &str, body: &Value, context: &Context<'_>) -> Result<(Delivery, Option<Timestamp>), MapError> {
    let id = external_id("data.conversation_id", &body["data"]["conversation_id"])?;
    // Analysis can be run again by the owner: another `event_timestamp` is another event, and the later one wins (6.1).
    let emitted = text(&body["event_timestamp"]).unwrap_or_default();
    let delivery = Delivery::new(context, Provider::ElevenLabs, id, &[event, &emitted]);
    Ok((delivery, time::unix_seconds(&body["event_timestamp"])))
}

fn post_call(event: &str, body: &Value, context: &Context<'_>) -> Result<Mapped, MapError> {
    let (mut delivery, emitted_at) = begin(event, body, context)?;
    let data = &body["data"];
    let metadata = &data["metadata"];
    let started_at = time::unix_seconds(&metadata["start_time_unix_secs"]);
    let duration_ms = time::seconds_as_ms(&metadata["call_duration_secs"]);
    let ended_at = time::after(started_at, duration_ms);

    let mut transcript = Transcript::read(list(&data["transcript"]), started_at, &mut delivery.turn_ids());
    let ending = ending::of_conversation(data, &transcript);
    let turns = std::mem::take(&mut transcript.turns);

    delivery.push(started_at.or(emitted_at), Data::Started(started_facts(data, started_at)));
    // `exclude_transcript` leaves the array out: that says nothing about which turns there were.
    if data["transcript"].is_array() {
        let transcript = match ending {
            Some(_) => Data::TranscriptCompleted { turns, revision: REVISION },
            None => Data::TranscriptUpdated { turns },
        };
        delivery.push(emitted_at.or(ended_at), transcript);
    }
    push_transfers(&mut delivery, &transcript);
    let technical = technical_facts(data, &transcript);
    if let Some(code) = short(&metadata["error"]["code"]) {
        let error = ErrorRaised { code, message: text(&metadata["error"]["reason"]), component: None };
        delivery.push_once(ended_at.or(emitted_at), Data::ErrorRaised(error));
    }

    let Some(ending) = ending else {
        // Over or running, but not final: the state words `initiated`, `in-progress` and `processing`.
        let status = if word(&data["status"]) == "initiated" { LiveStatus::Initiated } else { LiveStatus::InProgress };
        delivery.push(emitted_at, Data::Updated(Update { facts: technical, status: Some(status) }));
        return delivery.finish();
    };

    let detail = text(&metadata["termination_reason"]);
    let mut ended = ending.ended(detail);
    ended.facts = technical;
    ended.ended_at = ended_at;
    ended.duration_ms = duration_ms;
    // `cost` counts credits; only `cost_fiat` is money.
    ended.cost = number(&metadata["cost_fiat"]).and_then(|dollars| Cost::from_provider(dollars, "USD"));
    let out = transcript.transfers.iter().rev().find(|transfer| transfer.succeeded == Some(true));
    ended.transferred_to = out.and_then(|transfer| transfer.destination.clone());
    if ending.status == EndStatus::Failed {
        let error = &metadata["error"];
        ended.failure_code = short(&error["code"]).or_else(|| Some(ending.reason.to_owned()));
        ended.failure_message = text(&error["reason"]).or(ended.failure_message);
    }

    let mut parts = std::mem::take(&mut transcript.parts);
    if parts.is_empty() {
        for agent in list(&data["visited_agents"]) {
            parts.saw(short(&agent["agent_id"]), None);
        }
    }
    if parts.is_empty() && started_at.is_some() {
        parts.saw(short(&data["agent_id"]), started_at);
    }
    parts.push(&mut delivery, short(&data["version_id"]).as_deref(), started_at, ended_at, ending.reason);

    // Emission time, not the end: of two deliveries about one conversation the later knows better.
    delivery.push(emitted_at.or(ended_at), Data::Ended(ended));
    if object(&data["analysis"]).is_some() {
        let analysis = analysis(&data["analysis"], ending.is_transfer());
        delivery.push(emitted_at, Data::Analyzed(analysis));
    }
    if let Some(feedback) = feedback(&metadata["feedback"]) {
        // When it was given nobody says. It was before it was first told, and another rating told later was given later.
        delivery.push_once(emitted_at, Data::FeedbackGiven(feedback));
    }
    delivery.finish()
}

fn started_facts(data: &Value, started_at: Option<Timestamp>) -> Facts {
    let metadata = &data["metadata"];
    let phone_call = &metadata["phone_call"];
    let messaging = first(&[&metadata["whatsapp"], &metadata["sms"]]);
    let numbers = [
        &phone_call["external_number"],
        &messaging["external_number"],
        &messaging["user_number"],
        &messaging["phone_number"],
        &messaging["whatsapp_user_id"],
        &messaging["user_id"],
    ];
    Facts {
        agent_id: short(&data["agent_id"]),
        agent_name: short(&data["agent_name"]),
        agent_version_id: short(&data["version_id"]),
        channel: Some(channel(metadata).to_owned()),
        direction: word(first(&[&phone_call["direction"], &messaging["direction"]])).parse::<Direction>().ok(),
        // The other side is the person, whoever called.
        caller_number: numbers.iter().find_map(|number| phone(number)),
        user_id: short(first(&[&data["user_id"], &data["conversation_initiation_client_data"]["user_id"]])),
        language: short(&metadata["main_language"]),
        started_at,
        tags: list(&data["tag_ids"]).iter().filter_map(short).take(MAX_TAGS).collect(),
        voice_platform: short(&phone_call["type"]),
        ..Facts::default()
    }
}

/// 1.6: `phone_call`, then messaging, then `text_only`; everything else comes through a web page or app.
fn channel(metadata: &Value) -> &'static str {
    let source = word(&metadata["conversation_initiation_source"]);
    if metadata["phone_call"].is_object() {
        "phone"
    } else if metadata["whatsapp"].is_object() || source == "whatsapp" {
        "whatsapp"
    } else if metadata["sms"].is_object() || source == "twilio_sms" {
        "sms"
    } else if flag(&metadata["text_only"]) == Some(true) {
        "chat"
    } else {
        "web"
    }
}

/// What is known at the end and has no place of its own: the provider's remaining fields, latencies, quality.
fn technical_facts(data: &Value, transcript: &Transcript) -> Facts {
    let mut metadata = remainder(data, KNOWN_DATA);
    if let Some(inner) = non_empty(remainder(&data["metadata"], KNOWN_METADATA)) {
        metadata.insert("metadata".to_owned(), Value::Object(inner));
    }
    let latency: JsonMap = transcript
        .latencies
        .iter()
        .filter_map(|(name, values)| Some((name.clone(), latency::distribution(values.clone())?)))
        .collect();
    let mut quality = JsonMap::new();
    if transcript.interruptions > 0 {
        quality.insert("interruptions_by_user".to_owned(), json!(transcript.interruptions));
    }
    if !list(&data["metadata"]["warnings"]).is_empty() {
        quality.insert("warnings".to_owned(), data["metadata"]["warnings"].clone());
    }
    Facts { metadata: non_empty(metadata), latency_ms: non_empty(latency), quality: non_empty(quality), ..Facts::default() }
}

fn push_transfers(delivery: &mut Delivery, transcript: &Transcript) {
    for transfer in &transcript.transfers {
        let state = match transfer.succeeded {
            Some(true) => TransferState::Bridged,
            Some(false) => TransferState::Cancelled,
            None => TransferState::Started,
        };
        let name = [transfer.request_id.as_str()];
        let data = Transfer { state, destination: transfer.destination.clone() };
        delivery.push_named(&name, transfer.at, Data::TransferUpdated(data));
    }
}

/// `data.analysis` (1.1). Sentiment is not among it.
fn analysis(given: &Value, transferred: bool) -> Analysis {
    let mut analysis = Analysis::by(Authority::Provider);
    analysis.call_successful = word(&given["call_successful"]).parse::<CallSuccessful>().ok();
    analysis.summary = text(&given["transcript_summary"]);
    analysis.resolution_status = transferred.then_some(ResolutionStatus::Transferred);
    let extracted: JsonMap = object(&given["data_collection_results"])
        .into_iter()
        .flatten()
        .map(|(id, result)| (id.clone(), result["value"].clone()))
        .collect();
    take_well_known(&mut analysis, &extracted);
    analysis.custom_analysis = non_empty(extracted);
    // Criteria, rationales and the title have no place of their own. The `_list` forms repeat the maps.
    let known = ["call_successful", "transcript_summary", "data_collection_results_list", "evaluation_criteria_results_list"];
    if let Some(rest) = non_empty(remainder(given, &known)) {
        let metadata = [("analysis".to_owned(), Value::Object(rest))].into_iter().collect();
        analysis.facts.metadata = Some(metadata);
    }
    analysis
}

fn feedback(given: &Value) -> Option<Feedback> {
    let rating = number(&given["rating"]).filter(|rating| (1.0..=5.0).contains(rating)).map(|rating| rating.round() as u32);
    let thumbs = match word(&given["overall_score"]) {
        "like" => Some(Thumbs::Up),
        "dislike" => Some(Thumbs::Down),
        _ => None,
    };
    let comment = text(&given["comment"]);
    (rating.is_some() || thumbs.is_some() || comment.is_some()).then_some(Feedback { rating, thumbs, comment })
}

/// The audio itself is spliced out while the body streams by, and stored by whoever streams it.
fn post_call_audio(event: &str, body: &Value, context: &Context<'_>) -> Result<Mapped, MapError> {
    let (mut delivery, emitted_at) = begin(event, body, context)?;
    if !body["data"]["full_audio"].is_string() {
        return Err(MapError::field("data.full_audio", "must be a string of base64"));
    }
    let recording = Recording {
        url: None,
        object_key: None,
        sha256: None,
        size_bytes: None,
        content_type: Some("audio/mpeg".to_owned()),
        duration_ms: None,
        channel: RecordingChannel::Mixed,
    };
    delivery.push(emitted_at, Data::RecordingAvailable(recording));
    delivery.finish()
}

/// `call_initiation_failure` (1.1): a call out that was declined, not answered or could not be routed. It has no start.
fn initiation_failure(event: &str, body: &Value, context: &Context<'_>) -> Result<Mapped, MapError> {
    let (mut delivery, emitted_at) = begin(event, body, context)?;
    let data = &body["data"];
    let details = &data["metadata"]["body"];
    let from = first(&[&details["From"], &details["from_number"]]);
    let to = first(&[&details["To"], &details["to_number"]]);
    let direction = if word(&details["Direction"]) == "inbound" { Direction::Inbound } else { Direction::Outbound };
    let caller = if direction == Direction::Inbound { from } else { to };

    let facts = Facts {
        agent_id: short(&data["agent_id"]),
        agent_name: short(&data["agent_name"]),
        channel: Some("phone".to_owned()),
        direction: Some(direction),
        caller_number: phone(caller),
        user_id: short(&data["user_id"]),
        voice_platform: short(&data["metadata"]["type"]),
        ..Facts::default()
    };
    delivery.push(emitted_at, Data::Started(facts));

    let failure_reason = short(&data["failure_reason"]);
    let ending = ending::of_initiation_failure(failure_reason.as_deref().unwrap_or_default());
    let mut ended: Ended = ending.ended(failure_reason);
    ended.ended_at = emitted_at;
    let status_code = first(&[&details["SipResponseCode"], &details["sip_status_code"]]);
    if ending.status == EndStatus::Failed {
        ended.failure_code = short(status_code).map(|code| format!("sip_{code}")).or(ended.failure_code);
        ended.failure_message = text(&details["error_reason"]).or(ended.failure_message);
    }
    let mut metadata = remainder(data, &["agent_id", "agent_name", "conversation_id", "failure_reason", "user_id"]);
    metadata.retain(|_, value| value != &json!({}));
    ended.facts.metadata = non_empty(metadata);
    delivery.push(emitted_at, Data::Ended(ended));
    delivery.finish()
}

/// News about a conversation that change nothing but what is noted of it.
fn other_news(event: &str, body: &Value, context: &Context<'_>) -> Result<Mapped, MapError> {
    let (mut delivery, emitted_at) = begin(event, body, context)?;
    let rest = non_empty(remainder(&body["data"], KNOWN_DATA));
    let metadata = rest.map(|rest| [(event.to_owned(), Value::Object(rest))].into_iter().collect());
    let facts = Facts { agent_id: short(&body["data"]["agent_id"]), metadata, ..Facts::default() };
    delivery.push(emitted_at, Data::Updated(Update { facts, status: None }));
    delivery.finish()
}
