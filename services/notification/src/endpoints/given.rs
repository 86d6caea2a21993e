//! What a caller wants of an endpoint, and what is wrong with it.

use std::num::NonZeroU32;

use colloquy_outbound::Policy;
use colloquy_service::FieldErrors;
use http::{HeaderName, HeaderValue};
use lettre::Address;
use url::Url;

use crate::endpoint::{Filter, Kind};
use crate::payload::catalogue;
use crate::send::{Secret, is_reserved_header};

const LONGEST_URL: usize = 2_048;
const LONGEST_DESCRIPTION: usize = 500;
const LONGEST_FILTER_VALUE: usize = 500;
const LONGEST_HEADER_VALUE: usize = 4 << 10;
const MOST_HEADERS: usize = 20;
/// No list of event types is longer.
pub(crate) const MOST_EVENT_TYPES: usize = 100;
const HIGHEST_RATE: u32 = 10_000;

/// What a caller wants; what is `None` stays as it is, or gets its default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Given {
    /// One of the kinds' names; empty leaves it.
    pub kind: Option<String>,
    /// Where to.
    pub url: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Names and groups of the catalogue.
    pub event_types: Option<Vec<String>>,
    /// Of which conversations.
    pub filter: Option<GivenFilter>,
    /// Whether later events wait for earlier ones.
    pub ordered: Option<bool>,
    /// Whether anything is sent.
    pub enabled: Option<bool>,
    /// Attempts a second; 0 sets no limit.
    pub rate_limit: Option<u32>,
    /// Headers to send; one without a value keeps the one it has.
    pub headers: Option<Vec<(String, Secret)>>,
}

/// A filter as it was given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GivenFilter {
    /// What endpoints can be filtered by.
    pub filter: Filter,
    /// The names of what they cannot.
    pub others: Vec<&'static str>,
}

/// What is known of the place where an endpoint is to be.
pub(super) struct Ground<'a> {
    pub(super) policy: &'a Policy,
    pub(super) has_smtp: bool,
}

fn field(name: &str) -> String {
    format!("endpoint.{name}")
}

impl Given {
    /// Notes everything that is wrong, for an endpoint of this kind, and brings what is right into its form.
    pub(super) async fn check(&mut self, kind: Kind, ground: &Ground<'_>, errors: &mut FieldErrors) {
        if kind == Kind::Email && !ground.has_smtp {
            errors.add(field("kind"), "'email' needs a mail server, and none is configured here");
        }
        if let Some(url) = &mut self.url {
            match check_url(url, kind, ground.policy).await {
                Ok(written) => *url = written,
                Err(wrong) => errors.add(field("url"), wrong),
            }
        }
        if let Some(description) = &self.description {
            errors.max_chars(&field("description"), description, LONGEST_DESCRIPTION);
            if description.contains('\0') {
                errors.add(field("description"), "must not contain the character NUL");
            }
        }
        if let Some(types) = &mut self.event_types {
            check_types(&field("event_types"), types, errors);
        }
        if let Some(filter) = &self.filter {
            filter.check(errors);
        }
        if self.rate_limit.is_some_and(|limit| limit > HIGHEST_RATE) {
            errors.add(field("rate_limit"), format!("must be at most {HIGHEST_RATE}; 0 sets no limit"));
        }
        if let Some(headers) = &self.headers {
            check_headers(headers, kind, errors);
        }
    }

    /// Returns the limit as it is kept.
    pub(super) fn rate(limit: u32) -> Option<NonZeroU32> {
        NonZeroU32::new(limit)
    }
}

async fn check_url(text: &str, kind: Kind, policy: &Policy) -> Result<String, String> {
    if text.is_empty() {
        return Err("is required".to_owned());
    }
    if text.len() > LONGEST_URL {
        return Err(format!("must be at most {LONGEST_URL} bytes"));
    }
    if kind == Kind::Email {
        // What follows a question mark are headers of the message, which nobody may add.
        let address = text.strip_prefix("mailto:").filter(|address| !address.contains('?'));
        let address = address.and_then(|address| address.parse::<Address>().ok());
        return address
            .map(|address| format!("mailto:{address}"))
            .ok_or_else(|| "must be one address for the kind 'email', for example mailto:alerts@example.com".to_owned());
    }
    let wrong = || format!("must be an http or https URL for the kind '{}', for example https://example.com/hook", kind.as_str());
    let url = Url::parse(text).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong());
    }
    policy.check_url(&url).await.map_err(|refused| refused.to_string())?;
    Ok(url.into())
}

/// Notes what is wrong with a list of event types, and drops repeats.
pub(crate) fn check_types(field: &str, types: &mut Vec<String>, errors: &mut FieldErrors) {
    if types.len() > MOST_EVENT_TYPES {
        errors.add(field, format!("must be at most {MOST_EVENT_TYPES} types"));
        return;
    }
    for (index, name) in types.iter().enumerate().filter(|(_, name)| !catalogue::is_type(name) && !catalogue::is_group(name)) {
        let groups: Vec<String> = catalogue::groups().map(|group| format!("{group}.*")).collect();
        let shown: String = name.chars().filter(|letter| !letter.is_control()).take(64).collect();
        let allowed = groups.join(", ");
        errors.add(format!("{field}[{index}]"), format!("'{shown}' is neither an event type nor one of the groups {allowed}"));
    }
    types.sort_unstable();
    types.dedup();
}

impl GivenFilter {
    fn check(&self, errors: &mut FieldErrors) {
        for name in &self.others {
            errors.add(field(&format!("filter.{name}")), "is not supported here; allowed: agent_id, client_id, channel");
        }
        let Filter { agent_id, client_id, channel } = &self.filter;
        for (name, value) in [("agent_id", agent_id), ("client_id", client_id), ("channel", channel)] {
            let is_good = |value: &String| !value.is_empty() && value.len() <= LONGEST_FILTER_VALUE && !value.contains('\0');
            if !value.as_ref().is_none_or(is_good) {
                let allowed = format!("must be 1 to {LONGEST_FILTER_VALUE} bytes without the character NUL");
                errors.add(field(&format!("filter.{name}")), allowed);
            }
        }
    }
}

fn check_headers(headers: &[(String, Secret)], kind: Kind, errors: &mut FieldErrors) {
    if kind == Kind::Email && !headers.is_empty() {
        errors.add(field("headers"), "cannot be sent by e-mail");
        return;
    }
    if headers.len() > MOST_HEADERS {
        errors.add(field("headers"), format!("must be at most {MOST_HEADERS} headers"));
        return;
    }
    let mut seen: Vec<String> = Vec::new();
    for (index, (name, Secret(value))) in headers.iter().enumerate() {
        let name_field = field(&format!("headers[{index}].name"));
        let lower = name.to_ascii_lowercase();
        if name.len() > 256 || HeaderName::from_bytes(name.as_bytes()).is_err() {
            errors.add(name_field, "must be the name of an HTTP header");
        } else if is_reserved_header(name) {
            errors.add(name_field, format!("'{lower}' is set by this server, or belongs to the connection"));
        } else if seen.contains(&lower) {
            errors.add(name_field, format!("'{lower}' is there twice"));
        }
        seen.push(lower);
        if value.len() > LONGEST_HEADER_VALUE || HeaderValue::from_str(value).is_err() {
            let allowed = format!("must be at most {LONGEST_HEADER_VALUE} bytes of printable ASCII");
            errors.add(field(&format!("headers[{index}].value")), allowed);
        }
    }
}
