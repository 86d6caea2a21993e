//! Reads sums of whole hours.

use std::collections::BTreeMap;

use colloquy_storage::StoreError;
use colloquy_storage::engine::{Columns, Value as Given};

use super::{Found, Run, local};
use crate::query::error::Error;
use crate::query::schema::Source;
use crate::query::slots::{Part, Slot};
use crate::query::statement::{Dialect, Ranges};
use crate::query::table::Key;
use crate::query::time::HOUR;
use crate::query::totals::{COUNT, Day, HOURS, name_of};

/// The hours of a day: of each figure that is asked for, and first of all how many conversations there were.
type Days = BTreeMap<i64, Vec<Option<Day>>>;

impl<E: Dialect> Run<'_, E> {
    pub(super) async fn read_totals(
        &mut self,
        part: &Part,
        ranges: &Ranges,
        (from, to): (i64, i64),
        found: &mut Found,
    ) -> Result<(), Error> {
        let offsets = self.clock(from, to);
        let days = self.days(part, ranges).await?;
        // Hours come in order, so those of a bucket one after the other.
        let (mut key, mut until) = (Key::default(), i64::MIN);
        for (first, end) in ranges {
            for (day, figures) in days.range(first.div_euclid(HOURS)..=(end - 1).div_euclid(HOURS)) {
                let Some(Some(counts)) = figures.first() else { continue };
                for hour in (day * HOURS).max(*first)..((day + 1) * HOURS).min(*end) {
                    let place = usize::try_from(hour - day * HOURS).unwrap_or_default();
                    if counts.get(&Slot::Count, place).n == 0 {
                        continue;
                    }
                    // The first hour of what is asked for may have begun before it.
                    let at = (hour * HOUR).max(from);
                    if at >= until || !self.question.dimensions.is_empty() {
                        key = self.key_of_hour(at, &offsets);
                        (_, until) = self.question.buckets.within(key.bucket as usize);
                    }
                    let known = found.partials.at(key).iter_mut();
                    for ((known, slot), figure) in known.zip(&part.slots).zip(&figures[1..]) {
                        if let Some(figure) = figure {
                            known.merge(&figure.get(slot, place));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads the days of stretches of hours.
    async fn days(&mut self, part: &Part, ranges: &Ranges) -> Result<Days, Error> {
        let (Some((first, _)), Some((_, end))) = (ranges.first(), ranges.last()) else { return Ok(Days::new()) };
        let mut slots = vec![&Slot::Count];
        slots.extend(&part.slots);
        let names: Vec<String> = slots.iter().map(|slot| name_of(slot).unwrap_or_else(|| COUNT.to_owned())).collect();
        let mut values = vec![
            Given::Text(self.organization.as_str()),
            Given::Int(first.div_euclid(HOURS)),
            Given::Int((end - 1).div_euclid(HOURS)),
        ];
        values.extend(names.iter().map(|name| Given::Text(name)));
        let places: Vec<String> = (4..=values.len()).map(|place| format!("${place}")).collect();
        let sql = format!(
            "select day, figure, hours from rollup_totals \
             where organization_id = $1 and day >= $2 and day <= $3 and figure in ({})",
            places.join(", ")
        );
        let mut days = Days::new();
        for row in &E::query(self.connection, &sql, &values, None).await? {
            let mut columns = Columns::<E>::of(row);
            let (day, figure, bytes) = (columns.int()?, columns.text()?, columns.bytes()?);
            let known = days.entry(day).or_insert_with(|| vec![None; slots.len()]);
            for ((known, slot), name) in known.iter_mut().zip(&slots).zip(&names) {
                if *name == figure {
                    let read = Day::read(slot, bytes.clone());
                    *known = Some(read.ok_or_else(|| StoreError::Corrupt("the sums of a day".to_owned()))?);
                }
            }
        }
        Ok(days)
    }

    /// Returns the key of an hour, which no bucket divides, and, where a dimension is of the clock, no change of that: such hours are
    /// not read here; see [`Run::plan`] and [`super::has_whole_hours`].
    fn key_of_hour(&mut self, at: i64, offsets: &[(i64, i64)]) -> Key {
        let question = self.question;
        let mut key = Key { bucket: u32::try_from(question.buckets.bucket_of(at)).unwrap_or(u32::MAX), ..Key::default() };
        for (number, dimension) in question.dimensions.iter().enumerate() {
            let word = match &dimension.source {
                source @ (Source::HourOfDay | Source::DayOfWeek) => local(source, at, offsets).to_string(),
                // Others have no totals; see `Run::plan`.
                _ => String::new(),
            };
            key.values[number] = self.names.number(number, &word);
        }
        key
    }
}
