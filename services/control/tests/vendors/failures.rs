//! What goes wrong over HTTP, the same for every vendor that is reached that way.

use std::sync::Arc;
use std::time::Duration;

use colloquy_control::vendor::{Action, Failure, Retell, Target, Timing, Vapi, Vendor};
use colloquy_outbound::Courier;
use colloquy_types::Provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use url::Url;

use crate::fake::{Fake, Then, answer, answer_with};
use crate::{HASTY, KEY, TIMING, courier, guarded, target};

/// Both vendors, with a target at `url`.
fn vendors(courier: &Courier, timing: Timing, url: &Url) -> Vec<(Arc<dyn Vendor>, Target)> {
    vec![
        (Arc::new(Vapi::new(courier.clone(), timing)), target(Provider::Vapi, url)),
        (Arc::new(Retell::new(courier.clone(), timing)), target(Provider::Retell, url)),
    ]
}

fn inject() -> Action {
    Action::InjectContext("a".to_owned())
}

/// Asserts what both vendors make of a server's answers, and how often they ask.
async fn expect(action: Action, answers: Vec<Then>, result: impl Fn(&Result<(), Failure>) -> bool, requests: usize) {
    expect_within(TIMING, action, answers, result, requests).await;
}

async fn expect_within(
    timing: Timing,
    action: Action,
    answers: Vec<Then>,
    result: impl Fn(&Result<(), Failure>) -> bool,
    requests: usize,
) {
    for number in 0..2 {
        let fake = Fake::start(answers.clone()).await;
        let (vendor, target) = vendors(&courier(), timing, &fake.url).swap_remove(number);
        let got = vendor.perform(&target, &action).await;
        assert!(result(&got), "{:?} {action:?}: {got:?}", target.provider);
        assert_eq!(fake.seen().len(), requests, "{:?} {action:?}: {got:?}", target.provider);
        assert!(!format!("{got:?} {target:?}").contains(KEY), "{got:?} {target:?}");
    }
}

#[tokio::test]
async fn a_vendors_refusal_is_passed_on_cut_and_without_the_key() {
    let body = format!(r#"{{"status":"error","message":"\u001b no {KEY} {}"}}"#, "x".repeat(1000));
    let refused = |got: &Result<(), Failure>| matches!(got, Err(Failure::Refused(why)) if why.starts_with("no … x") && why.chars().count() == 500);
    expect(inject(), vec![answer(422, &body)], refused, 1).await;
    let denied = |got: &Result<(), Failure>| matches!(got, Err(Failure::Refused(why)) if why.contains("key"));
    expect(inject(), vec![answer(401, &body)], denied, 1).await;
    expect(inject(), vec![answer(403, &body)], denied, 1).await;
}

#[tokio::test]
async fn a_vendor_that_does_not_know_the_conversation_says_it_is_over() {
    for then in [answer(404, "{}"), answer(410, ""), answer(422, r#"{"message":"Call already ended"}"#)] {
        expect(inject(), vec![then.clone()], |got| *got == Err(Failure::Ended), 1).await;
        expect(Action::End, vec![then], |got| *got == Err(Failure::Ended), 1).await;
    }
}

#[tokio::test]
async fn a_busy_vendor_is_asked_again_after_the_pause_it_wants() {
    let began = Instant::now();
    let busy = answer_with(429, "Retry-After: 1\r\n", "");
    expect(inject(), vec![busy, answer(200, "")], Result::is_ok, 2).await;
    assert!(began.elapsed() >= Duration::from_secs(2), "a second for each of the two vendors");

    let unavailable = |got: &Result<(), Failure>| matches!(got, Err(Failure::Unavailable(_)));
    expect(inject(), vec![answer_with(503, "Retry-After: 6\r\n", "")], unavailable, 1).await;
    expect(inject(), vec![answer_with(503, "Retry-After: 0\r\n", "")], unavailable, 3).await;
}

#[tokio::test]
async fn a_failing_vendor_is_asked_again_for_what_may_be_done_twice() {
    expect(Action::End, vec![answer(500, ""), answer(200, "")], Result::is_ok, 2).await;
    expect(Action::End, vec![answer(500, "")], |got| matches!(got, Err(Failure::Unavailable(_))), 3).await;
    expect(inject(), vec![answer(500, ""), answer(200, "")], |got| matches!(got, Err(Failure::Unknown(_))), 1).await;
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_only_for_what_may_be_done_twice() {
    let unknown = |got: &Result<(), Failure>| matches!(got, Err(Failure::Unknown(_)));
    expect(Action::End, vec![Then::Drop, answer(204, "")], Result::is_ok, 2).await;
    expect(Action::End, vec![Then::Drop, answer(404, "")], Result::is_ok, 2).await;
    expect(Action::End, vec![Then::Drop], unknown, 3).await;
    expect(Action::End, vec![Then::Slam, answer(204, "")], Result::is_ok, 1).await;
    expect(inject(), vec![Then::Drop, answer(200, "")], unknown, 1).await;
    let no_http = Then::Answer("garbage\r\n\r\n".to_owned());
    expect(inject(), vec![no_http], unknown, 1).await;
}

#[tokio::test]
async fn a_vendor_that_keeps_silent_is_waited_for_no_longer_than_a_command_may_take() {
    let began = Instant::now();
    for action in [Action::End, inject()] {
        expect_within(HASTY, action, vec![Then::Hang], |got| matches!(got, Err(Failure::Unknown(_))), 1).await;
    }
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn endless_answers_are_not_read() {
    expect(inject(), vec![Then::Flood(200)], Result::is_ok, 1).await;
    let refused = |got: &Result<(), Failure>| matches!(got, Err(Failure::Refused(why)) if why.len() == 500);
    expect(inject(), vec![Then::Flood(400)], refused, 1).await;
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Fake::start(vec![answer(200, "")]).await;
    let moved = answer_with(307, &format!("Location: {}\r\n", elsewhere.url), "");
    expect(inject(), vec![moved], |got| matches!(got, Err(Failure::Refused(_))), 1).await;
    assert_eq!(elsewhere.seen(), []);
}

#[tokio::test]
async fn nobody_there_and_nobody_to_trust_did_surely_nothing() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let nobody = Url::parse(&format!("http://127.0.0.1:{port}/")).unwrap();

    let signed = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![signed.cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let untrusted = Url::parse(&format!("https://{}/", listener.local_addr().unwrap())).unwrap();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let accepted = acceptor.accept(stream).await;
            assert!(accepted.is_err(), "somebody trusts a certificate that nobody has signed");
        }
    });

    for url in [nobody, untrusted] {
        for (vendor, target) in vendors(&courier(), TIMING, &url) {
            let unavailable = vendor.perform(&target, &inject()).await;
            assert!(matches!(unavailable, Err(Failure::Unavailable(_))), "{url} {:?}: {unavailable:?}", target.provider);
        }
    }
    assert!(!task.is_finished(), "the server ended");
    task.abort();
}

#[tokio::test]
async fn this_machine_is_not_reached_unless_it_is_allowed() {
    let fake = Fake::start(vec![answer(200, "")]).await;
    let by_name = Url::parse(&format!("http://localhost:{}/", fake.url.port().unwrap())).unwrap();
    for url in [fake.url.clone(), by_name, Url::parse("http://169.254.169.254/").unwrap()] {
        for (vendor, target) in vendors(&guarded(), TIMING, &url) {
            let refused = vendor.perform(&target, &inject()).await;
            assert!(matches!(refused, Err(Failure::Refused(_))), "{url} {:?}: {refused:?}", target.provider);
        }
    }
    assert_eq!(fake.seen(), []);
}
