//! One model in memory, used by every worker at once.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use whisper_rs::{
    FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters, WhisperError,
    WhisperSegment, WhisperState,
};

use super::calls::{Calls, Share};
use super::effort::{self, Alphabet, Effort};
use super::pool::Pool;
use super::windows::{Cuts, Window, Windows};
use super::{
    EngineError, Language, Options, Segment, Transcript, Watch, build, quieten, repeats, speech,
};
use crate::audio::{Reader, SAMPLE_RATE, playing_time};
use crate::model::{self, ModelInfo};

/// Whisper looks at the last 223 tokens of a prompt, which are never longer than this in bytes.
const PROMPT_MAX: usize = 2048;
/// The longest stretch that Whisper is given at once: 19 MB of samples, and half as much again inside.
const WINDOW: Duration = Duration::from_secs(300);
/// The shortest stretch that is handed to whisper.cpp: a tenth of a second. It finds nothing in shorter
/// ones, and reads behind the end of those under 201 samples.
const SAMPLES_MIN: usize = SAMPLE_RATE as usize / 10;
/// Whether OpenBLAS does the matrix work. A second thread then makes it slower (0.84 s instead of 0.71 s
/// for 11 s of speech on two cores): the two libraries' threads get into each other's way.
const ON_BLAS: bool = cfg!(feature = "openblas");
/// Whether the model runs on a graphics card.
const ON_GPU: bool = cfg!(any(feature = "cuda", feature = "vulkan", feature = "metal"));

/// A Whisper model, ready for work. Any number of threads may call
/// [`transcribe`](Engine::transcribe); as many as were asked for at loading work at once, the
/// others wait. The model is in memory once, beside one state for each that works.
pub struct Engine {
    model: WhisperContext,
    path: PathBuf,
    states: Pool<WhisperState>,
    cuts: Cuts,
}

impl Engine {
    /// Loads a model in whisper.cpp's format for at most `seats` transcriptions at once.
    ///
    /// # Errors
    /// When the file cannot be read or is no Whisper model, or whisper.cpp was built for another
    /// processor.
    pub fn load(path: &Path, seats: usize) -> Result<Engine, EngineError> {
        // whisper.cpp trusts a file that begins like a model, and ends the process over rubbish in it.
        let info = model::check_file(path).map_err(EngineError::File)?;
        let ModelInfo::Whisper(_) = info else { return Err(EngineError::Load(path.to_owned())) };
        if let Some(feature) = build::missing_feature() {
            return Err(EngineError::Processor(feature));
        }
        quieten();
        let mut parameters = WhisperContextParameters::default();
        parameters.use_gpu(ON_GPU);
        // On a processor it takes twice as long with it, in this version of whisper.cpp.
        parameters.flash_attn(ON_GPU);
        let model = WhisperContext::new_with_params(path, parameters)
            .map_err(|_| EngineError::Load(path.to_owned()))?;
        Ok(Engine {
            model,
            path: path.to_owned(),
            states: Pool::new(seats),
            cuts: Cuts::every(WINDOW),
        })
    }

    /// Cuts recordings into windows of at most this length, instead of five minutes. Shorter ones
    /// take less memory, and are cut more often.
    #[must_use]
    pub fn with_windows(mut self, longest: Duration) -> Engine {
        self.cuts = Cuts::every(longest);
        self
    }

    /// Whether it knows more languages than English.
    pub fn is_multilingual(&self) -> bool {
        self.model.is_multilingual()
    }

    /// The model in a few words, for people: file, size, languages, kind of numbers.
    pub fn describe(&self) -> String {
        let file = self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy();
        let size = self.model.model_type_readable_str_lossy().unwrap_or("unknown size".into());
        let languages = if self.is_multilingual() { "multilingual" } else { "English only" };
        format!("{file} ({size}, {languages}, {})", number_type(self.model.model_ftype()))
    }

    /// Whether it can do what `options` ask for.
    ///
    /// # Errors
    /// Says what would be right.
    pub fn check(&self, options: &Options) -> Result<(), String> {
        if self.is_multilingual() { Ok(()) } else { options.check_english_only() }
    }

    /// Frees states that were not used for `idle`, but for one. Says how many, and when there may be more.
    pub(super) fn drop_idle_states(
        &self,
        now: Instant,
        idle: Duration,
    ) -> (usize, Option<Instant>) {
        self.states.drop_idle(now, idle)
    }

    /// Transcribes a recording on the calling thread and `threads - 1` more (none with the feature
    /// `openblas`). Less than a tenth of a second, and silence, are an empty transcript. Recordings
    /// over five minutes are cut in their pauses and transcribed piece by piece.
    ///
    /// # Errors
    /// When the recording cannot be read, the options do not suit the model, the watch says to
    /// give up, or Whisper fails.
    pub fn transcribe(
        &self,
        recording: &mut Reader,
        options: &Options,
        threads: usize,
        watch: &Watch<'_>,
    ) -> Result<Transcript, EngineError> {
        self.check(options).map_err(EngineError::Options)?;
        let asked =
            if self.is_multilingual() { options.language } else { Some(Language::english()) };
        let prompt = options.prompt.as_deref().map(|prompt| self.tokens(prompt)).transpose()?;
        let mut parameters = parameters_for(asked);
        let threads = if ON_BLAS { 1 } else { threads.max(1) };
        parameters.set_n_threads(c_int::try_from(threads).unwrap_or(c_int::MAX));
        parameters.set_temperature(options.temperature);
        parameters.set_translate(options.translate);
        if let Some(tokens) = &prompt {
            parameters.set_tokens(tokens);
        }

        let mut segments: Vec<Segment> = Vec::new();
        let mut heard = asked;
        let mut done = 0.0;
        let mut decoder_steps = 0;
        let mut windows = Windows::new(recording, self.cuts);
        while let Some(window) = next_window(&mut windows, watch)? {
            let share = Share { watch, from: done, to: window.done_with_it };
            let effort = Effort::new(window.samples.len(), self.alphabet());
            let (language, found) =
                self.transcribe_window(parameters.clone(), &window, &share, &effort)?;
            decoder_steps += effort.steps();
            if heard.is_none() && !found.is_empty() {
                heard = language;
            }
            segments.extend(found);
            done = window.done_with_it;
        }
        (watch.progress)(1.0);
        Ok(Transcript {
            language: heard.unwrap_or_else(Language::english),
            translated: options.translate,
            duration: recording.playing_time(),
            warnings: repeats::warnings(&segments, self.model.token_eot()),
            segments,
            decoder_steps,
        })
    }

    /// One window on one state.
    fn transcribe_window(
        &self,
        parameters: FullParams<'_, '_>,
        window: &Window<'_>,
        share: &Share<'_>,
        effort: &Effort,
    ) -> Result<(Option<Language>, Vec<Segment>), EngineError> {
        if window.samples.len() < SAMPLES_MIN {
            return Ok((None, Vec::new()));
        }
        let (seat, idle) = self.states.take();
        let mut state = match idle {
            Some(state) => state,
            None => self.model.create_state().map_err(model_error)?,
        };
        let found = self.pass(&mut state, parameters, window, share, effort)?;
        let language = Language::from_id(state.full_lang_id_from_state());
        seat.keep(state);
        Ok((language, found))
    }

    /// One pass of Whisper over a window.
    fn pass(
        &self,
        state: &mut WhisperState,
        mut parameters: FullParams<'_, '_>,
        window: &Window<'_>,
        share: &Share<'_>,
        effort: &Effort,
    ) -> Result<Vec<Segment>, EngineError> {
        let calls = Calls::new(share, effort);
        calls.install(&mut parameters);
        let result = state.full(parameters, window.samples);
        calls.go_on_panicking();
        match result {
            Ok(()) => {}
            Err(_) if (share.watch.is_canceled)() => return Err(EngineError::Canceled),
            Err(error) => return Err(model_error(error)),
        }
        let eot = self.model.token_eot();
        Ok(state.as_iter().filter_map(|raw| segment(&raw, window, eot)).collect())
    }

    fn alphabet(&self) -> Alphabet {
        Alphabet {
            end_of_text: self.model.token_eot(),
            first_timestamp: self.model.token_beg(),
            tokens: usize::try_from(self.model.n_vocab()).unwrap_or(0),
        }
    }

    /// A prompt in the model's alphabet.
    fn tokens(&self, prompt: &str) -> Result<Vec<c_int>, EngineError> {
        // One byte is at least one token, so the bound holds them all: whisper-rs could not cope
        // with more tokens than it was told.
        let end = last_bytes(prompt, PROMPT_MAX).replace('\0', " ");
        self.model.tokenize(&end, end.len() + 1).map_err(model_error)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The next window, unless the recording is no longer wanted.
fn next_window<'w>(
    windows: &'w mut Windows<'_>,
    watch: &Watch<'_>,
) -> Result<Option<Window<'w>>, EngineError> {
    if (watch.is_canceled)() {
        return Err(EngineError::Canceled);
    }
    windows.next().map_err(EngineError::Audio)
}

/// The parameters that do not change from one transcription to the next. whisper-rs never frees
/// the string it makes of a language, so each language is set once and copied from then on.
fn parameters_for(language: Option<Language>) -> FullParams<'static, 'static> {
    static MADE: Mutex<BTreeMap<Option<Language>, FullParams<'static, 'static>>> =
        Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().expect("invariant: no panic under this lock");
    let parameters = made.entry(language).or_insert_with(|| {
        let mut parameters =
            FullParams::new(SamplingStrategy::Greedy { best_of: effort::CANDIDATES });
        parameters.set_language(language.map(Language::code));
        // A state would carry the text of one recording into the next.
        parameters.set_no_context(true);
        parameters.set_temperature_inc(effort::TEMPERATURE_STEP);
        parameters.set_print_progress(false);
        parameters.set_print_timestamps(false);
        parameters
    });
    parameters.clone()
}

/// What whisper.cpp tells of a segment, unless nothing in it was said.
fn segment(raw: &WhisperSegment<'_>, window: &Window<'_>, eot: c_int) -> Option<Segment> {
    let text = speech::spoken(&raw.to_str_lossy().ok()?)?;
    let tokens: Vec<_> = (0..raw.n_tokens())
        .filter_map(|index| raw.get_token(index))
        .map(|token| token.token_data())
        .collect();
    // Marks of time come behind the end-of-text token in the alphabet, and are not text.
    let words: Vec<f32> =
        tokens.iter().filter(|token| token.id < eot).map(|token| token.plog).collect();
    let begins = playing_time(window.begins);
    let ends = begins + playing_time(window.samples.len() as u64);
    // Whisper pads what it hears with silence, and may put an end into that.
    let at = |centiseconds: i64| {
        (begins + Duration::from_millis(u64::try_from(centiseconds).unwrap_or(0) * 10)).min(ends)
    };
    let start = at(raw.start_timestamp());
    Some(Segment {
        start,
        end: at(raw.end_timestamp()).max(start),
        text,
        avg_logprob: words.iter().sum::<f32>() / words.len().max(1) as f32,
        no_speech_prob: raw.no_speech_probability(),
        tokens: tokens.iter().map(|token| token.id).collect(),
    })
}

/// At most the last `bytes` bytes of it, from the start of a character.
fn last_bytes(text: &str, bytes: usize) -> &str {
    let earliest = text.len().saturating_sub(bytes);
    let start = (earliest..=text.len()).find(|at| text.is_char_boundary(*at));
    &text[start.unwrap_or(text.len())..]
}

/// ggml's number for how the weights are stored.
fn number_type(ftype: c_int) -> &'static str {
    match ftype {
        0 => "f32",
        1 => "f16",
        2 => "q4_0",
        3 => "q4_1",
        7 => "q8_0",
        8 => "q5_0",
        9 => "q5_1",
        10..=14 => "k-quants",
        _ => "weights of another kind",
    }
}

fn model_error(error: WhisperError) -> EngineError {
    EngineError::Model(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prompt_is_whole_characters() {
        assert_eq!(last_bytes("abc", 5), "abc");
        assert_eq!(last_bytes("abc", 2), "bc");
        assert_eq!(last_bytes("añb", 2), "b");
        assert_eq!(last_bytes("añb", 3), "ñb");
        assert_eq!(last_bytes("", 0), "");
    }

    #[test]
    fn what_is_no_model_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.bin");
        assert!(matches!(Engine::load(&path, 1), Err(EngineError::File(_))));
        std::fs::write(&path, b"no model at all").unwrap();
        let message = Engine::load(&path, 1).unwrap_err().to_string();
        assert!(message.contains("model.bin"), "{message}");
    }
}
