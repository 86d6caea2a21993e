//! `colloquy migrate`: bring every database up to date and exit.

use anyhow::bail;
use clap::ArgMatches;
use colloquy_service::telemetry;

use crate::compose;
use crate::keyring::Keyring;
use crate::settings::{Settings, Values};
use crate::signals::StopSignals;

pub(super) async fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let mut signals = StopSignals::listen()?;
    let settings = Settings::read(&Values::collect(matches)?)?;
    telemetry::init_logs(settings.log_format, "colloquy-migrate")?;
    tokio::select! {
        migrated = migrate(&settings) => migrated,
        // What was under way is taken back by the database; the next run goes on from there.
        () = signals.received() => bail!("stopped before every database was up to date"),
    }
}

async fn migrate(settings: &Settings) -> anyhow::Result<()> {
    let keyring = Keyring::open(settings.master_key.as_deref(), &settings.data_dir)?;
    let databases = &settings.databases;
    colloquy_access::migrate(&databases.access).await?;
    println!("access is up to date");
    colloquy_ingestion::migrate(&compose::ingestion_settings(settings, &keyring)).await?;
    println!("ingestion is up to date");
    colloquy_conversation_store::migrate(&databases.conversation_store).await?;
    println!("conversation-store is up to date");
    colloquy_transcript::migrate(&databases.transcript).await?;
    println!("transcript is up to date");
    colloquy_analytics::migrate(&databases.analytics).await?;
    println!("analytics is up to date");
    colloquy_notification::migrate(&databases.notification).await?;
    println!("notification is up to date");
    colloquy_control::migrate(&databases.notification).await?;
    println!("control is up to date");
    Ok(())
}
