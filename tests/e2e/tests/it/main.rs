//! The main job, end to end, through the real binary.

#![expect(clippy::unwrap_used, reason = "tests")]

mod access;
mod bad_input;
mod crash;
mod native;
mod paging;
mod privacy;
mod samples;
mod shell;
mod shutdown;
