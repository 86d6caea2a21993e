//! How wide text is on a screen, and from that how long it takes to say.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Characters said in a second, on average. Wide (East Asian) characters count twice, as they do on screen.
const SPOKEN_PER_SECOND: i64 = 15;

/// Returns the columns one grapheme takes: none, one or two. Piled-up marks take no more than their base.
pub(crate) fn of_grapheme(grapheme: &str) -> usize {
    grapheme.width().min(2)
}

/// Returns the columns a text takes.
pub(crate) fn of(text: &str) -> usize {
    text.graphemes(true).map(of_grapheme).sum()
}

/// Returns the beginning of a text that fits into so many columns, with an ellipsis where something is missing.
pub(crate) fn truncate(text: &str, columns: usize) -> String {
    if of(text) <= columns {
        return text.to_owned();
    }
    let mut used = 1;
    let fits = text.graphemes(true).take_while(|grapheme| {
        used += of_grapheme(grapheme);
        used <= columns
    });
    fits.chain(["…"]).collect()
}

/// Returns about how many milliseconds it takes to say a text.
pub(crate) fn spoken_ms(text: &str) -> i64 {
    i64::try_from(of(text)).unwrap_or(i64::MAX).saturating_mul(1000) / SPOKEN_PER_SECOND
}
