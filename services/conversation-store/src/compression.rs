//! Small values as they are, larger ones compressed. The first byte tells which.

use std::cell::RefCell;

use colloquy_storage::StoreError;

/// What is shorter is not worth the time.
const WORTH_COMPRESSING: usize = 512;
/// Fast, and already most of what is to be gained on JSON.
const LEVEL: i32 = 3;
/// No value is larger: a record has at most one log message's worth of events.
const LARGEST: usize = 64 << 20;

const PLAIN: u8 = 0;
const ZSTD: u8 = 1;

thread_local! {
    static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = RefCell::new(zstd::bulk::Compressor::new(LEVEL).ok());
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = RefCell::new(zstd::bulk::Decompressor::new().ok());
}

/// Returns `bytes` to be kept.
pub(crate) fn pack(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() > WORTH_COMPRESSING {
        let compressed = COMPRESSOR.with_borrow_mut(|compressor| compressor.as_mut()?.compress(&bytes).ok());
        if let Some(mut compressed) = compressed
            && compressed.len() + 4 < bytes.len()
        {
            let mut packed = vec![ZSTD];
            packed.extend((bytes.len() as u32).to_le_bytes());
            packed.append(&mut compressed);
            return packed;
        }
    }
    bytes.insert(0, PLAIN);
    bytes
}

/// Returns what [`pack`] was given.
pub(crate) fn unpack(packed: &[u8]) -> Result<Vec<u8>, StoreError> {
    let corrupt = || StoreError::Corrupt("a packed value".to_owned());
    match packed.split_first() {
        Some((&PLAIN, bytes)) => Ok(bytes.to_vec()),
        Some((&ZSTD, rest)) => {
            let (size, compressed) = rest.split_first_chunk::<4>().ok_or_else(corrupt)?;
            let size = u32::from_le_bytes(*size) as usize;
            if size > LARGEST {
                return Err(corrupt());
            }
            let bytes = DECOMPRESSOR.with_borrow_mut(|decompressor| decompressor.as_mut()?.decompress(compressed, size).ok());
            bytes.ok_or_else(corrupt)
        }
        _ => Err(corrupt()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_and_damage_is_noticed() {
        for length in [0, 1, WORTH_COMPRESSING, WORTH_COMPRESSING + 1, 100_000] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 7) as u8).collect();
            assert_eq!(unpack(&pack(bytes.clone())).unwrap(), bytes);
        }
        assert!(unpack(&[]).is_err());
        assert!(unpack(&[9, 1]).is_err());
        assert!(unpack(&[ZSTD, 255, 255, 255, 255, 0]).is_err());
    }
}
