//! The figures of one conversation as `colloquy.analytics.v1.ConversationAnalytics`.

use std::collections::{BTreeMap, HashMap};

use colloquy_proto::analytics::v1 as pb;
use colloquy_proto::conversation::v1 as conversation;

use crate::analysis::{Analysis, CustomValue, Figure, Interruptions, MOST_EVIDENCE, Mood, Spread, Talk, Topic, sentiment_label};
use crate::features::Features;
use crate::input::Judgement;
use crate::judgement;

/// What our own judgement is found under, whether or not it leads.
const OWN: &str = "own";

/// Writes the figures of a conversation. `judgements` is what each authority says by the record; ours is as the analysis has it.
///
/// Summaries are left out: they tell what was said, for which there is a scope of its own.
pub fn to_pb(features: &Features, analysis: &Analysis, judgements: &BTreeMap<String, Judgement>) -> pb::ConversationAnalytics {
    let places = Places(analysis);
    pb::ConversationAnalytics {
        conversation_id: features.conversation_id.to_string(),
        agent_id: features.agent_id.clone(),
        duration_ms: features.duration_ms,
        turn_count: analysis.turn_count.value.unwrap_or_default(),
        judgement: Some(leading(features, analysis)),
        sentiment_by_turn: analysis.sentiment.value.iter().flat_map(|mood| places.sentiment_by_turn(mood)).collect(),
        talk: analysis.talk.value.map(talk),
        silence: analysis.silence.value.map(|silence| pb::Silence {
            total_ms: silence.total_ms,
            longest_ms: silence.longest_ms,
            count: silence.count,
        }),
        interruptions_by_user: interruptions(&analysis.interruptions_by_user),
        interruptions_by_agent: interruptions(&analysis.interruptions_by_agent),
        response_latency: analysis.response_latency.value.map(|counted| distribution(counted.into())),
        latency_stages: analysis
            .latency_stages
            .value
            .iter()
            .flatten()
            .map(|(stage, spread)| (stage.clone(), distribution(*spread)))
            .collect(),
        evidence: places.evidence_of_all(),
        exchanges: analysis.exchanges.value,
        hold: analysis.hold.value.map(|hold| pb::Hold { total_ms: hold.total_ms, count: hold.count }),
        overlaps_by_user: interruptions(&analysis.overlaps_by_user),
        overlaps_by_agent: interruptions(&analysis.overlaps_by_agent),
        sentiment_course: analysis.sentiment.value.as_ref().map(sentiment_course),
        topics: analysis.topics.value.iter().flatten().map(|topic| places.topic(topic)).collect(),
        satisfaction_caller: features.caller_rating,
        satisfaction_inferred: features.inferred_satisfaction,
        technical_quality: features.technical_quality,
        error_count: u32::try_from(features.error_count).unwrap_or(u32::MAX),
        cost: analysis.cost.value.as_ref().map(|cost| conversation::Cost {
            amount_micros: cost.amount_micros,
            currency: cost.currency.clone(),
            source: cost.source.clone(),
        }),
        judgements: all_judgements(analysis, judgements),
        custom: analysis.custom.iter().map(|(name, value)| (name.clone(), custom(value))).collect(),
        settled: analysis.settled,
        language: features.language.clone(),
        turn_ids: analysis.turn_ids.iter().map(ToString::to_string).collect(),
        position: features.position.0,
    }
}

/// Writes what leads; where it says nothing, what the analysers found does.
fn leading(features: &Features, analysis: &Analysis) -> conversation::Analytics {
    let source = if features.caller_rating.is_some() { "caller" } else { "inferred" };
    conversation::Analytics {
        sentiment: features.sentiment.clone(),
        sentiment_score: features.sentiment_score,
        topics: features.topics.clone(),
        keywords: features.keywords.clone(),
        intent: features.intent.clone(),
        resolution_status: features.resolution_status.clone(),
        satisfaction_score: features.satisfaction_score,
        satisfaction_source: features.satisfaction_score.map(|_| source.to_owned()),
        ..judgement::analytics_to_pb(analysis.leading.clone())
    }
}

fn all_judgements(analysis: &Analysis, told: &BTreeMap<String, Judgement>) -> HashMap<String, conversation::Judgement> {
    let others = told.iter().filter(|(authority, _)| !authority.starts_with(OWN));
    let all = others.map(|(authority, judgement)| (authority.as_str(), judgement)).chain([(OWN, &analysis.own)]);
    let write = |authority, judgement| conversation::Judgement { summary: None, ..judgement::to_pb(authority, judgement) };
    all.map(|(authority, judgement)| (authority.to_owned(), write(authority, judgement))).collect()
}

fn talk(talk: Talk) -> pb::Talk {
    pb::Talk {
        agent_ms: talk.agent_ms,
        user_ms: talk.user_ms,
        ratio: talk.ratio,
        agent_words_per_minute: talk.agent_words_per_minute,
        user_words_per_minute: talk.user_words_per_minute,
    }
}

fn interruptions(figure: &Figure<Interruptions>) -> Option<pb::Interruptions> {
    figure.value.map(|found| pb::Interruptions { count: found.count, overlap_ms: found.overlap_ms })
}

const fn distribution(spread: Spread) -> pb::Distribution {
    let Spread { n, min, max, mean, p50, p90, p95, p99 } = spread;
    pb::Distribution { n, min, max, p50, p90, p95, p99, mean }
}

fn sentiment_course(mood: &Mood) -> pb::SentimentCourse {
    let [first_quarter, second_quarter, third_quarter, last_quarter] = mood.quarters;
    pb::SentimentCourse {
        overall: Some(mood.overall),
        first_quarter,
        second_quarter,
        third_quarter,
        last_quarter,
        shift: mood.shift,
    }
}

fn custom(value: &CustomValue) -> pb::CustomValue {
    pb::CustomValue {
        value_json: value.value.as_ref().map(ToString::to_string),
        not_established_because: value.not_established_because.clone().unwrap_or_default(),
        confidence: value.confidence,
        turn_ids: value.turns.iter().take(MOST_EVIDENCE).map(ToString::to_string).collect(),
        source: value.source.clone(),
        version: value.version,
    }
}

/// Turns places among the turns into their ids.
struct Places<'a>(&'a Analysis);

impl Places<'_> {
    fn turn_id(&self, place: u32) -> Option<String> {
        self.0.turn_ids.get(usize::try_from(place).ok()?).map(ToString::to_string)
    }

    fn turn_ids(&self, places: &[u32]) -> Vec<String> {
        places.iter().take(MOST_EVIDENCE).filter_map(|place| self.turn_id(*place)).collect()
    }

    fn sentiment_by_turn(&self, mood: &Mood) -> Vec<pb::TurnSentiment> {
        let of_turn = |(place, score): &(u32, f64)| {
            let sentiment = sentiment_label(*score).to_string();
            Some(pb::TurnSentiment { turn_id: self.turn_id(*place)?, sentiment, score: *score })
        };
        mood.by_turn.iter().filter_map(of_turn).collect()
    }

    fn topic(&self, topic: &Topic) -> pb::Topic {
        pb::Topic { name: topic.name.clone(), source: topic.source.clone(), turn_ids: self.turn_ids(&topic.turns) }
    }

    fn evidence<T>(&self, figure: &Figure<T>) -> pb::Evidence {
        pb::Evidence {
            analyzer: figure.analyzer.clone(),
            turn_ids: self.turn_ids(&figure.turns),
            absent_because: figure.absent_because.clone().filter(|_| figure.value.is_none()).unwrap_or_default(),
            turn_count: figure.turn_count,
        }
    }

    /// Every figure is here by the name it has in the message, or in the judgement of it.
    fn evidence_of_all(&self) -> HashMap<String, pb::Evidence> {
        let figures = self.0;
        let all = [
            ("duration_ms", self.evidence(&figures.duration_ms)),
            ("turn_count", self.evidence(&figures.turn_count)),
            ("exchanges", self.evidence(&figures.exchanges)),
            ("talk", self.evidence(&figures.talk)),
            ("silence", self.evidence(&figures.silence)),
            ("hold", self.evidence(&figures.hold)),
            ("interruptions_by_user", self.evidence(&figures.interruptions_by_user)),
            ("interruptions_by_agent", self.evidence(&figures.interruptions_by_agent)),
            ("overlaps_by_user", self.evidence(&figures.overlaps_by_user)),
            ("overlaps_by_agent", self.evidence(&figures.overlaps_by_agent)),
            ("response_latency", self.evidence(&figures.response_latency)),
            ("latency_stages", self.evidence(&figures.latency_stages)),
            ("sentiment", self.evidence(&figures.sentiment)),
            ("keywords", self.evidence(&figures.keywords)),
            ("topics", self.evidence(&figures.topics)),
            ("intent", self.evidence(&figures.intent)),
            ("language", self.evidence(&figures.language)),
            ("resolution_status", self.evidence(&figures.resolution)),
            ("satisfaction_caller", self.evidence(&figures.satisfaction_caller)),
            ("satisfaction_inferred", self.evidence(&figures.satisfaction_inferred)),
            ("technical_quality", self.evidence(&figures.technical_quality)),
            ("error_count", self.evidence(&figures.errors)),
            ("cost", self.evidence(&figures.cost)),
        ];
        all.into_iter().map(|(name, evidence)| (name.to_owned(), evidence)).collect()
    }
}

#[cfg(test)]
mod tests;
