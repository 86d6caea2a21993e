//! Looks at rules over a window, each at its own pace, once across replicas.
//!
//! A rule is looked at at fixed instants, a tenth of its window apart. Whoever finds it due takes it for a while; what the look came
//! to is kept only if nobody looked at that instant or a later one meanwhile. Instants that passed while nobody was there are skipped.

use std::sync::Arc;
use std::time::Duration;

use colloquy_service::{Describe, Problem};
use colloquy_types::{Clock, Timestamp};
use futures::StreamExt;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::alert::{About, Alert, MOST_CONVERSATIONS, id_for_instant};
use super::book::Book;
use super::measure::{self, Measures, Sets, Sight};
use super::rule::{Metric, Rule};
use super::state::{State, next};
use super::store::{AlertStore, Due, Look};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many rules are taken at a time, and how many of them are looked at at once.
const TOGETHER: u32 = 64;
const AT_ONCE: usize = 4;
/// What has just happened has this long to come into the figures.
const GRACE_MS: i64 = 3_000;
/// For how long a rule is taken.
const TAKEN_MS: i64 = 60_000;
/// A rule whose figures are not complete yet is looked at again so soon.
const AGAIN_MS: i64 = 2_000;
/// Figures that lag behind by less are waited for: a window is looked at once all of it is there. Those that lag behind by more are
/// taken as they are.
const PATIENCE_MS: i64 = 120_000;

/// What is needed.
pub struct Parts {
    /// Where it is kept where rules stand.
    pub store: Arc<dyn AlertStore>,
    /// The rules.
    pub book: Book,
    /// What is measured.
    pub measures: Arc<dyn Measures>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Rung for what is to be told.
    pub bell: Arc<Notify>,
}

/// Looks at rules over a window.
pub struct Windows {
    parts: Parts,
    /// Since when. What was received while nobody was there has from then on to come into the figures.
    since: Timestamp,
}

impl Windows {
    /// Returns who looks from now on.
    pub fn new(parts: Parts) -> Self {
        Self { since: parts.clock.now(), parts }
    }

    /// Looks until the stop.
    ///
    /// # Errors
    /// Never: what fails is tried again.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                looked = self.look() => {
                    if let Err(problem) = looked {
                        tracing::warn!("rules over a window could not be looked at yet: {}", problem.message);
                    }
                }
            }
        }
    }

    /// Looks at every rule that is due; returns how many looks were kept.
    ///
    /// # Errors
    /// When the store cannot be asked. What goes wrong with one rule is logged, and tried again.
    pub async fn look(&self) -> Result<u64, Problem> {
        let Parts { store, clock, .. } = &self.parts;
        let mut kept = 0;
        loop {
            let now = clock.now();
            let due = store.due(now.saturating_add_millis(-GRACE_MS), TOGETHER).await.map_err(|error| error.describe())?;
            let is_last = due.len() < TOGETHER as usize;
            let looks = futures::stream::iter(due).map(|due| self.look_at(due, now)).buffer_unordered(AT_ONCE);
            let results: Vec<Result<bool, Problem>> = looks.collect().await;
            for result in results {
                match result {
                    Ok(true) => kept += 1,
                    Ok(false) => {}
                    Err(problem) => tracing::warn!("a rule over a window could not be looked at yet: {}", problem.message),
                }
            }
            if is_last {
                return Ok(kept);
            }
        }
    }

    /// Looks at a rule unless another replica does; returns whether the look was kept.
    async fn look_at(&self, due: Due, now: Timestamp) -> Result<bool, Problem> {
        let store = &self.parts.store;
        let taken_until = now.saturating_add_millis(TAKEN_MS);
        if !store.claim(&due, taken_until).await.map_err(|error| error.describe())? {
            return Ok(false);
        }
        let taken = Due { due_at: taken_until, ..due };
        let looked = self.look_at_taken(&taken, now).await;
        if !matches!(looked, Ok(true)) {
            // It is still taken, and nobody else would look for as long as that.
            store.claim(&taken, now.saturating_add_millis(AGAIN_MS)).await.map_err(|error| error.describe())?;
        }
        looked
    }

    async fn look_at_taken(&self, taken: &Due, now: Timestamp) -> Result<bool, Problem> {
        let Parts { store, book, measures, bell, .. } = &self.parts;
        let rules = book.of(&taken.organization_id).await.map_err(|error| error.describe())?;
        // It was removed, or changed in a way that the next look will know.
        let Some(rule) = rules.by_id.get(&taken.rule_id).filter(|rule| rule.enabled) else { return Ok(false) };
        let Some(metric) = &rule.metric else { return Ok(false) };

        let complete = measures.data_through(&taken.organization_id).await?;
        let Some(until) = self.instant(metric, taken.evaluated_until, complete, now) else { return Ok(false) };
        let from = until.saturating_add_millis(-metric.window_ms);
        let sight = measure::look(&**measures, rule, metric, from, until).await?;
        let mut look = judge(rule, metric, taken.clone(), &sight, until, now);
        if let Some(alert) = &mut look.opened {
            let matching = Sets::of(rule).matching;
            let most = u32::try_from(MOST_CONVERSATIONS).unwrap_or(u32::MAX);
            alert.conversation_ids = measures.conversations(&rule.organization_id, &matching, from, until, most).await?;
        }
        let kept = store.look(&look).await.map_err(|error| error.describe())?;
        colloquy_service::metrics::alert_window_looked(kept);
        if kept && (look.opened.is_some() || look.resolves) {
            if let Some(alert) = &look.opened {
                colloquy_service::metrics::alert_opened("metric", alert.severity.as_str());
            }
            bell.notify_one();
        }
        Ok(kept)
    }

    /// Returns the instant to look at, given until when the figures are complete; `None` to wait for them.
    ///
    /// While they lag behind a little, the last window is looked at that is complete. When they lag behind by much, because a backlog is
    /// worked off or something cannot be read, waiting would end all looks just when they matter.
    fn instant(&self, metric: &Metric, looked: Timestamp, complete: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let newest = metric.tick_before(now.saturating_add_millis(-GRACE_MS)).max(looked);
        if complete >= newest || now.millis_since(complete.max(self.since)) >= PATIENCE_MS {
            return Some(newest);
        }
        Some(metric.tick_before(complete)).filter(|reached| *reached > looked)
    }
}

/// Returns what a sight of the window that ends at `until` comes to, for a rule that stands as `due` says: the state machine, live
/// and over history.
pub fn judge(rule: &Rule, metric: &Metric, due: Due, sight: &Sight, until: Timestamp, now: Timestamp) -> Look {
    let state = next(metric, due.standing.state, due.is_bad, sight.measured);
    let is_alert = state == State::Alert;
    let is_bad = is_alert || (due.is_bad && state == State::NoData);
    let is_wanted = is_alert && due.alert_id.is_none() && (!due.is_bad || due.owed);
    let is_muted = rule.is_muted(now);
    let opened = (is_wanted && !is_muted).then(|| {
        let from = until.saturating_add_millis(-metric.window_ms);
        let evidence = sight.evidence(metric, from, until);
        let id = id_for_instant(rule.rule_id, until);
        Alert { conversation_count: sight.affected, ..Alert::open(rule, id, About::Window, now, evidence) }
    });
    Look {
        revision: rule.revision,
        until,
        next_at: until.saturating_add_millis(metric.step_ms()),
        state,
        value: sight.measured.value,
        is_bad,
        // What is owed stays so while nothing is seen.
        owed: (is_wanted && is_muted) || (due.owed && state == State::NoData),
        opened,
        resolves: due.alert_id.is_some() && matches!(state, State::Ok | State::Warning),
        at: now,
        due,
    }
}
