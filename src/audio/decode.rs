//! From bytes to the samples of one sound track, at its own rate.

use std::io::{self, Read, Seek};
use std::sync::LazyLock;

use symphonia::core::audio::{Channels, GenericAudioBufferRef};
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia::core::errors::Error as MediaError;
use symphonia::core::formats::{FormatReader, Track, TrackFlags, TrackType};
use symphonia::core::packet::Packet;

use super::aac::AacDecoder;
use super::format::surviving;
use super::opus::OpusDecoder;
use super::source::{ASIDE_MAX, Source};
use super::{Error, format, fragments};

/// Samples larger than this are taken for noise of a broken file. Files in float may go over 1,
/// and some hold 16-bit values unscaled.
const LOUDEST: f32 = 32_768.0;

/// Packets in a row without a sample of the track: more than an hour of film before its sound begins. A
/// count of empty ones is not interrupted by anything else.
const FRUITLESS_MAX: u32 = 250_000;

/// The most channels. A header of some bytes can name 65,535, for each of which a decoder makes buffers.
const CHANNELS_MAX: usize = 64;
/// The most samples in a packet, of all channels together: 8 MiB of them decoded.
const PACKET_MAX: u64 = 2 * 1024 * 1024;

static CODECS: LazyLock<CodecRegistry> = LazyLock::new(|| {
    let mut codecs = CodecRegistry::new();
    symphonia::default::register_enabled_codecs(&mut codecs);
    codecs.register_audio_decoder::<AacDecoder>();
    codecs.register_audio_decoder::<OpusDecoder>();
    codecs
});

/// Decodes one sound track, packet by packet.
pub(super) struct Decoder {
    format: Box<dyn FormatReader>,
    track: u32,
    codec: Box<dyn AudioDecoder>,
    rate: u32,
    interleaved: Vec<f32>,
    mono: Vec<f32>,
    heard: u64,
    /// Packets that could not be decoded, and what was wrong with the last one.
    lost: u64,
    complaint: Option<String>,
    source: Source,
}

/// What one packet held.
pub(super) struct Samples<'a> {
    pub(super) rate: u32,
    pub(super) mono: &'a [f32],
}

impl Decoder {
    pub(super) fn open(source: impl Read + Seek + Send + Sync + 'static) -> Result<Decoder, Error> {
        let source = Source::new(source).map_err(Error::Read)?;
        fragments::check(&source)?;
        if source.bytes() == 0 {
            return Err(Error::Empty);
        }
        let format = format::open(source.view(0..source.bytes()))?;
        let (track, codec, rate) = pick_track(format.as_ref())?;
        Ok(Decoder {
            format,
            track,
            codec,
            rate,
            interleaved: Vec::new(),
            mono: Vec::new(),
            heard: 0,
            lost: 0,
            complaint: None,
            source,
        })
    }

    /// The rate that the file declares; what is decoded may be of another one.
    pub(super) fn rate(&self) -> u32 {
        self.rate
    }

    pub(super) fn fraction_read(&self) -> f32 {
        self.source.fraction_read()
    }

    /// The samples of the next packet that has some. Packets that are broken are left out.
    pub(super) fn next_samples(&mut self) -> Result<Option<Samples<'_>>, Error> {
        for _ in 0..FRUITLESS_MAX {
            self.source.allow(ASIDE_MAX);
            let packet = match surviving(|| self.format.next_packet()) {
                Ok(Ok(Some(packet))) => packet,
                Ok(Ok(None)) => return self.end().map(|()| None),
                Ok(Err(MediaError::ResetRequired)) => {
                    self.begin_again()?;
                    continue;
                }
                Ok(Err(error)) => return self.break_off(error).map(|()| None),
                Err(gave_up) => return self.break_off(gave_up.into()).map(|()| None),
            };
            if packet.track_id != self.track {
                continue;
            }
            match surviving(|| self.decode(&packet)) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    self.lost += 1;
                    self.complaint = Some(error.to_string());
                    self.codec.reset();
                    continue;
                }
                Err(gave_up) => return self.break_off(gave_up.into()).map(|()| None),
            }
            if !self.mono.is_empty() {
                self.heard += self.mono.len() as u64;
                return Ok(Some(Samples { rate: self.rate, mono: &self.mono }));
            }
        }
        let what = "it goes on and on without a sample";
        self.complaint = Some(what.to_owned());
        self.break_off(MediaError::DecodeError(what)).map(|()| None)
    }

    /// Decodes a packet into `mono`.
    fn decode(&mut self, packet: &Packet) -> Result<(), MediaError> {
        let decoded = self.codec.decode(packet)?;
        self.rate = decoded.spec().rate();
        mix_down(&decoded, &mut self.interleaved, &mut self.mono);
        Ok(())
    }

    /// The recording goes on as another one, with other tracks.
    fn begin_again(&mut self) -> Result<(), Error> {
        (self.track, self.codec, self.rate) = pick_track(self.format.as_ref())?;
        Ok(())
    }

    /// The container ends here, in the middle of something. That is no error where there was sound
    /// before: a recording that was cut off, or streamed without an end.
    fn break_off(&mut self, error: MediaError) -> Result<(), Error> {
        if let MediaError::IoError(error) = &error
            && error.raw_os_error().is_some()
        {
            return Err(Error::Read(io::Error::new(error.kind(), error.to_string())));
        }
        if self.heard > 0 {
            log::info!("the recording ends early: {error}");
            return self.end();
        }
        Err(Error::Undecodable(self.complaint.take().unwrap_or_else(|| error.to_string())))
    }

    fn end(&mut self) -> Result<(), Error> {
        match &self.complaint {
            Some(complaint) if self.heard == 0 => Err(Error::Undecodable(complaint.clone())),
            None if self.heard == 0 => Err(Error::Empty),
            Some(complaint) => {
                log::info!("{} broken packets are left out: {complaint}", self.lost);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// The default sound track, or the first one that can be decoded.
fn pick_track(format: &dyn FormatReader) -> Result<(u32, Box<dyn AudioDecoder>, u32), Error> {
    let mut tracks: Vec<&Track> = format
        .tracks()
        .iter()
        .filter(|track| track.track_type().is_none_or(|kind| kind == TrackType::Audio))
        .collect();
    tracks.sort_by_key(|track| !track.flags.contains(TrackFlags::DEFAULT));
    let mut complaint = None;
    for track in tracks {
        // A track of unknown type may be a sound track of unknown codec.
        let Some(CodecParameters::Audio(parameters)) = &track.codec_params else {
            complaint.get_or_insert_with(|| "its codec is not known".to_owned());
            continue;
        };
        if let Err(why) = check_size(parameters) {
            complaint = Some(why);
            continue;
        }
        let options = AudioDecoderOptions::default();
        match surviving(|| CODECS.make_audio_decoder(parameters, &options)) {
            Ok(Ok(codec)) => {
                // Where the header is silent the first packet will tell; this is only a start.
                let rate = parameters.sample_rate.unwrap_or(super::SAMPLE_RATE);
                return Ok((track.id, codec, rate));
            }
            Ok(Err(error)) => complaint = Some(error.to_string()),
            Err(gave_up) => complaint = Some(MediaError::from(gave_up).to_string()),
        }
    }
    Err(complaint.map_or(Error::NoAudio, Error::Undecodable))
}

/// Whether the buffers that a decoder makes for such a track are of a size that recordings need.
fn check_size(parameters: &AudioCodecParameters) -> Result<(), String> {
    let channels = parameters.channels.as_ref().map_or(1, Channels::count);
    let frames = parameters.max_frames_per_packet.max(parameters.frames_per_block).unwrap_or(0);
    if channels > CHANNELS_MAX {
        return Err(format!("it has {channels} channels"));
    }
    if frames.saturating_mul(channels as u64) > PACKET_MAX {
        return Err(format!("it has packets of {frames} samples in {channels} channels"));
    }
    Ok(())
}

/// Every channel into one, by their mean.
fn mix_down(decoded: &GenericAudioBufferRef<'_>, interleaved: &mut Vec<f32>, mono: &mut Vec<f32>) {
    decoded.copy_to_vec_interleaved(interleaved);
    mono.clear();
    match decoded.num_planes() {
        0 => {}
        1 => mono.extend(interleaved.iter().copied().map(sane)),
        channels => mono.extend(interleaved.chunks_exact(channels).map(|frame| {
            let sum: f32 = frame.iter().copied().map(sane).sum();
            sum / channels as f32
        })),
    }
}

/// A sample that arithmetic can bear: broken float files hold NaN and infinities.
fn sane(sample: f32) -> f32 {
    if sample.is_finite() { sample.clamp(-LOUDEST, LOUDEST) } else { 0.0 }
}
