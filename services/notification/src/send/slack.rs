//! What a Slack-shaped incoming webhook is told.

use bytes::Bytes;

use crate::payload::Text;

/// Slack cuts what is longer.
const MAX_CHARACTERS: usize = 39_000;

/// Returns the body of the request: the text, with its subject in bold.
pub(super) fn body(text: &Text) -> Bytes {
    let shown = format!("*{}*\n{}", escaped(&text.subject), escaped(&text.body));
    let cut = shown.char_indices().nth(MAX_CHARACTERS).map_or(shown.as_str(), |(end, _)| &shown[..end]);
    Bytes::from(serde_json::json!({ "text": cut.trim_end() }).to_string())
}

/// Without this a text could mention everybody, or show a link that leads elsewhere.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_mention_anybody() {
        let text = Text { subject: "Alert & more".into(), body: "<!channel> \"hi\"\nsecond line".into() };
        let body: serde_json::Value = serde_json::from_slice(&body(&text)).unwrap();
        assert_eq!(body["text"], "*Alert &amp; more*\n&lt;!channel&gt; \"hi\"\nsecond line");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = Text { subject: "s".into(), body: "ä".repeat(100_000) };
        let body: serde_json::Value = serde_json::from_slice(&body(&text)).unwrap();
        assert_eq!(body["text"].as_str().unwrap().chars().count(), MAX_CHARACTERS);
    }
}
