//! A question, read and found good.

use colloquy_filter::Expression;

use super::formula::Formula;
use super::measure::Measure;
use super::schema::Dimension;
use super::time::Buckets;

/// What is asked of the store: measures over sets of conversations, by dimensions, over time.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// What to compute, each over which of the conversations.
    pub(crate) measures: Vec<(Measure, Expression)>,
    /// By what.
    pub(crate) dimensions: Vec<Dimension>,
    /// Over which time.
    pub(crate) buckets: Buckets,
}

/// How an answer is laid out.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// What the measures are called, in their order.
    pub(crate) aliases: Vec<String>,
    /// What the formulas are called, with them.
    pub(crate) formulas: Vec<(String, Formula)>,
    /// By what rows are ordered, and which of them descend.
    pub(crate) order: Vec<(Order, bool)>,
    /// How many rows there are at most.
    pub(crate) limit: usize,
    /// Whether the sender said which rows matter: an order and a limit.
    pub(crate) is_chosen: bool,
}

/// What rows are ordered by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// The bucket.
    Bucket,
    /// A dimension, by its place.
    Dimension(usize),
    /// A measure, by its place.
    Measure(usize),
    /// A formula, by its place.
    Formula(usize),
}
