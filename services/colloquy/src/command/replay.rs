//! `colloquy replay`: send stored payloads again, signed.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Arg, ArgMatches, Command};
use colloquy_providers::sign;
use colloquy_types::{Clock, Provider, SystemClock};
use indicatif::{ProgressBar, ProgressStyle};

use super::connection::running_at;

pub(super) fn command() -> Command {
    Command::new("replay")
        .about("Send stored payloads to a source again, signed, in the order given")
        .arg(
            Arg::new("files")
                .value_name("FILE")
                .num_args(1..)
                .required(true)
                .value_parser(clap::value_parser!(PathBuf))
                .help("Request bodies"),
        )
        .arg(Arg::new("source").long("source").value_name("ID").required(true).help("The source's id"))
        .arg(
            Arg::new("provider")
                .long("provider")
                .value_name("NAME")
                .required(true)
                .value_parser(clap::value_parser!(Provider))
                .help("Whose scheme to sign with: elevenlabs, retell, vapi, agent_session or native"),
        )
        .arg(
            Arg::new("secret")
                .long("secret")
                .env("COLLOQUY_SOURCE_SECRET")
                .hide_env_values(true)
                .value_name("TEXT")
                .required(true)
                .help("The source's secret"),
        )
        .arg(
            Arg::new("http")
                .long("http")
                .value_name("URL")
                .help("The server's HTTP address; default: the one running in the data folder"),
        )
        .arg(
            Arg::new("data-dir")
                .long("data-dir")
                .env("COLLOQUY_DATA_DIR")
                .default_value("./colloquy-data")
                .value_name("FOLDER")
                .help("The data folder of a server on this machine"),
        )
}

pub(super) async fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let base = match matches.get_one::<String>("http") {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!("http://{}", running_at(text("data-dir").as_ref(), "http")?),
    };
    let provider = *matches.get_one::<Provider>("provider").context("provider")?;
    let (url, secret) = (format!("{base}/v1/webhooks/{}", text("source")), text("secret"));
    let files: Vec<&PathBuf> = matches.get_many("files").into_iter().flatten().collect();

    let client = reqwest::Client::builder().timeout(Duration::from_secs(120)).no_proxy().build()?;
    let bar = ProgressBar::new(files.len() as u64).with_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let mut refused = 0_u32;
    for file in files {
        bar.set_message(file.display().to_string());
        let body = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut request = client.post(&url).header("content-type", "application/json");
        for (name, value) in sign::headers(provider, &secret, &body, SystemClock.now()) {
            request = request.header(name, value);
        }
        let answer = request.body(body).send().await.with_context(|| format!("cannot reach {base}"))?;
        if !answer.status().is_success() {
            refused += 1;
            bar.suspend(|| eprintln!("{}: {}", file.display(), answer.status()));
        }
        bar.inc(1);
    }
    bar.finish_with_message("done");
    if refused > 0 {
        bail!("{refused} deliveries were refused");
    }
    Ok(())
}
