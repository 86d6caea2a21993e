//! Where each setting's value came from.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};

use super::table::{Setting, TABLE};

/// Every setting's text and its source.
pub(crate) struct Values(BTreeMap<&'static str, (String, String)>);

/// Returns the command-line arguments of the settings.
pub(crate) fn arguments() -> Vec<Arg> {
    let file = Arg::new("config")
        .long("config")
        .env("COLLOQUY_CONFIG")
        .value_name("FILE")
        .help("TOML file with settings: their names with underscores, for example http_addr = \"127.0.0.1:8080\"");
    std::iter::once(file).chain(TABLE.iter().map(argument)).collect()
}

fn argument(setting: &Setting) -> Arg {
    let argument = Arg::new(setting.name)
        .long(setting.name)
        .env(setting.environment())
        .hide_env_values(true)
        .value_name("VALUE")
        .allow_hyphen_values(true)
        .help(setting.help);
    match setting.default {
        Some(default) if default.is_empty() => argument.default_value(default).hide_default_value(true),
        Some(default) => argument.default_value(default),
        None => argument,
    }
}

impl Values {
    /// Collects every setting from the parsed command line and the file it names.
    ///
    /// # Errors
    /// When the file cannot be read, is not TOML, or holds a setting that does not exist.
    pub(crate) fn collect(matches: &ArgMatches) -> anyhow::Result<Self> {
        let path = matches.get_one::<String>("config");
        let file = match path {
            Some(path) => read_file(Path::new(path))?,
            None => BTreeMap::new(),
        };
        let mut values = BTreeMap::new();
        for setting in TABLE {
            let given = matches.get_one::<String>(setting.name).cloned();
            let from_file = file.get(&setting.name.replace('-', "_")).cloned();
            let value = match (matches.value_source(setting.name), given, from_file, path) {
                (Some(ValueSource::CommandLine), Some(text), ..) => (text, format!("flag --{}", setting.name)),
                // An empty variable is a variable that is not set: container templates cannot leave one out.
                (Some(ValueSource::EnvVariable), Some(text), ..) if !text.is_empty() => {
                    (text, format!("environment {}", setting.environment()))
                }
                (_, _, Some(text), Some(path)) => (text, format!("file {path}")),
                _ => match setting.default {
                    Some(default) => (default.to_owned(), "default".to_owned()),
                    None => continue,
                },
            };
            values.insert(setting.name, value);
        }
        Ok(Self(values))
    }

    /// Returns a setting's text; empty when it has none.
    pub(crate) fn text(&self, name: &str) -> String {
        self.optional(name).unwrap_or_default()
    }

    /// Returns a setting's text when it has one.
    pub(crate) fn optional(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|(text, _)| text.clone())
    }

    /// Names what was set, with the values of those that may be shown.
    pub(crate) fn summary(&self) -> String {
        let set = self.0.iter().filter(|(_, (_, source))| source != "default");
        let shown =
            set.map(|(name, (text, _))| if may_be_shown(name, text) { format!("{name}={text}") } else { (*name).to_owned() });
        shown.collect::<Vec<_>>().join(" ")
    }

    /// Names a setting, its value when that may be shown, and where it came from.
    pub(crate) fn describe(&self, name: &str) -> String {
        match self.0.get(name) {
            Some((text, source)) if may_be_shown(name, text) => format!("{name} = '{text}' (from {source})"),
            Some((_, source)) => format!("{name} (from {source})"),
            None => name.to_owned(),
        }
    }
}

/// Returns whether a setting's text may stand in a message. An address may hold a password before its '@', whatever it is for.
fn may_be_shown(name: &str, text: &str) -> bool {
    let is_secret = TABLE.iter().any(|setting| setting.name == name && setting.secret) || name.ends_with("database-url");
    !is_secret && !text.contains('@')
}

fn read_file(path: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("config: cannot read {shown}"))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        // Not the error itself, which quotes the line: it may be the one with the key.
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
        anyhow::anyhow!("config: {shown} is not TOML: {} (near line {line})", error.message())
    })?;
    let mut values = BTreeMap::new();
    for (key, value) in table {
        if !TABLE.iter().any(|setting| setting.name.replace('-', "_") == key) {
            let known: Vec<String> = TABLE.iter().map(|setting| setting.name.replace('-', "_")).collect();
            bail!("config: {shown} has '{key}', which is no setting; there are: {}", known.join(", "));
        }
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            _ => bail!("config: '{key}' in {shown} must be a text or a whole number"),
        };
        values.insert(key, text);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;
    use crate::settings::Settings;

    fn collect(arguments_given: &[&str]) -> anyhow::Result<Values> {
        let command = Command::new("colloquy").args(arguments());
        Values::collect(&command.get_matches_from(std::iter::once(&"colloquy").chain(arguments_given)))
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("colloquy.toml");
        std::fs::write(&path, "http_addr = \"127.0.0.1:1\"\ngrpc_addr = \"127.0.0.1:2\"\nmax_webhook_mib = 3").unwrap();
        let values = collect(&["--config", path.to_str().unwrap(), "--grpc-addr", "127.0.0.1:9"]).unwrap();
        assert_eq!((values.text("http-addr"), values.text("grpc-addr")), ("127.0.0.1:1".to_owned(), "127.0.0.1:9".to_owned()));
        assert_eq!(values.text("max-webhook-mib"), "3");
        assert_eq!(values.text("metrics-addr"), "127.0.0.1:9464");
    }

    #[test]
    fn an_unknown_setting_in_the_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("colloquy.toml");
        std::fs::write(&path, "http_adr = \"127.0.0.1:1\"").unwrap();
        let error = collect(&["--config", path.to_str().unwrap()]).err().unwrap().to_string();
        assert!(error.contains("'http_adr'") && error.contains("http_addr"), "{error}");
    }

    #[test]
    fn every_bad_setting_is_reported_at_once_with_its_source_and_no_secret() {
        let given = ["--http-addr", "nowhere", "--database-url", "mysql://user:hunter2@db", "--max-webhook-mib", "0"];
        let given = [given.as_slice(), &["--log-url", "natss://colloquy:hunter2@nats:4222"]].concat();
        let values = collect(&given).unwrap();
        let error = Settings::read(&values).err().unwrap().to_string();
        let parts = ["http-addr = 'nowhere' (from flag --http-addr)", "database-url (from flag", "max-webhook-mib = '0'"];
        for part in parts.iter().chain(&["log-url (from flag --log-url) must be"]) {
            assert!(error.contains(part), "{part} is missing in: {error}");
        }
        assert!(!error.contains("hunter2"), "{error}");
        let summary = values.summary();
        assert!(summary.contains("http-addr=nowhere") && summary.contains("log-url"), "{summary}");
        assert!(!summary.contains("hunter2"), "{summary}");
    }

    #[test]
    fn services_have_addresses_and_a_certificate_has_a_key() {
        let given = ["--access-url", "https://10.0.0.1:1,10.0.0.2:2", "--tls-cert", "a.pem", "--tls-key", "b.pem"];
        let settings = Settings::read(&collect(&given).unwrap()).unwrap();
        assert_eq!(settings.service_url("access").unwrap().to_string(), "https://10.0.0.1:1,10.0.0.2:2");
        assert!(settings.tls.certificate.is_some() && settings.tls.authorities.is_none());

        let given = ["--access-url", "access:50051", "--tls-cert", "a.pem", "--max-connection-age-seconds", "0"];
        let error = Settings::read(&collect(&given).unwrap()).err().unwrap().to_string();
        for part in ["access-url = 'access:50051'", "tls-cert = 'a.pem'", "max-connection-age-seconds = '0'"] {
            assert!(error.contains(part), "{part} is missing in: {error}");
        }
    }

    #[test]
    fn who_serves_needs_a_certificate_to_ask_callers_for_theirs() {
        let given = ["--tls-ca", "ca.pem"];
        // Commands that only call need no certificate of their own.
        assert!(Settings::read(&collect(&given).unwrap()).is_ok());
        let error = Settings::read_to_serve(&collect(&given).unwrap()).err().unwrap().to_string();
        assert!(error.contains("tls-ca = 'ca.pem' (from flag --tls-ca) needs tls-cert and tls-key"), "{error}");
        let given = [given.as_slice(), &["--tls-cert", "a.pem", "--tls-key", "b.pem"]].concat();
        assert!(Settings::read_to_serve(&collect(&given).unwrap()).is_ok());
    }
}
