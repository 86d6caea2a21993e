//! What one organization may have at the same time, so that it leaves something to the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use colloquy_types::OrganizationId;

/// How much each organization has of something. Clones count the same.
#[derive(Clone, Debug)]
pub struct Shares {
    most: usize,
    held: Arc<Mutex<HashMap<OrganizationId, usize>>>,
}

/// One of it, until it is dropped.
#[derive(Debug)]
pub struct Share {
    shares: Shares,
    organization_id: OrganizationId,
}

impl Shares {
    /// Returns shares of which an organization may have `most`.
    pub fn of(most: usize) -> Self {
        Self { most, held: Arc::default() }
    }

    /// Returns how many an organization may have.
    pub const fn most(&self) -> usize {
        self.most
    }

    /// Takes one for an organization, unless it has as many as it may.
    pub fn take(&self, organization_id: &OrganizationId) -> Option<Share> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let own = held.entry(organization_id.clone()).or_default();
        // An entry that was made just now is not full: `most` is above zero.
        if *own >= self.most {
            return None;
        }
        *own += 1;
        Some(Share { shares: self.clone(), organization_id: organization_id.clone() })
    }

    /// Takes one for an organization, whatever it has.
    pub fn take_anyway(&self, organization_id: &OrganizationId) -> Share {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner).entry(organization_id.clone()).or_default() += 1;
        Share { shares: self.clone(), organization_id: organization_id.clone() }
    }

    /// Returns the organizations that have as many as they may.
    pub fn used_up(&self) -> Vec<OrganizationId> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().filter(|(_, own)| **own >= self.most).map(|(id, _)| id.clone()).collect()
    }
}

impl Share {
    /// Returns whose it is.
    pub const fn organization_id(&self) -> &OrganizationId {
        &self.organization_id
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.shares.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = held.get_mut(&self.organization_id) {
            *own -= 1;
            if *own == 0 {
                held.remove(&self.organization_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organization_has_so_many_and_no_more_whatever_others_have() {
        let shares = Shares::of(2);
        let (acme, other): (OrganizationId, OrganizationId) = ("acme".parse().unwrap(), "other".parse().unwrap());
        let first = shares.take(&acme).unwrap();
        assert_eq!(shares.used_up(), []);
        let second = shares.take(&acme).unwrap();
        assert!(shares.take(&acme).is_none());
        assert_eq!(shares.used_up(), vec![acme.clone()]);
        assert_eq!(shares.take(&other).unwrap().organization_id(), &other);
        let third = shares.take_anyway(&acme);
        drop(first);
        assert!(shares.take(&acme).is_none());
        drop(second);
        drop(third);
        drop(shares.take(&acme).unwrap());
        assert!(shares.held.lock().unwrap().is_empty());
    }
}
