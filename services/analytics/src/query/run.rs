//! Answers questions from a database.

use std::collections::{BTreeSet, HashMap};

use colloquy_filter::{Expression, Field, Op as Compare, Value};
use colloquy_service::Problem;
use colloquy_storage::engine::{Columns, Value as Given};
use colloquy_types::OrganizationId;
use sqlx::Pool;

use super::answer::{Answer, Computed, computed, concurrent};
use super::concurrency::{Concurrency, sweep};
use super::error::Error;
use super::measure::{Measure, NumberOf, Op, Subject};
use super::plan::{Hours, Plan};
use super::question::Question;
use super::schema::{Dimension, Source};
use super::segment::{self, Column, Segment};
use super::slots::{Filled, Part, value_of};
use super::spread::{BIN_SQL, Spreads};
use super::statement::{Dialect, Ranges, Statement};
use super::table::{Key, Names, Partials};
use super::time::{Buckets, HOUR, SINCE_YEAR_ONE};

/// A question is refused that comes to more combinations of bucket and dimensions.
const MOST_GROUPS: usize = 200_000;
/// How many conversations may overlap a stretch of time for which it is asked how many there were at once.
const MOST_INTERVALS: usize = 500_000;
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
    let distance = format!("(cast({value} as double precision) / {unit} - {mean})");
    let sql = format!(
        "select sum({distance} * {distance}) from {}{} where {} and {condition}",
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
            for (part, found) in parts.iter().zip(&found) {
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
        let (from, to) = narrowed(&part.condition, from, to);
        if from >= to {
            return Ok(found);
        }
        let (plan, columns) = self.plan(part, from, to).await?;
        if !plan.totals.is_empty() {
            self.read_totals(part, &plan.totals, from, to, &mut found).await?;
        }
        for (first, end) in &plan.segments {
            let mut at = *first;
            while at < *end {
                let until = (at + HOURS_AT_ONCE).min(*end);
                self.read_segments(part, &columns, (at, until), (from, to), &mut found).await?;
                at = until;
            }
        }
        if !plan.rows.is_empty() {
            self.read_rows(part, &plan.rows, from, to, &mut found).await?;
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
                    may_total &= question.buckets.offsets(from, to).iter().all(|(_, offset)| offset % HOUR == 0);
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
    fn keys(&self, statement: &mut Statement, at: &str, from: i64, to: i64) -> Vec<String> {
        let question = self.question;
        let mut columns = vec![statement.bucket(at, &question.buckets, from, to)];
        let has_clock = question.dimensions.iter().any(|dimension| is_of_clock(&dimension.source));
        let offsets = if has_clock { question.buckets.offsets(from, to) } else { Vec::new() };
        for dimension in &question.dimensions {
            columns.extend(statement.dimension(dimension, at, &offsets));
        }
        columns
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

    async fn read_totals(&mut self, part: &Part, ranges: &Ranges, from: i64, to: i64, found: &mut Found) -> Result<(), Error> {
        let mut statement = Statement::about(self.organization);
        // The first hour of what is asked for may have begun before it.
        let keys = self.keys(&mut statement, &format!("(t.hour * {HOUR})"), from.div_euclid(HOUR) * HOUR, to);
        let source = statement.from("rollup_totals", "t", "hour", ranges);
        let sql = format!(
            "{}select {}, {} from {} where {} group by {}",
            source.with,
            keys.join(", "),
            part.write_totals().join(", "),
            source.tables,
            source.condition,
            ordinals(keys.len()),
        );
        for row in &statement.run::<E>(self.connection, &sql, ranges).await? {
            let mut columns = Columns::<E>::of(row);
            let key = self.read_key(&mut columns)?;
            part.read(&mut columns, found.partials.at(key))?;
        }
        Ok(())
    }

    async fn read_segments(
        &mut self,
        part: &Part,
        columns: &[&'static str],
        (first, end): (i64, i64),
        (from, to): (i64, i64),
        found: &mut Found,
    ) -> Result<(), Error> {
        let named: String = columns.iter().map(|column| format!(", {column}")).collect();
        let sql = format!(
            "select hour, n, created_at{named} from rollup_segments where organization_id = $1 and hour >= $2 and hour < $3"
        );
        let values = [Given::Text(self.organization.as_str()), Given::Int(first), Given::Int(end)];
        let offsets = self.question.buckets.offsets(from, to);
        for row in &E::query(self.connection, &sql, &values, None).await? {
            let mut read = Columns::<E>::of(row);
            let (hour, rows, created) = (read.int()?, read.int()?, read.bytes()?);
            let mut bytes = Vec::with_capacity(columns.len());
            for column in columns {
                bytes.push((*column, read.bytes()?));
            }
            let rows = usize::try_from(rows).unwrap_or_default();
            let segment = Segment::read(hour, rows, &created, bytes)
                .ok_or_else(|| colloquy_storage::StoreError::Corrupt("a segment of an hour".to_owned()))?;
            self.add_segment(part, &segment, (from, to), &offsets, found)?;
        }
        Ok(())
    }

    fn add_segment(
        &mut self,
        part: &Part,
        segment: &Segment,
        (from, to): (i64, i64),
        offsets: &[(i64, i64)],
        found: &mut Found,
    ) -> Result<(), Error> {
        let question = self.question;
        let dimensions: Vec<Coded<'_>> = (question.dimensions.iter().enumerate())
            .map(|(number, dimension)| self.coded(number, &dimension.source, segment))
            .collect();
        let holds = segment.holds(&part.condition);
        let slots: Vec<Filled<'_>> = part.slots.iter().map(|slot| Filled::of(slot, segment)).collect();
        let spreads: Vec<&[f64]> = part.spreads.iter().map(|number| numbers(segment, number)).collect();
        let histograms: Vec<(&[f64], Bins)> = (part.histograms.iter())
            .map(|number| Bins::of(&question.measures[*number].0))
            .map(|(number, bins)| (numbers(segment, number), bins))
            .collect();
        for (row, at) in segment.created_at.iter().copied().enumerate() {
            if !holds[row] || at < from || at >= to {
                continue;
            }
            let mut key = Key { bucket: u32::try_from(question.buckets.bucket_of(at)).unwrap_or(u32::MAX), ..Key::default() };
            for (number, coded) in dimensions.iter().enumerate() {
                key.values[number] = match coded {
                    Coded::Text { codes, numbers } => numbers[codes[row] as usize],
                    Coded::Clock(source) => {
                        let word = local(source, at, offsets).to_string();
                        self.names.number(number, &word)
                    }
                };
            }
            for (slot, known) in slots.iter().zip(found.partials.at(key)) {
                slot.add(row, known);
            }
            for (values, spread) in spreads.iter().zip(&mut found.spreads) {
                if let Some(value) = values.get(row).filter(|value| !value.is_nan()) {
                    spread.add(key, *value);
                }
            }
            for ((values, bins), histogram) in histograms.iter().zip(&mut found.histograms) {
                if let Some(value) = values.get(row).filter(|value| !value.is_nan()) {
                    histogram.entry(key).or_insert_with(|| vec![0; bins.bounds.len()])[bins.of_value(*value)] += 1;
                }
            }
        }
        check_groups(found.partials.keys().count())
    }

    fn coded<'s>(&mut self, number: usize, source: &Source, segment: &'s Segment) -> Coded<'s> {
        let column = match source {
            Source::Column(column) => segment.columns.get(column),
            source => return Coded::Clock(source.clone()),
        };
        match column {
            Some(Column::Text { words, codes }) => {
                let mut numbers = vec![u32::MAX; words.len() + 1];
                // Only what is there is given a number: how many values a dimension has decides whether it is refused.
                for code in codes {
                    let code = *code as usize;
                    if numbers[code] == u32::MAX {
                        let word = code.checked_sub(1).map_or("", |word| words[word].as_str());
                        numbers[code] = self.names.number(number, word);
                    }
                }
                Coded::Text { codes, numbers }
            }
            // Dimensions of segments are texts; see `schema`.
            _ => Coded::Clock(source.clone()),
        }
    }

    async fn read_rows(&mut self, part: &Part, ranges: &Ranges, from: i64, to: i64, found: &mut Found) -> Result<(), Error> {
        let mut statement = Statement::about(self.organization);
        let keys = self.keys(&mut statement, "f.created_at", from, to);
        let figures = part.write(&mut statement);
        let source = statement.from("features", "f", "created_at", ranges);
        let condition = statement.condition(&part.condition);
        let sql = format!(
            "{}select {}, {} from {}{} where {} and {condition} group by {} limit {}",
            source.with,
            keys.join(", "),
            figures.join(", "),
            source.tables,
            statement.joins(),
            source.condition,
            ordinals(keys.len()),
            MOST_GROUPS + 1,
        );
        let rows = statement.run::<E>(self.connection, &sql, ranges).await?;
        check_groups(rows.len())?;
        let mut of_rows = Partials::new(part.slots.len());
        for row in &rows {
            let mut columns = Columns::<E>::of(row);
            let key = self.read_key(&mut columns)?;
            part.read(&mut columns, of_rows.at(key))?;
        }
        for key in of_rows.keys() {
            for (known, more) in found.partials.at(key).iter_mut().zip(of_rows.get(key).unwrap_or_default()) {
                known.merge(more);
            }
        }
        for (number, spread) in part.spreads.iter().zip(&mut found.spreads) {
            let measure = Measure { subject: Subject::Number(number.clone()), op: Op::Avg };
            let count = of_rows.total(part.slot_of(&measure));
            self.read_spread(part, number, ranges, (from, to), count, spread).await?;
        }
        for (number, histogram) in part.histograms.iter().zip(&mut found.histograms) {
            let (of, bins) = Bins::of(&self.question.measures[*number].0);
            self.read_histogram(part, of, &bins, ranges, (from, to), histogram).await?;
        }
        Ok(())
    }

    /// Reads the values themselves while they are few, and else counts them by bins.
    async fn read_spread(
        &mut self,
        part: &Part,
        number: &NumberOf,
        ranges: &Ranges,
        span: (i64, i64),
        count: u64,
        spread: &mut Spreads,
    ) -> Result<(), Error> {
        if count == 0 {
            return Ok(());
        }
        let (statement, inner, keys) = self.values_of(part, number, ranges, span);
        if spread.has_room_for(count) {
            for row in &statement.run::<E>(self.connection, &inner, ranges).await? {
                let mut columns = Columns::<E>::of(row);
                let key = self.read_key(&mut columns)?;
                spread.add(key, columns.real()?);
            }
            return Ok(());
        }
        let named = named(keys);
        let sql = format!("select {named}, {} as bin, count(*) from ({inner}) s group by {}", *BIN_SQL, ordinals(keys + 1));
        for row in &statement.run::<E>(self.connection, &sql, ranges).await? {
            let mut columns = Columns::<E>::of(row);
            let key = self.read_key(&mut columns)?;
            let bin = columns.int()?;
            spread.add_bin(key, bin, columns.int()?.unsigned_abs());
        }
        Ok(())
    }

    async fn read_histogram(
        &mut self,
        part: &Part,
        number: &NumberOf,
        bins: &Bins,
        ranges: &Ranges,
        span: (i64, i64),
        histogram: &mut HashMap<Key, Vec<u64>>,
    ) -> Result<(), Error> {
        let (mut statement, inner, keys) = self.values_of(part, number, ranges, span);
        let bin = statement.bin("s.x", &bins.bounds, 0);
        let sql = format!("select {}, {bin} as bin, count(*) from ({inner}) s group by {}", named(keys), ordinals(keys + 1));
        for row in &statement.run::<E>(self.connection, &sql, ranges).await? {
            let mut columns = Columns::<E>::of(row);
            let key = self.read_key(&mut columns)?;
            let bin = usize::try_from(columns.int()?).unwrap_or_default().min(bins.bounds.len() - 1);
            histogram.entry(key).or_insert_with(|| vec![0; bins.bounds.len()])[bin] += columns.int()?.unsigned_abs();
        }
        Ok(())
    }

    /// Writes a query for the values of a number, as `x` after the columns of the key, which are called `k0`, `k1`, …
    fn values_of(&self, part: &Part, number: &NumberOf, ranges: &Ranges, (from, to): (i64, i64)) -> (Statement, String, usize) {
        let mut statement = Statement::about(self.organization);
        let keys = self.keys(&mut statement, "f.created_at", from, to);
        let value = value_of(number, &mut statement);
        let source = statement.from("features", "f", "created_at", ranges);
        let condition = statement.condition(&part.condition);
        let named: Vec<String> = keys.iter().enumerate().map(|(number, key)| format!("{key} as k{number}")).collect();
        let sql = format!(
            "{}select {}, cast({value} as double precision) as x from {}{} where {} and {condition} and {value} is not null",
            source.with,
            named.join(", "),
            source.tables,
            statement.joins(),
            source.condition,
        );
        (statement, sql, keys.len())
    }

    /// Finds out how many conversations there were at once.
    async fn concurrency(&mut self, condition: &Expression) -> Result<HashMap<Key, Concurrency>, Error> {
        let question = self.question;
        let Buckets { from, to, .. } = question.buckets;
        let Some((began_first, began_last)) = self.began else { return Ok(HashMap::new()) };
        let mut statement = Statement::about(self.organization);
        let keys: Vec<String> = {
            let has_clock = question.dimensions.iter().any(|dimension| is_of_clock(&dimension.source));
            // They may have begun before the time that is asked for.
            let offsets =
                if has_clock { question.buckets.offsets(began_first, began_last.saturating_add(1)) } else { Vec::new() };
            let dimensions = question.dimensions.iter();
            dimensions.flat_map(|dimension| statement.dimension(dimension, "f.created_at", &offsets)).collect()
        };
        let (first, end, now) = (statement.int(from), statement.int(to), statement.int(self.now));
        let condition = statement.condition(condition);
        let start = "coalesce(f.started_at, f.created_at)";
        let over = format!(
            "coalesce(f.ended_at, case when f.status in ('initiated', 'in_progress') then {now} end, {start} + f.duration_ms, {start})"
        );
        let keys: String = keys.iter().map(|key| format!("{key}, ")).collect();
        let sql = format!(
            "select {keys}{start}, {over} from features f{} where f.organization_id = $1 and {start} < {end} and {over} > {first} \
             and (f.created_at >= {first} or f.ended_at > {first} or f.ended_at is null) and {condition} limit {}",
            statement.joins(),
            MOST_INTERVALS + 1,
        );
        let rows = statement.run::<E>(self.connection, &sql, &[(from, to)]).await?;
        if rows.len() > MOST_INTERVALS {
            let message =
                format!("more than {MOST_INTERVALS} conversations to lay side by side; take less time, or a narrower filter");
            return Err(Problem::invalid_field("time", message).into());
        }
        let mut intervals: HashMap<[u32; 3], Vec<(i64, i64)>> = HashMap::new();
        for row in &rows {
            let mut columns = Columns::<E>::of(row);
            let values = self.read_values(&mut columns)?;
            intervals.entry(values).or_default().push((columns.int()?, columns.int()?));
        }
        check_groups(intervals.len().saturating_mul(question.buckets.len()))?;
        let mut found = HashMap::new();
        for (values, intervals) in intervals {
            for (bucket, concurrency) in (0_u32..).zip(sweep(&intervals, &question.buckets, self.now)) {
                if concurrency.peak > 0 {
                    found.insert(Key { bucket, values }, concurrency);
                }
            }
        }
        Ok(found)
    }
}

impl Found {
    fn value(&self, part: &Part, number: usize, measure: &Measure, key: Key) -> Computed {
        let partial = self.partials.get(key).map(|figures| &figures[part.slot_of(measure)]);
        match (&measure.subject, measure.op) {
            (Subject::Number(of), Op::Percentile(percent)) => {
                let percentile = partial
                    .and_then(|partial| self.spreads[part.spread_of(of)].percentile(key, percent, partial.min, partial.max));
                computed(measure, partial, percentile)
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

/// A dimension over the rows of a segment.
enum Coded<'a> {
    Text { codes: &'a [u32], numbers: Vec<u32> },
    Clock(Source),
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

fn numbers<'a>(segment: &'a Segment, number: &NumberOf) -> &'a [f64] {
    match number {
        NumberOf::Known(number) => segment.numbers(number.column),
        NumberOf::Extracted(_) => &[],
    }
}

const fn is_of_clock(source: &Source) -> bool {
    matches!(source, Source::HourOfDay | Source::DayOfWeek)
}

fn local(source: &Source, at: i64, offsets: &[(i64, i64)]) -> i64 {
    let piece = offsets.partition_point(|(from, _)| *from <= at).saturating_sub(1);
    let local = at + offsets.get(piece).map_or(0, |(_, offset)| *offset) + SINCE_YEAR_ONE;
    if *source == Source::HourOfDay { local / HOUR % 24 } else { local / (24 * HOUR) % 7 + 1 }
}

fn ordinals(count: usize) -> String {
    (1..=count).map(|number| number.to_string()).collect::<Vec<_>>().join(", ")
}

fn named(keys: usize) -> String {
    (0..keys).map(|number| format!("s.k{number}")).collect::<Vec<_>>().join(", ")
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

/// Returns the stretch of time that a condition leaves of one: what it says of `created_at` at its top.
fn narrowed(condition: &Expression, from: i64, to: i64) -> (i64, i64) {
    let Expression::All(parts) = condition else { return (from, to) };
    let mut left = (from, to);
    for part in parts {
        if let Expression::Compare { field: Field::Known("created_at"), op, value: Value::Time(at) } = part {
            match op {
                Compare::Gte | Compare::Gt => left.0 = left.0.max(at.as_millis()),
                Compare::Lt => left.1 = left.1.min(at.as_millis()),
                Compare::Lte => left.1 = left.1.min(at.as_millis() + 1),
                Compare::Eq | Compare::Ne | Compare::Has => {}
            }
        }
    }
    left
}
