//! `colloquy serve` and `colloquy demo`.

use anyhow::bail;
use clap::ArgMatches;
use colloquy_service::telemetry::{self, Telemetry};

use crate::compose::Running;
use crate::demo;
use crate::settings::{LATER_SERVICES, SERVICES, Settings, Values};

pub(super) async fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let named: Vec<&String> = matches.get_many("services").into_iter().flatten().collect();
    let services = chosen(&named)?;
    let values = Values::collect(matches)?;
    let settings = Settings::read(&values)?;
    let telemetry = start_telemetry(&settings, &values, &services)?;
    let running = Running::start(&settings, &services, telemetry.registry()).await?;
    running.print_made_key();
    let outcome = running.until_stopped().await;
    flush(telemetry).await;
    outcome
}

pub(super) async fn demo(matches: &ArgMatches) -> anyhow::Result<()> {
    let values = Values::collect(matches)?;
    let settings = Settings::read(&values)?;
    let telemetry = start_telemetry(&settings, &values, &SERVICES)?;
    let running = Running::start(&settings, &SERVICES, telemetry.registry()).await?;
    let key = demo::run(&running, &settings).await?;
    let outcome = if matches.get_flag("exit") {
        running.stop().await
    } else {
        demo::print(&running, &key);
        running.until_stopped().await
    };
    flush(telemetry).await;
    outcome
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
        if LATER_SERVICES.contains(&name.as_str()) {
            bail!("the service '{name}' is not part of this release yet");
        }
        if !SERVICES.contains(&name.as_str()) {
            bail!("there is no service '{name}'; there are: {}", SERVICES.join(", "));
        }
    }
    Ok(SERVICES.into_iter().filter(|service| named.iter().any(|name| *name == service)).collect())
}

async fn flush(telemetry: Telemetry) {
    // The exporters block; off the workers, and bounded by the runtime's own shutdown limit.
    tokio::task::spawn_blocking(move || telemetry.shutdown()).await.ok();
}
