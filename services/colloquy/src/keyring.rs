//! The installation's master key and what is derived from it.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use aws_lc_rs::hmac;
use colloquy_storage::PageTokens;

/// The master key: 32 bytes that protect secrets at rest, page tokens, and services' trust in each other.
pub(crate) struct Keyring([u8; 32]);

impl Keyring {
    /// Takes the key from the settings, or from the data folder, where it is made when there is none yet.
    ///
    /// # Errors
    /// When the given key is not 32 bytes, or the file cannot be read or made.
    pub(crate) fn open(given: Option<&str>, data_dir: &Path) -> anyhow::Result<Self> {
        if let Some(text) = given {
            return decode(text).map(Self).context("master-key must be 32 bytes in hex or base64");
        }
        std::fs::create_dir_all(data_dir).with_context(|| format!("data-dir: cannot make {}", data_dir.display()))?;
        let path = data_dir.join("master.key");
        match std::fs::read_to_string(&path) {
            Ok(text) => decode(&text).map(Self).with_context(|| format!("{} does not hold a master key", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::make(&path),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn make(path: &Path) -> anyhow::Result<Self> {
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).context("no randomness")?;
        let folder = path.parent().context("the master key has no folder")?;
        // Written aside and linked into place: a second process starting now must see all of it or nothing, and must not win
        // with another key after this one was used.
        let aside = folder.join(format!("master.key.{}", std::process::id()));
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&aside).with_context(|| format!("cannot write {}", aside.display()))?;
        writeln!(file, "{}", hex(&key))?;
        file.sync_all()?;
        let linked = std::fs::hard_link(&aside, path);
        std::fs::remove_file(&aside).ok();
        match linked {
            Ok(()) => Ok(Self(key)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let text = std::fs::read_to_string(path)?;
                decode(&text).map(Self).context("the master key cannot be read")
            }
            Err(error) => Err(error).with_context(|| format!("cannot write {}", path.display())),
        }
    }

    /// Returns the key itself, for sealing secrets at rest.
    pub(crate) fn master(&self) -> [u8; 32] {
        self.0
    }

    /// Returns what seals page tokens.
    pub(crate) fn page_tokens(&self) -> PageTokens {
        PageTokens::new(&self.0)
    }

    /// Returns the token by which this installation's services recognise each other.
    pub(crate) fn service_token(&self) -> Arc<str> {
        hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.0), b"colloquy service token").as_ref()).into()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decode(text: &str) -> anyhow::Result<[u8; 32]> {
    use base64::Engine;
    let text = text.trim();
    let bytes = if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        (0..32).map(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16)).collect::<Result<Vec<u8>, _>>()?
    } else {
        base64::engine::general_purpose::STANDARD.decode(text)?
    };
    match bytes.try_into() {
        Ok(key) => Ok(key),
        Err(_) => bail!("wrong length"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_key_is_kept_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let made = Keyring::open(None, folder.path()).unwrap();
        assert_eq!(Keyring::open(None, folder.path()).unwrap().master(), made.master());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(folder.path().join("master.key")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn hex_and_base64_are_taken_and_anything_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let open = |text: &str| Keyring::open(Some(text), folder.path()).map(|keyring| keyring.master());
        assert_eq!(open(&"11".repeat(32)).unwrap(), [0x11; 32]);
        assert_eq!(open("ERERERERERERERERERERERERERERERERERERERERERE=").unwrap(), [0x11; 32]);
        assert!(open("short").is_err());
    }
}
