//! Conversations: read, analysed, and made into figures.

use std::sync::Arc;
use std::time::{Duration, Instant};

use colloquy_service::metrics;
use colloquy_storage::StoreError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::views::{Read, Unread, Views};
use crate::analysis::{Analysis, Rules, analyse};
use crate::features::Features;
use crate::hooks::{Adding, Contributors};
use crate::input::Input;
use crate::store::Claimed;

/// How many conversations are read at once.
const READS: usize = 8;
/// A conversation with more turns is large.
const LARGE_TURNS: usize = 2_000;
/// How many large ones are in memory, waiting for their turn.
const LARGE_IN_MEMORY: usize = 4;
/// When there is no room for a large one.
const NO_ROOM: Duration = Duration::from_secs(5);

/// What it is done with.
pub(super) struct Workshop {
    views: Views,
    contributors: Contributors,
    reads: Arc<Semaphore>,
    small: Arc<Semaphore>,
    large_in_memory: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// What a conversation came to.
pub(super) struct Made {
    pub(super) input: Input,
    pub(super) analysis: Analysis,
    pub(super) features: Features,
    /// How long it took.
    pub(super) took: Duration,
}

/// Why a conversation came to nothing.
#[derive(Debug)]
pub(super) enum Unmade {
    /// There is none any more.
    Gone,
    /// Not now.
    Later(Duration),
    /// It did not work. Why, without a word of the conversation.
    Failed(String),
}

impl From<Unread> for Unmade {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Gone => Self::Gone,
            Unread::Later(wait) => Self::Later(wait),
            Unread::Failed(code) => Self::Failed(format!("it cannot be read ({code:?})")),
            Unread::Together => Self::Later(NO_ROOM),
        }
    }
}

impl From<StoreError> for Unmade {
    fn from(error: StoreError) -> Self {
        match error {
            error if error.is_transient() => Self::Later(Duration::from_secs(1)),
            error => Self::Failed(error.to_string()),
        }
    }
}

impl Workshop {
    pub(super) fn new(views: Views, contributors: Contributors) -> Self {
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            views,
            contributors,
            reads: Arc::new(Semaphore::new(READS)),
            small: Arc::new(Semaphore::new(processors)),
            large_in_memory: Arc::new(Semaphore::new(LARGE_IN_MEMORY)),
            large: Arc::new(Semaphore::new(1)),
        }
    }

    /// Makes figures of conversations of one organization, in their order, as far as they can be worked on together; `None` for those
    /// that have to be made alone.
    pub(super) async fn make_together(&self, claimed: &[Claimed], rules: &Rules) -> Vec<Option<Result<Box<Made>, Unmade>>> {
        let none = || claimed.iter().map(|_| None).collect();
        if claimed.len() < 2 {
            return none();
        }
        let Ok(reading) = acquire(&self.reads).await else { return none() };
        let read = self.views.read_together(claimed).await;
        drop(reading);
        let Ok(processor) = acquire(&self.small).await else { return none() };
        let rules = rules.clone();
        let analysed = tokio::task::spawn_blocking(move || {
            let _held = processor;
            read.into_iter().map(|read| analyse_of_many(read, &rules)).collect::<Vec<_>>()
        });
        let Ok(mut analysed) = analysed.await else { return none() };
        if self.add_to(claimed, &mut analysed).await.is_err() {
            return none();
        }
        let made = |(claimed, analysed): (&Claimed, Option<Result<Analysed, Unmade>>)| {
            Some(analysed?.map(|analysed| made(claimed, analysed)))
        };
        claimed.iter().zip(analysed).map(made).collect()
    }

    async fn add_to(&self, claimed: &[Claimed], analysed: &mut [Option<Result<Analysed, Unmade>>]) -> Result<(), StoreError> {
        let Some(organization) = claimed.first().map(|claimed| &claimed.organization_id) else { return Ok(()) };
        let analysed = analysed.iter_mut().filter_map(|analysed| analysed.as_mut()?.as_mut().ok());
        let mut adding: Vec<Adding<'_>> = analysed.map(|Analysed { input, analysis, .. }| Adding { input, analysis }).collect();
        if adding.is_empty() {
            return Ok(());
        }
        for contributor in &self.contributors {
            contributor.add(organization, &mut adding).await?;
        }
        Ok(())
    }

    /// Makes figures of a conversation.
    pub(super) async fn make_alone(&self, claimed: &Claimed, rules: &Rules) -> Result<Box<Made>, Unmade> {
        let reading = acquire(&self.reads).await?;
        let read = self.views.read(claimed).await?;
        // Large ones wait for each other, and nobody else for them.
        let is_large = read.turns.len() > LARGE_TURNS;
        let room = match is_large {
            true => Some(self.large_in_memory.clone().try_acquire_owned().map_err(|_| Unmade::Later(NO_ROOM))?),
            false => None,
        };
        drop(reading);
        let processor = acquire(if is_large { &self.large } else { &self.small }).await?;
        let rules = rules.clone();
        let analysed = tokio::task::spawn_blocking(move || {
            let _held = (processor, room);
            analyse_one(read, &rules)
        });
        // What a panic said may quote a conversation.
        let mut analysed = analysed.await.map_err(|_| Unmade::Failed("an analyser failed".to_owned()))??;
        let Analysed { input, analysis, .. } = &mut analysed;
        for contributor in &self.contributors {
            contributor.add(&claimed.organization_id, &mut [Adding { input, analysis }]).await?;
        }
        Ok(made(claimed, analysed))
    }
}

/// A conversation that was analysed.
struct Analysed {
    input: Input,
    analysis: Analysis,
    took: Duration,
}

fn made(claimed: &Claimed, Analysed { input, analysis, took }: Analysed) -> Box<Made> {
    let features = Features::of(&input, &analysis, claimed.position);
    metrics::analysis_took(took);
    Box::new(Made { input, analysis, features, took })
}

async fn acquire(semaphore: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Unmade> {
    // It is never closed.
    semaphore.clone().acquire_owned().await.map_err(|_| Unmade::Later(NO_ROOM))
}

/// Analyses one of several conversations; `None` for one that has to be worked on alone: the others must not wait for a large one.
fn analyse_of_many(read: Result<Read, Unread>, rules: &Rules) -> Option<Result<Analysed, Unmade>> {
    match read {
        Err(Unread::Together) => None,
        Err(unread) => Some(Err(unread.into())),
        Ok(read) if read.turns.len() > LARGE_TURNS => None,
        Ok(read) => Some(analyse_one(read, rules)),
    }
}

fn analyse_one(read: Read, rules: &Rules) -> Result<Analysed, Unmade> {
    let began = Instant::now();
    let input = Input::of(&read.record, read.turns)
        .map_err(|bad| Unmade::Failed(format!("this release cannot read its field '{}'", bad.field)))?;
    let analysis = analyse(&input, rules);
    Ok(Analysed { input, analysis, took: began.elapsed() })
}
