//! What tests of several crates share: databases of their own, the provider samples and their signatures.
//!
//! Everything here is for tests: it panics when the world is not as it must be.

pub mod postgres;
