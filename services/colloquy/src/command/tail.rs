//! `colloquy tail`: follow the event log in the terminal, one line an event.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use colloquy_events::convert::timestamp_from_pb;
use colloquy_events::{Data, Event};
use colloquy_proto::log::v1::event_log_service_client::EventLogServiceClient;
use colloquy_proto::log::v1::{TailRequest, TailResponse};
use serde_json::json;
use tonic::Code;

use super::connection::{self, Connection};

/// How long to wait for a server that is away.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(500);

pub(super) fn command() -> Command {
    Command::new("tail")
        .about("Follow the event log, one line an event")
        .arg(Arg::new("conversation").long("conversation").value_name("UUID").help("Only this conversation"))
        .arg(
            Arg::new("kind")
                .long("kind")
                .value_name("KIND")
                .action(ArgAction::Append)
                .help("Only this kind, for example turn.added; may be repeated"),
        )
        .arg(
            Arg::new("after")
                .long("after")
                .value_name("POSITION")
                .value_parser(clap::value_parser!(u64))
                .help("Begin after this position; 0 is the beginning; default: what happens next"),
        )
        .arg(Arg::new("until-end").long("until-end").action(ArgAction::SetTrue).help("End at the present end of the log"))
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON, with everything the event holds"))
        .args(connection::arguments())
}

pub(super) async fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let connection = Connection::open(matches)?;
    let request = TailRequest {
        after_position: matches.get_one::<u64>("after").copied(),
        conversation_id: matches.get_one::<String>("conversation").cloned().unwrap_or_default(),
        kinds: matches.get_many::<String>("kind").into_iter().flatten().cloned().collect(),
        until_end: matches.get_flag("until-end"),
        ..TailRequest::default()
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => Ok(()),
        followed = follow(&connection, request, matches.get_flag("json")) => followed,
    }
}

/// Prints what comes. Connections are closed from time to time and servers replaced: it then goes on from where it was.
async fn follow(connection: &Connection, mut request: TailRequest, as_json: bool) -> anyhow::Result<()> {
    let mut client = EventLogServiceClient::new(connection.transport.clone())
        .max_decoding_message_size(colloquy_service::transport::MAX_MESSAGE_BYTES);
    let mut has_begun = false;
    loop {
        let mut events = match client.tail(connection.request(request.clone())).await {
            Ok(answer) => answer.into_inner(),
            Err(status) if has_begun && status.code() == Code::Unavailable => {
                tokio::time::sleep(TRY_AGAIN_AFTER).await;
                continue;
            }
            Err(status) => bail!("the server refused: {}", status.message()),
        };
        has_begun = true;
        loop {
            let event = match events.message().await {
                Ok(Some(event)) => event,
                Ok(None) => return Ok(()),
                Err(status) if status.code() == Code::Unavailable => break,
                Err(status) => bail!("the stream ended: {}", status.message()),
            };
            request.after_position = Some(event.position);
            match writeln!(std::io::stdout(), "{}", line(event, as_json)?) {
                Ok(()) => {}
                // Whoever read the lines has seen enough, as `head` does.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(error).context("cannot print"),
            }
        }
    }
}

/// Writes one event. The plain form tells what happened and never what was said.
fn line(answer: TailResponse, as_json: bool) -> anyhow::Result<String> {
    let received_at = answer.received_at.map(|at| timestamp_from_pb("received_at", at)).transpose()?.unwrap_or_default();
    let event = Event::try_from(answer.event.context("an event without content")?)?;
    if as_json {
        let mut shown = json!({
            "position": answer.position,
            "organization_id": answer.organization_id,
            "conversation_id": event.conversation_id,
            "provider": event.provider,
            "external_id": event.external_id,
            "event_id": event.event_id,
            "occurred_at": event.occurred_at,
            "received_at": received_at,
        });
        if let (Some(shown), serde_json::Value::Object(data)) = (shown.as_object_mut(), serde_json::to_value(&event.data)?) {
            shown.extend(data);
        }
        return Ok(shown.to_string());
    }
    let detail = match &event.data {
        Data::Ended(ended) => format!(" {}", ended.status),
        Data::TurnAdded(turn) | Data::TurnUpdated(turn) => format!(" {}", turn.role),
        Data::TranscriptUpdated { turns } | Data::TranscriptCompleted { turns, .. } => format!(" {} turns", turns.len()),
        _ => String::new(),
    };
    let (position, organization, kind) = (answer.position, answer.organization_id, answer.kind);
    Ok(format!("{position:>12}  {received_at}  {organization}  {}  {}  {kind}{detail}", event.provider, event.conversation_id))
}
