//! More than there is room for: connections, requests, resets.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::SockRef;

use super::recordings::Flac;
use super::siege::{Siege, honest_recording, patiently};
use super::{NEXT, connect, post};
use crate::support::{Target, files_below};

#[test]
fn two_thousand_idle_connections_keep_nobody_waiting() {
    raise_open_files();
    let siege = Siege::begin();
    let mut idle: Vec<TcpStream> = siege.during(|| (0..2000).map(|_| connect(&siege)).collect());
    for _ in 0..10 {
        siege.assert_served();
    }
    siege.assert_takes_uploads();
    // They are there still, and would be served.
    for stream in idle.iter_mut().step_by(100) {
        stream.write_all(NEXT.as_bytes()).expect("it is sent");
        assert_eq!(answer(stream), 200);
    }
    drop(idle);
    siege.assert_unchanged();
}

/// Raises this process's soft limit to the hard one.
fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("more files");
}

/// Reads one short answer; returns its status.
fn answer(stream: &mut TcpStream) -> u16 {
    let mut reply = Vec::new();
    while !reply.ends_with(b"}\n") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).expect("an answer"), 1, "it ends early");
        reply.push(byte[0]);
    }
    let reply = String::from_utf8(reply).expect("UTF-8");
    let status = reply.split(' ').nth(1).expect("a status");
    status.parse().expect("a number")
}

#[test]
fn more_requests_than_anybody_needs_do_no_harm() {
    let siege = Siege::begin();
    a_burst_of_connections_is_served(&siege);
    pipelined_requests_are_answered_one_by_one(&siege);
    connections_reset_at_any_stage_do_no_harm(&siege);
    who_has_hung_up_is_not_waited_with(&siege);
    siege.assert_unchanged();
}

fn a_burst_of_connections_is_served(siege: &Siege) {
    let mut streams: Vec<TcpStream> = (0..64).map(|_| connect(siege)).collect();
    for round in 0..3 {
        for stream in &mut streams {
            stream.write_all(NEXT.as_bytes()).expect("it is sent");
        }
        for (n, stream) in streams.iter_mut().enumerate() {
            assert_eq!(answer(stream), 200, "{n} in round {round}");
        }
        siege.assert_served();
    }
    drop(streams);
}

#[test]
fn a_server_with_few_files_outlives_many_connections() {
    let siege = Siege::begin_with_files(128);
    let mut idle: Vec<TcpStream> = (0..400).map(|_| connect(&siege)).collect();
    // Those who do nothing make room for one who does.
    siege.assert_served();
    for stream in &mut idle {
        // Most were turned away or had to make room.
        let _ = stream.write_all(NEXT.as_bytes());
    }
    siege.assert_served();
    drop(idle);
    siege.assert_served();
    siege.assert_unchanged();
}

fn pipelined_requests_are_answered_one_by_one(siege: &Siege) {
    const MANY: usize = 200_000;
    let mut stream = connect(siege);
    let mut sender = stream.try_clone().expect("a clone");
    let sending = std::thread::spawn(move || {
        let block = NEXT.repeat(100);
        for _ in 0..MANY / 100 {
            sender.write_all(block.as_bytes()).expect("it is sent");
        }
        sender.shutdown(Shutdown::Write).expect("it is ended");
    });
    let answers = siege.during(|| {
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("the answers");
        reply.matches("HTTP/1.1 200 OK\r\n").count()
    });
    sending.join().expect("all was sent");
    assert_eq!(answers, MANY);
}

fn connections_reset_at_any_stage_do_no_harm(siege: &Siege) {
    let recording = honest_recording();
    let upload = post("Content-Type: audio/wav\r\nContent-Length: 200000") + &"x".repeat(150_000);
    let whole = post(&format!("Content-Type: audio/wav\r\nContent-Length: {}", recording.len()));
    let whole = [whole.as_bytes(), &recording].concat();
    let stages = [b"", &b"GE"[..], b"GET / HTTP/1.1\r\nHo", NEXT.as_bytes(), upload.as_bytes()];
    for message in stages.into_iter().chain([&whole[..]]) {
        for part in [message.len() / 2, message.len()] {
            for _ in 0..10 {
                send_and_reset(siege, &message[..part]);
            }
            siege.assert_served();
        }
    }
    let spool = siege.folder().join("spool");
    patiently("nothing is left in the spool of those that were cut off", || {
        let (files, jobs) = (files_below(&spool), siege.jobs().len());
        if files <= jobs { Ok(()) } else { Err((files, jobs)) }
    });
}

/// Sends this, and resets the connection.
fn send_and_reset(siege: &Siege, bytes: &[u8]) {
    let mut stream = connect(siege);
    stream.write_all(bytes).expect("it is sent");
    // Closed with this, a connection is reset.
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("no lingering");
}

/// Reset while the reply waits for the end of a job that is a long way down the queue.
fn who_has_hung_up_is_not_waited_with(siege: &Siege) {
    let recording = Flac::PLAIN.silence(60 * 16_000 / 65_535);
    let queue: Vec<String> = (0..20)
        .map(|_| {
            let reply = siege.post("/jobs?coalesce=false", "audio/flac", &recording);
            reply.header("location").expect("a location").to_owned()
        })
        .collect();
    let last = queue.last().expect("a job");
    let wait = format!("GET {last}?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    // Their ports are taken again at once.
    for _ in 0..300 {
        send_and_reset(siege, wait.as_bytes());
    }
    siege.assert_served();
    siege.wait_until_alone();
    assert_eq!(siege.get(last).json()["state"], "queued", "its turn has not come");
    for job in &queue {
        assert!([200, 204].contains(&siege.delete(job).status), "{job} is called off");
    }
}
