//! To and from `colloquy.analytics.v1`.

use colloquy_events::convert::timestamp_to_pb;
use colloquy_proto::analytics::v1 as pb;
use colloquy_service::{FieldErrors, Problem};
use colloquy_types::{ConversationId, ConversationName, OrganizationId};
use uuid::Uuid;

use super::compare::Agreement;
use super::definition::{Analyzer, Field, Given, GivenField, Kind, Question};
use super::run::{FoundValue, Run, RunResult};
use super::store::BackfillState;

const PAGE_SIZE_DEFAULT: u32 = 30;
const PAGE_SIZE_MAX: u32 = 100;

/// What an update may change, by the names of the fields.
const CHANGEABLE: [&str; 5] = ["name", "agent_ids", "fields", "scorecard", "enabled"];

/// Reads an id.
pub(super) fn id(field: &str, text: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(text).map_err(|_| Problem::invalid_field(field, "must be a UUID"))
}

/// Reads a page size: 0 means the default, more than the most is read as the most.
pub(super) fn page_size(given: i32) -> Result<u32, Problem> {
    match u32::try_from(given) {
        Ok(0) => Ok(PAGE_SIZE_DEFAULT),
        Ok(size) => Ok(size.min(PAGE_SIZE_MAX)),
        Err(_) => Err(Problem::invalid_field("page_size", "must be 0 to 100")),
    }
}

/// Reads which conversation is meant.
pub(super) fn conversation(organization: &OrganizationId, text: &str) -> Result<ConversationId, Problem> {
    let name: ConversationName = text.parse().map_err(|error| Problem::invalid_field("conversation_id", format!("{error}")))?;
    Ok(name.id(organization))
}

/// Reads an analyzer to make.
pub(super) fn new_analyzer(request: pb::CreateAnalyzerRequest) -> Result<Given, Problem> {
    let analyzer = request.analyzer.ok_or_else(|| Problem::invalid_field("analyzer", "is required"))?;
    Ok(given(analyzer, |_| true))
}

/// Reads a change.
pub(super) fn change(request: pb::UpdateAnalyzerRequest) -> Result<(Uuid, Given), Problem> {
    let analyzer = request.analyzer.ok_or_else(|| Problem::invalid_field("analyzer", "is required"))?;
    let mut errors = FieldErrors::new();
    let id = errors.check("analyzer.analyzer_id", Uuid::try_parse(&analyzer.analyzer_id).map_err(|_| "must be a UUID"));
    let mask = request.update_mask.map(|mask| mask.paths);
    for path in mask.iter().flatten().filter(|path| !CHANGEABLE.contains(&path.as_str())) {
        let shown: String = path.chars().filter(|letter| !letter.is_control()).take(64).collect();
        errors.add("update_mask", format!("'{shown}' cannot be changed; allowed: {}", CHANGEABLE.join(", ")));
    }
    errors.finish()?;
    let id = id.ok_or_else(|| Problem::invalid_field("analyzer.analyzer_id", "must be a UUID"))?;
    let set = is_set(&analyzer);
    let given = match mask {
        Some(paths) => given(analyzer, |name| paths.iter().any(|path| path == name)),
        None => given(analyzer, |name| set.contains(&name)),
    };
    Ok((id, given))
}

/// Returns the names of the fields that are not at their defaults.
fn is_set(analyzer: &pb::Analyzer) -> Vec<&'static str> {
    let set = [
        !analyzer.name.is_empty(),
        !analyzer.agent_ids.is_empty(),
        !analyzer.fields.is_empty(),
        !analyzer.scorecard.is_empty(),
        analyzer.enabled,
    ];
    CHANGEABLE.into_iter().zip(set).filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect()
}

fn given(analyzer: pb::Analyzer, wants: impl Fn(&str) -> bool) -> Given {
    let field = |field: pb::AnalyzerField| GivenField {
        name: field.name,
        kind: field.r#type,
        description: field.description,
        choices: field.choices,
        examples: field.examples,
    };
    let question =
        |question: pb::ScorecardQuestion| Question { name: question.name, question: question.question, weight: question.weight };
    Given {
        name: wants("name").then_some(analyzer.name),
        agent_ids: wants("agent_ids").then_some(analyzer.agent_ids),
        fields: wants("fields").then(|| analyzer.fields.into_iter().map(field).collect()),
        scorecard: wants("scorecard").then(|| analyzer.scorecard.into_iter().map(question).collect()),
        enabled: wants("enabled").then_some(analyzer.enabled),
    }
}

/// Writes an analyzer.
pub(super) fn analyzer_to_pb(analyzer: Analyzer) -> pb::Analyzer {
    let question =
        |question: Question| pb::ScorecardQuestion { name: question.name, question: question.question, weight: question.weight };
    pb::Analyzer {
        analyzer_id: analyzer.analyzer_id.to_string(),
        name: analyzer.name,
        agent_ids: analyzer.agent_ids,
        fields: analyzer.definition.fields.into_iter().map(field_to_pb).collect(),
        scorecard: analyzer.definition.scorecard.into_iter().map(question).collect(),
        enabled: analyzer.enabled,
        version: analyzer.version,
        created_at: Some(timestamp_to_pb(analyzer.created_at)),
        updated_at: Some(timestamp_to_pb(analyzer.updated_at)),
    }
}

fn field_to_pb(field: Field) -> pb::AnalyzerField {
    let r#type = field.kind.as_str().to_owned();
    let (choices, examples) = match field.kind {
        Kind::Enum { choices } => (choices, Vec::new()),
        Kind::String { examples } => (Vec::new(), examples),
        Kind::Boolean | Kind::Number | Kind::Date | Kind::Words => Default::default(),
    };
    pb::AnalyzerField { name: field.name, r#type, description: field.description, choices, examples }
}

/// Writes a run.
pub(super) fn run_to_pb(run: Run) -> pb::AnalyzerRun {
    let value = |(name, found): (String, FoundValue)| {
        let value = pb::CustomValue {
            value_json: found.value.map(|value| value.to_string()),
            not_established_because: found.absent_because.unwrap_or_default(),
            confidence: found.confidence,
            turn_ids: found.turns.iter().map(ToString::to_string).collect(),
            source: run.analyzer_id.to_string(),
            version: run.version,
        };
        (name, value)
    };
    let (status, error, found) = match run.result {
        RunResult::Succeeded(found) => ("succeeded", String::new(), found),
        RunResult::Failed(why) => ("failed", why, Default::default()),
    };
    pb::AnalyzerRun {
        run_id: run.run_id.to_string(),
        analyzer_id: run.analyzer_id.to_string(),
        version: run.version,
        conversation_id: run.conversation_id.to_string(),
        model: run.model.clone(),
        prompt_hash: hex::encode(run.prompt_hash),
        status: status.to_owned(),
        error,
        values: found.values.into_iter().map(value).collect(),
        scorecard: found.scorecard.into_iter().map(value).collect(),
        score: run.score,
        input_tokens: run.usage.input,
        output_tokens: run.usage.output,
        at: Some(timestamp_to_pb(run.at)),
        cached: run.cached,
    }
}

/// Writes a back-fill.
pub(super) fn backfill_to_pb(state: BackfillState) -> pb::Backfill {
    let backfill = state.backfill;
    pb::Backfill {
        backfill_id: if backfill.backfill_id.is_nil() { String::new() } else { backfill.backfill_id.to_string() },
        analyzer_id: backfill.analyzer_id.to_string(),
        version: backfill.version,
        conversations: backfill.conversations,
        already_done: backfill.already_done,
        estimated_tokens: backfill.estimated_tokens,
        estimated_days: backfill.estimated_days,
        done: state.done,
        failed: state.failed,
        status: match (backfill.backfill_id.is_nil(), state.is_finished) {
            (true, _) => String::new(),
            (false, true) => "finished".to_owned(),
            (false, false) => "running".to_owned(),
        },
        created_at: (!backfill.backfill_id.is_nil()).then(|| timestamp_to_pb(backfill.created_at)),
    }
}

/// Writes a comparison.
pub(super) fn agreement_to_pb(agreement: Agreement) -> pb::CompareAnalyzerVersionsResponse {
    let (mean_score_a, mean_score_b) = agreement.mean_scores();
    let field = |(name, field): (String, super::compare::FieldAgreement)| pb::FieldAgreement {
        name,
        same: field.same,
        different: field.different,
        only_a: field.only_one,
        only_b: field.only_other,
        examples: field.examples.iter().map(ToString::to_string).collect(),
    };
    pb::CompareAnalyzerVersionsResponse {
        conversations: agreement.conversations,
        fields: agreement.fields.into_iter().map(field).collect(),
        mean_score_a,
        mean_score_b,
    }
}

#[cfg(test)]
mod tests {
    use prost_types::FieldMask;

    use super::*;
    use crate::analyzer::samples;

    #[test]
    fn an_analyzer_is_read_as_it_was_written() {
        let analyzer = samples::analyzer("acme", 1);
        let written = analyzer_to_pb(analyzer.clone());
        let given = new_analyzer(pb::CreateAnalyzerRequest { analyzer: Some(written) }).unwrap();
        let mut read = Analyzer { definition: Default::default(), name: String::new(), ..analyzer.clone() };
        let mut errors = FieldErrors::new();
        given.check(&mut errors).apply(&mut read, &mut errors);
        errors.finish().unwrap();
        assert_eq!(read, analyzer);
    }

    #[test]
    fn a_change_is_what_the_mask_names_or_what_is_set() {
        let analyzer = pb::Analyzer { analyzer_id: Uuid::nil().to_string(), name: "new".to_owned(), ..Default::default() };
        let request = |paths: Option<&[&str]>| pb::UpdateAnalyzerRequest {
            analyzer: Some(analyzer.clone()),
            update_mask: paths.map(|paths| FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() }),
        };
        let (_, given) = change(request(None)).unwrap();
        assert_eq!(given, Given { name: Some("new".to_owned()), ..Given::default() });
        let (_, given) = change(request(Some(&["enabled", "scorecard"]))).unwrap();
        assert_eq!(given, Given { enabled: Some(false), scorecard: Some(Vec::new()), ..Given::default() });
        let problem = change(request(Some(&["version"]))).unwrap_err();
        assert_eq!(problem.fields[0].field, "update_mask");
    }
}
