//! What a filter says, whichever way it was written: one tree.

use colloquy_types::Timestamp;

/// A condition on one conversation.
///
/// Comparing with a value that is absent is never true, not even [`Op::Ne`]; [`Expression::Not`] of it is true. So
/// `NOT agent_id = "a"` holds for conversations without an agent, and `agent_id != "a"` does not.
#[derive(Clone, PartialEq, Debug)]
pub enum Expression {
    /// All of them hold; true when there are none.
    All(Vec<Expression>),
    /// One of them holds; false when there are none.
    Any(Vec<Expression>),
    /// It does not hold.
    Not(Box<Expression>),
    /// A field compares with a value.
    Compare {
        /// The field.
        field: Field,
        /// How.
        op: Op,
        /// With what; of the field's kind.
        value: Value,
    },
    /// The field has a value (`agent_id:*`).
    Present(Field),
}

/// A field of conversations that can be filtered by.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Field {
    /// One of the schema, by its name there.
    Known(&'static str),
    /// A value extracted by name: `custom.NAME`.
    Custom(String),
}

/// How a field compares with a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Equal (`=`). For words: one of them is.
    Eq,
    /// Different (`!=`). For words: none of them is, and there are some.
    Ne,
    /// Less (`<`).
    Lt,
    /// At most (`<=`).
    Lte,
    /// Greater (`>`).
    Gt,
    /// At least (`>=`).
    Gte,
    /// For words: one of them is (`tags:"vip"`). For texts: equal, or with `*` at the end of the value a prefix (`agent_name = "sales*"`).
    Has,
}

/// A value that a field is compared with.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// A text. The `*` of a prefix has been taken off: see [`Value::Prefix`].
    Text(String),
    /// Any text that begins so.
    Prefix(String),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// A truth.
    Bool(bool),
    /// A time.
    Time(Timestamp),
}
