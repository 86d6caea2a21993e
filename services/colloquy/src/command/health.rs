//! `colloquy health`: exit 0 when the addressed service is serving. For container probes.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Arg, ArgMatches, Command};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::connection::{reach, running_at, tls_arguments};

const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn command() -> Command {
    Command::new("health")
        .about("Exit 0 when the addressed service is serving")
        .arg(
            Arg::new("service")
                .value_name("GRPC-SERVICE")
                .default_value("")
                .help("Full name, for example colloquy.log.v1.EventLogService; none means the whole server"),
        )
        .arg(
            Arg::new("grpc")
                .long("grpc")
                .value_name("URL")
                .help("The server's gRPC address; default: COLLOQUY_GRPC_ADDR, else the one running in the data folder"),
        )
        .arg(
            Arg::new("data-dir")
                .long("data-dir")
                .env("COLLOQUY_DATA_DIR")
                .default_value("./colloquy-data")
                .value_name("FOLDER")
                .help("The data folder of a server on this machine"),
        )
        .args(tls_arguments())
}

pub(super) async fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let (target, transport) = reach(matches, || own_address(matches))?;
    let service = matches.get_one::<String>("service").cloned().unwrap_or_default();
    let mut client = HealthClient::new(transport);
    let answer = tokio::time::timeout(PATIENCE, client.check(HealthCheckRequest { service: service.clone() })).await;
    let status = answer.context("no answer in time")?.map_err(|status| anyhow::anyhow!("{}", status.message()))?.into_inner();
    if status.status() != ServingStatus::Serving {
        bail!("'{service}' at {target} is {}", status.status().as_str_name());
    }
    println!("serving");
    Ok(())
}

fn own_address(matches: &ArgMatches) -> anyhow::Result<String> {
    let folder = Path::new(matches.get_one::<String>("data-dir").map_or("./colloquy-data", String::as_str));
    match std::env::var("COLLOQUY_GRPC_ADDR") {
        // A wildcard is where to listen, not where to call; port 0 says nothing at all.
        Ok(listen) if !listen.is_empty() && !listen.ends_with(":0") => {
            Ok(listen.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]"))
        }
        _ => running_at(folder, "grpc"),
    }
}
