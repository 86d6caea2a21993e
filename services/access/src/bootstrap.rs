//! The first key, without which nobody could make another.

use colloquy_types::{KeyId, OrganizationId, Scope, Timestamp};

use crate::{Error, Keys, NewApiKey, Secret};

/// What happened about the first key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bootstrap {
    /// There were keys already, or the settings gave one.
    Present,
    /// One was made: show it, it cannot be shown again.
    Made(Secret),
}

/// Makes sure that organization `default` exists and can be administered.
pub(crate) async fn run(keys: &dyn Keys, given: Option<Secret>, now: Timestamp) -> Result<Bootstrap, Error> {
    let organization: OrganizationId = "default".parse().map_err(|_| Error::OrganizationNotFound)?;
    keys.create_organization(&organization, now).await?;
    let (secret, outcome) = match given {
        Some(secret) => {
            if keys.key_by_hash(&secret.hash()).await?.is_some() {
                return Ok(Bootstrap::Present);
            }
            (secret, Bootstrap::Present)
        }
        None => {
            if keys.any_key().await? {
                return Ok(Bootstrap::Present);
            }
            let secret = Secret::generate().map_err(|_| Error::NoRandomness)?;
            (secret.clone(), Bootstrap::Made(secret))
        }
    };
    let scopes = [Scope::Admin].into_iter().collect();
    let key_id = KeyId::generate();
    let name = "bootstrap".to_owned();
    let key = NewApiKey { key_id, organization_id: organization, name, secret, scopes, created_at: now, expires_at: None };
    keys.insert_key(key).await?;
    Ok(outcome)
}
