//! How somebody outside follows a pass of whisper.cpp, and ends it.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use whisper_rs::{FullParams, WhisperSysContext, WhisperSysState, WhisperTokenData};

use super::effort::Effort;

/// How somebody follows a transcription, and ends it.
pub struct Watch<'a> {
    /// Asked after each step of the model (half a second on a small one): whether to give up.
    pub is_canceled: &'a dyn Fn() -> bool,
    /// Told how much is done, from 0 to 1, never less than before.
    pub progress: &'a dyn Fn(f32),
}

impl Watch<'_> {
    /// Nobody looks.
    pub const NONE: Watch<'static> = Watch { is_canceled: &|| false, progress: &|_| () };
}

/// The part of the whole that one window is.
pub(super) struct Share<'a> {
    pub(super) watch: &'a Watch<'a>,
    pub(super) from: f32,
    pub(super) to: f32,
}

/// What whisper.cpp calls back. It outlives the pass, on the same thread.
pub(super) struct Calls<'a> {
    share: &'a Share<'a>,
    effort: &'a Effort,
    /// A panic must not cross C: it is kept here, ends the pass, and goes on behind it.
    panic: RefCell<Option<Box<dyn Any + Send>>>,
}

impl<'a> Calls<'a> {
    pub(super) fn new(share: &'a Share<'a>, effort: &'a Effort) -> Calls<'a> {
        Calls { share, effort, panic: RefCell::new(None) }
    }

    /// whisper-rs's own way to set closures leaks them, and mixes up their types.
    pub(super) fn install(&self, parameters: &mut FullParams<'_, '_>) {
        let data = std::ptr::from_ref(self).cast_mut().cast::<c_void>();
        let effort = std::ptr::from_ref(self.effort).cast_mut().cast::<c_void>();
        // SAFETY: the functions have the types that whisper.cpp expects, and take their pointers for
        // what they are. These are valid while the parameters are in use: the caller keeps `self` until
        // the pass is over. whisper.cpp calls back on the thread of the pass only, but for the filter,
        // which is called on several at once: `Effort` is `Sync`.
        unsafe {
            parameters.set_abort_callback(Some(abort_callback));
            parameters.set_abort_callback_user_data(data);
            parameters.set_progress_callback(Some(progress_callback));
            parameters.set_progress_callback_user_data(data);
            parameters.set_start_encoder_callback(Some(window_callback));
            parameters.set_start_encoder_callback_user_data(data);
            parameters.set_filter_logits_callback(Some(filter_callback));
            parameters.set_filter_logits_callback_user_data(effort);
        }
    }

    /// Lets a panic out that a callback ended in, now that C is left.
    pub(super) fn go_on_panicking(self) {
        if let Some(panic) = self.panic.into_inner() {
            resume_unwind(panic);
        }
    }

    /// Tells how much of the whole is done.
    fn report(&self) {
        let Share { watch, from, to } = self.share;
        let done = from + (to - from) * self.effort.progress().clamp(0.0, 1.0);
        self.guarded(|| (watch.progress)(done));
    }

    fn guarded<T>(&self, call: impl FnOnce() -> T) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(call)) {
            Ok(value) => Some(value),
            Err(panic) => {
                self.panic.replace(Some(panic));
                None
            }
        }
    }
}

unsafe extern "C" fn abort_callback(data: *mut c_void) -> bool {
    // SAFETY: `install` has set this function and this pointer together.
    let calls = unsafe { &*data.cast::<Calls<'_>>() };
    calls.report();
    let has_panicked = calls.panic.borrow().is_some();
    has_panicked || calls.guarded(|| (calls.share.watch.is_canceled)()).unwrap_or(true)
}

unsafe extern "C" fn progress_callback(
    _: *mut WhisperSysContext,
    _: *mut WhisperSysState,
    percent: c_int,
    data: *mut c_void,
) {
    // SAFETY: `install` has set this function and this pointer together.
    let calls = unsafe { &*data.cast::<Calls<'_>>() };
    calls.effort.reached(u32::try_from(percent).unwrap_or(0));
    calls.report();
}

unsafe extern "C" fn window_callback(
    _: *mut WhisperSysContext,
    _: *mut WhisperSysState,
    data: *mut c_void,
) -> bool {
    // SAFETY: `install` has set this function and this pointer together.
    let calls = unsafe { &*data.cast::<Calls<'_>>() };
    calls.effort.begin_window();
    true
}

unsafe extern "C" fn filter_callback(
    _: *mut WhisperSysContext,
    _: *mut WhisperSysState,
    tokens: *const WhisperTokenData,
    count: c_int,
    logits: *mut f32,
    data: *mut c_void,
) {
    // SAFETY: `install` has set this function and this pointer together.
    let effort = unsafe { &*data.cast::<Effort>() };
    // SAFETY: whisper.cpp gives as many tokens as it says, and a logit for each token of the alphabet. It
    // uses neither until this function returns. An empty list may have no address.
    let (tokens, logits) = unsafe {
        let tokens = match usize::try_from(count) {
            Ok(count) if count > 0 => std::slice::from_raw_parts(tokens, count),
            Ok(_) | Err(_) => &[],
        };
        (tokens, std::slice::from_raw_parts_mut(logits, effort.alphabet().tokens))
    };
    effort.step(tokens, logits);
}
