//! The pages for people, the client for browsers, and the numbers that the teaching view draws. What
//! a browser makes of them is tested in one; here it is what the server sends.

use ring::digest;
use ringback::{Attempt, Output, Server};
use serde_json::Value;

use crate::support::sink::{Answer, CallbackSink};
use crate::support::{
    PATIENCE, Part, Reply, Target, TestServer, agent, echo, eventually, gated, request,
};

const KEY: &str = "0123456789abcdef";
/// What a browser says that it takes.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

fn page(server: &impl Target, path: &str) -> Reply {
    let reply = request(agent().get(server.url(path)).header("accept", BROWSER).call());
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
    reply
}

fn overview(server: &impl Target) -> Value {
    let reply = server.get("/queue.json");
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

/// What stands between two pieces of a page.
#[track_caller]
fn between<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = page.split_once(from).unwrap_or_else(|| panic!("no {from} in {page}"));
    rest.split_once(to).unwrap_or_else(|| panic!("no {to} after {from}")).0
}

/// The text of the cell with this id.
#[track_caller]
fn cell<'a>(page: &'a str, id: &str) -> &'a str {
    between(page, &format!("<td id=\"{id}\">"), "</td>")
}

fn post(server: &impl Target, n: usize) -> Reply {
    server.post("/jobs?coalesce=false", "text/plain", n.to_string().as_bytes())
}

#[test]
fn browsers_get_a_page_and_other_programs_a_text() {
    let server = TestServer::start(echo());
    let text = server.get("/");
    assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(text.header("vary"), Some("Accept"));
    assert!(text.text().contains("POST"), "{}", text.text());
    let page = page(&server, "/");
    assert_eq!(page.header("vary"), Some("Accept"));
    assert!(page.text().contains("<option>echo</option>"));
}

#[test]
fn a_page_may_run_what_is_in_it_and_nothing_else() {
    let server = TestServer::start(echo());
    for path in ["/", "/queue"] {
        let page = page(&server, path);
        let hash = |content: &str| {
            use base64::Engine as _;
            let digest = digest::digest(&digest::SHA256, content.as_bytes());
            format!("'sha256-{}'", base64::engine::general_purpose::STANDARD.encode(digest))
        };
        let script = hash(between(page.text(), "<script type=\"module\">", "</script>"));
        let style = hash(between(page.text(), "<style>", "</style>"));
        let policy = page.header("content-security-policy").expect("a policy");
        let rules: Vec<&str> = policy.split("; ").collect();
        assert_eq!(
            rules,
            [
                "default-src 'none'",
                &format!("script-src {script}"),
                &format!("style-src {style}"),
                "connect-src 'self'",
                "media-src blob:",
                "img-src data:",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
            ]
        );
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("permissions-policy", "microphone=(self)"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(page.header(name), Some(value), "{path}: {name}");
        }
        // What a policy with hashes does not let through would be dead letters.
        for forbidden in [" style=\"", " onclick=", " onload=", "src=\"http", "javascript:"] {
            assert!(!page.text().contains(forbidden), "{path}: {forbidden}");
        }
        assert!(page.body.len() < 60_000, "{path} has {} bytes", page.body.len());
        let left = ["/*STYLE*/", "/*SCRIPT*/", if path == "/" { "<!--TASKS-->" } else { "<!--" }];
        for place in left {
            assert!(!page.text().contains(place), "{path}: {place} is not filled");
        }
    }
}

#[test]
fn the_browser_client_is_served_with_its_types() {
    let server = TestServer::start(echo());
    let client = server.get("/ringback.js");
    assert_eq!(client.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(client.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(client.text(), include_str!("../src/http/page/ringback.js"));
    let types = server.get("/ringback.d.ts");
    assert_eq!(types.text(), include_str!("../src/http/page/ringback.d.ts"));
    for path in ["/queue", "/queue.json", "/ringback.js", "/ringback.d.ts"] {
        let reply = server.delete(path);
        assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD")), "{path}");
    }
}

#[test]
fn the_numbers_follow_a_queue_from_idle_to_full_and_back() {
    let (builder, gate) = gated();
    let server = TestServer::start(builder.max_queued(2));
    let idle = overview(&server);
    assert_eq!(idle["phase"], "ready");
    assert_eq!(idle["queue"], serde_json::json!({ "queued": 0, "running": 0, "bound": 2 }));
    assert_eq!(idle["tasks"], serde_json::json!(["gate"]));
    assert_eq!(idle["rates"]["window_s"], 10);
    assert_eq!(idle["totals"]["accepted"], 0);
    let waits = eventually("the worker is at its post", || {
        overview(&server)["workers"].as_array().expect("workers").first().cloned()
    });
    assert_eq!((&waits["name"], &waits["state"]), (&"worker-1".into(), &"idle".into()));
    assert!(waits.get("job").is_none() && waits["since"].is_string(), "{waits}");

    assert_eq!(post(&server, 0).status, 202);
    let (job, _) = gate.next();
    let statuses: Vec<u16> = (1..=5).map(|n| post(&server, n).status).collect();
    assert_eq!(statuses, [202, 202, 503, 503, 503]);
    let full = overview(&server);
    assert_eq!(full["queue"], serde_json::json!({ "queued": 2, "running": 1, "bound": 2 }));
    let works = &full["workers"][0];
    assert_eq!(works["state"], "working");
    assert_eq!(works["job"], job.to_string());
    assert_eq!((&works["task"], &works["attempt"]), (&"gate".into(), &1.into()));
    assert_eq!(works["progress"], 0.0);
    assert_eq!(full["totals"]["accepted"], 3);
    assert_eq!(full["totals"]["refused"], 3);
    let refused = full["rates"]["refused"].as_f64().expect("a rate");
    assert!((0.1..=0.3).contains(&refused), "{refused} a second");

    let page = page(&server, "/queue").text().to_owned();
    assert_eq!(
        [cell(&page, "queued"), cell(&page, "bound"), cell(&page, "running")],
        ["2", "2", "1"]
    );
    assert_eq!([cell(&page, "accepted-total"), cell(&page, "refused-total")], ["3", "3"]);
    for caption in ["Queue", "Workers", "Deliveries"] {
        assert!(page.contains(&format!("<caption>{caption}</caption>")), "{caption}");
    }
    let rows = between(&page, "<tbody id=\"workers\">", "</tbody>");
    assert!(rows.contains("<th scope=\"row\">worker-1</th><td>working</td>"), "{rows}");
    assert!(rows.contains(&format!("<td>{job}</td><td class=\"name\">gate</td>")), "{rows}");

    for _ in 0..3 {
        gate.succeed("done");
    }
    let drained = eventually("the queue drains", || {
        let now = overview(&server);
        (now["totals"]["finished"] == 3 && now["workers"][0]["state"] == "idle").then_some(now)
    });
    assert_eq!(drained["queue"]["running"], 0);
}

#[test]
fn what_is_wrong_with_a_request_is_no_refusal_for_now() {
    let server = TestServer::start(echo());
    assert_eq!(server.post("/jobs?task=none", "text/plain", b"x").status, 422);
    assert_eq!(server.get("/jobs/none").status, 404);
    assert_eq!(overview(&server)["totals"]["refused"], 0);
}

#[test]
fn who_waits_is_counted() {
    let (builder, gate) = gated();
    let server = TestServer::start(builder);
    let job = server.submit(b"x");
    gate.next();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| server.get(&format!("{job}?wait=30")));
        eventually("one waits", || (overview(&server)["waiting"] == 1).then_some(()));
        gate.succeed("done");
        assert_eq!(waits.join().expect("an answer").json()["data"], "done");
    });
    eventually("nobody waits", || (overview(&server)["waiting"] == 0).then_some(()));
}

#[test]
fn a_delivery_is_seen_until_it_has_arrived() {
    let sink = CallbackSink::start();
    sink.answer_next([Answer::Status(500)]);
    let builder = echo().callback_waits([std::time::Duration::from_secs(3600)]);
    let server = TestServer::start(builder);
    let send = |sink: &CallbackSink| {
        let file = Part::File("file", "a.txt", "text/plain", b"hello");
        let reply = server.post_form("/send", &[file, Part::Field("callback", &sink.url())]);
        assert_eq!(reply.status, 204, "{reply:?}");
    };
    send(&sink);
    let failed = eventually("it is tried again later", || {
        let now = overview(&server);
        now["deliveries"].get("next_attempt_at").is_some().then_some(now)
    });
    assert_eq!(failed["deliveries"]["pending"], 1);
    let page = page(&server, "/queue").text().to_owned();
    assert_eq!(cell(&page, "pending"), "1");
    assert!(cell(&page, "next-retry").starts_with("in "), "{}", cell(&page, "next-retry"));
    assert_eq!(failed["totals"]["delivered"], 0);

    // The receiver is left alone for a while after it has failed; another one gets its own at once.
    let other = CallbackSink::start();
    send(&other);
    other.recv_timeout(PATIENCE);
    let delivered = eventually("it is counted", || {
        let now = overview(&server);
        (now["totals"]["delivered"] == 1).then_some(now)
    });
    assert_eq!(delivered["deliveries"]["pending"], 1);
    assert_eq!(delivered["deliveries"]["next_attempt_at"], failed["deliveries"]["next_attempt_at"]);
}

#[test]
fn names_that_are_markup_are_shown_as_text() {
    const NAME: &str = "</option><script>alert('1')</script><!--WORKERS-->\"&";
    let (begins, begun) = crossbeam_channel::bounded(1);
    let (end, ends) = crossbeam_channel::bounded::<()>(1);
    let task = move |_: &Attempt| {
        begins.send(()).expect("the test listens");
        ends.recv().expect("a word");
        Ok(Output::text("done"))
    };
    let server = TestServer::start(Server::builder().workers(1).task(NAME, task));
    let file = Part::File("file", "<img src=x onerror=alert(1)>.txt", "text/plain", b"x");
    assert_eq!(server.post_form("/jobs", &[file]).status, 202);
    begun.recv_timeout(PATIENCE).expect("it begins");
    let shown = "&lt;/option&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&lt;!--WORKERS--&gt;&quot;&amp;";
    for path in ["/", "/queue"] {
        let page = page(&server, path);
        assert!(page.text().contains(shown), "{path}");
        assert!(!page.text().contains("<script>alert"), "{path}");
        assert!(!page.text().contains("onerror=alert"), "{path}");
    }
    end.send(()).expect("it waits");
}

#[test]
fn where_keys_are_asked_for_a_page_tells_nothing_of_the_jobs() {
    let (builder, gate) = gated();
    let server = TestServer::start(builder.api_key(KEY.parse().expect("a key")));
    let authorization = format!("Bearer {KEY}");
    let headers = [("authorization", authorization.as_str()), ("content-type", "text/plain")];
    assert_eq!(server.with_headers("/jobs", &headers, b"x").status, 202);
    let (job, _) = gate.next();
    assert_eq!(server.get("/queue.json").status, 401);
    let get = agent().get(server.url("/queue.json")).header("authorization", &authorization);
    assert_eq!(request(get.call()).json()["queue"]["running"], 1);
    for path in ["/ringback.js", "/ringback.d.ts"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    page(&server, "/");
    let page = page(&server, "/queue").text().to_owned();
    assert_eq!([cell(&page, "queued"), cell(&page, "accepted-total")], ["–", "–"]);
    assert!(page.contains("This server asks for a key") && !page.contains(&job.to_string()));
    gate.succeed("done");
}

#[test]
fn bursts_are_offered_where_there_is_a_task_for_them() {
    let quiet = TestServer::start(echo());
    assert!(!page(&quiet, "/queue").text().contains("Send a burst"));
    let task = |_: &Attempt| Ok(Output::text("done"));
    let demo = TestServer::start(Server::builder().task("demo", task));
    assert!(
        page(&demo, "/queue").text().contains("<button id=\"burst-send\">Send a burst</button>")
    );
}

#[cfg(all(feature = "cli", feature = "whisper"))]
#[test]
fn a_server_for_show_needs_no_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let server = crate::support::binary::Binary::serve_without_model(&data, &["--demo"]);
    eventually("it is ready", || (server.get("/readyz").status == 200).then_some(()));
    assert_eq!(overview(&server)["tasks"], serde_json::json!(["demo"]));
    let too_long = server.post("/jobs?seconds=61", "text/plain", b"x");
    assert_eq!((too_long.status, too_long.code().as_str()), (422, "bad_parameter"));
    let quick = server.post("/jobs?seconds=0.01", "image/png", b"anything");
    let done = server.finished(quick.header("location").expect("a location"));
    assert_eq!((&done["data"], &done["progress"]), (&"worked for 10ms".into(), &1.0.into()));

    let long = server.post("/jobs?seconds=60", "text/plain", b"x");
    let job = long.header("location").expect("a location").to_owned();
    eventually("it is at work", || (server.get(&job).json()["state"] == "running").then_some(()));
    let canceled = std::time::Instant::now();
    assert_eq!(server.delete(&job).status, 200);
    eventually("its worker is idle", || {
        let now = overview(&server);
        let workers = now["workers"].as_array().expect("workers");
        workers.iter().all(|worker| worker["state"] == "idle").then_some(())
    });
    assert!(canceled.elapsed() < std::time::Duration::from_secs(20), "it was not woken");
}
