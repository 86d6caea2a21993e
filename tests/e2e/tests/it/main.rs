//! The main job, end to end, through the real binary.

#![expect(clippy::unwrap_used, reason = "tests")]

mod access;
mod bad_input;
mod collector;
mod control;
mod crash;
mod live;
mod native;
mod observability;
mod paging;
mod privacy;
mod readiness;
mod samples;
mod shell;
mod shutdown;
mod understanding;
mod webhooks;
