//! Which conversations a list holds, in what order, and where a page ends.

mod indexed;

use std::str::FromStr;

use colloquy_filter::{Expression, to_text};
use colloquy_types::{OrganizationId, Timestamp};
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

/// Which conversations; every part narrows. Serialised, it is what a page token is bound to.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Filter {
    /// What single-valued columns must be.
    pub(crate) equal: Vec<(Column, String)>,
    /// One more column that must be any of these.
    pub(crate) one_of: Option<(Column, Vec<String>)>,
    /// Any of these; empty means all.
    pub(crate) statuses: Vec<&'static str>,
    /// By topic.
    pub(crate) topic: Option<String>,
    /// By any of these tags; empty means all.
    pub(crate) tags: Vec<String>,
    /// `created_at` at or after this.
    pub(crate) created_from: Option<Timestamp>,
    /// `created_at` before this.
    pub(crate) created_before: Option<Timestamp>,
    /// At least this long.
    pub(crate) duration_min_ms: Option<i64>,
    /// At most this long.
    pub(crate) duration_max_ms: Option<i64>,
    /// An index that leads to them; `rest` asks for the same.
    #[serde(skip)]
    pub(crate) lead: Option<Lead>,
    /// What else must hold: what no index serves in the list's order.
    #[serde(serialize_with = "as_text", skip_serializing_if = "Option::is_none")]
    pub(crate) rest: Option<Expression>,
}

fn as_text<S: Serializer>(rest: &Option<Expression>, serializer: S) -> Result<S::Ok, S::Error> {
    rest.as_ref().map(to_text).serialize(serializer)
}

/// What few conversations have in common, and an index finds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Lead {
    /// The provider's own id.
    ExternalId(String),
    /// A text extracted under a name.
    Text {
        /// The name.
        name: String,
        /// The text.
        is: String,
    },
    /// A number extracted under a name; of a truth 0 or 1.
    Number {
        /// The name.
        name: String,
        /// The number.
        is: f64,
    },
}

/// A column a list is filtered by for equality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Column {
    /// By agent.
    AgentId,
    /// By the agent's version.
    AgentVersionId,
    /// By customer.
    ClientId,
    /// By end user.
    UserId,
    /// By the person's number.
    Caller,
    /// By provider.
    Provider,
    /// By channel.
    Channel,
    /// By success.
    CallSuccessful,
    /// By what became of it.
    ResolutionStatus,
    /// By the outcome's result.
    Outcome,
    /// By mood.
    Sentiment,
    /// By language.
    Language,
    /// By why it ended.
    EndReason,
    /// By what failed.
    FailureCode,
    /// By what the person wanted.
    Intent,
}

impl Column {
    /// Every column.
    pub(crate) const ALL: [Self; 15] = [
        Self::AgentId,
        Self::AgentVersionId,
        Self::ClientId,
        Self::UserId,
        Self::Caller,
        Self::Provider,
        Self::Channel,
        Self::CallSuccessful,
        Self::ResolutionStatus,
        Self::Outcome,
        Self::Sentiment,
        Self::Language,
        Self::EndReason,
        Self::FailureCode,
        Self::Intent,
    ];

    /// Returns its name in SQL and in requests.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::AgentId => "agent_id",
            Self::AgentVersionId => "agent_version_id",
            Self::ClientId => "client_id",
            Self::UserId => "user_id",
            Self::Caller => "caller",
            Self::Provider => "provider",
            Self::Channel => "channel",
            Self::CallSuccessful => "call_successful",
            Self::ResolutionStatus => "resolution_status",
            Self::Outcome => "outcome",
            Self::Sentiment => "sentiment",
            Self::Language => "language",
            Self::EndReason => "end_reason",
            Self::FailureCode => "failure_code",
            Self::Intent => "intent",
        }
    }
}

/// What a list is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum SortField {
    /// When the conversation started.
    CreatedAt,
    /// How long it lasted.
    Duration,
    /// How many turns it had.
    TurnCount,
    /// How content the person was.
    Satisfaction,
}

impl SortField {
    /// Every field.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 4] = [Self::CreatedAt, Self::Duration, Self::TurnCount, Self::Satisfaction];

    /// Returns its column.
    pub(crate) const fn column(self) -> &'static str {
        match self {
            Self::CreatedAt => "created_at",
            Self::Duration => "duration_ms",
            Self::TurnCount => "turn_count",
            Self::Satisfaction => "satisfaction_score",
        }
    }

    /// Returns whether a conversation may have no value of it. Those come last, in either direction.
    pub(crate) const fn may_be_absent(self) -> bool {
        matches!(self, Self::Duration | Self::Satisfaction)
    }
}

/// The order of a list; ties are ordered by id, ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Sort {
    /// By what.
    pub(crate) field: SortField,
    /// The greatest first.
    pub(crate) descending: bool,
}

impl Default for Sort {
    fn default() -> Self {
        Self { field: SortField::CreatedAt, descending: true }
    }
}

/// The text is no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one of created_at, duration_seconds, turn_count, satisfaction_score, or one of them with '-' before it")]
pub(crate) struct UnknownSort;

impl FromStr for Sort {
    type Err = UnknownSort;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let (name, descending) = match text.strip_prefix('-') {
            Some(name) => (name, true),
            None => (text, false),
        };
        let field = match name {
            "created_at" => SortField::CreatedAt,
            "duration_seconds" => SortField::Duration,
            "turn_count" => SortField::TurnCount,
            "satisfaction_score" => SortField::Satisfaction,
            _ => return Err(UnknownSort),
        };
        Ok(Self { field, descending })
    }
}

/// The value a conversation is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Key {
    /// A whole number.
    Int(i64),
    /// A number.
    Real(f64),
    /// It has none.
    Absent,
}

impl Key {
    /// Returns how this value and `other` are ordered in a list.
    pub(crate) fn cmp_in(self, sort: Sort, other: Self) -> std::cmp::Ordering {
        let (a, b) = match (self, other) {
            (Self::Absent, Self::Absent) => return std::cmp::Ordering::Equal,
            (Self::Absent, _) => return std::cmp::Ordering::Greater,
            (_, Self::Absent) => return std::cmp::Ordering::Less,
            (Self::Int(a), Self::Int(b)) => {
                let ascending = a.cmp(&b);
                return if sort.descending { ascending.reverse() } else { ascending };
            }
            (Self::Int(a), Self::Real(b)) => (a as f64, b),
            (Self::Real(a), Self::Int(b)) => (a, b as f64),
            (Self::Real(a), Self::Real(b)) => (a, b),
        };
        let ascending = a.total_cmp(&b);
        if sort.descending { ascending.reverse() } else { ascending }
    }
}

/// The last conversation of a page.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// What it is sorted by.
    pub(crate) key: Key,
    /// Its id.
    pub(crate) id: Uuid,
}

/// Where the next page begins, and what the list was when its first page was read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// The version of the lists the walk sees.
    #[serde(rename = "v")]
    pub(crate) version: i64,
    /// When the walk began, in milliseconds.
    #[serde(rename = "t")]
    pub(crate) began_at: i64,
    /// The last conversation of the page before.
    #[serde(rename = "p")]
    pub(crate) after: Place,
    /// The words searched for were said in more than a few conversations.
    #[serde(rename = "f", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) frequent: bool,
    /// The words searched for were said in more conversations than are listed at once.
    #[serde(rename = "c", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) common: bool,
}

/// A page to be read.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    /// Whose.
    pub(crate) organization_id: OrganizationId,
    /// Which.
    pub(crate) filter: Filter,
    /// In what order.
    pub(crate) sort: Sort,
    /// At most this many.
    pub(crate) limit: usize,
    /// Where to go on; the first page without.
    pub(crate) cursor: Option<Cursor>,
    /// Whether to count all that match now.
    pub(crate) count: bool,
    /// Only these.
    pub(crate) among: Option<Vec<Uuid>>,
}
