//! From an answer to what follows from it.

use std::time::Duration;

use colloquy_outbound::{Answer, Failure};

use super::Verdict;
use super::text::excerpt;

/// Whoever is too busy, or too slow, is not asked again sooner.
const FLOOR: Duration = Duration::from_secs(60);
const GONE: u16 = 410;
const TOO_MANY_REQUESTS: u16 = 429;
const REQUEST_TIMEOUT: u16 = 408;
const GATEWAY_TIMEOUT: u16 = 504;

/// What an endpoint answered, whatever it is spoken to with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) status_code: Option<u16>,
    pub(super) taken: bool,
    pub(super) error: Option<String>,
    pub(super) response: Option<String>,
    pub(super) timed_out: bool,
}

impl Answered {
    /// Nothing was sent, or nothing came back.
    pub(super) fn unsent(error: impl Into<String>) -> Self {
        Self { status_code: None, taken: false, error: Some(error.into()), response: None, timed_out: false }
    }

    pub(super) fn timed_out() -> Self {
        Self { timed_out: true, ..Self::unsent("no answer in time") }
    }

    pub(super) fn of_http(sent: &Result<Answer, Failure>) -> Self {
        let answer = match sent {
            Ok(answer) => answer,
            Err(failure) => return Self { timed_out: failure.is_timeout(), ..Self::unsent(failure.to_string()) },
        };
        let taken = (200..300).contains(&answer.status);
        let error = match answer.status {
            _ if taken => None,
            300..400 => Some(format!("answered with status {}; redirects are not followed", answer.status)),
            status => Some(format!("answered with status {status}")),
        };
        let timed_out = matches!(answer.status, REQUEST_TIMEOUT | GATEWAY_TIMEOUT);
        Self { status_code: Some(answer.status), taken, error, response: excerpt(&answer.body), timed_out }
    }

    /// What follows. `asked` is how long the endpoint asked to be left alone.
    pub(super) fn verdict(&self, asked: Option<Duration>) -> Verdict {
        if self.taken {
            return Verdict::Taken;
        }
        if self.status_code == Some(GONE) {
            return Verdict::Gone;
        }
        let busy = self.timed_out || self.status_code == Some(TOO_MANY_REQUESTS);
        Verdict::Again(if busy { Some(asked.map_or(FLOOR, |asked| asked.max(FLOOR))) } else { asked })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn verdict(status: u16, asked: Option<u64>) -> Verdict {
        let asked = asked.map(Duration::from_secs);
        let answer = Answer { status, retry_after: asked, body: Bytes::new(), whole: true };
        Answered::of_http(&Ok(answer)).verdict(asked)
    }

    fn again(seconds: Option<u64>) -> Verdict {
        Verdict::Again(seconds.map(Duration::from_secs))
    }

    #[test]
    fn what_follows_from_an_answer() {
        for (status, asked, expected) in [
            (200, None, Verdict::Taken),
            (204, Some(9), Verdict::Taken),
            (299, None, Verdict::Taken),
            (410, Some(9), Verdict::Gone),
            (101, None, again(None)),
            (301, None, again(None)),
            (307, Some(9), again(Some(9))),
            (400, None, again(None)),
            (404, None, again(None)),
            (500, None, again(None)),
            (503, Some(9), again(Some(9))),
            (503, Some(900), again(Some(900))),
            (408, None, again(Some(60))),
            (504, None, again(Some(60))),
            (429, None, again(Some(60))),
            (429, Some(9), again(Some(60))),
            (429, Some(900), again(Some(900))),
        ] {
            assert_eq!(verdict(status, asked), expected, "{status} {asked:?}");
        }
    }

    #[test]
    fn whoever_does_not_answer_in_time_is_left_alone_for_a_while() {
        for (failure, expected) in [
            (Failure::Timeout, again(Some(60))),
            (Failure::ConnectTimeout, again(Some(60))),
            (Failure::Closed, again(None)),
            (Failure::Connect("connection refused".into()), again(None)),
        ] {
            assert_eq!(Answered::of_http(&Err(failure)).verdict(None), expected);
        }
        assert_eq!(Answered::timed_out().verdict(None), again(Some(60)));
    }
}
