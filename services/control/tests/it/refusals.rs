//! What is not taken.

use colloquy_events::{Data, EndStatus, Ended, Role, Speech, SpeechState};
use colloquy_proto::control::v1 as pb;
use colloquy_types::Provider;
use tonic::Code;

use crate::harness::{World, command, eventually, on_both_engines, refused, say, with};

on_both_engines!(
    commands_need_a_lease_that_counts,
    what_the_provider_cannot_do_is_refused_with_what_it_can,
    an_ended_conversation_takes_nothing_more,
    a_conversation_that_was_only_believed_to_have_ended_can_be_steered_once_it_speaks,
    another_tenants_conversation_does_not_exist,
    scopes_are_needed,
    what_was_said_is_shown_to_who_may_read_transcripts,
    every_bad_field_is_named,
);

async fn commands_need_a_lease_that_counts(world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    let (code, reason, problem) = refused(world.client(), say(&name, "hello")).await;
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "LEASE_REQUIRED"));
    assert!(problem.message.contains("take_over") && problem.message.contains("nobody holds"), "{}", problem.message);
    let lease = world.take_over(&name).await;
    let (_, reason, problem) = refused(world.client(), say(&name, "hello")).await;
    assert_eq!(reason, "LEASE_REQUIRED");
    assert!(problem.message.contains("'Ada'") && !problem.message.contains(&lease.lease_id), "{}", problem.message);
    let other = world.conversation(Provider::Vapi, "call_2").await;
    let (_, reason, _) = refused(world.client(), with(&lease, say(&other, "hello"))).await;
    assert_eq!(reason, "LEASE_LOST");
    assert_eq!(world.told(&other), Vec::<String>::new());
}

async fn what_the_provider_cannot_do_is_refused_with_what_it_can(world: World) {
    let retell = world.conversation(Provider::Retell, "call_1").await;
    let (code, reason, problem) = refused(world.client(), command(&retell, "mute")).await;
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "COMMAND_UNSUPPORTED"));
    assert!(problem.message.contains("take_over, release, inject_context, end (the vendor is made up)"), "{}", problem.message);
    let session = world.conversation(Provider::AgentSession, "session_1").await;
    let (_, reason, problem) = refused(world.client(), command(&session, "take_over")).await;
    assert_eq!(reason, "COMMAND_UNSUPPORTED");
    assert!(problem.message.contains("none (there is no way to steer agent_session conversations)"), "{}", problem.message);
    assert_eq!(world.told(&retell).len() + world.told(&session).len(), 0);
}

async fn an_ended_conversation_takes_nothing_more(world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    let lease = world.take_over(&name).await;
    world.until_states(&name, &["take_over applied"]).await;
    world.end(Provider::Vapi, "call_1").await;
    for request in [say(&name, "hello"), command(&name, "take_over"), command(&name, "release"), command(&name, "end")] {
        let (code, reason, _) = refused(world.client(), with(&lease, request)).await;
        assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "CONVERSATION_ENDED"));
    }
    let control = world.control(&name).await;
    assert_eq!((control.capabilities.len(), control.commands.len()), (0, 1));
}

async fn a_conversation_that_was_only_believed_to_have_ended_can_be_steered_once_it_speaks(world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    let speech = || Data::SpeechUpdated(Speech { role: Role::User, state: SpeechState::Started });
    world.happened(Provider::Vapi, "call_1", speech());
    let inferred = Ended { inferred: true, ..Ended::new(EndStatus::Failed) };
    world.happened(Provider::Vapi, "call_1", Data::Ended(inferred));
    eventually("it is believed to have ended", async || world.control(&name).await.capabilities.is_empty()).await;
    let (_, reason, _) = refused(world.client(), command(&name, "take_over")).await;
    assert_eq!(reason, "CONVERSATION_ENDED");
    world.happened(Provider::Vapi, "call_1", speech());
    eventually("it runs", async || !world.control(&name).await.capabilities.is_empty()).await;
    world.take_over(&name).await;
}

async fn another_tenants_conversation_does_not_exist(world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    let id = world.control(&name).await.conversation_id;
    world.take_over(&id).await;
    let command_id = world.commands(&name).await[0].command_id.clone();
    let other = || world.client_of("other", "admin");
    for name in [name.as_str(), id.as_str(), "vapi:nothing"] {
        let (code, reason, problem) = refused(other(), command(name, "take_over")).await;
        assert_eq!((code, reason.as_str()), (Code::NotFound, "CONVERSATION_NOT_FOUND"));
        assert!(problem.message.contains(name), "{}", problem.message);
        let status = other().get_control(pb::GetControlRequest { conversation_id: name.to_owned() }).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound);
    }
    for (mut client, command_id) in [(other(), command_id.clone()), (world.client(), command_id)] {
        let report = pb::ReportCommandRequest { command_id, rejected: None };
        assert_eq!(client.report_command(report).await.unwrap_err().code(), Code::NotFound);
    }
}

async fn scopes_are_needed(world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    let mut reader = world.client_of("acme", "conversations:read");
    let status = reader.send_command(command(&name, "take_over")).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(reader.subscribe(pb::SubscribeRequest::default()).await.unwrap_err().code(), Code::PermissionDenied);
    let status = reader.report_command(pb::ReportCommandRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let status = world.client_of("acme", "conversations:write").get_control(pb::GetControlRequest::default()).await;
    assert_eq!(status.unwrap_err().code(), Code::PermissionDenied);
    let mut nobody = world.client_as(colloquy_service::Caller::Anonymous);
    assert_eq!(nobody.send_command(command(&name, "end")).await.unwrap_err().code(), Code::Unauthenticated);
}

async fn every_bad_field_is_named(world: World) {
    let request = pb::SendCommandRequest {
        lease_id: "x".to_owned(),
        lease_seconds: 4,
        destination: Some("nowhere".to_owned()),
        text: Some("text".to_owned()),
        ..command("nonsense", "transfer")
    };
    let (code, _, problem) = refused(world.client(), request).await;
    assert_eq!(code, Code::InvalidArgument);
    let mut fields: Vec<&str> = problem.fields.iter().map(|bad| bad.field.as_str()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["conversation_id", "destination", "lease_id", "lease_seconds", "text"]);
}

async fn what_was_said_is_shown_to_who_may_read_transcripts(world: World) {
    let name = world.conversation(Provider::Vapi, "call_1").await;
    let lease = world.take_over(&name).await;
    world.client().send_command(with(&lease, say(&name, "hello"))).await.unwrap();
    for (scopes, expected) in [("conversations:read", None), ("conversations:read,transcripts:read", Some("hello"))] {
        let request = pb::GetControlRequest { conversation_id: name.clone() };
        let told = world.client_of("acme", scopes).get_control(request).await.unwrap().into_inner();
        assert_eq!(told.commands[0].text.as_deref(), expected, "{scopes}");
    }
}
