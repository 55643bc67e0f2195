//! Text that would be more than text: line ends, NUL, escapes, paths, SQL and lines of a log, in
//! every field that is stored, shown, sent or logged.

use std::fs;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::recordings::Wav;
use super::siege::{Siege, patiently};
use super::{connect, told};
use crate::support::sink::{Answer, Call, CallbackSink};
use crate::support::{PATIENCE, Target};

/// What is put into every field.
const TEXTS: [&str; 14] = [
    "\r\nX-Injected: 1",
    "\r\n\r\nHTTP/1.1 200 OK\r\nX-Injected: 1\r\n\r\ninjected",
    "\nX-Injected: 1",
    "\rX-Injected: 1",
    "a\0b",
    "\u{1b}[2J\u{1b}[31m\u{7}\u{8}\u{9b}31m",
    "\n2026-11-24T00:00:00.000Z ERROR injected",
    "\u{85}\u{2028}\u{2029}injected",
    "'; DROP TABLE jobs; --",
    "' OR '1'='1",
    "\" UNION SELECT * FROM jobs --",
    "%' AND state LIKE '%_",
    "{}%s%n${jndi:ldap://127.0.0.1/a}`id`$(id)",
    "../../../../../../etc/passwd",
];

/// The fields that an answer may have. Names of a client's making are none of them.
const FIELDS: [&str; 18] = [
    "Server",
    "Date",
    "Content-Type",
    "Content-Length",
    "Content-Security-Policy",
    "X-Content-Type-Options",
    "Cache-Control",
    "Connection",
    "Location",
    "Retry-After",
    "ETag",
    "Link",
    "Allow",
    "Accept-Encoding",
    "Accept-Post",
    "Idempotent-Replayed",
    "Preference-Applied",
    "Ringback-Coalesced",
];

/// One answer, whose head and body are the server's own from the first byte to the last.
#[track_caller]
fn assert_own_words(what: &str, reply: &str) {
    let (head, body) = reply.split_once("\r\n\r\n").expect("an answer");
    let mut lines = head.split("\r\n");
    let status = lines.next().expect("a status");
    assert!(
        status.starts_with("HTTP/1.1 ") && !status.starts_with("HTTP/1.1 5"),
        "{what}: {reply}"
    );
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{what}: {reply:?}"));
        assert!(FIELDS.contains(&name), "{what}: {reply:?}");
        assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{what}: {reply:?}");
    }
    // One line, of JSON or of plain words.
    let line = body.strip_suffix('\n').unwrap_or(body);
    assert!(!line.contains(|c: char| c.is_ascii_control()), "{what}: {reply:?}");
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A request on a connection of its own, with these fields and this body; the answer as it came.
fn asked(siege: &Siege, line: &str, fields: &str, body: &[u8]) -> String {
    let length = body.len();
    let head = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}Content-Length: {length}\r\n\r\n"
    );
    told(&mut connect(siege), &[head.as_bytes(), body].concat())
}

/// A recording that is transcribed without a model: a 50th of a second.
fn blink() -> Vec<u8> {
    Wav { length: 640, ..Wav::PLAIN }.file(&[0; 640])
}

/// A form with a file of this name and type, and one more field.
fn form(name: &[u8], content_type: &[u8], field: &[u8], value: &[u8]) -> Vec<u8> {
    let disposition = b"--edge\r\nContent-Disposition: form-data; name=\"";
    let file = [disposition, &b"file\"; filename=\""[..], name, b"\"\r\nContent-Type: "].concat();
    let file = [&file[..], content_type, b"\r\n\r\n", &blink(), b"\r\n"].concat();
    let field = [disposition, field, b"\"\r\n\r\n", value, b"\r\n"].concat();
    [&field[..], &file, b"--edge--\r\n"].concat()
}

const FORM: &str = "Content-Type: multipart/form-data; boundary=edge\r\n";

#[test]
fn no_text_is_more_than_text() {
    let siege = Siege::begin_with(&["-vv"]);
    let sink = CallbackSink::start();
    let done = finished_job(&siege);
    let before = siege.get(&done).text().to_owned();
    for text in TEXTS {
        in_addresses(&siege, &done, text);
        in_parameters(&siege, text);
        in_fields_of_a_head(&siege, text);
        in_forms(&siege, text);
        in_callbacks(&siege, &sink, text);
        siege.assert_served();
    }
    keys_are_compared_and_not_matched(&siege);
    everything_that_was_stored_is_shown_as_text(&siege);
    assert_eq!(siege.get(&done).text(), before, "who was there before is there still");
    let said = siege.assert_unchanged().end();
    let log = said.iter().skip_while(|line| !is_own_line(line));
    for line in log {
        assert!(is_own_line(line), "somebody else has written in the log: {line:?}");
    }
    assert!(said.iter().any(|line| line.ends_with(" stopped")), "the log was read to its end");
}

/// Whether the log has written this line, and nobody in its place.
fn is_own_line(line: &str) -> bool {
    const LEVELS: [&str; 5] = ["ERROR ", "WARN  ", "INFO  ", "DEBUG ", "TRACE "];
    let (time, rest) = line.split_once(' ').unwrap_or((line, ""));
    humantime::parse_rfc3339(time).is_ok()
        && !time.starts_with("2026-11-24T00:00:00.000Z")
        && LEVELS.iter().any(|level| rest.starts_with(level) || rest == level.trim_end())
        && !line.contains(char::is_control)
}

/// A job that has ended well.
fn finished_job(siege: &Siege) -> String {
    let reply = siege.post("/jobs?coalesce=false&prompt=before", "audio/wav", &blink());
    let job = reply.header("location").expect("a location").to_owned();
    assert_eq!(siege.finished(&job)["state"], "succeeded");
    job
}

fn in_addresses(siege: &Siege, done: &str, text: &str) {
    let text = encoded(text);
    for line in [
        format!("GET /{text}"),
        format!("GET /jobs/{text}"),
        format!("GET /jobs/{text}/result"),
        format!("GET /jobs/{text}/deliveries"),
        format!("DELETE /jobs/{text}"),
        format!("GET /jobs?state={text}"),
        format!("GET /jobs?after={text}"),
        format!("GET /jobs?limit={text}"),
        format!("GET /jobs?{text}={text}"),
        format!("GET {done}?wait={text}"),
        format!("GET {done}/result?format={text}"),
    ] {
        assert_own_words(&line, &asked(siege, &line, "", b""));
    }
}

fn in_parameters(siege: &Siege, text: &str) {
    let text = encoded(text);
    for query in [
        format!("task={text}"),
        format!("callback={text}"),
        format!("callback=http%3A%2F%2F127.0.0.1%3A9%2F{text}"),
        format!("callback=http%3A%2F%2F{text}%40127.0.0.1%3A9%2F"),
        format!("coalesce={text}"),
        format!("language={text}"),
        format!("temperature={text}"),
        format!("prompt={text}"),
        format!("{text}=x"),
    ] {
        let line = format!("POST /jobs?{query}");
        assert_own_words(&line, &asked(siege, &line, "Content-Type: audio/wav\r\n", &blink()));
    }
}

/// Line ends and NUL are refused in a head; see `heads`. What is left of the text is not.
fn in_fields_of_a_head(siege: &Siege, text: &str) {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    for fields in [
        format!("Content-Type: {text}\r\n"),
        format!("Content-Type: audio/{text}\r\n"),
        format!("Content-Type: multipart/form-data; boundary=\"{text}\"\r\n"),
        format!("Content-Type: audio/wav\r\nIdempotency-Key: {text}\r\n"),
        format!("Content-Type: audio/wav\r\nPrefer: wait={text}, {text}\r\n"),
        format!("Content-Type: audio/wav\r\nIf-None-Match: {text}\r\n"),
        format!("Content-Type: audio/wav\r\nContent-Encoding: {text}\r\n"),
        format!("Content-Type: audio/wav\r\nExpect: {text}\r\n"),
        format!("Content-Type: audio/wav\r\nUser-Agent: {text}\r\nX-Forwarded-For: {text}\r\n"),
    ] {
        assert_own_words(&fields, &asked(siege, "POST /jobs", &fields, &blink()));
    }
}

fn in_forms(siege: &Siege, text: &str) {
    let text = text.as_bytes();
    for (what, body) in [
        ("a file's name", form(text, b"audio/wav", b"prompt", b"x")),
        ("a file's type", form(b"a.wav", text, b"prompt", b"x")),
        ("a field's name", form(b"a.wav", b"audio/wav", text, b"x")),
        ("a parameter", form(b"a.wav", b"audio/wav", b"prompt", text)),
        ("a task", form(b"a.wav", b"audio/wav", b"task", text)),
        ("a callback", form(b"a.wav", b"audio/wav", b"callback", text)),
    ] {
        assert_own_words(what, &asked(siege, "POST /jobs", FORM, &body));
    }
}

fn everything_that_was_stored_is_shown_as_text(siege: &Siege) {
    assert_own_words("the list", &asked(siege, "GET /jobs?limit=100", "", b""));
    for job in siege.jobs() {
        let job = format!("/jobs/{}", job["id"].as_str().expect("an id"));
        for line in [format!("GET {job}?wait=30"), format!("GET {job}/deliveries")] {
            assert_own_words(&line, &asked(siege, &line, "", b""));
        }
    }
}

/// In the address of a callback, and in what its receiver answers.
fn in_callbacks(siege: &Siege, sink: &CallbackSink, text: &str) {
    for target in [format!("/hook?x={}", encoded(text)), format!("/{text}")] {
        let headers = vec![("Retry-After", text.to_owned()), ("X-Told", text.to_owned())];
        sink.answer_next([Answer::Full { status: 410, headers, body: text.into() }]);
        let body = form(b"a.wav", b"audio/wav", b"callback", sink.url_to(&target).as_bytes());
        let reply = asked(siege, "POST /jobs?coalesce=false", FORM, &body);
        assert_own_words(&target, &reply);
        if let Some(job) = reply.split("\r\n").find_map(|line| line.strip_prefix("Location: ")) {
            assert_own_call(&sink.recv_timeout(PATIENCE));
            let ledger = patiently("the call is in the ledger", || {
                let ledger = asked(siege, &format!("GET {job}/deliveries"), "", b"");
                if ledger.contains("\"attempt\":1") { Ok(ledger) } else { Err(ledger) }
            });
            assert_own_words(&target, &ledger);
        }
    }
}

/// A callback whose head and body are the server's own.
#[track_caller]
fn assert_own_call(call: &Call) {
    const FIELDS: [&str; 8] = [
        "host",
        "user-agent",
        "accept",
        "accept-encoding",
        "content-type",
        "content-length",
        "webhook-id",
        "webhook-timestamp",
    ];
    assert_eq!(call.method, "POST", "{call:?}");
    assert!(call.target.bytes().all(|byte| (b'!'..=b'~').contains(&byte)), "{call:?}");
    for (name, value) in &call.headers {
        assert!(FIELDS.contains(&&**name), "{name} in {call:?}");
        assert!(!value.contains(char::is_control), "{call:?}");
    }
    assert!(!call.body.iter().any(u8::is_ascii_control), "{call:?}");
    assert_eq!(call.json()["success"], true);
}

/// What SQL would take for a pattern, or for the end of a string.
fn keys_are_compared_and_not_matched(siege: &Siege) {
    let send = |key: &str| {
        let fields = format!("Content-Type: audio/wav\r\nIdempotency-Key: {key}\r\n");
        asked(siege, "POST /jobs?coalesce=false", &fields, &blink())
    };
    for key in ["key", "%", "_", "___", "k%", "' OR 'k'='k", "key'--", "KEY"] {
        let first = send(key);
        assert!(first.starts_with("HTTP/1.1 202 "), "{key}: {first}");
        assert!(!first.contains("Idempotent-Replayed"), "{key} is nobody else's: {first}");
        assert!(send(key).contains("Idempotent-Replayed: true"), "{key}");
    }
    for query in ["after", "state", "limit"] {
        let line = format!("GET /jobs?{query}={}", encoded("' OR '1'='1"));
        assert!(asked(siege, &line, "", b"").starts_with("HTTP/1.1 422 "), "{query}");
    }
}

#[test]
fn no_path_leads_out_of_the_data_folder() {
    let siege = Siege::begin();
    for path in [
        "../../../../../../etc/passwd",
        "..%2f..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "..%252f..%252fetc%252fpasswd",
        "..%c0%af..%c0%afetc%c0%afpasswd",
        "%c0%ae%c0%ae/%c0%ae%c0%ae/etc/passwd",
        "..\\..\\..\\etc\\passwd",
        "....//....//etc/passwd",
        "/etc/passwd",
        "file:///etc/passwd",
        "%00",
        "..%00/",
        "C:\\Windows\\win.ini",
        "jobs.db",
        "../jobs.db",
    ] {
        for line in [
            format!("GET /{path}"),
            format!("GET {path}"),
            format!("GET /jobs/{path}"),
            format!("GET /jobs/{path}/result"),
            format!("DELETE /jobs/{path}"),
        ] {
            let reply = asked(&siege, &line, "", b"");
            assert_own_words(&line, &reply);
            assert!(reply.starts_with("HTTP/1.1 4"), "{line}: {reply}");
        }
    }
    siege.assert_served();
    files_stay_where_they_are_put(&siege);
    siege.assert_unchanged();
}

fn files_stay_where_they_are_put(siege: &Siege) {
    let absolute = format!("{}/escaped.wav", siege.around().display());
    let names: [&[u8]; 11] = [
        b"../escaped.wav",
        b"../../../../escaped.wav",
        absolute.as_bytes(),
        b"..\\..\\..\\escaped.wav",
        b"C:\\escaped.wav",
        b"\\\\?\\C:\\escaped.wav",
        b"..%2f..%2fescaped.wav",
        b"..\xc0\xaf..\xc0\xafescaped.wav",
        b"....//escaped.wav",
        b"../escaped.wav\0.txt",
        b"\xff\xfe/../escaped.wav",
    ];
    // Long enough to be a file before it is a job's.
    let contents = vec![0; 100_000];
    for name in names {
        for parameter in [&b"filename"[..], b"filename*"] {
            let value =
                if parameter.ends_with(b"*") { [b"UTF-8''", name].concat() } else { name.into() };
            let head = [
                b"--edge\r\nContent-Disposition: form-data; name=\"file\"; ",
                parameter,
                b"=\"",
                &value,
                b"\"\r\n\r\n",
            ];
            let body = [&head.concat(), &contents[..], b"\r\n--edge--\r\n"].concat();
            let what = String::from_utf8_lossy(&value).into_owned();
            let reply = asked(siege, "POST /jobs?coalesce=false", FORM, &body);
            assert_own_words(&what, &reply);
        }
    }
    for job in siege.jobs() {
        siege.finished(&format!("/jobs/{}", job["id"].as_str().expect("an id")));
    }
    let around = fs::read_dir(siege.around()).expect("a folder");
    let names: Vec<_> = around.map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(names, ["data"], "nothing is beside the data folder");
}
