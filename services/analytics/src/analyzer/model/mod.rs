//! Whoever answers questions about conversations.

mod openai;
#[cfg(test)]
mod tests;
mod wire;

use std::time::Duration;

use async_trait::async_trait;

use super::prompt::Prompt;
use super::run::Usage;

pub use openai::OpenAi;

/// A language model.
#[async_trait]
pub trait Model: Send + Sync + 'static {
    /// Returns what it is called.
    fn name(&self) -> &str;

    /// Asks it.
    async fn ask(&self, prompt: &Prompt) -> Result<Answer, AskError>;
}

/// What a model answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// JSON, as far as the model keeps to what it was told.
    pub text: String,
    /// What it took; estimated where the endpoint does not say.
    pub usage: Usage,
}

/// Why a model did not answer. None of it repeats what the endpoint wrote, which may quote the conversation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It may answer later.
    #[error("{why}")]
    Later {
        /// What it was, for people.
        why: String,
        /// When the endpoint wants to be asked again.
        after: Option<Duration>,
        /// What it may have taken nevertheless.
        usage: Usage,
    },
    /// What it answered, or how it refused, cannot be used.
    #[error("{why}")]
    Unusable {
        /// What it was, for people.
        why: String,
        /// What it took.
        usage: Usage,
    },
    /// It does not take such questions: asking again does not help until somebody changes the settings.
    #[error("{0}")]
    Refused(String),
}

impl AskError {
    /// Returns what it may have taken.
    pub fn usage(&self) -> Usage {
        match self {
            Self::Later { usage, .. } | Self::Unusable { usage, .. } => *usage,
            Self::Refused(_) => Usage::default(),
        }
    }
}

/// How patiently a model is asked.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long one answer may take.
    pub timeout: Duration,
    /// How often it is asked before it is left for later.
    pub tries: u32,
    /// How long to wait before asking again, doubled each time.
    pub first_wait: Duration,
    /// Whoever asks for a longer wait is asked later.
    pub longest_wait: Duration,
    /// No answer is read beyond so many bytes.
    pub most_bytes: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(60),
            tries: 3,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(10),
            most_bytes: 1 << 20,
        }
    }
}
