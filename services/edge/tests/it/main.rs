//! The edge over fake services of the same process: parsing, errors, ranges, conditions, negotiation, shapes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod abuse;
mod audio;
mod convai;
mod conversations;
mod document;
mod fake;
mod field_names;
mod ingestion;
mod live;
mod problems;
mod sockets;
mod transcript;
mod understanding;
