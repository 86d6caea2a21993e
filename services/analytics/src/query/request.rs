//! Reads questions as they are asked, collecting everything that is wrong with one.

use colloquy_events::convert::timestamp_from_pb;
use colloquy_filter::{Expression, View, conversations};
use colloquy_proto::analytics::v1 as pb;
use colloquy_proto::conversation::v1 as conversation_pb;
use colloquy_service::{FieldErrors, Problem};
use colloquy_types::Timestamp;

use super::formula::{Formula, is_of_alias};
use super::measure::{Measure, Op};
use super::question::{Layout, Order, Question};
use super::schema::Dimension;
use super::table::MOST_DIMENSIONS;
use super::time::{Buckets, Step, zone};

/// A question computes at most so many measures, and so many formulas.
const MOST_MEASURES: usize = 20;
/// An answer has this many rows unless the question says otherwise, and at most so many.
const USUAL_ROWS: usize = 1_000;
pub(crate) const MOST_ROWS: usize = 10_000;
/// A name in an answer is at most this long.
const LONGEST_ALIAS: usize = 100;
/// A question without a beginning goes back so far from its end, in milliseconds.
const USUAL_TIME: i64 = 30 * 24 * 3_600_000;

/// Reads a question.
///
/// # Errors
/// Every bad field.
pub(crate) fn read(request: &pb::QueryAnalyticsRequest, now: Timestamp) -> Result<(Question, Layout), Problem> {
    let mut errors = FieldErrors::new();
    let dimensions = read_dimensions(&request.dimensions, &mut errors);
    let base = read_filter("filter", request.filter.as_ref(), &mut errors);
    let (aliases, measures) = read_measures(&request.measures, &base, &request.dimensions, &mut errors);
    let formulas = read_formulas(&request.formulas, &aliases, &measures, &request.dimensions, &mut errors);
    let time = request.time.clone().unwrap_or_default();
    let span = read_span(("time.from", time.from.as_ref()), ("time.to", time.to.as_ref()), now, &mut errors);
    let zone = errors.check("time.timezone", zone(&time.timezone));
    let buckets = span.and_then(|(from, to)| {
        let step = errors.check("time.step", Step::parse(&time.step, to.millis_since(from)))?;
        errors.check("time.step", Buckets::new(zone?, step, from, to))
    });
    check_parts_of_rates(&aliases, &measures, &formulas, &request.dimensions, &mut errors);
    let formula_names: Vec<&str> = formulas.iter().map(|(alias, _)| alias.as_str()).collect();
    let order = read_order(&request.order_by, &aliases, &formula_names, &dimensions, &mut errors);
    let limit = match usize::try_from(request.limit) {
        Ok(0) => USUAL_ROWS,
        Ok(limit) => limit.min(MOST_ROWS),
        Err(_) => {
            errors.add("limit", "must not be negative");
            USUAL_ROWS
        }
    };
    errors.finish()?;
    let Some(buckets) = buckets else {
        return Err(Problem::invalid_field("time", "must be a stretch of time"));
    };
    let measures = measures.into_iter().flatten().collect();
    let is_chosen = !order.is_empty() && request.limit > 0;
    Ok((Question { measures, dimensions, buckets }, Layout { aliases, formulas, order, limit, is_chosen }))
}

fn read_dimensions(names: &[String], errors: &mut FieldErrors) -> Vec<Dimension> {
    if names.len() > MOST_DIMENSIONS {
        errors.add("dimensions", format!("must be at most {MOST_DIMENSIONS}"));
        return Vec::new();
    }
    let mut dimensions = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let field = format!("dimensions[{number}]");
        if names[..number].contains(name) {
            errors.add(field, "is there already");
        } else {
            dimensions.extend(errors.check(&field, Dimension::parse(name)));
        }
    }
    dimensions
}

/// Reads a filter; what is wrong is named as a part of `field`.
pub(crate) fn read_filter(
    field: &str,
    filter: Option<&conversation_pb::ConversationFilter>,
    errors: &mut FieldErrors,
) -> Expression {
    let Some(filter) = filter else { return Expression::All(Vec::new()) };
    match conversations::read(filter, View::Analytics).map_err(FieldErrors::finish) {
        Ok(expression) => expression,
        Err(problem) => {
            for bad in problem.err().map(|problem| problem.fields).unwrap_or_default() {
                errors.add(format!("{field}.{}", bad.field), bad.message);
            }
            Expression::All(Vec::new())
        }
    }
}

pub(crate) type Measures = Vec<Option<(Measure, Expression)>>;

pub(crate) fn read_measures(
    asked: &[pb::Measure],
    base: &Expression,
    dimensions: &[String],
    errors: &mut FieldErrors,
) -> (Vec<String>, Measures) {
    let (mut aliases, mut measures) = (Vec::new(), Vec::new());
    if asked.is_empty() || asked.len() > MOST_MEASURES {
        errors.add("measures", format!("must be 1 to {MOST_MEASURES}"));
        return (aliases, measures);
    }
    for (number, asked) in asked.iter().enumerate() {
        let field = format!("measures[{number}]");
        let alias = match asked.alias.as_str() {
            "" => Measure::default_alias(&asked.field, &asked.op).replace(|letter| !is_of_alias(letter), "_"),
            alias => alias.to_owned(),
        };
        check_alias(&format!("{field}.alias"), &alias, &aliases, dimensions, errors);
        aliases.push(alias);
        let filter = and(base, read_filter(&format!("{field}.filter"), asked.filter.as_ref(), errors));
        let measure = Measure::parse(&asked.field, &asked.op);
        let measure = measure.map_err(|bad| errors.add(format!("{field}.{}", bad.part), bad.message));
        measures.push(measure.ok().map(|measure| (measure, filter)));
    }
    (aliases, measures)
}

/// Joins two conditions; flat, and the same for the same ones.
pub(crate) fn and(one: &Expression, other: Expression) -> Expression {
    let parts = |expression: Expression| match expression {
        Expression::All(parts) => parts,
        other => vec![other],
    };
    let mut all = parts(one.clone());
    all.extend(parts(other));
    Expression::All(all)
}

fn check_alias(field: &str, alias: &str, others: &[String], dimensions: &[String], errors: &mut FieldErrors) {
    let is_word = alias.chars().all(is_of_alias) && !alias.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    if !is_word || alias.is_empty() || alias.len() > LONGEST_ALIAS {
        let allowed = format!("must be letters, digits, '_' and '.', with a letter or '_' first; at most {LONGEST_ALIAS}");
        errors.add(field, allowed);
    } else if ["bucket", "conversations_url"].contains(&alias) || dimensions.iter().any(|dimension| dimension == alias) {
        let taken = "is what the bucket, the link or a dimension is called in the answer; choose another name";
        errors.add(field, taken);
    } else if others.iter().any(|other| other == alias) {
        errors.add(field, format!("'{alias}' is there already; every value needs a name of its own"));
    }
}

/// A rate brings two more values into each row; what they are called must be nobody else's name.
fn check_parts_of_rates(
    aliases: &[String],
    measures: &Measures,
    formulas: &[(String, Formula)],
    dimensions: &[String],
    errors: &mut FieldErrors,
) {
    for (number, (alias, measure)) in aliases.iter().zip(measures).enumerate() {
        if !measure.as_ref().is_some_and(|(measure, _)| measure.op == Op::Rate) {
            continue;
        }
        for part in ["numerator", "denominator"].map(|part| format!("{alias}_{part}")) {
            let mut others = aliases.iter().chain(formulas.iter().map(|(alias, _)| alias)).chain(dimensions);
            if others.any(|other| *other == part) {
                errors.add(
                    format!("measures[{number}].alias"),
                    format!("with '{part}' in the answer, which is the name of something else there, too; choose another name"),
                );
            }
        }
    }
}

fn read_formulas(
    asked: &[pb::Formula],
    aliases: &[String],
    measures: &Measures,
    dimensions: &[String],
    errors: &mut FieldErrors,
) -> Vec<(String, Formula)> {
    let mut formulas: Vec<(String, Formula)> = Vec::new();
    if asked.len() > MOST_MEASURES {
        errors.add("formulas", format!("must be at most {MOST_MEASURES}"));
        return formulas;
    }
    let mut taken = aliases.to_vec();
    let is_histogram = |number: &usize| matches!(&measures[*number], Some((measure, _)) if measure.op == Op::Histogram);
    for (number, asked) in asked.iter().enumerate() {
        let field = format!("formulas[{number}]");
        check_alias(&format!("{field}.alias"), &asked.alias, &taken, dimensions, errors);
        taken.push(asked.alias.clone());
        let formula = errors.check(&format!("{field}.expression"), Formula::parse(&asked.expression, aliases));
        let Some(formula) = formula else { continue };
        if (0..aliases.len()).filter(is_histogram).any(|number| formula.uses(number)) {
            errors.add(format!("{field}.expression"), "a histogram is no number");
        }
        formulas.push((asked.alias.clone(), formula));
    }
    formulas
}

/// Reads a half-open stretch of time. Without an end it ends now, without a beginning it is 30 days long.
pub(crate) fn read_span(
    (from_field, from): (&str, Option<&prost_types::Timestamp>),
    (to_field, to): (&str, Option<&prost_types::Timestamp>),
    now: Timestamp,
    errors: &mut FieldErrors,
) -> Option<(Timestamp, Timestamp)> {
    let mut read = |field: &str, time: Option<&prost_types::Timestamp>| match time {
        None => Some(None),
        Some(time) => {
            let time = timestamp_from_pb(field, *time).map_err(|_| "must lie between the years 1 and 9999");
            errors.check(field, time).map(Some)
        }
    };
    let (from, to) = (read(from_field, from), read(to_field, to));
    let to = to?.unwrap_or(now);
    let from = from?.unwrap_or_else(|| to.saturating_add_millis(-USUAL_TIME));
    if from >= to {
        errors.add(from_field, format!("must lie before {to_field}"));
        return None;
    }
    Some((from, to))
}

fn read_order(
    asked: &[String],
    aliases: &[String],
    formulas: &[&str],
    dimensions: &[Dimension],
    errors: &mut FieldErrors,
) -> Vec<(Order, bool)> {
    const MOST: usize = 10;
    if asked.len() > MOST {
        errors.add("order_by", format!("must be at most {MOST}"));
        return Vec::new();
    }
    let mut order = Vec::new();
    for (number, text) in asked.iter().enumerate() {
        let (name, descends) = text.strip_prefix('-').map_or((text.as_str(), false), |name| (name, true));
        let measure = aliases.iter().position(|alias| alias == name).map(Order::Measure);
        let formula = || formulas.iter().position(|alias| *alias == name).map(Order::Formula);
        let dimension = || dimensions.iter().position(|dimension| dimension.name == name).map(Order::Dimension);
        let bucket = || (name == "bucket").then_some(Order::Bucket);
        match measure.or_else(formula).or_else(dimension).or_else(bucket) {
            Some(by) => order.push((by, descends)),
            None => {
                let names = dimensions.iter().map(|dimension| dimension.name.as_str());
                let known: Vec<&str> = ["bucket"]
                    .into_iter()
                    .chain(names)
                    .chain(aliases.iter().map(String::as_str))
                    .chain(formulas.iter().copied())
                    .collect();
                errors.add(
                    format!("order_by[{number}]"),
                    format!("must be one of {}, with '-' before it for descending", known.join(", ")),
                );
            }
        }
    }
    order
}
