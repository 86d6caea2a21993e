//! Ranges of bytes and conditions (RFC 9110, 13 and 14).

use colloquy_proto::conversation::v1::ByteRange;
use http::HeaderMap;
use http::header::{IF_NONE_MATCH, IF_RANGE, RANGE};

/// Returns the range a request asks for. What is not one range of bytes is no range: the whole is then the answer.
pub(crate) fn requested(headers: &HeaderMap) -> Option<ByteRange> {
    let text = headers.get(RANGE)?.to_str().ok()?;
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let range = ByteRange { first: number(first)?, last: number(last)? };
    match (range.first, range.last) {
        (None, None) => None,
        (Some(first), Some(last)) if first > last => None,
        _ => Some(range),
    }
}

/// Reads digits or nothing. A number too great to be one is beyond every recording.
fn number(text: &str) -> Option<Option<u64>> {
    if text.is_empty() {
        return Some(None);
    }
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| Some(text.parse().unwrap_or(u64::MAX)))
}

/// Returns whether no byte can fit `range`, however long the whole is.
pub(crate) fn is_empty(range: &ByteRange) -> bool {
    range.first.is_none() && range.last == Some(0)
}

/// Returns whether the caller has what `etag` names already.
pub(crate) fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let lines = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == etag)
}

/// Returns whether a range is only wanted of one certain state.
pub(crate) fn depends_on_state(headers: &HeaderMap) -> bool {
    headers.contains_key(IF_RANGE)
}

/// Returns whether `etag` is the state a range is wanted of. Dates and weak tags never are.
pub(crate) fn is_state(headers: &HeaderMap, etag: &str) -> bool {
    headers.get(IF_RANGE).is_some_and(|wanted| wanted.as_bytes() == etag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Option<(Option<u64>, Option<u64>)> {
        let headers = HeaderMap::from_iter([(RANGE, text.parse().unwrap())]);
        requested(&headers).map(|range| (range.first, range.last))
    }

    #[test]
    fn one_range_of_bytes_is_understood() {
        assert_eq!(range("bytes=0-99"), Some((Some(0), Some(99))));
        assert_eq!(range("bytes=5-"), Some((Some(5), None)));
        assert_eq!(range("Bytes=-5"), Some((None, Some(5))));
        assert_eq!(range("bytes=99999999999999999999-"), Some((Some(u64::MAX), None)));
    }

    #[test]
    fn anything_else_is_no_range() {
        for bad in ["bytes=-", "bytes=9-1", "bytes=a-b", "lines=0-1", "bytes=0-1,3-4", "bytes", "bytes=+1-2"] {
            assert_eq!(range(bad), None, "{bad}");
        }
    }

    #[test]
    fn tags_are_compared_weakly_for_knowing() {
        let known = |value: &str| is_known(&HeaderMap::from_iter([(IF_NONE_MATCH, value.parse().unwrap())]), "\"a\"");
        assert!(known("\"a\"") && known("W/\"a\"") && known("\"b\", \"a\"") && known("*"));
        assert!(!known("\"b\"") && !known("a"));
    }
}
