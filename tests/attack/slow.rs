//! Clients that take their time: heads that come byte by byte, bodies that stop on the way, readers
//! that never read.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crossbeam_channel::tick;
use socket2::SockRef;

use super::siege::Siege;
use super::{connect, post};
use crate::support::Target;

/// How many of them there are at once.
const SLOW: usize = 500;

#[test]
fn heads_of_one_byte_a_second_keep_nobody_waiting_and_are_ended() {
    let siege = Siege::begin();
    let mut slow: Vec<TcpStream> = (0..SLOW).map(|_| connect(&siege)).collect();
    let began = Instant::now();
    let head = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(60));
    let mut seconds = tick(Duration::from_secs(1)).into_iter();
    for byte in head.as_bytes() {
        slow.retain_mut(|stream| send_byte(stream, *byte));
        siege.assert_served();
        if slow.is_empty() {
            break;
        }
        seconds.next();
    }
    assert!(slow.is_empty(), "{} are still waited for", slow.len());
    assert!(began.elapsed() > Duration::from_secs(9), "who is slow has ten seconds");
    siege.assert_unchanged();
}

/// False where the server has said that it is too late, or is gone.
fn send_byte(stream: &mut TcpStream, byte: u8) -> bool {
    stream.set_nonblocking(true).expect("an option");
    let mut told = [0; 64];
    let late = stream.read(&mut told).is_ok();
    if late {
        assert!(told.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&told));
    }
    !late && stream.write_all(&[byte]).is_ok()
}

#[test]
fn stalled_uploads_keep_nobody_from_uploading() {
    let siege = Siege::begin();
    let jobs = siege.jobs().len();
    // Those that fit are waited for before anybody behind the gate hears of them.
    let stalled = stalled_uploads(&siege, 1000, 4);
    for _ in 0..5 {
        siege.assert_served();
        siege.assert_takes_uploads();
    }
    drop(stalled);
    siege.assert_served();
    assert_eq!(siege.jobs().len(), jobs + 5, "theirs are none");
    siege.assert_unchanged();
}

#[test]
fn long_stalled_uploads_keep_nobody_from_uploading() {
    let siege = Siege::begin();
    let jobs = siege.jobs().len();
    let stalled = stalled_uploads(&siege, 10_000_000, 100_000);
    for _ in 0..5 {
        siege.assert_served();
        siege.assert_takes_uploads();
    }
    drop(stalled);
    siege.assert_served();
    assert_eq!(siege.jobs().len(), jobs + 5, "theirs are none");
    siege.assert_unchanged();
}

/// Uploads that say to be `length` bytes long, and stop after `begun`.
fn stalled_uploads(siege: &Siege, length: usize, begun: usize) -> Vec<TcpStream> {
    let head = post(&format!("Content-Type: audio/wav\r\nContent-Length: {length}"));
    let begun = [head.as_bytes(), &vec![b'R'; begun]].concat();
    let begin = || {
        let mut stream = connect(siege);
        stream.set_nonblocking(true).expect("no waiting");
        // What is not taken is not waited for.
        let _ = stream.write(&begun);
        stream
    };
    siege.during(|| (0..SLOW).map(|_| begin()).collect())
}

#[test]
fn readers_that_never_read_keep_nobody_waiting() {
    let siege = Siege::begin();
    let page = format!("/jobs?limit={}", "1".repeat(4000));
    let requests = format!("GET {page} HTTP/1.1\r\nHost: localhost\r\n\r\n").repeat(200);
    let listen_not = || {
        let mut stream = connect(&siege);
        SockRef::from(&stream).set_recv_buffer_size(2048).expect("a small buffer");
        stream.set_nonblocking(true).expect("no waiting");
        // What does not fit is not sent.
        let _ = stream.write(requests.as_bytes());
        stream
    };
    let deaf: Vec<TcpStream> = siege.during(|| (0..200).map(|_| listen_not()).collect());
    for _ in 0..5 {
        siege.assert_served();
        siege.assert_takes_uploads();
    }
    drop(deaf);
    siege.assert_unchanged();
}
