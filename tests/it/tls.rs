//! TLS on both sides: who is trusted and let in, ALPN, and new certificates without a restart.

use std::fs;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use streamway::client::Config;
use streamway::codec::RawMessage;
use streamway::transport::{ClientTls, Listener, ServerTls};
use streamway::{Channel, Code, Server, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::certificates::{Authority, Pair};
use crate::support::{ECHO, Fixture, LONG, REVERSE, Served};

fn server_tls(pair: &Pair, client_ca: Option<&Authority>) -> ServerTls {
    let client_ca = client_ca.map(Authority::pem);
    let client_ca = client_ca.as_ref().map(String::as_bytes);
    ServerTls::from_pem(pair.certificate.as_bytes(), pair.key.as_bytes(), client_ca)
        .expect("a pair")
}

async fn serve(tls: ServerTls) -> (Served, SocketAddr) {
    let served = Fixture::default().serve(Server::new().tls(tls)).await;
    let addr = served.socket_address().parse().expect("an address");
    (served, addr)
}

fn channel(addr: SocketAddr, tls: ClientTls) -> Channel {
    let mut config = Config::default();
    config.tls = tls;
    Channel::with_config(&format!("https://{addr}"), config).expect("a configuration")
}

async fn call(channel: &Channel) -> Result<(), Status> {
    let message = RawMessage(Bytes::from_static(b"ab"));
    let call = channel.unary::<_, RawMessage>(REVERSE, message);
    let answer = timeout(LONG, call.send()).await.expect("an answer")?;
    assert_eq!(answer.0, "ba");
    Ok(())
}

async fn refused(channel: &Channel) -> String {
    let status = call(channel).await.expect_err("no connection");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    status.message().to_owned()
}

/// The preface of a client, and an empty SETTINGS (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Connects until a call goes through: files are looked at now and then.
async fn taken_up(channel: impl Fn() -> Channel) {
    let tries = async { while call(&channel()).await.is_err() {} };
    timeout(LONG, tries).await.expect("taken up");
}

#[tokio::test]
async fn a_server_is_trusted_by_its_authority_and_its_name() {
    let (authority, other) = (Authority::new("one"), Authority::new("other"));
    let (_served, addr) = serve(server_tls(&authority.vouch("127.0.0.1"), None)).await;
    let trusting = ClientTls::new().ca_pem(authority.pem());
    call(&channel(addr, trusting.clone()))
        .await
        .expect("trusted");
    let text = refused(&channel(addr, ClientTls::new().ca_pem(other.pem()))).await;
    assert!(text.contains("UnknownIssuer"), "{text}");
    let text = refused(&channel(addr, trusting.server_name("orders.example"))).await;
    assert!(text.contains("not valid for name"), "{text}");

    let (_served, addr) = serve(server_tls(&authority.vouch("orders.example"), None)).await;
    let named = ClientTls::new()
        .ca_pem(authority.pem())
        .server_name("orders.example");
    call(&channel(addr, named)).await.expect("trusted");
}

#[tokio::test]
async fn a_client_is_let_in_by_a_certificate_when_the_server_asks_for_one() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let pair = authority.vouch("127.0.0.1");
    let (_served, addr) = serve(server_tls(&pair, Some(&clients))).await;
    let nobody = ClientTls::new().ca_pem(authority.pem());
    refused(&channel(addr, nobody.clone())).await;
    let stranger = authority.vouch("client");
    let stranger = nobody
        .clone()
        .identity_pem(stranger.certificate, stranger.key);
    refused(&channel(addr, stranger)).await;
    let known = clients.vouch("client");
    let known = nobody.identity_pem(known.certificate, known.key);
    call(&channel(addr, known)).await.expect("let in");
}

#[tokio::test]
async fn both_kinds_of_runtime_serve_over_tls() {
    let authority = Authority::new("one");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let addr = listener.local_addr().expect("bound");
    let server = Server::new()
        .add_service(Fixture::default())
        .tls(server_tls(&authority.vouch("127.0.0.1"), None));
    let threads = NonZeroUsize::new(2).expect("two");
    let serving = server.serve_on_threads(listener, threads, std::future::pending());
    let tls = ClientTls::new().ca_pem(authority.pem());
    let calls = async {
        for _ in 0..4 {
            call(&channel(addr, tls.clone())).await.expect("served");
        }
    };
    tokio::select! {
        () = calls => {}
        ended = serving => unreachable!("{ended:?}"),
    }
}

#[tokio::test]
async fn cleartext_and_tls_do_not_speak_with_each_other_and_the_client_says_so() {
    let authority = Authority::new("one");
    let (_served, addr) = serve(server_tls(&authority.vouch("127.0.0.1"), None)).await;
    let text = refused(&Channel::connect(&format!("http://{addr}")).expect("an address")).await;
    assert!(text.contains("the server speaks TLS here"), "{text}");

    let tls = ClientTls::new().ca_pem(authority.pem());
    let served = Fixture::default().serve(Server::new()).await;
    let addr = served.socket_address().parse().expect("an address");
    let text = refused(&channel(addr, tls.clone())).await;
    assert!(
        text.contains("if it does not speak TLS here, its address begins with http://"),
        "{text}"
    );

    // Other servers answer in what they speak.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let addr = listener.local_addr().expect("bound");
    let answering = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("the client");
        let mut hello = [0; 16 * 1024];
        assert!(socket.read(&mut hello).await.is_ok());
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await
    });
    let text = refused(&channel(addr, tls)).await;
    assert!(
        text.contains("the server does not speak TLS here; its address begins with http://"),
        "{text}"
    );
    answering.await.expect("no panic").expect("sent");
}

#[tokio::test]
async fn without_alpn_h2_neither_side_goes_on() {
    let authority = Authority::new("one");
    let pair = authority.vouch("127.0.0.1");

    let (_served, addr) = serve(server_tls(&pair, None)).await;
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("PEM");
    roots.add(ca).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("defaults")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = TcpStream::connect(addr).await.expect("served");
    let name = ServerName::try_from("127.0.0.1").expect("an address");
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, socket).await.expect("TLS is fine");
    // A server that took the connection would answer this with its SETTINGS. This one takes leave, as TLS says.
    stream.write_all(PREFACE).await.expect("open");
    let mut answer = [0; 64];
    let read = timeout(LONG, stream.read(&mut answer)).await;
    let read = read.expect("closed").expect("with close_notify");
    assert!(read == 0, "{:?}", &answer[..read]);

    let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("PEM");
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("defaults")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a pair");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let addr = listener.local_addr().expect("bound");
    let accepting = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.expect("the client");
        let stream = TlsAcceptor::from(Arc::new(config)).accept(socket).await;
        // Until the client leaves.
        stream
            .expect("TLS is fine")
            .read_to_end(&mut Vec::new())
            .await
    });
    let text = refused(&channel(addr, ClientTls::new().ca_pem(authority.pem()))).await;
    assert!(text.contains("did not choose h2"), "{text}");
    let _ = accepting.await.expect("no panic");
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_and_a_bad_one_is_not_and_calls_go_on() {
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let folder = tempfile::tempdir().expect("writable");
    let certificate = folder.path().join("cert.pem");
    let key = folder.path().join("key.pem");
    let write = |pair: &Pair| pair.write(&certificate, &key);
    write(&first.vouch("127.0.0.1"));
    let tls = ServerTls::from_files(&certificate, &key, None).expect("a pair");
    let (_served, addr) = serve(tls).await;
    let trusting = |authority: &Authority| channel(addr, ClientTls::new().ca_pem(authority.pem()));

    let exchange = trusting(&first)
        .bidi::<RawMessage, RawMessage>(ECHO)
        .start();
    let mut exchange = exchange.await.expect("served");
    let message = RawMessage(Bytes::from_static(b"one"));
    exchange.send(&message).await.expect("open");
    assert_eq!(
        exchange.message().await.expect("OK").as_ref(),
        Some(&message)
    );

    write(&second.vouch("127.0.0.1"));
    taken_up(|| trusting(&second)).await;
    refused(&trusting(&first)).await;

    // What is seen of a bad one is in `cli::tls`, where there is a log to wait for.
    fs::write(&key, &first.vouch("127.0.0.1").key).expect("writable");
    call(&trusting(&second)).await.expect("another's key");
    fs::remove_file(&certificate).expect("there");
    call(&trusting(&second)).await.expect("no file");
    write(&first.vouch("127.0.0.1"));
    taken_up(|| trusting(&first)).await;

    exchange.send(&message).await.expect("the call goes on");
    assert_eq!(
        exchange.message().await.expect("OK").as_ref(),
        Some(&message)
    );
}

#[tokio::test]
async fn whom_a_server_lets_in_changes_with_its_file() {
    let (servers, old, new) = (
        Authority::new("servers"),
        Authority::new("old"),
        Authority::new("new"),
    );
    let folder = tempfile::tempdir().expect("writable");
    let [certificate, key, ca] =
        ["cert.pem", "key.pem", "ca.pem"].map(|name| folder.path().join(name));
    servers.vouch("127.0.0.1").write(&certificate, &key);
    fs::write(&ca, old.pem()).expect("writable");
    let tls = ServerTls::from_files(&certificate, &key, Some(&ca)).expect("a pair");
    let (_served, addr) = serve(tls).await;
    let showing = |authority: &Authority| {
        let pair = authority.vouch("client");
        let tls = ClientTls::new().ca_pem(servers.pem());
        channel(addr, tls.identity_pem(pair.certificate, pair.key))
    };
    call(&showing(&old)).await.expect("let in");
    refused(&showing(&new)).await;
    fs::write(&ca, new.pem()).expect("writable");
    taken_up(|| showing(&new)).await;
    refused(&showing(&old)).await;
}

#[tokio::test]
async fn a_channel_takes_up_new_files_for_its_next_connection() {
    let (servers, clients, strangers) = (
        Authority::new("servers"),
        Authority::new("clients"),
        Authority::new("strangers"),
    );
    let (_served, addr) = serve(server_tls(&servers.vouch("127.0.0.1"), Some(&clients))).await;
    let folder = tempfile::tempdir().expect("writable");
    let [certificate, key, ca] =
        ["cert.pem", "key.pem", "ca.pem"].map(|name| folder.path().join(name));
    strangers.vouch("client").write(&certificate, &key);
    fs::write(&ca, strangers.pem()).expect("writable");
    let tls = ClientTls::new().ca_file(&ca).expect("a file");
    let tls = tls.identity_files(&certificate, &key).expect("files");
    let channel = channel(addr, tls);
    let text = refused(&channel).await;
    assert!(text.contains("UnknownIssuer"), "{text}");

    fs::write(&ca, servers.pem()).expect("writable");
    clients.vouch("client").write(&certificate, &key);
    let message = RawMessage(Bytes::from_static(b"ab"));
    let call = channel.unary::<_, RawMessage>(REVERSE, message);
    let answer = timeout(LONG, call.wait_for_ready().send()).await;
    assert_eq!(answer.expect("taken up").expect("OK").0, "ba");
}

#[tokio::test]
async fn a_file_that_keeps_its_reader_waiting_keeps_no_client_waiting() {
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let folder = tempfile::tempdir().expect("writable");
    let certificate = folder.path().join("cert.pem");
    let key = folder.path().join("key.pem");
    first.vouch("127.0.0.1").write(&certificate, &key);
    let tls = ServerTls::from_files(&certificate, &key, None).expect("a pair");
    let (_served, addr) = serve(tls).await;
    let trusting = |authority: &Authority| channel(addr, ClientTls::new().ca_pem(authority.pem()));

    // Opened, a pipe waits for a writer.
    fs::remove_file(&key).expect("there");
    let made = Command::new("mkfifo").arg(&key).status();
    assert!(made.expect("there is mkfifo").success());
    call(&trusting(&first)).await.expect("served");

    fs::remove_file(&key).expect("there");
    second.vouch("127.0.0.1").write(&certificate, &key);
    taken_up(|| trusting(&second)).await;
}

#[test]
fn certificates_that_cannot_be_used_are_told_at_once_and_the_key_is_never_shown() {
    let authority = Authority::new("one");
    let (one, other) = (authority.vouch("a.example"), authority.vouch("b.example"));
    let server = |certificate: &str, key: &str| {
        let tls = ServerTls::from_pem(certificate.as_bytes(), key.as_bytes(), None);
        tls.map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(server(&one.certificate, &one.key), Ok(()));
    for (certificate, key, text) in [
        (
            "",
            one.key.as_str(),
            "the certificate: there is no certificate in it",
        ),
        (
            one.certificate.as_str(),
            "",
            "the key: there is no private key in it",
        ),
        (
            &one.certificate,
            &other.key,
            "the key is not the certificate's",
        ),
    ] {
        let error = server(certificate, key).expect_err("unusable");
        assert!(error.contains(text), "{error}");
    }
    let mut config = Config::default();
    config.tls = ClientTls::new().ca_pem("nothing");
    let error = Channel::with_config("https://a.example", config).expect_err("no CA");
    assert!(error.to_string().contains("the CA"), "{error}");
    let missing = PathBuf::from("/nowhere/cert.pem");
    let error = ServerTls::from_files(&missing, &missing, None).expect_err("no file");
    assert!(error.to_string().contains("/nowhere/cert.pem"), "{error}");

    let tls = server_tls(&one, None);
    let shown = format!(
        "{tls:?} {:?}",
        ClientTls::new().identity_pem(one.certificate, "secret")
    );
    assert!(
        !shown.contains("secret") && !shown.contains("PRIVATE"),
        "{shown}"
    );
}

#[tokio::test]
async fn clients_that_connect_and_say_nothing_keep_nobody_waiting() {
    let authority = Authority::new("one");
    let (_served, addr) = serve(server_tls(&authority.vouch("127.0.0.1"), None)).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(addr).await.expect("served"));
    }
    let tls = ClientTls::new().ca_pem(authority.pem());
    call(&channel(addr, tls)).await.expect("served");
}

/// One connection, then none.
struct Once(Option<DuplexStream>);

impl Listener for Once {
    type Io = DuplexStream;

    async fn accept(&mut self) -> std::io::Result<(DuplexStream, Option<SocketAddr>)> {
        match self.0.take() {
            Some(socket) => Ok((socket, None)),
            None => std::future::pending().await,
        }
    }
}

/// A socket that is closed with unread bytes takes back what was written.
#[tokio::test(start_paused = true)]
async fn a_client_that_is_not_let_in_reads_why_while_it_still_sends() {
    let authority = Authority::new("one");
    let (mut client, socket) = duplex(1024);
    let server = Server::new().tls(server_tls(&authority.vouch("127.0.0.1"), None));
    let serving = server.serve(Once(Some(socket)), std::future::pending());
    let told = async {
        let request = b"GET / HTTP/1.1\r\n\r\n";
        client.write_all(request).await.expect("open");
        let mut alert = Vec::new();
        client.read_to_end(&mut alert).await.expect("told");
        assert_eq!(alert[..3], [0x15, 3, 3]);
        client.write_all(request).await.expect("still read");
    };
    tokio::select! {
        () = told => {}
        ended = serving => unreachable!("{ended:?}"),
    };
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_let_go_after_five_seconds() {
    let authority = Authority::new("one");
    let (mut silent, socket) = duplex(1024);
    let server = Server::new().tls(server_tls(&authority.vouch("127.0.0.1"), None));
    let serving = server.serve(Once(Some(socket)), std::future::pending());
    let started = Instant::now();
    let mut read = Vec::new();
    tokio::select! {
        closed = silent.read_to_end(&mut read) => closed.expect("closed"),
        ended = serving => unreachable!("{ended:?}"),
    };
    assert_eq!(started.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_handshakes() {
    let authority = Authority::new("one");
    let (_silent, socket) = duplex(1024);
    let server = Server::new().tls(server_tls(&authority.vouch("127.0.0.1"), None));
    let started = Instant::now();
    let shutdown = tokio::time::sleep(Duration::from_secs(1));
    let served = server.serve(Once(Some(socket)), shutdown).await;
    served.expect("no services, no conflict");
    assert_eq!(started.elapsed().as_secs(), 1);
}
