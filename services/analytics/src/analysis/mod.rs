//! What can be established of one conversation: figures, each with the formula's version and the turns it came from.
//!
//! Everything here is a pure function of the conversation and the organization's settings: the same input gives the same bytes.

use std::collections::BTreeMap;

use colloquy_events::{ResolutionStatus, Sentiment};
use colloquy_types::TurnId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::input::{Cost, Judgement};

mod analyse;
mod custom;
mod figure;
mod handover;
mod hits;
mod intent;
mod keywords;
mod language;
mod latency_stages;
mod lexicon;
mod phrases;
mod quality;
mod record;
mod resolution;
mod rules;
mod said;
mod satisfaction;
mod sentiment;
mod speech;
mod stemming;
#[cfg(test)]
mod tests;
mod topics;
mod words;

pub use analyse::analyse;
pub use rules::{Rules, Taxonomy, TopicPhrases};
pub(crate) use sentiment::label as sentiment_label;

/// A figure: its value, or why there is none; what made it; which turns it came from.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Figure<T> {
    /// The value.
    pub value: Option<T>,
    /// Why there is none, for people; only without a value.
    pub absent_because: Option<String>,
    /// What made it, with its version, for example `talk/1`.
    pub analyzer: String,
    /// Which turns it came from, as places in [`Analysis::turn_ids`]; the first [`MOST_EVIDENCE`] of them.
    pub turns: Vec<u32>,
    /// How many turns it came from.
    pub turn_count: u32,
}

/// A figure names at most this many turns.
pub const MOST_EVIDENCE: usize = 100;

/// Everything established of one conversation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Analysis {
    /// Whether the conversation is over.
    pub settled: bool,
    /// All turns, in order.
    pub turn_ids: Vec<TurnId>,
    /// How long it lasted, in milliseconds.
    pub duration_ms: Figure<i64>,
    /// Maximal same-speaker runs among spoken turns, by their starts.
    pub turn_count: Figure<u32>,
    /// Pairs of a person's turn and the agent's answer.
    pub exchanges: Figure<u32>,
    /// Who talked how long.
    pub talk: Figure<Talk>,
    /// When nobody talked.
    pub silence: Figure<Silence>,
    /// When the person was kept waiting on purpose.
    pub hold: Figure<Hold>,
    /// When the person cut the agent off.
    pub interruptions_by_user: Figure<Interruptions>,
    /// When the agent cut the person off.
    pub interruptions_by_agent: Figure<Interruptions>,
    /// When the person spoke at the same time, and did not cut the agent off.
    pub overlaps_by_user: Figure<Interruptions>,
    /// When the agent spoke at the same time, and did not cut the person off.
    pub overlaps_by_agent: Figure<Interruptions>,
    /// From the end of the person's turn to the beginning of the agent's, in milliseconds.
    pub response_latency: Figure<Distribution>,
    /// The provider's own latencies by stage, in milliseconds.
    pub latency_stages: Figure<BTreeMap<String, Spread>>,
    /// The person's mood.
    pub sentiment: Figure<Mood>,
    /// Words that mattered, the most important first.
    pub keywords: Figure<Vec<String>>,
    /// What it was about.
    pub topics: Figure<Vec<Topic>>,
    /// What the person wanted, in a few words (`book_appointment`).
    pub intent: Figure<String>,
    /// BCP 47 code.
    pub language: Figure<String>,
    /// What became of it.
    pub resolution: Figure<ResolutionStatus>,
    /// What was seen that speaks for the resolution, or against it.
    #[serde(default)]
    pub resolution_seen: Vec<Seen>,
    /// What the caller gave, from 1 to 5: of several ratings the last, which is the one the record shows.
    pub satisfaction_caller: Figure<f64>,
    /// What was inferred, from 1 to 5.
    pub satisfaction_inferred: Figure<f64>,
    /// Technical quality, from 0 to 1.
    pub technical_quality: Figure<f64>,
    /// Errors during the conversation, by code with their number.
    pub errors: Figure<BTreeMap<String, u32>>,
    /// The turn at which each error happened first, by code, as a place in [`Analysis::turn_ids`]. Analyses of earlier releases do not
    /// say.
    #[serde(default)]
    pub error_turns: BTreeMap<String, u32>,
    /// What it cost.
    pub cost: Figure<Cost>,
    /// What our own analysers come to, in the shape of any other judgement.
    pub own: Judgement,
    /// What leads: of each value the one of the weightiest authority that has it.
    pub leading: Judgement,
    /// Values extracted by name: the provider's, then those of the organization's own analyzers.
    pub custom: BTreeMap<String, CustomValue>,
}

/// Who talked how long.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Talk {
    /// The agent, in milliseconds.
    pub agent_ms: i64,
    /// The person, in milliseconds.
    pub user_ms: i64,
    /// The agent's part of both, from 0 to 1.
    pub ratio: Option<f64>,
    /// How fast the agent talked.
    pub agent_words_per_minute: Option<f64>,
    /// How fast the person talked.
    pub user_words_per_minute: Option<f64>,
}

/// When nobody talked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Silence {
    /// All of it, in milliseconds.
    pub total_ms: i64,
    /// The longest, in milliseconds.
    pub longest_ms: i64,
    /// How often.
    pub count: u32,
    /// The turn before the longest, as a place in [`Analysis::turn_ids`]. Analyses of earlier releases do not say.
    #[serde(default)]
    pub longest_after: Option<u32>,
}

/// When the person was kept waiting on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hold {
    /// All of it, in milliseconds.
    pub total_ms: i64,
    /// How often.
    pub count: u32,
}

/// One side speaking while the other does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Interruptions {
    /// How often.
    pub count: u32,
    /// How long both talked, in milliseconds.
    pub overlap_ms: i64,
}

/// How values are spread; percentiles by nearest rank.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Distribution {
    /// How many there are.
    pub n: u32,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// Nine of ten are at most this.
    pub p90: f64,
    /// 95 of a hundred are at most this.
    pub p95: f64,
    /// 99 of a hundred are at most this.
    pub p99: f64,
}

/// How values are spread, as far as somebody tells who has them; what they leave out is absent.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Spread {
    /// How many there are.
    pub n: Option<u32>,
    /// The least.
    pub min: Option<f64>,
    /// The greatest.
    pub max: Option<f64>,
    /// The mean.
    pub mean: Option<f64>,
    /// The median.
    pub p50: Option<f64>,
    /// Nine of ten are at most this.
    pub p90: Option<f64>,
    /// 95 of a hundred are at most this.
    pub p95: Option<f64>,
    /// 99 of a hundred are at most this.
    pub p99: Option<f64>,
}

impl From<Distribution> for Spread {
    fn from(counted: Distribution) -> Self {
        let Distribution { n, min, max, mean, p50, p90, p95, p99 } = counted;
        Self {
            n: Some(n),
            min: Some(min),
            max: Some(max),
            mean: Some(mean),
            p50: Some(p50),
            p90: Some(p90),
            p95: Some(p95),
            p99: Some(p99),
        }
    }
}

/// The person's mood.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Mood {
    /// Over the whole.
    pub label: Sentiment,
    /// Over the whole, from -1 to 1: what a judgement gives as its score. A fifth of `overall`.
    pub score: f64,
    /// The mean of the quarters, from -5 to 5.
    pub overall: f64,
    /// By quarters of the conversation, from -5 to 5; `None` where the person said nothing in one.
    pub quarters: [Option<f64>; 4],
    /// The last quarter there is less the first, from -10 to 10.
    pub shift: Option<f64>,
    /// Of each of the person's turns, by its place in [`Analysis::turn_ids`], from -1 to 1.
    pub by_turn: Vec<(u32, f64)>,
}

/// Something that was seen, and where.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// What, in a few words for people; never what was said.
    pub what: String,
    /// Whether it speaks for the person's request being met, or against it; `None` when for neither.
    pub in_favour: Option<bool>,
    /// The turn, as a place in [`Analysis::turn_ids`]; `None` when the record says it.
    pub turn: Option<u32>,
}

/// What a conversation was about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Topic {
    /// The topic.
    pub name: String,
    /// `taxonomy`, `discovered`, `provider` or `model`.
    pub source: String,
    /// The turns that say so, as places in [`Analysis::turn_ids`].
    pub turns: Vec<u32>,
}

/// A value extracted by name.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CustomValue {
    /// The value; `None` when it could not be established.
    pub value: Option<Value>,
    /// Why there is none, for people.
    pub not_established_because: Option<String>,
    /// From 0 to 1.
    pub confidence: Option<f64>,
    /// The turns it follows from.
    pub turns: Vec<TurnId>,
    /// `provider`, or the id of the analyzer.
    pub source: String,
    /// The analyzer's version; 0 for a provider.
    pub version: u32,
}
