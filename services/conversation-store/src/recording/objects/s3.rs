//! An S3 bucket, or one of its kin, reached as the usual `AWS_…` variables say.
//!
//! Read are those that `object_store` knows: among them `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL` and `AWS_ENDPOINT` (the first of
//! them that is set), `AWS_REGION`, `AWS_DEFAULT_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, a
//! web identity, container and instance credentials, `AWS_VIRTUAL_HOSTED_STYLE_REQUEST` and `AWS_ALLOW_HTTP`. Profiles are not.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::anyhow;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, RetryConfig};

use super::outline;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the longest request may take, which is the copy of a whole recording within the store.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a request is tried again before the caller is told, who then may come again.
const RETRY_TIMEOUT: Duration = Duration::from_secs(6);
const RETRIES: usize = 5;
const LONGEST_BACKOFF: Duration = Duration::from_secs(2);

/// Variables that say one thing, the stronger later.
const ENDPOINTS: [&str; 3] = ["AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"];

/// Sets up `bucket` by environment variables; nothing is asked of the server yet.
///
/// # Errors
/// When the variables make no sense.
pub(super) fn open(bucket: &str, variables: impl IntoIterator<Item = (OsString, OsString)>) -> anyhow::Result<AmazonS3> {
    // What a variable says may be secret, and is not repeated.
    let cannot = |error: object_store::Error| {
        anyhow!("cannot set up the S3 bucket {bucket} as the AWS_… variables say: {}", outline::of(&error))
    };
    settings(variables).with_bucket_name(bucket).build().map_err(cannot)
}

fn settings(variables: impl IntoIterator<Item = (OsString, OsString)>) -> AmazonS3Builder {
    let backoff = BackoffConfig { max_backoff: LONGEST_BACKOFF, ..BackoffConfig::default() };
    let retry = RetryConfig { backoff, max_retries: RETRIES, retry_timeout: RETRY_TIMEOUT };
    let client = ClientOptions::new().with_connect_timeout(CONNECT_TIMEOUT).with_timeout(REQUEST_TIMEOUT);
    let mut builder = AmazonS3Builder::new().with_client_options(client).with_retry(retry);
    let mut endpoint: Option<(usize, String)> = None;
    let mut http_is_settled = false;
    for (name, value) in variables {
        let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) else { continue };
        // An empty variable is how a manifest says that there is none.
        if value.is_empty() || !name.starts_with("AWS_") {
            continue;
        }
        if let Some(strength) = ENDPOINTS.iter().position(|known| *known == name) {
            if endpoint.as_ref().is_none_or(|(known, _)| *known < strength) {
                endpoint = Some((strength, value));
            }
        } else if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            http_is_settled |= key == AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp);
            builder = builder.with_config(key, value);
        }
    }
    let Some((_, endpoint)) = endpoint else { return builder };
    // Whoever names such an endpoint wants it, as with every other client of S3.
    if endpoint.starts_with("http://") && !http_is_settled {
        builder = builder.with_allow_http(true);
    }
    builder.with_endpoint(endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(variables: &[(&str, &str)]) -> AmazonS3Builder {
        settings(variables.iter().map(|(name, value)| (name.into(), value.into())))
    }

    fn value(builder: &AmazonS3Builder, key: AmazonS3ConfigKey) -> Option<String> {
        builder.get_config_value(&key)
    }

    #[test]
    fn the_endpoint_meant_for_s3_is_the_strongest() {
        let all = [("AWS_ENDPOINT_URL_S3", "https://c"), ("AWS_ENDPOINT", "https://a"), ("AWS_ENDPOINT_URL", "https://b")];
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let builder = set(&order.map(|number| all[number]));
            assert_eq!(value(&builder, AmazonS3ConfigKey::Endpoint).as_deref(), Some("https://c"));
        }
        assert_eq!(value(&set(&all[1..]), AmazonS3ConfigKey::Endpoint).as_deref(), Some("https://b"));
        assert_eq!(value(&set(&all[1..2]), AmazonS3ConfigKey::Endpoint).as_deref(), Some("https://a"));
    }

    #[test]
    fn an_empty_variable_says_nothing() {
        let builder =
            set(&[("AWS_ENDPOINT_URL", ""), ("AWS_ENDPOINT", "https://a"), ("AWS_REGION", ""), ("AWS_SESSION_TOKEN", "")]);
        assert_eq!(value(&builder, AmazonS3ConfigKey::Endpoint).as_deref(), Some("https://a"));
        assert_eq!(value(&builder, AmazonS3ConfigKey::Region), None);
        assert_eq!(value(&builder, AmazonS3ConfigKey::Token), None);
    }

    #[test]
    fn an_endpoint_without_tls_is_allowed_unless_forbidden() {
        let allowed = |variables: &[(&str, &str)]| {
            value(&set(variables), AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp)).as_deref() == Some("true")
        };
        assert!(allowed(&[("AWS_ENDPOINT_URL", "http://127.0.0.1:9000")]));
        assert!(!allowed(&[("AWS_ENDPOINT_URL", "https://s3.example.com")]));
        assert!(!allowed(&[("AWS_ENDPOINT_URL", "http://127.0.0.1:9000"), ("AWS_ALLOW_HTTP", "false")]));
        assert!(allowed(&[("AWS_ALLOW_HTTP", "true")]));
    }

    #[test]
    fn settings_that_make_no_sense_are_refused_without_repeating_them() {
        let variables = [
            ("AWS_ENDPOINT_URL", "http://me:hunter2@[nowhere"),
            ("AWS_ACCESS_KEY_ID", "AKIAHUNTER"),
            ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ];
        let error = open("calls", variables.map(|(name, value)| (name.into(), value.into())));
        let text = error.map(drop).map_or_else(|error| format!("{error:#} {error:?}"), |()| String::new());
        assert!(!text.to_lowercase().contains("hunter"), "{text}");
    }
}
