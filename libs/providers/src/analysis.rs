//! What analyses of all providers have in common: how a conversation ended, and values extracted under well-known names.

use colloquy_events::{Analysis, EndStatus, Ended, JsonMap, Sentiment, end_reason};
use serde_json::Value;

use crate::value::{short, text, word};

/// More topics than this are no topics.
const MAX_TOPICS: usize = 100;

/// How a provider's reason for the end reads in our words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ending {
    /// How it ended.
    pub(crate) status: EndStatus,
    /// Why.
    pub(crate) reason: &'static str,
    /// Whether a transfer was tried and came to nothing.
    pub(crate) transfer_failed: bool,
}

impl Ending {
    /// Returns a conversation that took place.
    pub(crate) const fn completed(reason: &'static str) -> Self {
        Self { status: EndStatus::Completed, reason, transfer_failed: false }
    }

    /// Returns a conversation that something technical prevented or broke.
    pub(crate) const fn failed(reason: &'static str) -> Self {
        Self { status: EndStatus::Failed, reason, transfer_failed: false }
    }

    /// Returns a conversation in which nobody took part on the other side.
    pub(crate) const fn abandoned(reason: &'static str) -> Self {
        Self { status: EndStatus::Abandoned, reason, transfer_failed: false }
    }

    /// Returns the same end, of which a transfer that came to nothing was part.
    pub(crate) const fn after_failed_transfer(self) -> Self {
        Self { transfer_failed: true, ..self }
    }

    /// Returns whether the conversation was handed to somebody else.
    pub(crate) fn is_transfer(&self) -> bool {
        self.reason == end_reason::TRANSFERRED
    }

    /// Returns the event's beginnings: status, reason, the provider's words, and what failed by those words.
    pub(crate) fn ended(&self, detail: Option<String>) -> Ended {
        let mut ended = Ended::new(self.status);
        ended.end_reason = Some(self.reason.to_owned());
        ended.voicemail = (self.reason == end_reason::VOICEMAIL).then_some(true);
        if self.status == EndStatus::Failed {
            ended.failure_code = Some(detail.clone().unwrap_or_else(|| self.reason.to_owned()));
            ended.failure_message = detail.as_deref().map(in_words);
        }
        ended.end_reason_detail = detail;
        ended
    }
}

/// Returns a code as a person would say it.
fn in_words(code: &str) -> String {
    code.replace(['_', '-', '.'], " ")
}

/// Fills in what extracted values say under well-known names, where the analysis does not say it itself.
pub(crate) fn take_well_known(analysis: &mut Analysis, extracted: &JsonMap) {
    for (name, value) in extracted {
        match name.to_ascii_lowercase().as_str() {
            "topic" | "topics" if analysis.topics.is_none() => analysis.topics = names(value),
            "keyword" | "keywords" if analysis.keywords.is_none() => analysis.keywords = names(value),
            "intent" if analysis.intent.is_none() => analysis.intent = text(value),
            "sentiment" | "user_sentiment" | "usersentiment" if analysis.sentiment.is_none() => {
                analysis.sentiment = sentiment(value);
            }
            _ => {}
        }
    }
}

/// Reads a mood, in whatever case it is written; any other word is no mood.
pub(crate) fn sentiment(value: &Value) -> Option<Sentiment> {
    word(value).trim().to_ascii_lowercase().parse().ok()
}

fn names(value: &Value) -> Option<Vec<String>> {
    let names: Vec<String> = match value {
        Value::Array(items) => items.iter().filter_map(short).take(MAX_TOPICS).collect(),
        other => short(other).into_iter().collect(),
    };
    (!names.is_empty()).then_some(names)
}
