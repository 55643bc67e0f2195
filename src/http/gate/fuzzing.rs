//! A client's connection without its socket: what comes in, in pieces of any size, and what tiny_http
//! would be given of it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use super::body::{Body, Piece};
use super::head::{self, Caller, Head, InnerFraming, Parsed};
use super::inbox::Inbox;
use super::passage::Secret;
use crate::http::admission::{Admitted, Knock};
use crate::http::client_id::ClientId;
use crate::http::problem::Problem;

/// Who the client is.
const CALLER: Caller = Caller { address: IpAddr::V4(Ipv4Addr::LOCALHOST), connection: 7 };

/// One for all exchanges, so that they can be compared.
static SECRET: LazyLock<Secret> = LazyLock::new(|| Secret::new().expect("random numbers"));

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// By its length.
    Length(u64),
    /// By its last chunk.
    Chunked,
}

/// What becomes of what a client sends.
#[derive(Debug, PartialEq, Eq)]
pub enum Exchange {
    /// A request.
    Request {
        /// How its body is framed.
        framing: Framing,
        /// The head for tiny_http, as for a request without a body, with one that follows whole, with
        /// one that follows in chunks, and with one that is asked for.
        heads: [Vec<u8>; 4],
        /// What has come of the body.
        body: Vec<u8>,
        /// Whether that is all of it.
        is_whole: bool,
    },
    /// It is refused with this status, and the connection ends.
    Refused(u16),
    /// More has to come in.
    Waiting,
}

/// Takes what comes in `pieces`, request after request, with bodies of up to `max_body` bytes, until
/// one is refused or not all there.
pub fn converse(pieces: &[&[u8]], max_body: u64) -> Vec<Exchange> {
    let mut line = Line { inbox: Inbox::new(), pieces: pieces.iter() };
    let mut exchanges = Vec::new();
    loop {
        let exchange = match line.exchange(max_body) {
            Ok(exchange) => exchange,
            Err(problem) => Exchange::Refused(problem.reply().status()),
        };
        let goes_on = matches!(exchange, Exchange::Request { is_whole: true, .. });
        exchanges.push(exchange);
        if !goes_on {
            return exchanges;
        }
    }
}

struct Line<'a> {
    inbox: Inbox,
    pieces: std::slice::Iter<'a, &'a [u8]>,
}

/// Lets every request in.
fn everybody(knock: &Knock<'_>) -> Result<Admitted, Problem> {
    Ok(Admitted::As(ClientId::of_address(knock.peer)))
}

impl Line<'_> {
    fn exchange(&mut self, max_body: u64) -> Result<Exchange, Problem> {
        let mut scanned = 0;
        let head = loop {
            match Head::take(&mut self.inbox, &mut scanned, CALLER, everybody)? {
                Some(Parsed::Request(head)) => break head,
                Some(Parsed::Answered(reply)) => return Ok(Exchange::Refused(reply.status())),
                None if self.feed() => {}
                None => return Ok(Exchange::Waiting),
            }
        };
        let mut body = Body::new(head.framing, max_body)?;
        let mut taken = Vec::new();
        loop {
            match body.piece(&mut self.inbox)? {
                Piece::Bytes(bytes) => {
                    taken.extend_from_slice(&self.inbox.unread()[..bytes]);
                    self.inbox.consume(bytes);
                }
                Piece::Missing if self.feed() => {}
                Piece::Missing | Piece::End => break,
            }
        }
        let framings = [
            InnerFraming::None,
            InnerFraming::Whole(taken.len()),
            InnerFraming::Pieces(None),
            InnerFraming::OnDemand(Some(max_body)),
        ];
        Ok(Exchange::Request {
            framing: match head.framing {
                head::Framing::None => Framing::None,
                head::Framing::Length(length) => Framing::Length(length),
                head::Framing::Chunked => Framing::Chunked,
            },
            heads: framings.map(|framing| head.for_inner(framing, &SECRET)),
            body: taken,
            is_whole: body.is_whole(),
        })
    }

    /// Whether there was another piece.
    fn feed(&mut self) -> bool {
        let piece = self.pieces.next();
        piece.into_iter().for_each(|piece| self.inbox.feed(piece));
        piece.is_some()
    }
}
