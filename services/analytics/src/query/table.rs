//! What was found so far: figures by bucket and values of dimensions, which can be put together from parts.

use std::collections::HashMap;

/// How many dimensions a question has at most.
pub(crate) const MOST_DIMENSIONS: usize = 3;

/// A bucket, and for each dimension the number of its value in [`Names`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Key {
    pub(crate) bucket: u32,
    pub(crate) values: [u32; MOST_DIMENSIONS],
}

/// The values of each dimension that were found, numbered.
#[derive(Debug, Default)]
pub(crate) struct Names {
    dimensions: [Dictionary; MOST_DIMENSIONS],
}

#[derive(Debug, Default)]
struct Dictionary {
    numbers: HashMap<String, u32>,
    words: Vec<String>,
}

impl Names {
    /// Returns the number of a value.
    pub(crate) fn number(&mut self, dimension: usize, word: &str) -> u32 {
        let Dictionary { numbers, words } = &mut self.dimensions[dimension];
        if let Some(number) = numbers.get(word) {
            return *number;
        }
        let number = u32::try_from(words.len()).unwrap_or(u32::MAX);
        words.push(word.to_owned());
        numbers.insert(word.to_owned(), number);
        number
    }

    /// Returns the value with a number.
    pub(crate) fn word(&self, dimension: usize, number: u32) -> &str {
        self.dimensions[dimension].words.get(number as usize).map_or("", String::as_str)
    }

    /// Returns how many values of a dimension there are.
    pub(crate) fn count(&self, dimension: usize) -> usize {
        self.dimensions[dimension].words.len()
    }
}

/// The currencies of the amounts of a set.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum Currency {
    /// There are no amounts.
    #[default]
    None,
    /// All have this one.
    One(String),
    /// They differ.
    Several,
}

impl Currency {
    fn merge(&mut self, other: &Self) {
        match (&*self, other) {
            (_, Self::None) => {}
            (Self::None, other) => *self = other.clone(),
            (Self::One(one), Self::One(other)) if one == other => {}
            _ => *self = Self::Several,
        }
    }
}

/// The figures of a set of conversations, or of a part of it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Partial {
    /// How many have a value; of a rate: of how many it holds.
    pub(crate) n: u64,
    /// Of a rate: of how many it could.
    pub(crate) of: u64,
    pub(crate) sum: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) currency: Currency,
}

impl Default for Partial {
    fn default() -> Self {
        Self { n: 0, of: 0, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY, currency: Currency::None }
    }
}

impl Partial {
    /// Adds one value.
    pub(crate) fn add(&mut self, value: f64) {
        self.n += 1;
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// Adds a part.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.of += other.of;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.currency.merge(&other.currency);
    }

    /// Adds an amount's currency.
    pub(crate) fn add_currency(&mut self, currency: &str) {
        match &self.currency {
            Currency::One(known) if known == currency => {}
            _ => self.currency.merge(&Currency::One(currency.to_owned())),
        }
    }
}

/// Figures by key: a row of partials for each.
#[derive(Debug)]
pub(crate) struct Partials {
    index: HashMap<Key, usize>,
    /// The key that was asked for last, which is often the next one too.
    last: Option<(Key, usize)>,
    cells: Vec<Partial>,
    width: usize,
}

impl Partials {
    /// Returns an empty table with so many figures a key.
    pub(crate) fn new(width: usize) -> Self {
        Self { index: HashMap::new(), last: None, cells: Vec::new(), width }
    }

    /// Returns the figures of a key, all zero at first.
    pub(crate) fn at(&mut self, key: Key) -> &mut [Partial] {
        let row = self.row_of(key);
        self.row(row)
    }

    /// Returns the number of a key's row.
    pub(crate) fn row_of(&mut self, key: Key) -> usize {
        if let Some((last, row)) = self.last
            && last == key
        {
            return row;
        }
        let row = *self.index.entry(key).or_insert_with(|| {
            self.cells.resize(self.cells.len() + self.width, Partial::default());
            self.cells.len() / self.width - 1
        });
        self.last = Some((key, row));
        row
    }

    /// Returns the figures of a row.
    pub(crate) fn row(&mut self, row: usize) -> &mut [Partial] {
        &mut self.cells[row * self.width..(row + 1) * self.width]
    }

    /// Returns the figures of a key that was found.
    pub(crate) fn get(&self, key: Key) -> Option<&[Partial]> {
        let row = *self.index.get(&key)?;
        Some(&self.cells[row * self.width..(row + 1) * self.width])
    }

    /// Returns how many keys were found.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Returns the keys that were found.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        self.index.keys().copied()
    }

    /// Returns one figure over all keys.
    pub(crate) fn total(&self, slot: usize) -> u64 {
        self.cells.chunks_exact(self.width).map(|row| row[slot].n).sum()
    }
}
