//! What the analytics service is told at its start.

use std::sync::Arc;

use colloquy_service::transport::Transport;
use colloquy_storage::{DatabaseUrl, PageTokens};
use colloquy_types::Clock;
use tokio_util::sync::CancellationToken;

/// The settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where its database is.
    pub database: DatabaseUrl,
    /// The language model that organizations' own analyzers ask; without one they are off.
    pub model: Option<ModelSettings>,
}

/// How a language model is reached: any endpoint that speaks OpenAI's chat completions.
#[derive(Clone)]
pub struct ModelSettings {
    /// For example `https://api.openai.com/v1`. The operator chose it, so it may be inside the own network.
    pub url: String,
    /// What the endpoint is asked with; empty for endpoints that ask for none.
    pub api_key: String,
    /// The model's name.
    pub model: String,
    /// How many tokens, sent and received, an organization may use in a day (UTC).
    pub tokens_per_day: u64,
}

impl std::fmt::Debug for ModelSettings {
    /// Shows no key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelSettings").field("model", &self.model).finish_non_exhaustive()
    }
}

/// What it needs from the process it runs in.
pub struct Deps {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Seals page tokens.
    pub page_tokens: PageTokens,
    /// Ends what it does in the background.
    pub stop: CancellationToken,
    /// Ingestion, called as this installation itself.
    pub log: Transport,
    /// Conversation-store, likewise.
    pub conversations: Transport,
    /// Transcript, likewise.
    pub transcripts: Transport,
}
