use colloquy_events::{Sentiment, Status};
use colloquy_types::Provider;
use serde_json::json;

use super::*;
use crate::analysis::{Distribution, Figure, Mood, Talk, Topic};
use crate::input::{Cost, Error, Judgement};

/// A figure that could not be established.
fn absent<T>() -> Figure<T> {
    Figure {
        value: None,
        absent_because: Some("nothing was said".to_owned()),
        analyzer: "test/1".to_owned(),
        turns: Vec::new(),
        turn_count: 0,
    }
}

pub(crate) fn figure<T>(value: T, turns: &[u32]) -> Figure<T> {
    let turn_count = u32::try_from(turns.len()).unwrap();
    Figure { value: Some(value), absent_because: None, turns: turns.to_vec(), turn_count, ..absent() }
}

/// An analysis that established nothing.
pub(crate) fn nothing() -> Analysis {
    Analysis {
        settled: false,
        turn_ids: Vec::new(),
        duration_ms: absent(),
        turn_count: absent(),
        exchanges: absent(),
        talk: absent(),
        silence: absent(),
        hold: absent(),
        interruptions_by_user: absent(),
        interruptions_by_agent: absent(),
        overlaps_by_user: absent(),
        overlaps_by_agent: absent(),
        response_latency: absent(),
        latency_stages: absent(),
        sentiment: absent(),
        keywords: absent(),
        topics: absent(),
        intent: absent(),
        language: absent(),
        resolution: absent(),
        resolution_seen: Vec::new(),
        satisfaction_caller: absent(),
        satisfaction_inferred: absent(),
        technical_quality: absent(),
        errors: absent(),
        error_turns: BTreeMap::new(),
        cost: absent(),
        own: Judgement::default(),
        leading: Judgement::default(),
        custom: BTreeMap::new(),
    }
}

/// A conversation of which next to nothing is known.
pub(crate) fn unknown() -> Input {
    let record = Record {
        organization_id: "acme".parse().unwrap(),
        conversation_id: ConversationId::generate(),
        provider: Provider::Vapi,
        external_id: "call-1".to_owned(),
        agent_id: None,
        agent_version_id: None,
        client_id: None,
        user_id: None,
        caller: None,
        channel: None,
        direction: None,
        status: Status::InProgress,
        end_reason: None,
        failure_code: None,
        created_at: Timestamp::from_millis(1_000).unwrap(),
        started_at: None,
        ended_at: None,
        duration_ms: None,
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
    Input { record, turns: Vec::new() }
}

pub(crate) fn extracted(value: Option<Value>) -> crate::analysis::CustomValue {
    crate::analysis::CustomValue {
        value,
        not_established_because: None,
        confidence: None,
        turns: Vec::new(),
        source: "provider".to_owned(),
        version: 0,
    }
}

fn features(input: &Input, analysis: &Analysis) -> Features {
    Features::of(input, analysis, Position(7))
}

#[test]
fn what_nobody_knows_is_absent_and_what_must_be_there_says_unknown() {
    let row = features(&unknown(), &nothing());
    assert_eq!(
        (row.position, row.settled, row.status.as_str(), row.provider.as_str()),
        (Position(7), false, "in_progress", "vapi")
    );
    assert_eq!((row.call_successful.as_str(), row.resolution_status.as_str(), row.turn_count), ("unknown", "unknown", 0));
    assert_eq!((row.agent_id, row.sentiment, row.duration_ms, row.talk_ratio, row.cost_micros), (None, None, None, None, None));
    assert_eq!((row.satisfaction_score, row.error_count), (None, 0));
    assert!(row.topics.is_empty() && row.tags.is_empty() && row.custom.is_empty());
}

#[test]
fn what_leads_is_in_the_row_and_what_was_found_where_nothing_leads() {
    let found = Analysis {
        settled: true,
        resolution: figure(ResolutionStatus::Unresolved, &[]),
        intent: figure("cancel".to_owned(), &[]),
        language: figure("de".to_owned(), &[]),
        topics: figure(vec![Topic { name: "billing".to_owned(), source: "taxonomy".to_owned(), turns: vec![] }], &[]),
        keywords: figure(vec!["invoice".to_owned()], &[]),
        sentiment: figure(
            Mood {
                label: Sentiment::Negative,
                score: -0.5,
                overall: -2.5,
                quarters: [None; 4],
                shift: Some(-1.5),
                by_turn: Vec::new(),
            },
            &[],
        ),
        satisfaction_inferred: figure(2.0, &[]),
        ..nothing()
    };
    let row = features(&unknown(), &found);
    assert_eq!((row.resolution_status.as_str(), row.intent.as_deref()), ("unresolved", Some("cancel")));
    assert_eq!(
        (row.language.as_deref(), row.topics, row.keywords),
        (Some("de"), vec!["billing".to_owned()], vec!["invoice".to_owned()])
    );
    assert_eq!((row.sentiment.as_deref(), row.sentiment_score, row.sentiment_shift), (Some("negative"), Some(-0.5), Some(-1.5)));
    assert_eq!((row.satisfaction_score, row.inferred_satisfaction, row.caller_rating), (Some(2.0), Some(2.0), None));

    let leading = Judgement {
        call_successful: Some(CallSuccessful::Success),
        resolution_status: Some(ResolutionStatus::Resolved),
        sentiment: Some(Sentiment::Positive),
        sentiment_score: Some(0.25),
        topics: Some(vec!["returns".to_owned()]),
        keywords: Some(vec!["parcel".to_owned()]),
        intent: Some("return".to_owned()),
        satisfaction_score: Some(4.5),
        ..Default::default()
    };
    let row = features(&unknown(), &Analysis { leading, satisfaction_caller: figure(3.0, &[]), ..found });
    assert_eq!((row.call_successful.as_str(), row.resolution_status.as_str()), ("success", "resolved"));
    assert_eq!((row.sentiment.as_deref(), row.sentiment_score), (Some("positive"), Some(0.25)));
    assert_eq!(
        (row.topics, row.keywords, row.intent),
        (vec!["returns".to_owned()], vec!["parcel".to_owned()], Some("return".to_owned()))
    );
    // What callers gave weighs more than what was inferred.
    assert_eq!((row.satisfaction_score, row.inferred_satisfaction, row.caller_rating), (Some(3.0), Some(4.5), Some(3.0)));
}

#[test]
fn the_language_is_the_one_that_was_told_as_in_lists_and_ours_where_none_was() {
    let detected = Analysis { language: figure("de".to_owned(), &[]), ..nothing() };
    let told = Input { record: Record { language: Some("nl".to_owned()), ..unknown().record }, turns: Vec::new() };
    assert_eq!(features(&told, &detected).language.as_deref(), Some("nl"));
    assert_eq!(features(&unknown(), &detected).language.as_deref(), Some("de"));
}

#[test]
fn figures_stand_under_their_names() {
    let latency = Distribution { n: 3, min: 1.0, max: 9.0, mean: 4.0, p50: 2.0, p90: 9.0, p95: 8.0, p99: 9.0 };
    let talk = Talk {
        agent_ms: 10,
        user_ms: 30,
        ratio: Some(0.25),
        agent_words_per_minute: Some(f64::INFINITY),
        user_words_per_minute: Some(90.0),
    };
    let input = Input {
        record: Record {
            duration_ms: Some(5),
            errors: vec![Error { code: "tts".to_owned(), component: None, at: None }; 2],
            ..unknown().record
        },
        turns: Vec::new(),
    };
    let analysis = Analysis {
        talk: figure(talk, &[]),
        response_latency: figure(latency, &[]),
        cost: figure(Cost { amount_micros: 7, currency: "USD".to_owned(), source: "provider".to_owned() }, &[]),
        ..nothing()
    };
    let row = features(&input, &analysis);
    assert_eq!((row.agent_talk_ms, row.user_talk_ms, row.talk_ratio), (Some(10), Some(30), Some(0.25)));
    assert_eq!((row.agent_words_per_minute, row.user_words_per_minute), (None, Some(90.0)));
    let latencies = (row.response_latency_ms, row.response_latency_p95_ms, row.response_latency_max_ms);
    assert_eq!(latencies, (Some(4.0), Some(8.0), Some(9.0)));
    assert_eq!((row.cost_micros, row.cost_currency.as_deref()), (Some(7), Some("USD")));
    assert_eq!((row.duration_ms, row.error_count, row.error_codes), (Some(5), 2, vec!["tts".to_owned()]));
}

#[test]
fn numbers_outside_their_range_are_none() {
    let leading = |sentiment_score, satisfaction_score| {
        let leading = Judgement { sentiment_score, satisfaction_score, ..Default::default() };
        let row = features(&unknown(), &Analysis { leading, technical_quality: figure(f64::NAN, &[]), ..nothing() });
        (row.sentiment_score, row.satisfaction_score, row.technical_quality)
    };
    assert_eq!(leading(Some(f64::NAN), Some(0.0)), (None, None, None));
    assert_eq!(leading(Some(-1.5), Some(f64::INFINITY)), (None, None, None));
    assert_eq!(leading(Some(-1.0), Some(5.0)), (Some(-1.0), Some(5.0), None));
    let custom = [("largest", json!(-1e15)), ("larger", json!(1.1e15)), ("whole", json!(u64::MAX)), ("huge", json!(1.7e308))];
    let custom = custom.map(|(name, value)| (name.to_owned(), extracted(Some(value)))).into();
    let row = features(&unknown(), &Analysis { custom, ..nothing() });
    assert_eq!(row.custom, [("largest".to_owned(), json!(-1e15))].into());
}

#[test]
fn words_are_few_short_different_and_without_nul() {
    let mut input = unknown();
    let long = "é".repeat(400);
    input.record.tags =
        vec!["a\0b".to_owned(), "ab".to_owned(), "\0".to_owned(), String::new(), long.clone(), format!("{long}x")];
    input.record.tags.extend((0..1_000).map(|number| number.to_string()));
    input.record.agent_id = Some("agent\0".to_owned());
    input.record.caller = Some("\0".to_owned());
    input.record.external_id = long;
    let row = features(&input, &nothing());
    assert_eq!((row.tags.len(), row.tags[0].as_str(), row.tags[1].len(), row.tags[2].as_str()), (256, "ab", 512, "0"));
    assert_eq!((row.agent_id.as_deref(), row.caller, row.external_id.len()), (Some("agent"), None, 512));
}

#[test]
fn only_what_was_established_is_a_value_and_people_know_best() {
    let mut input = unknown();
    let human = Judgement { custom_analysis: JsonMap::from_iter([("budget".to_owned(), json!(500))]), ..Default::default() };
    input.record.judgements.insert("human".to_owned(), human);
    let leading = Judgement {
        custom_analysis: JsonMap::from_iter([
            ("booked".to_owned(), json!(false)),
            ("city".to_owned(), json!("x".repeat(5_000))),
            ("list".to_owned(), json!([1])),
            ("nothing".to_owned(), Value::Null),
            ("not_looked_for".to_owned(), json!("yes")),
        ]),
        ..Default::default()
    };
    let custom = BTreeMap::from([
        ("booked".to_owned(), extracted(Some(json!(true)))),
        ("budget".to_owned(), extracted(Some(json!(100)))),
        ("not_established".to_owned(), extracted(None)),
        ("city".to_owned(), extracted(Some(json!("x".repeat(5_000))))),
        ("".to_owned(), extracted(Some(json!(1)))),
    ]);
    let row = features(&input, &Analysis { leading, custom, ..nothing() });
    let city = json!("x".repeat(4_096));
    let expected = [("booked", json!(true)), ("budget", json!(500)), ("city", city), ("not_looked_for", json!("yes"))];
    assert_eq!(row.custom, expected.map(|(name, value)| (name.to_owned(), value)).into());
}
