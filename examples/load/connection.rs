//! One keep-alive connection, by hand, so that the load costs little beside what it measures.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Failed;

/// Longer than any wait a scenario asks for.
const TIMEOUT: Duration = Duration::from_secs(90);

pub struct Connection {
    reader: BufReader<TcpStream>,
    host: SocketAddr,
}

pub struct Reply {
    pub status: u16,
    pub location: Option<String>,
    pub body: Vec<u8>,
}

impl Connection {
    pub fn open(host: SocketAddr) -> Result<Connection, Failed> {
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Connection { reader: BufReader::new(stream), host })
    }

    /// A connection over which one exchange has been made, so that a thread of the server has it:
    /// what is measured later is work, not how a burst of new connections is taken in.
    pub fn in_use(host: SocketAddr) -> Result<Connection, Failed> {
        let mut connection = Connection::open(host)?;
        connection.get("/livez")?;
        Ok(connection)
    }

    /// `POST`s a form with a file and a callback.
    pub fn send(&mut self, path: &str, file: &[u8], callback: &str) -> Result<Reply, Failed> {
        const BOUNDARY: &str = "5f1d7e9ab3c4";
        let before = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"callback\"\r\n\r\n{callback}\r\n\
             --{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\r\n"
        );
        let after = format!("\r\n--{BOUNDARY}--\r\n");
        let length = before.len() + file.len() + after.len();
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\n\
             Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n{before}",
            self.host
        )
        .into_bytes();
        request.extend_from_slice(file);
        request.extend_from_slice(after.as_bytes());
        self.exchange(&request)
    }

    /// `POST`s bytes as they are.
    pub fn post(&mut self, path: &str, body: &[u8]) -> Result<Reply, Failed> {
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n",
            self.host,
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.exchange(&request)
    }

    pub fn get(&mut self, path: &str) -> Result<Reply, Failed> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        self.exchange(request.as_bytes())
    }

    fn exchange(&mut self, request: &[u8]) -> Result<Reply, Failed> {
        self.reader.get_mut().write_all(request)?;
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| format!("not HTTP: {status_line:?}"))?;
        let (mut length, mut location, mut close) = (0, None, false);
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse()?,
                "location" => location = Some(value.to_owned()),
                "connection" => close = value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body)?;
        if close {
            *self = Connection::open(self.host)?;
        }
        Ok(Reply { status, location, body })
    }

    fn line(&mut self) -> Result<String, Failed> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err("the server closed the connection".into());
        }
        Ok(line.trim_end().to_owned())
    }
}
