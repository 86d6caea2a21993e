//! Which bytes a range means (RFC 9110, 14.1.2).

use std::ops::Range;

use colloquy_proto::conversation::v1::ByteRange;

/// Why a range means no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadRange {
    /// Its end lies before its beginning.
    Reversed,
    /// It begins behind the end.
    NotSatisfiable,
}

/// Returns the bytes that `range` means of `size` bytes; all of them without one.
pub(crate) fn resolve(range: Option<ByteRange>, size: u64) -> Result<Range<u64>, BadRange> {
    match range.map(|range| (range.first, range.last)) {
        None | Some((None, None)) => Ok(0..size),
        Some((Some(first), Some(last))) if first > last => Err(BadRange::Reversed),
        Some((Some(first), _)) if first >= size => Err(BadRange::NotSatisfiable),
        Some((Some(first), last)) => Ok(first..last.map_or(size, |last| last.saturating_add(1).min(size))),
        Some((None, Some(length))) if length == 0 || size == 0 => Err(BadRange::NotSatisfiable),
        Some((None, Some(length))) => Ok(size.saturating_sub(length)..size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_mean_what_http_says() {
        let resolve = |first, last| resolve(Some(ByteRange { first, last }), 10);
        assert_eq!(resolve(None, None), Ok(0..10));
        assert_eq!(resolve(Some(0), Some(0)), Ok(0..1));
        assert_eq!(resolve(Some(3), None), Ok(3..10));
        assert_eq!(resolve(Some(3), Some(u64::MAX)), Ok(3..10));
        assert_eq!(resolve(None, Some(4)), Ok(6..10));
        assert_eq!(resolve(None, Some(u64::MAX)), Ok(0..10));
        assert_eq!(resolve(Some(9), Some(9)), Ok(9..10));
        assert_eq!(resolve(Some(10), None), Err(BadRange::NotSatisfiable));
        assert_eq!(resolve(None, Some(0)), Err(BadRange::NotSatisfiable));
        assert_eq!(resolve(Some(5), Some(4)), Err(BadRange::Reversed));
    }

    #[test]
    fn the_whole_of_nothing_is_nothing() {
        assert_eq!(resolve(None, 0), Ok(0..0));
        assert_eq!(resolve(Some(ByteRange { first: Some(0), last: None }), 0), Err(BadRange::NotSatisfiable));
    }
}
