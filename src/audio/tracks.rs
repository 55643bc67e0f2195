//! Which of a recording's sound tracks is transcribed: the one that was asked for, or the default one
//! unless it is silent while another is not. A track that speaks and is left out is told.

use std::num::NonZero;

use symphonia::core::codecs::audio::AudioDecoder;
use symphonia::core::formats::{FormatReader, Track, TrackFlags, TrackType};

use super::hearing::{self, Heard};
use super::parts::Part;
use super::source::Source;
use super::{Error, codec, flags, format, quicktime};
use crate::Warning;

/// The most tracks that are listened to at once. Each has a decoder.
const HEARD_MAX: usize = 8;

/// The track to decode, and what there is to say of the others.
pub(super) struct Choice {
    pub(super) format: Box<dyn FormatReader>,
    pub(super) track: Track,
    pub(super) codec: Box<dyn AudioDecoder>,
    pub(super) notes: Vec<Warning>,
}

/// A sound track, with its number among them, from 1 on.
struct Candidate {
    number: usize,
    track: Track,
    is_default: bool,
    codec: Result<Box<dyn AudioDecoder>, String>,
}

impl Candidate {
    fn name(&self) -> String {
        match self.track.language.as_deref() {
            None | Some("" | "und") => self.number.to_string(),
            Some(language) => format!("{} ({language})", self.number),
        }
    }

    fn is_decodable(&self) -> bool {
        self.codec.is_ok()
    }
}

/// Opens a part, and chooses among its tracks.
pub(super) fn choose(
    source: &Source,
    part: &Part,
    wanted: Option<NonZero<u32>>,
) -> Result<Choice, Error> {
    let mut format = format::open(source.view(part.range.clone(), part.missing))?;
    let mut candidates = candidates(source, part, format.as_ref())?;
    if let Some(wanted) = wanted {
        let at = wanted.get() as usize - 1;
        if at >= candidates.len() {
            return Err(Error::NoTrack { wanted, tracks: candidates.len() });
        }
        return chosen(format, candidates.swap_remove(at), Vec::new());
    }
    // The first of those that are default, or else the first.
    let Some(default) = (0..candidates.len()).min_by_key(|at| !candidates[*at].is_default) else {
        return Err(Error::NoAudio);
    };
    let mut speaking = Vec::new();
    let heard = heard(&candidates);
    if heard.len() > 1 {
        // Two demuxers at once would need the memory of two.
        drop(format);
        speaking = hearing::speaking(source, part, heard);
        format = format::open(source.view(part.range.clone(), part.missing))?;
    }
    let speaks = |at: &usize| speaking.contains(&candidates[*at].track.id);
    let others = (0..candidates.len()).filter(|at| *at != default);
    let decodable = |at: &usize| candidates[*at].is_decodable();
    let taken = if candidates[default].is_decodable() && (speaking.is_empty() || speaks(&default)) {
        default
    } else {
        let other = others.clone().find(speaks);
        other
            .or(Some(default).filter(decodable))
            .or(others.clone().find(decodable))
            .unwrap_or(default)
    };
    let mut notes = Vec::new();
    if taken != default {
        let (default, taken) = (&candidates[default], candidates[taken].name());
        let why = match &default.codec {
            Ok(_) => "is silent".to_owned(),
            Err(why) => format!("cannot be decoded ({why})"),
        };
        let default = default.name();
        notes.push(Warning::new(
            "another_track",
            format!(
                "Sound track {default} {why}: track {taken} was taken. The parameter track chooses."
            ),
        ));
    }
    let left: Vec<String> = (0..candidates.len())
        .filter(|at| *at != taken && speaks(at))
        .map(|at| candidates[at].name())
        .collect();
    if !left.is_empty() {
        let (taken, left) = (candidates[taken].name(), left.join(", "));
        notes.push(Warning::new(
            "track_left_out",
            format!("Sound track {taken} was taken; on track {left} there is sound, too. The parameter track chooses."),
        ));
    }
    chosen(format, candidates.swap_remove(taken), notes)
}

fn chosen(
    format: Box<dyn FormatReader>,
    candidate: Candidate,
    notes: Vec<Warning>,
) -> Result<Choice, Error> {
    let codec = candidate.codec.map_err(Error::Undecodable)?;
    Ok(Choice { format, track: candidate.track, codec, notes })
}

fn candidates(
    source: &Source,
    part: &Part,
    format: &dyn FormatReader,
) -> Result<Vec<Candidate>, Error> {
    let defaults = flags::defaults(source, part).map_err(Error::Read)?;
    let is_default = |track: &Track| match &defaults {
        Some(defaults) => defaults.contains(&track.id),
        None => track.flags.contains(TrackFlags::DEFAULT),
    };
    let is_sound = |track: &&Track| track.track_type().is_none_or(|kind| kind == TrackType::Audio);
    let candidate = |(at, track): (usize, &Track)| {
        let mut corrected = track.clone();
        quicktime::correct(source, part, &mut corrected).map_err(Error::Read)?;
        Ok(Candidate {
            number: at + 1,
            is_default: is_default(track),
            codec: codec::decoder(&corrected),
            track: corrected,
        })
    };
    let mut all: Vec<Candidate> = format
        .tracks()
        .iter()
        .filter(is_sound)
        .enumerate()
        .map(candidate)
        .collect::<Result<_, Error>>()?;
    // Tracks of unknown type are sound only where nothing else is: film has subtitles and data, too.
    if all.iter().any(|candidate| candidate.track.track_type().is_some()) {
        all.retain(|candidate| candidate.track.track_type().is_some());
        for (at, candidate) in all.iter_mut().enumerate() {
            candidate.number = at + 1;
        }
    }
    Ok(all)
}

/// The tracks to listen to.
fn heard(candidates: &[Candidate]) -> Vec<Heard> {
    candidates
        .iter()
        .filter(|candidate| candidate.is_decodable())
        .take(HEARD_MAX)
        .filter_map(|candidate| {
            Some(Heard::new(candidate.track.id, codec::decoder(&candidate.track).ok()?))
        })
        .collect()
}
