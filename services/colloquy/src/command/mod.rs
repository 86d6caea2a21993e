//! The commands: how they are called, and which code runs.

mod connection;
mod health;
mod keys;
mod migrate;
mod replay;
mod serve;
mod tail;

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::settings;

/// Parses a command line.
///
/// # Errors
/// What is wrong with it, or the help that was asked for, ready to be printed.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<ArgMatches, clap::Error> {
    command().try_get_matches_from(arguments)
}

fn command() -> Command {
    Command::new("colloquy")
        .about("The system of record for conversations that AI agents have with people")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("serve")
                .about("Run every service, or only those named")
                .arg(
                    Arg::new("services")
                        .value_name("SERVICE")
                        .num_args(0..)
                        .help("access, analytics, conversation-store, edge, ingestion, notification, transcript; none means all"),
                )
                .args(settings::arguments()),
        )
        .subcommand(
            Command::new("demo")
                .about("serve, with an organization, a key, a source per provider and sample conversations")
                .arg(Arg::new("exit").long("exit").action(ArgAction::SetTrue).help("End once every sample is readable"))
                .args(settings::arguments()),
        )
        .subcommand(Command::new("migrate").about("Bring every database up to date and exit").args(settings::arguments()))
        .subcommand(keys::command())
        .subcommand(tail::command())
        .subcommand(replay::command())
        .subcommand(health::command())
}

/// Runs what was parsed.
///
/// # Errors
/// Why the command failed, for the person at the terminal.
pub(crate) async fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    match matches.subcommand() {
        Some(("serve", given)) => serve::run(given).await,
        Some(("demo", given)) => serve::demo(given).await,
        Some(("migrate", given)) => migrate::run(given).await,
        Some(("keys", given)) => keys::run(given).await,
        Some(("tail", given)) => tail::run(given).await,
        Some(("replay", given)) => replay::run(given).await,
        Some(("health", given)) => health::run(given).await,
        _ => anyhow::bail!("no such command"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_sound() {
        super::command().debug_assert();
    }
}
