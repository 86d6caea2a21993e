//! Rules that watch conversations, and the alerts they raise.
//!
//! - [`rule`]: what a rule is; [`defaults`]: those every organization begins with; [`convert`]: how they are written and read.
//! - [`evaluate`]: which rules one conversation comes under. [`live`] asks whenever a conversation was analysed, and when time alone
//!   may have decided; [`backtest`] asks the same of history.
//! - [`windows`]: rules over a window of time, with the state machine of [`state`] and the figures of [`measure`].
//! - [`store`]: where all of it is kept. An alert is known by an id derived from its rule and what it is about, and its events go to
//!   the log out of the transaction that made it ([`announcer`]): so it is raised once, whichever replica notices, however often.
//! - [`reminder`]: tells again of what nobody looks into. [`grpc`]: what people ask for.

#[expect(clippy::module_inception, reason = "an alert is what the module is named after")]
pub mod alert;
pub mod announcer;
pub mod backtest;
pub mod book;
pub mod convert;
pub mod defaults;
pub mod evaluate;
pub mod fields;
pub mod grpc;
pub mod live;
pub mod measure;
pub mod phrases;
pub mod reminder;
pub mod rule;
pub mod state;
pub mod store;
pub mod transcripts;
pub mod windows;

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use colloquy_log_client::Appender;
use colloquy_service::Task;
use colloquy_service::transport::Transport;
use colloquy_storage::{Database, PageTokens, StoreError};
use colloquy_types::Clock;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::analysed::Frontier;
use crate::hooks::Analysed;
use crate::query::Queries;

/// What alerts need.
pub struct Parts {
    /// Where rules and alerts are kept.
    pub database: Database,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Seals page tokens.
    pub page_tokens: PageTokens,
    /// Ends what is done in the background.
    pub stop: CancellationToken,
    /// Where events go.
    pub log: Transport,
    /// Where it stands what was said.
    pub transcripts: Transport,
    /// Answers what rules over a window ask.
    pub queries: Queries,
    /// Up to where conversations are analysed.
    pub frontier: Frontier,
}

/// Alerts, put together.
pub struct Alerts {
    /// Answers calls: `into_server` makes the service.
    pub handler: grpc::Handler,
    /// Hears of conversations that were analysed.
    pub listener: Arc<dyn Analysed>,
    /// What is done in the background.
    pub tasks: Vec<Task>,
}

/// Puts alerts together.
///
/// # Errors
/// When the store cannot note that conversations are watched from now on.
pub async fn build(parts: Parts) -> Result<Alerts, StoreError> {
    let Parts { database, clock, page_tokens, stop, log, transcripts, queries, frontier } = parts;
    let measures: Arc<dyn measure::Measures> = Arc::new(measure::Figures::new(queries, frontier.clone()));
    let store = store::open(&database);
    store.beginning(clock.now()).await?;
    let transcripts: Arc<dyn transcripts::Transcripts> = Arc::new(transcripts::Remote::new(transcripts));
    let bell = Arc::new(Notify::new());
    let book = book::Book::new(Arc::clone(&store), Arc::clone(&clock));
    let live = Arc::new(live::Conversations::new(live::Parts {
        store: Arc::clone(&store),
        book: book.clone(),
        transcripts: Arc::clone(&transcripts),
        clock: Arc::clone(&clock),
        bell: Arc::clone(&bell),
    }));
    let windows = windows::Windows::new(windows::Parts {
        store: Arc::clone(&store),
        book: book.clone(),
        measures,
        clock: Arc::clone(&clock),
        bell: Arc::clone(&bell),
    });
    let announcer = announcer::Announcer::new(Arc::clone(&store), Appender::new(log), Arc::clone(&clock), Arc::clone(&bell));
    let reminder = reminder::Reminder::new(Arc::clone(&store), Arc::clone(&clock), Arc::clone(&bell));
    let handler = grpc::Handler {
        backtests: backtest::Backtests::new(Arc::clone(&store), transcripts, Arc::clone(&clock)),
        store,
        book,
        page_tokens,
        frontier,
        clock,
        bell,
    };
    let tasks = vec![
        Task::new("alerts of running conversations", Arc::clone(&live).run(stop.clone())),
        Task::new("alerts over windows", windows.run(stop.clone())),
        Task::new("alert reminders", reminder.run(stop.clone())),
        Task::new("alert events", announcer.run(stop)),
    ];
    Ok(Alerts { handler, listener: live, tasks })
}
