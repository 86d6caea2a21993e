//! Filters over conversations: the language of AIP-160 and the plain parameters of lists, as one tree.
//!
//! - [`fields`] knows which fields conversations have, and where each can be asked for.
//! - [`parse`] reads the language (`agent_id = "a" AND (duration_seconds > 60 OR tag:"vip")`); an error says at which column.
//!   [`to_text`] writes an expression in it again.
//! - [`conversations`] reads a whole `ConversationFilter`.
//! - [`sql`] writes an expression as a condition of a statement, [`evaluate`] decides it for one conversation in memory. Both do what
//!   one step before them found out of each comparison, so that they agree.

mod comparison;
pub mod conversations;
mod evaluate;
pub mod expression;
pub mod fields;
mod literal;
mod parse;
pub mod sql;
mod text;

pub use comparison::whole_comparison;
pub use evaluate::{FieldValue, evaluate};
pub use expression::{Expression, Field, Op, Value};
pub use fields::{Kind, Spec, View};
pub use parse::{SyntaxError, parse};
pub use text::to_text;

/// A filter has at most this many characters.
pub const MOST_CHARACTERS: usize = 8_192;
/// A filter compares at most so often.
pub const MOST_TERMS: usize = 200;
/// Parentheses stand in one another at most so deep.
pub const DEEPEST: usize = 20;
/// No text longer than this, in bytes, can be filtered by: longer ones are in no index.
pub const LONGEST_TEXT: usize = 512;
