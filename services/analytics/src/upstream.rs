//! What other services answer when they do not give what they are asked for.

use std::time::Duration;

use colloquy_service::Problem;
use tonic::{Code, Status};

/// When nobody says how long to wait.
const WAIT: Duration = Duration::from_secs(1);

/// Returns when it may work what did not; `None` when it will not work like this. A transcript that is too long stays so, however
/// often it is asked for.
pub(crate) fn retry_after(status: &Status) -> Option<Duration> {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => {
            Some(Problem::from_status(status).retry_after.unwrap_or(WAIT))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_away_or_slow_is_asked_again() {
        let after = |code: Code| retry_after(&Status::new(code, ""));
        assert_eq!([Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled].map(after), [Some(WAIT); 3]);
        assert_eq!([Code::ResourceExhausted, Code::Internal, Code::InvalidArgument].map(after), [None; 3]);
        let wait = Duration::from_secs(7);
        assert_eq!(retry_after(&Problem::unavailable("BEHIND", "not yet", wait).into()), Some(wait));
    }
}
