//! Retries that succeed: what was quarantined by an older mapper, and what today's makes of it.

use std::sync::Arc;

use bytes::Bytes;
use colloquy_events::{Data, Record};
use colloquy_proto::log::v1 as pb;
use colloquy_service::transport::LocalSlot;
use colloquy_types::{ManualClock, OrganizationId, Position, Provider, SourceId, Timestamp};
use prost::Message;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{Body, Intake, Limits, Recordings, Spool};
use crate::error::Error;
use crate::log::{self, EventLog, ReadRequest};
use crate::quarantine::{Quarantine, StoredRecording, Unmappable};
use crate::source::{LiveSources, SecretBox};
use crate::{MasterKey, Settings, store};

struct Fixture {
    intake: Intake,
    quarantine: Quarantine,
    log: Arc<dyn EventLog>,
    organization: OrganizationId,
    _folder: TempDir,
}

impl Fixture {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let master = MasterKey::new([1; 32]);
        let settings = Settings::in_folder(folder.path().to_owned(), master.clone());
        let (database, store) = store::open(&settings).await.unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_772_463_800_000).unwrap()));
        let stop = CancellationToken::new();
        let (log, tasks) = log::open(&settings.engine, settings.log, &database, clock.clone(), stop).await.unwrap();
        for task in tasks {
            tokio::spawn(task.work);
        }
        let quarantine = Quarantine::new(Arc::clone(&store), &master, settings.quarantine);
        let intake = Intake::new(
            LiveSources::new(store, SecretBox::new(&master)),
            quarantine.clone(),
            // Nothing is stored: the one recording was stored before.
            Recordings::new(LocalSlot::new().transport()),
            Arc::clone(&log),
            Spool::new(folder.path().to_owned()),
            Limits { with_audio: 1 << 20, without_audio: 1 << 20 },
            clock,
        );
        Self { intake, quarantine, log, organization: "acme".parse().unwrap(), _folder: folder }
    }

    /// A delivery as it lies in quarantine since before anybody knew how to map it.
    fn unmappable(&self, body: &'static str, recording: Option<StoredRecording>) -> Unmappable {
        Unmappable {
            organization_id: self.organization.clone(),
            source_id: SourceId(uuid::Uuid::from_u128(5)),
            provider: Provider::ElevenLabs,
            received_at: Timestamp::from_millis(1_772_463_700_000).unwrap(),
            reason: "unknown event type".to_owned(),
            body: Body::from(Bytes::from_static(body.as_bytes())),
            recording,
        }
    }

    async fn records(&self) -> Vec<Record> {
        let all =
            ReadRequest { after: Position::START, through: self.log.end().await.unwrap(), organization: None, max_events: 100 };
        let records = self.log.read(all).await.unwrap().records;
        records.into_iter().map(|record| pb::Record::decode(record.message).unwrap().try_into().unwrap()).collect()
    }
}

#[tokio::test]
async fn a_delivery_that_can_be_mapped_today_is_appended_and_resolved_once() {
    let fixture = Fixture::start().await;
    let body = r#"{"type": "call_initiation_failure", "event_timestamp": 1772463600,
        "data": {"agent_id": "a", "conversation_id": "c", "failure_reason": "busy"}}"#;
    let id = fixture.quarantine.keep(fixture.unmappable(body, None)).await.unwrap();
    let resolved = fixture.intake.retry(&fixture.organization, id).await.unwrap();
    assert!(resolved.resolved_at.is_some() && resolved.position.is_some_and(|position| position > 0));
    assert_eq!(resolved.attempts, 2);
    let records = fixture.records().await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].received_at.as_millis(), 1_772_463_700_000, "it was received when it came, not when it was retried");

    assert_eq!(fixture.intake.retry(&fixture.organization, id).await.unwrap(), resolved);
    assert_eq!(fixture.records().await.len(), 1);
    let (_, body) = fixture.quarantine.open(&fixture.organization, id).await.unwrap();
    assert_eq!(body, b"", "the log has it now");
}

#[tokio::test]
async fn a_retry_names_the_recording_that_was_stored_before() {
    let fixture = Fixture::start().await;
    let recording = StoredRecording {
        object_key: "acme/fa".to_owned(),
        sha256: "fa".to_owned(),
        size_bytes: 7,
        content_type: Some("audio/mpeg".to_owned()),
    };
    let body = r#"{"type": "post_call_audio", "event_timestamp": 1772463600,
        "data": {"agent_id": "a", "conversation_id": "c", "full_audio": ""}}"#;
    let id = fixture.quarantine.keep(fixture.unmappable(body, Some(recording))).await.unwrap();
    fixture.intake.retry(&fixture.organization, id).await.unwrap();
    let records = fixture.records().await;
    let Data::RecordingAvailable(available) = &records[0].events[0].data else { panic!("not a recording: {records:?}") };
    assert_eq!((available.object_key.as_deref(), available.size_bytes), (Some("acme/fa"), Some(7)));
}

#[tokio::test]
async fn a_retry_of_what_is_not_there_or_not_ours_is_not_found() {
    let fixture = Fixture::start().await;
    let id = fixture.quarantine.keep(fixture.unmappable("rubbish", None)).await.unwrap();
    let other = "other".parse().unwrap();
    assert!(matches!(fixture.intake.retry(&other, id).await, Err(Error::QuarantineNotFound(_))));
}
