//! What is read of the store for one set of conversations: each figure once, however many measures are made of it.

use colloquy_filter::Expression;
use colloquy_storage::engine::{Columns, Engine, Outcome};

use super::measure::{Measure, NumberOf, Op, RateOf, Subject};
use super::schema::COST;
use super::segment::{self, Segment, columns_of};
use super::statement::Statement;
use super::table::Partial;
use super::totals;
use crate::features::LARGEST_NUMBER;

/// A figure that can be put together from parts.
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    /// How many.
    Count,
    /// How many, their sum, the least and the greatest.
    Number(NumberOf),
    /// Of how many it holds, and could.
    Rate(RateOf),
}

impl Slot {
    fn of(measure: &Measure) -> Self {
        match &measure.subject {
            Subject::Conversations => Self::Count,
            Subject::Number(number) => Self::Number(number.clone()),
            Subject::Rate(rate) => Self::Rate(rate.clone()),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Count, Self::Count) => true,
            (Self::Number(one), Self::Number(other)) => one.is_same(other),
            (Self::Rate(one), Self::Rate(other)) => one.is_same(other),
            _ => false,
        }
    }

    /// Writes the columns that [`Slot::read`] reads.
    fn write(&self, statement: &mut Statement) -> Vec<String> {
        match self {
            Self::Count => vec!["count(*)".to_owned()],
            Self::Number(number) => {
                let value = value_of(number, statement);
                let mut columns = vec![
                    format!("count({value})"),
                    format!("sum(cast({value} as double precision))"),
                    format!("min(cast({value} as double precision))"),
                    format!("max(cast({value} as double precision))"),
                ];
                if is_cost(number) {
                    let currency = "case when f.cost_micros is not null then coalesce(f.cost_currency, '') end";
                    columns.extend([format!("min({currency})"), format!("max({currency})")]);
                }
                columns
            }
            Self::Rate(rate) => {
                let (numerator, denominator) = rate.expressions();
                let (holds, could) = (statement.condition(&numerator), statement.condition(&denominator));
                vec![format!("count(case when {could} and {holds} then 1 end)"), format!("count(case when {could} then 1 end)")]
            }
        }
    }

    fn read<E: Engine>(&self, columns: &mut Columns<'_, E>) -> Outcome<Partial> {
        let mut partial = Partial { n: columns.opt_int()?.unwrap_or(0).unsigned_abs(), ..Partial::default() };
        match self {
            Self::Count => {}
            Self::Number(number) => {
                partial.sum = columns.opt_real()?.unwrap_or(0.0);
                partial.min = columns.opt_real()?.unwrap_or(f64::INFINITY);
                partial.max = columns.opt_real()?.unwrap_or(f64::NEG_INFINITY);
                if is_cost(number) {
                    for currency in [columns.opt_text()?, columns.opt_text()?].into_iter().flatten() {
                        partial.add_currency(&currency);
                    }
                }
            }
            Self::Rate(_) => partial.of = columns.opt_int()?.unwrap_or(0).unsigned_abs(),
        }
        Ok(partial)
    }

    fn is_totalled(&self) -> bool {
        totals::name_of(self).is_some()
    }

    /// Adds the segments' columns it is made of; returns whether segments have them.
    fn columns(&self, columns: &mut Vec<&'static str>) -> bool {
        match self {
            Self::Count => true,
            Self::Number(NumberOf::Known(number)) => {
                columns.push(number.column);
                if number.column == COST {
                    columns.push("cost_currency");
                }
                segment::column(number.column).is_some()
            }
            Self::Number(NumberOf::Extracted(_)) => false,
            Self::Rate(rate) => {
                let (numerator, denominator) = rate.expressions();
                columns_of(&numerator, columns) && columns_of(&denominator, columns)
            }
        }
    }
}

fn is_cost(number: &NumberOf) -> bool {
    matches!(number, NumberOf::Known(number) if number.column == COST)
}

/// Writes the value of a number.
pub(crate) fn value_of(number: &NumberOf, statement: &mut Statement) -> String {
    match number {
        NumberOf::Known(number) => format!("f.{}", number.column),
        NumberOf::Extracted(name) => {
            let table = statement.extracted(name);
            // What an earlier release kept may be beyond: PostgreSQL refuses to add up what is too large for its sum.
            let most = statement.real(LARGEST_NUMBER);
            format!("case when abs({table}.number_value) <= {most} then {table}.number_value end")
        }
    }
}

/// What is read for the measures that look at the same conversations.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Which conversations.
    pub(crate) condition: Expression,
    /// The measures, by their places in the question.
    pub(crate) measures: Vec<usize>,
    /// The figures; each measure's is found by [`Part::slot_of`].
    pub(crate) slots: Vec<Slot>,
    /// The numbers whose values percentiles need.
    pub(crate) spreads: Vec<NumberOf>,
    /// The numbers whose values histograms need, as the measures that ask for them.
    pub(crate) histograms: Vec<usize>,
    /// Whether it is asked how many there were at once.
    pub(crate) is_concurrent: bool,
}

impl Part {
    /// Divides the measures of a question into parts.
    pub(crate) fn all(measures: &[(Measure, Expression)]) -> Vec<Self> {
        let mut parts: Vec<Self> = Vec::new();
        for (number, (measure, condition)) in measures.iter().enumerate() {
            let at = parts.iter().position(|part| part.condition == *condition).unwrap_or_else(|| {
                parts.push(Self {
                    condition: condition.clone(),
                    measures: Vec::new(),
                    slots: Vec::new(),
                    spreads: Vec::new(),
                    histograms: Vec::new(),
                    is_concurrent: false,
                });
                parts.len() - 1
            });
            parts[at].add(number, measure);
        }
        parts
    }

    fn add(&mut self, number: usize, measure: &Measure) {
        self.measures.push(number);
        let slot = Slot::of(measure);
        if !self.slots.iter().any(|known| known.is_same(&slot)) {
            self.slots.push(slot);
        }
        match (&measure.subject, measure.op) {
            (Subject::Number(of), Op::Percentile(_)) if !self.spreads.iter().any(|known| known.is_same(of)) => {
                self.spreads.push(of.clone());
            }
            (_, Op::Histogram) => self.histograms.push(number),
            _ => self.is_concurrent |= measure.is_concurrency(),
        }
    }

    /// Returns where a measure's figure is.
    pub(crate) fn slot_of(&self, measure: &Measure) -> usize {
        let slot = Slot::of(measure);
        self.slots.iter().position(|known| known.is_same(&slot)).unwrap_or_default()
    }

    /// Returns where a number's values are.
    pub(crate) fn spread_of(&self, number: &NumberOf) -> usize {
        self.spreads.iter().position(|known| known.is_same(number)).unwrap_or_default()
    }

    /// Returns whether the hours' totals have all it asks for.
    pub(crate) fn is_totalled(&self) -> bool {
        self.condition == Expression::All(Vec::new())
            && self.spreads.is_empty()
            && self.histograms.is_empty()
            && self.slots.iter().all(Slot::is_totalled)
    }

    /// Returns the columns of segments it needs; `None` when segments do not have them.
    pub(crate) fn columns(&self) -> Option<Vec<&'static str>> {
        let mut columns = Vec::new();
        let has_all = columns_of(&self.condition, &mut columns) && self.slots.iter().all(|slot| slot.columns(&mut columns));
        columns.retain(|column| *column != segment::CREATED_AT);
        has_all.then_some(columns)
    }

    /// Writes the columns of all figures.
    pub(crate) fn write(&self, statement: &mut Statement) -> Vec<String> {
        self.slots.iter().flat_map(|slot| slot.write(statement)).collect()
    }

    /// Reads what was written and adds it to what is known.
    pub(crate) fn read<E: Engine>(&self, columns: &mut Columns<'_, E>, known: &mut [Partial]) -> Outcome<()> {
        for (slot, known) in self.slots.iter().zip(known) {
            known.merge(&slot.read(columns)?);
        }
        Ok(())
    }
}

/// A slot over the rows of one segment.
pub(crate) enum Filled<'a> {
    Count,
    Number(&'a [f64]),
    Cost(&'a [f64], &'a segment::Column),
    Rate(Vec<bool>, Vec<bool>),
}

impl<'a> Filled<'a> {
    pub(crate) fn of(slot: &Slot, segment: &'a Segment) -> Self {
        match slot {
            Slot::Count | Slot::Number(NumberOf::Extracted(_)) => Self::Count,
            Slot::Number(NumberOf::Known(number)) => match segment.columns.get("cost_currency") {
                Some(currency) if number.column == COST => Self::Cost(segment.numbers(number.column), currency),
                _ => Self::Number(segment.numbers(number.column)),
            },
            Slot::Rate(rate) => {
                let (numerator, denominator) = rate.expressions();
                Self::Rate(segment.holds(&numerator), segment.holds(&denominator))
            }
        }
    }

    /// Adds a row.
    pub(crate) fn add(&self, row: usize, known: &mut Partial) {
        match self {
            Self::Count => known.n += 1,
            Self::Number(values) => {
                if let Some(value) = values.get(row).filter(|value| !value.is_nan()) {
                    known.add(*value);
                }
            }
            Self::Cost(values, currency) => {
                if let Some(value) = values.get(row).filter(|value| !value.is_nan()) {
                    known.add(*value);
                    if let segment::Column::Text { words, codes } = currency {
                        let word = codes[row].checked_sub(1).map_or("", |code| words[code as usize].as_str());
                        known.add_currency(word);
                    }
                }
            }
            Self::Rate(holds, could) => {
                known.of += u64::from(could[row]);
                known.n += u64::from(could[row] && holds[row]);
            }
        }
    }
}
