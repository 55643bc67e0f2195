//! How a callback's URL may be written, and where its password is shown.

use serde_json::json;

use crate::callbacks::send;
use crate::support::sink::{Answer, CallbackSink};
use crate::support::{FORM_TYPE, PATIENCE, Part, Target, TestServer, echo, eventually, form};

#[test]
fn a_callback_with_an_umlaut_was_answered_with_400() {
    let sink = CallbackSink::start();
    let server = TestServer::start(echo());
    let job = send(&server, b"hello", &sink.url_to("/\u{fc}ber hook?q=\u{e4}#part"));
    assert_eq!(sink.recv_timeout(PATIENCE).target, "/%C3%BCber%20hook?q=%C3%A4");
    let url = server.get(&job).json()["callback"]["url"].clone();
    assert_eq!(url, sink.url_to("/%C3%BCber%20hook?q=%C3%A4"));
}

#[test]
fn a_callback_with_two_meanings_was_taken() {
    let server = TestServer::start(echo());
    for (url, names) in [
        ("http://127.0.0.1:9/%zz", "%25"),
        ("http://127.0.0.1:9\\x", "backslash"),
        ("http://\u{fc}ber.example/", "xn--"),
        ("http://u:p@ss@127.0.0.1:9/", "%40"),
    ] {
        let parts =
            [Part::File("file", "note.txt", "text/plain", b"hello"), Part::Field("callback", url)];
        let reply = server.post("/send", FORM_TYPE, &form(&parts));
        assert_eq!(reply.status, 422, "{url}: {reply:?}");
        let problem = reply.json();
        assert_eq!(problem["code"], "bad_callback", "{url}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|text| text.contains(names)), "{problem}");
    }
}

#[test]
fn the_password_of_a_callback_was_shown_to_everybody() {
    let sink = CallbackSink::start();
    sink.answer_always(Answer::Status(410));
    let server = TestServer::start(echo());
    let job = send(&server, b"hello", &sink.url().replace("http://", "http://user%40x:secret@"));
    let call = sink.recv_timeout(PATIENCE);
    assert_eq!(call.header("authorization"), "Basic dXNlckB4OnNlY3JldA==");
    let told = eventually("the callback's state", || {
        let told = server.get(&job).json();
        (told["callback"]["state"] == "dead").then_some(told)
    });
    let shown = sink.url().replace("http://", "http://user%40x:***@");
    assert_eq!(told["callback"]["url"], json!(shown));
    for path in [&*job, "/jobs", &format!("{job}/deliveries"), "/queue.json"] {
        let reply = server.get(path);
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(reply.status == 200 && !text.contains("secret"), "{path}: {text}");
    }
}
