//! Reading what list a caller wants.

use colloquy_filter::{View, conversations};
use colloquy_proto::conversation::v1 as pb;
use colloquy_service::{FieldErrors, Problem};

use crate::list::{Filter, Sort};

/// How many conversations a page has when the caller does not say.
const PAGE_SIZE_DEFAULT: usize = 30;
const PAGE_SIZE_MAX: usize = 100;

/// A list that is wanted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ListRequest {
    pub(crate) filter: Filter,
    pub(crate) sort: Sort,
    pub(crate) page_size: usize,
}

/// Reads the filter, order and page size of a request.
pub(crate) fn list_from_pb(request: &mut pb::ListConversationsRequest) -> Result<ListRequest, Problem> {
    let (expression, mut fields) = match conversations::read(&request.filter.take().unwrap_or_default(), View::Conversations) {
        Ok(expression) => (Some(expression), FieldErrors::new()),
        Err(bad) => (None, bad),
    };
    let sort = fields.parse::<Sort>("order_by", &request.order_by);
    let page_size = page_size(&mut fields, request.page_size);
    let wanted = expression.zip(sort);
    super::finish(fields, wanted.map(|(expression, sort)| ListRequest { filter: Filter::of(expression), sort, page_size }))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::Column;

    #[test]
    fn every_bad_field_is_named_at_once() {
        let filter = pb::ConversationFilter {
            agent_id: Some("x".repeat(4096)),
            expression: "status = failed OR mood = good".to_owned(),
            ..Default::default()
        };
        let mut request = pb::ListConversationsRequest {
            filter: Some(filter),
            order_by: "name".to_owned(),
            page_size: -1,
            ..Default::default()
        };
        let problem = list_from_pb(&mut request).unwrap_err();
        let named: Vec<&str> = problem.fields.iter().map(|bad| bad.field.as_str()).collect();
        assert_eq!(named, ["agent_id", "filter", "order_by", "page_size"]);
        assert!(problem.fields[1].message.starts_with("column 20: there is no field 'mood'"), "{problem:?}");
    }

    #[test]
    fn parameters_and_expression_narrow_together() {
        let filter = pb::ConversationFilter {
            caller: Some("+1 (202) 555-0123".to_owned()),
            expression: "agent_id = a turn_count > 2".to_owned(),
            ..Default::default()
        };
        let mut request = pb::ListConversationsRequest { filter: Some(filter), ..Default::default() };
        let wanted = list_from_pb(&mut request).unwrap().filter;
        assert_eq!(wanted.equal, [(Column::Caller, "+12025550123".to_owned()), (Column::AgentId, "a".to_owned())]);
        assert_eq!(wanted.rest.map(|rest| colloquy_filter::to_text(&rest)).as_deref(), Some("turn_count > 2"));
    }
}
