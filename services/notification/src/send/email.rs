//! E-mail: a message in words, by SMTP.

use std::time::{Duration, UNIX_EPOCH};

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::PoolConfig;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use url::Url;
use uuid::Uuid;

use super::answer::Answered;
use super::text::excerpt;
use super::{Outgoing, webhook};
use crate::Smtp;
use crate::payload::Text;

/// For each step of the conversation with the server.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECTIONS: u32 = 8;
const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// Why e-mail cannot be set up. Says nothing of the URL, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSmtp {
    /// It is no URL, or none that an SMTP server has.
    #[error(
        "the SMTP server must be given as smtp://host:port or smtps://host:port, with user:password@ before the host if needed"
    )]
    Url,
    /// It is no address.
    #[error("the sender of e-mail must be an address like Colloquy <alerts@example.com>")]
    From,
}

/// Sends e-mail; connections are kept and used again.
pub(super) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Mailer {
    /// Must be called where a runtime is, which looks after the connections.
    pub(super) fn new(smtp: &Smtp) -> Result<Self, BadSmtp> {
        let from = smtp.from.parse().map_err(|_| BadSmtp::From)?;
        let url = with_tls(&smtp.url).ok_or(BadSmtp::Url)?;
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.as_str()).map_err(|_| BadSmtp::Url)?;
        let pool = PoolConfig::new().max_size(CONNECTIONS).idle_timeout(IDLE_CONNECTION_TIMEOUT);
        Ok(Self { transport: builder.timeout(Some(STEP_TIMEOUT)).pool_config(pool).build(), from })
    }

    pub(super) async fn send(&self, outgoing: &Outgoing, text: Text) -> Answered {
        let Some(message) = self.message(outgoing, text) else { return Answered::unsent("the address cannot be written to") };
        match self.transport.send(message).await {
            Ok(response) => Answered {
                status_code: Some(response.code().into()),
                taken: true,
                error: None,
                response: excerpt(response.message().collect::<Vec<_>>().join(" ").as_bytes()),
                timed_out: false,
            },
            Err(error) => failure(&error),
        }
    }

    fn message(&self, outgoing: &Outgoing, text: Text) -> Option<Message> {
        let address: Address = address_of(&outgoing.url)?.parse().ok()?;
        let sent_at = UNIX_EPOCH + Duration::from_millis(u64::try_from(outgoing.at.as_millis()).ok()?);
        let subject: String = text.subject.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, address))
            .date(sent_at)
            .message_id(Some(self.message_id(outgoing.message_id)))
            .subject(subject)
            .header(ContentType::TEXT_PLAIN)
            .body(text.body)
            .ok()
    }

    /// The same in every attempt, so that mailboxes can tell a repeat.
    fn message_id(&self, message_id: Uuid) -> String {
        format!("<{}@{}>", webhook::webhook_id(message_id), self.from.email.domain())
    }
}

/// Returns the address in `mailto:address`.
fn address_of(url: &str) -> Option<&str> {
    let address = url.strip_prefix("mailto:")?;
    Some(address.split_once('?').map_or(address, |(address, _)| address))
}

/// Without a word about TLS it is used where the server offers it, and required where a password is sent.
fn with_tls(url: &str) -> Option<Url> {
    let mut url = Url::parse(url).ok()?;
    let chosen = url.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value.into_owned());
    match (url.scheme(), chosen.as_deref()) {
        ("smtps", None) | ("smtp", Some("required" | "opportunistic")) => {}
        ("smtp", Some("none")) => url.set_query(None),
        ("smtp", None) => url.set_query(Some(if url.password().is_some() { "tls=required" } else { "tls=opportunistic" })),
        _ => return None,
    }
    url.host_str()?;
    Some(url)
}

fn failure(error: &lettre::transport::smtp::Error) -> Answered {
    let status_code = error.status().map(u16::from);
    let said = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    let text = match status_code {
        Some(code) => format!("the mail server answered {code}"),
        None if error.is_timeout() => "the mail server did not answer in time".to_owned(),
        None if error.is_tls() => "TLS with the mail server failed".to_owned(),
        None => "the mail server cannot be reached, or does not speak SMTP".to_owned(),
    };
    Answered {
        status_code,
        taken: false,
        error: Some(text),
        // Only what the server said; an error of ours would tell of the network behind us.
        response: status_code.and_then(|_| excerpt(said.as_bytes())),
        timed_out: error.is_timeout(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_used_where_it_can_be_and_required_where_a_password_is_sent() {
        let query = |url: &str| with_tls(url).map(|url| url.query().unwrap_or_default().to_owned());
        assert_eq!(query("smtp://mail:25").as_deref(), Some("tls=opportunistic"));
        assert_eq!(query("smtp://user:hush@mail:587").as_deref(), Some("tls=required"));
        assert_eq!(query("smtp://user:hush@mail:25?tls=none").as_deref(), Some(""));
        assert_eq!(query("smtp://mail:25?tls=required").as_deref(), Some("tls=required"));
        assert_eq!(query("smtps://mail").as_deref(), Some(""));
        for bad in ["", "mail:25", "http://mail", "smtp://", "smtp://mail?tls=maybe"] {
            assert_eq!(query(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_address_is_what_follows_mailto() {
        assert_eq!(address_of("mailto:a+b@example.com"), Some("a+b@example.com"));
        assert_eq!(address_of("mailto:a@example.com?bcc=x@example.com"), Some("a@example.com"));
        assert_eq!(address_of("a@example.com"), None);
    }
}
