//! All analysers, one after the other.

use std::collections::BTreeMap;

use colloquy_events::JsonMap;

use super::hits::Hits;
use super::language::Languages;
use super::speech::Speech;
use super::{
    Analysis, Rules, custom, intent, keywords, latency_stages, quality, record, resolution, said, satisfaction, sentiment, topics,
};
use crate::input::{Input, Judgement};
use crate::judgement;

/// Returns everything that can be established of a conversation. The same input and rules give the same analysis.
pub fn analyse(input: &Input, rules: &Rules) -> Analysis {
    let said = said::all(input);
    let languages = Languages::of(&input.record, &said);
    let hits = Hits::of(&said, &languages, &rules.taxonomy);
    let speech = Speech::of(input, rules);
    let sentiment = sentiment::of(&said, &languages, &input.turns);
    let (resolution, resolution_seen) = resolution::of(input, &said, &hits, &sentiment);
    let satisfaction_inferred =
        satisfaction::inferred(&said, &sentiment, &resolution, &speech.interruptions_by_agent, &speech.response_latency);
    let errors = record::errors(&input.record, &input.turns);
    let mut analysis = Analysis {
        settled: !input.record.status.is_live(),
        turn_ids: input.turns.iter().map(|turn| turn.turn_id).collect(),
        technical_quality: quality::of(&input.record, &speech.response_latency),
        duration_ms: speech.duration_ms,
        turn_count: speech.turn_count,
        exchanges: speech.exchanges,
        talk: speech.talk,
        silence: speech.silence,
        hold: speech.hold,
        interruptions_by_user: speech.interruptions_by_user,
        interruptions_by_agent: speech.interruptions_by_agent,
        overlaps_by_user: speech.overlaps_by_user,
        overlaps_by_agent: speech.overlaps_by_agent,
        response_latency: speech.response_latency,
        latency_stages: latency_stages::of(&input.record.latency_ms),
        sentiment,
        keywords: keywords::of(&said, &languages),
        topics: topics::of(&said, &hits, &rules.taxonomy),
        intent: intent::of(&said, &hits),
        language: languages.figure,
        resolution,
        resolution_seen,
        satisfaction_caller: satisfaction::given(&input.record.feedback),
        satisfaction_inferred,
        errors: errors.counted,
        error_turns: errors.turns,
        cost: record::cost(&input.record),
        own: Judgement::default(),
        leading: Judgement::default(),
        custom: BTreeMap::new(),
    };
    analysis.own = own(&analysis);
    analysis.leading = judgement::leading(&input.record.judgements, &analysis.own, rules.own_leads);
    analysis.custom = custom::of(&input.record.judgements);
    analysis
}

/// Returns what the analysers come to, in the shape of any other judgement. What could not be established says nothing, and whether the
/// call was a success does not either: that is about the agent's goal, which only those know who set it.
fn own(analysis: &Analysis) -> Judgement {
    let topics = analysis.topics.value.as_ref();
    Judgement {
        call_successful: None,
        summary: None,
        sentiment: analysis.sentiment.value.as_ref().map(|mood| mood.label),
        sentiment_score: analysis.sentiment.value.as_ref().map(|mood| mood.score),
        topics: topics.map(|topics| topics.iter().map(|topic| topic.name.clone()).collect()),
        keywords: analysis.keywords.value.clone(),
        intent: analysis.intent.value.clone(),
        resolution_status: analysis.resolution.value,
        satisfaction_score: analysis.satisfaction_inferred.value,
        custom_analysis: JsonMap::new(),
    }
}
