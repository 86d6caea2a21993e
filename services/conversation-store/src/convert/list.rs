//! Reading what list a caller wants.

use colloquy_events::convert::timestamp_from_pb;
use colloquy_events::{CallSuccessful, ResolutionStatus, Sentiment, Status};
use colloquy_proto::conversation::v1 as pb;
use colloquy_service::{FieldErrors, Problem};
use colloquy_types::{Timestamp, normalize_phone_number};

use crate::list::{self, Column, Filter, Sort};

/// How many conversations a page has when the caller does not say.
const PAGE_SIZE_DEFAULT: usize = 30;
const PAGE_SIZE_MAX: usize = 100;
/// No value longer than this, in bytes, can be filtered by.
const LONGEST: usize = 512;
/// How many tags one filter may name.
const MOST_TAGS: usize = 20;

/// A list that is wanted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ListRequest {
    pub(crate) filter: Filter,
    pub(crate) sort: Sort,
    pub(crate) page_size: usize,
}

/// Reads the filter, order and page size of a request.
pub(crate) fn list_from_pb(request: &mut pb::ListConversationsRequest) -> Result<ListRequest, Problem> {
    let mut fields = FieldErrors::new();
    let filter = filter(&mut fields, request.filter.take().unwrap_or_default());
    let sort = fields.parse::<Sort>("order_by", &request.order_by);
    let page_size = page_size(&mut fields, request.page_size);
    super::finish(fields, sort.map(|sort| ListRequest { filter, sort, page_size }))
}

/// Reads a page size: 0 means the default, and more than the greatest is read as the greatest.
pub(crate) fn page_size(fields: &mut FieldErrors, wanted: i32) -> usize {
    match usize::try_from(wanted) {
        Ok(0) => PAGE_SIZE_DEFAULT,
        Ok(wanted) => wanted.min(PAGE_SIZE_MAX),
        Err(_) => {
            fields.add("page_size", "must be 0 to 100");
            PAGE_SIZE_DEFAULT
        }
    }
}

fn filter(fields: &mut FieldErrors, filter: pb::ConversationFilter) -> Filter {
    let mut equal = Vec::new();
    let mut narrow = |fields: &mut FieldErrors, column: Column, value: Option<String>| {
        if let Some(value) = value.and_then(|value| searchable(fields, column.as_str(), value)) {
            equal.push((column, value));
        }
    };
    narrow(fields, Column::AgentId, filter.agent_id);
    narrow(fields, Column::ClientId, filter.client_id);
    narrow(fields, Column::UserId, filter.user_id);
    narrow(fields, Column::Caller, filter.caller.map(|caller| normalize_phone_number(&caller).unwrap_or(caller)));
    narrow(fields, Column::Channel, filter.channel);
    narrow(fields, Column::Outcome, filter.outcome);
    narrow(fields, Column::Language, filter.language);
    let word = |word: Option<&'static str>| word.map(str::to_owned);
    let provider = filter.provider.and_then(|text| fields.check("provider", list::provider(&text)));
    narrow(fields, Column::Provider, word(provider));
    let success = filter.call_successful.and_then(|text| fields.parse::<CallSuccessful>("call_successful", &text));
    narrow(fields, Column::CallSuccessful, word(success.map(CallSuccessful::as_str)));
    let resolution = filter.resolution_status.and_then(|text| fields.parse::<ResolutionStatus>("resolution_status", &text));
    narrow(fields, Column::ResolutionStatus, word(resolution.map(ResolutionStatus::as_str)));
    let sentiment = filter.sentiment.and_then(|text| fields.parse::<Sentiment>("sentiment", &text));
    narrow(fields, Column::Sentiment, word(sentiment.map(Sentiment::as_str)));

    let mut tags: Vec<String> = filter.tags.into_iter().filter_map(|tag| searchable(fields, "tags", tag)).collect();
    tags.sort_unstable();
    tags.dedup();
    if tags.len() > MOST_TAGS {
        fields.add("tags", format!("must be at most {MOST_TAGS} tags"));
    }
    Filter {
        equal,
        statuses: list::statuses(filter.statuses.into_iter().filter_map(|status| read_status(fields, status)).collect()),
        topic: filter.topic.and_then(|topic| searchable(fields, "topic", topic)),
        tags,
        created_from: time(fields, "created_from", filter.created_from),
        created_before: time(fields, "created_before", filter.created_before),
        duration_min_ms: duration(fields, "duration_min_ms", filter.duration_min_ms),
        duration_max_ms: duration(fields, "duration_max_ms", filter.duration_max_ms),
    }
}

fn searchable(fields: &mut FieldErrors, field: &str, value: String) -> Option<String> {
    if value.len() > LONGEST {
        fields.add(field, format!("must be at most {LONGEST} bytes"));
        return None;
    }
    if value.contains('\0') {
        fields.add(field, "must not contain the character NUL");
        return None;
    }
    Some(value)
}

fn read_status(fields: &mut FieldErrors, status: i32) -> Option<Status> {
    match pb::ConversationStatus::try_from(status) {
        Ok(pb::ConversationStatus::Initiated) => Some(Status::Initiated),
        Ok(pb::ConversationStatus::InProgress) => Some(Status::InProgress),
        Ok(pb::ConversationStatus::Completed) => Some(Status::Completed),
        Ok(pb::ConversationStatus::Failed) => Some(Status::Failed),
        Ok(pb::ConversationStatus::Abandoned) => Some(Status::Abandoned),
        Ok(pb::ConversationStatus::Unspecified) | Err(_) => {
            fields.add("statuses", "must be initiated, in_progress, completed, failed or abandoned");
            None
        }
    }
}

fn time(fields: &mut FieldErrors, field: &str, at: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    fields.check(field, timestamp_from_pb(field, at?).map_err(|bad| bad.message))
}

fn duration(fields: &mut FieldErrors, field: &str, millis: Option<i64>) -> Option<i64> {
    let millis = millis?;
    if millis < 0 {
        fields.add(field, "must not be negative");
    }
    Some(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_field_is_named_at_once() {
        let filter = pb::ConversationFilter {
            agent_id: Some("x".repeat(4096)),
            provider: Some("twilio".to_owned()),
            sentiment: Some("so so".to_owned()),
            statuses: vec![0, 99],
            duration_min_ms: Some(-1),
            created_from: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
            ..Default::default()
        };
        let mut request = pb::ListConversationsRequest {
            filter: Some(filter),
            order_by: "name".to_owned(),
            page_size: -1,
            ..Default::default()
        };
        let problem = list_from_pb(&mut request).unwrap_err();
        let mut named: Vec<&str> = problem.fields.iter().map(|bad| bad.field.as_str()).collect();
        named.dedup();
        assert_eq!(
            named,
            ["agent_id", "provider", "sentiment", "statuses", "created_from", "duration_min_ms", "order_by", "page_size"]
        );
    }

    #[test]
    fn a_number_is_found_however_it_is_written() {
        let filter = pb::ConversationFilter { caller: Some("+1 (202) 555-0123".to_owned()), ..Default::default() };
        let mut request = pb::ListConversationsRequest { filter: Some(filter), ..Default::default() };
        let wanted = list_from_pb(&mut request).unwrap();
        assert_eq!(wanted.filter.equal, [(Column::Caller, "+12025550123".to_owned())]);
    }
}
