//! How conversations are analysed.

use colloquy_proto::analytics::v1 as pb;
use serde::Serialize;
use utoipa::ToSchema;

/// How an organization's conversations are analysed.
#[derive(Serialize, ToSchema)]
pub(crate) struct AnalysisSettings {
    /// From when on a pause is silence, in milliseconds.
    silence_ms: u32,
    /// Whose analysis leads where both have one: `provider` or `own`.
    leading: String,
    /// The organization's own topics.
    taxonomy: Vec<TaxonomyTopic>,
    /// Whether the language model, where one is configured, is asked of every conversation what it was about and how it went.
    insight_enabled: bool,
}

/// A topic of an organization's own.
#[derive(Serialize, ToSchema)]
pub(crate) struct TaxonomyTopic {
    /// What it is called.
    name: String,
    /// What is said when it is the topic.
    phrases: Vec<String>,
}

impl From<pb::AnalysisSettings> for AnalysisSettings {
    fn from(given: pb::AnalysisSettings) -> Self {
        let topic = |given: pb::TaxonomyTopic| TaxonomyTopic { name: given.name, phrases: given.phrases };
        Self {
            silence_ms: given.silence_ms,
            leading: given.leading,
            taxonomy: given.taxonomy.into_iter().map(topic).collect(),
            // An organization begins with it, and replicas of an earlier release do not say it.
            insight_enabled: given.insight_enabled.unwrap_or(true),
        }
    }
}
