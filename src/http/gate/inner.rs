//! One request's connection to tiny_http.

use std::io::{self, IoSlice};
use std::net::Shutdown;

use super::inbox::{read_onto, retried};
use super::passage::Stream;

/// A connection to tiny_http, for one request.
pub(super) struct Inner {
    pub(super) stream: Box<dyn Stream>,
}

impl Inner {
    pub(super) fn new(stream: Box<dyn Stream>) -> Inner {
        Inner { stream }
    }

    /// Sends the parts one after the other, in as few steps as there can be.
    pub(super) fn send(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut left = &mut slices[..];
        // Parts without bytes do not count.
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match retried(|| self.stream.write_vectored(left))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                sent => IoSlice::advance_slices(&mut left, sent),
            }
        }
        Ok(())
    }

    /// Sends one chunk; `bytes` are not none, which would be the last chunk.
    pub(super) fn send_chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send(&[format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"])
    }

    /// Reads more of the answer onto the end of `answer`, at most `most` bytes. Returns 0 at its
    /// end.
    pub(super) fn receive(&mut self, answer: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        match read_onto(&mut self.stream, answer, most) {
            // tiny_http had not read all of the request when it closed; the answer has come before.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
                ) =>
            {
                Ok(0)
            }
            read => read,
        }
    }

    /// Tells whoever reads the body that no more of it comes.
    pub(super) fn end_body(&mut self) {
        // It may have been closed from the other side, with an answer.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Gives the request up, and waits until nobody works on it any more: what it has taken up is
    /// free then.
    pub(super) fn abandon(mut self) {
        self.end_body();
        // The answer is for nobody; an error is an end, too.
        let _ = io::copy(&mut self.stream, &mut io::sink());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::Inner;
    use crate::http::gate::passage;

    #[test]
    fn parts_go_out_in_their_order() {
        let (way, listener) = passage::ports().unwrap().open().unwrap();
        let tiny_http::Listener::Tcp(listener) = listener else {
            unreachable!("a port is a TCP socket")
        };
        let mut inner = Inner::new(way.connect().unwrap());
        inner.send(&[b"", b"ab", b"", b"c"]).unwrap();
        inner.send_chunk(&[b'x'; 17]).unwrap();
        inner.end_body();
        let mut sent = String::new();
        listener.accept().unwrap().0.read_to_string(&mut sent).unwrap();
        assert_eq!(sent, format!("abc11\r\n{}\r\n", "x".repeat(17)));
    }
}
