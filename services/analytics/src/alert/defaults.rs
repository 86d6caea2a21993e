//! The rules every organization begins with. People may change, disable and remove them; what is removed stays removed.
//!
//! Of `escalation` and `system_errors` each condition is a sign of its own: one of them is enough ([`Builtin::needs`]).

use colloquy_events::Severity;
use colloquy_proto::conversation::v1::ConversationFilter;
use colloquy_types::{OrganizationId, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::fields::{DURATION, Figure};
use super::rule::{Builtin, Condition, Filter, Op, Rule, Side, Subject, Test};

/// The namespace of the ids of these rules.
const NAMESPACE: Uuid = Uuid::from_u128(0x6b0e_4b0a_9c55_5d0f_8f4e_2a57_c1d3_e9b6);

/// A conversation is long from here on, in seconds.
const LONG_SECONDS: i64 = 15 * 60;
/// A person is not satisfied below this, from 1 to 5.
const LOW_SATISFACTION: f64 = 2.5;
/// A mood has fallen that ends this much below where it began; quarters go from -5 to 5.
const FALLING_MOOD: f64 = -4.0;

/// What people say who want somebody else.
const ASKS_FOR_A_HUMAN: [&str; 22] = [
    "speak to a human",
    "speak with a human",
    "talk to a human",
    "talk with a human",
    "speak to a person",
    "talk to a person",
    "speak to a real person",
    "talk to a real person",
    "talk to someone real",
    "human please",
    "real person please",
    "speak to an agent",
    "talk to an agent",
    "speak to a representative",
    "talk to a representative",
    "speak to someone else",
    "speak to your manager",
    "speak to a manager",
    "talk to a manager",
    "speak to a supervisor",
    "talk to a supervisor",
    "transfer me to",
];

/// Returns the first rules of an organization, which watch what is received from `watches_from` on. Their ids are the same whoever
/// makes them.
pub fn rules(organization: &OrganizationId, now: Timestamp, watches_from: Timestamp) -> Vec<Rule> {
    let figure = |name: &str, op: Op, value: Value| {
        let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        let subject = Subject::Figure(Figure::named(name)?);
        Some(Condition { field: name.to_owned(), op, value, test: Test::Compare { subject, op, values } })
    };
    let asks = Condition {
        field: "user_text".to_owned(),
        op: Op::Contains,
        value: json!(ASKS_FOR_A_HUMAN),
        test: Test::Says { side: Side::User, phrases: ASKS_FOR_A_HUMAN.map(str::to_owned).to_vec() },
    };
    let rule = |builtin: Builtin, name: &str, severity, conditions: Vec<Option<Condition>>| Rule {
        organization_id: organization.clone(),
        rule_id: Uuid::new_v5(&NAMESPACE, format!("{organization}/{}", builtin.as_str()).as_bytes()),
        name: name.to_owned(),
        severity,
        conditions: conditions.into_iter().flatten().collect(),
        needs: builtin.needs(),
        filter: Filter { given: ConversationFilter::default(), expression: None },
        enabled: true,
        metric: None,
        renotify_after_ms: None,
        muted_until: None,
        builtin: Some(builtin),
        watches_from,
        created_at: now,
        updated_at: now,
        revision: 1,
    };
    vec![
        rule(Builtin::LongDuration, "Long conversation", Severity::Warning, vec![figure(DURATION, Op::Gt, json!(LONG_SECONDS))]),
        rule(
            Builtin::LowSatisfaction,
            "Low satisfaction",
            Severity::Warning,
            vec![figure("satisfaction_score", Op::Lt, json!(LOW_SATISFACTION))],
        ),
        rule(
            Builtin::Escalation,
            "Escalation",
            Severity::Warning,
            vec![
                figure("resolution_status", Op::Eq, json!(["escalated", "transferred"])),
                Some(asks),
                figure("sentiment_shift", Op::Lte, json!(FALLING_MOOD)),
            ],
        ),
        rule(
            Builtin::SystemErrors,
            "System errors",
            Severity::Critical,
            vec![figure("error_count", Op::Gte, json!(1)), figure("status", Op::Eq, json!("failed"))],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use colloquy_proto::analytics::v1 as pb;
    use colloquy_service::FieldErrors;

    use super::*;
    use crate::alert::convert::{self, Identity};
    use crate::alert::samples::{acme, at};

    #[test]
    fn the_first_rules_are_such_as_people_could_write() {
        let rules = rules(&acme(), at(0), at(0));
        assert_eq!(rules.iter().map(|rule| rule.conditions.len()).collect::<Vec<_>>(), [1, 1, 3, 2]);
        assert_eq!(rules.iter().map(|rule| rule.needs.as_str()).collect::<Vec<_>>(), ["all", "all", "any", "any"]);
        for rule in rules {
            let identity = Identity {
                organization_id: rule.organization_id.clone(),
                rule_id: rule.rule_id,
                builtin: rule.builtin,
                watches_from: rule.watches_from,
                created_at: rule.created_at,
                updated_at: rule.updated_at,
                revision: rule.revision,
            };
            let shown = convert::definition(&rule);
            // An earlier release kept them without.
            let older = pb::AlertRule { r#match: String::new(), ..shown.clone() };
            for definition in [shown, older] {
                let mut errors = FieldErrors::new();
                let read = convert::rule(definition, identity.clone(), "rule", &mut errors);
                errors.finish().unwrap();
                assert_eq!(read.as_ref(), Some(&rule));
            }
        }
    }

    #[test]
    fn organizations_do_not_share_rules() {
        let other = "other".parse().unwrap();
        assert_ne!(rules(&acme(), at(0), at(0))[0].rule_id, rules(&other, at(0), at(0))[0].rule_id);
    }
}
