//! Whether a delivery comes from whom it says.
//!
//! Signatures cover the raw bytes, so verification comes before any parsing (0.2). Bodies are streamed: a [`Verifier`] begins with
//! the headers, is fed the body, and decides at the end. Comparisons take constant time.

mod encoding;
mod format;
mod headers;
mod settings;
#[cfg(test)]
mod tests;

use aws_lc_rs::{constant_time, hmac};
use colloquy_types::{Provider, Timestamp};

use format::{Format, Part};
pub use headers::Headers;
pub use settings::{Algorithm, Encoding, Scheme, UnknownSetting, Verification, validate};

/// ElevenLabs signs for half an hour (1.1); its own SDK looks only into the past, we look into the future as well.
const ELEVENLABS_TOLERANCE_MS: i64 = 30 * 60 * 1000;
/// Everybody else for five minutes.
const TOLERANCE_MS: i64 = 5 * 60 * 1000;
/// More signatures than keys ever overlap are an attempt to guess.
const MAX_SIGNATURES: usize = 16;

/// Why a delivery is not genuine. Never shows a secret or a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A header is not there.
    #[error("header {0} is missing")]
    MissingHeader(String),
    /// A header that proves something is there more than once.
    #[error("header {0} is there more than once")]
    RepeatedHeader(String),
    /// A header is not written as it has to be.
    #[error("header {header} must be {expected}")]
    Malformed {
        /// The header.
        header: String,
        /// How it has to be written.
        expected: &'static str,
    },
    /// It was signed too long ago.
    #[error("the timestamp is {seconds} s in the past, more than the {tolerance} s allowed")]
    TooOld {
        /// How long ago, in seconds.
        seconds: i64,
        /// How long ago it may be.
        tolerance: i64,
    },
    /// It claims to have been signed in the future.
    #[error("the timestamp is {seconds} s in the future, more than the {tolerance} s allowed")]
    InFuture {
        /// How far ahead, in seconds.
        seconds: i64,
        /// How far ahead it may be.
        tolerance: i64,
    },
    /// The signature, secret or token is not the one expected.
    #[error("the signature does not match")]
    Mismatch,
    /// The source has no secret to verify with, or one that cannot be used so.
    #[error("the source has no usable secret for its scheme")]
    NoUsableSecret,
    /// The source's format cannot be used.
    #[error("the source's signature format cannot be used")]
    UnusableFormat,
}

/// Verifies one delivery while its body streams by.
#[derive(Debug)]
pub struct Verifier(State);

#[derive(Debug)]
enum State {
    /// The headers alone decided.
    Settled,
    /// The body decides.
    Signed {
        /// One for every secret that is valid.
        contexts: Vec<hmac::Context>,
        /// What is signed after the body.
        after: Vec<u8>,
        /// The signatures the delivery offers.
        signatures: Vec<Vec<u8>>,
    },
}

/// A signature taken out of the headers.
struct Signed {
    algorithm: Algorithm,
    keys: Vec<Vec<u8>>,
    before: Vec<u8>,
    after: Vec<u8>,
    signatures: Vec<Vec<u8>>,
}

impl Verifier {
    /// Begins with everything that headers can decide. `secrets` are the current one and the previous while it is valid.
    ///
    /// # Errors
    /// [`Rejection`] when the headers already tell that the delivery is not genuine.
    pub fn begin(
        provider: Provider,
        verification: &Verification,
        secrets: &[&[u8]],
        headers: &Headers,
        now: Timestamp,
    ) -> Result<Self, Rejection> {
        // An empty secret would be known to everybody.
        let secrets: Vec<&[u8]> = secrets.iter().copied().filter(|secret| !secret.is_empty()).collect();
        if secrets.is_empty() && verification.scheme != Scheme::None {
            return Err(Rejection::NoUsableSecret);
        }
        let signed = match (verification.scheme, provider) {
            (Scheme::None, _) => return Ok(Self(State::Settled)),
            (Scheme::SharedSecret, _) => return shared_secret(verification, &secrets, headers),
            (Scheme::Bearer, _) => return bearer(verification, &secrets, headers),
            (Scheme::StandardWebhooks, _) => standard_webhooks(&secrets, headers, now)?,
            (Scheme::Hmac, Provider::ElevenLabs) => elevenlabs(&secrets, headers, now)?,
            (Scheme::Hmac, Provider::Retell) => retell(&secrets, headers, now)?,
            (Scheme::Hmac, Provider::AgentSession) => agent_session(verification, &secrets, headers, now)?,
            (Scheme::Hmac, Provider::Vapi | Provider::Native) => configurable(verification, &secrets, headers, now)?,
        };
        let begin = |key: &Vec<u8>| {
            let mut context = hmac::Context::with_key(&hmac::Key::new(signed.algorithm.hmac(), key));
            context.update(&signed.before);
            context
        };
        let contexts = signed.keys.iter().map(begin).collect();
        Ok(Self(State::Signed { contexts, after: signed.after, signatures: signed.signatures }))
    }

    /// Takes the next part of the body.
    pub fn update(&mut self, chunk: &[u8]) {
        if let State::Signed { contexts, .. } = &mut self.0 {
            contexts.iter_mut().for_each(|context| context.update(chunk));
        }
    }

    /// Decides, once the whole body was seen.
    ///
    /// # Errors
    /// [`Rejection::Mismatch`] when no signature fits.
    pub fn finish(self) -> Result<(), Rejection> {
        let State::Signed { contexts, after, signatures } = self.0 else { return Ok(()) };
        let mut genuine = false;
        for mut context in contexts {
            context.update(&after);
            let expected = context.sign();
            for signature in &signatures {
                genuine |= constant_time::verify_slices_are_equal(expected.as_ref(), signature).is_ok();
            }
        }
        if genuine { Ok(()) } else { Err(Rejection::Mismatch) }
    }
}

/// Verifies a delivery whose body is at hand; see [`Verifier`].
///
/// # Errors
/// [`Rejection`] when the delivery is not genuine.
pub fn verify(
    provider: Provider,
    verification: &Verification,
    secrets: &[&[u8]],
    headers: &Headers,
    body: &[u8],
    now: Timestamp,
) -> Result<(), Rejection> {
    let mut verifier = Verifier::begin(provider, verification, secrets, headers, now)?;
    verifier.update(body);
    verifier.finish()
}

fn owned(secrets: &[&[u8]]) -> Vec<Vec<u8>> {
    secrets.iter().map(|secret| secret.to_vec()).collect()
}

/// 1.1: `t=<unix seconds>,v0=<hex>` over `t.body`; any of several `v0` may match.
fn elevenlabs(secrets: &[&[u8]], headers: &Headers, now: Timestamp) -> Result<Signed, Rejection> {
    const HEADER: &str = "elevenlabs-signature";
    let malformed = || malformed(HEADER, "t=<unix seconds>,v0=<hex>");
    let parts: Vec<&str> = headers.only(HEADER)?.split(',').map(str::trim).collect();
    let mut times = parts.iter().filter_map(|part| part.strip_prefix("t="));
    let (Some(time), None) = (times.next(), times.next()) else { return Err(malformed()) };
    let signed_at = digits(time).and_then(|seconds| seconds.checked_mul(1000)).ok_or_else(malformed)?;
    let signatures = parts.iter().filter_map(|part| encoding::hexadecimal(part.strip_prefix("v0=")?));
    let signatures: Vec<Vec<u8>> = signatures.take(MAX_SIGNATURES).collect();
    if signatures.is_empty() {
        return Err(malformed());
    }
    check_time(signed_at, now, ELEVENLABS_TOLERANCE_MS)?;
    let before = format!("{time}.").into_bytes();
    Ok(Signed { algorithm: Algorithm::Sha256, keys: owned(secrets), before, after: Vec::new(), signatures })
}

/// 2.1: `v=<unix milliseconds>,d=<64 lower-case hex>` in full, over the body followed by the digits.
fn retell(secrets: &[&[u8]], headers: &Headers, now: Timestamp) -> Result<Signed, Rejection> {
    const HEADER: &str = "x-retell-signature";
    let malformed = || malformed(HEADER, "v=<unix milliseconds>,d=<64 lower-case hex digits>");
    let value = headers.only(HEADER)?;
    let (time, signature) = value.strip_prefix("v=").and_then(|rest| rest.split_once(",d=")).ok_or_else(malformed)?;
    let is_lower_hex = signature.len() == 64 && signature.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_lower_hex {
        return Err(malformed());
    }
    let signed_at = digits(time).ok_or_else(malformed)?;
    let signature = encoding::hexadecimal(signature).ok_or_else(malformed)?;
    check_time(signed_at, now, TOLERANCE_MS)?;
    let after = time.as_bytes().to_vec();
    Ok(Signed { algorithm: Algorithm::Sha256, keys: owned(secrets), before: Vec::new(), after, signatures: vec![signature] })
}

/// 4.2: two parts told apart by position, time first, over `time.body`; base64 without padding, and hex to be safe.
fn agent_session(verification: &Verification, secrets: &[&[u8]], headers: &Headers, now: Timestamp) -> Result<Signed, Rejection> {
    let header = verification.header.as_deref().unwrap_or("x-whippy-signature");
    let malformed = || malformed(header, "two parts name=value with a comma between, time and signature");
    let (time, signature) = headers.only(header)?.split_once(',').ok_or_else(malformed)?;
    let (time, signature) = (value_of(time), value_of(signature));
    let signed_at = digits(time).map(by_magnitude).ok_or_else(malformed)?;
    let is_hex = signature.len() == 64 && signature.bytes().all(|byte| byte.is_ascii_hexdigit());
    let signature = if is_hex { encoding::hexadecimal(signature) } else { encoding::base64(signature.as_bytes()) };
    let signature = signature.ok_or_else(malformed)?;
    check_time(signed_at, now, TOLERANCE_MS)?;
    let before = format!("{time}.").into_bytes();
    Ok(Signed { algorithm: Algorithm::Sha256, keys: owned(secrets), before, after: Vec::new(), signatures: vec![signature] })
}

/// Returns the value of `name=value`, or the whole part when it has no name; base64 may end in `=`.
fn value_of(part: &str) -> &str {
    match part.trim().split_once('=') {
        Some((name, value)) if name.len() <= 16 && !value.trim_matches('=').is_empty() => value,
        _ => part.trim(),
    }
}

/// 3.1: everything may be configured; without settings `x-signature` is the hex over `{timestamp}.{body}`, `x-timestamp` the time.
fn configurable(verification: &Verification, secrets: &[&[u8]], headers: &Headers, now: Timestamp) -> Result<Signed, Rejection> {
    let format = verification.format.as_deref().unwrap_or("{timestamp}.{body}");
    let format = Format::parse(format).map_err(|_| Rejection::UnusableFormat)?;
    let algorithm = verification.algorithm.unwrap_or_default();
    let keys = if verification.secret_is_base64 {
        secrets.iter().filter_map(|secret| encoding::base64(secret)).collect()
    } else {
        owned(secrets)
    };
    if keys.is_empty() {
        return Err(Rejection::NoUsableSecret);
    }

    let header = verification.header.as_deref().unwrap_or("x-signature");
    let signatures = configured_signatures(verification, header, headers.only(header)?, algorithm)?;

    // What does not sign its time cannot be judged by it.
    let mut time = "";
    if format.contains(&Part::Timestamp) {
        let time_header = verification.timestamp_header.as_deref().unwrap_or("x-timestamp");
        time = headers.only(time_header)?;
        let signed_at = digits(time).map(by_magnitude).ok_or_else(|| malformed(time_header, "a unix time in digits"))?;
        check_time(signed_at, now, TOLERANCE_MS)?;
    }
    let mut id = "";
    if format.contains(&Part::Id) {
        id = headers.only(headers.first_of(&["svix-id", "webhook-id", "x-message-id"]))?;
    }
    let written = |parts: &[Part]| -> Vec<u8> {
        let write = |part: &Part| match part {
            Part::Literal(text) => text.clone(),
            Part::Timestamp => time.to_owned(),
            Part::Id => id.to_owned(),
            Part::Method => "POST".to_owned(),
        };
        parts.iter().map(write).collect::<String>().into_bytes()
    };
    Ok(Signed { algorithm, keys, before: written(&format.before), after: written(&format.after), signatures })
}

/// Reads one signature, or several with spaces between as Svix writes them, each with its prefix.
fn configured_signatures(
    verification: &Verification,
    header: &str,
    value: &str,
    algorithm: Algorithm,
) -> Result<Vec<Vec<u8>>, Rejection> {
    let usual_prefix = format!("{algorithm}=");
    let read = |signature: &str| {
        let bare = match &verification.prefix {
            Some(prefix) => signature.strip_prefix(prefix.as_str())?,
            // Seen in the wild without having been configured (3.1).
            None => signature.strip_prefix(usual_prefix.as_str()).unwrap_or(signature),
        };
        match verification.encoding.unwrap_or_default() {
            Encoding::Hex => encoding::hexadecimal(bare),
            Encoding::Base64 => encoding::base64(bare.as_bytes()),
        }
    };
    let signatures: Vec<Vec<u8>> = value.split_ascii_whitespace().filter_map(read).take(MAX_SIGNATURES).collect();
    if signatures.is_empty() {
        return Err(malformed(header, "a signature in the configured encoding, after the configured prefix"));
    }
    Ok(signatures)
}

/// Standard Webhooks: `v1,<base64>` with spaces between, over `id.timestamp.body`. Svix's own names are the same scheme.
fn standard_webhooks(secrets: &[&[u8]], headers: &Headers, now: Timestamp) -> Result<Signed, Rejection> {
    let keys: Vec<Vec<u8>> = secrets.iter().filter_map(|secret| encoding::standard_webhooks_key(secret)).collect();
    if keys.is_empty() {
        return Err(Rejection::NoUsableSecret);
    }
    let id = headers.only(headers.first_of(&["webhook-id", "svix-id"]))?;
    let time_header = headers.first_of(&["webhook-timestamp", "svix-timestamp"]);
    let time = headers.only(time_header)?;
    let signature_header = headers.first_of(&["webhook-signature", "svix-signature"]);
    let signatures = headers.only(signature_header)?.split_ascii_whitespace();
    let signatures = signatures.filter_map(|signature| encoding::base64(signature.strip_prefix("v1,")?.as_bytes()));
    let signatures: Vec<Vec<u8>> = signatures.take(MAX_SIGNATURES).collect();
    if signatures.is_empty() {
        return Err(malformed(signature_header, "one or more v1,<base64> with spaces between"));
    }
    let seconds = digits(time).and_then(|seconds| seconds.checked_mul(1000));
    let signed_at = seconds.ok_or_else(|| malformed(time_header, "unix seconds in digits"))?;
    check_time(signed_at, now, TOLERANCE_MS)?;
    let before = format!("{id}.{time}.").into_bytes();
    Ok(Signed { algorithm: Algorithm::Sha256, keys, before, after: Vec::new(), signatures })
}

/// A header that holds the secret itself; `x-vapi-secret` unless said otherwise (3.1).
fn shared_secret(verification: &Verification, secrets: &[&[u8]], headers: &Headers) -> Result<Verifier, Rejection> {
    let given = headers.only(verification.header.as_deref().unwrap_or("x-vapi-secret"))?;
    let prefix = verification.prefix.as_deref().unwrap_or_default();
    match given.strip_prefix(prefix) {
        Some(given) => compare(given, secrets),
        None => Err(Rejection::Mismatch),
    }
}

/// A token, with or without `Bearer` before it (3.1).
fn bearer(verification: &Verification, secrets: &[&[u8]], headers: &Headers) -> Result<Verifier, Rejection> {
    let given = headers.only(verification.header.as_deref().unwrap_or("authorization"))?.trim();
    if let Some(prefix) = verification.prefix.as_deref() {
        return compare(given.strip_prefix(prefix).ok_or(Rejection::Mismatch)?, secrets);
    }
    match given.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => compare(token.trim_start(), secrets),
        _ => compare(given, secrets),
    }
}

fn compare(given: &str, secrets: &[&[u8]]) -> Result<Verifier, Rejection> {
    let mut genuine = false;
    for secret in secrets {
        genuine |= constant_time::verify_slices_are_equal(given.as_bytes(), secret).is_ok();
    }
    if genuine { Ok(Verifier(State::Settled)) } else { Err(Rejection::Mismatch) }
}

fn malformed(header: &str, expected: &'static str) -> Rejection {
    Rejection::Malformed { header: header.to_owned(), expected }
}

/// Reads decimal digits and nothing else: no sign, no spaces.
fn digits(text: &str) -> Option<i64> {
    let all_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits { text.parse().ok() } else { None }
}

/// Returns milliseconds, given a time whose unit nobody documents: seconds reach this magnitude in the year 5138.
const fn by_magnitude(time: i64) -> i64 {
    if time >= 100_000_000_000 { time } else { time * 1000 }
}

fn check_time(signed_at_ms: i64, now: Timestamp, tolerance_ms: i64) -> Result<(), Rejection> {
    let age_ms = now.as_millis().saturating_sub(signed_at_ms);
    let seconds = age_ms.saturating_abs() / 1000;
    let tolerance = tolerance_ms / 1000;
    if age_ms > tolerance_ms {
        Err(Rejection::TooOld { seconds, tolerance })
    } else if age_ms < -tolerance_ms {
        Err(Rejection::InFuture { seconds, tolerance })
    } else {
        Ok(())
    }
}
