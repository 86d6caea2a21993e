//! An hour of conversations in columns: what questions with dimensions and filters over long times are answered from.
//!
//! A segment holds what the rows of `features` hold, without what identifies people, in a tenth of the bytes, so that a month is
//! read in milliseconds. It is made anew whenever a conversation of its hour changes, and says exactly what the rows say.

use std::collections::HashMap;

use colloquy_filter::{Expression, Field, FieldValue, evaluate, fields};

use super::time::HOUR;

/// What the values of a column are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Text,
    Whole,
    Real,
}

/// When conversations began: a column that every segment has.
pub(crate) const CREATED_AT: &str = "created_at";

/// The columns of a segment, called as those of `features`.
pub(crate) const COLUMNS: &[(&str, Kind)] = &[
    ("provider", Kind::Text),
    ("agent_id", Kind::Text),
    ("agent_version_id", Kind::Text),
    ("client_id", Kind::Text),
    ("channel", Kind::Text),
    ("direction", Kind::Text),
    ("status", Kind::Text),
    ("end_reason", Kind::Text),
    ("failure_code", Kind::Text),
    ("call_successful", Kind::Text),
    ("outcome", Kind::Text),
    ("resolution_status", Kind::Text),
    ("sentiment", Kind::Text),
    ("intent", Kind::Text),
    ("language", Kind::Text),
    ("cost_currency", Kind::Text),
    ("duration_ms", Kind::Whole),
    ("turn_count", Kind::Whole),
    ("exchanges", Kind::Whole),
    ("agent_talk_ms", Kind::Whole),
    ("user_talk_ms", Kind::Whole),
    ("silence_ms", Kind::Whole),
    ("longest_silence_ms", Kind::Whole),
    ("silence_count", Kind::Whole),
    ("hold_ms", Kind::Whole),
    ("interruptions_by_user", Kind::Whole),
    ("interruptions_by_agent", Kind::Whole),
    ("error_count", Kind::Whole),
    ("cost_micros", Kind::Whole),
    ("talk_ratio", Kind::Real),
    ("agent_words_per_minute", Kind::Real),
    ("user_words_per_minute", Kind::Real),
    ("response_latency_ms", Kind::Real),
    ("response_latency_p95_ms", Kind::Real),
    ("response_latency_max_ms", Kind::Real),
    ("sentiment_score", Kind::Real),
    ("sentiment_shift", Kind::Real),
    ("satisfaction_score", Kind::Real),
    ("caller_rating", Kind::Real),
    ("inferred_satisfaction", Kind::Real),
    ("technical_quality", Kind::Real),
];

/// Returns the name and kind of a column that segments have.
pub(crate) fn column(name: &str) -> Option<(&'static str, Kind)> {
    if name == CREATED_AT {
        return Some((CREATED_AT, Kind::Whole));
    }
    COLUMNS.iter().find(|(known, _)| *known == name).copied()
}

/// Adds the columns that an expression asks for; returns whether segments have them all.
pub(crate) fn columns_of(expression: &Expression, columns: &mut Vec<&'static str>) -> bool {
    match expression {
        Expression::All(parts) | Expression::Any(parts) => parts.iter().all(|part| columns_of(part, columns)),
        Expression::Not(part) => columns_of(part, columns),
        Expression::Present(field) | Expression::Compare { field, .. } => {
            let Some((name, _)) = place_of(field) else { return false };
            columns.push(name);
            true
        }
    }
}

fn place_of(field: &Field) -> Option<(&'static str, Kind)> {
    match field {
        Field::Custom(_) => None,
        Field::Known(_) => column(fields::spec(field)?.column),
    }
}

/// A column of a segment.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Column {
    /// Texts: each row has the place of its word plus one, or 0.
    Text {
        /// The words.
        words: Vec<String>,
        /// The rows.
        codes: Vec<u32>,
    },
    /// Numbers; NaN where there is none.
    Number(Vec<f64>),
}

/// A column that is being filled.
#[derive(Debug, Default)]
pub(crate) struct TextWriter {
    words: Vec<String>,
    numbers: HashMap<String, u32>,
    codes: Vec<u32>,
}

impl TextWriter {
    /// Adds a row.
    pub(crate) fn add(&mut self, text: Option<String>) {
        let code = match text {
            None => 0,
            Some(text) => match self.numbers.get(&text) {
                Some(number) => *number,
                None => {
                    self.words.push(text.clone());
                    let number = u32::try_from(self.words.len()).unwrap_or(u32::MAX);
                    self.numbers.insert(text, number);
                    number
                }
            },
        };
        self.codes.push(code);
    }

    /// Returns the column's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.words.is_empty() {
            return bytes;
        }
        write_number(&mut bytes, self.words.len() as u64);
        for word in &self.words {
            write_number(&mut bytes, word.len() as u64);
            bytes.extend_from_slice(word.as_bytes());
        }
        for code in &self.codes {
            write_number(&mut bytes, u64::from(*code));
        }
        bytes
    }
}

/// By what numbers are multiplied to become whole, if they do.
const SCALES: [f64; 3] = [1.0, 1_000.0, 1_000_000.0];
/// How a column of numbers begins that do not.
const AS_THEY_ARE: u8 = 255;
/// Whole numbers up to here are exact.
const MOST_WHOLE: f64 = 4_503_599_627_370_496.0;

/// Returns the bytes of a column of numbers; NaN is none.
pub(crate) fn number_bytes(values: &[f64]) -> Vec<u8> {
    if values.iter().all(|value| value.is_nan()) {
        return Vec::new();
    }
    let fits = |scale: f64| {
        let is_exact = |value: &f64| {
            let scaled = (value * scale).round();
            let is_negative_zero = *value == 0.0 && value.is_sign_negative();
            value.is_nan() || (scaled.abs() <= MOST_WHOLE && scaled / scale == *value && !is_negative_zero)
        };
        values.iter().all(is_exact)
    };
    let mut bytes = Vec::with_capacity(values.len() * 2 + 1);
    match SCALES.iter().position(|scale| fits(*scale)) {
        Some(at) => {
            bytes.push(u8::try_from(at).unwrap_or_default());
            for value in values {
                // Between -2^52 and 2^52, as was just seen.
                let whole = (value * SCALES[at]).round() as i64;
                let folded = (whole.unsigned_abs() << 1) | u64::from(whole < 0);
                write_number(&mut bytes, if value.is_nan() { 0 } else { folded + 1 });
            }
        }
        None => {
            bytes.push(AS_THEY_ARE);
            for value in values {
                bytes.extend_from_slice(&value.to_le_bytes());
            }
        }
    }
    bytes
}

fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Reads what was written; whatever is missing or broken makes the whole unreadable.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
}

/// Reads a column of `rows` rows.
pub(crate) fn read_column(kind: Kind, bytes: &[u8], rows: usize) -> Option<Column> {
    let mut reader = Reader(bytes);
    if kind == Kind::Text {
        if bytes.is_empty() {
            return Some(Column::Text { words: Vec::new(), codes: vec![0; rows] });
        }
        let count = usize::try_from(reader.number()?).ok().filter(|count| *count <= rows)?;
        let mut words = Vec::with_capacity(count);
        for _ in 0..count {
            let length = usize::try_from(reader.number()?).ok()?;
            words.push(std::str::from_utf8(reader.take(length)?).ok()?.to_owned());
        }
        let mut codes = Vec::with_capacity(rows);
        for _ in 0..rows {
            codes.push(u32::try_from(reader.number()?).ok().filter(|code| *code as usize <= words.len())?);
        }
        return Some(Column::Text { words, codes });
    }
    if bytes.is_empty() {
        return Some(Column::Number(vec![f64::NAN; rows]));
    }
    let mut values = Vec::with_capacity(rows);
    match reader.byte()? {
        AS_THEY_ARE => {
            for _ in 0..rows {
                values.push(f64::from_le_bytes(reader.take(8)?.try_into().ok()?));
            }
        }
        scale => {
            let scale = *SCALES.get(usize::from(scale))?;
            for _ in 0..rows {
                values.push(match reader.number()? {
                    0 => f64::NAN,
                    number => {
                        let folded = number - 1;
                        let size = (folded >> 1) as f64 / scale;
                        if folded & 1 == 1 { -size } else { size }
                    }
                });
            }
        }
    }
    Some(Column::Number(values))
}

/// An hour, as far as it was read.
#[derive(Debug)]
pub(crate) struct Segment {
    /// When each conversation began, in milliseconds.
    pub(crate) created_at: Vec<i64>,
    /// The columns that were asked for.
    pub(crate) columns: HashMap<&'static str, Column>,
}

impl Segment {
    /// Reads an hour: how many rows, when each began, and columns.
    pub(crate) fn read(hour: i64, rows: usize, created: &[u8], columns: Vec<(&'static str, Vec<u8>)>) -> Option<Self> {
        let mut reader = Reader(created);
        let mut created_at = Vec::with_capacity(rows);
        for _ in 0..rows {
            created_at.push(hour * HOUR + i64::try_from(reader.number()?).ok()?);
        }
        let mut read = HashMap::with_capacity(columns.len());
        for (name, bytes) in columns {
            read.insert(name, read_column(column(name)?.1, &bytes, rows)?);
        }
        Some(Self { created_at, columns: read })
    }

    /// Returns a column of numbers; no other than those asked for.
    pub(crate) fn numbers(&self, name: &str) -> &[f64] {
        match self.columns.get(name) {
            Some(Column::Number(values)) => values,
            _ => &[],
        }
    }

    /// Returns for which rows an expression holds.
    pub(crate) fn holds(&self, expression: &Expression) -> Vec<bool> {
        match expression {
            Expression::All(parts) => self.joined(parts, true, |all, one| all & one),
            Expression::Any(parts) => self.joined(parts, false, |any, one| any | one),
            Expression::Not(part) => self.holds(part).into_iter().map(|holds| !holds).collect(),
            Expression::Present(field) | Expression::Compare { field, .. } => self.leaf(field, expression),
        }
    }

    fn joined(&self, parts: &[Expression], empty: bool, join: impl Fn(bool, bool) -> bool) -> Vec<bool> {
        let mut all = vec![empty; self.created_at.len()];
        for part in parts {
            for (all, one) in all.iter_mut().zip(self.holds(part)) {
                *all = join(*all, one);
            }
        }
        all
    }

    /// Asks each word once, and each number.
    fn leaf(&self, field: &Field, expression: &Expression) -> Vec<bool> {
        let ask = |value: FieldValue<'_>| evaluate(expression, &|_| value);
        let Some((name, kind)) = place_of(field) else { return vec![false; self.created_at.len()] };
        if name == CREATED_AT {
            return self.created_at.iter().map(|at| ask(FieldValue::Integer(*at))).collect();
        }
        match self.columns.get(name) {
            Some(Column::Text { words, codes }) => {
                let mut answers = vec![ask(FieldValue::Absent)];
                answers.extend(words.iter().map(|word| ask(FieldValue::Text(word))));
                codes.iter().map(|code| answers[*code as usize]).collect()
            }
            Some(Column::Number(values)) => {
                let value = |value: f64| match kind {
                    _ if value.is_nan() => FieldValue::Absent,
                    Kind::Whole => FieldValue::Integer(value as i64),
                    _ => FieldValue::Number(value),
                };
                values.iter().map(|number| ask(value(*number))).collect()
            }
            None => vec![false; self.created_at.len()],
        }
    }
}

/// Returns the bytes that say when the conversations of an hour began.
pub(crate) fn created_bytes(hour: i64, created_at: &[i64]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(created_at.len() * 3);
    for at in created_at {
        write_number(&mut bytes, (at - hour * HOUR).unsigned_abs());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_to_the_last_bit() {
        for values in [
            vec![0.0, 1.0, -3.0, 180_000.0, f64::NAN],
            vec![0.25, -0.57, 4.2, f64::NAN],
            vec![1.0 / 3.0, 1e300, -0.0, f64::NAN],
            vec![f64::NAN, f64::NAN],
            vec![-0.0, 1e-6, 123_456.789_012],
        ] {
            let Some(Column::Number(read)) = read_column(Kind::Real, &number_bytes(&values), values.len()) else {
                panic!("unreadable")
            };
            for (read, value) in read.iter().zip(&values) {
                assert!(read.to_bits() == value.to_bits() || (read.is_nan() && value.is_nan()), "{read} {value}");
            }
        }
    }

    #[test]
    fn texts_come_back_and_broken_bytes_do_not() {
        let mut writer = TextWriter::default();
        for text in [Some("a"), None, Some("ä b"), Some("a"), Some("")] {
            writer.add(text.map(str::to_owned));
        }
        let bytes = writer.bytes();
        let Some(Column::Text { words, codes }) = read_column(Kind::Text, &bytes, 5) else { panic!("unreadable") };
        assert_eq!((words, codes), (vec!["a".to_owned(), "ä b".to_owned(), String::new()], vec![1, 0, 2, 1, 3]));
        for length in 1..bytes.len() {
            assert_eq!(read_column(Kind::Text, &bytes[..length], 5), None, "{length}");
        }
        assert_eq!(read_column(Kind::Text, &[255; 20], 5), None);
    }
}
