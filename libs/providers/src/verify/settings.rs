//! How a source's deliveries are verified, as its owner chose, and which choices make sense.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hmac;
use colloquy_types::Provider;
use serde::{Deserialize, Serialize};

use super::encoding;
use super::format::Format;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Returns the word used in the API.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl FromStr for $name {
            type Err = UnknownSetting;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownSetting { allowed: words!(@list $($word),+) }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
    (@list $first:literal $(, $rest:literal)*) => { concat!($first $(, ", ", $rest)*) };
}

/// The text is none of the words allowed in its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be one of {allowed}")]
pub struct UnknownSetting {
    /// The words that are allowed, separated by commas.
    pub allowed: &'static str,
}

words! {
    /// What proves that a delivery is genuine.
    Scheme {
        /// The provider's own signature.
        #[default]
        Hmac = "hmac",
        /// Standard Webhooks: `webhook-id`, `webhook-timestamp`, `webhook-signature`.
        StandardWebhooks = "standard_webhooks",
        /// A header that holds the secret.
        SharedSecret = "shared_secret",
        /// A bearer token.
        Bearer = "bearer",
        /// Nothing. Has to be asked for.
        None = "none",
    }
}

words! {
    /// How a signature is written.
    Encoding {
        /// Hexadecimal digits.
        #[default]
        Hex = "hex",
        /// Base64, with or without padding.
        Base64 = "base64",
    }
}

words! {
    /// The hash within the HMAC.
    Algorithm {
        /// SHA-256.
        #[default]
        Sha256 = "sha256",
        /// SHA-512.
        Sha512 = "sha512",
        /// SHA-1, which HMAC does not weaken further; only for senders that know nothing else.
        Sha1 = "sha1",
    }
}

impl Algorithm {
    pub(super) const fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        }
    }
}

/// How a source's deliveries are verified. Absent settings take the provider's defaults.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Verification {
    /// What proves that a delivery is genuine.
    pub scheme: Scheme,
    /// The header that holds the signature, secret or token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The header that holds the time of signing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp_header: Option<String>,
    /// What is signed, with the placeholders `{timestamp}`, `{body}`, `{id}` (or `{svix-id}`) and `{method}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// How the signature is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// What stands before the signature, secret or token in its header, for example `sha256=`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The hash within the HMAC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Algorithm>,
    /// Whether the secret is the base64 of the key rather than the key itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub secret_is_base64: bool,
}

/// The schemes a provider can be verified by. Retell signs everything and sends nothing else.
const fn schemes(provider: Provider) -> &'static [Scheme] {
    match provider {
        Provider::Retell => &[Scheme::Hmac, Scheme::StandardWebhooks, Scheme::None],
        Provider::ElevenLabs | Provider::Vapi | Provider::AgentSession | Provider::Native => {
            &[Scheme::Hmac, Scheme::StandardWebhooks, Scheme::SharedSecret, Scheme::Bearer, Scheme::None]
        }
    }
}

/// Returns whether the HMAC of `provider` is configured by the owner rather than fixed.
pub(super) const fn has_configurable_hmac(provider: Provider) -> bool {
    matches!(provider, Provider::Vapi | Provider::Native)
}

/// Returns what is wrong with the settings of a new source, as pairs of field and message; empty when nothing is.
pub fn validate(provider: Provider, verification: &Verification, secret: Option<&str>) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let mut problem = |field: &str, message: String| problems.push((field.to_owned(), message));
    let scheme = verification.scheme;
    if !schemes(provider).contains(&scheme) {
        let allowed: Vec<&str> = schemes(provider).iter().map(|scheme| scheme.as_str()).collect();
        problem("scheme", format!("must be one of {} for {provider}", allowed.join(", ")));
    }

    check_secret(verification, secret, &mut problem);

    for (field, header) in [("header", &verification.header), ("timestamp_header", &verification.timestamp_header)] {
        if header.as_deref().is_some_and(|name| http::HeaderName::from_bytes(name.as_bytes()).is_err()) {
            problem(field, "must be the name of an HTTP header".to_owned());
        }
    }
    if let Some(format) = &verification.format
        && let Err(message) = Format::parse(format)
    {
        problem("format", message);
    }

    let configurable = scheme == Scheme::Hmac && has_configurable_hmac(provider);
    let takes_header = configurable
        || matches!(scheme, Scheme::SharedSecret | Scheme::Bearer)
        || (scheme == Scheme::Hmac && provider == Provider::AgentSession);
    let takes_prefix = configurable || matches!(scheme, Scheme::SharedSecret | Scheme::Bearer);
    let settings = [
        ("header", verification.header.is_some(), takes_header),
        ("prefix", verification.prefix.is_some(), takes_prefix),
        ("timestamp_header", verification.timestamp_header.is_some(), configurable),
        ("format", verification.format.is_some(), configurable),
        ("encoding", verification.encoding.is_some(), configurable),
        ("algorithm", verification.algorithm.is_some(), configurable),
        ("secret_is_base64", verification.secret_is_base64, configurable),
    ];
    for (field, given, taken) in settings {
        if given && !taken {
            problem(field, format!("has no meaning for scheme {scheme} of {provider}"));
        }
    }
    problems
}

fn check_secret(verification: &Verification, secret: Option<&str>, problem: &mut impl FnMut(&str, String)) {
    const MAX_SECRET: usize = 1024;
    match (verification.scheme, secret) {
        (Scheme::None, Some(_)) => problem("secret", "must be absent for scheme none".to_owned()),
        (Scheme::None, None) => {}
        (scheme, None | Some("")) => problem("secret", format!("is required for scheme {scheme}")),
        (_, Some(secret)) if secret.len() > MAX_SECRET => {
            problem("secret", format!("must not be longer than {MAX_SECRET} bytes"));
        }
        (Scheme::StandardWebhooks, Some(secret)) if encoding::standard_webhooks_key(secret.as_bytes()).is_none() => {
            problem("secret", "must be base64, with or without whsec_ before it".to_owned());
        }
        (_, Some(secret)) if verification.secret_is_base64 && encoding::base64(secret.as_bytes()).is_none() => {
            problem("secret", "must be base64 as secret_is_base64 says".to_owned());
        }
        _ => {}
    }
}
