//! Answers questions from a database: from sums of hours ([`totals`]), from hours in columns ([`segments`]), and from the rows of
//! conversations themselves ([`rows`]), as the plan says; how many there were at once is read apart ([`concurrent`]).

mod concurrent;
mod rows;
mod segments;
mod totals;

use std::collections::{BTreeSet, HashMap};

use colloquy_filter::Expression;
use colloquy_service::Problem;
use colloquy_storage::engine::{Columns, Value as Given};
use colloquy_types::OrganizationId;
use sqlx::Pool;

use crate::query::answer::{Answer, Computed, computed, concurrent};
use crate::query::concurrency::Concurrency;
use crate::query::error::Error;
use crate::query::measure::{Measure, NumberOf, Op, Subject};
use crate::query::plan::{Hours, Plan};
use crate::query::question::{Question, began_within};
use crate::query::schema::{Dimension, Source};
use crate::query::segment;
use crate::query::slots::{Part, value_of};
use crate::query::spread::Spreads;
use crate::query::statement::{Dialect, Statement};
use crate::query::table::{Currency, Key, Names, Partials};
use crate::query::time::{Buckets, HOUR, SINCE_YEAR_ONE};

/// A question is refused that comes to more combinations of bucket and dimensions.
const MOST_GROUPS: usize = 200_000;
/// A statement tells so many pieces of time from each other at most: two thousand years of a clock that is changed twice a year.
const MOST_PIECES: usize = 4_000;
/// So many hours' segments are in memory at a time.
const HOURS_AT_ONCE: i64 = 31 * 24;

/// Answers a question. What comes after `now`, in milliseconds, is not known yet.
pub(crate) async fn answer<E: Dialect>(
    readers: &Pool<E>,
    organization: &OrganizationId,
    question: &Question,
    now: i64,
) -> Result<Answer, Error> {
    let mut transaction = E::begin_reading(readers).await?;
    if let Some(before) = E::BEFORE {
        E::query(&mut transaction, before, &[], None).await?;
    }
    let names = Names::default();
    let mut run = Run::<E> { connection: &mut *transaction, organization, question, now, began: None, names };
    let answer = run.answer().await?;
    transaction.commit().await?;
    Ok(answer)
}

/// Returns the sum of the squares of the distances of a number from `mean`, which is in the measure's unit.
pub(crate) async fn squares<E: Dialect>(
    readers: &Pool<E>,
    organization: &OrganizationId,
    measure: &Measure,
    filter: &Expression,
    span: (i64, i64),
    mean: f64,
) -> Result<f64, Error> {
    let Subject::Number(number) = &measure.subject else { return Ok(0.0) };
    let mut statement = Statement::about(organization);
    let (value, unit, mean) = (value_of(number, &mut statement), statement.real(measure.per_unit()), statement.real(mean));
    let source = statement.from("features", "f", "created_at", &[span]);
    let condition = statement.condition(filter);
    // PostgreSQL refuses to square what is so near to zero that its square is none.
    let nearest = statement.real(f64::MIN_POSITIVE.sqrt());
    let sql = format!(
        "select sum(case when abs(s.distance) > {nearest} then s.distance * s.distance else 0.0 end) from \
         (select cast({value} as double precision) / {unit} - {mean} as distance from {}{} where {} and {condition}) s",
        source.tables,
        statement.joins(),
        source.condition
    );
    let mut connection = readers.acquire().await?;
    let rows = statement.run::<E>(&mut connection, &sql, &[span]).await?;
    let Some(row) = rows.first() else { return Ok(0.0) };
    Ok(Columns::<E>::of(row).opt_real()?.unwrap_or(0.0))
}

struct Run<'a, E: Dialect> {
    connection: &'a mut E::Connection,
    organization: &'a OrganizationId,
    question: &'a Question,
    now: i64,
    /// When the organization's first conversation began, and the last.
    began: Option<(i64, i64)>,
    names: Names,
}

/// What was found for a part.
struct Found {
    partials: Partials,
    spreads: Vec<Spreads>,
    histograms: Vec<HashMap<Key, Vec<u64>>>,
    concurrency: HashMap<Key, Concurrency>,
}

impl<E: Dialect> Run<'_, E> {
    async fn answer(&mut self) -> Result<Answer, Error> {
        let question = self.question;
        self.began = self.began().await?;
        let (from, to) = self.extent();
        let mut answer = Answer { known_until: self.now, ..Answer::default() };
        let parts = Part::all(&question.measures);
        let mut found = Vec::with_capacity(parts.len());
        for part in &parts {
            found.push(self.part(part, from, to).await?);
        }
        let mut keys: BTreeSet<(u32, [u32; 3])> = BTreeSet::new();
        for found in &found {
            keys.extend(found.partials.keys().chain(found.concurrency.keys().copied()).map(|key| (key.bucket, key.values)));
        }
        for (bucket, values) in keys {
            let key = Key { bucket, values };
            let mut row = vec![Computed::default(); question.measures.len()];
            for (part, found) in parts.iter().zip(&mut found) {
                for number in &part.measures {
                    row[*number] = found.value(part, *number, &question.measures[*number].0, key);
                }
            }
            answer.rows.insert(key, row);
        }
        let errors = found.iter().flat_map(|found| &found.spreads).map(Spreads::relative_error);
        answer.relative_error = errors.fold(0.0, f64::max);
        answer.names = std::mem::take(&mut self.names);
        Ok(answer)
    }

    /// Returns the part of the question's time in which there are conversations.
    fn extent(&self) -> (i64, i64) {
        let Buckets { from, to, .. } = self.question.buckets;
        let (first, last) = self.began.unwrap_or((to, from));
        (from.max(first), to.min(last.saturating_add(1)))
    }

    async fn began(&mut self) -> Result<Option<(i64, i64)>, Error> {
        let sql = "select (select min(created_at) from features where organization_id = $1), \
                   (select max(created_at) from features where organization_id = $1)";
        let rows = E::query(self.connection, sql, &[Given::Text(self.organization.as_str())], None).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let mut columns = Columns::<E>::of(row);
        let (first, last) = (columns.opt_int()?, columns.opt_int()?);
        Ok(first.zip(last))
    }

    async fn part(&mut self, part: &Part, from: i64, to: i64) -> Result<Found, Error> {
        let mut found = Found {
            partials: Partials::new(part.slots.len()),
            spreads: part.spreads.iter().map(|_| Spreads::default()).collect(),
            histograms: part.histograms.iter().map(|_| HashMap::new()).collect(),
            concurrency: HashMap::new(),
        };
        if part.is_concurrent {
            found.concurrency = self.concurrency(&part.condition).await?;
        }
        let (from, to) = began_within(&part.condition, from, to);
        if from >= to {
            return Ok(found);
        }
        let (plan, columns) = self.plan(part, from, to).await?;
        if !plan.totals.is_empty() {
            self.read_totals(part, &plan.totals, (from, to), &mut found).await?;
        }
        for (first, end) in &plan.segments {
            let mut at = *first;
            while at < *end {
                let until = (at + HOURS_AT_ONCE).min(*end);
                at = match self.read_segments(part, &columns, (at, until), (from, to), &mut found).await? {
                    true => until,
                    // Whoever has one conversation of the year 1 and one of today asks for centuries without any.
                    false => self.next_segment(until, *end).await?.unwrap_or(*end),
                };
            }
        }
        if !plan.rows.is_empty() {
            self.read_rows(part, &plan.rows, &mut found).await?;
        }
        found.spreads = found.spreads.into_iter().map(Spreads::finish).collect();
        Ok(found)
    }

    /// Decides from where the part is read; returns the columns of segments too.
    async fn plan(&mut self, part: &Part, from: i64, to: i64) -> Result<(Plan, Vec<&'static str>), Error> {
        let question = self.question;
        let mut columns = part.columns();
        let mut may_total = true;
        for dimension in &question.dimensions {
            match &dimension.source {
                Source::Column(column) if segment::column(column).is_some() => {
                    may_total = false;
                    columns = columns.map(|mut columns| {
                        columns.push(column);
                        columns
                    });
                }
                Source::HourOfDay | Source::DayOfWeek => {
                    may_total &= has_whole_hours(&question.buckets, from, to);
                }
                _ => columns = None,
            }
        }
        let changed = if columns.is_some() { self.changed(from, to).await? } else { BTreeSet::new() };
        let plan = Plan::of(part, columns.is_some(), may_total, &Hours { from, to, changed }, &question.buckets);
        let mut columns = columns.unwrap_or_default();
        columns.sort_unstable();
        columns.dedup();
        Ok((plan, columns))
    }

    async fn changed(&mut self, from: i64, to: i64) -> Result<BTreeSet<i64>, Error> {
        let sql = "select hour from rollup_dirty where organization_id = $1 and hour >= $2 and hour <= $3";
        let values =
            [Given::Text(self.organization.as_str()), Given::Int(from.div_euclid(HOUR)), Given::Int(to.div_euclid(HOUR))];
        let mut hours = BTreeSet::new();
        for row in &E::query(self.connection, sql, &values, None).await? {
            hours.insert(Columns::<E>::of(row).int()?);
        }
        Ok(hours)
    }

    /// Writes bucket and dimensions as columns; `at` is when a conversation began.
    fn keys(&self, statement: &mut Statement, at: &str, from: i64, to: i64) -> Result<Vec<String>, Error> {
        let question = self.question;
        let runs = question.buckets.runs(from, to);
        let offsets = self.clock(from, to);
        check_pieces(runs.len().max(offsets.len()))?;
        let mut columns = vec![statement.bucket(at, &question.buckets, &runs)];
        for dimension in &question.dimensions {
            columns.extend(statement.dimension(dimension, at, &offsets));
        }
        Ok(columns)
    }

    /// Returns from when on the zone has which offset, within `[from, to)`; nothing where no dimension is of the clock.
    fn clock(&self, from: i64, to: i64) -> Vec<(i64, i64)> {
        match self.question.dimensions.iter().any(|dimension| is_of_clock(&dimension.source)) {
            true => self.question.buckets.offsets(from, to).collect(),
            false => Vec::new(),
        }
    }

    fn read_key(&mut self, columns: &mut Columns<'_, E>) -> Result<Key, Error> {
        let mut key = Key { bucket: u32::try_from(columns.int()?).unwrap_or(u32::MAX), ..Key::default() };
        key.values = self.read_values(columns)?;
        Ok(key)
    }

    fn read_values(&mut self, columns: &mut Columns<'_, E>) -> Result<[u32; 3], Error> {
        let mut values = [0; 3];
        for (number, Dimension { source, .. }) in self.question.dimensions.iter().enumerate() {
            let word = match source {
                Source::Column(_) | Source::Words(_) => columns.opt_text()?.unwrap_or_default(),
                Source::Extracted(_) => {
                    let (text, number) = (columns.opt_text()?, columns.opt_real()?);
                    text.or_else(|| number.map(|number| number.to_string())).unwrap_or_default()
                }
                Source::HourOfDay | Source::DayOfWeek => columns.int()?.to_string(),
            };
            values[number] = self.names.number(number, &word);
        }
        Ok(values)
    }
}

impl Found {
    fn value(&mut self, part: &Part, number: usize, measure: &Measure, key: Key) -> Computed {
        let partial = self.partials.get(key).map(|figures| &figures[part.slot_of(measure)]);
        match (&measure.subject, measure.op) {
            (Subject::Number(of), Op::Percentile(percent)) => {
                let spread = &mut self.spreads[part.spread_of(of)];
                let percentile = partial.and_then(|partial| spread.percentile(key, percent, partial.min, partial.max));
                computed(measure, partial, percentile)
            }
            // Amounts of several currencies do not fall into the same bins.
            (_, Op::Histogram) if partial.is_some_and(|partial| partial.currency == Currency::Several) => {
                computed(measure, partial, None)
            }
            (_, Op::Histogram) => {
                let at = part.histograms.iter().position(|known| *known == number).unwrap_or_default();
                let counts = self.histograms[at].get(&key).cloned().unwrap_or_default();
                let (_, bins) = Bins::of(measure);
                let bounds = bins.bounds.iter().map(|bound| bound / measure.per_unit());
                let histogram = bounds.zip(counts).filter(|(_, count)| *count > 0).collect();
                Computed { histogram: Some(histogram), ..computed(measure, partial, None) }
            }
            _ if measure.is_concurrency() => {
                concurrent(measure, self.concurrency.get(&key).copied(), partial.map_or(0, |partial| partial.n))
            }
            _ => computed(measure, partial, None),
        }
    }
}

/// The bins of a histogram, in what the column holds.
struct Bins {
    bounds: Vec<f64>,
}

impl Bins {
    fn of(measure: &Measure) -> (&NumberOf, Self) {
        const NONE: &NumberOf = &NumberOf::Extracted(String::new());
        let Subject::Number(number) = &measure.subject else {
            // Only numbers have histograms; see `Measure::parse`.
            return (NONE, Self { bounds: vec![0.0] });
        };
        (number, Self { bounds: number.unit().bins().iter().map(|bound| bound * number.per_unit()).collect() })
    }

    fn of_value(&self, value: f64) -> usize {
        self.bounds.partition_point(|bound| *bound <= value).saturating_sub(1)
    }
}

const fn is_of_clock(source: &Source) -> bool {
    matches!(source, Source::HourOfDay | Source::DayOfWeek)
}

/// Returns whether every hour of UTC is one hour by the clock on the wall: it is whole hours ahead, and changed on the hour.
fn has_whole_hours(buckets: &Buckets, from: i64, to: i64) -> bool {
    let mut offsets = buckets.offsets(from, to);
    offsets.next().is_none_or(|(_, offset)| offset % HOUR == 0)
        && offsets.all(|(at, offset)| at % HOUR == 0 && offset % HOUR == 0)
}

/// Returns the local hour of the day, or day of the week.
fn local(source: &Source, at: i64, offsets: &[(i64, i64)]) -> i64 {
    let piece = offsets.partition_point(|(from, _)| *from <= at).saturating_sub(1);
    let local = at + offsets.get(piece).map_or(0, |(_, offset)| *offset) + SINCE_YEAR_ONE;
    if *source == Source::HourOfDay { local / HOUR % 24 } else { local / (24 * HOUR) % 7 + 1 }
}

fn ordinals(count: usize) -> String {
    (1..=count).map(|number| number.to_string()).collect::<Vec<_>>().join(", ")
}

/// Refuses a stretch of time of too many pieces, which one statement would have to tell from each other.
fn check_pieces(count: usize) -> Result<(), Error> {
    if count <= MOST_PIECES {
        return Ok(());
    }
    let message = "there are conversations of too many centuries in it; take less time".to_owned();
    Err(Problem::invalid_field("time", message).into())
}

fn check_groups(count: usize) -> Result<(), Error> {
    if count <= MOST_GROUPS {
        return Ok(());
    }
    let message = format!(
        "more than {MOST_GROUPS} combinations of bucket and dimensions; take fewer dimensions, a coarser step or a filter"
    );
    Err(Problem::invalid_field("dimensions", message).into())
}
