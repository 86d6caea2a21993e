//! What the notification service is told at its start.

use std::fmt;
use std::sync::Arc;

use colloquy_outbound::Policy;
use colloquy_service::transport::Transport;
use colloquy_storage::{DatabaseUrl, MasterKey, PageTokens};
use colloquy_types::Clock;
use tokio_util::sync::CancellationToken;

/// The settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where its database is.
    pub database: DatabaseUrl,
    /// What outbound requests may reach.
    pub outbound: Policy,
    /// Protects the endpoints' secrets.
    pub master_key: MasterKey,
    /// How e-mail is sent; without it endpoints of that kind are refused.
    pub smtp: Option<Smtp>,
}

/// How e-mail is sent.
#[derive(Clone)]
pub struct Smtp {
    /// `smtp://host:port` (STARTTLS where offered), `smtps://host:port`; user and password may stand in it.
    pub url: String,
    /// What messages are from, for example `Colloquy <alerts@example.com>`.
    pub from: String,
}

impl fmt::Debug for Smtp {
    /// Shows no password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smtp").field("from", &self.from).finish_non_exhaustive()
    }
}

/// What it needs from the process it runs in.
pub struct Deps {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Makes and reads page tokens.
    pub page_tokens: PageTokens,
    /// Ends what it does in the background.
    pub stop: CancellationToken,
    /// Ingestion, with the service token: the log.
    pub log: Transport,
    /// Conversation-store, with the service token: records for the bodies that show a whole conversation.
    pub conversations: Transport,
    /// Transcript, with the service token: the turns for them.
    pub transcripts: Transport,
}
