//! Whoever answers questions about conversations.

mod openai;
#[cfg(test)]
mod tests;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use rand::RngExt;

use super::prompt::Prompt;
use super::run::Usage;

pub use openai::OpenAi;

/// A language model.
#[async_trait]
pub trait Model: Send + Sync + 'static {
    /// Returns what it is called.
    fn name(&self) -> &str;

    /// Returns how patiently it is asked.
    fn patience(&self) -> Patience;

    /// Asks it, once.
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
        /// What it may have taken nevertheless, at most.
        usage: Usage,
    },
    /// What it answered, or how it refused, cannot be used.
    #[error("{why}")]
    Unusable {
        /// What it was, for people.
        why: String,
        /// What it took; at most, where that is not known.
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

impl Patience {
    /// Returns how long to wait before a model is asked once more that was asked `tried` times in vain, and wants to be left alone for
    /// `after`; `None` when it is left for later.
    pub fn before_next(&self, tried: u32, after: Option<Duration>) -> Option<Duration> {
        if tried >= self.tries {
            return None;
        }
        // Everybody who was told to wait at once should not come back at once.
        let doubled = self.first_wait.saturating_mul(1 << tried.saturating_sub(1).min(16));
        let wait = doubled.min(self.longest_wait).mul_f64(rand::rng().random_range(0.5..1.0)).max(after.unwrap_or_default());
        (wait <= self.longest_wait).then_some(wait)
    }
}
