//! Recordings that providers offer by link.

use colloquy_events::{Data, Recording, RecordingChannel};
use colloquy_types::Timestamp;
use serde_json::Value;

use crate::delivery::Delivery;
use crate::value::text;

/// The longest link worth fetching; signed ones reach two kilobytes.
const MAX_URL: usize = 8192;

/// Writes down a recording at the first of `urls` that is a link, if any is.
pub(crate) fn push(delivery: &mut Delivery, at: Option<Timestamp>, channel: RecordingChannel, urls: &[&Value]) {
    let url = urls.iter().filter_map(|url| text(url)).find(|url| is_link(url));
    if let Some(url) = url {
        let content_type = content_type(&url).map(str::to_owned);
        let recording = Recording {
            url: Some(url),
            object_key: None,
            sha256: None,
            size_bytes: None,
            content_type,
            duration_ms: None,
            channel,
        };
        delivery.push_named(&[channel.as_str()], at, Data::RecordingAvailable(recording));
    }
}

/// Returns whether `url` is a link that can be fetched at all.
pub(crate) fn is_link(url: &str) -> bool {
    let has_scheme = ["https://", "http://"].iter().any(|scheme| url.len() > scheme.len() && url.starts_with(scheme));
    has_scheme && url.len() <= MAX_URL && !url.contains(|letter: char| letter.is_control() || letter.is_whitespace())
}

/// Returns the media type the name of the file promises. Providers do not promise a format, so nothing else is assumed.
fn content_type(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    match path.rsplit('.').next()? {
        "wav" => Some("audio/wav"),
        "mp3" => Some("audio/mpeg"),
        "ogg" | "opus" => Some("audio/ogg"),
        "m4a" | "mp4" => Some("audio/mp4"),
        _ => None,
    }
}
