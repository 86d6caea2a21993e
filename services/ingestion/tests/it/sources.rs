//! Sources: making, changing, rotating, removing.

use std::collections::BTreeSet;

use colloquy_proto::ingestion::v1 as pb;
use prost_types::FieldMask;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::world::{ACME, ELEVENLABS_SECRET, NOW_SECONDS, OTHER, Sample, World, a_source, by, elevenlabs_headers, sample};

async fn get(world: &World, key: &str, source_id: &str) -> Result<pb::Source, Status> {
    let request = by(key, pb::GetSourceRequest { source_id: source_id.to_owned() });
    Ok(world.sources.clone().get_source(request).await?.into_inner().source.unwrap())
}

async fn update(world: &World, key: &str, source: pb::Source, paths: &[&str], valid_seconds: u32) -> Result<pb::Source, Status> {
    let update_mask = (!paths.is_empty()).then(|| FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() });
    let request = pb::UpdateSourceRequest { source: Some(source), update_mask, previous_secret_valid_seconds: valid_seconds };
    Ok(world.sources.clone().update_source(by(key, request)).await?.into_inner().source.unwrap())
}

async fn delete(world: &World, key: &str, source_id: &str) -> Result<(), Status> {
    let request = by(key, pb::DeleteSourceRequest { source_id: source_id.to_owned() });
    world.sources.clone().delete_source(request).await.map(|_| ())
}

fn bad_fields(status: &Status) -> BTreeSet<String> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    status.get_error_details().bad_request().unwrap().field_violations.iter().map(|bad| bad.field.clone()).collect()
}

#[tokio::test]
async fn a_source_shows_everything_but_its_secret() {
    let world = World::start().await;
    let made = world.create(ACME, a_source("elevenlabs", "hmac", Some(ELEVENLABS_SECRET))).await.unwrap();
    assert_eq!(made.webhook_path, format!("/v1/webhooks/{}", made.source_id));
    let verification = made.verification.clone().unwrap();
    assert_eq!((verification.secret, verification.has_secret), (None, true));
    assert_eq!(made.created_at.as_ref().unwrap().seconds, NOW_SECONDS);
    assert_eq!(get(&world, ACME, &made.source_id).await.unwrap(), made);
}

#[tokio::test]
async fn every_bad_field_of_a_new_source_is_named() {
    let world = World::start().await;
    let cases: Vec<(pb::Source, &[&str])> = vec![
        (pb::Source { provider: "acme".to_owned(), ..a_source("", "none", None) }, &["source.provider"]),
        (pb::Source { name: "x".repeat(201), ..a_source("vapi", "none", None) }, &["source.name"]),
        (
            pb::Source { name: "a\0b".to_owned(), client_id: Some(String::new()), ..a_source("vapi", "none", None) },
            &["source.client_id", "source.name"],
        ),
        (pb::Source { verification: None, ..a_source("vapi", "none", None) }, &["source.verification"]),
        (a_source("vapi", "", None), &["source.verification.scheme"]),
        (a_source("vapi", "magic", Some("s")), &["source.verification.scheme"]),
        (a_source("vapi", "hmac", None), &["source.verification.secret"]),
        (a_source("vapi", "none", Some("s")), &["source.verification.secret"]),
        (a_source("retell", "bearer", Some("s")), &["source.verification.scheme"]),
    ];
    for (source, expected) in cases {
        let status = world.create(ACME, source.clone()).await.unwrap_err();
        assert_eq!(bad_fields(&status), expected.iter().map(|&field| field.to_owned()).collect(), "{source:?}");
    }
    let listed = world.sources.clone().list_sources(by(ACME, pb::ListSourcesRequest::default())).await.unwrap();
    assert_eq!(listed.into_inner().sources, []);
}

#[tokio::test]
async fn sources_of_another_organization_are_not_found() {
    let world = World::start().await;
    let source_id = world.source("vapi", "none", None).await;
    let source = pb::Source { source_id: source_id.clone(), name: "mine".to_owned(), ..pb::Source::default() };
    assert_eq!(get(&world, OTHER, &source_id).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(update(&world, OTHER, source, &[], 0).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(delete(&world, OTHER, &source_id).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(get(&world, "acme/conversations:read", &source_id).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(get(&world, ACME, "no uuid").await.unwrap_err().code(), Code::InvalidArgument);
    assert!(get(&world, ACME, &source_id).await.is_ok());
}

#[tokio::test]
async fn a_mask_decides_which_fields_change() {
    let world = World::start().await;
    let source_id = world.source("vapi", "shared_secret", Some("one")).await;
    let named = |name: &str| pb::Source { source_id: source_id.clone(), name: name.to_owned(), ..pb::Source::default() };

    let renamed = update(&world, ACME, named("new"), &[], 0).await.unwrap();
    assert_eq!((renamed.name.as_str(), renamed.client_id.as_deref()), ("new", Some("client-7")));
    assert!(renamed.verification.unwrap().has_secret);
    let cleared = update(&world, ACME, named("ignored"), &["client_id"], 0).await.unwrap();
    assert_eq!((cleared.name.as_str(), cleared.client_id), ("new", None));

    let bad = [
        (named(""), "name", "source.name"),
        (named("x"), "provider", "source.provider"),
        (named("x"), "created_at", "update_mask"),
        (named("x"), "verification", "source.verification"),
    ];
    for (source, path, field) in bad {
        let status = update(&world, ACME, source, &[path], 0).await.unwrap_err();
        assert_eq!(bad_fields(&status), BTreeSet::from([field.to_owned()]), "{path}");
    }
    let status = update(&world, ACME, named("x"), &[], 30 * 24 * 60 * 60 + 1).await.unwrap_err();
    assert_eq!(bad_fields(&status), BTreeSet::from(["previous_secret_valid_seconds".to_owned()]));
}

#[tokio::test]
async fn after_a_rotation_both_secrets_are_valid_until_the_old_one_expires() {
    let world = World::start().await;
    let source_id = world.source("elevenlabs", "hmac", Some(ELEVENLABS_SECRET)).await;
    let Sample { body, .. } = sample("elevenlabs", "post_call_transcription");
    let with = |secret: &str| {
        let verification = pb::Verification { secret: Some(secret.to_owned()), ..pb::Verification::default() };
        pb::Source { source_id: source_id.clone(), verification: Some(verification), ..pb::Source::default() }
    };
    let deliver = async |secret: &str, at: i64| {
        let headers = elevenlabs_headers(secret, at, [&body[..]]);
        world.deliver(&source_id, &headers, &body).await.map(|_| ()).map_err(|status| status.code())
    };
    assert_eq!(deliver(ELEVENLABS_SECRET, NOW_SECONDS).await, Ok(()));

    let rotated = update(&world, ACME, with("wsec_second"), &[], 60).await.unwrap().verification.unwrap();
    assert_eq!(rotated.scheme, "hmac");
    assert_eq!(rotated.previous_secret_expires_at.unwrap().seconds, NOW_SECONDS + 60);
    for (secret, expected) in [(ELEVENLABS_SECRET, Ok(())), ("wsec_second", Ok(())), ("wsec_third", Err(Code::Unauthenticated))] {
        assert_eq!(deliver(secret, NOW_SECONDS).await, expected, "{secret}");
    }
    world.clock.advance_millis(60_000);
    assert_eq!(deliver(ELEVENLABS_SECRET, NOW_SECONDS).await, Err(Code::Unauthenticated));
    assert_eq!(deliver("wsec_second", NOW_SECONDS).await, Ok(()));
    let now = get(&world, ACME, &source_id).await.unwrap().verification.unwrap();
    assert_eq!(now.previous_secret_expires_at, None);

    update(&world, ACME, with("wsec_third"), &["verification"], 0).await.unwrap();
    assert_eq!(deliver("wsec_second", NOW_SECONDS).await, Err(Code::Unauthenticated));
    assert_eq!(deliver("wsec_third", NOW_SECONDS).await, Ok(()));
}

#[tokio::test]
async fn no_verification_must_be_asked_for_and_forgets_the_secret() {
    let world = World::start().await;
    let source_id = world.source("vapi", "shared_secret", Some("one")).await;
    let with = |scheme: &str, secret: Option<&str>| {
        let verification =
            pb::Verification { scheme: scheme.to_owned(), secret: secret.map(str::to_owned), ..Default::default() };
        pb::Source { source_id: source_id.clone(), verification: Some(verification), ..pb::Source::default() }
    };
    let open = update(&world, ACME, with("none", None), &[], 0).await.unwrap().verification.unwrap();
    assert_eq!((open.scheme.as_str(), open.has_secret), ("none", false));
    let status = update(&world, ACME, with("bearer", None), &[], 0).await.unwrap_err();
    assert_eq!(bad_fields(&status), BTreeSet::from(["source.verification.secret".to_owned()]));
}

fn access(api_key: Option<&str>, base_url: Option<&str>) -> Option<pb::ProviderAccess> {
    let given = |text: Option<&str>| text.map(str::to_owned);
    Some(pb::ProviderAccess { api_key: given(api_key), base_url: given(base_url), ..Default::default() })
}

fn shown(source: &pb::Source) -> (Option<&str>, bool, Option<&str>) {
    let control = source.control.as_ref().unwrap();
    (control.api_key.as_deref(), control.has_api_key, control.base_url.as_deref())
}

#[tokio::test]
async fn how_a_provider_is_called_is_known_to_services_and_its_key_shown_to_nobody_else() {
    let world = World::start().await;
    let source = a_source("vapi", "shared_secret", Some("s"));
    let bare = world.create(ACME, source.clone()).await.unwrap();
    assert_eq!(shown(&bare), (None, false, None));
    assert_eq!(world.credentials("acme", &bare.source_id).await.unwrap(), pb::GetSourceCredentialsResponse::default());

    let control = access(Some("key-1"), Some("https://api.eu.vapi.example"));
    let made = world.create(ACME, pb::Source { control, ..source }).await.unwrap();
    assert_eq!(shown(&made), (None, true, Some("https://api.eu.vapi.example")));
    assert_eq!(get(&world, ACME, &made.source_id).await.unwrap(), made);
    let known = world.credentials("acme", &made.source_id).await.unwrap();
    assert_eq!((known.api_key.as_deref(), known.base_url.as_deref()), (Some("key-1"), Some("https://api.eu.vapi.example")));

    assert_eq!(world.credentials("other", &made.source_id).await.unwrap_err().code(), Code::NotFound);
    let status = world.credentials("", "no uuid").await.unwrap_err();
    assert_eq!(bad_fields(&status), ["organization_id", "source_id"].map(str::to_owned).into());
    let request = pb::GetSourceCredentialsRequest { organization_id: "acme".to_owned(), source_id: made.source_id.clone() };
    let by_key = world.sources.clone().get_source_credentials(by(ACME, request)).await;
    assert_eq!(by_key.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn of_how_a_provider_is_called_what_is_absent_stays_and_what_is_empty_is_forgotten() {
    let world = World::start().await;
    let source_id = world.source("vapi", "none", None).await;
    let change = async |control: Option<pb::ProviderAccess>, paths: &[&str]| {
        let source = pb::Source { source_id: source_id.clone(), control, ..pb::Source::default() };
        update(&world, ACME, source, paths, 0).await
    };
    let key = async || world.credentials("acme", &source_id).await.unwrap().api_key;

    let changed = change(access(Some("key-1"), Some("https://one.example")), &[]).await.unwrap();
    assert_eq!(shown(&changed), (None, true, Some("https://one.example")));
    let changed = change(access(None, Some("https://one.example")), &["control"]).await.unwrap();
    assert_eq!((shown(&changed), key().await.as_deref()), ((None, true, Some("https://one.example")), Some("key-1")));
    let changed = change(access(Some("key-1"), None), &["control"]).await.unwrap();
    assert_eq!(shown(&changed), (None, true, Some("https://one.example")));
    let changed = change(access(Some("key-2"), Some("")), &["control"]).await.unwrap();
    assert_eq!((shown(&changed), key().await.as_deref()), ((None, true, None), Some("key-2")));
    let other = pb::Source { source_id: source_id.clone(), name: "renamed".to_owned(), ..pb::Source::default() };
    update(&world, ACME, other, &[], 0).await.unwrap();
    assert_eq!(key().await.as_deref(), Some("key-2"), "another change leaves it");
    assert_eq!(shown(&change(None, &["control"]).await.unwrap()), (None, false, None));
    assert_eq!(key().await, None);

    let status = change(access(Some("two words"), Some("https://user:pass@one.example")), &["control"]).await.unwrap_err();
    let both = ["source.control.api_key", "source.control.base_url"].map(str::to_owned).into();
    assert_eq!(bad_fields(&status), both);
    let bad = pb::Source { control: access(Some("two words"), Some("ftp://one.example")), ..a_source("vapi", "none", None) };
    assert_eq!(bad_fields(&world.create(ACME, bad).await.unwrap_err()), both);
}

#[tokio::test]
async fn a_key_is_sent_to_another_address_only_by_who_knows_it() {
    let world = World::start().await;
    let change = async |source: pb::Source| update(&world, ACME, source, &[], 0).await;
    let refused = async |source: pb::Source| {
        let status = change(source).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        bad_fields(&status)
    };
    let key_field = BTreeSet::from(["source.control.api_key".to_owned()]);
    let source_id = world.source("elevenlabs", "none", None).await;
    let to = |control| pb::Source { source_id: source_id.clone(), control, ..pb::Source::default() };
    change(to(access(Some("key-1"), Some("https://one.example")))).await.unwrap();
    assert_eq!(refused(to(access(None, Some("https://attacker.example")))).await, key_field);
    let known = world.credentials("acme", &source_id).await.unwrap();
    assert_eq!((known.api_key.as_deref(), known.base_url.as_deref()), (Some("key-1"), Some("https://one.example")));
    // The usual address is the provider's own; from there on, the next is another one again.
    assert_eq!(shown(&change(to(access(None, Some("")))).await.unwrap()), (None, true, None));
    assert_eq!(refused(to(access(None, Some("https://one.example")))).await, key_field);
    let moved = change(to(access(Some("key-1"), Some("https://two.example")))).await.unwrap();
    assert_eq!(shown(&moved), (None, true, Some("https://two.example")));
    // Without a key there is nothing to send.
    change(to(access(Some(""), Some("https://three.example")))).await.unwrap();
    assert!(!shown(&change(to(access(None, Some("https://four.example")))).await.unwrap()).1);

    // Retell's signing key is its API key: it is no more sent elsewhere than another, whatever makes it the key.
    let source_id = world.source("retell", "hmac", Some("key_signing")).await;
    let to = |control| pb::Source { source_id: source_id.clone(), control, ..pb::Source::default() };
    assert_eq!(refused(to(access(None, Some("https://attacker.example")))).await, key_field);
    change(to(access(Some("key_own"), Some("https://attacker.example")))).await.unwrap();
    assert_eq!(refused(to(access(Some(""), None))).await, key_field);
    let source_id = world.source("retell", "standard_webhooks", Some("whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0")).await;
    let to = |control| pb::Source { source_id: source_id.clone(), control, ..pb::Source::default() };
    change(to(access(None, Some("https://attacker.example")))).await.unwrap();
    let hmac = |secret: Option<&str>| {
        let secret = secret.map(str::to_owned);
        let verification = pb::Verification { scheme: "hmac".to_owned(), secret, ..Default::default() };
        pb::Source { source_id: source_id.clone(), verification: Some(verification), ..pb::Source::default() }
    };
    assert_eq!(refused(hmac(None)).await, key_field);
    change(hmac(Some("key_signing"))).await.unwrap();
}

#[tokio::test]
async fn retells_signing_key_is_the_key_to_call_it_with_unless_another_is_given() {
    let world = World::start().await;
    let key = async |source_id: &str| world.credentials("acme", source_id).await.unwrap().api_key;
    let source_id = world.source("retell", "hmac", Some("key_signing")).await;
    assert_eq!(key(&source_id).await.as_deref(), Some("key_signing"));
    let given = pb::Source { control: access(Some("key_own"), None), ..a_source("retell", "hmac", Some("key_signing")) };
    assert_eq!(key(&world.create(ACME, given).await.unwrap().source_id).await.as_deref(), Some("key_own"));
    // Of the others the secret says nothing about their API.
    let source_id = world.source("elevenlabs", "hmac", Some(ELEVENLABS_SECRET)).await;
    assert_eq!(key(&source_id).await, None);
}

#[tokio::test]
async fn a_deleted_source_takes_no_deliveries() {
    let world = World::start().await;
    let source_id = world.source("vapi", "none", None).await;
    let Sample { headers, body, .. } = sample("vapi", "transcript");
    world.deliver(&source_id, &headers, &body).await.unwrap();
    delete(&world, ACME, &source_id).await.unwrap();
    assert_eq!(world.deliver(&source_id, &headers, &body).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(get(&world, ACME, &source_id).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(delete(&world, ACME, &source_id).await.unwrap_err().code(), Code::NotFound);
    assert!(!world.events(ACME).await.is_empty(), "what it brought stays");
}

#[tokio::test]
async fn pages_of_sources_hold_each_source_once() {
    let world = World::start().await;
    let mut made = BTreeSet::new();
    for _ in 0..5 {
        made.insert(world.source("vapi", "none", None).await);
        world.clock.advance_millis(1);
    }
    world.create(OTHER, a_source("vapi", "none", None)).await.unwrap();
    let mut request = pb::ListSourcesRequest { page_size: 2, page_token: String::new() };
    let mut walked = Vec::new();
    loop {
        let page = world.sources.clone().list_sources(by(ACME, request.clone())).await.unwrap().into_inner();
        walked.extend(page.sources.into_iter().map(|source| source.source_id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
        let status = world.sources.clone().list_sources(by(OTHER, request.clone())).await.unwrap_err();
        assert_eq!(bad_fields(&status), BTreeSet::from(["page_token".to_owned()]));
    }
    assert_eq!(walked.len(), 5);
    assert_eq!(walked.into_iter().collect::<BTreeSet<_>>(), made);
    let status = world.sources.clone().list_sources(by(ACME, pb::ListSourcesRequest { page_size: -1, ..request })).await;
    assert_eq!(bad_fields(&status.unwrap_err()), BTreeSet::from(["page_size".to_owned()]));
}
