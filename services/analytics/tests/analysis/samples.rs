//! Conversations as the providers' sample payloads tell them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use colloquy_analytics::input::{Cost, Error, Feedback, Input, Judgement, Record};
use colloquy_events::{Analysis, Data, Ended, Event, Facts, JsonMap, Thumbs, order, standing::Standing, turn_set};
use colloquy_providers::Context;
use colloquy_types::{OrganizationId, Provider, Timestamp};

/// The providers that have samples.
const PROVIDERS: [Provider; 4] = [Provider::ElevenLabs, Provider::Retell, Provider::Vapi, Provider::AgentSession];

/// Returns every sample that tells of a conversation, by its name.
pub(crate) fn all() -> Vec<(String, Input)> {
    let mut samples = Vec::new();
    for provider in PROVIDERS {
        let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/payloads")).join(provider.as_str());
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files {
            let name = file.file_name().unwrap().to_str().unwrap().to_owned();
            let Some(name) = name.strip_suffix(".json").filter(|name| !name.ends_with(".headers")) else { continue };
            let events = events(provider, &std::fs::read(&file).unwrap());
            if !events.is_empty() {
                samples.push((format!("{provider}__{name}"), input(&events)));
            }
        }
    }
    samples
}

fn events(provider: Provider, body: &[u8]) -> Vec<Event> {
    let organization_id: OrganizationId = "acme".parse().unwrap();
    let received_at = Timestamp::from_millis(1_772_463_800_000).unwrap();
    colloquy_providers::map(provider, body, &Context { organization_id: &organization_id, received_at }).unwrap().events
}

/// Returns the conversation of which these events tell, with what the analysis makes use of.
fn input(events: &[Event]) -> Input {
    let mut ordered: Vec<&Event> = events.iter().collect();
    ordered.sort_by_key(|event| order::rank(event));
    let first = ordered[0];
    let standing = Standing::of(&ordered);
    let mut record = Record {
        organization_id: "acme".parse().unwrap(),
        conversation_id: first.conversation_id,
        provider: first.provider,
        external_id: first.external_id.clone(),
        agent_id: None,
        agent_version_id: None,
        client_id: None,
        user_id: None,
        caller: None,
        channel: None,
        direction: None,
        status: standing.status,
        end_reason: None,
        failure_code: None,
        created_at: standing.started_at.unwrap_or(first.occurred_at),
        started_at: standing.started_at,
        ended_at: standing.ended_at,
        duration_ms: standing.duration_ms,
        language: None,
        outcome: None,
        tags: Vec::new(),
        latency_ms: JsonMap::new(),
        quality: JsonMap::new(),
        network: JsonMap::new(),
        errors: Vec::new(),
        cost: None,
        feedback: Vec::new(),
        judgements: BTreeMap::new(),
    };
    for event in ordered {
        learn(&mut record, event);
    }
    Input { record, turns: turn_set::resolve(events) }
}

fn learn(record: &mut Record, event: &Event) {
    if let Some(facts) = event.data.facts() {
        learn_facts(record, facts);
    }
    match &event.data {
        Data::Ended(ended) => learn_end(record, ended),
        Data::Analyzed(analysis) => {
            record.judgements.insert(analysis.authority.as_str().to_owned(), judgement(analysis));
        }
        Data::FeedbackGiven(feedback) => record.feedback.push(Feedback {
            rating: feedback.rating,
            thumbs_up: feedback.thumbs.map(|thumbs| thumbs == Thumbs::Up),
            at: Some(event.occurred_at),
        }),
        Data::ErrorRaised(error) => {
            record.errors.push(Error {
                code: error.code.clone(),
                component: error.component.clone(),
                at: Some(event.occurred_at),
            });
        }
        _ => {}
    }
}

fn learn_facts(record: &mut Record, facts: &Facts) {
    record.language = facts.language.clone().or(record.language.take());
    for (known, said) in [
        (&mut record.latency_ms, &facts.latency_ms),
        (&mut record.quality, &facts.quality),
        (&mut record.network, &facts.network),
    ] {
        known.extend(said.clone().unwrap_or_default());
    }
}

fn learn_end(record: &mut Record, ended: &Ended) {
    record.end_reason = ended.end_reason.clone().or(record.end_reason.take());
    record.failure_code = ended.failure_code.clone().or(record.failure_code.take());
    if let Some(cost) = &ended.cost {
        record.cost =
            Some(Cost { amount_micros: cost.amount_micros, currency: cost.currency.clone(), source: cost.source.clone() });
    }
}

fn judgement(analysis: &Analysis) -> Judgement {
    Judgement {
        call_successful: analysis.call_successful,
        summary: analysis.summary.clone(),
        sentiment: analysis.sentiment,
        sentiment_score: analysis.sentiment_score,
        topics: analysis.topics.clone(),
        keywords: analysis.keywords.clone(),
        intent: analysis.intent.clone(),
        resolution_status: analysis.resolution_status,
        satisfaction_score: analysis.satisfaction_score,
        custom_analysis: analysis.custom_analysis.clone().unwrap_or_default(),
    }
}
