//! The edge over fake services of the same process: parsing, errors, ranges, conditions, negotiation, shapes.

mod abuse;
mod audio;
mod convai;
mod conversations;
mod document;
mod fake;
mod ingestion;
mod problems;
mod transcript;
