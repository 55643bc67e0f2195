//! Receivers with certificates of a private authority.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use crate::support::binary::Binary;
use crate::support::{Target, eventually};

/// An authority of the test's own, and a receiver for one POST with a certificate of it.
struct Receiver {
    authority: String,
    addr: SocketAddr,
    served: JoinHandle<bool>,
}

impl Receiver {
    fn start() -> Receiver {
        let mut params = CertificateParams::new(Vec::new()).expect("an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .expect("a configuration");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("an address");
        let served = std::thread::spawn(move || serve(&listener, Arc::new(config)));
        Receiver { authority, addr, served }
    }

    fn url(&self) -> String {
        format!("https://{}/hook", self.addr)
    }
}

/// Answers one POST with 200. False where there was none.
fn serve(listener: &TcpListener, config: Arc<ServerConfig>) -> bool {
    let (stream, _) = listener.accept().expect("a connection");
    let connection = ServerConnection::new(config).expect("a connection");
    let mut reader = BufReader::new(StreamOwned::new(connection, stream));
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        match reader.read_line(&mut line) {
            // The client does not believe the certificate.
            Err(_) | Ok(0) => return false,
            Ok(_) => {}
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().expect("a length");
        }
        if line == "\r\n" {
            break;
        }
    }
    reader.read_exact(&mut vec![0; length]).expect("a body");
    reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_ok()
}

/// The callback of a job that calls the receiver, once it has been tried.
fn tried(server: &Binary, receiver: &Receiver) -> Value {
    let path = format!("/jobs?task=demo&seconds=0&callback={}", receiver.url());
    let reply = server.post(&path, "text/plain", b"anything");
    assert_eq!(reply.status, 202, "{reply:?}");
    let job = reply.header("location").expect("a location").to_owned();
    eventually("a callback", || {
        let callback = server.get(&job).json()["callback"].clone();
        (callback["attempts"] != 0).then_some(callback)
    })
}

fn written(folder: &Path, receiver: &Receiver) -> std::path::PathBuf {
    let path = folder.join("authority.pem");
    fs::write(&path, &receiver.authority).expect("written");
    path
}

const DEMO: [&str; 1] = ["--demo"];

#[test]
fn an_authority_that_the_system_trusts_was_an_unknown_issuer() {
    let (folder, receiver) = (tempfile::tempdir().expect("a folder"), Receiver::start());
    let file = written(folder.path(), &receiver);
    let data = folder.path().join("data");
    let server = Binary::serve_with_variable(("SSL_CERT_FILE", &file), &data, &DEMO);
    let callback = tried(&server, &receiver);
    assert_eq!(callback["state"], "delivered", "{callback}");
    assert!(receiver.served.join().expect("no panic"));
}

#[test]
fn an_authority_is_given_by_a_flag() {
    let (folder, receiver) = (tempfile::tempdir().expect("a folder"), Receiver::start());
    let file = written(folder.path(), &receiver);
    let file = file.to_str().expect("text");
    let data = folder.path().join("data");
    let server = Binary::serve_without_model(&data, &["--demo", "--callback-ca", file]);
    let callback = tried(&server, &receiver);
    assert_eq!(callback["state"], "delivered", "{callback}");
    assert!(receiver.served.join().expect("no panic"));
}

#[test]
fn an_authority_that_nobody_trusts_is_refused() {
    let (folder, receiver) = (tempfile::tempdir().expect("a folder"), Receiver::start());
    let server = Binary::serve_without_model(folder.path(), &DEMO);
    let callback = tried(&server, &receiver);
    assert_eq!(callback["state"], "pending", "{callback}");
    let error = callback["last_error"].as_str().expect("an error");
    assert!(error.contains("--callback-ca"), "{error}");
    assert!(!receiver.served.join().expect("no panic"));
}

#[test]
fn a_bad_file_of_authorities_ends_the_start_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let bad = folder.path().join("bad.pem");
    fs::write(&bad, "rubbish").expect("written");
    for file in [&bad, &folder.path().join("missing.pem")] {
        let output = Command::new(env!("CARGO_BIN_EXE_ringback"))
            .args(["serve", "--demo", "--listen", "127.0.0.1:0", "--callback-ca"])
            .arg(file)
            .arg("--data")
            .arg(folder.path().join("data"))
            .output()
            .expect("a run");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{said}");
        assert!(
            said.contains("--callback-ca") && said.contains(file.to_str().expect("text")),
            "{said}"
        );
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    }
}
