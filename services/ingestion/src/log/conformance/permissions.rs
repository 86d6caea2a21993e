//! Who may do what with the log over gRPC.

use std::sync::Arc;

use bytes::Bytes;
use colloquy_events::convert::timestamp_to_pb;
use colloquy_events::{
    Alert, ControlOffer, Data, Event, Facts, LeaseChange, LeaseState, Record, Recording, RecordingChannel, Severity,
};
use colloquy_proto::log::v1 as pb;
use colloquy_proto::log::v1::event_log_service_client::EventLogServiceClient;
use colloquy_service::transport::Transport;
use colloquy_service::{Caller, Identity, Problem};
use colloquy_types::{ConversationId, EventId, KeyId, Provider, RecordId, Timestamp};
use futures::StreamExt;
use prost::Message;
use tonic::Code;

use super::harness::{LIMIT, Subject, client};

fn key(organization: &str, scopes: &str) -> Caller {
    let (organization_id, scopes) = (organization.parse().unwrap(), scopes.parse().unwrap());
    Caller::Key(Arc::new(Identity { key_id: KeyId::generate(), organization_id, scopes }))
}

fn of(subject: &Subject, caller: Caller) -> EventLogServiceClient<Transport> {
    client(&subject.log, caller, subject.stop.clone())
}

fn event(provider: Provider, data: Data) -> Event {
    let conversation_id = ConversationId::generate();
    let (event_id, external_id) = (EventId::generate(), conversation_id.to_string());
    Event { event_id, conversation_id, provider, external_id, occurred_at: Timestamp::default(), ordinal: 0, data }
}

fn started() -> Event {
    event(Provider::Native, Data::Started(Facts::default()))
}

fn message(organization: &str, event: Event) -> pb::Record {
    let organization_id = organization.parse().unwrap();
    pb::Record::from(Record {
        record_id: RecordId::derive(&organization_id, [event.event_id]),
        organization_id,
        source_id: None,
        received_at: Timestamp::default(),
        events: vec![event],
        traceparent: String::new(),
        sequence: 0,
    })
}

async fn append(client: &mut EventLogServiceClient<Transport>, record: pb::Record) -> Result<pb::AppendResponse, Problem> {
    let answer = client.append(pb::AppendRequest { records: vec![record] }).await;
    answer.map(tonic::Response::into_inner).map_err(|status| Problem::from_status(&status))
}

/// The fields a refusal names.
async fn refused(client: &mut EventLogServiceClient<Transport>, record: pb::Record) -> Vec<String> {
    let problem = append(client, record).await.unwrap_err();
    assert_eq!(problem.code, Code::InvalidArgument);
    problem.fields.into_iter().map(|bad| bad.field).collect()
}

fn start(consumer: &str) -> pb::ConsumeRequest {
    let start = pb::ConsumeStart { consumer: consumer.to_owned(), after_position: None, max_batch_events: 0 };
    pb::ConsumeRequest { request: Some(pb::consume_request::Request::Start(start)) }
}

#[tokio::test]
async fn a_key_writes_native_events_of_its_own_organization_only() {
    let subject = Subject::embedded(Default::default()).await.unwrap();
    let mut own = of(&subject, key("acme", "events:write"));
    let mut unnamed = message("acme", started());
    (unnamed.organization_id, unnamed.record_id) = (String::new(), String::new());
    assert_eq!(append(&mut own, unnamed).await.unwrap().accepted, 1);
    assert_eq!(append(&mut own, message("other", started())).await.unwrap_err().code, Code::NotFound);
    let foreign = message("acme", event(Provider::Vapi, Data::Started(Facts::default())));
    assert_eq!(refused(&mut own, foreign).await, ["records[0].events[0].provider"]);
    let mut sourced = message("acme", started());
    sourced.source_id = RecordId::generate().to_string();
    assert_eq!(refused(&mut own, sourced).await, ["records[0].source_id"]);
    // A stored object belongs to whoever stored it: naming it would read another tenant's recording.
    let stolen = Recording {
        url: None,
        object_key: Some("sha256/abc".to_owned()),
        sha256: None,
        size_bytes: None,
        content_type: None,
        duration_ms: None,
        channel: RecordingChannel::Mixed,
    };
    let stolen = message("acme", event(Provider::Native, Data::RecordingAvailable(stolen)));
    assert_eq!(refused(&mut own, stolen).await, ["records[0].events[0].recording_available.object_key"]);
    let mut reader = of(&subject, key("acme", "conversations:read,transcripts:read"));
    assert_eq!(append(&mut reader, message("acme", started())).await.unwrap_err().code, Code::PermissionDenied);
    let mut nobody = of(&subject, Caller::Anonymous);
    assert_eq!(append(&mut nobody, message("acme", started())).await.unwrap_err().code, Code::Unauthenticated);
}

#[tokio::test]
async fn a_key_cannot_say_what_only_colloquy_finds_out_or_does() {
    let subject = Subject::embedded(Default::default()).await.unwrap();
    let mut own = of(&subject, key("acme", "events:write"));
    // Whoever says where a call is steered says whom Colloquy calls.
    let offered = Data::ControlOffered(ControlOffer { url: "http://169.254.169.254/latest".to_owned() });
    let taken = LeaseChange { state: LeaseState::Taken, holder: "somebody".to_owned(), expires_at: None };
    let alert = Alert {
        alert_id: EventId::generate().0,
        rule_id: EventId::generate().0,
        rule_name: "r".to_owned(),
        severity: Severity::Critical,
        evidence: None,
    };
    for data in [offered, Data::ControlLeaseChanged(taken), Data::AlertOpened(alert)] {
        let kind = data.kind();
        let fields = refused(&mut own, message("acme", event(Provider::Native, data))).await;
        assert_eq!(fields, ["records[0].events[0].data"], "{kind}");
    }
}

#[tokio::test]
async fn a_key_is_not_told_where_a_recording_lies() {
    let subject = Subject::embedded(Default::default()).await.unwrap();
    let recording = Recording {
        url: Some("https://vendor.example/marked".to_owned()),
        object_key: Some("marked".to_owned()),
        sha256: Some("abc".to_owned()),
        size_bytes: None,
        content_type: None,
        duration_ms: None,
        channel: RecordingChannel::Mixed,
    };
    let record = message("acme", event(Provider::Vapi, Data::RecordingAvailable(recording)));
    append(&mut of(&subject, Caller::Service), record).await.unwrap();
    let request = pb::TailRequest { after_position: Some(0), until_end: true, ..Default::default() };
    for (caller, told) in [(key("acme", "conversations:read,transcripts:read"), false), (Caller::Service, true)] {
        let mut events = of(&subject, caller).tail(request.clone()).await.unwrap().into_inner();
        let event = format!("{:?}", events.message().await.unwrap().unwrap());
        assert_eq!((event.contains("marked"), event.contains("abc")), (told, true), "{event}");
    }
}

#[tokio::test]
async fn an_organizations_consumer_sees_no_private_kind_and_other_events_keep_their_places() {
    let subject = Subject::embedded(Default::default()).await.unwrap();
    let offer = ControlOffer { url: "https://vendor.example/control".to_owned() };
    let mut record = message("acme", event(Provider::Vapi, Data::ControlOffered(offer)));
    record.events.push(event(Provider::Vapi, Data::Started(Facts::default())).into());
    record.record_id = String::new();
    append(&mut of(&subject, Caller::Service), record).await.unwrap();
    for (caller, offered) in [(key("acme", "admin"), false), (Caller::Service, true)] {
        let said = futures::stream::iter([start("reader")]).chain(futures::stream::pending());
        let mut batches = of(&subject, caller).consume(said).await.unwrap().into_inner();
        let batch = tokio::time::timeout(LIMIT, batches.message()).await.unwrap().unwrap().unwrap();
        let record = pb::Record::decode(batch.records[0].clone()).unwrap();
        assert_eq!((record.sequence, record.events.len()), (1, 2));
        assert_eq!((record.events[0].data.is_some(), record.events[0].event_id.is_empty()), (offered, !offered));
        assert!(record.events[1].data.is_some());
    }
}

#[tokio::test]
async fn the_time_of_receipt_is_ours_to_say() {
    let subject = Subject::embedded(Default::default()).await.unwrap();
    let mut record = message("acme", started());
    let told = timestamp_to_pb(Timestamp::from_millis(1_000).unwrap());
    record.received_at = Some(told);
    append(&mut of(&subject, key("acme", "events:write")), record).await.unwrap();
    let mut record = message("acme", started());
    record.received_at = Some(told);
    append(&mut of(&subject, Caller::Service), record).await.unwrap();
    let request = pb::TailRequest { after_position: Some(0), until_end: true, ..Default::default() };
    let events: Vec<_> = of(&subject, Caller::Service).tail(request).await.unwrap().into_inner().collect().await;
    let times: Vec<bool> = events.into_iter().map(|event| event.unwrap().received_at == Some(told)).collect();
    assert_eq!(times, [false, true]);
}

#[tokio::test]
async fn every_bad_field_of_every_record_is_named() {
    let subject = Subject::embedded(Default::default()).await.unwrap();
    let mut service = of(&subject, Caller::Service);
    let (mut one, mut two, three) = (message("acme", started()), message("acme", started()), message("acme", started()));
    one.record_id = "x".to_owned();
    two.events[0].conversation_id = "y".to_owned();
    let empty = pb::Record { events: Vec::new(), ..three.clone() };
    let status = service.append(pb::AppendRequest { records: vec![one, two, three, empty] }).await.unwrap_err();
    let fields: Vec<String> = Problem::from_status(&status).fields.into_iter().map(|bad| bad.field).collect();
    assert_eq!(fields, ["records[0].record_id", "records[1].events[0].conversation_id", "records[3].events"]);
    assert_eq!(subject.log.end().await.unwrap().sequence(), 0, "all or nothing");
    for records in [Vec::new(), vec![message("acme", started()); 1_001]] {
        let status = service.append(pb::AppendRequest { records }).await.unwrap_err();
        assert_eq!(Problem::from_status(&status).fields[0].field, "records");
    }
    let mut bad_name = message("acme", started());
    bad_name.organization_id = "Not A Name".to_owned();
    assert_eq!(refused(&mut service, bad_name).await, ["organization_id"]);
}

#[tokio::test]
async fn a_key_sees_its_own_organization_only() {
    let subject = Subject::embedded(Default::default()).await.unwrap();
    let mut service = of(&subject, Caller::Service);
    for organization in ["acme", "other", "acme"] {
        append(&mut service, message(organization, started())).await.unwrap();
    }
    let request = pb::TailRequest { after_position: Some(0), until_end: true, ..Default::default() };
    let mut reader = of(&subject, key("acme", "conversations:read,transcripts:read"));
    let events: Vec<_> = reader.tail(request.clone()).await.unwrap().into_inner().collect().await;
    let organizations: Vec<String> = events.into_iter().map(|event| event.unwrap().organization_id).collect();
    assert_eq!(organizations, ["acme", "acme"]);
    for scopes in ["conversations:read", "transcripts:read", "events:write"] {
        let status = of(&subject, key("acme", scopes)).tail(request.clone()).await.err().unwrap();
        assert_eq!(status.code(), Code::PermissionDenied, "{scopes}");
    }

    // A service's consumer of the same name is another one.
    for (caller, sequences) in [(key("acme", "admin"), vec![1, 3]), (Caller::Service, vec![1, 2, 3])] {
        let said = futures::stream::iter([start("reader")]).chain(futures::stream::pending());
        let mut batches = of(&subject, caller).consume(said).await.unwrap().into_inner();
        let batch = tokio::time::timeout(LIMIT, batches.message()).await.unwrap().unwrap().unwrap();
        let read: Vec<u64> = batch.records.into_iter().map(|record| pb::Record::decode(record).unwrap().sequence).collect();
        assert_eq!(read, sequences);
    }
    let said = futures::stream::iter([start("reader")]);
    let status = of(&subject, key("acme", "conversations:read,transcripts:read")).consume(said).await.err().unwrap();
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_key_names_no_other_organization_and_sees_no_private_kind() {
    let subject = Subject::embedded(Default::default()).await.unwrap();
    let mut service = of(&subject, Caller::Service);
    let offer = ControlOffer { url: "https://vendor.example/control".to_owned() };
    append(&mut service, message("acme", event(Provider::Vapi, Data::ControlOffered(offer)))).await.unwrap();
    append(&mut service, message("acme", started())).await.unwrap();
    let request = pb::TailRequest { after_position: Some(0), until_end: true, ..Default::default() };
    let named = |name: &str| pb::TailRequest { organization_id: name.to_owned(), ..request.clone() };
    let mut reader = of(&subject, key("acme", "conversations:read,transcripts:read"));
    let kinds = async |client: &mut EventLogServiceClient<Transport>, request: pb::TailRequest| -> Vec<String> {
        let events: Vec<_> = client.tail(request).await.unwrap().into_inner().collect().await;
        events.into_iter().map(|event| event.unwrap().kind).collect()
    };
    assert_eq!(kinds(&mut reader, request.clone()).await, ["conversation.started"]);
    assert_eq!(kinds(&mut reader, named("acme")).await, ["conversation.started"]);
    assert_eq!(kinds(&mut service, named("acme")).await, ["control.offered", "conversation.started"]);
    assert!(kinds(&mut service, named("other")).await.is_empty());
    assert_eq!(reader.tail(named("other")).await.err().unwrap().code(), Code::NotFound);
    assert_eq!(service.tail(named("Not A Name")).await.err().unwrap().code(), Code::InvalidArgument);
    let private = pb::TailRequest { kinds: vec!["control.offered".to_owned()], ..request };
    assert_eq!(reader.tail(private.clone()).await.err().unwrap().code(), Code::InvalidArgument);
    assert_eq!(kinds(&mut service, private).await, ["control.offered"]);
}

#[tokio::test]
async fn only_an_administrator_erases_and_only_at_home() {
    let subject = Subject::embedded(Default::default()).await.unwrap();
    let record = message("acme", started());
    let conversation_id = record.events[0].conversation_id.clone();
    append(&mut of(&subject, Caller::Service), pb::Record { raw_body: Bytes::from_static(b"x"), ..record }).await.unwrap();
    let request = pb::EraseRequest { organization_id: String::new(), conversation_id };
    let code = |answer: Result<_, tonic::Status>| answer.map(|_: tonic::Response<pb::EraseResponse>| ()).unwrap_err().code();
    assert_eq!(code(of(&subject, key("acme", "events:write")).erase(request.clone()).await), Code::PermissionDenied);
    let elsewhere = pb::EraseRequest { organization_id: "acme".to_owned(), ..request.clone() };
    assert_eq!(code(of(&subject, key("other", "admin")).erase(elsewhere).await), Code::NotFound);
    let erased = of(&subject, key("other", "admin")).erase(request.clone()).await.unwrap().into_inner().erased_events;
    assert_eq!(erased, 0, "one id in two organizations is two conversations");
    let erased = of(&subject, key("acme", "admin")).erase(request.clone()).await.unwrap().into_inner().erased_events;
    assert_eq!(erased, 1);
    let bad = pb::EraseRequest { conversation_id: "x".to_owned(), ..request };
    assert_eq!(code(of(&subject, key("acme", "admin")).erase(bad).await), Code::InvalidArgument);
}

#[tokio::test]
async fn a_consumer_must_begin_with_a_start_and_a_proper_name() {
    let subject = Subject::embedded(Default::default()).await.unwrap();
    let ack = pb::consume_request::Request::Ack(pb::ConsumeAck { batch_id: 1 });
    let ack = pb::ConsumeRequest { request: Some(ack) };
    for first in [ack, start(""), start("Not a name"), start(&"x".repeat(65))] {
        let status = of(&subject, Caller::Service).consume(futures::stream::iter([first])).await.err().unwrap();
        assert_eq!(status.code(), Code::InvalidArgument);
    }
    let request = pb::TailRequest { conversation_id: "x".to_owned(), kinds: vec!["no.such".to_owned()], ..Default::default() };
    let status = of(&subject, Caller::Service).tail(request).await.err().unwrap();
    let fields: Vec<String> = Problem::from_status(&status).fields.into_iter().map(|bad| bad.field).collect();
    assert_eq!(fields, ["conversation_id", "kinds"]);
}
