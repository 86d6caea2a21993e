//! Page tokens: opaque, tamper-evident, and bound to what they continue.

use std::sync::Arc;

use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The token is not one of ours, or continues something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPageToken {
    /// It was not made here, or was changed.
    #[error("is not a cursor of this server")]
    Forged,
    /// It was made for another request: other filters, another sort, another organization.
    #[error("belongs to a request with other parameters; send them unchanged, or leave the cursor out")]
    OtherRequest,
}

/// Half a SHA-256 is as hard to forge as anybody could want here, and keeps tokens short.
const TAG_BYTES: usize = 16;
const FINGERPRINT_BYTES: usize = 8;

/// Makes and reads page tokens.
#[derive(Clone)]
pub struct PageTokens(Arc<hmac::Key>);

impl PageTokens {
    /// Returns tokens sealed with a key derived from `master`; every replica must be given the same.
    pub fn new(master: &[u8]) -> Self {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, master), b"colloquy page tokens");
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())))
    }

    /// Seals `place` for the request that `request` describes: everything that must stay the same on the next page.
    pub fn seal(&self, request: &impl Serialize, place: &impl Serialize) -> String {
        // Plain structs always serialise.
        let mut bytes = fingerprint(request).to_vec();
        bytes.extend(serde_json::to_vec(place).unwrap_or_default());
        let tag = hmac::sign(&self.0, &bytes);
        let mut token = tag.as_ref()[..TAG_BYTES].to_vec();
        token.extend(bytes);
        URL_SAFE_NO_PAD.encode(token)
    }

    /// Opens a token that [`PageTokens::seal`] made for the same request.
    ///
    /// # Errors
    /// When it was not made here, or for another request.
    pub fn open<T: DeserializeOwned>(&self, request: &impl Serialize, token: &str) -> Result<T, BadPageToken> {
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| BadPageToken::Forged)?;
        let (tag, body) = bytes.split_at_checked(TAG_BYTES).ok_or(BadPageToken::Forged)?;
        let expected = hmac::sign(&self.0, body);
        aws_lc_rs::constant_time::verify_slices_are_equal(tag, &expected.as_ref()[..TAG_BYTES])
            .map_err(|_| BadPageToken::Forged)?;
        let (made_for, place) = body.split_at_checked(FINGERPRINT_BYTES).ok_or(BadPageToken::Forged)?;
        if made_for != fingerprint(request) {
            return Err(BadPageToken::OtherRequest);
        }
        serde_json::from_slice(place).map_err(|_| BadPageToken::Forged)
    }
}

fn fingerprint(request: &impl Serialize) -> [u8; FINGERPRINT_BYTES] {
    let text = serde_json::to_vec(request).unwrap_or_default();
    let mut short = [0; FINGERPRINT_BYTES];
    short.copy_from_slice(&digest::digest(&digest::SHA256, &text).as_ref()[..FINGERPRINT_BYTES]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_only_unchanged_and_for_its_own_request() {
        let tokens = PageTokens::new(b"master");
        let token = tokens.seal(&("acme", "filter"), &(7_u64, "last"));
        assert_eq!(tokens.open(&("acme", "filter"), &token), Ok((7_u64, "last".to_owned())));
        assert_eq!(tokens.open::<(u64, String)>(&("acme", "other"), &token), Err(BadPageToken::OtherRequest));
        assert_eq!(PageTokens::new(b"else").open::<(u64, String)>(&("acme", "filter"), &token), Err(BadPageToken::Forged));
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert!(tokens.open::<(u64, String)>(&("acme", "filter"), &forged).is_err(), "{forged}");
        }
        assert_eq!(tokens.open::<(u64, String)>(&("acme", "filter"), "💥"), Err(BadPageToken::Forged));
    }
}
