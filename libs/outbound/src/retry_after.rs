//! How long a server asks to be left alone.

use std::time::Duration;

use http::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

/// No answer can park work for longer.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Returns how long the server asks to wait: seconds, or a date, which is measured from the server's own `Date` so that
/// clocks that differ do not matter.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let asked = text(RETRY_AFTER)?;
    let wait = match asked.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let (then, now) = (http_date(asked)?, http_date(text(DATE)?)?);
            Duration::from_secs(u64::try_from(then.as_second() - now.as_second()).unwrap_or(0))
        }
    };
    Some(wait.min(LONGEST))
}

fn http_date(text: &str) -> Option<jiff::Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date_by_the_servers_clock() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let later = "Sun, 06 Nov 1994 08:51:37 GMT";
        let read = |pairs: &[(HeaderName, &str)]| retry_after(&headers(pairs)).map(|wait| wait.as_secs());
        assert_eq!(read(&[(RETRY_AFTER, "17")]), Some(17));
        assert_eq!(read(&[(RETRY_AFTER, "99999999999")]), Some(24 * 60 * 60));
        assert_eq!(read(&[(RETRY_AFTER, later), (DATE, date)]), Some(120));
        assert_eq!(read(&[(RETRY_AFTER, date), (DATE, later)]), Some(0));
        assert_eq!(read(&[(RETRY_AFTER, later)]), None);
        assert_eq!(read(&[(RETRY_AFTER, "soon"), (DATE, date)]), None);
        assert_eq!(read(&[(RETRY_AFTER, "-5")]), None);
        assert_eq!(read(&[]), None);
    }
}
