//! The adapters against servers that behave as the vendors do, and as they should not.

#![expect(clippy::unwrap_used, reason = "a test server that cannot be set up fails the test")]

mod elevenlabs;
mod failures;
mod fake;
mod fake_socket;
mod retell;
mod vapi;

use std::time::Duration;

use colloquy_control::vendor::{self, Action, ApiKey, Target, Timing};
use colloquy_events::CommandKind;
use colloquy_outbound::{Courier, Policy};
use colloquy_types::Provider;
use url::Url;

/// A key that must not show up anywhere.
const KEY: &str = "secret-key-17";

/// Patient enough for a slow machine where something is waited for, and quick where nothing comes.
const TIMING: Timing = Timing {
    command: Duration::from_secs(20),
    attempt: Duration::from_millis(50),
    pause: Duration::from_millis(5),
    longest_pause: Duration::from_secs(5),
    settle: Duration::from_millis(100),
};

/// For what never answers.
const HASTY: Timing = Timing { command: Duration::from_millis(400), ..TIMING };

/// Reaches this machine.
fn courier() -> Courier {
    Courier::new("127.0.0.0/8".parse().unwrap()).unwrap()
}

/// Reaches what anybody may reach.
fn guarded() -> Courier {
    Courier::new(Policy::default()).unwrap()
}

fn target(provider: Provider, url: &Url) -> Target {
    let is_vapi = provider == Provider::Vapi;
    Target {
        provider,
        external_id: "conv_1".to_owned(),
        channel: Some("phone".to_owned()),
        control_url: is_vapi.then(|| url.join("/7420f27a/control").unwrap()),
        api_key: Some(ApiKey(KEY.to_owned())),
        base_url: (!is_vapi).then(|| url.clone()),
    }
}

fn every_action() -> Vec<Action> {
    vec![
        Action::TakeOver,
        Action::Release,
        Action::Say("Good day, ä\"\n".to_owned()),
        Action::InjectContext("The invoice is paid.".to_owned()),
        Action::Transfer("+14155550100".to_owned()),
        Action::Mute(true),
        Action::Mute(false),
        Action::End,
    ]
}

#[test]
fn every_vendor_that_is_called_is_known_and_says_what_it_cannot_do() {
    let vendors = vendor::all(Policy::default()).unwrap();
    let providers: Vec<Provider> = vendors.iter().map(|(provider, _)| *provider).collect();
    assert_eq!(providers, [Provider::Vapi, Provider::Retell, Provider::ElevenLabs, Provider::AgentSession]);
    for (provider, vendor) in vendors {
        let nowhere =
            Target { provider, external_id: "x".to_owned(), channel: None, control_url: None, api_key: None, base_url: None };
        let (commands, why) = vendor.capabilities(&nowhere);
        assert_eq!(commands, Vec::<CommandKind>::new(), "{provider:?} without a key or an address");
        assert!(!why.is_empty(), "{provider:?} gives no reason");
    }
}

#[tokio::test]
async fn what_no_vendor_can_do_is_refused_without_asking_it() {
    let url = Url::parse("http://192.0.2.1/").unwrap();
    for (provider, vendor) in vendor::all(Policy::default()).unwrap() {
        let nowhere = Target { control_url: None, api_key: None, ..target(provider, &url) };
        for action in every_action() {
            let refused = vendor.perform(&nowhere, &action).await;
            assert!(matches!(refused, Err(vendor::Failure::Refused(_))), "{provider:?} {action:?}: {refused:?}");
        }
    }
}
