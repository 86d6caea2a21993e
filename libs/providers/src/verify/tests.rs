use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use proptest::prelude::*;

use super::*;

const NOW_MS: i64 = 1_772_463_800_000;
const ELEVENLABS: &[u8] = b"wsec_test_0123456789abcdef0123456789abcdef";
const RETELL: &[u8] = b"key_test_0123456789abcdef01234567";
const VAPI: &[u8] = b"vapi-test-shared-secret";
const VAPI_HMAC: &[u8] = b"vapi-test-hmac-secret";
const AGENT_SESSION: &[u8] = b"agent-session-test-api-key";
const BODY: &[u8] = br#"{"hello":"world"}"#;

fn now() -> Timestamp {
    at(NOW_MS)
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn by(scheme: Scheme) -> Verification {
    Verification { scheme, ..Verification::default() }
}

fn headers(pairs: &[(&str, &str)]) -> Headers {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn mac(algorithm: Algorithm, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm.hmac(), key));
    parts.iter().for_each(|part| context.update(part));
    context.sign().as_ref().to_vec()
}

fn hex_mac(key: &[u8], parts: &[&[u8]]) -> String {
    hex::encode(mac(Algorithm::Sha256, key, parts))
}

fn elevenlabs_headers(seconds: i64, body: &[u8]) -> Headers {
    let digest = hex_mac(ELEVENLABS, &[format!("{seconds}.").as_bytes(), body]);
    headers(&[("ElevenLabs-Signature", &format!("t={seconds},v0={digest}"))])
}

fn retell_headers(millis: i64, body: &[u8]) -> Headers {
    let digest = hex_mac(RETELL, &[body, millis.to_string().as_bytes()]);
    headers(&[("X-Retell-Signature", &format!("v={millis},d={digest}"))])
}

/// Every stored sample with its headers, the sidecar's suffix told.
fn samples(provider: &str, sidecar: &str) -> Vec<(String, Vec<u8>, Headers)> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/payloads")).join(provider);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some(stem) = name.strip_suffix(".json").filter(|stem| !stem.ends_with(".headers")) else { continue };
        let stored = std::fs::read(folder.join(format!("{stem}{sidecar}"))).unwrap();
        let stored: std::collections::HashMap<String, String> = serde_json::from_slice(&stored).unwrap();
        found.push((name.clone(), std::fs::read(&path).unwrap(), stored.into_iter().collect()));
    }
    found
}

#[test]
fn every_signed_sample_is_genuine_and_one_changed_byte_is_not() {
    type Suite = (Provider, &'static str, &'static str, Scheme, &'static [u8], usize);
    let suites: [Suite; 5] = [
        (Provider::ElevenLabs, "elevenlabs", ".headers.json", Scheme::Hmac, ELEVENLABS, 6),
        (Provider::Retell, "retell", ".headers.json", Scheme::Hmac, RETELL, 8),
        (Provider::Vapi, "vapi", ".headers.json", Scheme::SharedSecret, VAPI, 7),
        (Provider::Vapi, "vapi", ".hmac.headers.json", Scheme::Hmac, VAPI_HMAC, 7),
        (Provider::AgentSession, "agent_session", ".headers.json", Scheme::Hmac, AGENT_SESSION, 3),
    ];
    for (provider, folder, sidecar, scheme, secret, count) in suites {
        let samples = samples(folder, sidecar);
        assert_eq!(samples.len(), count, "{folder}");
        for (name, mut body, headers) in samples {
            let check = |body: &[u8], secret: &[u8]| verify(provider, &by(scheme), &[secret], &headers, body, now());
            assert_eq!(check(&body, secret), Ok(()), "{name}");
            assert_eq!(check(&body, b"another secret"), Err(Rejection::Mismatch), "{name}");
            body.push(b' ');
            let expected = if scheme == Scheme::SharedSecret { Ok(()) } else { Err(Rejection::Mismatch) };
            assert_eq!(check(&body, secret), expected, "{name}");
        }
    }
}

#[test]
fn a_delivery_without_its_header_is_rejected_by_name() {
    let expected = [
        (Provider::ElevenLabs, Scheme::Hmac, "elevenlabs-signature"),
        (Provider::Retell, Scheme::Hmac, "x-retell-signature"),
        (Provider::Vapi, Scheme::Hmac, "x-signature"),
        (Provider::Vapi, Scheme::SharedSecret, "x-vapi-secret"),
        (Provider::AgentSession, Scheme::Hmac, "x-whippy-signature"),
        (Provider::AgentSession, Scheme::Bearer, "authorization"),
        (Provider::ElevenLabs, Scheme::StandardWebhooks, "webhook-id"),
    ];
    for (provider, scheme, header) in expected {
        let result = verify(provider, &by(scheme), &[b"c2VjcmV0"], &Headers::default(), BODY, now());
        assert_eq!(result, Err(Rejection::MissingHeader(header.to_owned())), "{provider} {scheme}");
    }
}

#[test]
fn a_signature_header_that_comes_twice_is_rejected() {
    let value = elevenlabs_headers(NOW_MS / 1000, BODY).get("elevenlabs-signature").unwrap().to_owned();
    let twice = headers(&[("elevenlabs-signature", &value), ("ElevenLabs-Signature", "t=1,v0=00")]);
    let result = verify(Provider::ElevenLabs, &by(Scheme::Hmac), &[ELEVENLABS], &twice, BODY, now());
    assert_eq!(result, Err(Rejection::RepeatedHeader("elevenlabs-signature".to_owned())));
}

#[test]
fn elevenlabs_signatures_live_half_an_hour_in_both_directions() {
    let signed_at = NOW_MS / 1000;
    let check = |offset_ms: i64| {
        let headers = elevenlabs_headers(signed_at, BODY);
        verify(Provider::ElevenLabs, &by(Scheme::Hmac), &[ELEVENLABS], &headers, BODY, at(NOW_MS + offset_ms))
    };
    assert_eq!(check(1_800_000), Ok(()));
    assert_eq!(check(1_801_000), Err(Rejection::TooOld { seconds: 1801, tolerance: 1800 }));
    assert_eq!(check(-1_800_000), Ok(()));
    assert_eq!(check(-1_801_000), Err(Rejection::InFuture { seconds: 1801, tolerance: 1800 }));
}

#[test]
fn retell_signatures_live_five_minutes_in_both_directions() {
    let check = |offset_ms: i64| {
        let headers = retell_headers(NOW_MS, BODY);
        verify(Provider::Retell, &by(Scheme::Hmac), &[RETELL], &headers, BODY, at(NOW_MS + offset_ms))
    };
    assert_eq!(check(300_000), Ok(()));
    assert!(matches!(check(300_001), Err(Rejection::TooOld { .. })));
    assert_eq!(check(-300_000), Ok(()));
    assert!(matches!(check(-300_001), Err(Rejection::InFuture { .. })));
}

#[test]
fn any_of_several_elevenlabs_signatures_may_match() {
    let seconds = NOW_MS / 1000;
    let digest = hex_mac(ELEVENLABS, &[format!("{seconds}.").as_bytes(), BODY]);
    let other = "0".repeat(64);
    let good = [
        format!("t={seconds},v0={digest},v0={other}"),
        format!("t={seconds},v0={other},v0={digest}"),
        format!("t={seconds}, v0={digest}"),
        format!("v0={digest},t={seconds},v1=future"),
    ];
    for value in good {
        let headers = headers(&[("elevenlabs-signature", &value)]);
        assert_eq!(verify(Provider::ElevenLabs, &by(Scheme::Hmac), &[ELEVENLABS], &headers, BODY, now()), Ok(()), "{value}");
    }
    let bad = [
        format!("t={seconds}"),
        format!("v0={digest}"),
        format!("t=,v0={digest}"),
        format!("t=-{seconds},v0={digest}"),
        format!("t={seconds},t={seconds},v0={digest}"),
        format!("t={seconds},v0="),
        format!("t={},v0={digest}", "9".repeat(30)),
        String::new(),
    ];
    for value in bad {
        let headers = headers(&[("elevenlabs-signature", &value)]);
        let result = verify(Provider::ElevenLabs, &by(Scheme::Hmac), &[ELEVENLABS], &headers, BODY, now());
        assert!(matches!(result, Err(Rejection::Malformed { .. })), "{value}: {result:?}");
    }
}

#[test]
fn retell_signatures_are_read_strictly() {
    let digest = hex_mac(RETELL, &[BODY, NOW_MS.to_string().as_bytes()]);
    let upper = digest.to_uppercase();
    let bad = [
        format!("v={NOW_MS},d={upper}"),
        format!("v={NOW_MS},d={digest} "),
        format!(" v={NOW_MS},d={digest}"),
        format!("v={NOW_MS}, d={digest}"),
        format!("v=+{NOW_MS},d={digest}"),
        format!("v=,d={digest}"),
        format!("v={NOW_MS},d={digest},d={digest}"),
        format!("d={digest},v={NOW_MS}"),
        format!("v={NOW_MS},d={}", &digest[1..]),
    ];
    for value in bad {
        let headers = headers(&[("x-retell-signature", &value)]);
        let result = verify(Provider::Retell, &by(Scheme::Hmac), &[RETELL], &headers, BODY, now());
        assert!(matches!(result, Err(Rejection::Malformed { .. })), "{value}: {result:?}");
    }
}

#[test]
fn the_previous_secret_is_as_good_as_the_current_one_and_an_empty_one_is_none() {
    let headers = retell_headers(NOW_MS, BODY);
    let check = |secrets: &[&[u8]]| verify(Provider::Retell, &by(Scheme::Hmac), secrets, &headers, BODY, now());
    assert_eq!(check(&[b"new", RETELL]), Ok(()));
    assert_eq!(check(&[b"new"]), Err(Rejection::Mismatch));
    assert_eq!(check(&[]), Err(Rejection::NoUsableSecret));
    assert_eq!(check(&[b""]), Err(Rejection::NoUsableSecret));
}

#[test]
fn vapi_hmac_follows_its_settings() {
    let seconds = (NOW_MS / 1000).to_string();
    let millis = NOW_MS.to_string();
    let default = by(Scheme::Hmac);
    type Case = (&'static str, Verification, &'static [u8], Vec<(&'static str, String)>);
    let cases: Vec<Case> = vec![
        (
            "time in seconds",
            default.clone(),
            VAPI_HMAC,
            vec![("x-timestamp", seconds.clone()), ("x-signature", hex_mac(VAPI_HMAC, &[seconds.as_bytes(), b".", BODY]))],
        ),
        (
            "time in milliseconds",
            default.clone(),
            VAPI_HMAC,
            vec![("x-timestamp", millis.clone()), ("x-signature", hex_mac(VAPI_HMAC, &[millis.as_bytes(), b".", BODY]))],
        ),
        (
            "body alone, other header, prefix",
            Verification {
                header: Some("X-Vapi-Signature".to_owned()),
                format: Some("{body}".to_owned()),
                prefix: Some("sha256=".to_owned()),
                ..default.clone()
            },
            VAPI_HMAC,
            vec![("x-vapi-signature", format!("sha256={}", hex_mac(VAPI_HMAC, &[BODY])))],
        ),
        (
            "prefix nobody configured",
            Verification { format: Some("{body}".to_owned()), ..default.clone() },
            VAPI_HMAC,
            vec![("x-signature", format!("sha256={}", hex_mac(VAPI_HMAC, &[BODY])))],
        ),
        (
            "body in the middle, sha512, base64",
            Verification {
                format: Some("{timestamp}:{body}:{method}".to_owned()),
                encoding: Some(Encoding::Base64),
                algorithm: Some(Algorithm::Sha512),
                timestamp_header: Some("x-time".to_owned()),
                ..default.clone()
            },
            VAPI_HMAC,
            vec![
                ("x-time", seconds.clone()),
                ("x-signature", STANDARD.encode(mac(Algorithm::Sha512, VAPI_HMAC, &[seconds.as_bytes(), b":", BODY, b":POST"]))),
            ],
        ),
        (
            "sha1, secret in base64",
            Verification {
                format: Some("{body}".to_owned()),
                algorithm: Some(Algorithm::Sha1),
                secret_is_base64: true,
                ..default.clone()
            },
            b"c2VjcmV0",
            vec![("x-signature", hex::encode(mac(Algorithm::Sha1, b"secret", &[BODY])))],
        ),
        (
            "as svix does",
            Verification {
                header: Some("svix-signature".to_owned()),
                timestamp_header: Some("svix-timestamp".to_owned()),
                format: Some("{svix-id}.{timestamp}.{body}".to_owned()),
                prefix: Some("v1,".to_owned()),
                encoding: Some(Encoding::Base64),
                ..default
            },
            VAPI_HMAC,
            vec![
                ("svix-id", "msg_1".to_owned()),
                ("svix-timestamp", seconds.clone()),
                (
                    "svix-signature",
                    format!(
                        "v1,AAAA v1,{}",
                        STANDARD.encode(mac(Algorithm::Sha256, VAPI_HMAC, &[b"msg_1.", seconds.as_bytes(), b".", BODY]))
                    ),
                ),
            ],
        ),
    ];
    for (case, verification, secret, pairs) in cases {
        assert_eq!(validate(Provider::Vapi, &verification, std::str::from_utf8(secret).ok()), [], "{case}");
        let headers: Headers = pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        assert_eq!(verify(Provider::Vapi, &verification, &[secret], &headers, BODY, now()), Ok(()), "{case}");
        let changed = verify(Provider::Vapi, &verification, &[secret], &headers, b"{}", now());
        assert_eq!(changed, Err(Rejection::Mismatch), "{case}");
    }
}

#[test]
fn only_a_signed_time_is_judged() {
    let old = ((NOW_MS - 300_001) / 1000 - 1).to_string();
    let signed = headers(&[("x-timestamp", &old), ("x-signature", &hex_mac(VAPI_HMAC, &[old.as_bytes(), b".", BODY]))]);
    let result = verify(Provider::Vapi, &by(Scheme::Hmac), &[VAPI_HMAC], &signed, BODY, now());
    assert!(matches!(result, Err(Rejection::TooOld { .. })), "{result:?}");

    let unsigned = Verification { format: Some("{body}".to_owned()), ..by(Scheme::Hmac) };
    let headers = headers(&[("x-timestamp", &old), ("x-signature", &hex_mac(VAPI_HMAC, &[BODY]))]);
    assert_eq!(verify(Provider::Vapi, &unsigned, &[VAPI_HMAC], &headers, BODY, now()), Ok(()));
}

#[test]
fn agent_session_signatures_are_read_by_position_in_any_encoding() {
    let seconds = (NOW_MS / 1000).to_string();
    let digest = mac(Algorithm::Sha256, AGENT_SESSION, &[seconds.as_bytes(), b".", BODY]);
    let written = [
        format!("t={seconds},v1={}", STANDARD_NO_PAD.encode(&digest)),
        format!("t={seconds},v1={}", STANDARD.encode(&digest)),
        format!("time={seconds}, sig={}", hex::encode(&digest)),
        format!("{seconds},{}", STANDARD.encode(&digest)),
    ];
    for value in written {
        let headers = headers(&[("x-whippy-signature", &value)]);
        let check = |now| verify(Provider::AgentSession, &by(Scheme::Hmac), &[AGENT_SESSION], &headers, BODY, now);
        assert_eq!(check(now()), Ok(()), "{value}");
        assert_eq!(check(at(NOW_MS + 300_000)), Ok(()), "{value}");
        assert!(matches!(check(at(NOW_MS + 300_001)), Err(Rejection::TooOld { .. })), "{value}");
        assert!(matches!(check(at(NOW_MS - 300_001)), Err(Rejection::InFuture { .. })), "{value}");
    }
}

#[test]
fn standard_webhooks_work_for_any_provider() {
    let seconds = (NOW_MS / 1000).to_string();
    let signature = STANDARD.encode(mac(Algorithm::Sha256, b"key bytes", &[b"msg_1.", seconds.as_bytes(), b".", BODY]));
    let secret = format!("whsec_{}", STANDARD.encode(b"key bytes"));
    for provider in Provider::ALL {
        let headers = headers(&[
            ("webhook-id", "msg_1"),
            ("webhook-timestamp", &seconds),
            ("webhook-signature", &format!("v1a,ignored v1,AAAA v1,{signature}")),
        ]);
        let check = |now| verify(provider, &by(Scheme::StandardWebhooks), &[secret.as_bytes()], &headers, BODY, now);
        assert_eq!(check(now()), Ok(()), "{provider}");
        assert_eq!(check(at(NOW_MS + 300_000)), Ok(()), "{provider}");
        assert!(matches!(check(at(NOW_MS + 300_001)), Err(Rejection::TooOld { .. })), "{provider}");
        assert!(matches!(check(at(NOW_MS - 300_001)), Err(Rejection::InFuture { .. })), "{provider}");
    }
}

#[test]
fn tokens_may_have_a_prefix_and_another_header() {
    let bearer = by(Scheme::Bearer);
    let custom = Verification { header: Some("x-token".to_owned()), prefix: Some("Token ".to_owned()), ..by(Scheme::Bearer) };
    let cases = [
        (&bearer, "authorization", "Bearer s3cret", Ok(())),
        (&bearer, "authorization", "bearer s3cret", Ok(())),
        (&bearer, "authorization", "s3cret", Ok(())),
        (&bearer, "authorization", "Bearer s3cre", Err(Rejection::Mismatch)),
        (&bearer, "authorization", "Bearer", Err(Rejection::Mismatch)),
        (&custom, "x-token", "Token s3cret", Ok(())),
        (&custom, "x-token", "s3cret", Err(Rejection::Mismatch)),
    ];
    for (verification, name, value, expected) in cases {
        let headers = headers(&[(name, value)]);
        assert_eq!(verify(Provider::Vapi, verification, &[b"s3cret"], &headers, BODY, now()), expected, "{value}");
    }
}

#[test]
fn nothing_is_checked_only_when_that_is_asked_for() {
    assert_eq!(verify(Provider::Vapi, &by(Scheme::None), &[], &Headers::default(), BODY, now()), Ok(()));
    assert_eq!(Verification::default().scheme, Scheme::Hmac);
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let fields = |provider, verification: &Verification, secret| -> Vec<String> {
        validate(provider, verification, secret).into_iter().map(|(field, _)| field).collect()
    };
    let hmac = by(Scheme::Hmac);
    assert_eq!(fields(Provider::ElevenLabs, &hmac, Some("s")), [""; 0]);
    assert_eq!(fields(Provider::ElevenLabs, &hmac, None), ["secret"]);
    assert_eq!(fields(Provider::Vapi, &by(Scheme::None), Some("s")), ["secret"]);
    assert_eq!(fields(Provider::Retell, &by(Scheme::SharedSecret), Some("s")), ["scheme"]);
    assert_eq!(fields(Provider::Vapi, &by(Scheme::StandardWebhooks), Some("whsec_not base64")), ["secret"]);
    let odd = Verification {
        header: Some("bad header".to_owned()),
        format: Some("{url}".to_owned()),
        secret_is_base64: true,
        ..hmac.clone()
    };
    assert_eq!(fields(Provider::Vapi, &odd, Some("***")), ["secret", "header", "format"]);
    let misplaced = Verification { header: Some("x".to_owned()), encoding: Some(Encoding::Hex), ..hmac };
    assert_eq!(fields(Provider::ElevenLabs, &misplaced, Some("s")), ["header", "encoding"]);
}

#[test]
fn settings_survive_being_stored() {
    let verification =
        Verification { encoding: Some(Encoding::Base64), algorithm: Some(Algorithm::Sha512), ..by(Scheme::StandardWebhooks) };
    let stored = serde_json::to_string(&verification).unwrap();
    assert_eq!(stored, r#"{"scheme":"standard_webhooks","encoding":"base64","algorithm":"sha512"}"#);
    assert_eq!(serde_json::from_str::<Verification>(&stored).unwrap(), verification);
    assert_eq!(
        "nonsense".parse::<Scheme>().unwrap_err().to_string(),
        "must be one of hmac, standard_webhooks, shared_secret, bearer, none"
    );
}

proptest! {
    #[test]
    fn no_header_makes_it_panic_or_pass(value in "\\PC{0,80}", time in "[0-9]{0,20}", body in prop::collection::vec(any::<u8>(), 0..50)) {
        let names = ["elevenlabs-signature", "x-retell-signature", "x-whippy-signature", "x-signature", "webhook-signature",
            "webhook-id", "authorization", "x-vapi-secret"];
        let headers: Headers = names.iter().map(|name| ((*name).to_owned(), value.clone()))
            .chain([("x-timestamp".to_owned(), time.clone()), ("webhook-timestamp".to_owned(), time)]).collect();
        for provider in Provider::ALL {
            for scheme in [Scheme::Hmac, Scheme::StandardWebhooks, Scheme::SharedSecret, Scheme::Bearer] {
                let result = verify(provider, &by(scheme), &[b"dGhlIHNlY3JldCBub2JvZHkga25vd3M="], &headers, &body, now());
                prop_assert!(result.is_err());
            }
        }
    }

    #[test]
    fn where_the_body_is_cut_makes_no_difference(body in prop::collection::vec(any::<u8>(), 0..200), cut in any::<prop::sample::Index>()) {
        let cut = cut.index(body.len() + 1);
        for (provider, secret, headers) in [
            (Provider::ElevenLabs, ELEVENLABS, elevenlabs_headers(NOW_MS / 1000, &body)),
            (Provider::Retell, RETELL, retell_headers(NOW_MS, &body)),
        ] {
            let mut verifier = Verifier::begin(provider, &by(Scheme::Hmac), &[secret], &headers, now()).unwrap();
            verifier.update(&body[..cut]);
            verifier.update(&body[cut..]);
            prop_assert_eq!(verifier.finish(), Ok(()));
        }
    }
}
