//! Vapi's control address.

use colloquy_control::vendor::{Action, Failure, Target, Vapi, Vendor};
use colloquy_events::CommandKind;
use colloquy_types::Provider;

use crate::fake::{Fake, answer};
use crate::{KEY, TIMING, courier, every_action, target};

#[tokio::test]
async fn every_command_is_one_message_to_the_control_address_without_a_key() {
    let expected = [
        r#"{"type":"control","control":"mute-assistant"}"#,
        r#"{"type":"control","control":"unmute-assistant"}"#,
        r#"{"type":"say","content":"Good day, ä\"\n","endCallAfterSpoken":false}"#,
        concat!(
            r#"{"type":"add-message","message":{"role":"system","content":"The invoice is paid."},"#,
            r#""triggerResponseEnabled":false}"#
        ),
        r#"{"type":"transfer","destination":{"type":"number","number":"+14155550100"}}"#,
        r#"{"type":"control","control":"mute-assistant"}"#,
        r#"{"type":"control","control":"unmute-assistant"}"#,
        r#"{"type":"end-call"}"#,
    ];
    for (action, body) in every_action().into_iter().zip(expected) {
        let fake = Fake::start(vec![answer(200, "")]).await;
        let done = Vapi::new(courier(), TIMING).perform(&target(Provider::Vapi, &fake.url), &action).await;
        assert_eq!(done, Ok(()), "{action:?}");
        let seen = fake.only();
        assert_eq!((seen.line.as_str(), seen.body.as_str()), ("POST /7420f27a/control", body));
        assert_eq!(seen.headers["content-type"], "application/json");
        assert!(!format!("{seen:?}").contains(KEY), "{seen:?}");
    }
}

#[tokio::test]
async fn a_transfer_goes_to_sip_addresses_too_and_nowhere_else() {
    let fake = Fake::start(vec![answer(204, "")]).await;
    let (vapi, target) = (Vapi::new(courier(), TIMING), target(Provider::Vapi, &fake.url));
    vapi.perform(&target, &Action::Transfer("sip:+1@sip.example.com".to_owned())).await.unwrap();
    let sip = r#"{"type":"transfer","destination":{"type":"sip","sipUri":"sip:+1@sip.example.com"}}"#;
    assert_eq!(fake.only().body, sip);
    let refused = vapi.perform(&target, &Action::Transfer("tel:1".to_owned())).await;
    assert!(matches!(refused, Err(Failure::Refused(_))), "{refused:?}");
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn a_control_address_that_wants_a_key_is_not_given_one() {
    let fake = Fake::start(vec![answer(401, "{}")]).await;
    let refused = Vapi::new(courier(), TIMING).perform(&target(Provider::Vapi, &fake.url), &Action::End).await;
    assert!(matches!(&refused, Err(Failure::Refused(why)) if why.contains("controlAuthenticationEnabled")), "{refused:?}");
}

#[test]
fn without_a_control_address_nothing_can_be_done_and_only_phone_calls_are_transferred() {
    let vapi = Vapi::new(courier(), TIMING);
    let phone = target(Provider::Vapi, &"https://vapi.example/".parse().unwrap());
    let (commands, why) = vapi.capabilities(&phone);
    assert_eq!((commands.len(), why.as_str()), (7, ""));
    let web = Target { channel: Some("web".to_owned()), ..phone.clone() };
    let (commands, why) = vapi.capabilities(&web);
    assert!(commands.len() == 6 && !commands.contains(&CommandKind::Transfer) && !why.is_empty(), "{commands:?} {why}");
    let (commands, why) = vapi.capabilities(&Target { control_url: None, ..phone });
    assert!(commands.is_empty() && !why.is_empty());
}
