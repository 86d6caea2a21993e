//! What organizations are told of their conversations once a model is there: summary, topics, intent and how it went. An organization
//! may do without (`insight_enabled` of its settings): then the model is not asked, and what it said before stays.

use std::sync::LazyLock;

use colloquy_events::ResolutionStatus;
use colloquy_storage::StoreError;
use colloquy_types::OrganizationId;
use serde_json::Value;
use uuid::Uuid;

use super::definition::{Definition, Field, Kind};
use super::run::Found;
use crate::store::Store as Figures;

/// The built-in analyzer's id.
pub const INSIGHT_ID: Uuid = Uuid::from_u128(0x1f5d_0c3e_5b7a_5a10_8c41_696e_7369_6768);

/// Counts what changed its answers.
pub const INSIGHT_VERSION: u32 = 1;

/// No more topics are taken.
const MOST_TOPICS: usize = 8;

/// What is asked.
pub static INSIGHT: LazyLock<Definition> = LazyLock::new(|| {
    let field =
        |name: &str, kind: Kind, description: &str| Field { name: name.to_owned(), kind, description: description.to_owned() };
    let examples = |examples: &[&str]| examples.iter().map(|&example| example.to_owned()).collect();
    let resolutions = ["resolved", "unresolved", "escalated", "transferred", "unknown"];
    Definition {
        fields: vec![
            field(
                "summary",
                Kind::String { examples: Vec::new() },
                "What the conversation was about and what came of it: two or three sentences in the language of the conversation.",
            ),
            field("topics", Kind::Words, "One to five topics, each in one to three lower-case English words."),
            field(
                "intent",
                Kind::String { examples: examples(&["book_appointment", "cancel_order", "ask_opening_hours"]) },
                "What the user wanted, as one English phrase in snake_case.",
            ),
            field(
                "resolution_status",
                Kind::Enum { choices: examples(&resolutions) },
                "What became of it: the user's matter was dealt with (resolved) or not (unresolved), a person was asked for or \
                 promised (escalated), the user was handed over (transferred), or it cannot be told (unknown).",
            ),
            field("satisfaction_score", Kind::Number, "How satisfied the user was, from 1 (not at all) to 5 (very)."),
        ],
        scorecard: Vec::new(),
    }
});

/// Returns whether an organization wants its conversations asked about.
pub(super) async fn is_wanted(figures: &dyn Figures, organization: &OrganizationId) -> Result<bool, StoreError> {
    let settings = figures.settings(std::slice::from_ref(organization)).await?;
    Ok(settings.get(organization).is_none_or(|settings| settings.insight_enabled))
}

/// What the model says of a conversation.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Insight {
    /// In prose.
    pub summary: Option<String>,
    /// What it was about.
    pub topics: Option<Vec<String>>,
    /// What the person wanted.
    pub intent: Option<String>,
    /// What became of it.
    pub resolution_status: Option<ResolutionStatus>,
    /// From 1 to 5.
    pub satisfaction_score: Option<f64>,
}

impl Insight {
    /// Reads what a run of the built-in analyzer found.
    pub fn of(found: &Found) -> Self {
        let value = |name: &str| found.values.get(name).and_then(|value| value.value.as_ref());
        let text = |name: &str| value(name).and_then(Value::as_str).map(str::to_owned);
        let topics = value("topics")
            .and_then(Value::as_array)
            .map(|topics| topics.iter().filter_map(Value::as_str).take(MOST_TOPICS).map(str::to_lowercase).collect());
        Self {
            summary: text("summary"),
            topics,
            intent: text("intent"),
            resolution_status: text("resolution_status").and_then(|status| status.parse().ok()),
            satisfaction_score: value("satisfaction_score").and_then(Value::as_f64).filter(|score| (1.0..=5.0).contains(score)),
        }
    }
}
