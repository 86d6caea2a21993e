//! Finds out who makes a call, before any handler sees it.
//!
//! Every service authenticates for itself, also behind the edge: there is one place to get it right, and somebody with grpcurl
//! meets the same rules as somebody with a browser.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_lc_rs::{constant_time, digest};
use axum::body::Body;
use axum::extract::State;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use colloquy_proto::access::v1 as pb;
use colloquy_proto::access::v1::access_service_client::AccessServiceClient;
use colloquy_types::{KeyId, Scope};
use futures::future::BoxFuture;
use http::HeaderMap;
use http_body::Frame;
use tonic::{Code, Request, Status};

use crate::caller::missing_key;
use crate::transport::Transport;
use crate::{Caller, Identity, Problem, methods};

/// The metadata key by which services of one installation recognise each other.
pub const SERVICE_TOKEN: &str = "x-colloquy-service-token";

/// Methods that prove the caller by other means than a key, or tell nothing.
const PUBLIC: &[&str] = &[
    "/colloquy.ingestion.v1.IngestionService/ReceiveWebhook",
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
];

/// How long an answer of access is believed. A revoked key works for at most this long, on streams twice as long.
const CACHED_FOR: Duration = Duration::from_secs(5);
/// How many keys are remembered.
const CACHED_KEYS: u64 = 10_000;
/// How long access may take to answer. Every call waits for it, so nobody waits as long as for a call of its own.
const PATIENCE: Duration = Duration::from_secs(5);
/// No key is longer.
const LONGEST_KEY: usize = 512;

/// What a request presents of its caller.
enum Presented {
    Caller(Caller),
    Key(String),
}

fn unknown_key() -> Problem {
    Problem::unauthenticated("API_KEY_INVALID", "the API key is unknown, expired or revoked")
}

type Verdict = Option<Arc<Identity>>;

/// Tells who makes a call.
#[derive(Clone)]
pub struct Authenticator {
    access: AccessServiceClient<Transport>,
    service_token: Arc<str>,
    cache: moka::future::Cache<[u8; 32], Verdict>,
}

impl Authenticator {
    /// Returns an authenticator that asks `access` (a transport that carries the service token) about keys.
    pub fn new(access: Transport, service_token: Arc<str>) -> Self {
        let cache = moka::future::Cache::builder().max_capacity(CACHED_KEYS).time_to_live(CACHED_FOR).build();
        Self { access: AccessServiceClient::new(access), service_token, cache }
    }

    /// Tells what a request presents, without asking anybody.
    fn presented(&self, path: &str, headers: &HeaderMap) -> Result<Presented, Problem> {
        if let Some(token) = headers.get(SERVICE_TOKEN) {
            return match constant_time::verify_slices_are_equal(token.as_bytes(), self.service_token.as_bytes()) {
                Ok(()) => Ok(Presented::Caller(Caller::Service)),
                Err(_) => Err(Problem::unauthenticated("SERVICE_TOKEN_INVALID", "the service token is not this installation's")),
            };
        }
        match presented_key(headers) {
            Some(key) if key.len() <= LONGEST_KEY => Ok(Presented::Key(key.to_owned())),
            Some(_) => Err(unknown_key()),
            None if PUBLIC.iter().any(|public| path.starts_with(public)) => Ok(Presented::Caller(Caller::Anonymous)),
            None => Err(missing_key()),
        }
    }

    /// Tells whose API key a request presents, for who serves others than services: the service token counts for nothing here.
    /// Returns the key as well, since whoever answers for longer has to ask again (see [`Authenticator::ask_again`]).
    ///
    /// # Errors
    /// `UNAUTHENTICATED` without a key or with one that is not known; `UNAVAILABLE` when access cannot be asked.
    pub async fn key_of(&self, headers: &HeaderMap) -> Result<(String, Arc<Identity>), Status> {
        let key = presented_key(headers).ok_or_else(missing_key)?.to_owned();
        let verdict = if key.len() > LONGEST_KEY { None } else { self.identify(key.clone()).await? };
        let identity = verdict.ok_or_else(unknown_key)?;
        Ok((key, identity))
    }

    /// Asks access whose key it is, whatever was remembered; `None` when it is not known, or no longer.
    ///
    /// # Errors
    /// `UNAVAILABLE` when access cannot be asked: nothing is then known of the key.
    pub async fn ask_again(&self, key: &str) -> Result<Option<Arc<Identity>>, Status> {
        let verdict = ask_access(self.access.clone(), key.to_owned()).await?;
        self.cache.insert(fingerprint(key), verdict.clone()).await;
        Ok(verdict)
    }

    /// Waits until a key is no longer what it was. While access cannot be asked, nothing is known of that.
    fn until_changed(&self, key: String, identity: Arc<Identity>) -> BoxFuture<'static, ()> {
        let authenticator = self.clone();
        Box::pin(async move {
            loop {
                tokio::time::sleep(CACHED_FOR).await;
                match authenticator.identify(key.clone()).await {
                    Ok(Some(now)) if now != identity => return,
                    Ok(None) => return,
                    Ok(Some(_)) | Err(_) => {}
                }
            }
        })
    }

    /// Asks access whose key it is; concurrent calls with one key ask once. The key itself is not kept.
    fn identify(&self, key: String) -> BoxFuture<'static, Result<Verdict, Status>> {
        let (cache, access) = (self.cache.clone(), self.access.clone());
        Box::pin(async move {
            let fingerprint = fingerprint(&key);
            if let Some(verdict) = cache.get(&fingerprint).await {
                return Ok(verdict);
            }
            let verdict = cache.try_get_with(fingerprint, ask_access(access, key)).await;
            verdict.map_err(|status| Status::clone(&status))
        })
    }
}

/// Returns what a key is remembered by.
fn fingerprint(key: &str) -> [u8; 32] {
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest::digest(&digest::SHA256, key.as_bytes()).as_ref());
    fingerprint
}

async fn ask_access(mut access: AccessServiceClient<Transport>, api_key: String) -> Result<Verdict, Status> {
    let mut request = Request::new(pb::AuthenticateRequest { api_key });
    request.set_timeout(PATIENCE);
    match access.authenticate(request).await {
        Ok(answer) => identity(answer.into_inner()).map(Some),
        Err(status) if status.code() == Code::Unauthenticated => Ok(None),
        Err(status) => {
            tracing::warn!(grpc.code = ?status.code(), "access could not be asked about a key: {}", status.message());
            let wait = Duration::from_secs(1);
            Err(Problem::unavailable("ACCESS_UNAVAILABLE", "the API key cannot be checked right now", wait).into())
        }
    }
}

fn identity(answer: pb::AuthenticateResponse) -> Result<Arc<Identity>, Status> {
    let malformed = |error: &(dyn std::error::Error + 'static)| Status::from(Problem::internal(error));
    Ok(Arc::new(Identity {
        key_id: answer.key_id.parse::<KeyId>().map_err(|error| malformed(&error))?,
        organization_id: answer
            .organization_id
            .parse()
            .map_err(|error: colloquy_types::OrganizationIdError| malformed(&error))?,
        // A newer access may know scopes this release does not; they allow nothing here.
        scopes: answer.scopes.iter().filter_map(|scope| scope.parse::<Scope>().ok()).collect(),
    }))
}

/// Returns the API key a request carries, whichever of the contract's ways it uses.
pub fn presented_key(headers: &HeaderMap) -> Option<&str> {
    if let Some(key) = headers.get("x-api-key") {
        return key.to_str().ok().filter(|key| !key.is_empty());
    }
    let value = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !key.trim().is_empty()).then(|| key.trim())
}

/// The layer: puts the [`Caller`] into the request, or answers `UNAUTHENTICATED`.
pub(crate) async fn authenticate(
    State(authenticator): State<Authenticator>,
    mut request: axum::extract::Request,
    next: Next,
) -> Response {
    let mut changed = None;
    let caller = match authenticator.presented(request.uri().path(), request.headers()) {
        Ok(Presented::Caller(caller)) => Ok(caller),
        Ok(Presented::Key(key)) => match authenticator.identify(key.clone()).await {
            Ok(Some(identity)) => {
                if methods::is_endless(request.uri().path()) {
                    changed = Some(authenticator.until_changed(key, Arc::clone(&identity)));
                }
                Ok(Caller::Key(identity))
            }
            Ok(None) => Err(unknown_key().into()),
            Err(status) => Err(status),
        },
        Err(problem) => Err(Status::from(problem)),
    };
    match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            let response = next.run(request).await;
            match changed {
                Some(changed) => response.map(|body| Body::new(WhileKeyCounts { body: Some(body), changed })),
                None => response,
            }
        }
        Err(status) => status.into_http::<tonic::body::Body>().map(axum::body::Body::new),
    }
}

/// The body of a stream that has no end of its own, for as long as the key counts that it was opened with.
struct WhileKeyCounts {
    body: Option<Body>,
    changed: BoxFuture<'static, ()>,
}

impl http_body::Body for WhileKeyCounts {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        // Each frame holds whole messages, so there is no half of one to wait for.
        if this.changed.as_mut().poll(cx).is_pending() {
            return Pin::new(body).poll_frame(cx);
        }
        this.body = None;
        let status = Status::from(Problem::unauthenticated("API_KEY_INVALID", "the API key was revoked, or its rights changed"));
        let mut trailers = HeaderMap::new();
        Poll::Ready(status.add_header(&mut trailers).is_ok().then_some(Ok(Frame::trailers(trailers))))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use colloquy_proto::access::v1::access_service_server::{AccessService, AccessServiceServer};
    use http_body_util::BodyExt;
    use tonic::service::Routes;
    use tower::ServiceExt;

    use super::*;
    use crate::transport::LocalSlot;

    /// Access that knows one key while it has scopes.
    #[derive(Clone)]
    struct OneKey(Arc<Mutex<Option<&'static str>>>, String);

    #[tonic::async_trait]
    impl AccessService for OneKey {
        async fn authenticate(
            &self,
            _: Request<pb::AuthenticateRequest>,
        ) -> Result<tonic::Response<pb::AuthenticateResponse>, Status> {
            let scopes = self.0.lock().unwrap().ok_or_else(|| Status::unauthenticated("unknown"))?;
            Ok(tonic::Response::new(pb::AuthenticateResponse {
                key_id: self.1.clone(),
                organization_id: "acme".to_owned(),
                scopes: vec![scopes.to_owned()],
                expires_at: None,
            }))
        }

        async fn create_api_key(
            &self,
            _: Request<pb::CreateApiKeyRequest>,
        ) -> Result<tonic::Response<pb::CreateApiKeyResponse>, Status> {
            Err(Status::unimplemented("it makes no keys"))
        }

        async fn list_api_keys(
            &self,
            _: Request<pb::ListApiKeysRequest>,
        ) -> Result<tonic::Response<pb::ListApiKeysResponse>, Status> {
            Err(Status::unimplemented("it lists no keys"))
        }

        async fn revoke_api_key(
            &self,
            _: Request<pb::RevokeApiKeyRequest>,
        ) -> Result<tonic::Response<pb::RevokeApiKeyResponse>, Status> {
            Err(Status::unimplemented("it revokes no keys"))
        }

        async fn get_organization(
            &self,
            _: Request<pb::GetOrganizationRequest>,
        ) -> Result<tonic::Response<pb::GetOrganizationResponse>, Status> {
            Err(Status::unimplemented("it knows no organizations"))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_stream_ends_with_its_key_and_others_do_not() {
        for (becomes, path, ends) in [
            (None, "/colloquy.log.v1.EventLogService/Tail", true),
            (Some("admin"), "/colloquy.log.v1.EventLogService/Tail", true),
            (Some("events:write"), "/colloquy.log.v1.EventLogService/Tail", false),
            (None, "/colloquy.conversation.v1.RecordingService/ReadRecording", false),
        ] {
            let scopes = Arc::new(Mutex::new(Some("events:write")));
            let slot = LocalSlot::new();
            let access = OneKey(Arc::clone(&scopes), KeyId::generate().to_string());
            slot.fill(Routes::new(AccessServiceServer::new(access)).into_axum_router());
            // The cache has a clock of its own, which does not stand still.
            let cache = moka::future::Cache::new(0);
            let authenticator = Authenticator { cache, ..Authenticator::new(slot.transport(), "token".into()) };
            let endless = || async { Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>()) };
            let router = axum::Router::new()
                .route(path, axum::routing::post(endless))
                .layer(axum::middleware::from_fn_with_state(authenticator, authenticate));
            let request = http::Request::post(path).header("x-api-key", "k").body(Body::empty()).unwrap();
            let mut body = router.oneshot(request).await.unwrap().into_body();
            *scopes.lock().unwrap() = becomes;
            let end = tokio::time::timeout(Duration::from_secs(60), body.frame()).await;
            assert_eq!(end.is_ok(), ends, "{becomes:?} {path}");
            if let Ok(end) = end {
                let trailers = end.unwrap().unwrap().into_trailers().unwrap();
                assert_eq!(trailers[Status::GRPC_STATUS], "16");
            }
        }
    }

    #[test]
    fn a_key_is_found_in_either_header() {
        let headers =
            |name: &'static str, value: &'static str| HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
        assert_eq!(presented_key(&headers("x-api-key", "k")), Some("k"));
        assert_eq!(presented_key(&headers("authorization", "bearer  k ")), Some("k"));
        assert_eq!(presented_key(&headers("authorization", "Basic k")), None);
        assert_eq!(presented_key(&headers("x-api-key", "")), None);
    }
}
