//! What organizations want to know of their conversations, and what was found.

use std::collections::BTreeMap;

use colloquy_proto::analytics::v1 as pb;
use serde::Serialize;
use utoipa::ToSchema;

use super::analytics::CustomValue;
use super::time::Time;
use super::word;

/// What an organization wants to know of some of its conversations.
#[derive(Serialize, ToSchema)]
pub(crate) struct Analyzer {
    /// UUID.
    analyzer_id: String,
    /// What people call it.
    name: String,
    /// Whose conversations; empty means all agents.
    agent_ids: Vec<String>,
    /// What is extracted.
    fields: Vec<AnalyzerField>,
    /// What is scored.
    scorecard: Vec<ScorecardQuestion>,
    /// Whether every conversation is analysed once it has ended.
    enabled: bool,
    /// Counts what changed its answers, from 1.
    version: u32,
    /// When it was made.
    created_at: Time,
    /// When it was last changed.
    updated_at: Time,
}

/// One value that is extracted.
#[derive(Serialize, ToSchema)]
pub(crate) struct AnalyzerField {
    /// Its name in `custom_analysis` and in queries (`custom.NAME`).
    name: String,
    /// `enum`, `string`, `boolean`, `number` or `date`.
    r#type: String,
    /// What to look for.
    description: String,
    /// The values of an `enum`.
    choices: Vec<String>,
    /// Examples of a `string`.
    examples: Vec<String>,
}

/// One question of a scorecard.
#[derive(Serialize, ToSchema)]
pub(crate) struct ScorecardQuestion {
    /// What identifies it within its analyzer.
    name: String,
    /// What is asked.
    question: String,
    /// How much it counts.
    weight: f64,
}

/// A page of analyzers.
#[derive(Serialize, ToSchema)]
pub(crate) struct AnalyzerPage {
    /// Newest first.
    analyzers: Vec<Analyzer>,
    /// Whether there are more.
    has_more: bool,
    /// Where the next page begins; `null` on the last.
    cursor: Option<String>,
}

/// What one analyzer said of one conversation, once.
#[derive(Serialize, ToSchema)]
pub(crate) struct AnalyzerRun {
    /// UUID.
    run_id: String,
    /// UUID of the analyzer.
    analyzer_id: String,
    /// Its version.
    version: u32,
    /// UUID of the conversation.
    conversation_id: String,
    /// The model that was asked.
    model: String,
    /// SHA-256 of what it was asked, in hex.
    prompt_hash: String,
    /// `succeeded` or `failed`.
    status: String,
    /// Why it failed.
    error: Option<String>,
    /// What was extracted, by field.
    values: BTreeMap<String, CustomValue>,
    /// What was scored, by question: true, false, or `null` when it does not apply.
    scorecard: BTreeMap<String, CustomValue>,
    /// The weighted part of the questions that apply which were answered with yes, from 0 to 1.
    score: Option<f64>,
    /// How many tokens were sent.
    input_tokens: u64,
    /// How many tokens came back.
    output_tokens: u64,
    /// When it ran.
    at: Time,
    /// Whether its answer was taken from an earlier, equal question.
    cached: bool,
}

/// A page of runs.
#[derive(Serialize, ToSchema)]
pub(crate) struct AnalyzerRunPage {
    /// Newest first.
    runs: Vec<AnalyzerRun>,
    /// Whether there are more.
    has_more: bool,
    /// Where the next page begins; `null` on the last.
    cursor: Option<String>,
}

/// Many runs.
#[derive(Serialize, ToSchema)]
pub(crate) struct Backfill {
    /// UUID; `null` for an estimate.
    backfill_id: Option<String>,
    /// UUID of the analyzer.
    analyzer_id: String,
    /// The version it runs.
    version: u32,
    /// How many conversations match.
    conversations: u64,
    /// How many of them have a run of this version already.
    already_done: u64,
    /// About how many tokens it takes.
    estimated_tokens: u64,
    /// About how many days it takes at the installation's budget.
    estimated_days: f64,
    /// How many have been run.
    done: u64,
    /// How many of them failed.
    failed: u64,
    /// `running` or `finished`; `null` for an estimate.
    status: Option<String>,
    /// When it began.
    created_at: Time,
}

/// How two versions of an analyzer agree.
#[derive(Serialize, ToSchema)]
pub(crate) struct VersionComparison {
    /// How many conversations both have seen.
    conversations: u64,
    /// By field and question that both have.
    fields: Vec<FieldAgreement>,
    /// The mean score of the first.
    mean_score_a: Option<f64>,
    /// The mean score of the second.
    mean_score_b: Option<f64>,
}

/// How two versions agree on one field or question.
#[derive(Serialize, ToSchema)]
pub(crate) struct FieldAgreement {
    /// The field or question.
    name: String,
    /// How often both established the same value.
    same: u64,
    /// How often they established different values.
    different: u64,
    /// How often only the first established one.
    only_a: u64,
    /// How often only the second established one.
    only_b: u64,
    /// Some conversations on which they differ.
    examples: Vec<String>,
}

impl From<pb::Analyzer> for Analyzer {
    fn from(given: pb::Analyzer) -> Self {
        let field = |given: pb::AnalyzerField| AnalyzerField {
            name: given.name,
            r#type: given.r#type,
            description: given.description,
            choices: given.choices,
            examples: given.examples,
        };
        let question =
            |given: pb::ScorecardQuestion| ScorecardQuestion { name: given.name, question: given.question, weight: given.weight };
        Self {
            analyzer_id: given.analyzer_id,
            name: given.name,
            agent_ids: given.agent_ids,
            fields: given.fields.into_iter().map(field).collect(),
            scorecard: given.scorecard.into_iter().map(question).collect(),
            enabled: given.enabled,
            version: given.version,
            created_at: given.created_at.into(),
            updated_at: given.updated_at.into(),
        }
    }
}

impl From<pb::ListAnalyzersResponse> for AnalyzerPage {
    fn from(given: pb::ListAnalyzersResponse) -> Self {
        let cursor = word(given.next_page_token);
        Self { analyzers: given.analyzers.into_iter().map(Into::into).collect(), has_more: cursor.is_some(), cursor }
    }
}

impl From<pb::AnalyzerRun> for AnalyzerRun {
    fn from(given: pb::AnalyzerRun) -> Self {
        Self {
            run_id: given.run_id,
            analyzer_id: given.analyzer_id,
            version: given.version,
            conversation_id: given.conversation_id,
            model: given.model,
            prompt_hash: given.prompt_hash,
            status: given.status,
            error: word(given.error),
            values: given.values.into_iter().map(|(name, value)| (name, value.into())).collect(),
            scorecard: given.scorecard.into_iter().map(|(name, value)| (name, value.into())).collect(),
            score: given.score,
            input_tokens: given.input_tokens,
            output_tokens: given.output_tokens,
            at: given.at.into(),
            cached: given.cached,
        }
    }
}

impl From<pb::ListAnalyzerRunsResponse> for AnalyzerRunPage {
    fn from(given: pb::ListAnalyzerRunsResponse) -> Self {
        let cursor = word(given.next_page_token);
        Self { runs: given.runs.into_iter().map(Into::into).collect(), has_more: cursor.is_some(), cursor }
    }
}

impl From<pb::Backfill> for Backfill {
    fn from(given: pb::Backfill) -> Self {
        Self {
            backfill_id: word(given.backfill_id),
            analyzer_id: given.analyzer_id,
            version: given.version,
            conversations: given.conversations,
            already_done: given.already_done,
            estimated_tokens: given.estimated_tokens,
            estimated_days: given.estimated_days,
            done: given.done,
            failed: given.failed,
            status: word(given.status),
            created_at: given.created_at.into(),
        }
    }
}

impl From<pb::CompareAnalyzerVersionsResponse> for VersionComparison {
    fn from(given: pb::CompareAnalyzerVersionsResponse) -> Self {
        let agreement = |given: pb::FieldAgreement| FieldAgreement {
            name: given.name,
            same: given.same,
            different: given.different,
            only_a: given.only_a,
            only_b: given.only_b,
            examples: given.examples,
        };
        Self {
            conversations: given.conversations,
            fields: given.fields.into_iter().map(agreement).collect(),
            mean_score_a: given.mean_score_a,
            mean_score_b: given.mean_score_b,
        }
    }
}
