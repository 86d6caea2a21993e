//! What goes on in the background: commands are carried out ([`worker`]), and what ends by itself is ended ([`sweeper`]).

pub mod sweeper;
pub mod worker;
