//! Encryption at rest: AES-256-GCM under keys derived from the installation's master key.
//!
//! What is sealed is bound to its place (organization, source, purpose), so a row copied to another tenant does not open.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;

/// The first byte of everything sealed: which key and algorithm it needs.
const VERSION: u8 = 1;

/// The installation's master key. Every replica must be given the same.
#[derive(Clone)]
pub struct MasterKey(Arc<[u8; 32]>);

impl MasterKey {
    /// Returns the key made of `bytes`.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Arc::new(bytes))
    }
}

impl fmt::Debug for MasterKey {
    /// Shows nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey")
    }
}

/// Why something could not be sealed or opened. Says no more, so that it tells nothing about the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The random generator or the cipher failed.
    #[error("cannot encrypt")]
    Encrypt,
    /// It was sealed under another master key, for another place, by a newer release, or was changed.
    #[error("cannot decrypt: another master key, or the stored bytes were changed")]
    Decrypt,
}

/// Seals and opens what one purpose keeps.
#[derive(Clone)]
pub struct Sealer(Arc<RandomizedNonceKey>);

impl Sealer {
    /// Returns a sealer whose key is derived from `master` for `purpose`.
    pub fn new(master: &MasterKey, purpose: &str) -> Self {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &*master.0), purpose.as_bytes());
        let key = RandomizedNonceKey::new(&AES_256_GCM, derived.as_ref()).expect("HMAC-SHA256 gives the 32 bytes AES-256 takes");
        Self(Arc::new(key))
    }

    /// Seals `plain` for the place that `parts` name.
    ///
    /// # Errors
    /// When the random generator or the cipher fails.
    pub fn seal(&self, parts: &[&[u8]], mut plain: Vec<u8>) -> Result<Vec<u8>, SealError> {
        let nonce = self.0.seal_in_place_append_tag(Aad::from(place(parts)), &mut plain).map_err(|_| SealError::Encrypt)?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + plain.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.append(&mut plain);
        Ok(sealed)
    }

    /// Opens what [`Sealer::seal`] sealed for the same place.
    ///
    /// # Errors
    /// When it was sealed otherwise, or changed.
    pub fn open(&self, parts: &[&[u8]], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (&version, rest) = sealed.split_first().ok_or(SealError::Decrypt)?;
        let (nonce, rest) = rest.split_at_checked(NONCE_LEN).ok_or(SealError::Decrypt)?;
        if version != VERSION {
            return Err(SealError::Decrypt);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Decrypt)?;
        let mut bytes = rest.to_vec();
        let plain = self.0.open_in_place(nonce, Aad::from(place(parts)), &mut bytes).map_err(|_| SealError::Decrypt)?;
        let length = plain.len();
        bytes.truncate(length);
        Ok(bytes)
    }
}

/// Joins parts so that no two lists of parts give the same bytes.
fn place(parts: &[&[u8]]) -> Vec<u8> {
    let mut place = Vec::new();
    for part in parts {
        place.extend_from_slice(&(part.len() as u64).to_be_bytes());
        place.extend_from_slice(part);
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(byte: u8) -> Sealer {
        Sealer::new(&MasterKey::new([byte; 32]), "test")
    }

    #[test]
    fn what_is_sealed_opens_only_in_its_place_and_under_its_key() {
        let sealed = sealer(1).seal(&[b"acme", b"source"], b"hush".to_vec()).unwrap();
        assert!(!sealed.windows(4).any(|window| window == b"hush"));
        assert_eq!(sealer(1).open(&[b"acme", b"source"], &sealed).unwrap(), b"hush");
        assert_eq!(sealer(2).open(&[b"acme", b"source"], &sealed), Err(SealError::Decrypt));
        assert_eq!(sealer(1).open(&[b"acmes", b"ource"], &sealed), Err(SealError::Decrypt));
        let other = Sealer::new(&MasterKey::new([1; 32]), "other");
        assert_eq!(other.open(&[b"acme", b"source"], &sealed), Err(SealError::Decrypt));
    }

    #[test]
    fn no_changed_or_shortened_bytes_open() {
        let sealed = sealer(1).seal(&[b"a"], b"hush".to_vec()).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(sealer(1).open(&[b"a"], &changed), Err(SealError::Decrypt), "byte {at}");
            assert_eq!(sealer(1).open(&[b"a"], &sealed[..at]), Err(SealError::Decrypt), "length {at}");
        }
    }

    #[test]
    fn sealing_twice_gives_different_bytes() {
        let seal = || sealer(1).seal(&[b"a"], b"hush".to_vec()).unwrap();
        assert_ne!(seal(), seal());
    }
}
