//! How the commands that talk to a server reach it.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Arg, ArgMatches};
use colloquy_service::auth::SERVICE_TOKEN;
use colloquy_service::tls::{Tls, TlsFiles};
use colloquy_service::transport::{self, Target, Transport};
use tonic::metadata::{Ascii, MetadataKey, MetadataValue};

use crate::keyring::Keyring;

/// The arguments of a command that talks to a server.
pub(super) fn arguments() -> Vec<Arg> {
    let own = [
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
    ];
    own.into_iter().chain(tls_arguments()).collect()
}

/// The TLS settings of `serve`, for a server that has them.
pub(super) fn tls_arguments() -> [Arg; 3] {
    let file = |name: &'static str, variable: &'static str, help: &'static str| {
        Arg::new(name).long(name).env(variable).hide_env_values(true).value_name("FILE").help(help)
    };
    [
        file("tls-cert", "COLLOQUY_TLS_CERT", "PEM file of the certificate to show; the server of this machine then speaks TLS"),
        file("tls-key", "COLLOQUY_TLS_KEY", "PEM file of the certificate's private key"),
        file("tls-ca", "COLLOQUY_TLS_CA", "PEM file of the authorities that sign the server's certificate"),
    ]
}

fn tls_files(matches: &ArgMatches) -> anyhow::Result<TlsFiles> {
    // An empty variable is a variable that is not set.
    let path = |name: &str| matches.get_one::<String>(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let certificate = match (path("tls-cert"), path("tls-key")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => bail!("tls-cert and tls-key go together"),
    };
    Ok(TlsFiles { certificate, authorities: path("tls-ca") })
}

/// Returns a transport to the server at `--grpc`, or else to this machine's own, and where it is.
pub(super) fn reach(
    matches: &ArgMatches,
    own_address: impl FnOnce() -> anyhow::Result<String>,
) -> anyhow::Result<(Target, Transport)> {
    let files = tls_files(matches)?;
    let (url, tls) = match matches.get_one::<String>("grpc") {
        Some(url) => (url.clone(), Tls::load(files)?),
        None => {
            let scheme = if files.certificate.is_some() { "https" } else { "http" };
            (format!("{scheme}://{}", own_address()?), Tls::load_for_own_server(files)?)
        }
    };
    let target: Target = url.parse().with_context(|| format!("grpc: '{url}'"))?;
    let transport = transport::connect(target.clone(), &tls)?;
    Ok((target, transport))
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
        let credential = match matches.get_one::<String>("api-key") {
            Some(key) => Some(("x-api-key", key.clone())),
            // Whoever has the installation's key may look at all of it, also where there is no data folder, as in a container.
            None => {
                let master = std::env::var("COLLOQUY_MASTER_KEY").ok().filter(|key| !key.is_empty());
                if master.is_some() || folder.join("master.key").is_file() {
                    let token = Keyring::open(master.as_deref(), folder)?.service_token();
                    Some((SERVICE_TOKEN, token.as_ref().to_owned()))
                } else {
                    None
                }
            }
        };
        let credential = match credential {
            Some((name, value)) => {
                let mut value: MetadataValue<Ascii> = value.parse().context("api-key must be visible ASCII")?;
                value.set_sensitive(true);
                Some((MetadataKey::from_static(name), value))
            }
            None => None,
        };
        let (_, transport) = reach(matches, || running_at(folder, "grpc"))?;
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
