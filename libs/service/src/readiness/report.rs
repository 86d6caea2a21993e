//! What is told about readiness.

use std::fmt;

use colloquy_types::Timestamp;
use serde::Serialize;

/// Whether the process is ready, and what it lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether every service is.
    pub ready: bool,
    /// What is missing; empty when it is ready.
    pub missing: Vec<Missing>,
}

/// One thing that is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The check's name.
    pub check: &'static str,
    /// The service that needs it.
    pub service: &'static str,
    /// What is wrong.
    pub detail: String,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl Report {
    /// Returns only what one service lacks.
    pub fn of(mut self, service: &str) -> Self {
        self.missing.retain(|missing| missing.service == service);
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, Missing { check, service, detail, .. }) in self.missing.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{check} of {service}: {detail}")?;
        }
        Ok(())
    }
}

impl Missing {
    pub(super) fn starting(service: &'static str) -> Self {
        Self {
            check: "start",
            service,
            detail: "still starting: it migrates, or waits for its first connections".to_owned(),
            since: None,
        }
    }

    pub(super) fn stopping(service: &'static str) -> Self {
        Self { check: "stop", service, detail: "the process is stopping".to_owned(), since: None }
    }
}
