//! What the transcript service is told at its start.

use std::sync::Arc;

use colloquy_service::transport::Transport;
use colloquy_storage::{DatabaseUrl, PageTokens};
use colloquy_types::Clock;
use tokio_util::sync::CancellationToken;

/// The settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where its database is.
    pub database_url: DatabaseUrl,
    /// Whether what was said is indexed, and can be searched. Switched on again, the index goes on where it was.
    pub search: bool,
}

/// What it needs from the process it runs in.
pub struct Deps {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Seals the tokens of pages.
    pub page_tokens: PageTokens,
    /// Ingestion, as this service calls it: with the service token.
    pub log: Transport,
    /// Ends what it does in the background.
    pub stop: CancellationToken,
}
