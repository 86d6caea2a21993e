//! Reading what a caller wants to change.

use colloquy_events::{Change, Feedback, JsonMap, Patch, Thumbs};
use colloquy_proto::conversation::v1 as pb;
use colloquy_service::{FieldErrors, Problem};
use colloquy_types::{ConversationId, OrganizationId};

const MOST_TAGS: usize = 100;
const LONGEST_TAG: usize = 128;
const LONGEST_ID: usize = 256;
const LONGEST_COMMENT: usize = 4_000;
const LARGEST_METADATA_PATCH: usize = 64 << 10;

/// Reads a change of the record.
pub(crate) fn patch_from_pb(
    request: pb::UpdateConversationRequest,
    organization: &OrganizationId,
) -> Result<(ConversationId, Patch), Problem> {
    let mut fields = FieldErrors::new();
    let id = super::conversation_id(&mut fields, &request.conversation_id, organization);
    let patch = Patch {
        tags: request.tags.map(|change| tags(&mut fields, change.tags)),
        metadata: request.metadata_patch_json.and_then(|json| metadata(&mut fields, &json)),
        client_id: text_change(&mut fields, "client_id", request.client_id),
        user_id: text_change(&mut fields, "user_id", request.user_id),
    };
    super::finish(fields, id.map(|id| (id, patch)))
}

fn tags(fields: &mut FieldErrors, tags: Vec<String>) -> Vec<String> {
    if tags.len() > MOST_TAGS {
        fields.add("tags", format!("must be at most {MOST_TAGS} tags"));
        return Vec::new();
    }
    for (number, tag) in tags.iter().enumerate() {
        let field = format!("tags[{number}]");
        if tag.trim().is_empty() {
            fields.add(field, "must not be empty");
        } else if tag.contains('\0') {
            fields.add(field, "must not contain the character NUL");
        } else {
            fields.max_chars(&field, tag, LONGEST_TAG);
        }
    }
    tags
}

fn metadata(fields: &mut FieldErrors, json: &str) -> Option<JsonMap> {
    if json.len() > LARGEST_METADATA_PATCH {
        fields.add("metadata_patch_json", format!("must be at most {LARGEST_METADATA_PATCH} bytes"));
        return None;
    }
    let patch = serde_json::from_str::<Option<JsonMap>>(json).map(Option::unwrap_or_default);
    fields.check("metadata_patch_json", patch.map_err(|_| "must be a JSON object, or null to remove every member"))
}

/// Returns the merge patch that removes every member a record's metadata has now; `None` when there is none.
pub(crate) fn removal_of_metadata(record: &pb::Conversation) -> Option<JsonMap> {
    let members: JsonMap = serde_json::from_str(&record.metadata_json).unwrap_or_default();
    let removal: JsonMap = members.into_iter().map(|(name, _)| (name, serde_json::Value::Null)).collect();
    (!removal.is_empty()).then_some(removal)
}

fn text_change(fields: &mut FieldErrors, field: &str, change: Option<pb::TextChange>) -> Change {
    let Some(change) = change else { return Change::Keep };
    if let Some(value) = &change.value {
        fields.max_chars(field, value, LONGEST_ID);
        if value.is_empty() {
            fields.add(field, "must not be empty; leave the value out to remove it");
        }
        if value.contains('\0') {
            fields.add(field, "must not contain the character NUL");
        }
    }
    Change::To(change.value)
}

/// Reads a rating.
pub(crate) fn feedback_from_pb(
    request: pb::GiveFeedbackRequest,
    organization: &OrganizationId,
) -> Result<(ConversationId, Feedback), Problem> {
    let mut fields = FieldErrors::new();
    let id = super::conversation_id(&mut fields, &request.conversation_id, organization);
    if request.rating.is_some() == request.thumbs.is_some() {
        fields.add("rating", "exactly one of rating and thumbs must be given");
    }
    if request.rating.is_some_and(|rating| !(1..=5).contains(&rating)) {
        fields.add("rating", "must be 1 to 5");
    }
    if let Some(comment) = &request.comment {
        fields.max_chars("comment", comment, LONGEST_COMMENT);
    }
    let thumbs = request.thumbs.and_then(|text| fields.parse::<Thumbs>("thumbs", &text));
    let feedback = Feedback { rating: request.rating, thumbs, comment: request.comment };
    super::finish(fields, id.map(|id| (id, feedback)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn organization() -> OrganizationId {
        "acme".parse().unwrap()
    }

    #[test]
    fn every_bad_part_of_a_change_is_named() {
        let request = pb::UpdateConversationRequest {
            conversation_id: "nonsense".to_owned(),
            tags: Some(pb::TagsChange { tags: vec!["x".repeat(129), " ".to_owned()] }),
            metadata_patch_json: Some("[1]".to_owned()),
            client_id: Some(pb::TextChange { value: Some("x".repeat(4096)) }),
            user_id: Some(pb::TextChange { value: None }),
        };
        let problem = patch_from_pb(request, &organization()).unwrap_err();
        let named: Vec<&str> = problem.fields.iter().map(|bad| bad.field.as_str()).collect();
        assert_eq!(named, ["conversation_id", "tags[0]", "tags[1]", "metadata_patch_json", "client_id"]);
    }

    #[test]
    fn a_rating_is_a_number_or_a_thumb_but_not_both() {
        let rate = |rating, thumbs: Option<&str>| {
            let conversation_id = "native:c".to_owned();
            let thumbs = thumbs.map(str::to_owned);
            feedback_from_pb(pb::GiveFeedbackRequest { conversation_id, rating, thumbs, comment: None }, &organization())
        };
        assert!(rate(Some(5), None).is_ok());
        assert!(rate(None, Some("down")).is_ok());
        for (rating, thumbs) in [(None, None), (Some(1), Some("up")), (Some(0), None), (Some(6), None), (None, Some("sideways"))]
        {
            assert!(rate(rating, thumbs).is_err(), "{rating:?} {thumbs:?}");
        }
    }
}
