//! What REST calls the fields that services complain of: who made a request finds their own words in the answer.
//!
//! A service names a field by its path in the gRPC request. Over REST it may stand elsewhere and be called otherwise, and the same name
//! may be two things: `conversation_id` is the `{id}` of one route and a parameter of another. So each route says how it names them.

use colloquy_service::FieldViolation;
use tonic::Status;

use crate::problem::Refusal;

/// The members of a filter over conversations: as services call them, and as the list's parameters are called.
const MEMBERS: [(&str, &str); 19] = [
    ("agent_id", "agent_id"),
    ("client_id", "client_id"),
    ("user_id", "user_id"),
    ("caller", "caller"),
    ("provider", "provider"),
    ("channel", "channel"),
    ("statuses", "status"),
    ("call_successful", "call_successful"),
    ("resolution_status", "resolution_status"),
    ("outcome", "outcome"),
    ("sentiment", "sentiment"),
    ("language", "language"),
    ("topic", "topic"),
    ("tags", "tag"),
    ("created_from", "started_after"),
    ("created_before", "started_before"),
    ("duration_min_ms", "duration_min_seconds"),
    ("duration_max_ms", "duration_max_seconds"),
    // The expression: services call it as it is called outside.
    ("filter", "filter"),
];
/// Of a request about the one conversation that the path names.
pub(crate) const OF_CONVERSATION: Naming = Naming::of(&[("conversation_id", "id")]);
/// Where a filter stands in a request, and in a body.
const FILTER: &str = "filter.";

/// How a route names what it asks a service for.
#[derive(Clone, Copy)]
pub(crate) struct Naming {
    /// What is called otherwise, the first that fits. A name that ends in a dot fits what stands in it; any other fits itself, and what
    /// stands in it.
    fields: &'static [(&'static str, &'static str)],
    /// What stands before the members of a filter that the service names without saying where they stand.
    of_bare_members: Option<&'static str>,
}

impl Naming {
    /// Names `fields` otherwise, and the members of filters as the list's parameters.
    pub(crate) const fn of(fields: &'static [(&'static str, &'static str)]) -> Self {
        Self { fields, of_bare_members: None }
    }

    /// The same, where the service names the members of a filter without their path, and they stand at `path`.
    pub(crate) const fn with_bare_members(mut self, path: &'static str) -> Self {
        self.of_bare_members = Some(path);
        self
    }

    /// Refuses as a service did, naming fields as the route does.
    pub(crate) fn refuse(&self, status: Status) -> Refusal {
        Refusal::from(status).renaming(|bad: &mut FieldViolation| bad.field = self.name(&bad.field))
    }

    fn name(&self, field: &str) -> String {
        let field = with_member_named(field);
        for (service, rest) in self.fields {
            if let Some(behind) = within(&field, service) {
                return format!("{rest}{behind}");
            }
        }
        match self.of_bare_members.zip(member(&field)) {
            Some((path, member)) => format!("{path}{member}"),
            None => field,
        }
    }
}

/// Returns what stands behind `outer` in a path that begins with it.
fn within<'a>(path: &'a str, outer: &str) -> Option<&'a str> {
    let behind = path.strip_prefix(outer)?;
    (outer.ends_with('.') || behind.is_empty() || behind.starts_with(['.', '['])).then_some(behind)
}

/// Names the member of a filter that a path leads to.
fn with_member_named(path: &str) -> String {
    let stands_alone = |at: &usize| *at == 0 || path.as_bytes()[at - 1] == b'.';
    let filter = path.match_indices(FILTER).map(|(at, _)| at).find(stands_alone);
    let named = filter.and_then(|at| {
        let (before, inner) = path.split_at(at + FILTER.len());
        Some(format!("{before}{}", member(inner)?))
    });
    named.unwrap_or_else(|| path.to_owned())
}

/// Names a member of a filter.
fn member(path: &str) -> Option<String> {
    let (rest, behind) = MEMBERS.iter().find_map(|(service, rest)| Some((rest, within(path, service)?)))?;
    // Not what stands in a filter: that is no member, but the filter's path.
    (!behind.starts_with('.')).then(|| format!("{rest}{behind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_names_fields_in_its_own_words() {
        let list = Naming::of(&[("order_by", "sort")]).with_bare_members("");
        let question = Naming::of(&[]);
        let table = Naming::of(&[("filter.", ""), ("from", "started_after")]);
        let backfill = Naming::of(&[]).with_bare_members(FILTER);
        let rule = Naming::of(&[("rule.metric.field", "metric.field"), ("rule.metric.", ""), ("rule.", "")]);
        let one = Naming::of(&[("conversation_id", "id")]);
        let names = [
            (list, "order_by", "sort"),
            (list, "tags", "tag"),
            (list, "filter", "filter"),
            (list, "include_total", "include_total"),
            (question, "order_by", "order_by"),
            (question, "order_by[2]", "order_by[2]"),
            (question, "filter.caller", "filter.caller"),
            (question, "filter.filter", "filter.filter"),
            (question, "measures[1].filter.statuses[0]", "measures[1].filter.status[0]"),
            (question, "conversation_id", "conversation_id"),
            (table, "filter.caller", "caller"),
            (table, "filter.tags", "tag"),
            (table, "filter.filter", "filter"),
            (table, "from", "started_after"),
            (table, "fromage", "fromage"),
            (backfill, "caller", "filter.caller"),
            (backfill, "filter", "filter.filter"),
            (backfill, "filter.tags", "filter.tag"),
            (backfill, "event_types[0]", "event_types[0]"),
            (rule, "rule.metric.field", "metric.field"),
            (rule, "rule.metric.window", "window"),
            (rule, "rule.metric", "metric"),
            (rule, "rule.filter.tags", "filter.tag"),
            (rule, "rule.conditions[0].op", "conditions[0].op"),
            (one, "conversation_id", "id"),
        ];
        for (naming, service, rest) in names {
            assert_eq!(naming.name(service), rest, "{service}");
        }
    }
}
