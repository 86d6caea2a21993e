//! To and from `colloquy.log.v1`.
