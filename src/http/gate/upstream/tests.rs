//! Servers that stop accepting, one after the other.

use std::io::Read;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crossbeam_channel::unbounded;
use tiny_http::{Listener, Response};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// Ports whose listeners refuse the first `accept`, as many of them as this says: they do not wait.
struct Failing {
    ports: Box<dyn Place>,
    left: AtomicU32,
}

impl Place for Failing {
    fn open(&self) -> io::Result<(Box<dyn Way>, Listener)> {
        let (way, listener) = self.ports.open()?;
        let fails =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if let (Ok(_), Listener::Tcp(listener)) = (fails, &listener) {
            listener.set_nonblocking(true)?;
        }
        Ok((way, listener))
    }
}

fn start(failing: u32) -> Arc<Upstream> {
    let ports = passage::ports().unwrap();
    let place = Failing { ports, left: AtomicU32::new(failing) };
    Arc::new(Upstream::start_in(Box::new(place)).unwrap())
}

/// Takes a request through the newest server, and reads its answer.
fn ask(upstream: &Upstream) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "no request is answered");
        let Ok(mut inner) = upstream.connect() else { continue };
        let head = format!(
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n",
            upstream.secret.line()
        );
        let mut answer = String::new();
        let asked = inner.send(&[head.as_bytes()]);
        let answered = asked.and_then(|()| inner.stream.read_to_string(&mut answer));
        // A server that stops accepting closes what waits without a word.
        if answered.is_ok_and(|bytes| bytes > 0) {
            return answer;
        }
    }
}

#[test]
fn a_server_that_stops_accepting_is_made_anew() {
    for failing in [0, 1, 2, 5] {
        let upstream = start(failing);
        let running = thread::spawn({
            let upstream = Arc::clone(&upstream);
            move || upstream.run(|request| drop(request.respond(Response::from_string("served"))))
        });
        assert!(ask(&upstream).ends_with("served"));
        upstream.close();
        running.join().unwrap();
        assert!(upstream.connect().is_err());
    }
}

#[test]
fn a_stop_does_not_wait_for_a_server_that_cannot_be_made() {
    let upstream = start(u32::MAX);
    let (ended, ends) = unbounded();
    thread::spawn({
        let upstream = Arc::clone(&upstream);
        move || {
            upstream.run(drop);
            ended.send(()).unwrap();
        }
    });
    // A connection may be opened just before its server fails.
    drop(upstream.connect());
    upstream.close();
    ends.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn rests_grow_while_servers_are_made_in_vain() {
    let mut renewal = Renewal::new();
    renewal.begin(Instant::now().checked_sub(YOUNG * 2).unwrap());
    assert_eq!(renewal.rest(), Duration::ZERO, "the first is made at once");
    let rests: Vec<u128> = (0..7)
        .map(|_| {
            renewal.begin(Instant::now());
            renewal.rest().as_millis()
        })
        .collect();
    assert_eq!(rests, [10, 20, 40, 80, 160, 250, 250]);
}
