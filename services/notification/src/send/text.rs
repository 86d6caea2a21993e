//! Text from outside, made fit to be kept and shown.

/// How much of an answer is kept.
const MAX_BYTES: usize = 1024;

/// Returns the beginning of a text, at most 1 KiB of it in UTF-8, with a blank for every control character; `None` when there is
/// nothing to show.
pub(super) fn excerpt(bytes: &[u8]) -> Option<String> {
    let mut text = String::new();
    for character in String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_BYTES)]).chars() {
        if text.len() + character.len_utf8() > MAX_BYTES {
            break;
        }
        text.push(if character.is_control() { ' ' } else { character });
    }
    text.truncate(text.trim_end().len());
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_printable_text() {
        assert_eq!(excerpt(b""), None);
        assert_eq!(excerpt(b"\r\n\0"), None);
        assert_eq!(excerpt(b"a\0b\x1b[2J\n").as_deref(), Some("a b [2J"));
        assert_eq!(excerpt(&[b'a', 0xff, b'b']).as_deref(), Some("a\u{fffd}b"));
        assert_eq!(excerpt(&[b'x'; 5000]).unwrap().len(), 1024);
        for bad in [vec![0xff; 5000], "ä".repeat(2000).into_bytes(), "x€".repeat(2000).into_bytes()] {
            let kept = excerpt(&bad).unwrap();
            assert!(kept.len() <= 1024 && kept.len() > 1020, "{}", kept.len());
        }
    }
}
