//! A TLS port in front of the plain broker, and certificates made for one test.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{WantsServerCert, WebPkiClientVerifier};
use tokio_rustls::rustls::{
    self, ConfigBuilder, RootCertStore, ServerConfig, SupportedProtocolVersion, WantsVerifier,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::proxy::Proxy;
use crate::support::url_with;

/// Where doors listen.
pub(super) const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A certificate authority. All have the same name, so that only their keys tell them apart.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "coney test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, key());
        Self(issuer.expect("an authority"))
    }

    /// The certificate of the authority itself.
    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Makes a certificate for a server of this name.
    pub(super) fn server(&self, name: &str) -> Identity {
        self.issue(name, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Makes a certificate for a client.
    pub(super) fn client(&self) -> Identity {
        self.issue("client", ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![purpose];
        let key = key();
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Identity {
            pem: certificate.pem(),
            certificate: certificate.der().clone(),
            key,
        }
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

/// A certificate and its key.
pub(super) struct Identity {
    pub(super) pem: String,
    pub(super) certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl Identity {
    pub(super) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}

/// PEM files, gone in the end.
pub(super) struct Files(PathBuf);

impl Files {
    pub(super) fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("coney-tls-{}", uuid::Uuid::new_v4()));
        fs::create_dir_all(&folder).expect("a temporary folder");
        Self(folder)
    }

    /// The path of a file that is not there.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("a temporary file");
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A TLS port in front of the plain broker. All its connections end with it.
pub(super) struct Door {
    port: u16,
    /// What stands between the door and the broker: it can be cut.
    pub(super) proxy: Proxy,
    seen: Arc<Mutex<Seen>>,
    _stop: DropGuard,
}

/// What came through a door.
#[derive(Clone, Default)]
struct Seen {
    /// What each connection's client sent, as it was on the wire.
    wire: Vec<Vec<u8>>,
    /// The certificates that clients presented, of connections that were let in.
    clients: Vec<Option<CertificateDer<'static>>>,
}

impl Door {
    /// A door that lets everybody in.
    pub(super) async fn open(identity: &Identity) -> Self {
        let config = config(rustls::ALL_VERSIONS).with_no_client_auth();
        Self::with(config, identity).await
    }

    /// A door that lets in who has a certificate of this authority.
    pub(super) async fn guarded(
        identity: &Identity,
        clients: &Authority,
        version: &'static SupportedProtocolVersion,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(clients.0.der().clone()).expect("an authority");
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .expect("a verifier");
        let config = config(&[version]).with_client_cert_verifier(verifier);
        Self::with(config, identity).await
    }

    async fn with(
        config: ConfigBuilder<ServerConfig, WantsServerCert>,
        identity: &Identity,
    ) -> Self {
        let key = PrivateKeyDer::try_from(identity.key.serialize_der()).expect("a key");
        let config = config
            .with_single_cert(vec![identity.certificate.clone()], key)
            .expect("a certificate");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((LOOPBACK, 0)).await.expect("port");
        let port = listener.local_addr().expect("port").port();
        let (proxy, seen) = (Proxy::start().await, Arc::default());
        let stop = CancellationToken::new();
        let accept = accept(
            listener,
            acceptor,
            proxy.place().to_owned(),
            Arc::clone(&seen),
            stop.clone(),
        );
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept));
        Self {
            port,
            proxy,
            seen,
            _stop: stop.drop_guard(),
        }
    }

    /// The URL through the door, by the name `localhost`.
    pub(super) fn url(&self) -> String {
        self.url_by("localhost")
    }

    /// The URL through the door, by another name of this host.
    pub(super) fn url_by(&self, host: &str) -> String {
        let place = format!("{host}:{}", self.port);
        url_with("guest:guest", Some(&place), "%2f").replace("amqp://", "amqps://")
    }

    /// What each connection's client sent, as it was on the wire.
    pub(super) fn wire(&self) -> Vec<Vec<u8>> {
        self.seen.lock().expect("no panic in here").wire.clone()
    }

    /// The certificates that clients presented, of connections that were let in.
    pub(super) fn clients(&self) -> Vec<Option<CertificateDer<'static>>> {
        self.seen.lock().expect("no panic in here").clients.clone()
    }
}

fn config(
    versions: &[&'static SupportedProtocolVersion],
) -> ConfigBuilder<ServerConfig, WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions of TLS")
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    far: String,
    seen: Arc<Mutex<Seen>>,
    stop: CancellationToken,
) {
    while let Ok((near, _)) = listener.accept().await {
        let number = {
            let mut seen = seen.lock().expect("no panic in here");
            seen.wire.push(Vec::new());
            seen.wire.len() - 1
        };
        let tap = Tap {
            stream: near,
            number,
            seen: Arc::clone(&seen),
        };
        let forward = forward(tap, acceptor.clone(), far.clone(), Arc::clone(&seen));
        tokio::spawn(stop.clone().run_until_cancelled_owned(forward));
    }
}

/// Copies both ways until either side ends.
async fn forward(near: Tap, acceptor: TlsAcceptor, far: String, seen: Arc<Mutex<Seen>>) {
    let mut near = match acceptor.accept(near).into_fallible().await {
        Ok(near) => near,
        Err((_, mut near)) => {
            // a reset would overtake the alert that says why
            let _ = near.read_to_end(&mut Vec::new()).await;
            return;
        }
    };
    let shown = near.get_ref().1.peer_certificates();
    let client = shown.and_then(|chain| chain.first().cloned());
    let client = client.map(CertificateDer::into_owned);
    seen.lock().expect("no panic in here").clients.push(client);
    if let Ok(mut far) = TcpStream::connect(far).await {
        let _ = copy_bidirectional(&mut near, &mut far).await;
    }
}

/// Keeps what comes in.
struct Tap {
    stream: TcpStream,
    number: usize,
    seen: Arc<Mutex<Seen>>,
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let mut seen = self.seen.lock().expect("no panic in here");
        seen.wire[self.number].extend_from_slice(&buffer.filled()[before..]);
        read
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
