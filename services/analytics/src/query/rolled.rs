//! An hour of conversations, read from the rows, as it is kept for questions over long times.

use colloquy_storage::engine::{Columns, Engine, Outcome, Value};

use super::segment::{self, COLUMNS, Column, Kind, Segment, TextWriter, created_bytes, number_bytes};
use super::slots::Filled;
use super::table::Partial;
use super::time::HOUR;
use super::totals::{FIGURES, Figure};

/// An hour, read.
#[derive(Debug)]
pub(crate) struct Hour {
    hour: i64,
    created_at: Vec<i64>,
    /// The bytes of each column, in the order of [`COLUMNS`].
    columns: Vec<Vec<u8>>,
}

/// A value of a column.
#[derive(Debug)]
pub(crate) enum Cell {
    Int(i64),
    Bytes(Vec<u8>),
}

impl Cell {
    pub(crate) fn as_value(&self) -> Value<'_> {
        match self {
            Self::Int(number) => Value::Int(*number),
            Self::Bytes(bytes) => Value::Bytes(bytes),
        }
    }
}

enum Writer {
    Text(TextWriter),
    Number(Vec<f64>),
}

impl Hour {
    /// Reads an hour; `None` when there is no conversation in it.
    pub(crate) async fn read<E: Engine>(connection: &mut E::Connection, organization: &str, hour: i64) -> Outcome<Option<Self>> {
        let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
        let sql = format!(
            "select created_at, {} from features where organization_id = $1 and created_at >= $2 and created_at < $3 \
             order by created_at, conversation_id",
            names.join(", ")
        );
        let values = [Value::Text(organization), Value::Int(hour * HOUR), Value::Int((hour + 1) * HOUR)];
        let rows = E::query(connection, &sql, &values, None).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let mut created_at = Vec::with_capacity(rows.len());
        let mut writers: Vec<Writer> = (COLUMNS.iter())
            .map(|(_, kind)| match kind {
                Kind::Text => Writer::Text(TextWriter::default()),
                Kind::Whole | Kind::Real => Writer::Number(Vec::with_capacity(rows.len())),
            })
            .collect();
        for row in &rows {
            let mut read = Columns::<E>::of(row);
            created_at.push(read.int()?);
            for ((_, kind), writer) in COLUMNS.iter().zip(&mut writers) {
                match (writer, kind) {
                    (Writer::Text(writer), _) => writer.add(read.opt_text()?),
                    (Writer::Number(values), Kind::Real) => values.push(read.opt_real()?.unwrap_or(f64::NAN)),
                    (Writer::Number(values), _) => values.push(read.opt_int()?.map_or(f64::NAN, |number| number as f64)),
                }
            }
        }
        let bytes = |writer: Writer| match writer {
            Writer::Text(writer) => writer.bytes(),
            Writer::Number(values) => number_bytes(&values),
        };
        Ok(Some(Self { hour, created_at, columns: writers.into_iter().map(bytes).collect() }))
    }

    /// Returns the columns of its segment.
    pub(crate) fn segment(&self) -> Vec<(String, Cell)> {
        let count = i64::try_from(self.created_at.len()).unwrap_or(i64::MAX);
        let created = created_bytes(self.hour, &self.created_at);
        let mut cells = vec![("n".to_owned(), Cell::Int(count)), (segment::CREATED_AT.to_owned(), Cell::Bytes(created))];
        let columns = COLUMNS.iter().zip(&self.columns);
        cells.extend(columns.map(|((name, _), bytes)| ((*name).to_owned(), Cell::Bytes(bytes.clone()))));
        cells
    }

    /// Returns what each figure of [`FIGURES`] comes to, in their order: made of the segment as a query would make them.
    pub(crate) fn totals(&self) -> Vec<Partial> {
        let rows = self.created_at.len();
        let columns = COLUMNS.iter().zip(&self.columns);
        let read = columns.filter_map(|((name, kind), bytes)| Some((*name, segment::read_column(*kind, bytes, rows)?)));
        let segment =
            Segment { created_at: self.created_at.clone(), columns: read.collect::<std::collections::HashMap<_, Column>>() };
        let sum = |figure: &Figure| {
            let filled = Filled::of(&figure.slot, &segment);
            let mut partial = Partial::default();
            for row in 0..rows {
                filled.add(row, &mut partial);
            }
            partial
        };
        FIGURES.iter().map(sum).collect()
    }
}
