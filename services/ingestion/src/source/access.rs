//! How a source's provider is called, to steer running conversations: with which key, and where.

use colloquy_service::FieldErrors;
use url::Url;

use super::Secret;

/// The most characters of a key; providers' are far shorter.
const MAX_API_KEY_CHARS: usize = 1_024;
/// The most characters of a base URL.
const MAX_BASE_URL_CHARS: usize = 2_048;

/// How a provider is called.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Access {
    pub(crate) api_key: Option<Secret>,
    /// Where the provider's API stands, when it is not the usual address.
    pub(crate) base_url: Option<String>,
}

/// How a provider is called, its key encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SealedAccess {
    pub(crate) api_key: Option<Vec<u8>>,
    pub(crate) base_url: Option<String>,
}

/// What to change about an access. `None` leaves a field as it is, `Some(None)` empties it.
#[derive(Debug, Clone, Default)]
pub(crate) struct AccessChange {
    pub(crate) api_key: Option<Option<Secret>>,
    pub(crate) base_url: Option<Option<String>>,
}

impl AccessChange {
    /// Returns the change after which nothing is known.
    pub(crate) const fn forget() -> Self {
        Self { api_key: Some(None), base_url: Some(None) }
    }

    /// Returns the access of a source that had none.
    pub(crate) fn into_access(self) -> Access {
        Access { api_key: self.api_key.flatten(), base_url: self.base_url.flatten() }
    }

    /// Reads the fields of a request: absent ones stay, empty ones are emptied.
    pub(super) fn read(api_key: Option<String>, base_url: Option<String>, errors: &mut FieldErrors) -> Self {
        let given = |text: Option<String>| text.map(|text| Some(text).filter(|text| !text.is_empty()));
        let (api_key, base_url) = (given(api_key), given(base_url));
        if let Some(Some(key)) = &api_key {
            check_api_key(key, errors);
        }
        if let Some(Some(url)) = &base_url {
            check_base_url(url, errors);
        }
        Self { api_key: api_key.map(|key| key.map(Secret::new)), base_url }
    }
}

/// A key is sent in a header.
fn check_api_key(key: &str, errors: &mut FieldErrors) {
    const FIELD: &str = "source.control.api_key";
    errors.max_chars(FIELD, key, MAX_API_KEY_CHARS);
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        errors.add(FIELD, "must be visible ASCII characters without blanks");
    }
}

/// The provider's paths are put behind it, so it is no more than where they begin. Whether it may be called is decided when it is.
fn check_base_url(url: &str, errors: &mut FieldErrors) {
    const FIELD: &str = "source.control.base_url";
    errors.max_chars(FIELD, url, MAX_BASE_URL_CHARS);
    let Some(url) = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host()) else {
        errors.add(FIELD, "must be an http or https URL");
        return;
    };
    if !url.username().is_empty() || url.password().is_some() {
        errors.add(FIELD, "must not hold a user name or password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        errors.add(FIELD, "must not have a query or fragment");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(api_key: &str, base_url: &str) -> Vec<String> {
        let mut errors = FieldErrors::new();
        AccessChange::read(Some(api_key.to_owned()), Some(base_url.to_owned()), &mut errors);
        errors.finish().err().into_iter().flat_map(|problem| problem.fields).map(|bad| bad.field).collect()
    }

    #[test]
    fn a_key_fits_into_a_header_and_a_base_url_is_where_an_api_begins() {
        for url in ["https://api.eu.example", "http://127.0.0.1:8080/", "https://api.example/region/eu"] {
            assert_eq!(bad("key_1a.B-2/+=", url), Vec::<String>::new(), "{url}");
        }
        let urls = [
            "api.example",
            "ftp://api.example",
            "https://",
            "file:///etc/passwd",
            "https://user@api.example",
            "https://:secret@api.example",
            "https://api.example?key=1",
            "https://api.example#a",
            &format!("https://api.example/{}", "a".repeat(MAX_BASE_URL_CHARS)),
        ];
        for url in urls {
            assert_eq!(bad("key", url), ["source.control.base_url"], "{url}");
        }
        for key in ["two words", "line\nbreak", "schlüssel", &"k".repeat(MAX_API_KEY_CHARS + 1)] {
            assert_eq!(bad(key, ""), ["source.control.api_key"], "{key}");
        }
    }

    #[test]
    fn what_is_absent_stays_and_what_is_empty_is_forgotten() {
        let mut errors = FieldErrors::new();
        let absent = AccessChange::read(None, None, &mut errors);
        assert!(absent.api_key.is_none() && absent.base_url.is_none());
        let empty = AccessChange::read(Some(String::new()), Some(String::new()), &mut errors);
        assert!(matches!((empty.api_key, empty.base_url), (Some(None), Some(None))));
        assert!(errors.finish().is_ok());
    }
}
