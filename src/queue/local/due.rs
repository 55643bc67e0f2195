//! The look for deliveries that may go now. It steps from lane to lane in indexes, so that neither the
//! deliveries of one host nor the hosts of one sender stand before those of another.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::rows;
use crate::job::{DeliveryId, Timestamp};
use crate::queue::{Due, DueFound, DueQuery, PER_HOST, RECENT};

/// Senders that one look comes to.
const SENDERS: usize = 64;
/// Lanes of one sender that one look takes from each end: those that waited longest, and those that
/// came last. With one end alone, many hosts that wait for a courier hide a new one.
const LANES: usize = 8;
/// Lanes of one trusted host that are looked at.
const LANES_OF_HOST: i64 = 16;

/// The ready lanes of a sender, whose hosts have not failed.
const OLDEST: &str = "SELECT host, sender, failures, ready_at FROM lanes INDEXED BY lanes_by_sender
    WHERE sender = CAST(?1 AS TEXT) AND ailing = 0 AND ready_at BETWEEN ?3 AND ?2 ORDER BY ready_at";
const LATEST: &str = "SELECT host, sender, failures, ready_at FROM lanes INDEXED BY lanes_by_sender
    WHERE sender = CAST(?1 AS TEXT) AND ailing = 0 AND ready_at BETWEEN ?3 AND ?2 ORDER BY ready_at DESC";
/// Those whose hosts have.
const AILING: &str = "SELECT host, sender, failures, ready_at FROM lanes INDEXED BY lanes_by_sender
    WHERE sender = CAST(?1 AS TEXT) AND ailing = 1 AND ready_at BETWEEN ?3 AND ?2 ORDER BY ready_at";

/// A lane that is ready. Its names are text, unless the row is damaged.
struct Lane {
    host: Vec<u8>,
    sender: Vec<u8>,
    failures: u32,
    ready_at: Timestamp,
}

struct Look<'a> {
    conn: &'a Connection,
    now: Timestamp,
    query: &'a DueQuery,
    limit: usize,
    seen: HashSet<DeliveryId>,
    /// Deliveries found to each host.
    to_host: HashMap<String, usize>,
    due: Vec<Due>,
    /// A sender had more lanes than a look takes.
    is_cut: bool,
}

/// Deliveries that may go, as [`crate::queue::Queue::due`] says.
pub(super) fn due(
    conn: &Connection,
    now: Timestamp,
    query: &DueQuery,
    limit: usize,
) -> rusqlite::Result<DueFound> {
    let seen = query.busy.clone();
    let mut look = Look {
        conn,
        now,
        query,
        limit,
        seen,
        to_host: HashMap::new(),
        due: Vec::new(),
        is_cut: false,
    };
    for host in &query.trusted {
        look.trusted_host(host.as_bytes())?;
    }
    let go_on_after = if query.trusted_only { None } else { look.senders()? };
    Ok(DueFound { due: look.due, go_on_after })
}

impl Look<'_> {
    /// Goes from sender to sender, once round at most. Returns where it stopped before that.
    fn senders(&mut self) -> rusqlite::Result<Option<String>> {
        let begin = self.query.after.as_bytes();
        let mut last = begin.to_vec();
        let mut wrapped = false;
        for _ in 0..SENDERS {
            let next = match next_sender(self.conn, Some(&last))? {
                Some(sender) => Some(sender),
                None if wrapped => None,
                None => {
                    wrapped = true;
                    next_sender(self.conn, None)?
                }
            };
            let name = String::from_utf8_lossy(&last).into_owned();
            let Some(sender) = next else { return Ok(self.is_cut.then_some(name)) };
            if wrapped && *sender > *begin {
                return Ok(self.is_cut.then_some(name));
            }
            self.sender(&sender)?;
            last = sender;
            if self.due.len() >= self.limit {
                break;
            }
        }
        Ok(Some(String::from_utf8_lossy(&last).into_owned()))
    }

    fn sender(&mut self, sender: &[u8]) -> rusqlite::Result<()> {
        let name = &*String::from_utf8_lossy(sender);
        let firsts = match self.query.latest_first.contains(name) {
            _ if self.query.no_firsts.contains(name) => [None, None],
            true => [Some(LATEST), Some(OLDEST)],
            false => [Some(OLDEST), Some(LATEST)],
        };
        let recent = self.now.before(RECENT);
        let is_recent_only = self.query.recent_only.contains(name);
        let begin = if is_recent_only { recent } else { Timestamp::from_micros(0) };
        let repeats = (!self.query.no_repeats.contains(name)).then_some(AILING);
        let firsts = firsts.map(|sql| (sql, begin));
        for (sql, begin) in firsts.into_iter().chain([(repeats, Timestamp::from_micros(0))]) {
            let Some(sql) = sql else { continue };
            let mut statement = self.conn.prepare_cached(sql)?;
            let mut rows = statement.query(params![sender, self.now, begin])?;
            let mut taken = 0;
            while taken < LANES
                && let Some(row) = rows.next()?
            {
                taken += usize::from(self.lane(&lane(row)?)?);
            }
            self.is_cut |= taken == LANES;
        }
        Ok(())
    }

    /// The lanes of one host, the senders behind the query's first.
    fn trusted_host(&mut self, host: &[u8]) -> rusqlite::Result<()> {
        for sql in [
            "SELECT host, sender, failures, ready_at FROM lanes
             WHERE host = CAST(?1 AS TEXT) AND sender > ?2 ORDER BY sender LIMIT ?3",
            "SELECT host, sender, failures, ready_at FROM lanes
             WHERE host = CAST(?1 AS TEXT) AND sender <= ?2 ORDER BY sender LIMIT ?3",
        ] {
            let mut statement = self.conn.prepare_cached(sql)?;
            let mut rows = statement.query(params![host, self.query.after, LANES_OF_HOST])?;
            while let Some(row) = rows.next()? {
                let lane = lane(row)?;
                if lane.ready_at <= self.now && self.lane(&lane)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Takes the first deliveries of a lane. False where it has none that may go.
    fn lane(&mut self, lane: &Lane) -> rusqlite::Result<bool> {
        let host = String::from_utf8_lossy(&lane.host);
        let mut to_host = self.to_host.get(&*host).copied().unwrap_or(0);
        if to_host >= PER_HOST || self.query.full_hosts.contains(&*host) {
            return Ok(false);
        }
        let mut statement = self.conn.prepare_cached(
            "SELECT d.id, jobs.id, d.url, d.attempts
             FROM deliveries AS d INDEXED BY deliveries_pending JOIN jobs ON jobs.seq = d.job
             WHERE d.state = 'pending' AND d.host = CAST(?1 AS TEXT)
                 AND d.sender = CAST(?2 AS TEXT) AND d.due_at <= ?3
             ORDER BY d.due_at",
        )?;
        let mut rows = statement.query(params![lane.host, lane.sender, self.now])?;
        let before = self.due.len();
        while to_host < PER_HOST
            && let Some(row) = rows.next()?
        {
            let Some(delivery) = rows::undamaged(rows::delivery(row)).transpose()? else {
                continue;
            };
            if self.seen.insert(delivery.id) {
                to_host += 1;
                self.due.push(Due {
                    delivery,
                    host: host.clone().into_owned(),
                    sender: String::from_utf8_lossy(&lane.sender).into_owned(),
                    failures: lane.failures,
                    is_recent: lane.ready_at >= self.now.before(RECENT),
                });
            }
        }
        self.to_host.insert(host.into_owned(), to_host);
        Ok(self.due.len() > before)
    }
}

fn lane(row: &Row<'_>) -> rusqlite::Result<Lane> {
    Ok(Lane {
        host: row.get_ref(0)?.as_bytes()?.to_vec(),
        sender: row.get_ref(1)?.as_bytes()?.to_vec(),
        failures: row.get(2)?,
        ready_at: row.get(3)?,
    })
}

/// The first sender behind `last` with anything pending: one step in the index.
fn next_sender(conn: &Connection, last: Option<&[u8]>) -> rusqlite::Result<Option<Vec<u8>>> {
    let name = |row: &Row<'_>| Ok(row.get_ref(0)?.as_bytes()?.to_vec());
    match last {
        None => conn
            .prepare_cached("SELECT sender FROM lanes ORDER BY sender LIMIT 1")?
            .query_row([], name),
        Some(last) => conn
            .prepare_cached(
                "SELECT sender FROM lanes WHERE sender > CAST(?1 AS TEXT) ORDER BY sender LIMIT 1",
            )?
            .query_row([last], name),
    }
    .optional()
}

/// When the first lane that is not ready at `now` will be.
pub(super) fn next_delivery(
    conn: &Connection,
    now: Timestamp,
) -> rusqlite::Result<Option<Timestamp>> {
    conn.prepare_cached(
        "SELECT ready_at FROM lanes INDEXED BY lanes_by_time WHERE ready_at > ?1
         ORDER BY ready_at LIMIT 1",
    )?
    .query_row([now], |row| row.get(0))
    .optional()
}
