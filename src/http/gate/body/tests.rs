use proptest::prelude::*;

use super::*;

/// The body, and what is left behind it.
type Taken = (Vec<u8>, Vec<u8>);

/// What comes of a body that arrives in these pieces: its bytes and what is left behind it, or the
/// status of its refusal; `None` where more is needed.
fn read(framing: Framing, max: u64, pieces: &[&[u8]]) -> Result<Option<Taken>, u16> {
    let status = |problem: Problem| problem.reply().status();
    let mut body = Body::new(framing, max).map_err(status)?;
    let mut inbox = Inbox::new();
    let mut pieces = pieces.iter();
    let mut taken = Vec::new();
    loop {
        match body.piece(&mut inbox).map_err(status)? {
            Piece::Bytes(bytes) => {
                taken.extend_from_slice(&inbox.unread()[..bytes]);
                inbox.consume(bytes);
            }
            Piece::End => {
                assert!(body.is_whole());
                pieces.for_each(|piece| inbox.feed(piece));
                return Ok(Some((taken, inbox.unread().to_vec())));
            }
            Piece::Missing => match pieces.next() {
                Some(piece) => inbox.feed(piece),
                None => return Ok(None),
            },
        }
    }
}

fn chunked(body: &[u8]) -> Result<Option<Taken>, u16> {
    read(Framing::Chunked, 1000, &[body])
}

#[test]
fn a_body_with_a_length_ends_there() {
    let rest = Some((b"abc".to_vec(), b"GET".to_vec()));
    assert_eq!(read(Framing::Length(3), 3, &[b"a", b"bcGET"]), Ok(rest));
    assert_eq!(read(Framing::Length(3), 3, &[b"ab"]), Ok(None));
    assert_eq!(read(Framing::Length(0), 3, &[b"x"]), Ok(Some((vec![], b"x".to_vec()))));
    assert_eq!(read(Framing::None, 3, &[]), Ok(Some((vec![], vec![]))));
    assert_eq!(read(Framing::Length(4), 3, &[]), Err(413));
}

#[test]
fn chunks_are_put_together() {
    let whole = |bytes: &[u8]| Ok(Some((bytes.to_vec(), b"X".to_vec())));
    assert_eq!(chunked(b"0\r\n\r\nX"), whole(b""));
    assert_eq!(
        chunked(b"3\r\nabc\r\n0A ; q=\"1\"\r\n0123456789\r\n000\r\n\r\nX"),
        whole(b"abc0123456789")
    );
    assert_eq!(chunked(b"1\r\na\r\n0\r\nX-Sum: 1\r\nB: 2\r\n\r\nX"), whole(b"a"));
    for cut in
        ["", "3", "3\r", "3\r\n", "3\r\nab", "3\r\nabc", "3\r\nabc\r", "3\r\nabc\r\n", "0\r\n"]
    {
        assert_eq!(chunked(cut.as_bytes()), Ok(None), "{cut:?}");
    }
}

#[test]
fn chunks_that_are_none_are_refused() {
    for bad in [
        "\r\n",
        "g\r\n",
        "-1\r\n",
        "+1\r\n",
        "0x1\r\n",
        "1 1\r\n",
        "1\n",
        " 1\r\n",
        "1\r\nab",
        "3\r\nabcd\r\n",
        "1\r\na\n",
        "1;\u{0}\r\n",
        "1;\r;\r\n",
        "11111111111111111\r\n",
        "0\r\na\nb\r\n",
    ] {
        assert_eq!(chunked(bad.as_bytes()), Err(400), "{bad:?}");
    }
    assert_eq!(chunked(&[b'1'; 300]), Err(400));
    assert_eq!(chunked(format!("1;{}\r\n", "x".repeat(300)).as_bytes()), Err(400));
    assert_eq!(chunked(format!("0\r\n{}", "a: b\r\n".repeat(1000)).as_bytes()), Err(400));
}

#[test]
fn chunks_are_no_way_around_the_bound() {
    assert_eq!(chunked(b"3e9\r\n"), Err(413));
    assert_eq!(chunked(b"ffffffffffffffff\r\n"), Err(413));
    let many = b"1\r\na\r\n".repeat(1000);
    assert_eq!(
        chunked(&[&many[..], b"0\r\n\r\n"].concat()).map(|b| b.map(|(b, _)| b.len())),
        Ok(Some(1000))
    );
    assert_eq!(chunked(&[&many[..], b"1\r\n"].concat()), Err(413));
}

proptest! {
    #[test]
    fn it_does_not_matter_how_a_body_arrives(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
        cuts in prop::collection::vec(1_usize..30, 1..20),
    ) {
        let mut sent = Vec::new();
        for chunk in &chunks {
            sent.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
            sent.extend_from_slice(chunk);
            sent.extend_from_slice(b"\r\n");
        }
        sent.extend_from_slice(b"0\r\n\r\nnext");
        let mut pieces = Vec::new();
        let mut rest = &sent[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, left) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = left;
        }
        let expected = Some((chunks.concat(), b"next".to_vec()));
        prop_assert_eq!(read(Framing::Chunked, 1000, &pieces), Ok(expected));
    }

    #[test]
    fn garbage_is_refused_or_waited_for(body in "[0-9a-f;\r\n \u{0}]{0,60}") {
        // What comes out does not matter here.
        drop(chunked(body.as_bytes()));
    }
}
