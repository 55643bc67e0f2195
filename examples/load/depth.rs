//! Checks that no request costs more the more jobs wait.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection as Store;
use tempfile::TempDir;

use crate::connection::Connection;
use crate::measure::percentiles;
use crate::scenarios::input;
use crate::server::Started;
use crate::{Failed, Plan};

/// Jobs that wait in the first server.
const SHALLOW: usize = 1_000;
/// Jobs of another server that have ended, have expired, and have a delivery pending.
const HELD: usize = 100_000;
/// Requests of each kind to a server before the next has its turn, and turns.
const REQUESTS: usize = 50;
const TURNS: usize = 20;
/// Long enough that no job ends.
const WORK: Duration = Duration::from_secs(3600);

/// A server with a pile of jobs, and what its replies took.
struct Deep {
    what: String,
    server: Started,
    submits: Vec<Duration>,
    polls: Vec<Duration>,
    lists: Vec<Duration>,
    _folder: TempDir,
}

/// Submits, polls and lists in turns on servers of which each has another number of jobs.
pub fn depth(plan: &Plan) -> Result<(), Failed> {
    let most = plan.jobs.unwrap_or(500_000);
    let mut servers = Vec::new();
    for (queued, held) in [(SHALLOW, 0), (most / 5, 0), (most, 0), (SHALLOW, HELD)] {
        servers.push(Deep::start(queued, held)?);
    }
    for turn in 0..TURNS {
        for server in &mut servers {
            server.take_turn(turn, plan.bytes)?;
        }
    }
    for server in servers {
        let Deep { what, server, submits, polls, lists, .. } = server;
        println!("{what}, {}", crate::measure::memory(server.pid()));
        println!("  POST /jobs       {}", percentiles(submits));
        println!("  GET /jobs/ID     {}", percentiles(polls));
        println!("  GET /jobs        {}", percentiles(lists));
    }
    Ok(())
}

impl Deep {
    fn start(queued: usize, held: usize) -> Result<Deep, Failed> {
        let folder = tempfile::tempdir()?;
        let first = Started::start(folder.path(), WORK)?;
        let mut connection = Connection::open(first.addr)?;
        // Once the workers have one each, the next one waits.
        for number in 0..64 {
            connection.post("/jobs", &input(64, number))?;
        }
        drop(connection);
        first.kill()?;
        pile_up(&folder.path().join("ringback.db"), queued, held)?;
        let began = Instant::now();
        let server = Started::start(folder.path(), WORK)?;
        let what = format!("{queued} queued, {held} held, ready after {:.0?}", began.elapsed());
        let (submits, polls, lists) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Deep { what, server, submits, polls, lists, _folder: folder })
    }

    fn take_turn(&mut self, turn: usize, bytes: usize) -> Result<(), Failed> {
        let mut connection = Connection::in_use(self.server.addr)?;
        for number in 0..REQUESTS {
            let input = input(bytes, 1_000 + turn * REQUESTS + number);
            let began = Instant::now();
            let reply = connection.post("/jobs", &input)?;
            self.submits.push(began.elapsed());
            let job = reply.location.ok_or_else(|| format!("{} to a good job", reply.status))?;
            for (path, times) in [(&*job, &mut self.polls), ("/jobs", &mut self.lists)] {
                let began = Instant::now();
                connection.get(path)?;
                times.push(began.elapsed());
            }
        }
        Ok(())
    }
}

/// Copies a waiting job until there are so many, and makes others of it that have ended.
fn pile_up(store: &Path, queued: usize, held: usize) -> Result<(), Failed> {
    let store = Store::open(store)?;
    let columns: String = store.query_row(
        "SELECT group_concat(name) FROM pragma_table_info('jobs')
         WHERE name NOT IN ('seq', 'id', 'state', 'expires_at', 'held', 'callback_url')",
        [],
        |row| row.get(0),
    )?;
    // Expired an hour ago; the delivery is due in a year.
    store.execute_batch(&format!(
        "PRAGMA synchronous = OFF;
         WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {queued} + {held}),
             one AS (SELECT * FROM jobs WHERE state = 'queued' ORDER BY seq DESC LIMIT 1)
         INSERT INTO jobs (id, state, expires_at, held, callback_url, {columns})
         SELECT printf('00000000-0000-7000-8000-%012x', i), iif(i > {queued}, 'succeeded', 'queued'),
             iif(i > {queued}, unixepoch('now', '-1 hour') * 1000000, NULL), i > {queued},
             iif(i > {queued}, 'http://127.0.0.1:9/', NULL), {columns}
         FROM n, one;
         INSERT INTO deliveries (job, id, url, host, state, due_at)
         SELECT seq, id, callback_url, '127.0.0.1:9', 'pending', unixepoch('now', '+1 year') * 1000000
         FROM jobs WHERE held;"
    ))?;
    Ok(())
}
