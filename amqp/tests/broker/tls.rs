//! `amqps://` trusts whom it was told to trust, shows what it was told to show, and never becomes plain.

mod door;

use std::time::{Duration, Instant};

use coney_amqp::{Broker, BrokerBuilder, ConnectError, ConnectErrorKind, SessionStatus, Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::rustls::SupportedProtocolVersion;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use super::support::{
    SOON, Scratch, classic, consume, next, soon, take, to_queue, until, url_with,
};
use door::{Authority, Door, Files, LOOPBACK};

/// How long connecting may take; what fails here fails long before.
const LIMIT: Duration = Duration::from_secs(10);

fn with(url: &str, tls: Tls) -> BrokerBuilder {
    Broker::builder(url)
        .program("tls tests")
        .tls(tls)
        .connect_timeout(LIMIT)
}

/// An error with its causes.
fn told(error: &ConnectError) -> String {
    let first: &dyn std::error::Error = error;
    let causes = std::iter::successors(Some(first), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// Fails to connect because of TLS, before the deadline, and never again by itself.
async fn refused(url: &str, tls: Tls) -> String {
    let start = Instant::now();
    let error = soon("an answer", with(url, tls).connect()).await;
    let error = error.expect_err("refused");
    assert!(start.elapsed() < LIMIT, "{error:?}");
    assert_eq!(error.kind(), ConnectErrorKind::Tls, "{error:?}");
    assert!(!error.is_transient());
    told(&error)
}

/// Connects, and sends a message around that needs many TLS records.
async fn works(url: &str, tls: Tls) {
    let broker = soon("connect", with(url, tls).connect()).await;
    let broker = broker.unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_eq!(broker.server().product, super::place::place().product);
    let scratch = Scratch::new();
    let queue = scratch.queue("q");
    let session = broker.session("test");
    let mut consumer = consume(&session, classic(&queue), 10).await;
    let body = "a tale of two rabbits ".repeat(50_000);
    for body in [&*body, "short"] {
        let publish = broker.publisher().publish(to_queue(&queue, body));
        soon("a confirm", publish).await.expect("stored");
        assert!(take(&mut consumer).await == body, "another body");
    }
    assert!(soon("flush", session.flush()).await);
    soon("close", session.close()).await;
    soon("close", broker.close()).await;
}

/// Asserts that nothing but TLS was on the wire.
fn assert_secret(wire: &[Vec<u8>]) {
    assert!(!wire.is_empty(), "nobody connected");
    for bytes in wire {
        // a handshake record of TLS
        assert!(bytes.starts_with(&[22, 3]), "{:?}", bytes.get(..8));
        for secret in ["AMQP", "PLAIN", "guest", "two rabbits"] {
            let mut windows = bytes.windows(secret.len());
            assert!(!windows.any(|window| window == secret.as_bytes()));
        }
    }
}

#[tokio::test]
async fn a_broker_behind_an_authority_of_our_own_is_trusted_only_with_its_file() {
    let (authority, files) = (Authority::new(), Files::new());
    let door = Door::open(&authority.server("localhost")).await;
    let ca = files.write("ca.pem", &authority.pem());

    let error = refused(&door.url(), Tls::new()).await;
    assert!(error.contains("Tls::ca_file"), "{error}");
    assert!(door.clients().is_empty(), "let in");

    works(&door.url(), Tls::new().ca_file(&ca)).await;
    // one to publish, one to consume
    assert_eq!(door.clients(), [None, None]);
    assert_secret(&door.wire());
}

#[tokio::test]
async fn the_authority_may_be_one_of_several_in_its_file() {
    let (authority, files) = (Authority::new(), Files::new());
    let door = Door::open(&authority.server("localhost")).await;
    let several = format!(
        "# old\n{}\n# new\r\n{}",
        Authority::new().pem(),
        authority.pem()
    );
    let ca = files.write("ca.pem", &several);
    works(&door.url(), Tls::new().ca_file(&ca)).await;
}

#[tokio::test]
async fn another_authority_of_the_same_name_is_refused() {
    let (authority, files) = (Authority::new(), Files::new());
    let door = Door::open(&authority.server("localhost")).await;
    let ca = files.write("ca.pem", &Authority::new().pem());
    let error = refused(&door.url(), Tls::new().ca_file(&ca)).await;
    assert!(error.contains("certificate"), "{error}");
    assert!(door.clients().is_empty(), "let in");
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused() {
    let (authority, files) = (Authority::new(), Files::new());
    let tls = Tls::new().ca_file(files.write("ca.pem", &authority.pem()));
    let address = LOOPBACK.to_string();
    for (name, host) in [
        ("rabbit.example", "localhost"),
        ("localhost", &*address),
        (&*address, "localhost"),
    ] {
        let door = Door::open(&authority.server(name)).await;
        let error = refused(&door.url_by(host), tls.clone()).await;
        assert!(error.contains("not valid for"), "{error}");
        assert!(error.contains(host), "{error}");
        assert!(door.clients().is_empty(), "let in");
    }
}

#[tokio::test]
async fn a_certificate_for_the_address_is_good_for_the_address() {
    let (authority, files) = (Authority::new(), Files::new());
    let address = LOOPBACK.to_string();
    let door = Door::open(&authority.server(&address)).await;
    let ca = files.write("ca.pem", &authority.pem());
    works(&door.url_by(&address), Tls::new().ca_file(&ca)).await;
}

#[tokio::test]
async fn a_client_certificate_is_presented_when_the_server_asks_for_one() {
    let (authority, files) = (Authority::new(), Files::new());
    let client = authority.client();
    let tls = Tls::new()
        .ca_file(files.write("ca.pem", &authority.pem()))
        .client_certificate(
            files.write("client.pem", &client.pem),
            files.write("client.key", &client.key_pem()),
        );
    let server = authority.server("localhost");
    for version in [&TLS12, &TLS13] {
        let door = Door::guarded(&server, &authority, version).await;
        works(&door.url(), tls.clone()).await;
        let shown = Some(client.certificate.clone());
        assert_eq!(door.clients(), [shown.clone(), shown]);
        assert_secret(&door.wire());
    }
    // who does not ask is not told
    let door = Door::open(&server).await;
    works(&door.url(), tls).await;
    assert_eq!(door.clients(), [None, None]);
}

/// Asks for a client certificate; comes with none, and with one of another authority.
async fn refused_without_a_good_client_certificate(version: &'static SupportedProtocolVersion) {
    let (authority, files) = (Authority::new(), Files::new());
    let none = Tls::new().ca_file(files.write("ca.pem", &authority.pem()));
    let client = Authority::new().client();
    let foreign = none.clone().client_certificate(
        files.write("client.pem", &client.pem),
        files.write("client.key", &client.key_pem()),
    );
    let server = authority.server("localhost");
    for tls in [none, foreign] {
        let door = Door::guarded(&server, &authority, version).await;
        let error = refused(&door.url(), tls).await;
        assert!(error.contains("Tls::client_certificate"), "{error}");
        assert!(door.clients().is_empty(), "let in");
    }
}

#[tokio::test]
async fn a_client_certificate_that_is_missing_or_foreign_is_a_tls_error_with_tls_1_2() {
    refused_without_a_good_client_certificate(&TLS12).await;
}

#[tokio::test]
async fn a_client_certificate_that_is_missing_or_foreign_is_a_tls_error_with_tls_1_3() {
    refused_without_a_good_client_certificate(&TLS13).await;
}

#[tokio::test]
async fn a_file_that_is_missing_or_no_pem_is_named_before_anybody_is_called() {
    let (authority, files) = (Authority::new(), Files::new());
    let door = Door::open(&authority.server("localhost")).await;
    let client = authority.client();
    let certificate = files.write("client.pem", &client.pem);
    let key = files.write("client.key", &client.key_pem());
    let missing = files.path("missing.pem");
    let note = files.write("note.txt", "no PEM");
    let locked = section("ENCRYPTED PRIVATE KEY", "bm90aGluZw==");
    let locked = files.write("locked.key", &locked);
    let show = |certificate, key| Tls::new().client_certificate(certificate, key);
    for (tls, named) in [
        (Tls::new().ca_file(&missing), &missing),
        (Tls::new().ca_file(&note), &note),
        (Tls::new().ca_file(&key), &key),
        (show(&missing, &key), &missing),
        (show(&note, &key), &note),
        (show(&certificate, &missing), &missing),
        (show(&certificate, &note), &note),
        (show(&certificate, &locked), &locked),
        // the wrong way round
        (show(&key, &certificate), &key),
    ] {
        let error = refused(&door.url(), tls).await;
        assert!(error.contains(&*named.to_string_lossy()), "{error}");
    }
    assert!(door.wire().is_empty(), "somebody was called");
}

#[tokio::test]
async fn a_file_with_damaged_content_is_named_before_anybody_is_called() {
    let (authority, files) = (Authority::new(), Files::new());
    let door = Door::open(&authority.server("localhost")).await;
    let (client, other) = (authority.client(), authority.client());
    let certificate = files.write("client.pem", &client.pem);
    let key = files.write("client.key", &client.key_pem());
    let damaged = files.write("damaged.pem", &section("CERTIFICATE", "no base64!"));
    let hollow = files.write("hollow.pem", &section("CERTIFICATE", "bm90aGluZw=="));
    let dull = files.write("dull.key", &section("PRIVATE KEY", "bm90aGluZw=="));
    let foreign = files.write("foreign.key", &other.key_pem());
    let show = |certificate, key| Tls::new().client_certificate(certificate, key);
    for (tls, named) in [
        (Tls::new().ca_file(&damaged), &damaged),
        (Tls::new().ca_file(&hollow), &hollow),
        (show(&damaged, &key), &damaged),
        (show(&hollow, &key), &hollow),
        (show(&certificate, &dull), &dull),
        (show(&certificate, &foreign), &foreign),
    ] {
        let error = refused(&door.url(), tls).await;
        assert!(error.contains(&*named.to_string_lossy()), "{error}");
    }
    assert!(door.wire().is_empty(), "somebody was called");
}

/// A PEM section with this content.
fn section(name: &str, content: &str) -> String {
    format!("-----BEGIN {name}-----\n{content}\n-----END {name}-----\n")
}

#[tokio::test]
async fn amqps_never_falls_back_to_plain() {
    // what a peer may answer to the first bytes: nothing, an AMQP server's header, a TLS alert (handshake failure)
    for answer in [&b""[..], b"AMQP\0\0\x09\x01", b"\x15\x03\x03\0\x02\x02\x28"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let place = listener.local_addr().expect("port").to_string();
        let peer = tokio::spawn(async move {
            let mut wire = Vec::new();
            // after the first call, there is a second for another
            let mut limit = SOON;
            while let Ok(Ok((mut stream, _))) = tokio::time::timeout(limit, listener.accept()).await
            {
                limit = Duration::from_secs(1);
                let mut bytes = vec![0; 8];
                let _ = stream.read_exact(&mut bytes).await;
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
                let _ = stream.read_to_end(&mut bytes).await;
                wire.push(bytes);
            }
            wire
        });
        let url = url_with("guest:guest", Some(&place), "%2f").replace("amqp://", "amqps://");
        refused(&url, Tls::new()).await;
        let wire = peer.await.expect("no panic in here");
        assert_eq!(wire.len(), 1, "called again");
        assert_secret(&wire);
    }
}

#[tokio::test]
async fn a_peer_that_never_answers_costs_the_connect_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
    let place = listener.local_addr().expect("port").to_string();
    let url = url_with("guest:guest", Some(&place), "%2f").replace("amqp://", "amqps://");
    let limit = Duration::from_millis(300);
    let start = Instant::now();
    let connect = with(&url, Tls::new()).connect_timeout(limit).connect();
    let error = soon("an answer", connect).await.expect_err("mute");
    assert_eq!(error.kind(), ConnectErrorKind::Tls, "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(3));
    // the other end sees the connection close
    let (mut stream, _) = listener.accept().await.expect("connected before");
    let mut wire = Vec::new();
    let end = soon("the end of the connection", stream.read_to_end(&mut wire)).await;
    assert!(end.is_ok(), "{end:?}");
    assert_secret(&[wire]);
}

#[tokio::test]
async fn a_connection_that_was_cut_comes_back_as_tls_and_ends_with_its_handle() {
    let (authority, files) = (Authority::new(), Files::new());
    let door = Door::open(&authority.server("localhost")).await;
    let ca = files.write("ca.pem", &authority.pem());
    let broker = with(&door.url(), Tls::new().ca_file(&ca)).connect().await;
    let broker = broker.expect("connect");
    // they were read once
    drop(files);
    let scratch = Scratch::new();
    let queue = scratch.queue("q");
    let session = broker.session("test");
    let mut consumer = consume(&session, classic(&queue), 10).await;
    until(&session, |status| *status == SessionStatus::Ready).await;
    door.proxy.cut();
    until(&session, |status| *status != SessionStatus::Ready).await;
    until(&session, |status| *status == SessionStatus::Ready).await;
    let publish = broker.publisher().publish(to_queue(&queue, "back"));
    soon("a confirm", publish).await.expect("stored");
    next(&mut consumer).await.acker.ack();
    assert!(soon("flush", session.flush()).await);
    drop((broker, session, consumer));
    soon("the end of the connections", async {
        while door.proxy.open_lines() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(door.wire().len() >= 4, "it did not connect again");
    assert_secret(&door.wire());
}

/// Runs the test below in a process of its own, on a system without certificate authorities.
#[test]
fn a_ca_file_is_enough_where_the_system_trusts_nobody() {
    let this = std::env::current_exe().expect("a test binary");
    let output = std::process::Command::new(this)
        .args(["--exact", "tls::without_authorities_of_the_system"])
        .env("SSL_CERT_FILE", "/nowhere.pem")
        .env("SSL_CERT_DIR", "/nowhere")
        .output()
        .expect("runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

#[tokio::test]
async fn without_authorities_of_the_system() {
    if std::env::var_os("SSL_CERT_DIR").is_none_or(|folder| folder != "/nowhere") {
        return;
    }
    let (authority, files) = (Authority::new(), Files::new());
    let door = Door::open(&authority.server("localhost")).await;
    let ca = files.write("ca.pem", &authority.pem());
    works(&door.url(), Tls::new().ca_file(&ca)).await;
    let error = refused(&door.url(), Tls::new()).await;
    assert!(error.contains("Tls::ca_file"), "{error}");
}
