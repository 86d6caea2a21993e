use colloquy_events::{ResolutionStatus, Sentiment};
use colloquy_types::{Position, TurnId};
use serde_json::json;

use super::*;
use crate::features::tests::{extracted, figure, nothing, unknown};

const FIGURES: [&str; 23] = [
    "cost",
    "duration_ms",
    "error_count",
    "exchanges",
    "hold",
    "intent",
    "interruptions_by_agent",
    "interruptions_by_user",
    "keywords",
    "language",
    "latency_stages",
    "overlaps_by_agent",
    "overlaps_by_user",
    "resolution_status",
    "response_latency",
    "satisfaction_caller",
    "satisfaction_inferred",
    "sentiment",
    "silence",
    "talk",
    "technical_quality",
    "topics",
    "turn_count",
];

fn written(analysis: &Analysis, judgements: &BTreeMap<String, Judgement>) -> pb::ConversationAnalytics {
    to_pb(&Features::of(&unknown(), analysis, Position(1)), analysis, judgements)
}

#[test]
fn of_what_was_not_established_the_reason_is_told_for_every_figure() {
    let answer = written(&nothing(), &BTreeMap::new());
    assert_eq!((answer.duration_ms, answer.exchanges, answer.talk, answer.hold, answer.sentiment_course), Default::default());
    assert_eq!((answer.settled, answer.turn_count, answer.error_count), (false, 0, 0));
    let mut names: Vec<&str> = answer.evidence.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, FIGURES);
    assert!(
        answer.evidence.values().all(|evidence| evidence.absent_because == "nothing was said" && evidence.analyzer == "test/1")
    );
    let judgement = answer.judgement.unwrap();
    assert_eq!((judgement.resolution_status.as_str(), judgement.custom_analysis_json.as_str()), ("unknown", "{}"));
}

#[test]
fn a_figure_says_which_turns_it_came_from() {
    let turn_ids: Vec<TurnId> = (0..150).map(|_| TurnId::generate()).collect();
    let id = |place: usize| turn_ids[place].to_string();
    let talk = Talk { agent_ms: 10, user_ms: 30, ratio: Some(0.25), agent_words_per_minute: None, user_words_per_minute: None };
    let mood = Mood {
        label: Sentiment::Positive,
        score: 0.4,
        overall: 2.0,
        quarters: [Some(1.0), None, None, Some(3.0)],
        shift: Some(2.0),
        by_turn: vec![(0, 0.4), (2, -0.4), (3, 0.0), (999, 1.0)],
    };
    let topic = Topic { name: "billing".to_owned(), source: "taxonomy".to_owned(), turns: (0..150).collect() };
    let analysis = Analysis {
        turn_ids: turn_ids.clone(),
        talk: Figure { turn_count: 2, ..figure(talk, &[1, 3]) },
        exchanges: Figure { turn_count: 150, ..figure(70, &(0..150).collect::<Vec<_>>()) },
        sentiment: figure(mood, &[0, 2]),
        topics: figure(vec![topic], &[0]),
        errors: figure(BTreeMap::from([("tts".to_owned(), 2), ("llm".to_owned(), 1)]), &[]),
        ..nothing()
    };
    let answer = written(&analysis, &BTreeMap::new());
    let talk = &answer.evidence["talk"];
    assert_eq!((talk.turn_ids.clone(), talk.turn_count, talk.absent_because.as_str()), (vec![id(1), id(3)], 2, ""));
    assert_eq!((answer.talk.unwrap().ratio, answer.error_count), (Some(0.25), 3));
    let exchanges = &answer.evidence["exchanges"];
    assert_eq!((exchanges.turn_ids.len(), exchanges.turn_count, answer.exchanges), (100, 150, Some(70)));
    let moods: Vec<_> = answer.sentiment_by_turn.iter().map(|turn| (turn.turn_id.clone(), turn.sentiment.as_str())).collect();
    assert_eq!(moods, [(id(0), "positive"), (id(2), "negative"), (id(3), "neutral")]);
    let course = answer.sentiment_course.unwrap();
    assert_eq!((course.overall, course.first_quarter, course.second_quarter), (Some(2.0), Some(1.0), None));
    assert_eq!((answer.topics[0].turn_ids.len(), answer.turn_ids.len()), (100, 150));
}

#[test]
fn what_a_provider_does_not_tell_of_a_stage_is_absent() {
    let told = Spread { mean: Some(412.0), ..Spread::default() };
    let analysis = Analysis { latency_stages: figure(BTreeMap::from([("model".to_owned(), told)]), &[]), ..nothing() };
    let answer = written(&analysis, &BTreeMap::new());
    assert_eq!(answer.latency_stages["model"], pb::Distribution { mean: Some(412.0), ..Default::default() });
}

#[test]
fn every_authority_is_heard_and_nobody_tells_what_was_said() {
    let by = |intent: &str| Judgement {
        intent: Some(intent.to_owned()),
        summary: Some("The caller told a secret.".to_owned()),
        ..Default::default()
    };
    let judgements = ["provider", "human", "own_leading", "own"].map(|authority| (authority.to_owned(), by(authority))).into();
    let own = Judgement { resolution_status: Some(ResolutionStatus::Resolved), ..by("own now") };
    let answer = written(&Analysis { own, leading: by("human"), ..nothing() }, &judgements);
    let mut intents: Vec<_> = answer
        .judgements
        .iter()
        .map(|(authority, judgement)| (authority.as_str(), judgement.analytics.as_ref().unwrap().intent.as_deref().unwrap()))
        .collect();
    intents.sort_unstable();
    assert_eq!(intents, [("human", "human"), ("own", "own now"), ("provider", "provider")]);
    assert_eq!(answer.judgement.as_ref().unwrap().intent.as_deref(), Some("human"));
    assert!(!format!("{answer:?}").contains("secret"));
}

#[test]
fn satisfaction_says_whether_callers_gave_it() {
    let source = |analysis: &Analysis| {
        let judgement = written(analysis, &BTreeMap::new()).judgement.unwrap();
        (judgement.satisfaction_score, judgement.satisfaction_source)
    };
    let inferred = Analysis { satisfaction_inferred: figure(2.0, &[]), ..nothing() };
    assert_eq!(source(&nothing()), (None, None));
    assert_eq!(source(&inferred), (Some(2.0), Some("inferred".to_owned())));
    let given = Analysis { satisfaction_caller: figure(4.0, &[]), ..inferred };
    assert_eq!(source(&given), (Some(4.0), Some("caller".to_owned())));
}

#[test]
fn an_extracted_value_is_json_or_the_reason_why_there_is_none() {
    let not_established = CustomValue {
        not_established_because: Some("nobody said".to_owned()),
        turns: vec![TurnId::generate()],
        confidence: Some(0.5),
        ..extracted(None)
    };
    let custom = [("booked".to_owned(), extracted(Some(json!(false)))), ("budget".to_owned(), not_established)].into();
    let answer = written(&Analysis { custom, ..nothing() }, &BTreeMap::new()).custom;
    assert_eq!((answer["booked"].value_json.as_deref(), answer["booked"].not_established_because.as_str()), (Some("false"), ""));
    let budget = &answer["budget"];
    assert_eq!((budget.value_json.as_deref(), budget.not_established_because.as_str()), (None, "nobody said"));
    assert_eq!((budget.turn_ids.len(), budget.confidence), (1, Some(0.5)));
}
