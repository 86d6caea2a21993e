//! `colloquy migrate`: bring every database up to date and exit.

use clap::ArgMatches;

use crate::compose;
use crate::keyring::Keyring;
use crate::settings::{Settings, Values};

pub(super) async fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let settings = Settings::read(&Values::collect(matches)?)?;
    let keyring = Keyring::open(settings.master_key.as_deref(), &settings.data_dir)?;
    let databases = &settings.databases;
    colloquy_access::migrate(&databases.access).await?;
    println!("access is up to date");
    colloquy_ingestion::migrate(&compose::ingestion_settings(&settings, &keyring)).await?;
    println!("ingestion is up to date");
    colloquy_conversation_store::migrate(&databases.conversation_store).await?;
    println!("conversation-store is up to date");
    colloquy_transcript::migrate(&databases.transcript).await?;
    println!("transcript is up to date");
    Ok(())
}
