//! One conversation as the SDKs know it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use colloquy_proto::conversation::v1 as pb;
use colloquy_proto::transcript::v1 as transcript_pb;
use colloquy_types::Provider;
use serde::Serialize;
use serde_json::{Map, Value};
use tonic::Code;
use utoipa::ToSchema;

use super::turns::{ConvaiTurn, entries};
use super::{external_id, find, metadata, status_word, success_word};
use crate::Edge;
use crate::answer::json_with_room;
use crate::clients::Calling;
use crate::naming::OF_CONVERSATION;
use crate::path::Id;
use crate::problem::Refusal;
use crate::query::Query;

/// A conversation in the shape of ElevenLabs.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConvaiConversation {
    /// The agent; empty when it is not known.
    agent_id: String,
    /// The agent's name.
    agent_name: Option<String>,
    /// The agent's version.
    version_id: Option<String>,
    /// The provider's own id.
    conversation_id: String,
    /// `initiated`, `in-progress`, `processing`, `done` or `failed`.
    status: &'static str,
    /// The end user.
    user_id: Option<String>,
    /// What was said, in order.
    transcript: Vec<ConvaiTurn>,
    /// When and how it took place; at least `start_time_unix_secs` and `call_duration_secs`.
    metadata: Map<String, Value>,
    /// How it went; `null` when nobody judged it.
    analysis: Option<ConvaiAnalysis>,
    /// What the conversation was begun with, as the provider sent it.
    #[schema(value_type = Option<Object>)]
    conversation_initiation_client_data: Option<Map<String, Value>>,
    /// Tags.
    tag_ids: Vec<String>,
    /// Whether there is a recording.
    has_audio: bool,
    /// Whether the person can be heard on it.
    has_user_audio: bool,
    /// Whether the agent can be heard on it.
    has_response_audio: bool,
    /// Whether anything else can be heard on it.
    has_auxiliary_audio: bool,
}

/// How a conversation went.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConvaiAnalysis {
    /// `success`, `failure` or `unknown`.
    call_successful: String,
    /// In prose; empty when there is none.
    transcript_summary: String,
    /// In a few words.
    call_summary_title: Option<String>,
    /// By criterion.
    evaluation_criteria_results: Map<String, Value>,
    /// By name.
    data_collection_results: Map<String, Value>,
}

/// Read a conversation
///
/// In the shape of ElevenLabs. Needs the scopes `conversations:read` and `transcripts:read`: this shape cannot say that a
/// transcript is withheld.
#[utoipa::path(get, path = "/convai/conversations/{id}", tag = "ElevenLabs-shaped", operation_id = "convai_get_conversation",
    params(
        ("id" = String, Path, description = "The provider's own id."),
        ("format" = Option<String>, Query, description = "Only `json`."),
    ),
    responses((status = 200, description = "The conversation.", body = ConvaiConversation)))]
pub(crate) async fn read(
    State(edge): State<Arc<Edge>>,
    calling: Calling,
    Id(id): Id,
    mut query: Query,
) -> Result<Response, Refusal> {
    query.word("format", &["json"]);
    query.finish()?;
    let conversation = find(&edge, &calling, &id).await?;
    let request = transcript_pb::GetTranscriptRequest {
        conversation_id: conversation.conversation_id.clone(),
        min_position: 0,
        organization_id: String::new(),
    };
    let turns = match edge.clients.transcripts.clone().get_transcript(calling.call(request)).await {
        Ok(answer) => answer.into_inner().turns,
        Err(status) if status.code() == Code::NotFound => Vec::new(),
        Err(status) => return Err(OF_CONVERSATION.refuse(status)),
    };
    json_with_room(&shape(conversation, turns), 16 << 10)
}

fn shape(given: pb::Conversation, turns: Vec<transcript_pb::Turn>) -> ConvaiConversation {
    let mut kept = kept_fields(&given);
    let metadata = metadata::of(&given, object(kept.remove("metadata")).unwrap_or_default());
    let analysis = analysis(&given, object(kept.remove("analysis")).unwrap_or_default());
    let recording = given.recording.clone().unwrap_or_default();
    let can_be_heard =
        |channel: &str| recording.available && recording.channels.iter().any(|known| known == channel || known == "mixed");
    ConvaiConversation {
        conversation_id: external_id(&given),
        status: status_word(&given),
        transcript: entries(turns),
        metadata,
        analysis,
        conversation_initiation_client_data: object(kept.remove("conversation_initiation_client_data")),
        has_audio: recording.available,
        has_user_audio: can_be_heard("user"),
        has_response_audio: can_be_heard("agent"),
        has_auxiliary_audio: false,
        agent_id: given.agent_id.unwrap_or_default(),
        agent_name: given.agent_name,
        version_id: given.agent_version_id,
        user_id: given.user_id,
        tag_ids: given.tags,
    }
}

/// The provider's own fields, when the provider is the one whose shape this is: others may mean something else by a name.
fn kept_fields(given: &pb::Conversation) -> HashMap<String, Value> {
    if given.provider != Provider::ElevenLabs.as_str() {
        return HashMap::new();
    }
    serde_json::from_str(&given.metadata_json).unwrap_or_default()
}

fn object(value: Option<Value>) -> Option<Map<String, Value>> {
    match value {
        Some(Value::Object(object)) => Some(object),
        _ => None,
    }
}

fn analysis(given: &pb::Conversation, mut kept: Map<String, Value>) -> Option<ConvaiAnalysis> {
    if given.summary.is_none() && kept.is_empty() && matches!(given.call_successful.as_str(), "" | "unknown") {
        return None;
    }
    let evaluation = object(kept.remove("evaluation_criteria_results")).unwrap_or_default();
    let collected = object(kept.remove("data_collection_results")).unwrap_or_default();
    let title = kept.remove("call_summary_title");
    Some(ConvaiAnalysis {
        call_successful: success_word(given),
        transcript_summary: given.summary.clone().unwrap_or_default(),
        call_summary_title: title.and_then(|title| title.as_str().map(str::to_owned)),
        evaluation_criteria_results: complete(evaluation, &["criteria_id", "result", "rationale"]),
        data_collection_results: complete(collected, &["data_collection_id", "rationale"]),
    })
}

/// Leaves out results that lack what the SDKs insist on.
fn complete(results: Map<String, Value>, required: &[&str]) -> Map<String, Value> {
    results.into_iter().filter(|(_, result)| required.iter().all(|name| result[*name].is_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_what_the_sdks_can_read() {
        let conversation = pb::Conversation { conversation_id: "c".into(), ..Default::default() };
        let shaped = serde_json::to_value(shape(conversation, Vec::new())).unwrap();
        assert_eq!(shaped["agent_id"], "");
        assert_eq!(shaped["conversation_id"], "c");
        assert_eq!(shaped["metadata"]["start_time_unix_secs"], 0);
        assert_eq!(shaped["metadata"]["call_duration_secs"], 0);
        assert_eq!(shaped["analysis"], Value::Null);
        assert_eq!(shaped["has_user_audio"], false);
    }

    #[test]
    fn incomplete_results_are_left_out() {
        let kept = r#"{"evaluation_criteria_results": {"a": {"criteria_id": "a", "result": "success", "rationale": "r"}, "b": {"result": 1}}}"#;
        let given = pb::Conversation { summary: Some("s".into()), ..Default::default() };
        let analysis = analysis(&given, serde_json::from_str(kept).unwrap()).unwrap();
        assert_eq!(analysis.evaluation_criteria_results.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(analysis.transcript_summary, "s");
    }
}
