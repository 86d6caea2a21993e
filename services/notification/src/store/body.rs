//! Bodies, as they are kept: compressed where that helps.

use bytes::Bytes;
use colloquy_storage::StoreError;

const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
/// Shorter bodies are kept as they are: most are told at once and never read again.
const COMPRESSED_FROM: usize = 2_048;
const LEVEL: i32 = 1;
/// No body unpacks to more; one that does is not one of ours.
const LONGEST: usize = 256 * 1024 * 1024;

/// Packs a body.
pub(super) fn pack(body: &[u8]) -> Vec<u8> {
    if body.len() >= COMPRESSED_FROM
        && let Ok(packed) = zstd::bulk::compress(body, LEVEL)
        && packed.len() + 5 < body.len()
        && let Ok(len) = u32::try_from(body.len())
    {
        return [&[ZSTD], len.to_le_bytes().as_slice(), &packed].concat();
    }
    [&[PLAIN], body].concat()
}

/// Unpacks a body.
///
/// # Errors
/// When it was not packed by [`pack`].
pub(super) fn unpack(packed: Vec<u8>) -> Result<Bytes, StoreError> {
    let corrupt = || StoreError::Corrupt("a message's body".to_owned());
    match packed.first() {
        Some(&PLAIN) => Ok(Bytes::from(packed).slice(1..)),
        Some(&ZSTD) => {
            let (len, rest) = packed[1..].split_first_chunk::<4>().ok_or_else(corrupt)?;
            let len = u32::from_le_bytes(*len) as usize;
            if len > LONGEST {
                return Err(corrupt());
            }
            zstd::bulk::decompress(rest, len).map(Bytes::from).map_err(|_| corrupt())
        }
        _ => Err(corrupt()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_back_as_they_were() {
        for body in [Vec::new(), b"{}".to_vec(), vec![b'a'; 100_000], (0..4_000_u32).flat_map(u32::to_le_bytes).collect()] {
            assert_eq!(unpack(pack(&body)).unwrap(), body);
        }
        assert!(pack(&vec![b'a'; 100_000]).len() < 1_000);
    }

    #[test]
    fn what_is_no_body_is_an_error() {
        for bytes in [vec![], vec![2], vec![1, 2], vec![1, 255, 255, 255, 255], vec![1, 9, 0, 0, 0, 1, 2, 3]] {
            assert!(unpack(bytes).is_err());
        }
    }
}
