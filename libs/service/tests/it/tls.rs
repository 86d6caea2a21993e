//! Whom TLS lets in.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use colloquy_proto::log::v1::event_log_service_client::EventLogServiceClient;
use colloquy_service::server::Connections;
use colloquy_service::tls::{Reload, Tls, TlsFiles};
use colloquy_service::transport::connect;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tonic::{Code, Status};

use crate::fake::{Client, Replica, Script, append, client};

/// An authority that signs certificates.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Returns a certificate for `name` and its key.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// Writes a certificate for `name`, and the authority, into a folder; returns what a service is told of them.
    fn equip(&self, folder: &Path, name: &str) -> TlsFiles {
        let (certificate, key) = self.sign(name);
        let write = |file: &str, text: &str| -> PathBuf {
            std::fs::write(folder.join(file), text).unwrap();
            folder.join(file)
        };
        let certificate = (write("tls.crt", &certificate), write("tls.key", &key));
        TlsFiles { certificate: Some(certificate), authorities: Some(write("ca.crt", &self.pem)) }
    }
}

/// A folder with the files of one service.
fn equipped(authority: &Authority, name: &str) -> (TempDir, TlsFiles) {
    let folder = tempfile::tempdir().unwrap();
    let files = authority.equip(folder.path(), name);
    (folder, files)
}

async fn serve(files: TlsFiles) -> (Replica, Arc<Tls>) {
    let tls = Tls::load(files).unwrap();
    let connections = Connections { tls: Some(tls.clone()), ..Default::default() };
    (Replica::start_with(&Script::new(1), SocketAddr::from(([127, 0, 0, 1], 0)), connections).await, tls)
}

fn client_over(replica: &Replica, tls: &Arc<Tls>) -> Client {
    let target = format!("https://{}", replica.address).parse().unwrap();
    EventLogServiceClient::new(connect(target, tls).unwrap())
}

fn client_with(replica: &Replica, files: TlsFiles) -> Client {
    client_over(replica, &Tls::load(files).unwrap())
}

fn assert_refused(answer: Result<u64, Status>, because: &str) {
    let refused = answer.expect_err(because);
    assert_eq!(refused.code(), Code::Unavailable, "{because}: {refused:?}");
}

#[tokio::test]
async fn services_of_one_authority_talk_to_each_other() {
    let authority = Authority::new();
    let ((_one, of_server), (_other, of_client)) = (equipped(&authority, "127.0.0.1"), equipped(&authority, "caller"));
    let (replica, _) = serve(of_server).await;
    assert_eq!(append(&client_with(&replica, of_client)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_caller_without_a_certificate_of_the_authority_is_refused() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let ((_one, of_server), (_other, strange)) = (equipped(&authority, "127.0.0.1"), equipped(&stranger, "caller"));
    let (replica, _) = serve(of_server.clone()).await;

    let anonymous = TlsFiles { certificate: None, ..of_server.clone() };
    assert_refused(append(&client_with(&replica, anonymous)).await, "it shows no certificate");
    let strange = TlsFiles { authorities: of_server.authorities, ..strange };
    assert_refused(append(&client_with(&replica, strange)).await, "another authority signed its certificate");
    assert_refused(append(&client(&[replica.address])).await, "it does not speak TLS");
}

#[tokio::test]
async fn a_server_that_is_not_who_it_should_be_is_not_called() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let ((_one, elsewhere), (_other, strange)) = (equipped(&authority, "elsewhere"), equipped(&stranger, "127.0.0.1"));
    let ((of_elsewhere, _), (of_stranger, _)) = (serve(elsewhere.clone()).await, serve(strange).await);

    assert_refused(append(&client_with(&of_elsewhere, elsewhere.clone())).await, "its name is another");
    assert_refused(append(&client_with(&of_stranger, elsewhere.clone())).await, "another authority signed its certificate");
    // The address of a server of one's own machine stands in no certificate.
    let own = Tls::load_for_own_server(elsewhere).unwrap();
    assert_eq!(append(&client_over(&of_elsewhere, &own)).await.unwrap(), 1);
    assert_refused(append(&client_over(&of_stranger, &own)).await, "another authority signed its certificate");
}

#[tokio::test]
async fn new_certificates_are_used_without_a_restart() {
    let (old, new) = (Authority::new(), Authority::new());
    let (folder, files) = equipped(&old, "127.0.0.1");
    let (replica, tls) = serve(files.clone()).await;
    let before = client_with(&replica, files.clone());
    assert_eq!(append(&before).await.unwrap(), 1);
    let old_client = Tls::load(files.clone()).unwrap();

    new.equip(folder.path(), "127.0.0.1");
    assert_eq!(tls.reload(), Reload::Changed);
    assert_eq!(append(&client_with(&replica, files)).await.unwrap(), 1);
    assert_refused(append(&client_over(&replica, &old_client)).await, "its authority is not trusted any more");
    // What is open stays open, until it is old enough.
    assert_eq!(append(&before).await.unwrap(), 1);
    assert_eq!(old_client.reload(), Reload::Changed);
    assert_eq!(append(&client_over(&replica, &old_client)).await.unwrap(), 1);
}

#[tokio::test]
async fn files_that_cannot_be_used_change_nothing() {
    let authority = Authority::new();
    let (folder, files) = equipped(&authority, "127.0.0.1");
    let (replica, tls) = serve(files.clone()).await;
    let caller = Tls::load(files).unwrap();

    // The certificate is there before its key, as happens while files are copied.
    let (certificate, key) = authority.sign("127.0.0.1");
    std::fs::write(folder.path().join("tls.crt"), certificate).unwrap();
    assert!(matches!(tls.reload(), Reload::Refused(_)));
    assert_eq!(tls.reload(), Reload::Unchanged, "the same fault is told twice");
    assert_eq!(append(&client_over(&replica, &caller)).await.unwrap(), 1);

    std::fs::write(folder.path().join("tls.key"), key).unwrap();
    assert_eq!(tls.reload(), Reload::Changed);
    std::fs::remove_file(folder.path().join("tls.key")).unwrap();
    assert!(matches!(tls.reload(), Reload::Refused(_)));
    std::fs::write(folder.path().join("ca.crt"), "not a certificate").unwrap();
    assert!(matches!(tls.reload(), Reload::Refused(_) | Reload::Unchanged));
    assert_eq!(append(&client_over(&replica, &caller)).await.unwrap(), 1);
}

#[cfg(unix)]
#[test]
fn an_exchanged_symbolic_link_is_noticed() {
    use std::os::unix::fs::symlink;

    // As Kubernetes mounts a secret: files are links into `..data`, which is a link to the present folder.
    let authority = Authority::new();
    let mount = tempfile::tempdir().unwrap();
    let inside = |name: &str| mount.path().join(name);
    for version in ["..1", "..2"] {
        std::fs::create_dir(inside(version)).unwrap();
        authority.equip(&inside(version), "127.0.0.1");
    }
    symlink("..1", inside("..data")).unwrap();
    for file in ["tls.crt", "tls.key", "ca.crt"] {
        symlink(format!("..data/{file}"), inside(file)).unwrap();
    }
    let certificate = Some((inside("tls.crt"), inside("tls.key")));
    let tls = Tls::load(TlsFiles { certificate, authorities: Some(inside("ca.crt")) }).unwrap();
    assert_eq!(tls.reload(), Reload::Unchanged);
    symlink("..2", inside("..data_tmp")).unwrap();
    std::fs::rename(inside("..data_tmp"), inside("..data")).unwrap();
    assert_eq!(tls.reload(), Reload::Changed);
}

#[test]
fn a_fault_names_its_setting() {
    let authority = Authority::new();
    let (folder, files) = equipped(&authority, "127.0.0.1");
    let missing = TlsFiles { authorities: Some(folder.path().join("none")), ..files.clone() };
    assert!(Tls::load(missing).err().unwrap().to_string().starts_with("tls-ca: cannot read"));
    let (_, key) = authority.sign("127.0.0.1");
    std::fs::write(folder.path().join("tls.key"), key).unwrap();
    let mixed = Tls::load(files).err().unwrap().to_string();
    assert!(mixed.starts_with("tls-cert: does not go with tls-key"), "{mixed}");
}
