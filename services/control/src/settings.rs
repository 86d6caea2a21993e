//! What the control service is told at its start.

use std::sync::Arc;

use colloquy_outbound::Policy;
use colloquy_service::transport::Transport;
use colloquy_storage::DatabaseUrl;
use colloquy_types::Clock;
use tokio_util::sync::CancellationToken;

/// The settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where its database is.
    pub database: DatabaseUrl,
    /// What outbound requests may reach.
    pub outbound: Policy,
}

/// What it needs from the process it runs in.
pub struct Deps {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ends what it does in the background.
    pub stop: CancellationToken,
    /// Ingestion, with the service token: the log, and the credentials of sources.
    pub ingestion: Transport,
    /// Conversation-store, with the service token: names and states of conversations.
    pub conversations: Transport,
}
