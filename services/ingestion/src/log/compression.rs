//! How bodies are compressed.

use std::cell::RefCell;

use colloquy_storage::StoreError;

/// Higher levels gain a few percent and cost several times as much.
const LEVEL: i32 = 1;
/// No stored record and no raw body is larger: what a damaged length could make us allocate.
const MAX_DECOMPRESSED: usize = 1 << 30;

/// Below this, compression gains little and costs time.
const COMPRESS_FROM: usize = 512;

/// Compresses what is worth it, so that [`decompress`] gives it back.
pub(super) fn compress_large(bytes: &[u8]) -> Vec<u8> {
    if bytes.len() >= COMPRESS_FROM { compress(bytes) } else { as_it_is(bytes) }
}

fn as_it_is(bytes: &[u8]) -> Vec<u8> {
    let mut kept = 0u32.to_le_bytes().to_vec();
    kept.extend_from_slice(bytes);
    kept
}

/// Compresses `bytes`; the length stands before them.
pub(super) fn compress(bytes: &[u8]) -> Vec<u8> {
    // A compressor is a few hundred kilobytes of tables: one a thread, not one a record.
    thread_local! {
        static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> =
            RefCell::new(zstd::bulk::Compressor::new(LEVEL).ok());
    }
    let mut compressed = (bytes.len() as u32).to_le_bytes().to_vec();
    let packed = COMPRESSOR.with_borrow_mut(|compressor| match compressor {
        Some(compressor) => compressor.compress(bytes),
        None => zstd::bulk::compress(bytes, LEVEL),
    });
    match packed {
        Ok(packed) => compressed.extend_from_slice(&packed),
        // Only for want of memory: an empty frame list would lose the bytes, so they are kept as they are under length 0.
        Err(_) => return as_it_is(bytes),
    }
    compressed
}

/// Undoes [`compress`].
///
/// # Errors
/// When the bytes are damaged.
pub(super) fn decompress(compressed: &[u8]) -> Result<Vec<u8>, StoreError> {
    let damaged = || StoreError::Corrupt("compressed bytes".to_owned());
    let (length, packed) = compressed.split_first_chunk::<4>().ok_or_else(damaged)?;
    match u32::from_le_bytes(*length) as usize {
        0 => Ok(packed.to_vec()),
        length if length <= MAX_DECOMPRESSED => zstd::bulk::decompress(packed, length).map_err(|_| damaged()),
        _ => Err(damaged()),
    }
}
