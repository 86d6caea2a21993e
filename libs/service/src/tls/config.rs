//! What rustls is told. One provider, aws-lc-rs, named each time, so that nothing depends on who came first.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme};

use super::files::{Contents, TlsError};

/// gRPC is HTTP/2 and nothing else.
const PROTOCOLS: &[&[u8]] = &[b"h2"];

/// What one state of the files makes.
pub(super) struct Loaded {
    server: Option<Arc<ServerConfig>>,
    /// Made when it is first needed: without authorities of its own it reads this machine's.
    client: OnceLock<Result<Arc<ClientConfig>, TlsError>>,
    identity: Option<Identity>,
    roots: Option<Arc<RootCertStore>>,
    any_name: bool,
}

struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Loaded {
    pub(super) fn new(contents: &Contents, any_name: bool) -> Result<Self, TlsError> {
        let identity = contents.certificate.as_ref().map(|(chain, key)| identity(chain, key)).transpose()?;
        let roots = contents.authorities.as_deref().map(authorities).transpose()?;
        let server = identity.as_ref().map(|identity| server(identity, roots.clone())).transpose()?;
        let loaded = Self { server, client: OnceLock::new(), identity, roots, any_name };
        if loaded.identity.is_some() && loaded.roots.is_some() {
            loaded.client()?;
        }
        Ok(loaded)
    }

    pub(super) fn server(&self) -> Option<Arc<ServerConfig>> {
        self.server.clone()
    }

    pub(super) fn client(&self) -> Result<Arc<ClientConfig>, TlsError> {
        self.client.get_or_init(|| self.make_client()).clone()
    }

    fn make_client(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let roots = match &self.roots {
            Some(roots) => roots.clone(),
            None => machine_authorities()?,
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| TlsError::new("tls-ca", error))?;
        let builder = if self.any_name {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyName { roots, provider }))
        } else {
            builder.with_root_certificates(roots)
        };
        let mut config = match &self.identity {
            Some(Identity { chain, key }) => {
                builder.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(|error| TlsError::new("tls-cert", error))?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

fn server(identity: &Identity, roots: Option<Arc<RootCertStore>>) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| TlsError::new("tls-cert", error))?;
    let builder = match roots {
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| TlsError::new("tls-ca", error))?)
        }
        None => builder.with_no_client_auth(),
    };
    let config = builder.with_single_cert(identity.chain.clone(), identity.key.clone_key());
    let mut config = config.map_err(|error| TlsError::new("tls-cert", format!("does not go with tls-key: {error}")))?;
    config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

fn certificates(setting: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = read.map_err(|error| TlsError::new(setting, format!("is not PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(TlsError::new(setting, "holds no certificate"));
    }
    Ok(certificates)
}

fn identity(chain: &[u8], key: &[u8]) -> Result<Identity, TlsError> {
    let chain = certificates("tls-cert", chain)?;
    let key = PrivateKeyDer::from_pem_slice(key);
    let key = key.map_err(|error| TlsError::new("tls-key", format!("holds no private key: {error}")))?;
    Ok(Identity { chain, key })
}

fn authorities(pem: &[u8]) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("tls-ca", pem)? {
        roots.add(certificate).map_err(|error| TlsError::new("tls-ca", error))?;
    }
    Ok(Arc::new(roots))
}

fn machine_authorities() -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(TlsError::new("tls-ca", "must name the services' authorities, since this machine has none of its own"));
    }
    Ok(Arc::new(roots))
}

/// Trusts every server that the authorities have signed, whatever its name.
#[derive(Debug)]
struct AnyName {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
