//! What hours come to, a day of one figure in a row: what questions over all time are answered from.
//!
//! A year by day has 8,760 hours, whose sums in one table of a row each took longer to read than all else; of a figure they are 365 rows
//! here, whatever zone the days are of.

use std::sync::LazyLock;

use super::measure::{NumberOf, RateOf};
use super::schema::{NUMBERS, RATES, TOTALLED};
use super::slots::Slot;
use super::table::Partial;

/// How many hours a row has.
pub(crate) const HOURS: i64 = 24;
/// The figure that says in which hours there were conversations.
pub(crate) const COUNT: &str = "n";

/// A figure of which the hours are kept.
#[derive(Debug)]
pub(crate) struct Figure {
    /// What it is called.
    pub(crate) name: String,
    /// What it is made of.
    pub(crate) slot: Slot,
}

/// All of them.
pub(crate) static FIGURES: LazyLock<Vec<Figure>> = LazyLock::new(|| {
    let numbers = TOTALLED.iter().filter_map(|column| NUMBERS.iter().find(|number| number.column == *column));
    let slots = std::iter::once(Slot::Count)
        .chain(numbers.map(|number| Slot::Number(NumberOf::Known(number))))
        .chain(RATES.iter().map(|rate| Slot::Rate(RateOf::Known(rate))));
    slots.filter_map(|slot| Some(Figure { name: name_of(&slot)?, slot })).collect()
});

/// Returns what the figure of a slot is called, if its hours are kept.
pub(crate) fn name_of(slot: &Slot) -> Option<String> {
    match slot {
        Slot::Count => Some(COUNT.to_owned()),
        Slot::Number(NumberOf::Known(number)) => TOTALLED.contains(&number.column).then(|| number.column.to_owned()),
        Slot::Rate(RateOf::Known(rate)) => Some(format!("rate.{}", rate.name)),
        Slot::Number(NumberOf::Extracted(_)) | Slot::Rate(RateOf::Extracted(_)) => None,
    }
}

/// The hours of a day, of one figure: each as the counts and numbers its slot has, little-endian.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Day(Vec<u8>);

const fn width(slot: &Slot) -> usize {
    match slot {
        Slot::Count => 4,
        Slot::Rate(_) => 8,
        Slot::Number(_) => 4 + 3 * 8,
    }
}

fn counted(count: u64) -> [u8; 4] {
    u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes()
}

impl Day {
    /// Returns a day without conversations.
    pub(crate) fn empty(slot: &Slot) -> Self {
        Self(vec![0; width(slot) * HOURS as usize])
    }

    /// Reads a day; `None` for what is none.
    pub(crate) fn read(slot: &Slot, bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() == width(slot) * HOURS as usize).then_some(Self(bytes))
    }

    /// Returns its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns whether there were no conversations.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    /// Puts an hour in the place of what was known of it.
    pub(crate) fn set(&mut self, slot: &Slot, hour: usize, known: &Partial) {
        let mut entry = counted(known.n).to_vec();
        match slot {
            Slot::Count => {}
            Slot::Rate(_) => entry.extend(counted(known.of)),
            Slot::Number(_) if known.n == 0 => entry.resize(width(slot), 0),
            Slot::Number(_) => {
                entry.extend([known.sum, known.min, known.max].into_iter().flat_map(f64::to_le_bytes));
            }
        }
        let at = hour * width(slot);
        self.0[at..at + width(slot)].copy_from_slice(&entry);
    }

    /// Returns what an hour comes to.
    pub(crate) fn get(&self, slot: &Slot, hour: usize) -> Partial {
        let entry = &self.0[hour * width(slot)..(hour + 1) * width(slot)];
        let count = |at: usize| u64::from(u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]));
        let real = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&entry[at..at + 8]);
            f64::from_le_bytes(bytes)
        };
        let known = Partial { n: count(0), ..Partial::default() };
        match slot {
            Slot::Count => known,
            Slot::Rate(_) => Partial { of: count(4), ..known },
            Slot::Number(_) if known.n == 0 => known,
            Slot::Number(_) => Partial { sum: real(4), min: real(12), max: real(20), ..known },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_come_back_as_they_were_put() {
        for Figure { name, slot } in FIGURES.iter() {
            let mut day = Day::empty(slot);
            let some = match slot {
                Slot::Count => Partial { n: 7, ..Partial::default() },
                Slot::Rate(_) => Partial { n: 3, of: 9, ..Partial::default() },
                Slot::Number(_) => Partial { n: 2, sum: -0.5, min: -1.0, max: 0.5, ..Partial::default() },
            };
            day.set(slot, 0, &some);
            day.set(slot, 23, &some);
            let day = Day::read(slot, day.bytes().to_vec()).unwrap();
            assert_eq!([0, 1, 23].map(|hour| day.get(slot, hour)), [some.clone(), Partial::default(), some], "{name}");
            assert_eq!(Day::read(slot, vec![0; 3]), None);
        }
    }

    #[test]
    fn figures_have_names_of_their_own() {
        for (number, figure) in FIGURES.iter().enumerate() {
            assert!(FIGURES[..number].iter().all(|other| other.name != figure.name), "{}", figure.name);
        }
    }
}
