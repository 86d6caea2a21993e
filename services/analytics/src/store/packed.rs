//! Analyses as they are kept: compressed JSON, with what each authority says by the record.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read;

use colloquy_storage::StoreError;
use serde::{Deserialize, Serialize};
use zstd::bulk::Compressor;

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
    thread_local! {
        // What it works with is large: making it anew for every analysis would take longer than compressing.
        static COMPRESSOR: RefCell<Option<Compressor<'static>>> = RefCell::new(Compressor::new(LEVEL).ok());
    }
    let failed = || StoreError::Corrupt("an analysis that was to be kept".to_owned());
    let json = serde_json::to_vec(&Packed { analysis, judgements }).map_err(|_| failed())?;
    let packed = COMPRESSOR.with_borrow_mut(|compressor| compressor.as_mut()?.compress(&json).ok());
    packed.ok_or_else(failed)
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
