//! The HTTP client behind the policy.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, LOCATION};
use reqwest::{Response, StatusCode};
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::resolver::{GuardedResolver, Lookup, SystemLookup};
use crate::retry_after::retry_after;
use crate::{Download, Error, Policy};

/// Resolving a name and connecting to it, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest silence in the middle of an answer, however long the whole may take.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_CONNECTIONS_PER_HOST: usize = 4;
const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// What an unlimited wait comes down to.
const FAR_FUTURE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How much one request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest body, in bytes.
    pub max_bytes: u64,
    /// From the call to the last byte of the body, redirects included.
    pub timeout: Duration,
    /// How many redirects are followed.
    pub max_redirects: usize,
}

/// Sends requests to addresses that others chose. Cheap to clone; clones share their connections.
///
/// Follows no proxy settings of the environment, keeps no cookies, sends no credentials and no referrer.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    policy: Arc<Policy>,
}

impl Client {
    /// Returns a client that reaches what the policy allows.
    ///
    /// # Errors
    ///
    /// When TLS cannot be set up.
    pub fn new(policy: Policy) -> Result<Self, Error> {
        Self::with_lookup(policy, Arc::new(SystemLookup))
    }

    pub(crate) fn with_lookup(policy: Policy, lookup: Arc<dyn Lookup>) -> Result<Self, Error> {
        let policy = Arc::new(policy);
        let http = reqwest::Client::builder()
            .dns_resolver(Arc::new(GuardedResolver { policy: Arc::clone(&policy), lookup }))
            .redirect(reqwest::redirect::Policy::none())
            // A proxy would connect for us, past the policy.
            .no_proxy()
            .referer(false)
            .user_agent(concat!("colloquy/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(STALL_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST)
            .pool_idle_timeout(IDLE_CONNECTION_TIMEOUT)
            .build()
            .map_err(|error| Error::Build(error.to_string()))?;
        Ok(Self { http, policy })
    }

    /// Returns the policy the client follows.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Requests a URL and returns its body as a stream. Only a 200 is a success: 202 and 204 have no content yet, 206 is a part.
    ///
    /// # Errors
    ///
    /// See [`Error`]; [`Error::is_retryable`] says whether another try can help.
    pub async fn get(&self, url: &Url, limits: &Limits) -> Result<Download, Error> {
        let now = Instant::now();
        let deadline = now.checked_add(limits.timeout).unwrap_or(now + FAR_FUTURE);
        let response = timeout_at(deadline, self.follow(url, limits.max_redirects)).await.map_err(|_| Error::Timeout)??;
        Download::new(response, limits.max_bytes, deadline)
    }

    async fn follow(&self, url: &Url, max_redirects: usize) -> Result<Response, Error> {
        let mut url = url.clone();
        let mut redirects = 0;
        loop {
            self.policy.check_form(&url)?;
            // Bodies are stored and limited as they are, so nothing may be unpacked on the way.
            let request = self.http.get(url.clone()).header(ACCEPT_ENCODING, "identity");
            let response = request.send().await.map_err(Error::from_reqwest)?;
            match response.status() {
                StatusCode::OK => return Ok(response),
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => url = redirect_target(&url, response.headers())?,
                status => {
                    return Err(Error::Status { code: status.as_u16(), retry_after: retry_after(response.headers()) });
                }
            }
            if redirects == max_redirects {
                return Err(Error::TooManyRedirects { limit: max_redirects });
            }
            redirects += 1;
        }
    }
}

fn redirect_target(from: &Url, headers: &HeaderMap) -> Result<Url, Error> {
    let location = headers.get(LOCATION).ok_or(Error::BadRedirect)?;
    let location = std::str::from_utf8(location.as_bytes()).map_err(|_| Error::BadRedirect)?;
    from.join(location).map_err(|_| Error::BadRedirect)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::IpAddr;
    use std::sync::Mutex;

    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;
    use crate::Refused;

    /// A name whose addresses change with every question.
    struct Rebinding(Mutex<Vec<IpAddr>>);

    impl Lookup for Rebinding {
        fn lookup(&self, _name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
            let next = self.0.lock().unwrap().pop();
            async move { Ok(next.into_iter().collect()) }.boxed()
        }
    }

    #[tokio::test]
    async fn a_name_that_changes_its_address_after_the_check_is_refused() {
        let answers = Mutex::new(vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([1, 1, 1, 1])]);
        let lookup: Arc<dyn Lookup> = Arc::new(Rebinding(answers));
        let client = Client::with_lookup(Policy::default(), Arc::clone(&lookup)).unwrap();
        let url = Url::parse("http://rebinding.example:1/").unwrap();
        assert_eq!(client.policy().check_url_with(lookup.as_ref(), &url).await, Ok(()));

        let limits = Limits { max_bytes: 1, timeout: Duration::from_secs(20), max_redirects: 0 };
        let error = client.get(&url, &limits).await.unwrap_err();
        assert_eq!(error, Error::Refused(Refused::Address("rebinding.example".into())));
    }
}
