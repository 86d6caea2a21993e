//! `colloquy keys`: API keys from the shell, also beside a running server.

use anyhow::{Context, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use colloquy_access::{NewApiKey, Secret};
use colloquy_service::telemetry;
use colloquy_types::{Clock, KeyId, OrganizationId, ScopeSet, SystemClock};
use serde_json::json;

use crate::settings::{self, Settings, Values};

/// How many keys `list` reads at once.
const PAGE: u32 = 100;

pub(super) fn command() -> Command {
    let organization = || {
        Arg::new("organization")
            .long("organization")
            .value_name("NAME")
            .default_value("default")
            .help("The organization; made if missing")
    };
    let json = || Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON");
    Command::new("keys")
        .about("API keys, from the shell, also beside a running server")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("create")
                .about("Make a key and print it; it cannot be shown again")
                .arg(organization())
                .arg(Arg::new("scopes").long("scopes").value_name("A,B").required(true).help(
                    "conversations:read, conversations:write, transcripts:read, audio:read, analytics:read, events:write, webhooks:write, admin",
                ))
                .arg(Arg::new("name").long("name").value_name("TEXT").default_value("").help("What people call it"))
                .arg(json())
                .args(settings::arguments()),
        )
        .subcommand(
            Command::new("list").about("List an organization's keys").arg(organization()).arg(json()).args(settings::arguments()),
        )
        .subcommand(
            Command::new("revoke")
                .about("End a key; servers notice within seconds")
                .arg(Arg::new("key").value_name("KEY-ID").required(true).help("The key's id, from list"))
                .arg(organization())
                .args(settings::arguments()),
        )
}

pub(super) async fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let Some((action, given)) = matches.subcommand() else { bail!("say create, list or revoke") };
    let settings = Settings::read(&Values::collect(given)?)?;
    telemetry::init_logs(settings.log_format, "colloquy-keys")?;
    let keys = colloquy_access::open(&settings.databases.access).await?;
    let name = given.get_one::<String>("organization").map_or("default", String::as_str);
    let organization: OrganizationId = name.parse().with_context(|| format!("organization '{name}'"))?;
    match action {
        "create" => create(keys.as_ref(), organization, given).await,
        "list" => list(keys.as_ref(), &organization, given.get_flag("json")).await,
        _ => revoke(keys.as_ref(), &organization, given).await,
    }
}

async fn create(keys: &dyn colloquy_access::Keys, organization: OrganizationId, given: &ArgMatches) -> anyhow::Result<()> {
    let scopes: ScopeSet = given.get_one::<String>("scopes").map_or("", String::as_str).parse()?;
    if scopes.is_empty() {
        bail!("scopes: name at least one");
    }
    let now = SystemClock.now();
    keys.create_organization(&organization, now).await?;
    let secret = Secret::generate().context("no randomness")?;
    let name = given.get_one::<String>("name").cloned().unwrap_or_default();
    let key = NewApiKey {
        key_id: KeyId::generate(),
        organization_id: organization,
        name,
        secret: secret.clone(),
        scopes,
        created_at: now,
        expires_at: None,
    };
    let kept = keys.insert_key(key).await?;
    if given.get_flag("json") {
        let scopes: Vec<&str> = kept.scopes.iter().map(colloquy_types::Scope::as_str).collect();
        let shown = json!({
            "key": secret.expose(), "key_id": kept.key_id, "organization_id": kept.organization_id, "scopes": scopes,
        });
        println!("{shown}");
    } else {
        println!("{}", secret.expose());
    }
    Ok(())
}

async fn list(keys: &dyn colloquy_access::Keys, organization: &OrganizationId, as_json: bool) -> anyhow::Result<()> {
    let mut before = None;
    loop {
        let page = keys.list_keys(organization, before, PAGE).await?;
        for key in &page.keys {
            let end = key.revoked_at.or(key.expires_at);
            if as_json {
                let scopes: Vec<&str> = key.scopes.iter().map(colloquy_types::Scope::as_str).collect();
                let shown = json!({
                    "key_id": key.key_id, "prefix": key.prefix, "name": key.name, "scopes": scopes,
                    "created_at": key.created_at, "expires_at": key.expires_at, "revoked_at": key.revoked_at,
                });
                println!("{shown}");
            } else {
                let state = match (key.revoked_at, end) {
                    (Some(at), _) => format!("revoked {at}"),
                    (None, Some(at)) => format!("until {at}"),
                    (None, None) => "good".to_owned(),
                };
                println!("{}  {}…  {}  {}  {}", key.key_id, key.prefix, key.scopes, state, key.name);
            }
        }
        match page.keys.last() {
            Some(last) if page.has_more => before = Some(last.key_id),
            _ => return Ok(()),
        }
    }
}

async fn revoke(keys: &dyn colloquy_access::Keys, organization: &OrganizationId, given: &ArgMatches) -> anyhow::Result<()> {
    let text = given.get_one::<String>("key").map_or("", String::as_str);
    let key_id: KeyId = text.parse().with_context(|| format!("'{text}' is not a key's id: it must be a UUID"))?;
    match keys.revoke_key(organization, key_id, SystemClock.now()).await? {
        Some(key) => println!("{} is revoked", key.key_id),
        None => bail!("organization '{organization}' has no key {key_id}"),
    }
    Ok(())
}
