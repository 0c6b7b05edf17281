use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls_pki_types::ServerName;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;

use super::super::clock::SystemClock;
use super::certificate::{Standing, Validity};
use super::*;

/// A directory with the files of an authority, and of those that it certified.
pub(crate) struct Files {
    directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Files {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let files = Self { directory: tempfile::tempdir().unwrap(), issuer: Issuer::new(params, key) };
        files.write("ca.crt", &certificate);
        files
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.directory.path().join("ca.crt")
    }

    pub(crate) fn identity(&self, host: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            certificates: self.write(&format!("{host}.crt"), &certificate.pem()),
            key: self.write(&format!("{host}.key"), &key.serialize_pem()),
        }
    }
}

/// Shakes hands and exchanges a byte each way: only then has a client of TLS 1.3 been let in.
pub(crate) async fn talk(server: Arc<ServerConfig>, client: Arc<ClientConfig>) -> io::Result<Vec<u8>> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (near, far) = tokio::io::duplex(4096);
    let serve = async {
        let mut stream = TlsAcceptor::from(server).accept(far).await?;
        stream.write_u8(1).await?;
        stream.read_u8().await
    };
    let ask = async {
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(client).connect(name, near).await?;
        stream.read_u8().await?;
        stream.write_u8(2).await?;
        stream.flush().await?;
        Ok(stream.get_ref().1.alpn_protocol().unwrap_or_default().to_vec())
    };
    let (asked, served) = tokio::join!(ask, serve);
    served.and(asked)
}

#[tokio::test]
async fn both_ends_agree_on_http2_if_the_authority_is_trusted() {
    let (files, others) = (Files::new(), Files::new());
    let server = server(&files.identity("localhost"), &Clients::Anonymous).unwrap();
    let trusting = client(&files.authority(), None).unwrap();
    assert_eq!(talk(Arc::clone(&server), trusting).await.unwrap(), ALPN_HTTP2);
    let distrusting = client(&others.authority(), None).unwrap();
    assert!(talk(server, distrusting).await.is_err());
}

#[tokio::test]
async fn a_client_without_the_certificate_that_is_asked_for_is_not_let_in() {
    let (files, others) = (Files::new(), Files::new());
    let clients = Clients::CertifiedBy(files.authority());
    let server = server(&files.identity("localhost"), &clients).unwrap();
    let connect = |identity: Option<Identity>| {
        talk(Arc::clone(&server), client(&files.authority(), identity.as_ref()).unwrap())
    };
    assert!(connect(None).await.is_err());
    assert!(connect(Some(others.identity("client"))).await.is_err());
    assert_eq!(connect(Some(files.identity("client"))).await.unwrap(), ALPN_HTTP2);
}

/// Reads the files of a server.
fn server(identity: &Identity, clients: &Clients) -> Result<Arc<ServerConfig>, TlsError> {
    ServerFiles::read(identity, clients)?.config(Protocols::Http2)
}

fn check(files: &Files, identity: &Identity, expected: &str) {
    let error = server(identity, &Clients::Anonymous).unwrap_err().to_string();
    let expected = expected.replace("DIR", &files.directory.path().display().to_string());
    assert!(error.starts_with(&expected), "{error}\n{expected}");
}

#[test]
fn every_error_names_the_file_and_what_is_wrong_with_it() {
    let files = Files::new();
    let good = files.identity("localhost");
    let other = files.identity("other");
    let with_certificates = |certificates| Identity { certificates, ..good.clone() };
    let with_key = |key| Identity { key, ..good.clone() };
    let path = files.directory.path();

    check(&files, &with_certificates(path.join("gone")), "can't read DIR/gone: No such file");
    check(&files, &with_certificates(good.key.clone()), "DIR/localhost.key holds no certificate;");
    check(&files, &with_key(path.join("gone")), "can't read DIR/gone: No such file");
    check(&files, &with_key(good.certificates.clone()), "DIR/localhost.crt holds no private key;");
    let mismatch = "the private key in DIR/other.key does not belong to the certificate in DIR/localhost.crt";
    check(&files, &with_key(other.key), mismatch);
    let cut = files.write("cut", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    check(&files, &with_certificates(cut), "DIR/cut is not well-formed PEM: missing section end");
    let garbage = files.write("garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    check(&files, &with_certificates(garbage.clone()), "DIR/garbage can't be used: ");
    let bad_key = files.write("bad.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    check(&files, &with_key(bad_key), "DIR/bad.key can't be used: ");

    for error in [
        client(&garbage, None).unwrap_err(),
        server(&good, &Clients::CertifiedBy(garbage.clone())).unwrap_err(),
    ] {
        assert!(error.to_string().contains("garbage can't be used: "), "{error}");
    }
}

/// Lays files out as Kubernetes does: in a folder, to which a link is moved.
fn lay(root: &Path, version: &str, files: &Files) {
    lay_with(root, version, files, |_| ());
}

/// The same, with changes.
fn lay_with(root: &Path, version: &str, files: &Files, change: impl FnOnce(&Path)) {
    let (folder, identity) = (root.join(version), files.identity("localhost"));
    std::fs::create_dir(&folder).unwrap();
    let authority = files.authority();
    for (from, name) in
        [(&identity.certificates, "tls.crt"), (&identity.key, "tls.key"), (&authority, "ca.crt")]
    {
        std::fs::copy(from, folder.join(name)).unwrap();
    }
    change(&folder);
    std::os::unix::fs::symlink(&folder, root.join("next")).unwrap();
    std::fs::rename(root.join("next"), root.join("current")).unwrap();
}

#[tokio::test(start_paused = true)]
async fn files_that_change_are_used_for_new_connections_and_what_does_not_fit_is_not() {
    let (old, new, root) = (Files::new(), Files::new(), tempfile::tempdir().unwrap());
    lay(root.path(), "1", &old);
    let path = |name: &str| root.path().join("current").join(name);
    let identity = Identity { certificates: path("tls.crt"), key: path("tls.key") };
    let server = Arc::new(ServerFiles::read(&identity, &Clients::Anonymous).unwrap());
    let sidecar = Arc::new(ClientFiles::read(path("ca.crt"), None).unwrap());
    let (config, shutdown) = (server.config(Protocols::Http2).unwrap(), CancellationToken::new());
    let mut following = JoinSet::new();
    following.spawn(follow(Arc::clone(&server), Arc::new(SystemClock), shutdown.clone()));
    following.spawn(follow(Arc::clone(&sidecar), Arc::new(SystemClock), shutdown.clone()));
    // Each without a session that it could resume.
    let [trusts_old, trusts_new] = [&old, &new].map(|files| client(&files.authority(), None).unwrap());
    talk(Arc::clone(&config), client(&old.authority(), None).unwrap()).await.unwrap();
    talk(Arc::clone(&config), sidecar.current()).await.unwrap();

    lay(root.path(), "2", &new);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(talk(Arc::clone(&config), trusts_old).await.is_err());
    talk(Arc::clone(&config), Arc::clone(&trusts_new)).await.unwrap();
    talk(Arc::clone(&config), sidecar.current()).await.unwrap();

    // Half of a renewal, and none at all.
    std::fs::copy(old.identity("localhost").key, path("tls.key")).unwrap();
    std::fs::remove_file(path("ca.crt")).unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    talk(Arc::clone(&config), trusts_new).await.unwrap();
    talk(Arc::clone(&config), sidecar.current()).await.unwrap();
    shutdown.cancel();
    while let Some(ended) = following.join_next().await {
        ended.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_authority_of_clients_that_has_gone_lets_nobody_in_any_more() {
    let (server_files, clients, others) = (Files::new(), Files::new(), Files::new());
    let authorities = clients.authority();
    let (identity, certified_by) =
        (server_files.identity("localhost"), Clients::CertifiedBy(authorities.clone()));
    let server = Arc::new(ServerFiles::read(&identity, &certified_by).unwrap());
    let (config, shutdown) = (server.config(Protocols::Http2).unwrap(), CancellationToken::new());
    let mut following = JoinSet::new();
    following.spawn(follow(Arc::clone(&server), Arc::new(SystemClock), shutdown));
    // One client, which could resume its session.
    let known = client(&server_files.authority(), Some(&clients.identity("client"))).unwrap();
    talk(Arc::clone(&config), Arc::clone(&known)).await.unwrap();
    std::fs::copy(others.authority(), authorities).unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(talk(config, known).await.is_err());
}

#[test]
fn the_end_of_validity_is_that_of_the_certificate() {
    let files = Files::new();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2030, 1, 1);
    let certificate = params.signed_by(&key, &files.issuer).unwrap();
    let certified = Certified::from_pem(&certificate.pem(), &key.serialize_pem()).unwrap();
    assert_eq!(certified.not_after(), Some(1_893_456_000));
}

#[tokio::test(start_paused = true)]
async fn authorities_are_told_anew_when_they_change_and_nothing_else_of_the_file_is() {
    let (old, new, root) = (Files::new(), Files::new(), tempfile::tempdir().unwrap());
    let path = |name: &str| root.path().join("current").join(name);
    lay_with(root.path(), "0", &old, |folder| std::fs::remove_file(folder.join("ca.crt")).unwrap());
    let file = Arc::new(AuthorityFile::read(path("ca.crt"), path("tls.crt")).unwrap());
    let told = file.bundle();
    assert_eq!(*told.borrow(), None, "it may come later");
    let (shutdown, mut following) = (CancellationToken::new(), JoinSet::new());
    following.spawn(follow(Arc::clone(&file), Arc::new(SystemClock), shutdown.clone()));
    let soon = async || {
        tokio::time::sleep(Duration::from_secs(6)).await;
        told.borrow().as_ref().map(ToString::to_string)
    };
    let authority = |files: &Files| std::fs::read_to_string(files.authority()).unwrap().replace('\r', "");
    // Somebody has put the key there as well.
    lay_with(root.path(), "1", &old, |folder| {
        let key = std::fs::read_to_string(folder.join("tls.key")).unwrap();
        std::fs::write(folder.join("ca.crt"), format!("a comment\n{key}{}", authority(&old))).unwrap();
    });
    assert_eq!(soon().await, Some(authority(&old)));
    lay(root.path(), "2", &new);
    assert_eq!(soon().await, Some(authority(&new)));
    // Those of another certificate: who trusts them would refuse ours.
    lay_with(root.path(), "3", &new, |folder| {
        std::fs::write(folder.join("ca.crt"), authority(&old)).unwrap()
    });
    assert_eq!(soon().await, Some(authority(&new)));
    lay_with(root.path(), "4", &new, |folder| std::fs::write(folder.join("ca.crt"), "").unwrap());
    assert_eq!(soon().await, Some(authority(&new)));
    shutdown.cancel();
    following.join_next().await.unwrap().unwrap().unwrap();
}

#[test]
fn authorities_that_are_not_those_of_the_certificate_are_refused_with_both_files() {
    let (files, others) = (Files::new(), Files::new());
    let identity = files.identity("localhost");
    let read = |authorities| {
        AuthorityFile::read(authorities, identity.certificates.clone()).map_err(|error| error.to_string())
    };
    assert!(read(files.authority()).is_ok());
    let error = read(others.authority()).unwrap_err();
    assert!(error.contains("localhost.crt is of no authority in") && error.contains("ca.crt"), "{error}");
    let both = [files.authority(), others.authority()].map(|path| std::fs::read_to_string(path).unwrap());
    assert!(read(files.write("both", &both.concat())).is_ok());
    let error = read(files.write("many", &both[0].repeat(400))).unwrap_err();
    assert!(error.contains("many holds more certificates than are published, 131072 bytes"), "{error}");
}

#[test]
fn a_certificate_of_which_little_is_left_ends_soon() {
    let validity = Validity { not_before: 1000, not_after: 2000 };
    let standings = [0, 1900, 1901, 2000, 2001].map(|now| validity.standing(now));
    let expected = [Standing::Good, Standing::Good, Standing::Ending, Standing::Ending, Standing::Over];
    assert_eq!(standings, expected);
}
