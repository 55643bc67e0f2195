//! A change that is on disk is answered as done, though the look at it afterwards fails: a client that
//! is refused sends again what is stored.

use rusqlite::Connection;

use crate::support::{FORM_TYPE, Part, Reply, Target, TestServer, form, gated};

/// Runs SQL in the store of a running server.
fn in_store(server: &TestServer, sql: &str) {
    let conn = Connection::open(server.folder().join("ringback.db")).expect("the store");
    conn.busy_timeout(crate::support::PATIENCE).expect("a timeout");
    conn.execute_batch(sql).expect(sql);
}

const RUIN_LOOKS: &str = "ALTER TABLE deliveries RENAME COLUMN last_error TO ruined";
const MEND_LOOKS: &str = "ALTER TABLE deliveries RENAME COLUMN ruined TO last_error";
const RUIN_OUTPUTS: &str = "ALTER TABLE outputs RENAME COLUMN kind TO ruined";

/// The address in the reply to a submission that was stored.
fn stored(reply: &Reply, status: u16) -> String {
    assert_eq!(reply.status, status, "{reply:?}");
    if status == 202 {
        assert!(reply.header("retry-after").is_some(), "{reply:?}");
        let id = reply.json()["id"].as_str().expect("an id").to_owned();
        assert_eq!(reply.header("location"), Some(&*format!("/jobs/{id}")));
    }
    reply.header("location").expect("a location").to_owned()
}

fn post(server: &TestServer, field: (&str, &str), body: &[u8]) -> Reply {
    server.with_headers("/jobs", &[("Content-Type", "text/plain"), field], body)
}

#[test]
fn a_job_that_was_stored_was_refused_with_500_when_it_could_not_be_read() {
    let (builder, gate) = gated();
    let server = TestServer::start(builder);
    server.submit(b"it keeps the worker busy");
    gate.next();
    in_store(&server, RUIN_LOOKS);

    let nothing = ("X-Nothing", "");
    let new = stored(&post(&server, nothing, b"new"), 202);
    let coalesced = post(&server, nothing, b"new");
    assert_eq!(coalesced.header("ringback-coalesced"), Some("true"));
    assert_eq!(stored(&coalesced, 202), new);
    let waited = stored(&post(&server, ("Prefer", "wait=5"), b"waited for"), 202);
    let key = ("Idempotency-Key", "\"k\"");
    let keyed = stored(&post(&server, key, b"keyed"), 202);
    let replayed = post(&server, key, b"keyed");
    assert_eq!(replayed.header("idempotent-replayed"), Some("true"));
    assert_eq!(stored(&replayed, 202), keyed);
    let parts = [
        Part::Field("callback", "http://127.0.0.1:9/"),
        Part::File("file", "a", "text/plain", b"a"),
    ];
    let headers = [("Content-Type", FORM_TYPE), ("Idempotency-Key", "\"sent\"")];
    let send = || stored(&server.with_headers("/send", &headers, &form(&parts)), 204);
    let sent = send();
    assert_eq!(send(), sent);
    assert_eq!(server.delete(&new).status, 204);

    in_store(&server, MEND_LOOKS);
    assert_eq!(server.get(&new).json()["state"], "canceled");
    for job in [waited, keyed, sent] {
        assert_eq!(server.get(&job).json()["state"], "queued", "{job}");
    }
}

#[test]
fn a_repeated_request_was_refused_with_500_when_its_output_could_not_be_read() {
    let (builder, gate) = gated();
    let server = TestServer::start(builder);
    let key = ("Idempotency-Key", "\"k\"");
    let first = stored(&post(&server, key, b"keyed"), 202);
    gate.next();
    gate.succeed("done");
    server.finished(&first);
    in_store(&server, RUIN_OUTPUTS);
    assert_eq!(stored(&post(&server, key, b"keyed"), 202), first);
}
