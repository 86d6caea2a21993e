//! Tries a rule on history: when and for what it would have raised alerts. It raises none.
//!
//! Conversations are judged by the code that judges them live, as they stand now: what a rule came under while a conversation ran, and
//! what changed afterwards, is not known any more. Rules over a window go through the instants at which they would have been looked at,
//! with the same state machine.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use colloquy_events::JsonMap;
use colloquy_service::{Describe, Problem};
use colloquy_types::{Clock, ConversationId, OrganizationId, Position, Timestamp};
use futures::{StreamExt, TryStreamExt};
use tokio::time::Instant;

use super::evaluate::{Compiled, Conversation, Fired};
use super::fields::value_of;
use super::measure::{self, Series, Sets, Sight};
use super::rule::{Comparison, Metric, Needs, Rule, Test};
use super::state::{Standing, State};
use super::store::{AlertStore, Due, Place};
use super::transcripts::{MOST_AT_ONCE, Transcripts};
use super::windows::judge;
use crate::features::Features;

/// An answer lists at most this many hits.
pub const MOST_HITS: usize = 1_000;
/// No stretch of history is longer, in days.
pub const MOST_DAYS: i64 = 366;
/// Rows are read this many at a time.
const TOGETHER: u32 = 1_000;
/// At most so many conversations are looked at.
const MOST_CONVERSATIONS: u64 = 1_000_000;
/// Of so many it is read at most what was said.
const MOST_TRANSCRIPTS: u64 = 100_000;
/// So many transcripts are read at once.
const AT_ONCE: usize = 8;
/// An answer that takes longer is of less use than one that is not complete.
const LONGEST: Duration = Duration::from_secs(20);
/// A rule that fires on a greater part of what it watches is of little use.
const TOO_OFTEN: f64 = 0.5;
/// Of fewer conversations no part is told.
const FEW: u64 = 10;

/// What a rule would have raised.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Outcome {
    /// How often.
    pub count: u64,
    /// For what; the first [`MOST_HITS`].
    pub hits: Vec<Hit>,
    /// How many conversations were looked at.
    pub examined: u64,
    /// What a person should know of the rule.
    pub warnings: Vec<String>,
}

/// One alert that would have been.
#[derive(Clone, PartialEq, Debug)]
pub struct Hit {
    /// The conversation, and the provider's id of it; `None` for a rule over a window.
    pub conversation: Option<(ConversationId, String)>,
    /// When.
    pub at: Timestamp,
    /// What the rule saw.
    pub evidence: JsonMap,
}

impl Outcome {
    fn hit(&mut self, hit: Hit) {
        self.count += 1;
        if self.hits.len() < MOST_HITS {
            self.hits.push(hit);
        }
    }
}

/// Tries rules on history. Cheap to clone.
#[derive(Clone)]
pub struct Backtests {
    store: Arc<dyn AlertStore>,
    transcripts: Arc<dyn Transcripts>,
    clock: Arc<dyn Clock>,
}

impl Backtests {
    /// Returns who tries rules on what `store` keeps.
    pub fn new(store: Arc<dyn AlertStore>, transcripts: Arc<dyn Transcripts>, clock: Arc<dyn Clock>) -> Self {
        Self { store, transcripts, clock }
    }

    /// Tries a rule on the conversations that began in `[from, to)`, or, over a window, on the instants in it. Whether it is enabled or
    /// muted does not matter.
    ///
    /// # Errors
    /// When history cannot be read.
    pub async fn run(&self, rule: Rule, from: Timestamp, to: Timestamp) -> Result<Outcome, Problem> {
        let rule = Arc::new(Rule { enabled: true, muted_until: None, ..rule });
        let mut outcome = match rule.metric.clone() {
            Some(metric) => self.over_windows(&rule, &metric, from, to.min(self.clock.now())).await?,
            None => self.over_conversations(&rule, from, to).await?,
        };
        if outcome.count == 0 && outcome.examined > 0 {
            outcome.warnings.push("it would not have fired at all".to_owned());
        }
        if outcome.examined == 0 {
            outcome.warnings.push("there are no conversations in this time".to_owned());
        }
        Ok(outcome)
    }

    async fn over_conversations(&self, rule: &Arc<Rule>, from: Timestamp, to: Timestamp) -> Result<Outcome, Problem> {
        let started = Instant::now();
        let compiled = Compiled::of([rule], true);
        let mut outcome = Outcome::default();
        let (mut watched, mut transcripts) = (0_u64, 0_u64);
        let mut history = History::new(&*self.store, &rule.organization_id, from, to);
        while let Some(rows) = history.next().await? {
            outcome.examined += rows.len() as u64;
            watched += rows.iter().filter(|row| watches(rule, row)).count() as u64;
            let now = self.clock.now();
            let mut fired: Vec<Option<Fired>> = Vec::with_capacity(rows.len());
            let mut undecided: Vec<usize> = Vec::new();
            for (number, row) in rows.iter().enumerate() {
                let verdict = compiled.evaluate(&Conversation { row, turns: None, now });
                fired.push(verdict.fired.into_iter().next());
                if verdict.needs_turns {
                    undecided.push(number);
                }
            }
            let worth_reading = self.worth_reading(rule, &rows, &undecided).await?;
            transcripts += worth_reading.len() as u64;
            for number in undecided {
                let nothing_said = Conversation { row: &rows[number], turns: Some(&[]), now };
                fired[number] = compiled.evaluate(&nothing_said).fired.into_iter().next();
            }
            let compiled = &compiled;
            let rows_read = &rows;
            let read = futures::stream::iter(worth_reading).map(|number| async move {
                let row = &rows_read[number];
                let turns = self.transcripts.turns(&row.organization_id, row.conversation_id).await?;
                let verdict = compiled.evaluate(&Conversation { row, turns: Some(&turns), now });
                Ok::<_, Problem>((number, verdict.fired.into_iter().next()))
            });
            for (number, decided) in read.buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await? {
                fired[number] = decided;
            }
            for (row, fired) in rows.iter().zip(fired) {
                if let Some(Fired { at, evidence, .. }) = fired {
                    let conversation = Some((row.conversation_id, row.external_id.clone()));
                    outcome.hit(Hit { conversation, at, evidence });
                }
            }
            let is_enough = outcome.examined >= MOST_CONVERSATIONS || transcripts >= MOST_TRANSCRIPTS;
            if is_enough || started.elapsed() >= LONGEST {
                outcome.warnings.push(format!(
                    "only the first {} conversations were looked at: choose a shorter time for a complete answer",
                    outcome.examined
                ));
                break;
            }
        }
        if watched >= FEW && outcome.count as f64 > watched as f64 * TOO_OFTEN {
            let part = (outcome.count as f64 / watched as f64 * 100.0).round();
            outcome.warnings.push(format!("it would fire on {part} % of the conversations it watches"));
        }
        Ok(outcome)
    }

    /// Returns those, of the ones that what was said decides on, in which somebody may have said it.
    async fn worth_reading(&self, rule: &Rule, rows: &[Features], undecided: &[usize]) -> Result<Vec<usize>, Problem> {
        let ids: Vec<ConversationId> = undecided.iter().map(|number| rows[*number].conversation_id).collect();
        // What is searched must have heard as much as the rows.
        let heard = undecided.iter().map(|number| rows[*number].position).max().unwrap_or_default();
        let mut worth: Option<HashSet<ConversationId>> = None;
        for condition in &rule.conditions {
            let Test::Says { phrases, .. } = &condition.test else { continue };
            let said = match self.saying(rule, phrases, &ids, heard).await? {
                Some(said) => said,
                // It may be anywhere.
                None if rule.needs == Needs::Any => return Ok(undecided.to_vec()),
                None => continue,
            };
            worth = Some(match (worth, rule.needs) {
                (None, _) => said,
                (Some(worth), Needs::All) => worth.intersection(&said).copied().collect(),
                (Some(worth), Needs::Any) => worth.union(&said).copied().collect(),
            });
        }
        Ok(match worth {
            Some(worth) => undecided.iter().copied().filter(|number| worth.contains(&rows[*number].conversation_id)).collect(),
            None => undecided.to_vec(),
        })
    }

    /// Returns the conversations in which one of the phrases may have been said; `None` when that cannot be told.
    async fn saying(
        &self,
        rule: &Rule,
        phrases: &[String],
        among: &[ConversationId],
        heard: Position,
    ) -> Result<Option<HashSet<ConversationId>>, Problem> {
        let mut said = HashSet::new();
        for some in among.chunks(MOST_AT_ONCE) {
            for phrase in phrases {
                match self.transcripts.saying(&rule.organization_id, phrase, some, heard).await? {
                    Some(found) => said.extend(found),
                    None => return Ok(None),
                }
            }
        }
        Ok(Some(said))
    }

    async fn over_windows(&self, rule: &Arc<Rule>, metric: &Metric, from: Timestamp, to: Timestamp) -> Result<Outcome, Problem> {
        let started = Instant::now();
        let sets = Sets::of(rule);
        let measure = measure::of(metric);
        let (mut matching, mut watched) = (Series::new(measure.clone()), Series::new(measure));
        let reach = match metric.comparison {
            Comparison::Relative => metric.window_ms * 2,
            Comparison::Absolute | Comparison::Share => metric.window_ms,
        };
        let mut outcome = Outcome::default();
        let mut end = to;
        let mut history = History::new(&*self.store, &rule.organization_id, from.saturating_add_millis(-reach), to);
        while let Some(rows) = history.next().await? {
            outcome.examined += rows.len() as u64;
            for row in &rows {
                let holds = |expression| colloquy_filter::evaluate(expression, &|field| value_of(row, field));
                if holds(&sets.matching) {
                    matching.add(row);
                }
                if metric.comparison == Comparison::Share && holds(&sets.watched) {
                    watched.add(row);
                }
            }
            if outcome.examined >= MOST_CONVERSATIONS || started.elapsed() >= LONGEST {
                end = rows.last().map_or(to, |row| row.created_at);
                outcome.warnings.push(format!("it was tried until {end} only: choose a shorter time for a complete answer"));
                break;
            }
        }

        let step = metric.step_ms();
        let (mut now, mut before, mut whole) = (matching.windows(), matching.windows(), watched.windows());
        let mut standing = due_at(rule, metric.tick_before(from));
        let (mut looks, mut alerting) = (0_u64, 0_u64);
        let mut until = metric.tick_before(from);
        if until < from {
            until = until.saturating_add_millis(step);
        }
        while until < end {
            let begin = until.saturating_add_millis(-metric.window_ms);
            let measured = now.measure(begin, until);
            let sight = match metric.comparison {
                Comparison::Absolute => Sight::absolute(measured),
                Comparison::Relative => {
                    Sight::relative(measured, before.measure(begin.saturating_add_millis(-metric.window_ms), begin))
                }
                Comparison::Share => Sight::share(measured.count, whole.measure(begin, until).count),
            };
            let look = judge(rule, metric, standing, &sight, until, until);
            looks += 1;
            alerting += u64::from(look.state == State::Alert);
            if let Some(alert) = &look.opened {
                outcome.hit(Hit { conversation: None, at: until, evidence: alert.evidence.clone() });
            }
            standing = Due {
                evaluated_until: until,
                standing: Standing { state: look.state, since: until, last_value: look.value },
                is_bad: look.is_bad,
                alert_id: match (&look.opened, look.resolves) {
                    (Some(alert), _) => Some(alert.alert_id),
                    (None, true) => None,
                    (None, false) => look.due.alert_id,
                },
                owed: look.owed,
                ..look.due
            };
            until = until.saturating_add_millis(step);
        }
        if looks >= FEW && alerting as f64 > looks as f64 * TOO_OFTEN {
            let part = (alerting as f64 / looks as f64 * 100.0).round();
            outcome.warnings.push(format!("it would have been in the state 'alert' for {part} % of the time"));
        }
        Ok(outcome)
    }
}

/// Returns where a rule stands that is about to be looked at for the first time.
fn due_at(rule: &Rule, at: Timestamp) -> Due {
    Due {
        organization_id: rule.organization_id.clone(),
        rule_id: rule.rule_id,
        due_at: at,
        evaluated_until: at,
        standing: Standing { state: State::Unknown, since: at, last_value: None },
        is_bad: false,
        alert_id: None,
        owed: false,
    }
}

fn watches(rule: &Rule, row: &Features) -> bool {
    (rule.filter.expression.as_deref())
        .is_none_or(|expression| colloquy_filter::evaluate(expression, &|field| value_of(row, field)))
}

/// Walks over the conversations of a stretch of time.
struct History<'a> {
    store: &'a dyn AlertStore,
    organization: &'a OrganizationId,
    from: Timestamp,
    to: Timestamp,
    after: Option<Place>,
    is_over: bool,
}

impl<'a> History<'a> {
    const fn new(store: &'a dyn AlertStore, organization: &'a OrganizationId, from: Timestamp, to: Timestamp) -> Self {
        Self { store, organization, from, to, after: None, is_over: false }
    }

    /// Returns the next rows; `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<Features>>, Problem> {
        if self.is_over {
            return Ok(None);
        }
        let rows = self.store.history(self.organization, self.from, self.to, self.after, TOGETHER).await;
        let rows = rows.map_err(|error| error.describe())?;
        self.is_over = rows.len() < TOGETHER as usize;
        self.after = rows.last().map(|row| Place { at: row.created_at, id: row.conversation_id.0 });
        Ok(Some(rows).filter(|rows| !rows.is_empty()))
    }
}
