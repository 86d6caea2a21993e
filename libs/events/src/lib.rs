//! The canonical events as plain Rust: what providers map to, what the log carries and what every view is folded from.
//!
//! - [`Event`] and [`Data`]: what happened.
//! - [`Record`]: one delivery, as the log hands it out.
//! - [`order`]: how the set of a conversation's events is put in order, whatever order they came in.
//! - [`standing`]: where a conversation stands, and when it began and ended.
//! - [`turn_set`]: which turns a conversation has, given the events that speak of turns.
//! - [`convert`]: to and from `colloquy.log.v1`.

pub mod convert;
pub mod end_reason;
mod event;
pub mod order;
pub mod own;
pub mod standing;
mod turn;
pub mod turn_set;
mod vocabulary;

pub use event::{
    Alert, Analysis, Change, Command, CommandDone, CommandRefused, ControlOffer, Cost, Data, Ended, ErrorRaised, Event, Facts,
    Feedback, JsonMap, KINDS, LeaseChange, Outcome, Patch, Record, Recording, RecordingFailed, Session, SessionEnd, Speech,
    Transfer, Update,
};
pub use turn::{Message, ToolCall, ToolResult, Turn, Word};
pub use vocabulary::{
    Authority, CallSuccessful, CommandKind, Direction, EndStatus, LeaseState, LiveStatus, RecordingChannel, ResolutionStatus,
    Role, Sentiment, Severity, SpeechState, Status, Thumbs, TransferState, UnknownWord,
};
