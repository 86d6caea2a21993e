//! WebVTT (<https://www.w3.org/TR/webvtt1/>).

use super::{Cue, timestamp};

/// Returns the cues as WebVTT text; only its header when there are none.
pub fn vtt(cues: &[Cue]) -> String {
    let mut out = String::from("WEBVTT\n");
    for cue in cues {
        let (start, end) = (timestamp(cue.start_ms, '.'), timestamp(cue.end_ms, '.'));
        out.push_str(&format!("\n{start} --> {end}\n<v {}>{}\n", escape(&cue.speaker), escape(&cue.lines.join("\n"))));
    }
    out
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}
