//! How a conversation went, by whoever judged it. Events come in the order of their authority, so later judgements win.

use colloquy_events::{Analysis, CallSuccessful, JsonMap, Outcome, ResolutionStatus, Sentiment, Thumbs};

use super::{merge, set};
use crate::conversation::{Analytics, Feedback, Satisfaction};

/// What the judgements so far say.
#[derive(Default)]
pub(super) struct Judgement {
    call_successful: Option<CallSuccessful>,
    summary: Option<String>,
    sentiment: Option<Sentiment>,
    sentiment_score: Option<f64>,
    topics: Option<Vec<String>>,
    keywords: Option<Vec<String>>,
    intent: Option<String>,
    resolution_status: Option<ResolutionStatus>,
    satisfaction_score: Option<f64>,
    custom_analysis: JsonMap,
    pub(super) outcome: Outcome,
}

impl Judgement {
    /// Adds what a later judgement says. "Unknown", an empty text and an empty list say nothing, whoever says it: providers send them for
    /// what they have not looked for.
    pub(super) fn learn(&mut self, analysis: &Analysis) {
        let text = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        let list = |list: &Option<Vec<String>>| list.clone().filter(|list| !list.is_empty());
        set(&mut self.call_successful, &analysis.call_successful.filter(|word| *word != CallSuccessful::Unknown));
        set(&mut self.summary, &text(&analysis.summary));
        set(&mut self.sentiment, &analysis.sentiment);
        set(&mut self.sentiment_score, &analysis.sentiment_score.filter(|score| score.is_finite()));
        set(&mut self.topics, &list(&analysis.topics));
        set(&mut self.keywords, &list(&analysis.keywords));
        set(&mut self.intent, &text(&analysis.intent));
        set(&mut self.resolution_status, &analysis.resolution_status.filter(|word| *word != ResolutionStatus::Unknown));
        set(&mut self.satisfaction_score, &analysis.satisfaction_score.filter(|score| (1.0..=5.0).contains(score)));
        merge(&mut self.custom_analysis, analysis.custom_analysis.as_ref());
        if let Some(outcome) = &analysis.outcome {
            set(&mut self.outcome.result, &outcome.result);
            set(&mut self.outcome.actions, &outcome.actions);
            set(&mut self.outcome.follow_up_tasks, &outcome.follow_up_tasks);
            set(&mut self.outcome.integrations, &outcome.integrations);
        }
    }

    /// Returns the judgement, given what people said and whether the conversation was handed on.
    pub(super) fn conclude(&mut self, feedback: &[Feedback], transferred: bool) -> Analytics {
        let inferred = self.satisfaction_score.map(Satisfaction::Inferred);
        let without_judgement = if transferred { ResolutionStatus::Transferred } else { ResolutionStatus::Unknown };
        Analytics {
            call_successful: self.call_successful.unwrap_or(CallSuccessful::Unknown),
            summary: self.summary.take(),
            sentiment: self.sentiment,
            sentiment_score: self.sentiment_score,
            topics: self.topics.take().unwrap_or_default(),
            keywords: self.keywords.take().unwrap_or_default(),
            intent: self.intent.take(),
            resolution_status: self.resolution_status.unwrap_or(without_judgement),
            satisfaction: feedback.iter().rev().find_map(rating).map(Satisfaction::Caller).or(inferred),
            custom_analysis: std::mem::take(&mut self.custom_analysis),
        }
    }
}

/// Returns a rating as a score from 1 to 5; a thumb is one of the ends.
fn rating(feedback: &Feedback) -> Option<f64> {
    match (feedback.rating, feedback.thumbs) {
        (Some(rating @ 1..=5), _) => Some(f64::from(rating)),
        (_, Some(Thumbs::Up)) => Some(5.0),
        (_, Some(Thumbs::Down)) => Some(1.0),
        _ => None,
    }
}
