//! Where connections come in. Whatever goes wrong with one of them, the next one is accepted.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use log::Level;
use rustix::fd::AsFd;

use super::Premises;
use super::connection;
use super::inbox::readable;
use crate::crew::Never;
use crate::http::client_id::ClientId;
use crate::http::problem::{Code, Problem};
use crate::repeated::Repeated;

/// The stack of a connection's thread, in bytes: its buffers are elsewhere.
const STACK: usize = 256 * 1024;
/// How long the loop rests when the system has no file or no thread to give.
const REST: Duration = Duration::from_millis(100);
/// Connections that were turned away last, and are kept a while: one that is closed with something
/// unread is reset, and its client might not read why.
const TURNED_AWAY: usize = 16;

/// The loop that accepts.
pub(super) struct Entrance {
    listener: TcpListener,
    premises: Arc<Premises>,
    /// Each thread has one; the channel closes when all have ended.
    present: Sender<Never>,
    turned_away: VecDeque<TcpStream>,
    /// What a client is told when there is no place for it.
    busy: Vec<u8>,
    trouble: Repeated,
    crowded: Repeated,
}

impl Entrance {
    pub(super) fn new(
        listener: TcpListener,
        premises: Arc<Premises>,
        present: Sender<Never>,
    ) -> io::Result<Entrance> {
        // A client that leaves between the wait and the accept must not hold up the stop.
        listener.set_nonblocking(true)?;
        let detail = "The server has as many connections as it can have. Try again soon.";
        let busy = Problem::new(Code::Busy, detail).retry_after(2).reply().closing_bytes("");
        Ok(Entrance {
            listener,
            premises,
            present,
            turned_away: VecDeque::new(),
            busy,
            trouble: Repeated::new(Level::Warn),
            crowded: Repeated::new(Level::Warn),
        })
    }

    /// Accepts until it is told to stop.
    pub(super) fn run(mut self) {
        const LONG: Duration = Duration::from_secs(24 * 3600);
        loop {
            match readable([self.premises.stop.as_fd(), self.listener.as_fd()], LONG) {
                Ok([true, _]) => return,
                Ok([false, false]) => continue,
                Ok([false, true]) => {}
                Err(error) => self.rest(&format!("connections cannot be waited for: {error}")),
            }
            match self.listener.accept() {
                Ok((client, peer)) => self.receive(client, peer),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock
                    | io::ErrorKind::Interrupted
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::ConnectionReset => {}
                    // Most often there are no files left.
                    _ => {
                        self.premises.roster.give_files_back();
                        self.rest(&format!("a connection could not be accepted: {error}"));
                    }
                },
            }
        }
    }

    /// Gives a client a thread of its own, or sends it away.
    fn receive(&mut self, client: TcpStream, peer: SocketAddr) {
        // Some systems let it inherit this from the listener.
        if let Err(error) = client.set_nonblocking(false) {
            log::debug!("a connection was gone at once: {error}");
            return;
        }
        let guest = match self.premises.roster.admit(client, ClientId::of_address(peer.ip())) {
            Ok(guest) => guest,
            Err(client) => {
                self.crowded.say("there are as many connections as can be, of all clients or of one; more are refused");
                return self.turn_away(client);
            }
        };
        let (premises, present) = (Arc::clone(&self.premises), self.present.clone());
        // The thread gets its client once it is there: a client without a thread is told so.
        let (hand_over, handed_over) = bounded(1);
        let hired =
            thread::Builder::new().name("http-conn".into()).stack_size(STACK).spawn(move || {
                let _present = present;
                // It is off the roster before its thread counts as gone.
                let Ok(guest) = handed_over.recv() else { return };
                connection::serve(&guest, peer.ip(), &premises);
            });
        // The thread is not joined but counted: on the roster, and by what it holds of `present`.
        match hired {
            Ok(_) => hand_over.send(guest).expect("invariant: the thread waits for its client"),
            Err(error) => {
                if let Some(client) = guest.into_client() {
                    self.turn_away(client);
                }
                self.rest(&format!("a connection has no thread: {error}"));
            }
        }
    }

    /// Never waits for the client.
    fn turn_away(&mut self, client: TcpStream) {
        if self.turned_away.len() == TURNED_AWAY {
            self.turned_away.pop_front();
        }
        let told = client
            .set_nonblocking(true)
            .and_then(|()| (&client).write(&self.busy))
            .and_then(|_| client.shutdown(Shutdown::Write));
        match told {
            Ok(()) => self.turned_away.push_back(client),
            Err(error) => log::debug!("a refused client was gone already: {error}"),
        }
    }

    fn rest(&mut self, trouble: &str) {
        self.trouble.say(trouble);
        // Where there is no wait beside the stop, a stop may take as long as the rest.
        if readable([self.premises.stop.as_fd()], REST).is_err() {
            thread::sleep(REST);
        }
    }
}
