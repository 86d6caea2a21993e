//! The workers: conversations that changed are claimed, read as they are now, analysed, written, and told.
//!
//! One task claims (`run`), as many as there is room for; those of one organization are read and analysed together, and long
//! ones on their own, so that they hold nobody up (`work`); what is ready is written together (`writer`). A conversation leaves the queue last of all: whatever
//! breaks off before, is done again. Replicas share the queue through claims and nothing else.

mod backlog;
mod judged;
mod rules;
#[cfg(test)]
mod tests;
mod views;
mod work;
mod writer;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use colloquy_log_client::Appender;
use colloquy_service::Task;
use colloquy_service::transport::Transport;
use colloquy_storage::StoreError;
use colloquy_types::{Clock, OrganizationId, Timestamp};
use futures::StreamExt;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::analysis::Rules;
use crate::hooks::{Contributors, Listeners};
use crate::store::{Claimed, Finish, Key, Store};

use self::rules::KnownRules;
use self::views::Views;
use self::work::{Made, Unmade, Workshop};

/// How many conversations one process has in hand.
const IN_HAND: usize = 192;
/// How many are claimed together.
const CLAIMED_TOGETHER: usize = 64;
/// How many of one organization are read and analysed together.
const WORKED_ON_TOGETHER: usize = 32;
/// For how long a conversation is claimed, and how often that is renewed. What a process had in hand when it was killed waits for so
/// long, so it is short: whoever loses a claim to another has worked for nothing, but done no harm.
const CLAIM: Duration = Duration::from_secs(10);
const RENEW_EVERY: Duration = Duration::from_secs(3);
/// How often the queue is looked at when nobody says that something is due.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// When the store is away.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What the workers need.
pub(crate) struct Parts {
    /// Where figures are kept.
    pub(crate) store: Arc<dyn Store>,
    /// Conversation-store.
    pub(crate) conversations: Transport,
    /// Transcript.
    pub(crate) transcripts: Transport,
    /// Where our own judgement is told.
    pub(crate) log: Appender,
    /// Who adds to analyses.
    pub(crate) contributors: Contributors,
    /// Who is told of them.
    pub(crate) listeners: Listeners,
    /// The time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Wakes the workers.
    pub(crate) wake: Arc<Notify>,
    /// Ends the work.
    pub(crate) stop: CancellationToken,
}

/// Returns the tasks that do the work.
pub(crate) fn tasks(parts: Parts) -> Vec<Task> {
    let backlog = backlog::task(Arc::clone(&parts.store), Arc::clone(&parts.clock), parts.stop.clone());
    vec![Task::new("analytics workers", run(parts)), backlog]
}

/// A conversation that was worked on.
struct Done {
    claimed: Claimed,
    own_leads: bool,
    made: Result<Box<Made>, Unmade>,
    /// Keeps the place it takes up until it is written.
    _place: Place,
}

type InHand = Arc<Mutex<HashMap<(Key, Uuid), Claimed>>>;

/// A place among those in hand, for as long as it lives.
struct Place {
    in_hand: InHand,
    key: (Key, Uuid),
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn taken(in_hand: &InHand, claimed: &Claimed, permit: OwnedSemaphorePermit) -> Self {
        let key = (claimed.key(), claimed.claim);
        in_hand.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), claimed.clone());
        Self { in_hand: Arc::clone(in_hand), key, _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

fn listed(in_hand: &InHand) -> Vec<Claimed> {
    in_hand.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
}

/// Claims what is due.
struct Claiming {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    known_rules: KnownRules,
    workshop: Arc<Workshop>,
    in_hand: InHand,
    places: Arc<Semaphore>,
    done: mpsc::Sender<Done>,
    working: JoinSet<()>,
}

async fn run(parts: Parts) -> anyhow::Result<()> {
    let Parts { store, conversations, transcripts, log, contributors, listeners, clock, wake, stop } = parts;
    let (done, ready) = mpsc::channel(IN_HAND);
    let writer = writer::Writer { store: Arc::clone(&store), log, listeners, clock: Arc::clone(&clock), wake: Arc::clone(&wake) };
    let mut writing = tokio::spawn(writer.run(ready));
    let mut claiming = Claiming {
        store: Arc::clone(&store),
        clock: Arc::clone(&clock),
        known_rules: KnownRules::default(),
        workshop: Arc::new(Workshop::new(Views::new(conversations, transcripts), contributors)),
        in_hand: InHand::default(),
        places: Arc::new(Semaphore::new(IN_HAND)),
        done,
        working: JoinSet::new(),
    };
    let mut renewed_at = Instant::now();
    let mut is_away = false;
    while !stop.is_cancelled() {
        while claiming.working.try_join_next().is_some() {}
        if renewed_at.elapsed() >= RENEW_EVERY {
            renewed_at = Instant::now();
            claiming.renew().await;
        }
        let pause = match claiming.claim().await {
            Ok(claimed) => {
                if std::mem::take(&mut is_away) {
                    tracing::info!("conversations are analysed again");
                }
                // More may be due.
                if claimed == CLAIMED_TOGETHER { Duration::ZERO } else { LOOK_EVERY }
            }
            Err(error) => {
                if !std::mem::replace(&mut is_away, true) {
                    tracing::warn!("what is to be analysed cannot be read, and is tried again: {error}");
                }
                TRY_AGAIN_AFTER
            }
        };
        if pause.is_zero() {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
            ended = &mut writing => {
                ended?;
                anyhow::bail!("what was analysed is not written any more");
            }
        }
    }
    claiming.end(writing).await;
    Ok(())
}

impl Claiming {
    /// Claims as many as there is room for, and sets to work on them. Returns how many.
    async fn claim(&mut self) -> Result<usize, StoreError> {
        let room = self.places.available_permits().min(CLAIMED_TOGETHER);
        if room == 0 {
            return Ok(0);
        }
        let now = self.clock.now();
        let mut claimed = self.store.claim(now, later(now, CLAIM), u32::try_from(room).unwrap_or(u32::MAX)).await?;
        if claimed.is_empty() {
            return Ok(0);
        }
        let mut organizations: Vec<OrganizationId> = claimed.iter().map(|claimed| claimed.organization_id.clone()).collect();
        organizations.sort_unstable();
        organizations.dedup();
        let settings = match self.store.settings(&organizations).await {
            Ok(settings) => settings,
            Err(error) => {
                let released: Vec<_> = claimed.into_iter().map(|claimed| (claimed, Finish::Released)).collect();
                self.store.finish(&released, now).await?;
                return Err(error);
            }
        };
        let count = claimed.len();
        let mut by_organization: BTreeMap<OrganizationId, Vec<Claimed>> = BTreeMap::new();
        // Those that were told of at one time are together, so that none waits for what only another needs to have been read.
        claimed.sort_unstable_by_key(|claimed| claimed.position);
        for claimed in claimed {
            by_organization.entry(claimed.organization_id.clone()).or_default().push(claimed);
        }
        for (organization, claimed) in by_organization {
            let settings = settings.get(&organization).cloned().unwrap_or_default();
            let rules = self.known_rules.of(&organization, &settings);
            for together in claimed.chunks(WORKED_ON_TOGETHER) {
                self.set_to_work(together.to_vec(), rules.clone()).await;
            }
        }
        Ok(count)
    }

    async fn set_to_work(&mut self, claimed: Vec<Claimed>, rules: Rules) {
        let mut places = Vec::with_capacity(claimed.len());
        for claimed in &claimed {
            // There is room: nobody else takes places.
            let Ok(permit) = Arc::clone(&self.places).acquire_owned().await else { return };
            places.push(Place::taken(&self.in_hand, claimed, permit));
        }
        let (workshop, done) = (Arc::clone(&self.workshop), self.done.clone());
        self.working.spawn(async move {
            let own_leads = rules.own_leads;
            let made = workshop.make_together(&claimed, &rules).await;
            let mut alone = Vec::new();
            // Nobody takes it when the process stops.
            for ((claimed, place), made) in claimed.into_iter().zip(places).zip(made) {
                match made {
                    Some(made) => drop(done.send(Done { claimed, own_leads, made, _place: place }).await),
                    None => alone.push((claimed, place)),
                }
            }
            let (workshop, rules, done) = (&workshop, &rules, &done);
            let each = |(claimed, place): (Claimed, Place)| async move {
                let made = workshop.make_alone(&claimed, rules).await;
                drop(done.send(Done { claimed, own_leads, made, _place: place }).await);
            };
            futures::stream::iter(alone).for_each_concurrent(None, each).await;
        });
    }

    /// Holds on to what is in hand.
    async fn renew(&self) {
        let in_hand = listed(&self.in_hand);
        if let Err(error) = self.store.renew(&in_hand, later(self.clock.now(), CLAIM)).await {
            tracing::debug!("claims could not be renewed: {error}");
        }
    }

    /// Ends the work: what is ready is written, and the rest given back.
    async fn end(mut self, writing: tokio::task::JoinHandle<()>) {
        let in_hand = listed(&self.in_hand);
        self.working.shutdown().await;
        drop(self.done);
        // A panic there was told already.
        let _ = writing.await;
        let released: Vec<_> = in_hand.into_iter().map(|claimed| (claimed, Finish::Released)).collect();
        if let Err(error) = self.store.finish(&released, self.clock.now()).await {
            tracing::debug!("what was in hand could not be given back: {error}");
        }
    }
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.saturating_add_millis(i64::try_from(by.as_millis()).unwrap_or(i64::MAX))
}
