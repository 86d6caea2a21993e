//! Comparisons, agents, patterns, and what rules ask.

use colloquy_filter::{Expression, View, parse};
use colloquy_proto::analytics::v1 as pb;
use colloquy_types::{ConversationId, TurnId};
use tonic::Code;

use super::data::{Made, Random};
use super::{Fixture, filter, measure, pb_time, time};
use crate::query::{Measure, Measured};
use crate::testing;
use colloquy_service::Describe as _;

const FROM: &str = "2026-03-01T00:00:00Z";
const MIDDLE: &str = "2026-04-01T00:00:00Z";
const TO: &str = "2026-05-01T00:00:00Z";

fn segment(from: &str, to: &str) -> Option<pb::Segment> {
    Some(pb::Segment { filter: None, from: pb_time(from), to: pb_time(to) })
}

pub(super) async fn periods_are_compared_with_how_likely_the_difference_is_chance(fixture: &Fixture) {
    let random = &mut Random(11);
    let mut made = Vec::new();
    for number in 0..200 {
        let early = number % 2 == 0;
        let mut call = Made::at(number, if early { "2026-03-10T10:00:00Z" } else { "2026-04-10T10:00:00Z" });
        call.duration = Some(60_000 + random.below(30_000) + if early { 0 } else { 20_000 });
        call.resolution = if number / 2 % 10 < 7 { "resolved" } else { "unresolved" };
        made.push(call);
    }
    fixture.write(&made).await;
    let request = pb::CompareAnalyticsRequest {
        measures: vec![
            measure("duration_seconds", "avg", "length"),
            measure("resolved", "rate", "resolved"),
            measure("", "count", "n"),
            measure("caller_rating", "avg", "rating"),
        ],
        baseline: segment(FROM, MIDDLE),
        candidate: segment(MIDDLE, TO),
    };
    let found = fixture.queries.compare(&fixture.organization, &request).await.unwrap().comparisons;
    let [length, resolved, count, rating] = &found[..] else { panic!("{found:?}") };
    let mean = |early: bool| {
        let of = made.iter().filter(|made| (made.created_at < time(MIDDLE).as_millis()) == early);
        of.filter_map(|made| made.duration).sum::<i64>() as f64 / 1000.0 / 100.0
    };
    assert!((length.baseline.unwrap() - mean(true)).abs() < 1e-9 && (length.candidate.unwrap() - mean(false)).abs() < 1e-9);
    assert!((length.relative_change.unwrap() - (mean(false) / mean(true) - 1.0)).abs() < 1e-9);
    assert!(length.significant && length.p_value.unwrap() < 1e-6 && length.test == "welch_t", "{length:?}");
    assert!(!resolved.significant && resolved.p_value.unwrap() > 0.05 && resolved.test == "two_proportions_z", "{resolved:?}");
    assert_eq!((count.baseline, count.candidate, count.test.as_str(), count.p_value), (Some(100.0), Some(100.0), "", None));
    assert_eq!((rating.relative_change, rating.absent_because.as_str(), rating.p_value), (None, "no_baseline", None));

    let wrong = pb::CompareAnalyticsRequest {
        measures: vec![measure("duration_seconds", "p90", "p")],
        baseline: segment(TO, FROM),
        candidate: segment(FROM, TO),
    };
    let problem = fixture.queries.compare(&fixture.organization, &wrong).await.unwrap_err().describe();
    let fields: Vec<&str> = problem.fields.iter().map(|bad| bad.field.as_str()).collect();
    assert_eq!((problem.code, fields), (Code::InvalidArgument, vec!["measures[0].op", "baseline.from"]));
}

pub(super) async fn numbers_of_any_size_are_compared(fixture: &Fixture) {
    let call = |number: u128, at, paid| Made { paid: Some(paid), ..Made::at(number, at) };
    let (early, late) = ("2026-03-10T10:00:00Z", "2026-04-10T10:00:00Z");
    let request = pb::CompareAnalyticsRequest {
        measures: vec![measure("custom.paid", "avg", "paid")],
        baseline: segment(FROM, MIDDLE),
        candidate: segment(MIDDLE, TO),
    };
    // So near to zero that they have no squares, and so far from it.
    fixture.write(&[call(1, early, 1e-200), call(2, early, 3e-200)]).await;
    fixture.write(&[call(3, late, 1e15), call(4, late, -1e15), call(5, late, 1e200)]).await;
    let found = fixture.queries.compare(&fixture.organization, &request).await.unwrap().comparisons;
    assert_eq!((found[0].baseline, found[0].candidate, found[0].candidate_n), (Some(2e-200), Some(0.0), 2));
    assert_eq!(found[0].p_value, Some(1.0));
}

pub(super) async fn agents_are_listed_with_what_they_come_to(fixture: &Fixture) {
    let call = |number, agent, status, resolution, rating| Made {
        agent,
        status,
        resolution,
        rating,
        latency: Some(number as f64 * 100.0),
        ..Made::at(number, "2026-03-10T10:00:00Z")
    };
    fixture
        .write(&[
            call(1, Some("busy"), "completed", "resolved", Some(5.0)),
            call(2, Some("busy"), "failed", "escalated", Some(2.0)),
            call(3, Some("busy"), "completed", "unknown", None),
            call(4, None, "in_progress", "unknown", None),
        ])
        .await;
    let request = pb::ListAgentPerformanceRequest { filter: None, from: pb_time(FROM), to: pb_time(TO) };
    for summed_up in [false, true] {
        if summed_up {
            fixture.sum_up().await;
        }
        let found = fixture.queries.agent_performance(&fixture.organization, &request).await.unwrap();
        let [busy, none] = &found.agents[..] else { panic!("{found:?}") };
        assert_eq!((busy.agent_id.as_str(), busy.conversations, busy.avg_duration_ms), ("busy", 3, Some(60_000.0)));
        assert_eq!((busy.resolution_rate, busy.escalation_rate), (Some(0.5), Some(1.0 / 3.0)));
        assert_eq!((busy.failure_rate, busy.csat, busy.p90_response_latency_ms), (Some(1.0 / 3.0), Some(0.5), Some(300.0)));
        assert_eq!((none.agent_id.as_str(), none.conversations, none.resolution_rate, none.csat), ("", 1, None, None));
    }
}

pub(super) async fn the_most_frequent_ways_and_failures_are_found(fixture: &Fixture) {
    let call = |number: u128, topic, outcome, resolution, sentiment| Made {
        topics: vec![topic],
        outcome,
        resolution,
        sentiment,
        ..Made::at(number, &format!("2026-03-10T10:{number:02}:00Z"))
    };
    fixture
        .write(&[
            call(1, "billing", Some("refund"), "resolved", None),
            call(2, "billing", Some("refund"), "resolved", None),
            call(3, "delivery", None, "escalated", Some("negative")),
            call(4, "delivery", None, "escalated", Some("positive")),
            call(5, "delivery", None, "escalated", None),
            Made { topics: Vec::new(), ..Made::at(6, "2026-03-10T10:06:00Z") },
        ])
        .await;
    let request = pb::FindPatternsRequest { filter: None, from: pb_time(FROM), to: pb_time(TO), limit: 0 };
    let found = fixture.queries.patterns(&fixture.organization, &request).await.unwrap();
    let paths: Vec<_> =
        found.paths.iter().map(|path| (path.topic.as_str(), path.outcome.as_str(), path.count, path.share)).collect();
    assert_eq!(paths, [("delivery", "escalated", 3, 0.5), ("billing", "refund", 2, 2.0 / 6.0), ("", "unknown", 1, 1.0 / 6.0)]);
    let newest = |number: u128| uuid::Uuid::from_u128(number).to_string();
    assert_eq!(found.paths[0].conversation_ids, [newest(5), newest(4), newest(3)]);
    assert_eq!(found.paths[1].conversation_ids, [newest(2), newest(1)], "none of the newest");
    assert_eq!(found.paths[2].conversation_ids, [newest(6)]);
    let points: Vec<_> =
        found.failure_points.iter().map(|point| (point.kind.as_str(), point.detail.as_str(), point.count)).collect();
    assert_eq!(points, [("escalation", "delivery", 3), ("negative_turn", "delivery", 1)]);
    assert_eq!(found.failure_points[1].examples[0].conversation_id, newest(3));

    let wrong = pb::FindPatternsRequest { filter: filter("no such"), from: pb_time(TO), to: pb_time(FROM), limit: -1 };
    let problem = fixture.queries.patterns(&fixture.organization, &wrong).await.unwrap_err().describe();
    assert_eq!(problem.fields.len(), 3, "{:?}", problem.fields);
}

pub(super) async fn a_failure_names_the_turn_that_shows_it(fixture: &Fixture) {
    let texts = ["Hello, I have a question.", "Yes?", "This is terrible, I am really angry!", "I am sorry.", "Good bye then."];
    let call =
        |number| Made { resolution: "unresolved", sentiment: Some("negative"), ..Made::at(number, "2026-03-10T10:00:00Z") };
    // Of the second nothing is kept but its row.
    fixture.write(&[call(1), call(2)]).await;
    let (features, analysis) = testing::made(1, &texts);
    fixture.keep(features.conversation_id, &analysis).await;
    let request = pb::FindPatternsRequest { filter: None, from: pb_time(FROM), to: pb_time(TO), limit: 0 };
    let found = fixture.queries.patterns(&fixture.organization, &request).await.unwrap().failure_points;
    let [point] = &found[..] else { panic!("{found:?}") };
    assert_eq!((point.kind.as_str(), point.count, point.mean_position), ("negative_turn", 2, Some(0.5)));
    let turns: Vec<&str> = point.examples.iter().map(|example| example.turn_id.as_str()).collect();
    assert_eq!(turns, ["", &TurnId::derive(features.conversation_id, "2").to_string()]);
}

pub(super) async fn a_failure_in_silence_names_the_turn_before_the_longest(fixture: &Fixture) {
    let call = Made { resolution: "unresolved", silence: Some(20_000), ..Made::at(1, "2026-03-10T10:00:00Z") };
    // One of which an earlier release kept no more than that there was silence.
    fixture.write(&[call.clone(), Made { id: Made::at(2, FROM).id, ..call }]).await;
    let texts = ["Where is my order?", "One moment.", "Hello?", "I am looking.", "Are you there?"];
    let starts = [0, 13_000, 16_000, 38_000, 50_000];
    let (features, analysis) = testing::made_at(1, &texts, &starts);
    assert_eq!(analysis.silence.value.map(|silence| (silence.longest_ms, silence.count)), Some((20_500, 3)));
    fixture.keep(features.conversation_id, &analysis).await;
    let (older, mut analysis) = testing::made_at(2, &texts, &starts);
    analysis.silence.value.as_mut().unwrap().longest_after = None;
    fixture.keep(older.conversation_id, &analysis).await;
    let request = pb::FindPatternsRequest { filter: None, from: pb_time(FROM), to: pb_time(TO), limit: 0 };
    let found = fixture.queries.patterns(&fixture.organization, &request).await.unwrap().failure_points;
    let [point] = &found[..] else { panic!("{found:?}") };
    assert_eq!((point.kind.as_str(), point.count, point.mean_position), ("silence", 2, Some(0.5)));
    let turns: Vec<&str> = point.examples.iter().map(|example| example.turn_id.as_str()).collect();
    assert_eq!(turns, ["", &TurnId::derive(features.conversation_id, "2").to_string()]);
}

pub(super) async fn rules_get_a_measure_and_its_conversations(fixture: &Fixture) {
    let call = |number: u128, agent, duration| Made {
        agent: Some(agent),
        duration,
        ..Made::at(number, &format!("2026-03-10T10:{number:02}:00Z"))
    };
    fixture
        .write(&[call(1, "a", Some(10_000)), call(2, "a", Some(30_000)), call(3, "a", None), call(4, "b", Some(90_000))])
        .await;
    let of = parse(r#"agent_id = "a""#, View::Analytics).unwrap();
    let ask = async |field: &str, op: &str, filter: &Expression, from: &str, to: &str| {
        let measure = Measure::parse(field, op).unwrap();
        fixture.queries.measure(&fixture.organization, &measure, filter, time(from), time(to)).await.unwrap()
    };
    assert_eq!(ask("duration_seconds", "avg", &of, FROM, TO).await, Measured { value: Some(20.0), n: 2 });
    assert_eq!(ask("", "count", &of, FROM, TO).await, Measured { value: Some(3.0), n: 3 });
    assert_eq!(ask("failed", "rate", &of, FROM, TO).await, Measured { value: Some(0.0), n: 3 });
    assert_eq!(ask("duration_seconds", "p95", &of, MIDDLE, TO).await, Measured { value: None, n: 0 });
    assert_eq!(ask("", "count", &of, MIDDLE, TO).await, Measured { value: Some(0.0), n: 0 });
    assert_eq!(ask("", "count", &of, TO, FROM).await, Measured::default());
    let found = fixture.queries.conversations(&fixture.organization, &of, time(FROM), time(TO), 2).await.unwrap();
    assert_eq!(found, [3, 2].map(|number| ConversationId::from(uuid::Uuid::from_u128(number))));
}
