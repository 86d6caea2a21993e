//! The loop: connect, take batches, apply, acknowledge, and begin again when the log goes away.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use colloquy_proto::log::v1 as pb;
use colloquy_proto::log::v1::event_log_service_client::EventLogServiceClient;
use colloquy_service::Progress;
use colloquy_service::transport::{MAX_MESSAGE_BYTES, Transport};
use colloquy_storage::StoreError;
use colloquy_types::Position;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Status, Streaming};

use crate::apply::{Applying, Course, Stopped};
use crate::backoff::Backoff;
use crate::complete::{Complete, Span};
use crate::decode::{Batch, decode};
use crate::{Reader, others, unknown};

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Services of one process start together: the first few refusals are no outage yet.
const QUIET_FAILURES: u32 = 5;
/// Batches that are waiting are joined until they have this many events.
const JOIN_EVENTS: usize = 2_000;
/// How many decoded batches may wait while one is applied.
const AHEAD: usize = 2;
/// How long a gap may stay before it is looked whether another replica has closed it.
const LOOK_AFTER: Duration = Duration::from_millis(100);
/// How many acknowledgements may be under way; the log hands out fewer batches than this.
const ACKNOWLEDGEMENTS: usize = 64;

/// Why a stream of batches ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the service is to stop")]
    Stop,
    #[error("the log cannot be read: {} ({:?})", .0.message(), .0.code())]
    Log(Status),
    #[error("the log closed the stream")]
    Closed,
    #[error("the reader's own position cannot be read: {0}")]
    Position(#[from] StoreError),
}

impl From<Stopped> for Ended {
    fn from(_: Stopped) -> Self {
        Self::Stop
    }
}

/// Reads the log into `reader` until `stop`, and moves `progress` along.
///
/// # Errors
/// When the reader's position lies beyond the end of the log: the log is not the one the view was made from, and going on would
/// skip what it has.
pub async fn run(reader: Arc<dyn Reader>, log: Transport, progress: Progress, stop: CancellationToken) -> anyhow::Result<()> {
    let client =
        EventLogServiceClient::new(log).max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES);
    let name = reader.name();
    // Until the first stream has begun, nothing that others acknowledged is believed.
    let (own_until, others_from) = watch::channel(Position(u64::MAX));
    let _others =
        AbortOnDropHandle::new(tokio::spawn(others::follow(Arc::clone(&reader), client.clone(), progress.clone(), others_from)));
    let applying = Arc::new(Applying { reader, progress, stop: stop.clone() });
    let _unknown = AbortOnDropHandle::new(tokio::spawn(unknown::pick_up(Arc::clone(&applying))));
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    loop {
        match follow(&applying, client.clone(), &own_until, &mut backoff).await {
            Ended::Stop => return Ok(()),
            Ended::Log(status) if status.code() == Code::OutOfRange => {
                return Err(status).with_context(|| format!("the view of {name} was made from another log than this one"));
            }
            ended => {
                let wait = backoff.failed();
                if backoff.failures() == QUIET_FAILURES {
                    tracing::warn!("{name} cannot follow the log and keeps trying: {ended}");
                }
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = tokio::time::sleep(wait) => {}
                }
            }
        }
    }
}

/// Follows the log on one stream for as long as it lasts.
async fn follow(
    applying: &Applying,
    client: EventLogServiceClient<Transport>,
    own_until: &watch::Sender<Position>,
    backoff: &mut Backoff,
) -> Ended {
    let opened = tokio::select! {
        () = applying.stop.cancelled() => return Ended::Stop,
        opened = open(applying, client, own_until) => opened,
    };
    let opened = match opened {
        Ok(opened) => opened,
        Err(ended) => return ended,
    };
    let since = Instant::now();
    let ended = match apply_all(applying, opened, own_until, backoff).await {
        Ok(never) => match never {},
        Err(ended) => ended,
    };
    if since.elapsed() > LONGEST_WAIT {
        note_working(applying.reader.name(), backoff);
    }
    ended
}

fn note_working(name: &'static str, backoff: &mut Backoff) {
    let failures = backoff.works();
    if failures >= QUIET_FAILURES {
        tracing::info!(failures, "{name} follows the log again");
    }
}

type Acknowledgements = mpsc::Sender<pb::ConsumeRequest>;

/// A stream, begun.
struct Opened {
    acknowledgements: Acknowledgements,
    batches: Streaming<pb::ConsumeResponse>,
    complete: Complete,
}

async fn open(
    applying: &Applying,
    mut client: EventLogServiceClient<Transport>,
    own_until: &watch::Sender<Position>,
) -> Result<Opened, Ended> {
    let position = applying.reader.position().await?;
    applying.progress.advance_to(position);
    // Asked before the stream begins: it brings everything that was handed out until then.
    let acknowledged = others::acknowledged(applying.reader.name(), &mut client).await.map_err(Ended::Log)?;
    own_until.send_replace(acknowledged);
    let (said, saying) = mpsc::channel(ACKNOWLEDGEMENTS);
    let consumer = applying.reader.name().to_owned();
    let start = pb::ConsumeStart { consumer, after_position: Some(position.0), max_batch_events: 0 };
    let start = pb::ConsumeRequest { request: Some(pb::consume_request::Request::Start(start)) };
    said.try_send(start).map_err(|_| Ended::Closed)?;
    let stream = client.consume(ReceiverStream::new(saying)).await.map_err(Ended::Log)?;
    Ok(Opened { acknowledgements: said, batches: stream.into_inner(), complete: Complete::up_to(position) })
}

/// A batch, decoded, and its place.
struct Handed {
    batch: Batch,
    span: Span,
    acknowledged: Position,
}

/// Closes a gap with what the other replicas have written meanwhile, and writes down how far the view has come by that: they may wait
/// for it in turn.
async fn look_at_others(applying: &Applying, complete: &mut Complete) -> Result<(), Ended> {
    let position = applying.reader.position().await?;
    complete.acknowledged(position);
    let through = complete.through();
    if through > position {
        applying.apply(Vec::new(), Course { before: through, in_order: true, through }).await?;
    }
    Ok(())
}

async fn apply_all(
    applying: &Applying,
    opened: Opened,
    own_until: &watch::Sender<Position>,
    backoff: &mut Backoff,
) -> Result<std::convert::Infallible, Ended> {
    let Opened { acknowledgements, batches, mut complete } = opened;
    let (decoded, mut batches_decoded) = mpsc::channel(AHEAD);
    // Decoding goes on beside the transaction; it ends when this function does.
    let _decoding = AbortOnDropHandle::new(tokio::spawn(decode_all(Arc::clone(&applying.reader), batches, decoded)));
    loop {
        let first = loop {
            tokio::select! {
                biased;
                () = applying.stop.cancelled() => return Err(Ended::Stop),
                handed = batches_decoded.recv() => break handed.ok_or(Ended::Closed)??,
                () = tokio::time::sleep(LOOK_AFTER), if complete.has_gap() => look_at_others(applying, &mut complete).await?,
            }
        };
        // A stream that opens and breaks at once works no better than one that does not open.
        note_working(applying.reader.name(), backoff);
        // What the log says of the others' work counts once everything that came before it is applied.
        complete.acknowledged(first.acknowledged);
        if !complete.continues_with(&[first.span]) {
            // What the other replicas have written since stands in the view itself.
            complete.acknowledged(applying.reader.position().await?);
        }
        let before = complete.clone();
        let (mut items, mut events, mut ids, mut spans) = (Vec::new(), 0, Vec::new(), Vec::new());
        let mut told = false;
        let mut take = |handed: Handed, events: &mut usize| {
            let Handed { batch, span, acknowledged } = handed;
            complete.acknowledged(acknowledged);
            complete.add(span);
            items.extend(batch.items);
            *events += batch.events;
            ids.push(batch.batch_id);
            spans.push(span);
            told |= acknowledged > Position::START;
        };
        take(first, &mut events);
        let mut after = Ok(());
        while events < JOIN_EVENTS
            && let Ok(next) = batches_decoded.try_recv()
        {
            match next {
                Ok(handed) => take(handed, &mut events),
                Err(ended) => after = Err(ended),
            }
        }
        let in_order = before.continues_with(&spans);
        applying.apply(items, Course { before: before.through(), in_order, through: complete.through() }).await?;
        if told {
            // The log says how far others are only once this view was given everything they had.
            own_until.send_replace(Position::START);
        }
        for batch_id in ids {
            let ack = pb::consume_request::Request::Ack(pb::ConsumeAck { batch_id });
            let said = acknowledgements.send(pb::ConsumeRequest { request: Some(ack) }).await;
            said.map_err(|_| Ended::Closed)?;
        }
        after?;
    }
}

async fn decode_all(
    reader: Arc<dyn Reader>,
    mut stream: Streaming<pb::ConsumeResponse>,
    decoded: mpsc::Sender<Result<Handed, Ended>>,
) {
    loop {
        let handed = match stream.message().await {
            Ok(Some(batch)) => {
                let (after, acknowledged) = (Position(batch.after_position), Position(batch.acknowledged_position));
                let batch = decode(reader.name(), reader.unknown_events().is_some(), batch);
                Ok(Handed { span: Span { after, through: batch.through }, acknowledged, batch })
            }
            Ok(None) => Err(Ended::Closed),
            Err(status) => Err(Ended::Log(status)),
        };
        let ended = handed.is_err();
        if decoded.send(handed).await.is_err() || ended {
            return;
        }
    }
}
