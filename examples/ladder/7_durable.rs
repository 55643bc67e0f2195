//! Rung 7: the queue is on disk.
//!
//! What hurt: on rung 6 a job lived in memory. A crash, an update, a power cut, and it was gone.
//!
//! What this mends: a job is a row in SQLite, committed and synced *before* the reply, so that `202` is a
//! promise. The channel carries ids, and may be lost: a start fills it with the rows that have no end. What
//! was running runs again: at least once. So the threads need no goodbye, and are not joined any more.
//!
//! What hurts now: no callbacks; a job that kills the process does it at every start; ids can be guessed.
//!
//! `cargo run --example ladder7` keeps its jobs in `ladder7.db`: send some, `kill -9` it, start it again.

#[path = "work.rs"]
mod work;

use std::error::Error;
use std::io::{self, Cursor, Read};
use std::{panic, thread};

use crossbeam_channel::{Sender, bounded};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::json;
use tiny_http::{Header, Method, Request, Response, Server};

/// How many jobs may wait, how many are remembered, and the longest text that is read, in bytes.
const QUEUE: usize = 100;
const KEPT: i64 = 1000;
const MAX_BODY: u64 = 64 * 1024;
/// FULL: a sync for each commit. AUTOINCREMENT: no id is ever used twice.
const SCHEMA: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS jobs (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT, ended TEXT)";

type Failed = Box<dyn Error + Send + Sync>;
type Reply = Result<Response<Cursor<Vec<u8>>>, Failed>;

fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().unwrap_or_else(|| "8080".into());
    let file = arguments.next().unwrap_or_else(|| "ladder7.db".into());
    // Each thread has a connection of its own; SQLite lets one after the other write.
    let open = || Connection::open(&file).and_then(|db| db.execute_batch(SCHEMA).map(|()| db));
    let db = open()?;
    let mut left = db.prepare("SELECT id FROM jobs WHERE ended IS NULL ORDER BY id")?;
    let left = left.query_map([], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    let (queue, jobs) = bounded(QUEUE.max(left.len()));
    left.into_iter().try_for_each(|id| queue.send(id))?;
    for name in ["worker-0", "worker-1"] {
        let (jobs, db) = (jobs.clone(), open()?);
        thread::Builder::new().name(name.into()).spawn(move || {
            for id in jobs {
                run(id, &db).unwrap_or_else(|error| eprintln!("job {id} is left: {error}"));
            }
        })?;
    }
    let server = Server::http(format!("127.0.0.1:{port}"))?;
    println!("listening on http://{}", server.server_addr());
    for mut request in server.incoming_requests() {
        let reply = answer(&mut request, &queue, &db);
        let sent = reply.and_then(|reply| Ok(request.respond(reply)?));
        sent.unwrap_or_else(|error| eprintln!("not answered: {error}"));
    }
    Ok(())
}

fn answer(request: &mut Request, queue: &Sender<i64>, db: &Connection) -> Reply {
    let status = |code: u16| Response::from_string("").with_status_code(code);
    let asked = request.url().strip_prefix("/jobs/").and_then(|id| id.parse::<i64>().ok());
    Ok(match (request.method(), asked) {
        (Method::Get, Some(id)) => {
            let job = "SELECT coalesce(ended, '{\"state\":\"queued\"}') FROM jobs WHERE id = ?1";
            let job = db.query_row(job, [id], |row| row.get::<_, String>(0)).optional()?;
            job.map_or(status(404), Response::from_string)
        }
        // Only this thread sends, so what has room here still has it below.
        (Method::Post, _) if queue.is_full() => status(503),
        (Method::Post, _) => {
            let text = io::read_to_string(request.as_reader().take(MAX_BODY))?;
            db.execute("INSERT INTO jobs (text) VALUES (?1)", [text])?;
            // From here on a kill loses nothing.
            let id = db.last_insert_rowid();
            queue.send(id)?;
            let place = Header::from_bytes("Location", format!("/jobs/{id}"));
            status(202).with_header(place.expect("invariant: ASCII"))
        }
        _ => status(405),
    })
}

fn run(id: i64, db: &Connection) -> rusqlite::Result<()> {
    let text = "SELECT text FROM jobs WHERE id = ?1";
    let text: String = db.query_row(text, [id], |row| row.get(0))?;
    let ended = match panic::catch_unwind(|| work::work(&text)) {
        Ok(data) => json!({ "state": "succeeded", "data": data }),
        Err(_) => json!({ "state": "failed", "error": "the work panicked" }),
    };
    db.execute("UPDATE jobs SET ended = ?2 WHERE id = ?1", params![id, ended.to_string()])?;
    db.execute("DELETE FROM jobs WHERE id <= ?1 AND ended IS NOT NULL", [id - KEPT]).map(drop)
}
