//! Analyses as they are kept: compressed JSON, with what each authority says by the record.

use std::collections::BTreeMap;
use std::io::Read;

use colloquy_storage::StoreError;
use serde::{Deserialize, Serialize};

use crate::analysis::Analysis;
use crate::input::Judgement;

/// Fast, and already most of what is to be gained on JSON.
const LEVEL: i32 = 3;
/// No analysis is larger: that of a hundred thousand turns has about ten of it.
const LARGEST: u64 = 256 << 20;

type Judgements = BTreeMap<String, Judgement>;

#[derive(Serialize)]
struct Packed<'a> {
    analysis: &'a Analysis,
    judgements: &'a Judgements,
}

#[derive(Deserialize)]
struct Unpacked {
    analysis: Analysis,
    judgements: Judgements,
}

/// Returns an analysis to be kept.
pub(crate) fn pack(analysis: &Analysis, judgements: &Judgements) -> Result<Vec<u8>, StoreError> {
    let failed = |_| StoreError::Corrupt("an analysis that was to be kept".to_owned());
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), LEVEL).map_err(failed)?;
    serde_json::to_writer(&mut encoder, &Packed { analysis, judgements }).map_err(|error| failed(error.into()))?;
    encoder.finish().map_err(failed)
}

/// Returns what [`pack`] was given.
pub(crate) fn unpack(packed: &[u8]) -> Result<(Analysis, Judgements), StoreError> {
    let corrupt = || StoreError::Corrupt("an analysis".to_owned());
    let decoder = zstd::stream::Decoder::new(packed).map_err(|_| corrupt())?;
    let mut json = Vec::new();
    decoder.take(LARGEST).read_to_end(&mut json).map_err(|_| corrupt())?;
    let Unpacked { analysis, judgements } = serde_json::from_slice(&json).map_err(|_| corrupt())?;
    Ok((analysis, judgements))
}
