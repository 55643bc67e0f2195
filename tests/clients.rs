//! What clients in the field send: fields that nobody reads, types and names that are not what the standards
//! say, forms with empty inputs, addresses in other spellings.

use serde_json::Value;

use crate::support::{FORM_TYPE, Part, Reply, Target, TestServer, echo, form};

/// A form of these heads of parts, each with its content.
fn raw_form(parts: &[(&[u8], &[u8])]) -> Vec<u8> {
    let boundary = FORM_TYPE.split_once("boundary=").expect("a boundary").1;
    let mut body = Vec::new();
    for (head, content) in parts {
        body.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        body.extend_from_slice(&[*head, b"\r\n\r\n", *content, b"\r\n"].concat());
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body
}

fn send(server: &TestServer, parts: &[(&[u8], &[u8])]) -> Reply {
    server.post("/jobs", FORM_TYPE, &raw_form(parts))
}

const FILE: &[u8] = b"Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"";

#[test]
fn a_file_has_the_name_that_its_client_meant() {
    let server = TestServer::start(echo());
    for (written, right) in [
        (
            &br#"filename="=?utf-8?B?w7xiZXIud2F2?="; filename*=utf-8''%C3%BCber.wav"#[..],
            "über.wav",
        ),
        (br"filename*=iso-8859-1'en'%A3.wav", "£.wav"),
        (br#"filename="=?UTF-8?Q?=C3=BCber.wav?=""#, "über.wav"),
        (br"filename*0*=utf-8''%C3%BC; filename*1=ber.wav", "über.wav"),
        (b"filename=\"caf\xe9.wav\"", "café.wav"),
        (br#"filename="ok.wav"; filename*=utf-8''..%2F..%2Fetc%2Fpasswd"#, "passwd"),
        (br#"filename="ok.wav"; filename*=utf-8''a%0D%0Ab%00.wav"#, "ab.wav"),
    ] {
        let head = [b"Content-Disposition: form-data; name=\"file\"; ", written].concat();
        let reply = send(&server, &[(&head, right.as_bytes())]);
        assert_eq!(reply.status, 202, "{reply:?}");
        let name = reply.json()["input"]["name"].as_str().map(str::to_owned);
        assert_eq!(name.as_deref(), Some(right), "{}", String::from_utf8_lossy(written));
    }
}

#[test]
fn inputs_of_a_form_that_nobody_filled_in_are_as_if_absent() {
    let server = TestServer::start(echo());
    let unused: &[u8] = b"Content-Disposition: form-data; name=\"file\"; filename=\"\"\r\n\
                          Content-Type: application/octet-stream";
    let other: &[u8] = b"Content-Disposition: form-data; name=\"picture\"; filename=\"\"";
    let field =
        |name: &str| format!("Content-Disposition: form-data; name=\"{name}\"").into_bytes();
    let (callback, task, coalesce) = (field("callback"), field("task"), field("coalesce"));
    let reply = send(
        &server,
        &[
            (unused, b""),
            (&callback, b""),
            (&task, b" "),
            (&coalesce, b""),
            (other, b""),
            (FILE, b"x"),
        ],
    );
    assert_eq!(reply.status, 202, "{reply:?}");
    let job = reply.json();
    assert_eq!((&job["callback"], &job["task"]), (&Value::Null, &Value::from("echo")), "{job}");
    assert_eq!(server.post("/jobs?callback=&task=&coalesce=", "text/plain", b"y").status, 202);
    let nothing = send(&server, &[(unused, b""), (&callback, b"")]);
    assert_eq!((nothing.status, nothing.code().as_str()), (422, "missing_file"));
    let no_callback = server
        .post_form("/send", &[Part::Field("callback", ""), Part::File("file", "a", "a/b", b"x")]);
    assert_eq!((no_callback.status, no_callback.code().as_str()), (422, "missing_callback"));
    let nameless = send(&server, &[(unused, b"content")]);
    assert_eq!((nameless.status, nameless.code().as_str()), (422, "missing_file"));
    for query in ["state=&after=&limit=", "_=1732620000"] {
        assert_eq!(server.get(&format!("/jobs?{query}")).status, 200, "{query}");
    }
}

#[test]
fn no_parameter_is_dropped_in_silence() {
    let server = TestServer::start(echo());
    let callback = "http://127.0.0.1:9/";
    let parts = form(&[Part::Field("callback", callback), Part::File("file", "a", "a/b", b"x")]);
    let reply = server.post("/send?language=xx", FORM_TYPE, &parts);
    assert_eq!(reply.status, 204, "{reply:?}");
    let job = server.finished(reply.header("location").expect("a location"));
    assert_eq!(job["parameters"]["language"][0], "xx", "{job}");
    let parts = form(&[Part::File("file", "a", "a/b", b"y")]);
    let reply = server.post(&format!("/send?callback={callback}"), FORM_TYPE, &parts);
    assert_eq!(reply.status, 204, "{reply:?}");
    let job = reply.header("location").expect("a location").to_owned();
    server.finished(&job);
    for unknown in [
        "/jobs?status=failed".to_owned(),
        "/jobs?limit=1&limit=2".to_owned(),
        format!("{job}?timeout=5"),
        format!("{job}/result?fromat=srt"),
        format!("{job}/deliveries?limit=1"),
    ] {
        let reply = server.get(&unknown);
        assert_eq!((reply.status, reply.code().as_str()), (422, "bad_parameter"), "{unknown}");
    }
    assert_eq!(server.delete(&format!("{job}?force=1")).status, 422);
    assert_eq!(server.get(&job).status, 200, "it was not forgotten");
}

#[test]
fn boundaries_of_clients_that_do_not_know_the_standard_are_taken() {
    let server = TestServer::start(echo());
    for boundary in ["*****x*****", "#{boundary}", "a&b|c~d@e!f", &"-".repeat(150)] {
        for quote in ["", "\""] {
            let body = format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; \
                 filename=\"a\"\r\n\r\nx\r\n--{boundary}--\r\n"
            );
            let content_type = format!("multipart/form-data; boundary={quote}{boundary}{quote}");
            let reply = server.post("/jobs", &content_type, body.as_bytes());
            assert_eq!(reply.status, 202, "{boundary}: {reply:?}");
        }
    }
}

#[test]
fn an_id_in_capitals_is_the_jobs() {
    let server = TestServer::start(echo());
    let job = server.submit(b"x");
    server.finished(&job);
    let capitals = format!("/jobs/{}", job["/jobs/".len()..].to_uppercase());
    assert_eq!(server.get(&capitals).json()["id"], job["/jobs/".len()..]);
    assert_eq!(server.get(&format!("{capitals}/result")).text(), "x");
    assert_eq!(server.get(&format!("{capitals}/deliveries")).status, 200);
    assert_eq!(server.get(&format!("/jobs?after={}", &capitals["/jobs/".len()..])).status, 200);
    assert_eq!(server.delete(&capitals).status, 204);
}

#[test]
fn a_part_that_is_encoded_is_refused() {
    let server = TestServer::start(echo());
    for encoding in [
        "Content-Transfer-Encoding: base64",
        "content-transfer-encoding: QUOTED-PRINTABLE",
        "Content-Encoding: gzip",
    ] {
        let head = [FILE, b"\r\n", encoding.as_bytes()].concat();
        let reply = send(&server, &[(&head, b"eA==")]);
        assert_eq!((reply.status, reply.code().as_str()), (415, "unsupported_type"), "{encoding}");
    }
    for plain in ["binary", "8bit", "7BIT"] {
        let head = [FILE, b"\r\nContent-Transfer-Encoding: ", plain.as_bytes()].concat();
        assert_eq!(send(&server, &[(&head, b"x")]).status, 202, "{plain}");
    }
}

#[test]
fn options_are_told_and_whole_addresses_are_read() {
    let server = TestServer::start(echo());
    let ask = |line: &str| {
        server.exchange(
            format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes(),
        )
    };
    for (target, allow) in [
        ("/", "GET, HEAD, OPTIONS"),
        ("/jobs", "GET, HEAD, POST, OPTIONS"),
        ("/send", "POST, OPTIONS"),
        ("*", "GET, HEAD, POST, DELETE, OPTIONS"),
        ("http://localhost/jobs", "GET, HEAD, POST, OPTIONS"),
    ] {
        let reply = ask(&format!("OPTIONS {target}"));
        assert!(reply.starts_with("HTTP/1.1 204 "), "{target}: {reply}");
        assert!(reply.contains(&format!("\r\nAllow: {allow}\r\n")), "{target}: {reply}");
    }
    for target in [
        "http://localhost/livez",
        "HTTP://localhost/livez",
        "hTTp://127.0.0.1:1/livez?x",
        "https://localhost/livez",
    ] {
        let reply = ask(&format!("GET {target}"));
        assert!(reply.starts_with("HTTP/1.1 200 "), "{target}: {reply}");
    }
    assert!(ask("GET HTTP://elsewhere.example/livez").starts_with("HTTP/1.1 403 "), "not ours");
    assert!(ask("GET *").starts_with("HTTP/1.1 404 "), "an asterisk is for OPTIONS");
}

#[cfg(feature = "whisper")]
#[test]
fn a_recordings_type_may_be_wrong() {
    use ringback::Server;
    use ringback::whisper::Transcribe;

    // Types are looked at before a model is needed.
    let transcribe = Transcribe::new("no-such-model.bin", 1);
    let options = std::sync::Arc::new(transcribe).options();
    let builder =
        Server::builder().task_with("transcribe", options, |_| Ok(ringback::Output::text("")));
    let server = TestServer::start(builder);
    for declared in [
        "binary/octet-stream",
        "application/x-ogg",
        "application/force-download",
        "application/x-www-form-urlencoded",
        "application/x-download",
        "text/plain",
        "image/x-wav",
        "wav",
        "x-anything/at-all",
    ] {
        let reply = server.post("/jobs?coalesce=false", declared, b"x");
        assert_eq!(reply.status, 202, "{declared}: {reply:?}");
        let parts = [Part::File("file", "a", declared, b"x")];
        let reply = server.post_form("/jobs?coalesce=false", &parts);
        assert_eq!(reply.status, 202, "{declared}: {reply:?}");
    }
    for wrong in ["text/html; charset=utf-8", "application/json", "multipart/mixed; boundary=a"] {
        let reply = server.post("/jobs", wrong, b"x");
        assert_eq!((reply.status, reply.code().as_str()), (415, "unsupported_type"), "{wrong}");
    }
}
