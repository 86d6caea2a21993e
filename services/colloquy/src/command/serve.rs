//! `colloquy serve` and `colloquy demo`.

use std::time::Duration;

use anyhow::bail;
use clap::ArgMatches;
use colloquy_service::telemetry::{self, Telemetry};
use prometheus::Registry;

use crate::compose::Running;
use crate::demo;
use crate::settings::{SERVICES, Settings, Values};
use crate::signals::StopSignals;

/// How long a collector that does not answer may hold up the end.
const FLUSH_LIMIT: Duration = Duration::from_secs(3);

pub(super) async fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let mut signals = StopSignals::listen()?;
    let named: Vec<&String> = matches.get_many("services").into_iter().flatten().collect();
    let services = chosen(&named)?;
    let values = Values::collect(matches)?;
    let settings = Settings::read_to_serve(&values)?;
    let telemetry = start_telemetry(&settings, &values, &services)?;
    let outcome = serve(&settings, &services, telemetry.registry(), &mut signals).await;
    flush(telemetry).await;
    outcome
}

async fn serve(
    settings: &Settings,
    services: &[&'static str],
    registry: Registry,
    signals: &mut StopSignals,
) -> anyhow::Result<()> {
    let Some(running) = start(settings, services, registry, signals).await? else { return Ok(()) };
    running.print_made_key();
    running.until_stopped(signals).await
}

/// Starts the services; `None` when the process is asked to stop meanwhile.
async fn start(
    settings: &Settings,
    services: &[&'static str],
    registry: Registry,
    signals: &mut StopSignals,
) -> anyhow::Result<Option<Running>> {
    tokio::select! {
        started = Running::start(settings, services, registry) => started.map(Some),
        () = signals.received() => {
            tracing::info!("stopping before everything has started");
            Ok(None)
        }
    }
}

pub(super) async fn demo(matches: &ArgMatches) -> anyhow::Result<()> {
    let mut signals = StopSignals::listen()?;
    let values = Values::collect(matches)?;
    let settings = Settings::read_to_serve(&values)?;
    let telemetry = start_telemetry(&settings, &values, &SERVICES)?;
    let outcome = show(&settings, telemetry.registry(), matches.get_flag("exit"), &mut signals).await;
    flush(telemetry).await;
    outcome
}

async fn show(settings: &Settings, registry: Registry, exit: bool, signals: &mut StopSignals) -> anyhow::Result<()> {
    if let Some(running) = start(settings, &SERVICES, registry, signals).await? {
        let key = tokio::select! {
            key = demo::run(&running, settings) => Some(key?),
            () = signals.received() => None,
        };
        match key {
            Some(key) if !exit => {
                demo::print(&running, &key);
                return running.until_stopped(signals).await;
            }
            Some(_) => return running.stop().await,
            None => running.stop().await?,
        }
    }
    if exit {
        // Whoever waits for the samples would take it for success.
        bail!("stopped before every sample was readable");
    }
    Ok(())
}

/// Sets up logs, traces and metrics, and says what is starting.
fn start_telemetry(settings: &Settings, values: &Values, services: &[&'static str]) -> anyhow::Result<Telemetry> {
    let name = if services.len() == SERVICES.len() { "all".to_owned() } else { services.join("+") };
    let version = env!("CARGO_PKG_VERSION");
    let telemetry = telemetry::init(settings.log_format, &format!("colloquy-{name}"), version)?;
    tracing::info!(version, settings = values.summary(), "colloquy {version} starts: {}", services.join(", "));
    Ok(telemetry)
}

fn chosen(named: &[&String]) -> anyhow::Result<Vec<&'static str>> {
    if named.is_empty() {
        return Ok(SERVICES.to_vec());
    }
    for name in named {
        if !SERVICES.contains(&name.as_str()) {
            bail!("there is no service '{name}'; there are: {}", SERVICES.join(", "));
        }
    }
    Ok(SERVICES.into_iter().filter(|service| named.iter().any(|name| *name == service)).collect())
}

/// Sends the telemetry that is still held, for at most [`FLUSH_LIMIT`].
async fn flush(telemetry: Telemetry) {
    // The exporters block, so they run off the workers; one that still does is left behind when the runtime is shut down.
    let flushing = tokio::task::spawn_blocking(move || telemetry.shutdown());
    if tokio::time::timeout(FLUSH_LIMIT, flushing).await.is_err() {
        tracing::warn!("telemetry could not be flushed in {} seconds", FLUSH_LIMIT.as_secs());
    }
}
