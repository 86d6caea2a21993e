//! `colloquy migrate`: bring every database up to date and exit.

use clap::ArgMatches;

use crate::settings::{Settings, Values};

pub(super) async fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let settings = Settings::read(&Values::collect(matches)?)?;
    let databases = &settings.databases;
    colloquy_access::migrate(&databases.access).await?;
    println!("access is up to date");
    colloquy_ingestion::migrate(&databases.ingestion, &settings.data_dir).await?;
    println!("ingestion is up to date");
    colloquy_conversation_store::migrate(&databases.conversation_store).await?;
    println!("conversation-store is up to date");
    colloquy_transcript::migrate(&databases.transcript).await?;
    println!("transcript is up to date");
    Ok(())
}
