//! How the commands that talk to a server reach it.

use std::path::Path;

use anyhow::{Context, bail};
use clap::{Arg, ArgMatches};
use colloquy_service::auth::SERVICE_TOKEN;
use colloquy_service::transport::{self, Transport};
use tonic::metadata::{Ascii, MetadataKey, MetadataValue};

use crate::keyring::Keyring;

/// The arguments of a command that talks to a server.
pub(super) fn arguments() -> [Arg; 3] {
    [
        Arg::new("grpc")
            .long("grpc")
            .value_name("URL")
            .help("The server's gRPC address; default: the one running in the data folder"),
        Arg::new("api-key")
            .long("api-key")
            .env("COLLOQUY_API_KEY")
            .hide_env_values(true)
            .value_name("KEY")
            .help("API key; default: this installation's own trust, when its data folder is readable"),
        Arg::new("data-dir")
            .long("data-dir")
            .env("COLLOQUY_DATA_DIR")
            .default_value("./colloquy-data")
            .value_name("FOLDER")
            .help("The data folder of a server on this machine"),
    ]
}

/// A server, and what proves that the command may talk to it.
pub(super) struct Connection {
    pub(super) transport: Transport,
    credential: Option<(MetadataKey<Ascii>, MetadataValue<Ascii>)>,
}

impl Connection {
    /// Finds the server and the credential.
    pub(super) fn open(matches: &ArgMatches) -> anyhow::Result<Self> {
        let folder = Path::new(matches.get_one::<String>("data-dir").map_or("./colloquy-data", String::as_str));
        let url = match matches.get_one::<String>("grpc") {
            Some(url) => url.clone(),
            None => format!("http://{}", running_at(folder, "grpc")?),
        };
        let credential = match matches.get_one::<String>("api-key") {
            Some(key) => Some(("x-api-key", key.clone())),
            None if folder.join("master.key").is_file() => {
                Some((SERVICE_TOKEN, Keyring::open(None, folder)?.service_token().as_ref().to_owned()))
            }
            None => None,
        };
        let credential = match credential {
            Some((name, value)) => {
                let mut value: MetadataValue<Ascii> = value.parse().context("api-key must be visible ASCII")?;
                value.set_sensitive(true);
                Some((MetadataKey::from_static(name), value))
            }
            None => None,
        };
        let transport = transport::connect(&url).with_context(|| format!("grpc: '{url}' is not an http:// address"))?;
        Ok(Self { transport, credential })
    }

    /// Returns `message` as a request that carries the credential.
    pub(super) fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        if let Some((name, value)) = &self.credential {
            request.metadata_mut().insert(name.clone(), value.clone());
        }
        request
    }
}

/// Returns where the server of a data folder listens.
pub(super) fn running_at(folder: &Path, which: &str) -> anyhow::Result<String> {
    let path = folder.join("addresses.json");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("no server is running in {} (there is no addresses.json); say where it is", folder.display()))?;
    let addresses: serde_json::Value = serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
    match addresses.get(which).and_then(serde_json::Value::as_str) {
        Some(address) => Ok(address.to_owned()),
        None => bail!("{} names no {which} address", path.display()),
    }
}
