//! SubRip. There is no specification, so this keeps to what every player reads.

use super::{Cue, timestamp};

/// Returns the cues as SubRip text; nothing when there are none.
pub fn srt(cues: &[Cue]) -> String {
    let mut out = String::new();
    for (index, cue) in cues.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let (start, end) = (timestamp(cue.start_ms, ','), timestamp(cue.end_ms, ','));
        let text = format!("{}: {}", cue.speaker, cue.lines.join("\n"));
        out.push_str(&format!("{}\n{start} --> {end}\n{}\n", index + 1, neutral(&text)));
    }
    out
}

/// SubRip has no way to escape what separates two times; the arrow that takes its place is one column wide.
fn neutral(text: &str) -> String {
    text.replace("-->", "→")
}
