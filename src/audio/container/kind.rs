//! The kind of a file, by its first bytes alone.

use memchr::memmem;

use super::blocks::Order;
use super::chunks::Grammar;
use super::mpeg::{self, Framing};
use super::{aiff, au, riff, ts};

/// Recordings of kinds that are not taken.
const MEDIA: [(&[u8], &str); 36] = [
    (b"\x00\x00\x01\xba", "an MPEG program stream"),
    (b"\x00\x00\x01\xb3", "MPEG video without sound"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media (WMA, WMV or ASF)"),
    (b"FLV\x01", "Flash video (FLV)"),
    (b".RMF", "RealMedia"),
    (b".ra\xfd", "RealAudio"),
    (b"#!AMR-WB", "AMR-WB"),
    (b"#!AMR", "AMR"),
    (b"#!SILK", "SILK"),
    (b"\x02#!SILK", "SILK"),
    (b"caff", "Apple's Core Audio Format (CAF)"),
    (b"\x0b\x77", "Dolby AC-3"),
    (b"\x77\x0b", "Dolby AC-3"),
    (b"\x7f\xfe\x80\x01", "DTS"),
    (b"\xfe\x7f\x01\x80", "DTS"),
    (b"\x1f\xff\xe8\x00", "DTS"),
    (b"\xff\x1f\x00\xe8", "DTS"),
    (b"DTSHDHDR", "DTS"),
    (b"MPCK", "Musepack"),
    (b"MP+", "Musepack"),
    (b"wvpk", "WavPack"),
    (b"MAC ", "Monkey's Audio (APE)"),
    (b"TTA1", "True Audio (TTA)"),
    (b"TTA2", "True Audio (TTA)"),
    (b"tBaK", "TAK"),
    (b"OFR ", "OptimFROG"),
    (b"ajkg", "Shorten"),
    (b"DSD ", "DSD"),
    (b"FRM8", "DSD"),
    (b"ADIF", "AAC in ADIF"),
    (b"NIST_1A", "NIST SPHERE"),
    (b"Creative Voice File", "a Creative Voice file (VOC)"),
    (b"MThd", "MIDI"),
    (b"FORM", "an IFF file"),
    (b"OpusHead", "Opus without a container"),
    (b"RIFX", "a RIFF file without sound"),
];

/// Files that hold no recording.
const NO_MEDIA: [(&[u8], &str); 25] = [
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"BM", "a bitmap picture"),
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"{\\rtf", "an RTF document"),
    (b"\xd0\xcf\x11\xe0", "an Office document"),
    (b"PK\x03\x04", "a zip archive or an Office document"),
    (b"PK\x05\x06", "a zip archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"SQLite format 3", "an SQLite database"),
    (b"#EXTM3U", "a playlist"),
    (b"[playlist]", "a playlist"),
    (b"WEBVTT", "subtitles"),
    (b"-----BEGIN", "a certificate or a key"),
];

/// The kinds of files that there is a reader for.
pub(in crate::audio) enum Kind {
    Wave(Grammar),
    Aiff(Grammar),
    Au(Order),
    Flac,
    Ogg,
    Matroska,
    Mp4,
    Transport {
        stride: usize,
    },
    Frames(Framing),
    /// A recording of a kind that is not taken: its name.
    Foreign(&'static str),
    /// No recording: the name of what it is.
    NoMedia(&'static str),
}

/// What a file is, and where it begins in its bytes. `is_whole` tells that the head is the whole file.
pub(in crate::audio) fn find(head: &[u8], is_whole: bool) -> Option<(Kind, usize)> {
    if let Some(kind) = at_start(head) {
        return Some((kind, 0));
    }
    if let Some(framing) = mpeg::first_frame(head, is_whole) {
        return Some((Kind::Frames(framing), 0));
    }
    if let Some(kind) = foreign(head) {
        return Some((kind, 0));
    }
    if let Some((stride, at)) = ts::find(head) {
        return Some((Kind::Transport { stride }, at));
    }
    // Streams that were recorded from their middle, and files with something put before them.
    let magics: [&[u8]; 3] = [b"OggS\0", b"fLaC\0", b"RIFF"];
    for magic in magics {
        if let Some(at) = memmem::find(head, magic)
            && let Some(kind) = at_start(&head[at..])
        {
            return Some((kind, at));
        }
    }
    if let Some((at, framing)) = mpeg::search(head) {
        return Some((Kind::Frames(framing), at));
    }
    is_text(head).then_some((Kind::NoMedia("text"), 0))
}

/// Whether this is a file that is not taken, by a name that sound does not begin with by chance.
pub(in crate::audio) fn is_other(head: &[u8]) -> bool {
    MEDIA.iter().chain(&NO_MEDIA).any(|(magic, _)| magic.len() > 2 && head.starts_with(magic))
}

/// Kinds that tell themselves by their first bytes.
fn at_start(head: &[u8]) -> Option<Kind> {
    const BOXES: [&[u8; 4]; 10] =
        [b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"moof", b"styp", b"sidx"];
    if let Some(grammar) = riff::grammar(head) {
        return Some(Kind::Wave(grammar));
    }
    if let Some(grammar) = aiff::grammar(head) {
        return Some(Kind::Aiff(grammar));
    }
    if let Some(order) = au::order(head) {
        return Some(Kind::Au(order));
    }
    match head.get(..4)? {
        b"fLaC" => Some(Kind::Flac),
        b"OggS" => Some(ogg(head)),
        b"\x1a\x45\xdf\xa3" => Some(Kind::Matroska),
        _ if BOXES.iter().any(|name| head.get(4..8) == Some(&name[..])) => Some(Kind::Mp4),
        _ => None,
    }
}

/// Ogg holds streams that are not taken, too. The first packet of the first stream names it.
fn ogg(head: &[u8]) -> Kind {
    let segments = usize::from(head.get(26).copied().unwrap_or(0));
    let packet = head.get(27 + segments..).unwrap_or_default();
    if packet.starts_with(b"Speex   ") {
        return Kind::Foreign("Speex in Ogg");
    }
    if packet.starts_with(b"PCM     ") {
        return Kind::Foreign("PCM in Ogg");
    }
    Kind::Ogg
}

/// Files that people send and that are not taken.
fn foreign(head: &[u8]) -> Option<Kind> {
    if head.starts_with(b"RIFF") {
        return Some(match head.get(8..12) {
            Some(b"AVI ") => Kind::Foreign("AVI"),
            Some(b"RMID") => Kind::Foreign("MIDI"),
            Some(b"WEBP") => Kind::NoMedia("a WebP picture"),
            _ => Kind::Foreign("a RIFF file that is no WAV"),
        });
    }
    let find = |magics: &[(&[u8], &'static str)]| {
        magics.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, name)| *name)
    };
    if let Some(name) = find(&MEDIA) {
        return Some(Kind::Foreign(name));
    }
    if let Some(name) = find(&NO_MEDIA) {
        return Some(Kind::NoMedia(name));
    }
    // AAC in LOAS: 11 bits of a sync word, and the length of the first frame before the next.
    if let [0x56, second, third, ..] = *head
        && second & 0xe0 == 0xe0
        && let length = 3 + (usize::from(second & 0x1f) << 8 | usize::from(third))
        && head.get(length) == Some(&0x56)
    {
        return Some(Kind::Foreign("AAC in LATM"));
    }
    if head.get(257..262) == Some(b"ustar") {
        return Some(Kind::NoMedia("a tar archive"));
    }
    let text = head.trim_ascii_start();
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii_start();
    let begins =
        |name: &[u8]| text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    if begins(b"<!doctype html") || begins(b"<html") {
        return Some(Kind::NoMedia("a web page (HTML)"));
    }
    begins(b"<?xml").then_some(Kind::NoMedia("an XML document"))
}

/// Whether there is nothing but text in the first bytes.
fn is_text(head: &[u8]) -> bool {
    let head = &head[..head.len().min(1024)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // A character can be cut in two.
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.is_empty() && text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'))
}
