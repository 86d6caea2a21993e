//! Answers, beside what counting by hand comes to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use colloquy_filter::{Field, FieldValue, View, conversations, evaluate};
use colloquy_proto::analytics::v1 as pb;
use colloquy_storage::Database;
use colloquy_storage::engine::{Columns, Engine, Value};
use colloquy_types::Timestamp;
use jiff::tz::TimeZone;
use sqlx::Pool;

use super::data::{Made, made_up};
use super::{Fixture, NOW, filter, measure, number, question, time};
use crate::query::spread::{BIN_SQL, RELATIVE_ERROR, bin_of};

const FROM: &str = "2026-03-26T00:00:00Z";
const TO: &str = "2026-04-02T10:20:30Z";

/// Values by bucket and dimensions, and alias; what has no value is not there.
type Table = BTreeMap<(String, Vec<String>), BTreeMap<String, f64>>;

/// Computes the values of one set.
fn values(of: &[&Made]) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    let mut put = |alias: &str, value: Option<f64>| {
        found.extend(value.map(|value| (alias.to_owned(), value)));
    };
    let durations = || of.iter().filter_map(|made| Some(made.duration? as f64 / 1000.0));
    let mut sorted: Vec<f64> = durations().collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let ranked = |percent: f64| (n > 0.0).then(|| sorted[((percent / 100.0 * n).ceil() as usize).max(1) - 1]);
    let rate = |holds: &dyn Fn(&Made) -> bool, could: &dyn Fn(&Made) -> bool| {
        let could: Vec<&&Made> = of.iter().filter(|made| could(made)).collect();
        let holds = could.iter().filter(|made| holds(made)).count();
        (!could.is_empty()).then(|| holds as f64 / could.len() as f64)
    };
    put("count", Some(of.len() as f64));
    put("known", Some(n));
    put("sum", Some(sorted.iter().sum()));
    put("avg", (n > 0.0).then(|| sorted.iter().sum::<f64>() / n));
    put("min", sorted.first().copied());
    put("max", sorted.last().copied());
    put("p50", ranked(50.0));
    put("p75", ranked(75.0));
    put("p90", ranked(90.0));
    put("p99", ranked(99.0));
    let scores: Vec<f64> = of.iter().filter_map(|made| made.score).collect();
    put("score", (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64));
    let latencies: Vec<f64> = of.iter().filter_map(|made| made.latency).collect();
    put("latency", latencies.iter().copied().reduce(f64::max));
    put("turns", Some(of.iter().map(|made| made.turns as f64).sum()));
    put("resolved", rate(&|made| made.resolution == "resolved", &|made| made.resolution != "unknown"));
    put("csat", rate(&|made| made.rating >= Some(4.0), &|made| made.rating.is_some()));
    put("failed", rate(&|made| made.status == "failed", &|made| made.status != "in_progress"));
    put("negative", rate(&|made| made.sentiment == Some("negative"), &|made| made.sentiment.is_some()));
    put("cost", Some(of.iter().filter_map(|made| Some(made.cost?.0 as f64 / 1e6)).sum()));
    put("booked", Some(of.iter().filter(|made| made.outcome == Some("booked")).count() as f64));
    found
}

fn measures() -> Vec<pb::Measure> {
    let mut measures: Vec<pb::Measure> = [
        ("", "count", "count"),
        ("duration_seconds", "count", "known"),
        ("duration_seconds", "sum", "sum"),
        ("duration_seconds", "avg", "avg"),
        ("duration_seconds", "min", "min"),
        ("duration_seconds", "max", "max"),
        ("duration_seconds", "p50", "p50"),
        ("duration_seconds", "p75", "p75"),
        ("duration_seconds", "p90", "p90"),
        ("duration_seconds", "p99", "p99"),
        ("sentiment_score", "avg", "score"),
        ("response_latency_ms", "max", "latency"),
        ("turn_count", "sum", "turns"),
        ("resolved", "rate", "resolved"),
        ("csat", "rate", "csat"),
        ("failed", "rate", "failed"),
        ("negative_sentiment", "rate", "negative"),
        ("cost", "sum", "cost"),
    ]
    .into_iter()
    .map(|(field, op, alias)| measure(field, op, alias))
    .collect();
    measures.push(pb::Measure { filter: filter(r#"outcome = "booked""#), ..measure("", "count", "booked") });
    measures
}

/// What hours can be summed up.
fn totalled() -> Vec<pb::Measure> {
    measures()
        .into_iter()
        .filter(|measure| !measure.op.starts_with('p') && measure.field != "cost" && measure.filter.is_none())
        .collect()
}

fn text(value: Option<&str>) -> String {
    value.unwrap_or_default().to_owned()
}

/// Returns the values of a dimension that a conversation counts for.
fn words(made: &Made, dimension: &str, zone: &TimeZone) -> Vec<String> {
    let local = || zone.to_datetime(jiff::Timestamp::from_millisecond(made.created_at).unwrap());
    match dimension {
        "agent_id" => vec![text(made.agent)],
        "outcome" => vec![text(made.outcome)],
        "resolution_status" => vec![made.resolution.to_owned()],
        "topic" if made.topics.is_empty() => vec![String::new()],
        "topic" => made.topics.iter().map(|topic| (*topic).to_owned()).collect(),
        "custom.plan" => vec![text(made.plan)],
        "custom.paid" => vec![made.paid.map_or(String::new(), |paid| paid.to_string())],
        "hour_of_day" => vec![local().hour().to_string()],
        "day_of_week" => vec![local().weekday().to_monday_one_offset().to_string()],
        other => panic!("{other}"),
    }
}

/// Returns the beginning of the day or hour that a conversation began in, as the answer says it.
fn bucket(made: &Made, step: &str, zone: &TimeZone) -> String {
    let zoned = jiff::Timestamp::from_millisecond(made.created_at).unwrap().to_zoned(zone.clone());
    let start = match step {
        "" => return String::new(),
        "hour" => zoned.round(jiff::ZonedRound::new().smallest(jiff::Unit::Hour).mode(jiff::RoundMode::Trunc)).unwrap(),
        "day" => zoned.start_of_day().unwrap(),
        "week" => {
            let back = i64::from(zoned.weekday().to_monday_zero_offset());
            zoned.date().saturating_sub(jiff::Span::new().days(back)).to_zoned(zone.clone()).unwrap()
        }
        "month" => zoned.first_of_month().unwrap().start_of_day().unwrap(),
        other => panic!("{other}"),
    };
    start.timestamp().display_with_offset(start.offset()).to_string()
}

fn by_hand(made: &[Made], request: &pb::QueryAnalyticsRequest, holds: impl Fn(&Made) -> bool) -> Table {
    let asked = request.time.clone().unwrap();
    let zone = TimeZone::get(&asked.timezone).unwrap();
    let (from, to) = (asked.from.unwrap().seconds * 1000, asked.to.unwrap().seconds * 1000);
    let mut sets: BTreeMap<(String, Vec<String>), Vec<&Made>> = BTreeMap::new();
    for made in made.iter().filter(|made| (from..to).contains(&made.created_at) && holds(made)) {
        let mut keys = vec![Vec::new()];
        for dimension in &request.dimensions {
            let words = words(made, dimension, &zone);
            keys = keys
                .into_iter()
                .flat_map(|key| words.iter().map(move |word| [key.clone(), vec![word.clone()]].concat()))
                .collect();
        }
        for key in keys {
            sets.entry((bucket(made, &asked.step, &zone), key)).or_default().push(made);
        }
    }
    sets.into_iter().map(|(key, set)| (key, values(&set))).collect()
}

fn table(request: &pb::QueryAnalyticsRequest, response: &pb::QueryAnalyticsResponse) -> Table {
    let mut table = Table::new();
    for row in &response.rows {
        let dimensions = request.dimensions.iter().map(|name| row.dimensions[name].clone()).collect();
        let values = row.values.iter().map(|(alias, value)| (alias.clone(), value.number)).collect();
        assert_eq!(table.insert((row.bucket.clone(), dimensions), values), None, "a row stands once");
    }
    table
}

/// Compares an answer with what counting by hand comes to; rows that are only there to fill gaps count nothing.
fn agree(request: &pb::QueryAnalyticsRequest, response: &pb::QueryAnalyticsResponse, wanted: &Table, what: &str) {
    let found = table(request, response);
    for (key, values) in &found {
        let Some(wanted) = wanted.get(key) else {
            assert_eq!(values["count"], 0.0, "{what}: {key:?} is there");
            continue;
        };
        for alias in request.measures.iter().map(|measure| &measure.alias) {
            let (found, wanted) = (values.get(alias), wanted.get(alias));
            let is_near = match (found, wanted) {
                (Some(found), Some(wanted)) => (found - wanted).abs() <= 1e-9 * wanted.abs().max(1.0),
                (found, wanted) => found.is_none() && wanted.is_none(),
            };
            assert!(is_near, "{what}: {key:?} {alias}: {found:?}, by hand {wanted:?}");
        }
    }
    let missing: Vec<_> = wanted.keys().filter(|key| !found.contains_key(*key)).collect();
    assert!(missing.is_empty(), "{what}: {missing:?} are missing");
}

pub(super) async fn every_operation_agrees_with_counting_by_hand_however_much_is_summed_up(fixture: &Fixture) {
    let mut made = made_up(700, FROM, TO, 1);
    fixture.write(&made).await;
    for state in ["nothing summed up", "all summed up", "some changed since"] {
        match state {
            "all summed up" => fixture.sum_up().await,
            "some changed since" => {
                let more = made_up(40, "2026-03-28T20:00:00Z", "2026-03-29T08:00:00Z", 2);
                fixture.write(&more).await;
                made.extend(more);
            }
            _ => {}
        }
        for zone in ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns"] {
            for (step, dimensions) in [
                ("", &[][..]),
                ("day", &[]),
                ("hour", &[]),
                ("week", &["agent_id"]),
                ("day", &["agent_id", "outcome"]),
                ("month", &["resolution_status", "outcome", "agent_id"]),
                ("", &["day_of_week", "hour_of_day"]),
            ] {
                for measures in [measures(), totalled()] {
                    let request = question(measures, dimensions, step, zone, "2026-03-26T07:45:00Z", "2026-04-02T05:00:01Z");
                    let response = fixture.ask(&request).await;
                    assert_eq!(response.relative_error, 0.0);
                    agree(
                        &request,
                        &response,
                        &by_hand(&made, &request, |_| true),
                        &format!("{state}, {zone}, {step}, {dimensions:?}"),
                    );
                }
            }
            for (text, holds) in [
                (r#"agent_id = "a""#, (|made: &Made| made.agent == Some("a")) as fn(&Made) -> bool),
                (r#"NOT agent_id = "a" AND duration_seconds > 60.5"#, |made| {
                    made.agent != Some("a") && made.duration > Some(60_500)
                }),
                (r#"topic:"billing" OR sentiment_score < 0"#, |made| {
                    made.topics.contains(&"billing") || made.score.is_some_and(|score| score < 0.0)
                }),
                (r#"custom.plan = "pro""#, |made| made.plan == Some("pro")),
                (r#"created_at >= "2026-03-29T01:30:00Z""#, |made| made.created_at >= time("2026-03-29T01:30:00Z").as_millis()),
            ] {
                let request = pb::QueryAnalyticsRequest {
                    filter: filter(text),
                    ..question(measures(), &["agent_id"], "day", zone, FROM, TO)
                };
                let response = fixture.ask(&request).await;
                agree(&request, &response, &by_hand(&made, &request, holds), &format!("{state}, {zone}, {text}"));
            }
        }
    }
}

pub(super) async fn dimensions_of_any_source_agree_with_counting_by_hand(fixture: &Fixture) {
    let made = made_up(400, FROM, TO, 3);
    fixture.write(&made).await;
    fixture.sum_up().await;
    for dimensions in [&["topic"][..], &["custom.plan", "agent_id"], &["custom.paid"], &["topic", "custom.plan", "hour_of_day"]] {
        let request = question(measures(), dimensions, "week", "Europe/Berlin", FROM, TO);
        let response = fixture.ask(&request).await;
        agree(&request, &response, &by_hand(&made, &request, |_| true), &format!("{dimensions:?}"));
    }
    let asked =
        vec![measure("custom.paid", "rate", "paid"), measure("custom.paid", "avg", "mean"), measure("custom.paid", "p90", "p90")];
    let response = fixture.ask(&question(asked, &[], "", "UTC", FROM, TO)).await;
    let inside = |made: &&Made| made.created_at < time(TO).as_millis();
    let paid: Vec<f64> = made.iter().filter(inside).filter_map(|made| made.paid).collect();
    let value = &response.rows[0].values["paid"];
    assert_eq!((value.numerator, value.denominator), (Some(paid.iter().sum::<f64>() as u64), Some(paid.len() as u64)));
    assert_eq!(number(&response.rows[0], "mean"), Some(value.number));
    assert_eq!(number(&response.rows[0], "p90"), Some(1.0));
}

pub(super) async fn large_sets_are_answered_from_sketches_that_are_off_by_no_more_than_they_say(fixture: &Fixture) {
    let made = made_up(1_600, FROM, TO, 4);
    fixture.write(&made).await;
    let request = question(measures(), &["agent_id"], "day", "Europe/Berlin", FROM, TO);
    for state in ["from rows", "from segments", "from both"] {
        match state {
            "from segments" => fixture.sum_up().await,
            "from both" => fixture.write(&[]).await,
            _ => {}
        }
        let response = fixture.ask(&request).await;
        assert_eq!(response.relative_error, RELATIVE_ERROR);
        let (found, wanted) = (table(&request, &response), by_hand(&made, &request, |_| true));
        assert!(!wanted.is_empty());
        for (key, wanted) in wanted {
            for (alias, wanted) in wanted {
                let found = found[&key][&alias];
                let allowed = if alias.starts_with('p') { RELATIVE_ERROR * 1.001 } else { 1e-9 };
                assert!((found - wanted).abs() <= allowed * wanted.abs().max(1.0), "{state}: {alias}: {found} for {wanted}");
            }
        }
    }
}

pub(super) async fn the_database_finds_the_same_bins(fixture: &Fixture) {
    async fn bins<E: Engine>(pool: &Pool<E>) {
        let mut connection = pool.acquire().await.unwrap();
        for value in [0.0, -0.0, 1e-9, -1e-9, 1e-6, 0.02, -0.57, 1.0, 1.0202, 179_999.0, -3.5e6, 1e12, 1e15, 7e18] {
            let sql = format!("select {} from (select cast($1 as double precision) as x) s", *BIN_SQL);
            let rows = E::query(&mut connection, &sql, &[Value::Real(value)], None).await.unwrap();
            assert_eq!(Columns::<E>::of(&rows[0]).int().unwrap(), bin_of(value), "{value}");
        }
    }
    match &fixture.database {
        Database::Sqlite(sqlite) => bins(sqlite.readers()).await,
        Database::Postgres(pool) => bins(pool).await,
    }
}

pub(super) async fn how_many_at_once_agrees_with_counting_by_hand(fixture: &Fixture) {
    let made = made_up(300, "2026-03-28T22:00:00Z", "2026-03-29T04:00:00Z", 5);
    fixture.write(&made).await;
    let asked =
        vec![measure("", "concurrency_peak", "peak"), measure("", "concurrency_avg", "avg"), measure("", "count", "count")];
    let response = fixture
        .ask(&question(asked, &["agent_id"], "hour", "Europe/Berlin", "2026-03-28T21:00:00Z", "2026-03-29T06:00:00Z"))
        .await;
    let now = time(NOW).as_millis();
    let mut seen = BTreeSet::new();
    for row in &response.rows {
        let from: jiff::Timestamp = row.bucket.parse().unwrap();
        let from = from.as_millisecond();
        let agent = &row.dimensions["agent_id"];
        let intervals: Vec<(i64, i64)> = (made.iter())
            .filter(|made| text(made.agent) == *agent)
            .map(|made| match (made.ended_at(), made.status) {
                (Some(end), _) => (made.created_at, end),
                (None, "in_progress") => (made.created_at, now),
                (None, _) => (made.created_at, made.created_at + made.duration.unwrap_or(0)),
            })
            .collect();
        let at_once = |at: i64| intervals.iter().filter(|(start, end)| *start <= at && at < *end).count();
        let instants = intervals.iter().map(|(start, _)| *start).filter(|at| (from..from + 3_600_000).contains(at));
        let peak = instants.chain([from]).map(at_once).max().unwrap();
        assert_eq!(number(row, "peak"), Some(peak as f64), "{} {agent}", row.bucket);
        let overlap = |(start, end): &(i64, i64)| ((*end).min(from + 3_600_000) - (*start).max(from)).max(0);
        let average = intervals.iter().map(overlap).sum::<i64>() as f64 / 3_600_000.0;
        assert!((number(row, "avg").unwrap() - average).abs() < 1e-9, "{} {agent}", row.bucket);
        seen.insert((row.bucket.clone(), agent.clone()));
    }
    assert_eq!(seen.len(), 9 * 4);
}

pub(super) async fn amounts_of_several_currencies_have_no_sum(fixture: &Fixture) {
    let cost = |number, cost| Made { cost, ..Made::at(number, "2026-03-27T10:00:00Z") };
    fixture.write(&[cost(1, Some((1_500_000, "EUR"))), cost(2, Some((2_000_000, "USD"))), cost(3, None)]).await;
    for summed_up in [false, true] {
        if summed_up {
            fixture.sum_up().await;
        }
        let asked = || {
            let ops = [("sum", "cost"), ("count", "known"), ("p50", "p50"), ("histogram", "bins")];
            ops.map(|(op, alias)| measure("cost", op, alias)).to_vec()
        };
        let all = fixture.ask(&question(asked(), &[], "", "UTC", FROM, TO)).await;
        assert_eq!((number(&all.rows[0], "cost"), number(&all.rows[0], "p50")), (None, None));
        assert_eq!(number(&all.rows[0], "known"), Some(2.0));
        assert_eq!(all.rows[0].values.get("bins"), None);
        let each = fixture.ask(&question(asked(), &["cost_currency"], "", "UTC", FROM, TO)).await;
        let sums: Vec<(&str, Option<f64>)> =
            each.rows.iter().map(|row| (row.dimensions["cost_currency"].as_str(), number(row, "cost"))).collect();
        assert_eq!(sums, [("", Some(0.0)), ("EUR", Some(1.5)), ("USD", Some(2.0))]);
        assert_eq!(each.rows[1].values["bins"].histogram, [("1".to_owned(), 1)].into());
    }
}

pub(super) async fn numbers_too_large_for_a_sum_are_not_counted(fixture: &Fixture) {
    // Rows of an earlier release may hold them.
    let paid = |number, paid| Made { paid: Some(paid), ..Made::at(number, "2026-03-27T10:00:00Z") };
    fixture.write(&[paid(1, 1.7e308), paid(2, 1.7e308), paid(3, -1e200), paid(4, 7.0)]).await;
    let ops = ["count", "sum", "avg", "min", "max", "p50", "histogram"];
    let asked = ops.map(|op| measure("custom.paid", op, op)).to_vec();
    let rows = fixture.ask(&question(asked, &[], "", "UTC", FROM, TO)).await.rows;
    assert_eq!(ops.map(|op| number(&rows[0], op)), [1.0, 7.0, 7.0, 7.0, 7.0, 7.0, 1.0].map(Some));
}

pub(super) async fn hours_are_those_of_the_clock_wherever_it_is_changed(fixture: &Fixture) {
    // In Goose Bay a minute past midnight.
    let calls = ["03:30", "04:00", "04:30", "05:30"];
    let made: Vec<Made> = (1..).zip(calls).map(|(number, at)| Made::at(number, &format!("2010-03-14T{at}:00Z"))).collect();
    fixture.write(&made).await;
    for state in ["from rows", "from sums"] {
        if state == "from sums" {
            fixture.sum_up().await;
        }
        for dimensions in [&["hour_of_day"][..], &["hour_of_day", "day_of_week"]] {
            let request =
                question(totalled(), dimensions, "", "America/Goose_Bay", "2010-03-14T00:00:00Z", "2010-03-15T00:00:00Z");
            let response = fixture.ask(&request).await;
            let hours: Vec<&str> = response.rows.iter().map(|row| row.dimensions["hour_of_day"].as_str()).collect();
            assert_eq!(hours, ["0", "1", "2", "23"], "{state}");
            agree(&request, &response, &by_hand(&made, &request, |_| true), state);
        }
    }
}

pub(super) async fn the_first_year_and_the_last_are_asked_for_together_as_long_as_they_are_few(fixture: &Fixture) {
    fixture.write(&[Made::at(1, "0001-01-02T10:00:00Z"), Made::at(2, "9999-12-29T10:00:00Z")]).await;
    let request = |step: &str, dimensions: &[&str]| {
        let asked = vec![measure("", "count", "n"), measure("duration_seconds", "p50", "p50")];
        let mut request = question(asked, dimensions, step, "Europe/Berlin", "0001-01-02T00:00:00Z", "9999-12-30T21:00:00Z");
        (request.order_by, request.limit) = (vec!["-n".to_owned()], 2);
        request
    };
    for dimensions in [&["hour_of_day"][..], &["hour_of_day", "day_of_week", "topic"]] {
        for step in ["", "year"] {
            assert_eq!(fixture.refused(&request(step, dimensions)).await.fields[0].field, "time");
        }
    }
    fixture.sum_up().await;
    for (step, dimensions) in [("", &["hour_of_day", "day_of_week"][..]), ("year", &["agent_id"]), ("year", &["hour_of_day"])] {
        let rows = fixture.ask(&request(step, dimensions)).await.rows;
        let found: Vec<_> = rows.iter().map(|row| number(row, "n")).collect();
        assert_eq!(found, [Some(1.0); 2], "{step}, {dimensions:?}");
    }
}

pub(super) async fn buckets_without_conversations_are_there(fixture: &Fixture) {
    fixture.write(&[Made::at(1, "2026-03-27T10:00:00Z"), Made::at(2, "2026-03-29T10:00:00Z")]).await;
    let asked = || {
        vec![
            measure("", "count", "count"),
            measure("duration_seconds", "avg", "avg"),
            measure("resolved", "rate", "resolved"),
            measure("", "concurrency_peak", "peak"),
            measure("duration_seconds", "histogram", "bins"),
        ]
    };
    for dimensions in [&[][..], &["agent_id"]] {
        let response = fixture
            .ask(&question(asked(), dimensions, "day", "Europe/Berlin", "2026-03-26T23:00:00Z", "2026-03-30T22:00:00Z"))
            .await;
        let rows: Vec<_> = (response.rows.iter())
            .map(|row| {
                (row.bucket.as_str(), number(row, "count"), number(row, "avg"), number(row, "resolved"), number(row, "peak"))
            })
            .collect();
        assert_eq!(
            rows,
            [
                ("2026-03-27T00:00:00+01:00", Some(1.0), Some(60.0), None, Some(1.0)),
                ("2026-03-28T00:00:00+01:00", Some(0.0), None, None, Some(0.0)),
                ("2026-03-29T00:00:00+01:00", Some(1.0), Some(60.0), None, Some(1.0)),
                ("2026-03-30T00:00:00+02:00", Some(0.0), None, None, Some(0.0)),
            ]
        );
        assert_eq!(response.rows[0].values["bins"].histogram, [("60".to_owned(), 1)].into());
    }
    let none = fixture.ask(&question(asked(), &[], "", "UTC", "2020-01-01T00:00:00Z", "2020-02-01T00:00:00Z")).await;
    assert_eq!((none.rows.len(), number(&none.rows[0], "count")), (1, Some(0.0)));
}

pub(super) async fn a_histogram_of_nothing_is_nothing(fixture: &Fixture) {
    let rated = Made { agent: Some("rated"), rating: Some(4.0), ..Made::at(1, "2026-03-27T10:00:00Z") };
    fixture.write(&[rated, Made::at(2, "2026-03-27T10:00:00Z")]).await;
    let (from, to) = ("2026-03-27T00:00:00Z", "2026-03-29T00:00:00Z");
    let request = question(vec![measure("caller_rating", "histogram", "h")], &["agent_id"], "day", "UTC", from, to);
    for row in fixture.ask(&request).await.rows {
        let is_rated = row.dimensions["agent_id"] == "rated" && row.bucket.starts_with("2026-03-27");
        assert_eq!(row.values.get("h").map(|value| value.histogram.len()), is_rated.then_some(1), "{row:?}");
    }
}

pub(super) async fn nothing_is_known_of_how_many_there_will_be_at_once(fixture: &Fixture) {
    let measures = vec![measure("", "concurrency_peak", "peak"), measure("", "concurrency_avg", "average")];
    let rows = fixture.ask(&question(measures, &[], "day", "UTC", "2026-05-31T00:00:00Z", "2026-06-02T00:00:00Z")).await.rows;
    let found: Vec<_> = rows.iter().map(|row| (number(row, "peak"), number(row, "average"))).collect();
    assert_eq!(found, [(Some(0.0), Some(0.0)), (Some(0.0), None)]);
}

pub(super) async fn how_many_at_once_by_the_hour_in_which_they_began(fixture: &Fixture) {
    // Half past eleven at night, before the clocks change; a day long.
    let long = Made { duration: Some(24 * 3_600_000), ..Made::at(1, "2026-03-28T22:30:00Z") };
    fixture.write(&[long]).await;
    // The changes of the clocks of ten thousand years are more than a statement can take.
    for (from, to) in [("2026-03-29T12:00:00Z", "2026-03-29T13:00:00Z"), ("0001-01-02T00:00:00Z", "9999-01-01T00:00:00Z")] {
        let measures = vec![measure("", "concurrency_peak", "peak")];
        let rows = fixture.ask(&question(measures, &["hour_of_day"], "", "Europe/Berlin", from, to)).await.rows;
        let found: Vec<_> = rows.iter().map(|row| (row.dimensions["hour_of_day"].as_str(), number(row, "peak"))).collect();
        assert_eq!(found, [("23", Some(1.0))]);
    }
}

pub(super) async fn rows_come_in_the_order_that_was_asked_for(fixture: &Fixture) {
    let made = made_up(200, FROM, TO, 6);
    fixture.write(&made).await;
    let request = pb::QueryAnalyticsRequest {
        order_by: vec!["-count".to_owned(), "outcome".to_owned()],
        limit: 5,
        ..question(vec![measure("", "count", "count")], &["agent_id", "outcome"], "", "UTC", FROM, TO)
    };
    let response = fixture.ask(&request).await;
    assert!(response.truncated && response.rows.len() == 5);
    let counts: Vec<f64> = response.rows.iter().filter_map(|row| number(row, "count")).collect();
    assert!(counts.windows(2).all(|pair| pair[0] >= pair[1]), "{counts:?}");
    let wanted = by_hand(&made, &request, |_| true);
    let most = wanted.values().map(|values| values["count"]).fold(0.0, f64::max);
    assert_eq!(counts[0], most);
}

pub(super) async fn formulas_are_computed_in_every_row(fixture: &Fixture) {
    let call = |number, status| Made { status, ..Made::at(number, "2026-03-27T10:00:00Z") };
    fixture.write(&[call(1, "failed"), call(2, "completed"), call(3, "completed"), call(4, "completed")]).await;
    let bad = pb::Measure { filter: filter(r#"status = "failed""#), ..measure("", "count", "bad") };
    let request = pb::QueryAnalyticsRequest {
        formulas: vec![pb::Formula { alias: "part".to_owned(), expression: "bad / all * 100".to_owned() }],
        order_by: vec!["-part".to_owned()],
        ..question(vec![measure("", "count", "all"), bad], &[], "day", "UTC", "2026-03-26T00:00:00Z", "2026-03-29T00:00:00Z")
    };
    let rows = fixture.ask(&request).await.rows;
    let parts: Vec<Option<f64>> = rows.iter().map(|row| number(row, "part")).collect();
    assert_eq!(parts, [Some(25.0), None, None], "what cannot be computed comes last");
}

pub(super) async fn a_row_says_how_its_conversations_are_listed(fixture: &Fixture) {
    let booked = Made { agent: Some("a&b"), topics: vec!["billing"], ..Made::at(1, "2026-03-27T10:00:00Z") };
    fixture.write(&[booked]).await;
    let count = || vec![measure("", "count", "count")];
    let mut request = question(count(), &["agent_id", "outcome"], "day", "Europe/Berlin", FROM, TO);
    request.filter = filter("turn_count >= 2");
    request.filter.as_mut().unwrap().statuses = vec![3];
    let row = fixture.ask(&request).await.rows.into_iter().find(|row| number(row, "count") == Some(1.0)).unwrap();
    assert_eq!(
        row.conversations_query,
        "started_after=2026-03-26T23%3A00%3A00.000Z&started_before=2026-03-27T23%3A00%3A00.000Z&status=completed&agent_id=a%26b\
         &filter=%28turn_count%20%3E%3D%202%29%20AND%20NOT%20outcome%3A%2A"
    );
    let time = "started_after=2026-03-27T00%3A00%3A00.000Z&started_before=2026-03-28T00%3A00%3A00.000Z";
    for (dimension, expected) in [
        ("intent", format!("{time}&filter=NOT%20intent%3A%2A")),
        ("custom.plan", format!("{time}&filter=NOT%20custom.plan%3A%2A")),
        ("day_of_week", time.to_owned()),
        ("hour_of_day", time.replace("T00", "T10").replace("28T10", "27T11")),
    ] {
        let request = question(count(), &[dimension], "day", "UTC", "2026-03-27T00:00:00Z", "2026-03-28T00:00:00Z");
        let rows = fixture.ask(&request).await.rows;
        assert_eq!(rows[0].conversations_query, expected, "{dimension}");
    }
    let request = question(count(), &["hour_of_day"], "year", "UTC", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
    assert_eq!(fixture.ask(&request).await.rows[0].conversations_query, "", "too many stretches");
    let mut request = question(count(), &["agent_id"], "", "UTC", FROM, TO);
    request.filter = filter("agent_talk_ms >= 0 OR turn_count >= 2");
    assert_eq!(fixture.ask(&request).await.rows[0].conversations_query, "", "the list does not know how long agents talked");
}

/// The conversations a query string of the list narrows to, as the list's service reads it.
fn listed<'a>(made: &'a [Made], query: &str) -> Vec<&'a Made> {
    let text = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'%' => {
                    let mut digit = || char::from(rest.next().unwrap()).to_digit(16).unwrap();
                    u8::try_from(digit() * 16 + digit()).unwrap()
                }
                byte => byte,
            });
        }
        String::from_utf8(bytes).unwrap()
    };
    let mut wanted = colloquy_proto::conversation::v1::ConversationFilter::default();
    for (name, value) in query.split('&').map(|pair| pair.split_once('=').unwrap()) {
        let value = text(value);
        match name {
            "started_after" => wanted.created_from = super::pb_time(&value),
            "started_before" => wanted.created_before = super::pb_time(&value),
            "agent_id" => wanted.agent_id = Some(value),
            "status" => wanted.expression = format!("status = {value}"),
            "outcome" => wanted.outcome = Some(value),
            "topic" => wanted.topic = Some(value),
            "filter" => wanted.expression = format!("{} ({value})", wanted.expression),
            other => panic!("{other}"),
        }
    }
    let expression = conversations::read(&wanted, View::Conversations).unwrap();
    made.iter().filter(|made| evaluate(&expression, &|field| value_of(made, field))).collect()
}

fn value_of<'a>(made: &'a Made, field: &Field) -> FieldValue<'a> {
    let text = |text: Option<&'a str>| text.map_or(FieldValue::Absent, FieldValue::Text);
    match field {
        Field::Known("created_at") => FieldValue::Time(Timestamp::from_millis(made.created_at).unwrap()),
        Field::Known("agent_id") => text(made.agent),
        Field::Known("outcome") => text(made.outcome),
        Field::Known("status") => FieldValue::Text(made.status),
        Field::Known("turn_count") => FieldValue::Integer(made.turns),
        Field::Known("cost_currency") => text(made.cost.map(|(_, currency)| currency)),
        Field::Known("topic") if made.topics.is_empty() => FieldValue::Absent,
        Field::Known("topic") => FieldValue::Words(match made.topics.as_slice() {
            ["billing"] => &TOPICS[..1],
            ["delivery"] => &TOPICS[1..],
            _ => &TOPICS[..],
        }),
        Field::Custom(name) if name == "plan" => text(made.plan),
        Field::Custom(name) if name == "paid" => made.paid.map_or(FieldValue::Absent, FieldValue::Number),
        _ => FieldValue::Absent,
    }
}

static TOPICS: LazyLock<[String; 2]> = LazyLock::new(|| ["billing".to_owned(), "delivery".to_owned()]);

pub(super) async fn a_row_lists_as_many_conversations_as_it_counts(fixture: &Fixture) {
    let made = made_up(300, FROM, TO, 8);
    fixture.write(&made).await;
    let mut followed = 0;
    for dimensions in [
        &["custom.plan", "outcome", "topic"][..],
        &["custom.paid", "agent_id"],
        &["hour_of_day", "status"],
        &["day_of_week", "hour_of_day", "custom.paid"],
        &["day_of_week", "cost_currency", "intent"],
    ] {
        for step in ["", "day"] {
            let mut request = question(vec![measure("", "count", "count")], dimensions, step, "Europe/Berlin", FROM, TO);
            request.filter = filter("turn_count > 3 OR custom.plan = pro");
            for row in fixture.ask(&request).await.rows {
                // An hour that the clock leaves out has no stretch of time.
                if row.conversations_query.is_empty() {
                    assert_eq!(number(&row, "count"), Some(0.0), "{row:?}");
                    continue;
                }
                let listed = listed(&made, &row.conversations_query).len();
                assert_eq!(number(&row, "count"), Some(listed as f64), "{dimensions:?} {row:?}");
                followed += usize::from(listed > 0);
            }
        }
    }
    assert!(followed > 100, "{followed}");
}

pub(super) async fn another_organization_sees_nothing(fixture: &Fixture) {
    fixture.write(&made_up(20, FROM, TO, 7)).await;
    fixture.sum_up().await;
    let other = "other".parse().unwrap();
    for dimensions in [&[][..], &["agent_id"], &["topic"]] {
        let request = question(measures(), dimensions, "day", "UTC", FROM, TO);
        let rows = fixture.queries.query(&other, &request).await.unwrap().rows;
        assert!(rows.iter().all(|row| number(row, "count") == Some(0.0)));
    }
}
