//! The main job, end to end, through the real binary.

#![expect(clippy::unwrap_used, reason = "tests")]

mod access;
mod bad_input;
mod collector;
mod crash;
mod native;
mod observability;
mod paging;
mod privacy;
mod readiness;
mod samples;
mod shell;
mod shutdown;
