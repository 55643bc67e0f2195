//! Sound in blocks of one size, as in WAV, AIFF and AU: a layout, and the byte ranges that hold it.

use std::collections::VecDeque;
use std::io::{self, Seek, SeekFrom};
use std::ops::Range;

use symphonia::core::audio::{Channels, layouts};
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, well_known};
use symphonia::core::errors::{Error as MediaError, Result, SeekErrorKind, seek_error};
use symphonia::core::formats::{
    FormatInfo, FormatReader, MediaInfo, SeekMode, SeekTo, SeekedTo, Track, well_known as formats,
};
use symphonia::core::io::{MediaSourceStream, ReadBytes};
use symphonia::core::meta::{Metadata, MetadataLog};
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};

use crate::audio::source::View;

/// Frames in a packet, unless one block has more.
const PACKET_FRAMES: u64 = 4096;

static INFO: FormatInfo = FormatInfo {
    format: formats::FORMAT_ID_WAVE,
    short_name: "blocks",
    long_name: "uncompressed sound, or blocks of one size",
};

/// How the bytes become samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) codec: AudioCodecId,
    pub(super) rate: u32,
    pub(super) channels: u16,
    /// Bytes of a block: of one frame where the codec is PCM.
    pub(super) block_bytes: u64,
    /// Frames in a block.
    pub(super) block_frames: u64,
}

impl Layout {
    /// Of PCM, whose block is one sample of each channel.
    pub(super) fn of_pcm(codec: AudioCodecId, bytes: u16, rate: u32, channels: u16) -> Layout {
        let block_bytes = u64::from(bytes) * u64::from(channels);
        Layout { codec, rate, channels, block_bytes, block_frames: 1 }
    }
}

/// The order of a number's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::audio) enum Order {
    Little,
    Big,
}

/// The codec of whole numbers with a sign, in so many bytes.
pub(super) fn signed(bytes: u16, order: Order) -> Option<AudioCodecId> {
    Some(match (bytes, order) {
        (1, _) => well_known::CODEC_ID_PCM_S8,
        (2, Order::Little) => well_known::CODEC_ID_PCM_S16LE,
        (2, Order::Big) => well_known::CODEC_ID_PCM_S16BE,
        (3, Order::Little) => well_known::CODEC_ID_PCM_S24LE,
        (3, Order::Big) => well_known::CODEC_ID_PCM_S24BE,
        (4, Order::Little) => well_known::CODEC_ID_PCM_S32LE,
        (4, Order::Big) => well_known::CODEC_ID_PCM_S32BE,
        _ => return None,
    })
}

/// The codec of floating-point numbers in so many bytes.
pub(super) fn float(bytes: u16, order: Order) -> Option<AudioCodecId> {
    Some(match (bytes, order) {
        (4, Order::Little) => well_known::CODEC_ID_PCM_F32LE,
        (4, Order::Big) => well_known::CODEC_ID_PCM_F32BE,
        (8, Order::Little) => well_known::CODEC_ID_PCM_F64LE,
        (8, Order::Big) => well_known::CODEC_ID_PCM_F64BE,
        _ => return None,
    })
}

/// Reads the blocks of byte ranges, one range after the other. Bytes behind a range's last whole block
/// are no sound.
pub(super) struct BlockReader {
    stream: MediaSourceStream<'static>,
    media: MediaInfo,
    track: [Track; 1],
    metadata: MetadataLog,
    layout: Layout,
    ranges: VecDeque<Range<u64>>,
    frames: u64,
    is_cut: bool,
}

impl BlockReader {
    /// The ranges must lie within the source. A reader of a file that was cut off, so that `missing` bytes
    /// are declared and not there, ends in an error.
    pub(super) fn new(
        source: View,
        layout: Layout,
        ranges: Vec<Range<u64>>,
        missing: u64,
    ) -> BlockReader {
        let mut parameters = AudioCodecParameters::new();
        let blocks = (PACKET_FRAMES / layout.block_frames.max(1)).max(1);
        parameters
            .for_codec(layout.codec)
            .with_sample_rate(layout.rate)
            .with_channels(match layout.channels {
                1 => layouts::CHANNEL_LAYOUT_MONO,
                2 => layouts::CHANNEL_LAYOUT_STEREO,
                more => Channels::Discrete(more),
            })
            .with_max_frames_per_packet(blocks.saturating_mul(layout.block_frames))
            .with_frames_per_block(layout.block_frames);
        let bytes =
            ranges.iter().map(|range| range.end - range.start).sum::<u64>().saturating_add(missing);
        let frames = (bytes / layout.block_bytes.max(1)).saturating_mul(layout.block_frames);
        let mut track = Track::new(0);
        track
            .with_codec_params(CodecParameters::Audio(parameters))
            .with_num_frames(frames)
            .with_duration(Duration::from(frames));
        BlockReader {
            stream: MediaSourceStream::new(Box::new(source), Default::default()),
            media: MediaInfo::from_track(&track),
            track: [track],
            metadata: MetadataLog::default(),
            layout,
            ranges: ranges.into(),
            frames: 0,
            is_cut: missing > 0,
        }
    }
}

impl FormatReader for BlockReader {
    fn format_info(&self) -> &FormatInfo {
        &INFO
    }

    fn media_info(&self) -> &MediaInfo {
        &self.media
    }

    fn metadata(&mut self) -> Metadata<'_> {
        self.metadata.metadata()
    }

    fn seek(&mut self, _mode: SeekMode, _to: SeekTo) -> Result<SeekedTo> {
        seek_error(SeekErrorKind::Unseekable)
    }

    fn tracks(&self) -> &[Track] {
        &self.track
    }

    fn next_packet(&mut self) -> Result<Option<Packet>> {
        let Layout { block_bytes, block_frames, .. } = self.layout;
        while let Some(range) = self.ranges.front_mut() {
            let most = (PACKET_FRAMES / block_frames.max(1)).max(1);
            let blocks = ((range.end - range.start) / block_bytes.max(1)).min(most);
            if blocks == 0 {
                self.ranges.pop_front();
                continue;
            }
            if self.stream.pos() != range.start {
                self.stream.seek(SeekFrom::Start(range.start))?;
            }
            let bytes = blocks * block_bytes;
            range.start += bytes;
            let at = Timestamp::new(i64::try_from(self.frames).unwrap_or(i64::MAX));
            self.frames += blocks * block_frames;
            let data = self.stream.read_boxed_slice_exact(bytes as usize)?;
            return Ok(Some(Packet::new(0, at, Duration::from(blocks * block_frames), data)));
        }
        if self.is_cut {
            return Err(MediaError::IoError(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(None)
    }

    fn into_inner<'s>(self: Box<Self>) -> MediaSourceStream<'s>
    where
        Self: 's,
    {
        self.stream
    }
}
