//! Content negotiation (RFC 9110, 12.5.1).

use http::HeaderMap;
use http::header::ACCEPT;

/// One part of an `Accept` header.
struct Wanted {
    kind: String,
    subtype: String,
    quality: f32,
}

impl Wanted {
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let mut quality = 1.0;
        for parameter in parts {
            if let Some((name, value)) = parameter.split_once('=')
                && name.trim().eq_ignore_ascii_case("q")
            {
                quality = value.trim().parse().ok().filter(|quality| (0.0..=1.0).contains(quality))?;
            }
        }
        Some(Self { kind: kind.trim().to_ascii_lowercase(), subtype: subtype.trim().to_ascii_lowercase(), quality })
    }

    /// How closely it names a media type; `None` when it does not.
    fn closeness(&self, kind: &str, subtype: &str) -> Option<u8> {
        match (self.kind.as_str(), self.subtype.as_str()) {
            ("*", "*") => Some(0),
            (wanted, "*") if wanted == kind => Some(1),
            (wanted, other) if wanted == kind && other == subtype => Some(2),
            _ => None,
        }
    }
}

/// Returns the index of the one of `offered` that `headers` like best, in doubt the first; `None` when they like none.
pub(crate) fn choose(headers: &HeaderMap, offered: &[&str]) -> Option<usize> {
    let lines: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let wanted: Vec<Wanted> = lines.iter().flat_map(|line| line.split(',')).filter_map(Wanted::read).collect();
    if wanted.is_empty() {
        return Some(0);
    }
    let mut best: Option<(usize, f32)> = None;
    for (index, media_type) in offered.iter().enumerate() {
        let (kind, subtype) = media_type.split_once('/').unwrap_or((media_type, ""));
        // The closest range decides, whatever its quality: `text/*;q=1, text/vtt;q=0` refuses VTT.
        let closest = wanted.iter().filter_map(|range| Some((range.closeness(kind, subtype)?, range.quality)));
        let Some((_, quality)) = closest.max_by(|left, right| left.0.cmp(&right.0).then(left.1.total_cmp(&right.1))) else {
            continue;
        };
        if quality > 0.0 && best.is_none_or(|(_, known)| quality > known) {
            best = Some((index, quality));
        }
    }
    best.map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERED: [&str; 4] = ["application/json", "text/plain", "application/x-subrip", "text/vtt"];

    fn chosen(accept: &str) -> Option<&'static str> {
        let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
        choose(&headers, &OFFERED).map(|index| OFFERED[index])
    }

    #[test]
    fn the_best_liked_is_chosen() {
        assert_eq!(choose(&HeaderMap::new(), &OFFERED), Some(0));
        assert_eq!(chosen("*/*"), Some("application/json"));
        assert_eq!(chosen("text/vtt"), Some("text/vtt"));
        assert_eq!(chosen("text/*"), Some("text/plain"));
        assert_eq!(chosen("text/*;q=0.5, text/vtt"), Some("text/vtt"));
        assert_eq!(chosen("application/json;q=0.2, text/vtt;q=0.9, text/plain;q=0.5"), Some("text/vtt"));
        assert_eq!(chosen("text/*, text/plain;q=0"), Some("text/vtt"));
        assert_eq!(chosen("APPLICATION/X-SubRip"), Some("application/x-subrip"));
        assert_eq!(chosen("image/png"), None);
        assert_eq!(chosen("*/*;q=0"), None);
        assert_eq!(chosen("nonsense"), Some("application/json"));
    }
}
