//! Signatures and secrets as text.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Senders disagree on padding, and on nothing else.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// Reads base64 that is not empty.
pub(super) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok().filter(|bytes| !bytes.is_empty())
}

/// Reads the key of a Standard Webhooks secret: base64, usually with `whsec_` before it.
pub(super) fn standard_webhooks_key(secret: &[u8]) -> Option<Vec<u8>> {
    base64(secret.strip_prefix(b"whsec_").unwrap_or(secret))
}

/// Reads hexadecimal digits of either case.
pub(super) fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    hex::decode(text).ok().filter(|bytes| !bytes.is_empty())
}
