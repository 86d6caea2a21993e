//! What a rule is.

use std::sync::Arc;

use colloquy_events::Severity;
use colloquy_filter::Expression;
use colloquy_proto::conversation::v1::ConversationFilter;
use colloquy_types::{OrganizationId, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use super::fields::Figure;

/// No organization has more rules.
pub const MOST_RULES: u32 = 1_000;
/// No rule has more conditions.
pub const MOST_CONDITIONS: usize = 20;
/// No name is longer, in characters.
pub const LONGEST_NAME: usize = 200;
/// No condition compares with more values.
pub const MOST_VALUES: usize = 100;
/// No value is longer, in characters.
pub const LONGEST_VALUE: usize = 500;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
/// No window and no time between reminders is shorter.
pub const SHORTEST_MS: i64 = MINUTE_MS;
/// No window and no time between reminders is longer.
pub const LONGEST_MS: i64 = 30 * DAY_MS;
/// No conversation takes so long; engines calculate with it.
const NEVER_MS: i64 = 1_000 * 366 * DAY_MS;

/// What a rule watches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Each conversation.
    Conversation,
    /// A figure over a window of time.
    Metric,
}

impl Scope {
    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Conversation => "conversation",
            Self::Metric => "metric",
        }
    }
}

/// One of the rules every organization begins with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Builtin {
    /// Conversations that take long.
    LongDuration,
    /// People who are not satisfied.
    LowSatisfaction,
    /// People who want, or got, somebody else.
    Escalation,
    /// Things that broke.
    SystemErrors,
}

impl Builtin {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::LongDuration, Self::LowSatisfaction, Self::Escalation, Self::SystemErrors];

    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LongDuration => "long_duration",
            Self::LowSatisfaction => "low_satisfaction",
            Self::Escalation => "escalation",
            Self::SystemErrors => "system_errors",
        }
    }

    /// Returns the one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|builtin| builtin.as_str() == name)
    }

    /// Returns how its conditions go together to begin with.
    pub const fn needs(self) -> Needs {
        match self {
            Self::LongDuration | Self::LowSatisfaction => Needs::All,
            Self::Escalation | Self::SystemErrors => Needs::Any,
        }
    }
}

/// How many of a rule's conditions must hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needs {
    /// All of them.
    All,
    /// One of them: each is a sign of its own.
    Any,
}

impl Needs {
    /// Both.
    pub const ALL: [Self; 2] = [Self::All, Self::Any];

    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Any => "any",
        }
    }
}

/// A rule.
#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Its id.
    pub rule_id: Uuid,
    /// What people call it.
    pub name: String,
    /// How much its alerts matter.
    pub severity: Severity,
    /// What must hold.
    pub conditions: Vec<Condition>,
    /// How many of them.
    pub needs: Needs,
    /// Which conversations it watches.
    pub filter: Filter,
    /// Whether it watches at all.
    pub enabled: bool,
    /// What a rule over a window compares; `None` for rules on one conversation.
    pub metric: Option<Metric>,
    /// How often to tell again, in milliseconds.
    pub renotify_after_ms: Option<i64>,
    /// It raises nothing until then.
    pub muted_until: Option<Timestamp>,
    /// Which of those every organization begins with.
    pub builtin: Option<Builtin>,
    /// It watches what is received from then on: since it was made, switched on, or told to watch something else. What lies in the
    /// log already is for back-tests.
    pub watches_from: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts its changes.
    pub revision: i64,
}

impl Rule {
    /// Returns what it watches.
    pub const fn scope(&self) -> Scope {
        if self.metric.is_some() { Scope::Metric } else { Scope::Conversation }
    }

    /// Returns whether it raises nothing at `now`.
    pub fn is_muted(&self, now: Timestamp) -> bool {
        self.muted_until.is_some_and(|until| now < until)
    }

    /// Returns whether it watches the same in the same way as `other`, whatever it is called and whomever it tells.
    pub fn watches_as(&self, other: &Self) -> bool {
        self.metric == other.metric
            && (&self.conditions, self.needs) == (&other.conditions, other.needs)
            && self.filter == other.filter
    }

    /// Returns after how long a conversation that runs may come under the rule without anything being heard of it, in milliseconds.
    pub fn live_after_ms(&self) -> Option<i64> {
        if self.metric.is_some() {
            return None;
        }
        let bounds = self.conditions.iter().filter_map(|condition| match &condition.test {
            Test::Compare { subject: Subject::Figure(figure), op: Op::Gt | Op::Gte, values } if figure.is_duration() => {
                values.iter().filter_map(Value::as_f64).map(|seconds| ((seconds * 1000.0) as i64).clamp(0, NEVER_MS)).min()
            }
            _ => None,
        });
        match self.needs {
            // Before the last of them holds, not all do.
            Needs::All => bounds.max(),
            Needs::Any => bounds.min(),
        }
    }
}

/// Which conversations a rule watches.
#[derive(Clone, PartialEq, Debug)]
pub struct Filter {
    /// As it was given.
    pub given: ConversationFilter,
    /// What it says; `None` leaves everything.
    pub expression: Option<Arc<Expression>>,
}

/// What must hold.
#[derive(Clone, PartialEq, Debug)]
pub struct Condition {
    /// As it was given.
    pub field: String,
    /// As it was given.
    pub op: Op,
    /// As it was given.
    pub value: Value,
    /// What it says.
    pub test: Test,
}

impl Condition {
    /// Returns whether it asks for this very text.
    pub fn names(&self, text: &str) -> bool {
        match &self.test {
            Test::Compare { values, .. } => values.iter().any(|value| value == text),
            Test::Says { phrases, .. } => phrases.iter().any(|phrase| phrase == text),
        }
    }
}

/// What a condition says.
#[derive(Clone, PartialEq, Debug)]
pub enum Test {
    /// A field compares with one of these values; differs from all of them.
    Compare {
        /// The field.
        subject: Subject,
        /// How.
        op: Op,
        /// Texts, numbers and truths; at least one.
        values: Vec<Value>,
    },
    /// One of these phrases is said.
    Says {
        /// By whom.
        side: Side,
        /// At least one.
        phrases: Vec<String>,
    },
}

/// What is compared.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A figure, or a name of the list filters.
    Figure(&'static Figure),
    /// A value extracted by name.
    Custom(String),
}

impl PartialEq for Subject {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Figure(one), Self::Figure(other)) => one.name == other.name,
            (Self::Custom(one), Self::Custom(other)) => one == other,
            _ => false,
        }
    }
}

/// How values compare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Equal; of several words, one is.
    Eq,
    /// Different; of several words, none is equal, and there are some.
    Ne,
    /// Greater.
    Gt,
    /// At least.
    Gte,
    /// Less.
    Lt,
    /// At most.
    Lte,
    /// The words stand in it, case and accents ignored.
    Contains,
}

impl Op {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Eq, Self::Ne, Self::Gt, Self::Gte, Self::Lt, Self::Lte, Self::Contains];

    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Ne => "ne",
            Self::Gt => "gt",
            Self::Gte => "gte",
            Self::Lt => "lt",
            Self::Lte => "lte",
            Self::Contains => "contains",
        }
    }

    /// Returns the one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.as_str() == name)
    }

    /// Returns whether a number compares so with another.
    pub fn holds(self, seen: f64, value: f64) -> bool {
        match self {
            Self::Eq => seen == value,
            Self::Ne => seen != value,
            Self::Gt => seen > value,
            Self::Gte => seen >= value,
            Self::Lt => seen < value,
            Self::Lte => seen <= value,
            Self::Contains => false,
        }
    }
}

/// Who says something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Anybody.
    Anybody,
    /// The person.
    User,
    /// The agent, or somebody on the agent's side.
    Agent,
}

impl Side {
    /// Returns the one whose words a field is.
    pub fn named(field: &str) -> Option<Self> {
        match field {
            "text" => Some(Self::Anybody),
            "user_text" => Some(Self::User),
            "agent_text" => Some(Self::Agent),
            _ => None,
        }
    }
}

/// What a rule over a window compares.
#[derive(Clone, PartialEq, Debug)]
pub struct Metric {
    /// A measure of the analytics schema.
    pub field: String,
    /// An operation of it.
    pub op: String,
    /// How long the window is, in milliseconds.
    pub window_ms: i64,
    /// With what the value is compared.
    pub comparison: Comparison,
    /// How the value stands to the threshold when it is too bad.
    pub direction: Op,
    /// The threshold.
    pub threshold: f64,
    /// A threshold that only warns.
    pub warning_threshold: Option<f64>,
    /// How far on the good side a value must be to be good again, as a part of the threshold.
    pub recovery_margin: Option<f64>,
    /// Fewer conversations say nothing.
    pub min_count: u32,
    /// What no data means.
    pub no_data: NoData,
}

/// A window is looked at this often while it passes.
const LOOKS_A_WINDOW: i64 = 10;
const SHORTEST_STEP_MS: i64 = 10_000;
const LONGEST_STEP_MS: i64 = 5 * MINUTE_MS;

impl Metric {
    /// Returns how often it is looked at, in milliseconds.
    pub fn step_ms(&self) -> i64 {
        (self.window_ms / LOOKS_A_WINDOW).clamp(SHORTEST_STEP_MS, LONGEST_STEP_MS)
    }

    /// Returns whether what is compared may be below 0.
    pub fn may_be_negative(&self) -> bool {
        match self.comparison {
            Comparison::Relative => true,
            Comparison::Share => false,
            Comparison::Absolute => matches!(self.field.as_str(), "sentiment_score" | "sentiment_shift") && self.op != "count",
        }
    }

    /// Returns the last instant, not after `now`, at which it is looked at: the same on every replica.
    pub fn tick_before(&self, now: Timestamp) -> Timestamp {
        let step = self.step_ms();
        Timestamp::from_millis(now.as_millis().div_euclid(step) * step).unwrap_or(now)
    }
}

/// With what a value is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    /// With the threshold, as it is.
    Absolute,
    /// Its change since the window before, as a part of the value there.
    Relative,
    /// Which part of the conversations that the rule watches meets the conditions.
    Share,
}

impl Comparison {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Absolute, Self::Relative, Self::Share];

    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Absolute => "absolute",
            Self::Relative => "relative",
            Self::Share => "share",
        }
    }
}

/// What no data means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoData {
    /// Nothing: what was open stays open.
    Ignore,
    /// All is well.
    Ok,
    /// Something is wrong.
    Alert,
}

impl NoData {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ignore, Self::Ok, Self::Alert];

    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ignore => "ignore",
            Self::Ok => "ok",
            Self::Alert => "alert",
        }
    }
}
