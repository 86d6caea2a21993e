//! Endpoints: made, shown, changed and removed.

mod given;

use std::sync::Arc;

use colloquy_outbound::Policy;
use colloquy_service::FieldErrors;
use colloquy_storage::SealError;
use colloquy_types::{Clock, OrganizationId, Timestamp};
use uuid::Uuid;

use crate::endpoint::{Endpoint, Filter, Kind, PreviousSecret, SealedSecrets};
use crate::error::Error;
use crate::secrets::{self, MOST_PREVIOUS, PREVIOUS_SIGNS_MILLIS, SecretBox};
use crate::send::Secret;
use crate::store::{Place, Store};

use given::Ground;
pub use given::{Given, GivenFilter};
pub(crate) use given::{MOST_EVENT_TYPES, check_types};

/// No organization has more.
pub const MOST_ENDPOINTS: u32 = 50;
/// How often a change is tried that somebody else's came before.
const TRIES: u32 = 5;

/// The endpoints of every organization.
#[derive(Clone)]
pub struct Endpoints {
    store: Arc<dyn Store>,
    secrets: SecretBox,
    policy: Policy,
    has_smtp: bool,
    clock: Arc<dyn Clock>,
}

impl Endpoints {
    /// Returns the endpoints in `store`.
    pub fn new(store: Arc<dyn Store>, secrets: SecretBox, policy: Policy, has_smtp: bool, clock: Arc<dyn Clock>) -> Self {
        Self { store, secrets, policy, has_smtp, clock }
    }

    /// Makes an endpoint. Returns it with its secret; there is none for kinds that are not signed for.
    ///
    /// # Errors
    /// When anything about it is wrong, or the organization has too many.
    pub async fn create(&self, organization: OrganizationId, mut given: Given) -> Result<(Endpoint, Option<Secret>), Error> {
        let mut errors = FieldErrors::new();
        let kind = match given.kind.as_deref().unwrap_or_default() {
            "" => Some(Kind::Webhook),
            name => Kind::ALL.into_iter().find(|kind| kind.as_str() == name),
        };
        if kind.is_none() {
            errors.add("endpoint.kind", "must be webhook, slack or email");
        }
        given.url.get_or_insert_default();
        let kind = kind.unwrap_or(Kind::Webhook);
        given.check(kind, &self.ground(), &mut errors).await;
        no_empty_headers(given.headers.as_deref().unwrap_or_default(), &mut errors);
        errors.finish()?;

        let now = self.clock.now();
        let mut endpoint = Endpoint {
            organization_id: organization,
            endpoint_id: Uuid::now_v7(),
            kind,
            url: String::new(),
            description: String::new(),
            event_types: Vec::new(),
            filter: Filter::default(),
            ordered: false,
            enabled: true,
            rate_limit: None,
            sealed_headers: None,
            header_names: Vec::new(),
            secrets: SealedSecrets::default(),
            failing_since: None,
            disabled_reason: None,
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        self.apply(&mut endpoint, given)?;
        let secret = if is_signed(kind) { Some(self.give_secret(&mut endpoint)?) } else { None };
        if !self.store.create_endpoint(&endpoint, MOST_ENDPOINTS).await? {
            return Err(Error::TooMany(MOST_ENDPOINTS));
        }
        Ok((endpoint, secret))
    }

    /// Returns one endpoint.
    ///
    /// # Errors
    /// When there is none.
    pub async fn get(&self, organization: &OrganizationId, id: Uuid) -> Result<Endpoint, Error> {
        self.store.endpoint(organization, id).await?.ok_or(Error::EndpointNotFound(id))
    }

    /// Returns one endpoint to which something is to be sent.
    ///
    /// # Errors
    /// When there is none, or it is disabled.
    pub async fn enabled(&self, organization: &OrganizationId, id: Uuid) -> Result<Endpoint, Error> {
        let endpoint = self.get(organization, id).await?;
        if endpoint.enabled { Ok(endpoint) } else { Err(Error::Disabled(id)) }
    }

    /// Returns a page of an organization's endpoints, newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn page(&self, organization: &OrganizationId, after: Option<Place>, limit: u32) -> Result<Vec<Endpoint>, Error> {
        Ok(self.store.page_of_endpoints(organization, after, limit).await?)
    }

    /// Changes an endpoint. Who enables it again lets it be tried anew.
    ///
    /// # Errors
    /// When there is none, or anything about the change is wrong.
    pub async fn change(&self, organization: &OrganizationId, id: Uuid, mut given: Given) -> Result<Endpoint, Error> {
        let kind = self.get(organization, id).await?.kind;
        let mut errors = FieldErrors::new();
        if given.kind.as_deref().is_some_and(|name| !name.is_empty() && name != kind.as_str()) {
            errors.add("endpoint.kind", "cannot be changed; make another endpoint");
        }
        given.check(kind, &self.ground(), &mut errors).await;
        errors.finish()?;
        self.replace(organization, id, |endpoint| self.apply(endpoint, given.clone())).await
    }

    /// Removes an endpoint.
    ///
    /// # Errors
    /// When there is none.
    pub async fn delete(&self, organization: &OrganizationId, id: Uuid) -> Result<(), Error> {
        if self.store.delete_endpoint(organization, id).await? { Ok(()) } else { Err(Error::EndpointNotFound(id)) }
    }

    /// Gives an endpoint a new secret. Returns it, and until when the one it takes the place of signs too. Whoever was not answered
    /// rotates once more, and receivers do not know of the secret between: so those from before go on to sign for their day.
    ///
    /// # Errors
    /// When there is none, it is of a kind that is not signed for, or has as many secrets that sign as it may.
    pub async fn rotate(&self, organization: &OrganizationId, id: Uuid) -> Result<(Secret, Timestamp), Error> {
        let kind = self.get(organization, id).await?.kind;
        if !is_signed(kind) {
            return Err(Error::NotSigned(kind.as_str()));
        }
        let now = self.clock.now();
        let expires_at = now.saturating_add_millis(PREVIOUS_SIGNS_MILLIS);
        let mut secret = None;
        let rotate = |endpoint: &mut Endpoint| {
            endpoint.secrets.previous.retain(|previous| now < previous.expires_at);
            let first_end = endpoint.secrets.previous.iter().map(|previous| previous.expires_at).min();
            if let Some(first_end) = first_end.filter(|_| endpoint.secrets.previous.len() >= MOST_PREVIOUS) {
                return Err(Error::TooManySecrets { endpoint: id, first_end });
            }
            let sealed = std::mem::take(&mut endpoint.secrets.current);
            secret = Some(self.give_secret(endpoint)?);
            endpoint.secrets.previous.insert(0, PreviousSecret { sealed, expires_at });
            Ok(())
        };
        self.replace(organization, id, rotate).await?;
        secret.map(|secret| (secret, expires_at)).ok_or(Error::Busy(id))
    }

    fn ground(&self) -> Ground<'_> {
        Ground { policy: &self.policy, has_smtp: self.has_smtp }
    }

    /// Changes an endpoint as it is now, again when somebody else changed it meanwhile.
    async fn replace(
        &self,
        organization: &OrganizationId,
        id: Uuid,
        mut change: impl FnMut(&mut Endpoint) -> Result<(), Error>,
    ) -> Result<Endpoint, Error> {
        for _ in 0..TRIES {
            let mut endpoint = self.get(organization, id).await?;
            change(&mut endpoint)?;
            endpoint.revision += 1;
            endpoint.updated_at = self.clock.now();
            if self.store.replace_endpoint(&endpoint).await? {
                return Ok(endpoint);
            }
        }
        Err(Error::Busy(id))
    }

    /// Brings what was given, and found right, into an endpoint.
    fn apply(&self, endpoint: &mut Endpoint, given: Given) -> Result<(), Error> {
        fn set<T>(value: &mut T, given: Option<T>) {
            if let Some(given) = given {
                *value = given;
            }
        }
        set(&mut endpoint.url, given.url);
        set(&mut endpoint.description, given.description);
        set(&mut endpoint.event_types, given.event_types);
        set(&mut endpoint.filter, given.filter.map(|given| given.filter));
        set(&mut endpoint.ordered, given.ordered);
        set(&mut endpoint.rate_limit, given.rate_limit.map(Given::rate));
        if let Some(headers) = given.headers {
            self.put_headers(endpoint, headers)?;
        }
        if let Some(enabled) = given.enabled {
            if enabled && !endpoint.enabled {
                endpoint.failing_since = None;
            }
            if enabled || endpoint.enabled {
                endpoint.disabled_reason = None;
            }
            endpoint.enabled = enabled;
        }
        Ok(())
    }

    /// Seals headers. One without a value keeps the value it has: values are not shown, so a caller that sends back what it read
    /// has none.
    fn put_headers(&self, endpoint: &mut Endpoint, headers: Vec<(String, Secret)>) -> Result<(), Error> {
        let lacks_value = headers.iter().any(|(_, value)| value.0.is_empty());
        let known = if lacks_value { self.secrets.open_headers(endpoint)? } else { Vec::new() };
        let find = |name: &str| known.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone());
        let keep = |(name, value): (String, Secret)| {
            let value = if value.0.is_empty() { find(&name).unwrap_or(value) } else { value };
            (name, value)
        };
        let headers: Vec<(String, Secret)> = headers.into_iter().map(keep).collect();
        let mut errors = FieldErrors::new();
        no_empty_headers(&headers, &mut errors);
        errors.finish()?;
        endpoint.header_names = headers.iter().map(|(name, _)| name.clone()).collect();
        endpoint.sealed_headers = match headers.is_empty() {
            true => None,
            false => Some(self.secrets.seal_headers(&endpoint.organization_id, endpoint.endpoint_id, &headers)?),
        };
        Ok(())
    }

    fn give_secret(&self, endpoint: &mut Endpoint) -> Result<Secret, SealError> {
        let secret = secrets::generate()?;
        endpoint.secrets.current = self.secrets.seal_secret(&endpoint.organization_id, endpoint.endpoint_id, &secret)?;
        Ok(secret)
    }
}

/// Returns whether deliveries of this kind carry a signature.
const fn is_signed(kind: Kind) -> bool {
    matches!(kind, Kind::Webhook)
}

fn no_empty_headers(headers: &[(String, Secret)], errors: &mut FieldErrors) {
    for (index, _) in headers.iter().enumerate().filter(|(_, (_, value))| value.0.is_empty()) {
        errors.add(format!("endpoint.headers[{index}].value"), "is required");
    }
}
