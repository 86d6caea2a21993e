//! Questions that are wrong.

use colloquy_proto::analytics::v1 as pb;
use tonic::Code;
use uuid::Uuid;

use super::data::Made;
use super::{Fixture, filter, measure, number, pb_time, question};

const FROM: &str = "2026-03-26T00:00:00Z";
const TO: &str = "2026-04-02T00:00:00Z";

pub(super) async fn everything_that_is_wrong_is_named_at_once(fixture: &Fixture) {
    let request = pb::QueryAnalyticsRequest {
        measures: vec![
            measure("lenght", "avg", "one"),
            measure("duration_seconds", "mean", "two"),
            measure("", "count", "one"),
            measure("", "count", "agent_id"),
            measure("", "count", "1; drop table features"),
            pb::Measure { filter: filter("agent_id = "), ..measure("", "count", "six") },
        ],
        dimensions: vec!["agent_id".to_owned(), "mood".to_owned(), "agent_id".to_owned()],
        filter: filter("nonsense > 3"),
        time: Some(pb::TimeRange {
            from: pb_time(TO),
            to: pb_time(FROM),
            step: "fortnight".to_owned(),
            timezone: "Mars/Olympus".to_owned(),
        }),
        order_by: vec!["-nothing".to_owned()],
        limit: -1,
        formulas: vec![pb::Formula { alias: "f".to_owned(), expression: "two / three".to_owned() }],
        ..pb::QueryAnalyticsRequest::default()
    };
    let problem = fixture.refused(&request).await;
    assert_eq!(problem.code, Code::InvalidArgument);
    let fields: Vec<&str> = problem.fields.iter().map(|bad| bad.field.as_str()).collect();
    for wanted in [
        "measures[0].field",
        "measures[1].op",
        "measures[2].alias",
        "measures[3].alias",
        "measures[4].alias",
        "measures[5].filter.filter",
        "dimensions[1]",
        "dimensions[2]",
        "filter.filter",
        "time.from",
        "time.timezone",
        "order_by[0]",
        "limit",
        "formulas[0].expression",
    ] {
        assert!(fields.contains(&wanted), "{wanted} is not named: {fields:?}");
    }
    let four = question(vec![measure("", "count", "n")], &["agent_id", "outcome", "status", "channel"], "", "", FROM, TO);
    assert_eq!(fixture.refused(&four).await.fields[0].field, "dimensions");
    let none = question(Vec::new(), &[], "", "", FROM, TO);
    assert_eq!(fixture.refused(&none).await.fields[0].field, "measures");
    let many = question((0..21).map(|number| measure("", "count", &format!("n{number}"))).collect(), &[], "", "", FROM, TO);
    assert_eq!(fixture.refused(&many).await.fields[0].field, "measures");
    let beyond = pb::QueryAnalyticsRequest {
        time: Some(pb::TimeRange {
            from: Some(prost_types::Timestamp { seconds: i64::MIN, nanos: -1 }),
            ..pb::TimeRange::default()
        }),
        ..question(vec![measure("", "count", "n")], &[], "", "", FROM, TO)
    };
    assert_eq!(fixture.refused(&beyond).await.fields[0].field, "time.from");
}

pub(super) async fn values_of_one_row_have_names_of_their_own(fixture: &Fixture) {
    let bad = async |measures: Vec<pb::Measure>, formula: &str, dimensions: &[&str]| {
        let formula = pb::Formula { alias: formula.to_owned(), expression: "1".to_owned() };
        let formulas = if formula.alias.is_empty() { Vec::new() } else { vec![formula] };
        let request = pb::QueryAnalyticsRequest { formulas, ..question(measures, dimensions, "", "", FROM, TO) };
        fixture.refused(&request).await.fields.into_iter().map(|bad| bad.field).collect::<Vec<_>>()
    };
    let rate = |alias| measure("success", "rate", alias);
    for name in ["bucket", "conversations_url"] {
        assert_eq!(bad(vec![measure("", "count", name)], "", &[]).await, ["measures[0].alias"]);
        assert_eq!(bad(vec![rate("r")], name, &[]).await, ["formulas[0].alias"]);
    }
    assert_eq!(bad(vec![measure("", "count", "r_numerator"), rate("r")], "", &[]).await, ["measures[1].alias"]);
    assert_eq!(bad(vec![rate("r")], "r_denominator", &[]).await, ["measures[0].alias"]);
    assert_eq!(bad(vec![rate("custom.r")], "", &["custom.r_numerator"]).await, ["measures[0].alias"]);
    let count = question(vec![measure("", "count", "r"), measure("", "count", "r_numerator")], &[], "", "", FROM, TO);
    assert_eq!(fixture.ask(&count).await.rows.len(), 1);
}

pub(super) async fn a_million_buckets_are_refused_with_advice(fixture: &Fixture) {
    let count = || vec![measure("", "count", "n")];
    let request = question(count(), &[], "minute", "UTC", "2024-01-01T00:00:00Z", "2026-01-01T00:00:00Z");
    let problem = fixture.refused(&request).await;
    assert_eq!(problem.fields[0].field, "time.step");
    assert!(problem.fields[0].message.contains("hour"), "{:?}", problem.fields);
    let auto = fixture.ask(&question(count(), &[], "auto", "UTC", "0001-01-02T00:00:00Z", "9999-01-01T00:00:00Z")).await;
    assert_eq!((auto.step.as_str(), auto.rows.len()), ("year", 9_998));
}

pub(super) async fn a_dimension_with_too_many_values_needs_an_order_and_a_limit(fixture: &Fixture) {
    let names: Vec<&'static str> = (0..1_001).map(|number| &*format!("agent-{number:04}").leak()).collect();
    let mut made: Vec<Made> = (names.iter().enumerate())
        .map(|(number, name)| Made { agent: Some(name), ..Made::at(number as u128, "2026-03-27T10:00:00Z") })
        .collect();
    made.push(Made { id: Uuid::from_u128(5_000), ..made[700].clone() });
    fixture.write(&made).await;
    for summed_up in [false, true] {
        if summed_up {
            fixture.sum_up().await;
        }
        let mut request = question(vec![measure("", "count", "n")], &["agent_id"], "", "UTC", FROM, TO);
        let problem = fixture.refused(&request).await;
        assert_eq!(problem.fields[0].field, "dimensions[0]");
        assert!(problem.fields[0].message.contains("order_by"), "{:?}", problem.fields);
        request.order_by = vec!["-n".to_owned()];
        request.limit = 2;
        let rows = fixture.ask(&request).await.rows;
        let found: Vec<_> = rows.iter().map(|row| (row.dimensions["agent_id"].as_str(), number(row, "n"))).collect();
        assert_eq!(found, [("agent-0700", Some(2.0)), ("agent-0000", Some(1.0))]);
        let request = pb::ListAgentPerformanceRequest { filter: None, from: pb_time(FROM), to: pb_time(TO) };
        let agents = fixture.queries.agent_performance(&fixture.organization, &request).await.unwrap();
        assert!(agents.truncated && agents.agents.len() == 1_000);
    }
}

pub(super) async fn values_that_are_left_out_are_not_too_many(fixture: &Fixture) {
    let names: Vec<&'static str> = (0..1_001).map(|number| &*format!("agent-{number:04}").leak()).collect();
    let mut made: Vec<Made> = (names.iter().enumerate())
        .map(|(number, name)| Made { agent: Some(name), ..Made::at(number as u128, "2026-03-27T10:00:00Z") })
        .collect();
    made.push(Made { agent: Some("late"), ..Made::at(5_000, "2026-03-27T10:30:00Z") });
    fixture.write(&made).await;
    for summed_up in [false, true] {
        if summed_up {
            fixture.sum_up().await;
        }
        let count = || vec![measure("", "count", "n")];
        let mut of_one = question(count(), &["agent_id"], "", "UTC", FROM, TO);
        of_one.filter = filter(r#"agent_id = "agent-0007""#);
        let late = question(count(), &["agent_id"], "", "UTC", "2026-03-27T10:15:00Z", TO);
        for (request, agent) in [(of_one, "agent-0007"), (late, "late")] {
            let rows = fixture.ask(&request).await.rows;
            let found: Vec<_> = rows.iter().map(|row| (row.dimensions["agent_id"].as_str(), number(row, "n"))).collect();
            assert_eq!(found, [(agent, Some(1.0))]);
        }
    }
}

pub(super) async fn names_that_are_statements_are_only_names(fixture: &Fixture) {
    fixture.write(&[Made { agent: Some("x' or '1'='1"), ..Made::at(1, "2026-03-27T10:00:00Z") }]).await;
    for name in ["custom.x'; drop table features; --", "custom.\"{k}$1", "custom.$9 %s {0}"] {
        let request = question(vec![measure(name, "avg", "a"), measure(name, "rate", "b")], &[name], "day", "UTC", FROM, TO);
        assert_eq!(fixture.ask(&request).await.rows.len(), 7);
    }
    for name in ["custom.\0", "agent_id; --", "f.agent_id"] {
        let request = question(vec![measure("", "count", "a")], &[name], "", "UTC", FROM, TO);
        assert_eq!(fixture.refused(&request).await.code, Code::InvalidArgument);
    }
    let request = pb::QueryAnalyticsRequest {
        filter: filter(r#"agent_id = "x' or '1'='1""#),
        ..question(vec![measure("", "count", "n")], &["agent_id"], "", "UTC", FROM, TO)
    };
    assert_eq!(number(&fixture.ask(&request).await.rows[0], "n"), Some(1.0));
}
