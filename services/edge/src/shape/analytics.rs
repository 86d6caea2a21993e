//! Figures of conversations: of one, and of many.

mod agents;
mod answer;
mod comparison;
mod conversation;
mod patterns;
mod schema;
mod settings;

pub(crate) use agents::AgentTable;
pub(crate) use answer::{AnalyticsAnswer, Asked};
pub(crate) use comparison::Comparisons;
pub(crate) use conversation::{ConversationAnalytics, CustomValue};
pub(crate) use patterns::Patterns;
pub(crate) use schema::AnalyticsSchema;
pub(crate) use settings::AnalysisSettings;
