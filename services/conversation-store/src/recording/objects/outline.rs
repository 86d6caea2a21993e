//! What of a failure may be written down.
//!
//! The texts of a failed request hold its URL, which may have a password in it, and the server's answer, which may repeat what it
//! was sent: the key's id, what was signed, the signature. So only words from closed sets are taken from them.

use std::error::Error;

use object_store::client::HttpError;

/// No code of S3 is longer.
const LONGEST_CODE: usize = 64;

/// Returns the outline of a failure: what kind it is, and what the server or the system called it.
pub(super) fn of(error: &object_store::Error) -> String {
    let mut words = vec![kind(error).to_owned()];
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(http) = error.downcast_ref::<HttpError>() {
            words.push(format!("{:?}", http.kind()));
        }
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            words.push(io.kind().to_string());
        }
        cause = error.source();
    }
    let text = error.to_string();
    words.extend(after(&text, "status code: ", 3, |letter| letter.is_ascii_digit()).map(|status| format!("status {status}")));
    words.extend(after(&text, "<Code>", LONGEST_CODE, |letter| letter.is_ascii_alphanumeric()).map(str::to_owned));
    words.join(", ")
}

const fn kind(error: &object_store::Error) -> &'static str {
    use object_store::Error as E;
    match error {
        E::NotFound { .. } => "not found",
        E::InvalidPath { .. } => "invalid path",
        E::NotSupported { .. } | E::NotImplemented { .. } => "not supported",
        E::AlreadyExists { .. } => "exists already",
        E::Precondition { .. } => "precondition failed",
        E::PermissionDenied { .. } => "permission denied",
        E::Unauthenticated { .. } => "not authenticated",
        E::UnknownConfigurationKey { .. } => "unknown setting",
        _ => "failed",
    }
}

/// Returns the letters that follow `mark`, as far as they are `allowed`.
fn after<'a>(text: &'a str, mark: &str, longest: usize, allowed: impl Fn(char) -> bool) -> Option<&'a str> {
    let (_, rest) = text.split_once(mark)?;
    let end = rest.find(|letter| !allowed(letter)).unwrap_or(rest.len());
    (1..=longest).contains(&end).then(|| &rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    #[test]
    fn a_refusal_is_told_by_its_status_and_code_alone() {
        let text = "Error performing PUT http://me:secret@s3/b/acme/x - Server returned non-2xx status code: 403 Forbidden: \
            <Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>AKIA</AWSAccessKeyId></Error>";
        assert_eq!(of(&generic(text)), "failed, status 403, SignatureDoesNotMatch");
    }

    #[test]
    fn what_a_server_makes_up_is_not_repeated() {
        assert_eq!(of(&generic("<Code>the secret is x</Code>")), "failed, the");
        assert_eq!(of(&generic(&format!("<Code>{}</Code>", "a".repeat(65)))), "failed");
        assert_eq!(of(&generic("status code: none")), "failed");
    }

    #[test]
    fn the_system_is_quoted_by_its_own_words() {
        let source = std::io::Error::new(std::io::ErrorKind::StorageFull, "/srv/acme is full");
        let error = object_store::Error::Generic { store: "LocalFileSystem", source: Box::new(source) };
        assert_eq!(of(&error), "failed, no storage space");
    }
}
