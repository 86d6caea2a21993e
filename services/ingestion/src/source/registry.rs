//! Making, changing and removing sources.

use std::sync::Arc;

use colloquy_providers::verify::{Scheme, Verification, validate};
use colloquy_service::{FieldErrors, Problem};
use colloquy_types::{Clock, OrganizationId, Provider, SourceId, Timestamp};
use uuid::Uuid;

use super::{Access, AccessChange, LiveSources, SealedAccess, SealedSecrets, Secret, SecretBox, Source};
use crate::error::Error;
use crate::store::{Place, Store};

/// How often a change is tried again when others change the same source at the same moment.
const CHANGE_ATTEMPTS: usize = 5;

/// A source to make, its fields checked one by one.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) provider: Provider,
    pub(crate) name: String,
    pub(crate) client_id: Option<String>,
    pub(crate) verification: Verification,
    pub(crate) secret: Option<Secret>,
    pub(crate) control: Access,
}

/// What to change about a source. `None` leaves a field as it is.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) name: Option<String>,
    pub(crate) client_id: Option<Option<String>>,
    pub(crate) verification: Option<VerificationChange>,
    pub(crate) control: Option<AccessChange>,
    pub(crate) previous_valid_seconds: u32,
}

/// A new verification. Without a secret the present secret stays.
#[derive(Debug, Clone)]
pub(crate) struct VerificationChange {
    /// Without it the present scheme stays, and of the options only those that are set change.
    pub(crate) scheme: Option<Scheme>,
    pub(crate) options: Verification,
    pub(crate) secret: Option<Secret>,
}

impl VerificationChange {
    /// Returns the verification as it is after the change.
    fn apply(&self, present: Verification) -> Verification {
        let options = self.options.clone();
        match self.scheme {
            Some(scheme) => Verification { scheme, ..options },
            None => Verification {
                scheme: present.scheme,
                header: options.header.or(present.header),
                timestamp_header: options.timestamp_header.or(present.timestamp_header),
                format: options.format.or(present.format),
                encoding: options.encoding.or(present.encoding),
                prefix: options.prefix.or(present.prefix),
                algorithm: options.algorithm.or(present.algorithm),
                secret_is_base64: options.secret_is_base64 || present.secret_is_base64,
            },
        }
    }
}

/// Checks that deliveries can be verified so.
fn check(provider: Provider, verification: &Verification, secret: Option<&Secret>) -> Result<(), Problem> {
    let mut errors = FieldErrors::new();
    for (field, message) in validate(provider, verification, secret.map(Secret::expose)) {
        errors.add(format!("source.verification.{field}"), message);
    }
    errors.finish()
}

/// Returns the key that calls the source's provider, encrypted.
fn sealed_key(source: &Source) -> Option<&Vec<u8>> {
    // Retell signs its webhooks with the API key (notes, 2.1).
    let signs_with_key = source.provider == Provider::Retell && source.verification.scheme == Scheme::Hmac;
    let signing = source.secrets.current.as_ref().filter(|_| signs_with_key);
    source.control.api_key.as_ref().or(signing)
}

/// Checks that a change which does not say the key anew does not send it elsewhere: keys are write-only, and who may change a source
/// could read one by having it sent to an address of theirs. The provider's usual address is no such place.
fn check_key_stays_home(before: &Source, after: &Source) -> Result<(), Problem> {
    let Some(key) = sealed_key(after).filter(|_| after.control.base_url.is_some()) else { return Ok(()) };
    if before.control.base_url == after.control.base_url && sealed_key(before) == Some(key) {
        return Ok(());
    }
    let why = "must be given again, since the key would be sent to another base_url than before";
    Err(Problem::invalid_field("source.control.api_key", why))
}

/// The sources of all organizations.
#[derive(Clone)]
pub(crate) struct Sources {
    store: Arc<dyn Store>,
    secrets: SecretBox,
    live: LiveSources,
    clock: Arc<dyn Clock>,
}

impl Sources {
    pub(crate) fn new(store: Arc<dyn Store>, secrets: SecretBox, live: LiveSources, clock: Arc<dyn Clock>) -> Self {
        Self { store, secrets, live, clock }
    }

    /// Returns the time by which secrets are judged.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) async fn create(&self, organization: OrganizationId, draft: Draft) -> Result<Source, Error> {
        check(draft.provider, &draft.verification, draft.secret.as_ref())?;
        let source_id = SourceId(Uuid::new_v4());
        let seal = |secret: Secret| self.secrets.seal(&organization, source_id, &secret);
        let secret = draft.secret.map(seal).transpose()?;
        let control = SealedAccess { api_key: draft.control.api_key.map(seal).transpose()?, base_url: draft.control.base_url };
        let now = self.clock.now();
        let source = Source {
            organization_id: organization,
            source_id,
            provider: draft.provider,
            name: if draft.name.is_empty() { draft.provider.to_string() } else { draft.name },
            client_id: draft.client_id,
            verification: draft.verification,
            secrets: SealedSecrets { current: secret, previous: None, previous_expires_at: None },
            control,
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        self.store.create_source(&source).await?;
        Ok(source)
    }

    pub(crate) async fn get(&self, organization: &OrganizationId, id: SourceId) -> Result<Source, Error> {
        self.store.source(organization, id).await?.ok_or(Error::SourceNotFound(id))
    }

    pub(crate) async fn page(
        &self,
        organization: &OrganizationId,
        after: Option<Place<SourceId>>,
        limit: u32,
    ) -> Result<Vec<Source>, Error> {
        Ok(self.store.page_of_sources(organization, after, limit).await?)
    }

    pub(crate) async fn change(&self, organization: &OrganizationId, id: SourceId, change: Change) -> Result<Source, Error> {
        for _ in 0..CHANGE_ATTEMPTS {
            let changed = self.changed(self.get(organization, id).await?, change.clone())?;
            if self.store.replace_source(&changed).await? {
                self.live.forget(id).await;
                return Ok(changed);
            }
        }
        Err(Error::SourceContended(id))
    }

    /// Returns the source as it is after the change.
    fn changed(&self, before: Source, change: Change) -> Result<Source, Error> {
        let now = self.clock.now();
        let gives_secret = change.verification.as_ref().is_some_and(|verification| verification.secret.is_some());
        let gives_key = change.control.as_ref().is_some_and(|control| matches!(control.api_key, Some(Some(_))));
        let mut source = Source { updated_at: now, revision: before.revision + 1, ..before.clone() };
        if let Some(name) = change.name {
            source.name = name;
        }
        if let Some(client_id) = change.client_id {
            source.client_id = client_id;
        }
        if let Some(verification) = change.verification {
            source.verification = verification.apply(source.verification);
            self.rotate(&mut source, verification.secret, now, change.previous_valid_seconds)?;
        }
        if let Some(control) = change.control {
            if let Some(api_key) = control.api_key {
                let seal = |key: Secret| self.secrets.seal(&source.organization_id, source.source_id, &key);
                source.control.api_key = api_key.map(seal).transpose()?;
            }
            if let Some(base_url) = control.base_url {
                source.control.base_url = base_url;
            }
        }
        let is_given = if source.control.api_key.is_some() { gives_key } else { gives_secret };
        if !is_given {
            check_key_stays_home(&before, &source)?;
        }
        Ok(source)
    }

    /// Gives the source a new secret, when there is one, and checks that its verification can work.
    fn rotate(&self, source: &mut Source, secret: Option<Secret>, now: Timestamp, valid_seconds: u32) -> Result<(), Error> {
        let (organization, id) = (&source.organization_id, source.source_id);
        if source.verification.scheme == Scheme::None {
            check(source.provider, &source.verification, secret.as_ref())?;
            source.secrets = SealedSecrets::default();
            return Ok(());
        }
        let current = source.secrets.current.as_ref().map(|sealed| self.secrets.open(organization, id, sealed)).transpose()?;
        check(source.provider, &source.verification, secret.as_ref().or(current.as_ref()))?;
        if let Some(secret) = secret.filter(|secret| Some(secret) != current.as_ref()) {
            let keeps_previous = valid_seconds > 0 && source.secrets.current.is_some();
            source.secrets = SealedSecrets {
                previous: source.secrets.current.take().filter(|_| keeps_previous),
                previous_expires_at: keeps_previous.then(|| now.saturating_add_millis(i64::from(valid_seconds) * 1000)),
                current: Some(self.secrets.seal(organization, id, &secret)?),
            };
        }
        Ok(())
    }

    /// Returns how the source's provider is called, in the clear.
    pub(crate) async fn access(&self, organization: &OrganizationId, id: SourceId) -> Result<Access, Error> {
        let source = self.get(organization, id).await?;
        let api_key = sealed_key(&source).map(|sealed| self.secrets.open(organization, id, sealed)).transpose()?;
        Ok(Access { api_key, base_url: source.control.base_url })
    }

    pub(crate) async fn delete(&self, organization: &OrganizationId, id: SourceId) -> Result<(), Error> {
        let deleted = self.store.delete_source(organization, id).await?;
        if !deleted {
            return Err(Error::SourceNotFound(id));
        }
        self.live.forget(id).await;
        Ok(())
    }
}
