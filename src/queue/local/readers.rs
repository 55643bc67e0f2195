//! A few connections that only read, so that a poll never waits for the writer.

use std::ops::Deref;
use std::path::Path;

use crossbeam_channel::{Receiver, Sender, bounded};
use rusqlite::Connection;

use super::schema;
use crate::queue::QueueError;

/// Connections in the pool: a look into the store takes some 50 us, so that a few serve many threads.
const READERS: usize = 4;

/// The pool: a channel of connections. Who finds none waits until one comes back.
pub(super) struct Readers {
    idle: Receiver<Connection>,
    back: Sender<Connection>,
}

impl Readers {
    pub(super) fn open(path: &Path) -> Result<Readers, QueueError> {
        let (back, idle) = bounded(READERS);
        for _ in 0..READERS {
            let reader = schema::open_reader(path)?;
            back.send(reader).expect("invariant: the receiver is in this function");
        }
        Ok(Readers { idle, back })
    }

    /// A connection, until the guard is dropped.
    pub(super) fn get(&self) -> Reader<'_> {
        let conn = self.idle.recv().expect("invariant: the pool holds a sender");
        Reader { conn: Some(conn), back: &self.back }
    }
}

/// A connection out of the pool.
pub(super) struct Reader<'p> {
    conn: Option<Connection>,
    back: &'p Sender<Connection>,
}

impl Deref for Reader<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.conn.as_ref().expect("invariant: given back on drop only")
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            self.back.send(conn).expect("invariant: the pool outlives its guards");
        }
    }
}
