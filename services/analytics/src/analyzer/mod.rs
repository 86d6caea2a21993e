//! What organizations want to know of their conversations beyond what everybody does, established by a language model.
//!
//! An analyzer is a [`definition`]: fields to extract, questions to score. Conversations that are over are queued ([`Listener`]);
//! workers show the model a transcript as data, within the day's budget, and believe nothing of its answer that does not fit the
//! definition. What comes of it is an immutable [`run`], which is then part of the conversation's figures: the conversation is
//! analysed again, with what was found.
//!
//! Without a model analyzers can be managed, and nothing is asked.

mod answer;
mod asker;
mod backfill;
mod by_hand;
mod compare;
mod conversations;
mod convert;
pub mod definition;
mod error;
#[cfg(test)]
mod fake;
mod grpc;
pub mod insight;
mod listener;
mod manage;
pub mod model;
mod prompt;
pub mod run;
#[cfg(test)]
mod samples;
pub mod store;
#[cfg(test)]
mod tests;
mod transcript;
mod worker;
#[cfg(test)]
mod world;

use std::sync::Arc;

use colloquy_service::Task;
use colloquy_service::transport::Transport;
use colloquy_storage::PageTokens;
use colloquy_types::Clock;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use grpc::Handler;
pub use listener::{Listener, Results};
pub use worker::Pace;

use asker::Asker;
use model::Model;
use store::Store;

/// What the module needs.
pub struct Parts {
    /// Where analyzers and runs are kept.
    pub store: Arc<dyn Store>,
    /// Where figures are kept.
    pub figures: Arc<dyn crate::store::Store>,
    /// Who is asked, and how many tokens an organization may use of it in a day.
    pub model: Option<(Arc<dyn Model>, u64)>,
    /// Conversation-store, called as this installation itself.
    pub conversations: Transport,
    /// Transcript, likewise.
    pub transcripts: Transport,
    /// Wakes those who make figures.
    pub wake_figures: Arc<Notify>,
    /// Seals page tokens.
    pub page_tokens: PageTokens,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How the work is done.
    pub pace: Pace,
    /// Ends the work.
    pub stop: CancellationToken,
}

/// The module, ready to be composed.
pub struct Built {
    /// The methods of `AnalyzerService`.
    pub handler: Handler,
    /// Listens to what is analysed, and adds to it.
    pub listener: Arc<Listener>,
    /// What it does in the background.
    pub tasks: Vec<Task>,
}

/// Puts the module together.
pub fn build(parts: Parts) -> Built {
    let Parts { store, figures, model, conversations, transcripts, wake_figures, page_tokens, clock, pace, stop } = parts;
    let conversations = conversations::Conversations::new(conversations, transcripts);
    let (wake, wake_lists) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let tokens_per_day = model.as_ref().map(|(_, tokens)| *tokens);
    let asker = model.map(|(model, tokens_per_day)| {
        let (store, clock, stop) = (Arc::clone(&store), Arc::clone(&clock), stop.clone());
        let places = Arc::new(Semaphore::new(pace.concurrency));
        Arc::new(Asker { store, model, tokens_per_day, clock, places, stop })
    });
    let worker = worker::Worker {
        store: Arc::clone(&store),
        figures: Arc::clone(&figures),
        conversations: conversations.clone(),
        asker: asker.clone(),
        clock: Arc::clone(&clock),
        wake: Arc::clone(&wake),
        wake_figures,
        pace,
        stop: stop.clone(),
    };
    let listener = Arc::new(Listener {
        store: Arc::clone(&store),
        figures,
        asker: asker.clone(),
        clock: Arc::clone(&clock),
        wake: Arc::clone(&wake),
        pace,
    });
    let under_way = TaskTracker::new();
    let by_hand = by_hand::ByHand {
        store: Arc::clone(&store),
        conversations: conversations.clone(),
        asker,
        under_way: under_way.clone(),
        wake,
        patience: pace.patience,
    };
    let backfills = backfill::Backfills {
        store: Arc::clone(&store),
        conversations,
        tokens_per_day,
        clock: Arc::clone(&clock),
        wake: wake_lists,
    };
    let tasks = vec![
        Task::new("analyzer worker", worker.run()),
        Task::new("analyzer back-fills", backfills.clone().run(stop.clone())),
        Task::new("analyzers run by hand", until_done(under_way, stop)),
    ];
    let analyzers = manage::Analyzers::new(Arc::clone(&store), clock);
    Built { handler: Handler { analyzers, by_hand, backfills, store, page_tokens }, listener, tasks }
}

/// Waits until the service stops, and then for what somebody began by hand.
async fn until_done(under_way: TaskTracker, stop: CancellationToken) -> anyhow::Result<()> {
    stop.cancelled().await;
    under_way.close();
    under_way.wait().await;
    Ok(())
}
