//! Starts attempts, and sees to it that there is always something to start.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use colloquy_service::Task;
use colloquy_storage::StoreError;
use colloquy_types::Clock;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::attempts::{self, Ended};
use super::bodies::Bodies;
use super::finisher::{self, Done, Finisher};
use super::lane::{Held, Went};
use super::state::{Refused, State};
use super::target::{Target, open_all};
use super::{Parts, START_WITHIN, backlog, claimed_until, examine};
use crate::delivery::Status;
use crate::kept::Kept;
use crate::reader::Dispatch;
use crate::secrets::SecretBox;
use crate::send::Sender;
use crate::store::{Claimed, Finished, Store};

/// How often the store is asked what is due, and whether endpoints changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many endpoints' deliveries are claimed at a time.
const CLAIMS_AT_A_TIME: usize = 4;
/// How long what is in flight may go on after the stop; within the grace a process has.
const DRAIN: Duration = Duration::from_secs(15);
/// How often the store is asked whether an endpoint has failed for too long.
const EXAMINE_EVERY: Duration = Duration::from_secs(60);

/// Takes what was just made. Cheap to clone.
#[derive(Clone)]
pub struct Dispatcher(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    store: Arc<dyn Store>,
    sender: Sender,
    bodies: Bodies,
    secrets: SecretBox,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    /// Ends what is in flight.
    give_up: CancellationToken,
    done: mpsc::Sender<Done>,
    /// Something may be claimed, or may start at another time than was known.
    wake: Notify,
    /// Endpoints may have changed.
    look: Notify,
    attempts: TaskTracker,
}

/// An attempt's place among those in flight, which is free again however it ends.
struct Place<'a> {
    dispatcher: &'a Dispatcher,
    endpoint_id: Uuid,
    went: Went,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.dispatcher.ended(self.endpoint_id, self.went);
    }
}

/// Returns the dispatcher, and the tasks that make it work.
pub fn build(parts: Parts) -> (Dispatcher, Vec<Task>) {
    build_with_drain(parts, DRAIN)
}

pub(super) fn build_with_drain(parts: Parts, drain: Duration) -> (Dispatcher, Vec<Task>) {
    let (done, results) = finisher::channel();
    let dispatcher = Dispatcher(Arc::new(Inner {
        state: Mutex::default(),
        bodies: Bodies::new(parts.snapshots, Arc::clone(&parts.store)),
        store: parts.store,
        sender: parts.sender,
        secrets: parts.secrets,
        clock: parts.clock,
        stop: parts.stop,
        give_up: CancellationToken::new(),
        done,
        wake: Notify::new(),
        look: Notify::new(),
        attempts: TaskTracker::new(),
    }));
    let no_more = CancellationToken::new();
    let finisher = Finisher { store: Arc::clone(&dispatcher.0.store), done: results, no_more: no_more.clone() };
    let tasks = vec![
        Task::new("notification dispatcher", dispatcher.clone().dispatch(no_more, drain)),
        Task::new("notification results", dispatcher.clone().finish(finisher)),
        Task::new("notification scout", dispatcher.clone().look_around()),
        backlog::task(Arc::clone(&dispatcher.0.store), Arc::clone(&dispatcher.0.clock), dispatcher.0.stop.clone()),
    ];
    (dispatcher, tasks)
}

impl Dispatch for Dispatcher {
    fn room(&self, endpoint_id: Uuid) -> usize {
        self.state().room(endpoint_id)
    }

    /// They are claimed for [`super::CLAIM`] from now. What there is no room for comes back by way of the store.
    fn fresh(&self, claimed: Vec<Claimed>, kept: Kept) {
        let start_by = Instant::now() + START_WITHIN;
        let mut refused = Vec::new();
        let mut state = self.state();
        let mut unknown = false;
        for claimed in claimed {
            match state.offer(claimed, start_by, kept.clone()) {
                Ok(()) => {}
                Err(Refused::Full(claimed)) => refused.push(*claimed),
                Err(Refused::Unknown(claimed)) => {
                    unknown = true;
                    refused.push(*claimed);
                }
            }
        }
        self.start(&mut state);
        drop(state);
        if unknown {
            self.0.look.notify_one();
        }
        if !refused.is_empty() {
            // There are never many of these at a time: while what is given back cannot be written, nothing new is claimed either.
            let this = self.clone();
            self.0.attempts.spawn(async move {
                if kept.wait().await {
                    this.let_go(refused).await;
                }
            });
        }
    }

    fn due(&self, endpoint_ids: &HashSet<Uuid>) {
        let mut state = self.state();
        let mut unknown = false;
        for id in endpoint_ids {
            unknown |= state.lane_mut(*id).is_none();
            state.mark_due(*id);
        }
        drop(state);
        self.0.wake.notify_one();
        if unknown {
            self.0.look.notify_one();
        }
    }

    fn look(&self) {
        self.0.look.notify_one();
    }
}

impl Dispatcher {
    /// Returns how many endpoints are known.
    #[cfg(test)]
    pub(super) fn targets(&self) -> usize {
        self.state().targets().len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts whatever may start.
    fn start(&self, state: &mut State) {
        let now = Instant::now();
        let planned = state.next_at();
        while let Some((held, target)) = state.next(now) {
            self.0.attempts.spawn(self.clone().attempt(held, target));
        }
        if state.next_at().is_some_and(|at| planned.is_none_or(|planned| at < planned)) {
            self.0.wake.notify_one();
        }
    }

    async fn attempt(self, held: Held, target: Arc<Target>) {
        let inner = &self.0;
        let delivery = &held.claimed.delivery;
        let mut place = Place { dispatcher: &self, endpoint_id: target.endpoint.endpoint_id, went: Went::NotAtAll };
        let ended = tokio::select! {
            biased;
            ended = attempts::deliver(&held.claimed, &target, &inner.bodies, &inner.sender, inner.clock.as_ref()) => ended,
            () = inner.give_up.cancelled() => {
                if held.kept.wait().await {
                    self.write(attempts::released(delivery, inner.clock.now()), false).await;
                }
                return;
            }
        };
        if !held.kept.wait().await {
            // There is no row to write to. The log brings it again, under the same ids.
            return;
        }
        let Ended { finished, went, is_gone } = ended;
        // Of an ordered endpoint the next of the conversation waits for this to be written.
        let is_urgent = target.endpoint.ordered && finished.status != Status::Pending;
        self.write(finished, is_urgent).await;
        place.went = went;
        drop(place);
        match went {
            _ if is_gone => self.disable(&target).await,
            Went::Badly(_) => self.examine(&target).await,
            Went::Well(_) | Went::NotAtAll => {}
        }
    }

    /// Waits while there is more to be written than the store takes, which holds up new attempts.
    async fn write(&self, finished: Finished, is_urgent: bool) {
        // Nobody listens only after every attempt has ended.
        let _ = self.0.done.send(Done { finished, is_urgent }).await;
    }

    fn ended(&self, endpoint_id: Uuid, went: Went) {
        let now = self.0.clock.now();
        let mut state = self.state();
        let claims = state.ended(endpoint_id, went);
        if let Some(lane) = state.lane_mut(endpoint_id) {
            match went {
                Went::Well(_) => lane.failing_since = None,
                Went::Badly(_) => drop(lane.failing_since.get_or_insert(now)),
                Went::NotAtAll => {}
            }
        }
        self.start(&mut state);
        drop(state);
        if claims {
            self.0.wake.notify_one();
        }
    }

    /// Gives back what was claimed, as fast as it is written.
    async fn let_go(&self, claimed: Vec<Claimed>) {
        for claimed in claimed {
            self.write(attempts::released(&claimed.delivery, self.0.clock.now()), false).await;
        }
    }

    async fn disable(&self, target: &Target) {
        let inner = &self.0;
        match examine::bury(&inner.store, &target.endpoint, inner.clock.now()).await {
            Ok(true) => self.state().remove(target.endpoint.endpoint_id),
            Ok(false) => {}
            // The next attempt will be told the same.
            Err(error) => tracing::warn!("an endpoint that is gone could not be disabled yet: {error}"),
        }
    }

    /// Asks now and then whether an endpoint has failed for too long.
    async fn examine(&self, target: &Target) {
        let (inner, id, now) = (&self.0, target.endpoint.endpoint_id, Instant::now());
        {
            let mut state = self.state();
            let Some(lane) = state.lane_mut(id) else { return };
            let suspect = lane.failing_since.is_some_and(|since| examine::is_suspect(since, inner.clock.now()));
            let recently = lane.examined_at.is_some_and(|at| now < at + EXAMINE_EVERY);
            if !suspect || recently {
                return;
            }
            lane.examined_at = Some(now);
        }
        match examine::examine(&inner.store, &target.endpoint, inner.clock.as_ref()).await {
            Ok(Some(kept)) => {
                if let Some(lane) = self.state().lane_mut(id) {
                    lane.failing_since = kept.failing_since;
                }
            }
            Ok(None) => self.state().remove(id),
            Err(error) => tracing::warn!("an endpoint that has failed for long could not be looked at: {error}"),
        }
    }

    /// Claims what lanes have room for, until the stop; then lets what is in flight end.
    async fn dispatch(self, no_more: CancellationToken, drain: Duration) -> anyhow::Result<()> {
        let mut claims = FuturesUnordered::new();
        while !self.0.stop.is_cancelled() {
            let (next_at, wanted) = {
                let mut state = self.state();
                self.start(&mut state);
                (state.next_at(), state.claims(CLAIMS_AT_A_TIME - claims.len()))
            };
            claims.extend(wanted.into_iter().map(|(target, limit)| self.claim(target, limit)));
            let rate_allows = async {
                match next_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.0.stop.cancelled() => {}
                () = self.0.wake.notified() => {}
                () = rate_allows => {}
                Some(()) = claims.next() => {}
            }
        }
        self.drain(claims.collect(), drain).await;
        no_more.cancel();
        Ok(())
    }

    /// Ends in order: nothing new starts, what waits is given back, what is in flight ends or is given back too.
    async fn drain(&self, claims: impl Future<Output = ()>, within: Duration) {
        let waiting = self.state().stop();
        self.let_go(waiting).await;
        self.0.attempts.close();
        let ending = async {
            claims.await;
            self.0.attempts.wait().await;
        };
        if timeout(within, ending).await.is_err() {
            self.0.give_up.cancel();
            self.0.attempts.wait().await;
        }
    }

    async fn claim(&self, target: Arc<Target>, limit: usize) {
        let (inner, id) = (&self.0, target.endpoint.endpoint_id);
        let (now, start_by) = (inner.clock.now(), Instant::now() + START_WITHIN);
        let most = u32::try_from(limit).unwrap_or(u32::MAX);
        match inner.store.claim(&target.endpoint, now, claimed_until(now), most).await {
            Ok(claimed) => {
                let homeless = {
                    let mut state = self.state();
                    let homeless = state.add_claimed(id, claimed, limit, start_by);
                    self.start(&mut state);
                    homeless
                };
                self.let_go(homeless).await;
            }
            Err(error) => {
                tracing::warn!("deliveries could not be claimed: {error}");
                self.state().claim_failed(id);
            }
        }
    }

    /// Learns which endpoints there are and which have something due.
    async fn look_around(self) -> anyhow::Result<()> {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut version = None;
        loop {
            tokio::select! {
                () = self.0.stop.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
                () = self.0.look.notified() => {}
            }
            self.state().forget_late(Instant::now());
            if let Err(error) = self.look(&mut version).await {
                tracing::warn!("what is due cannot be found out: {error}");
            }
        }
    }

    async fn look(&self, version: &mut Option<i64>) -> Result<(), StoreError> {
        let inner = &self.0;
        if *version != Some(inner.store.endpoints_version().await?) {
            let (read, endpoints) = inner.store.enabled_endpoints().await?;
            let known = self.state().targets();
            let targets = open_all(endpoints, &known, &inner.secrets);
            self.state().set_targets(targets, Instant::now());
            *version = Some(read);
        }
        let due = inner.store.endpoints_with_work(inner.clock.now()).await?;
        if !due.is_empty() {
            let mut state = self.state();
            due.into_iter().for_each(|(_, id)| state.mark_due(id));
            drop(state);
            inner.wake.notify_one();
        }
        Ok(())
    }

    async fn finish(self, finisher: Finisher) -> anyhow::Result<()> {
        finisher.run(|finished| self.written(finished)).await;
        Ok(())
    }

    /// What is written may make something else due: the next of its conversation, or what was given back.
    fn written(&self, finished: &[Finished]) {
        let mut state = self.state();
        for finished in finished {
            let id = finished.endpoint_id;
            let Some(lane) = state.lane_mut(id) else { continue };
            let given_back = finished.attempt.is_none() && finished.status == Status::Pending;
            let next_in_order = lane.target.endpoint.ordered && finished.status != Status::Pending;
            if given_back || next_in_order {
                state.mark_due(id);
            }
        }
        drop(state);
        self.0.wake.notify_one();
    }
}
