//! Who is asking.

use std::sync::Arc;

use colloquy_types::{KeyId, OrganizationId, Scope, ScopeSet};
use tonic::Request;

use crate::Problem;

/// An organization's API key, as access knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The key.
    pub key_id: KeyId,
    /// The organization it acts for.
    pub organization_id: OrganizationId,
    /// What it may do.
    pub scopes: ScopeSet,
}

/// Who makes a call; put into every request by the auth layer.
#[derive(Debug, Clone)]
pub enum Caller {
    /// Nobody in particular: only on methods that check something else, such as a webhook's signature.
    Anonymous,
    /// An API key.
    Key(Arc<Identity>),
    /// Another service of this installation, which may act for any organization.
    Service,
}

impl Caller {
    /// Returns who makes `request`.
    pub fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or(Self::Anonymous)
    }

    /// Returns the organization the caller acts for, when it has `scope`.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` for nobody, `PERMISSION_DENIED` when the scope is missing or the caller is a service, which has no
    /// organization of its own.
    pub fn require(&self, scope: Scope) -> Result<OrganizationId, Problem> {
        match self {
            Self::Key(identity) if identity.scopes.allows(scope) => Ok(identity.organization_id.clone()),
            Self::Key(_) => Err(Problem::permission_denied("SCOPE_MISSING", format!("this API key lacks the scope '{scope}'"))),
            Self::Service => Err(Problem::permission_denied("ORGANIZATION_MISSING", "a service must name an organization")),
            Self::Anonymous => Err(missing_key()),
        }
    }

    /// Returns the organization to act for: the named one for a service; the caller's own for a key with `scope`, which may
    /// name it or leave it empty.
    ///
    /// # Errors
    /// As [`Caller::require`]; `NOT_FOUND` when a key names another organization than its own.
    pub fn acting_for(&self, named: &str, scope: Scope) -> Result<OrganizationId, Problem> {
        if matches!(self, Self::Service) {
            return named.parse().map_err(|error| Problem::invalid_field("organization_id", format!("{error}")));
        }
        let own = self.require(scope)?;
        if named.is_empty() || named == own.as_str() {
            Ok(own)
        } else {
            Err(Problem::not_found("ORGANIZATION_NOT_FOUND", format!("organization '{named}' does not exist")))
        }
    }

    /// Checks that the caller is another service of this installation.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` for nobody, `PERMISSION_DENIED` for API keys.
    pub fn require_service(&self) -> Result<(), Problem> {
        match self {
            Self::Service => Ok(()),
            Self::Anonymous => Err(missing_key()),
            Self::Key(_) => Err(Problem::permission_denied("SERVICE_ONLY", "only services of this installation may call this")),
        }
    }

    /// Returns whether the caller has `scope`; services have all.
    pub fn has(&self, scope: Scope) -> bool {
        match self {
            Self::Service => true,
            Self::Key(identity) => identity.scopes.allows(scope),
            Self::Anonymous => false,
        }
    }
}

/// The answer to a call that needs a key and has none.
pub(crate) fn missing_key() -> Problem {
    Problem::unauthenticated("API_KEY_MISSING", "an API key is required: send 'x-api-key: KEY' or 'authorization: Bearer KEY'")
}
