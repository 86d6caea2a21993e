//! A table of agents with what their conversations come to.

use colloquy_filter::Expression;
use colloquy_proto::analytics::v1 as pb;
use colloquy_service::{FieldErrors, Problem};
use colloquy_types::OrganizationId;

use super::measure::Measure;
use super::request::{read_filter, read_span};
use super::schema::Dimension;
use super::{Error, Queries, over};

/// The table has at most this many agents.
const MOST_AGENTS: usize = 1_000;

/// What is computed of each agent, in the order in which it is read below.
const MEASURES: [(&str, &str); 11] = [
    ("", "count"),
    ("duration_ms", "avg"),
    ("resolved", "rate"),
    ("success", "rate"),
    ("handed_over", "rate"),
    ("failed", "rate"),
    ("satisfaction_score", "avg"),
    ("csat", "rate"),
    ("sentiment_score", "avg"),
    ("response_latency_ms", "p90"),
    ("interruptions_by_agent", "avg"),
];

/// Answers the request.
pub(super) async fn list(
    queries: &Queries,
    organization: &OrganizationId,
    request: &pb::ListAgentPerformanceRequest,
) -> Result<pb::ListAgentPerformanceResponse, Error> {
    let mut errors = FieldErrors::new();
    let filter = read_filter("filter", request.filter.as_ref(), &mut errors);
    let now = queries.clock.now();
    let span = read_span(("from", request.from.as_ref()), ("to", request.to.as_ref()), now, &mut errors);
    errors.finish()?;
    let measures = measures(&filter)?;
    let dimension = Dimension::parse("agent_id").map_err(|message| Problem::invalid_field("dimensions", message))?;
    let question = span.and_then(|(from, to)| over(measures, vec![dimension], from, to));
    let Some(question) = question else { return Ok(pb::ListAgentPerformanceResponse::default()) };
    let answer = queries.answer(organization, &question).await?;
    let mut agents: Vec<pb::AgentPerformance> = (answer.rows.iter())
        .map(|(key, values)| {
            let value = |measure: usize| values.get(measure).and_then(|value| value.number);
            pb::AgentPerformance {
                agent_id: answer.names.word(0, key.values[0]).to_owned(),
                conversations: values.first().map_or(0, |count| count.n),
                avg_duration_ms: value(1),
                resolution_rate: value(2),
                success_rate: value(3),
                escalation_rate: value(4),
                failure_rate: value(5),
                avg_satisfaction: value(6),
                csat: value(7),
                avg_sentiment: value(8),
                p90_response_latency_ms: value(9),
                avg_interruptions_by_agent: value(10),
            }
        })
        .collect();
    agents.sort_unstable_by(|one, other| {
        other.conversations.cmp(&one.conversations).then_with(|| one.agent_id.cmp(&other.agent_id))
    });
    let truncated = agents.len() > MOST_AGENTS;
    agents.truncate(MOST_AGENTS);
    Ok(pb::ListAgentPerformanceResponse { agents, truncated })
}

fn measures(filter: &Expression) -> Result<Vec<(Measure, Expression)>, Problem> {
    let mut measures = Vec::with_capacity(MEASURES.len());
    for (field, op) in MEASURES {
        let measure = Measure::parse(field, op).map_err(|bad| Problem::invalid_field(bad.part, bad.message))?;
        measures.push((measure, filter.clone()));
    }
    Ok(measures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_measures_are_those_of_the_schema() {
        assert_eq!(measures(&Expression::All(Vec::new())).unwrap().len(), MEASURES.len());
    }
}
