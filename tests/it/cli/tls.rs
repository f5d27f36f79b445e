//! Certificates on the command line: whole commands over TLS and mutual TLS, and what is said when it cannot be.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use streamway::client::Config;
use streamway::proto::StreamSumData;
use streamway::proto::stream_service::StreamServiceClient;
use streamway::transport::ClientTls;
use streamway::{Channel, Code};
use tempfile::TempDir;

use super::process::{Ended, Process, find, run, streamway};
use super::serving::{Serving, after, folder, get, sample};
use crate::backend::{Backend, Script};
use crate::certificates::{Authority, Pair};
use crate::support::LONG;

/// PEM files in a folder of their own.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(folder())
    }

    fn path(&self, name: &str) -> String {
        let path = self.0.path().join(name);
        path.to_str().expect("UTF-8").to_owned()
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).expect("writable");
        path
    }

    /// A pair as `NAME.pem` and `NAME.key`.
    fn pair(&self, name: &str, pair: &Pair) -> [String; 2] {
        let files = [
            self.path(&format!("{name}.pem")),
            self.path(&format!("{name}.key")),
        ];
        let [certificate, key] = files.each_ref().map(PathBuf::from);
        pair.write(&certificate, &key);
        files
    }
}

/// Runs every client command, and the front of a gateway, against this server with these flags.
fn every_command(server: &Serving, flags: &[&str]) {
    let run = |command: &[&str]| {
        let ended = run(&[command, &["--addr", &server.grpc], flags].concat());
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        ended.stdout
    };
    let expected: String = (0..500).map(sample).collect();
    assert_eq!(run(&["orders"]), expected);
    assert_eq!(run(&["health", "proto.StreamService"]), "SERVING\n");
    assert_eq!(run(&["sum", "2"]).lines().count(), 2);
    let folder = folder();
    let file = folder.path().join("photo.jpg");
    fs::write(&file, [0xFF; 300_000]).expect("a file");
    let stored = run(&["upload", file.to_str().expect("UTF-8")]);
    assert!(stored.contains("\"size\":300000,"), "{stored}");

    let ours = ["gateway", "--http-addr", "127.0.0.1:0", "--backend"];
    let args = [&ours[..], &[server.grpc.as_str()], flags].concat();
    let mut gateway = Process::start(&mut streamway(&args));
    let url = find(&mut gateway.stderr(), |line| {
        line.contains("/testOrderList").then(|| line.to_owned())
    });
    let orders = get(&format!("HTTP    {}", url.trim_start()), "/testOrderList");
    assert!(orders.contains(&sample(499)), "{orders}");
}

#[test]
fn every_command_speaks_tls_and_mutual_tls() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let files = Files::new();
    let ca = files.write("ca.pem", &servers.pem());
    let client_ca = files.write("client_ca.pem", &clients.pem());
    let [cert, key] = files.pair("server", &servers.vouch("127.0.0.1"));
    let [client, client_key] = files.pair("client", &clients.vouch("client"));
    let tls = ["--tls-cert", &cert, "--tls-key", &key];
    let mutual = [&tls[..], &["--tls-client-ca", &client_ca]].concat();
    let shown = ["--ca", &ca, "--cert", &client, "--key", &client_key];
    for (tls, flags, says) in [
        (&tls[..], &shown[..2], ", over TLS\n"),
        (&mutual, &shown, ", over mutual TLS\n"),
    ] {
        let folder = folder();
        let orders = ["--sample-orders", "500"];
        let server = Serving::start(folder.path(), &[&orders, tls].concat());
        let banner = &server.banner;
        assert!(
            banner.contains(says) && banner.contains("-cacert CA"),
            "{banner}"
        );
        every_command(&server, flags);
        // The server's own front needs no certificate.
        let orders = get(banner, "/testOrderList");
        assert!(orders.contains(&sample(499)), "{orders}");
        server.stop();
    }
}

#[test]
fn who_shows_no_certificate_or_a_strange_one_is_not_let_in() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let files = Files::new();
    let ca = files.write("ca.pem", &servers.pem());
    let client_ca = files.write("client_ca.pem", &clients.pem());
    let [cert, key] = files.pair("server", &servers.vouch("127.0.0.1"));
    let [client, client_key] = files.pair("stranger", &servers.vouch("client"));
    let folder = folder();
    let tls = ["--tls-cert", &cert, "--tls-key", &key];
    let mutual = ["--tls-client-ca", &client_ca, "--sample-orders", "1"];
    let server = Serving::start(folder.path(), &[tls, mutual].concat());
    for (flags, says) in [
        (&["--ca", &ca][..], "CertificateRequired"),
        (
            &["--ca", &ca, "--cert", &client, "--key", &client_key],
            "received fatal alert",
        ),
        // The server's authority is not that of the clients, nor the other way round.
        (&["--ca", &client_ca], "UnknownIssuer"),
    ] {
        let ended = run(&[&["health", "--addr", &server.grpc], flags].concat());
        assert_eq!(ended.code, Some(64 + 14), "{}", ended.stderr);
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
    server.stop();
}

#[test]
fn certificates_have_variables() {
    let authority = Authority::new("one");
    let files = Files::new();
    let ca = files.write("ca.pem", &authority.pem());
    let [cert, key] = files.pair("server", &authority.vouch("127.0.0.1"));
    let folder = folder();
    let serve = ["--tls-cert", &cert, "--tls-key", &key];
    let more = ["--tls-client-ca", &ca, "--sample-orders", "1"];
    let server = Serving::start(folder.path(), &[serve, more].concat());
    let mut health = streamway(&["health"]);
    health
        .env("STREAMWAY_ADDR", &server.grpc)
        .env("STREAMWAY_CA", &ca)
        .env("STREAMWAY_CERT", &cert)
        .env("STREAMWAY_KEY", &key);
    let ended = Process::start(&mut health).ended();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    health.env_remove("STREAMWAY_KEY");
    let ended = Process::start(&mut health).ended();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("--key <FILE>"), "{}", ended.stderr);
    server.stop();
}

#[test]
fn certificates_that_make_no_sense_are_errors_of_usage() {
    for (args, says) in [
        (&["orders", "--cert", "c.pem"][..], "--key <FILE>"),
        (&["gateway", "--key", "c.key"], "--cert <FILE>"),
        (&["serve", "--tls-cert", "c.pem"], "--tls-key <FILE>"),
        (&["serve", "--tls-key", "c.key"], "--tls-cert <FILE>"),
        (&["serve", "--tls-client-ca", "ca.pem"], "--tls-cert <FILE>"),
        (
            &["health", "--ca", "ca.pem"],
            "--ca (STREAMWAY_CA) is for an https:// server, and --addr is http://127.0.0.1:9528",
        ),
        (
            &["gateway", "--cert", "c.pem", "--key", "c.key"],
            "--cert (STREAMWAY_CERT) is for an https:// server, and --backend is http://127.0.0.1:9528",
        ),
    ] {
        let ended = run(args);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
}

#[test]
fn files_that_cannot_be_used_are_named_and_nothing_is_begun() {
    let authority = Authority::new("one");
    let files = Files::new();
    let [cert, key] = files.pair("one", &authority.vouch("127.0.0.1"));
    let [_, other] = files.pair("other", &authority.vouch("127.0.0.1"));
    let missing = files.path("missing.pem");
    let data = files.path("data");
    let serve = |cert: &str, key: &str, more: &[&str]| {
        let args = [
            "serve",
            "--data-dir",
            &data,
            "--tls-cert",
            cert,
            "--tls-key",
            key,
        ];
        run(&[&args[..], more].concat())
    };
    let orders = |flags: &[&str]| {
        let args = ["orders", "--addr", "https://127.0.0.1:1"];
        run(&[&args[..], flags].concat())
    };
    let told = |ended: Ended, says: &[&str]| {
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
        assert!(
            says.iter().all(|text| ended.stderr.contains(text)),
            "{}",
            ended.stderr
        );
    };
    let no_file = format!("{missing}: No such file");
    told(serve(&missing, &key, &[]), &["--tls-cert", &no_file]);
    told(serve(&cert, &missing, &[]), &["--tls-key", &no_file]);
    let no_certificate = format!("{key}: there is no certificate in it");
    let no_key = format!("{cert}: there is no private key in it");
    let no_pair = format!("{other}: the key is not the certificate's");
    told(serve(&key, &key, &[]), &["--tls-cert", &no_certificate]);
    told(serve(&cert, &cert, &[]), &["--tls-key", &no_key]);
    told(serve(&cert, &other, &[]), &["--tls-key", &no_pair]);
    let ca = ["--tls-client-ca", &key];
    told(
        serve(&cert, &key, &ca),
        &["--tls-client-ca", &no_certificate],
    );
    assert!(!PathBuf::from(&data).exists());

    told(orders(&["--ca", &missing]), &["--ca", &no_file]);
    told(orders(&["--ca", &key]), &[&no_certificate]);
    let pair = |cert, key| orders(&["--ca", cert, "--cert", cert, "--key", key]);
    told(pair(&cert, &missing), &["--key", &no_file]);
    told(pair(&cert, &cert), &[&no_key]);
    told(pair(&cert, &other), &[&no_pair]);
}

#[test]
fn an_address_with_the_wrong_scheme_is_told_with_the_right_one() {
    let authority = Authority::new("one");
    let files = Files::new();
    let ca = files.write("ca.pem", &authority.pem());
    let [cert, key] = files.pair("server", &authority.vouch("127.0.0.1"));
    let folder = folder();
    let tls = [
        "--tls-cert",
        &cert,
        "--tls-key",
        &key,
        "--sample-orders",
        "1",
    ];
    let server = Serving::start(folder.path(), &tls);
    let address = server.grpc.replace("https://", "http://");
    let ended = run(&["health", "--addr", &address]);
    assert_eq!(ended.code, Some(64 + 14));
    let text = "the server speaks TLS here, so its address begins with https://";
    assert!(ended.stderr.contains(text), "{}", ended.stderr);

    // As likely: the address of the HTTP front.
    let front = after(&server.banner, "HTTP    http://").split('/').next();
    let address = format!("http://{}", front.expect("a host and a port"));
    let ended = run(&["health", "--addr", &address]);
    assert_eq!(ended.code, Some(64 + 14));
    let text = "the server answers in HTTP/1";
    assert!(ended.stderr.contains(text), "{}", ended.stderr);
    server.stop();

    let cleartext = Backend::start(Script::default());
    let address = cleartext.address.replace("http://", "https://");
    let ended = run(&["health", "--addr", &address, "--ca", &ca]);
    assert_eq!(ended.code, Some(64 + 14));
    let text = "if it does not speak TLS here, its address begins with http://";
    assert!(ended.stderr.contains(text), "{}", ended.stderr);
}

#[tokio::test]
async fn a_server_takes_up_new_files_keeps_the_old_ones_when_they_are_bad_and_cuts_no_call() {
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let files = Files::new();
    let [cert, key] = files.pair("server", &first.vouch("127.0.0.1"));
    let folder = folder();
    let tls = ["--tls-cert", &cert, "--tls-key", &key];
    let more = ["--sample-orders", "1", "--log", "warn"];
    let mut server = Serving::start(folder.path(), &[&tls[..], &more].concat());
    let health = |authority: &Authority| {
        let ca = files.write("ca.pem", &authority.pem());
        run(&["health", "--addr", &server.grpc, "--ca", &ca]).code
    };

    let mut config = Config::default();
    config.tls = ClientTls::new().ca_pem(first.pem());
    let channel = Channel::with_config(&server.grpc, config).expect("an address");
    let call = StreamServiceClient::new(channel).sum_data().start().await;
    let (mut tx, mut rx) = call.expect("taken").split();
    rx.message()
        .await
        .expect("begun")
        .expect("the first counter");

    files.pair("server", &second.vouch("127.0.0.1"));
    // The files are looked at now and then.
    let started = Instant::now();
    while health(&second) != Some(0) {
        assert!(started.elapsed() < LONG);
    }
    assert_eq!(
        health(&first),
        Some(64 + i32::from(Code::Unavailable.number()))
    );

    let mut told = |why: &str| {
        find(&mut server.stderr, |line| {
            let told = line.contains(&format!("{key}: {why}"))
                && line.contains("cannot be used; the old ones still are");
            told.then_some(())
        });
    };
    files.write("server.key", "no key");
    told("there is no private key in it");
    assert_eq!(health(&second), Some(0));
    // Opened, a pipe waits for a writer.
    fs::remove_file(&key).expect("there");
    let made = Command::new("mkfifo").arg(&key).status();
    assert!(made.expect("there is mkfifo").success());
    told("no regular file");
    assert_eq!(health(&second), Some(0));

    let number = StreamSumData {
        number: 7,
        ..StreamSumData::default()
    };
    tx.send(&number).await.expect("goes on");
    let answer = rx.message().await.expect("goes on").expect("an answer");
    assert_eq!(answer.total, 7);
    tx.finish();
    assert_eq!(rx.message().await.expect("ends well"), None);
    server.stop();
}
