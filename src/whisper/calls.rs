//! How somebody outside follows a pass of whisper.cpp, and ends it.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use whisper_rs::{FullParams, WhisperSysContext, WhisperSysState};

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
    /// A panic must not cross C: it is kept here, ends the pass, and goes on behind it.
    panic: RefCell<Option<Box<dyn Any + Send>>>,
}

impl<'a> Calls<'a> {
    pub(super) fn new(share: &'a Share<'a>) -> Calls<'a> {
        Calls { share, panic: RefCell::new(None) }
    }

    /// whisper-rs's own way to set closures leaks them, and mixes up their types.
    pub(super) fn install(&self, parameters: &mut FullParams<'_, '_>) {
        let data = std::ptr::from_ref(self).cast_mut().cast::<c_void>();
        // SAFETY: the functions have the types that whisper.cpp expects, and take the pointer for
        // what it is. It is valid while the parameters are in use: the caller keeps `self` until
        // the pass is over, and whisper.cpp calls back on the thread of the pass only.
        unsafe {
            parameters.set_abort_callback(Some(abort_callback));
            parameters.set_abort_callback_user_data(data);
            parameters.set_progress_callback(Some(progress_callback));
            parameters.set_progress_callback_user_data(data);
        }
    }

    /// Lets a panic out that a callback ended in, now that C is left.
    pub(super) fn go_on_panicking(self) {
        if let Some(panic) = self.panic.into_inner() {
            resume_unwind(panic);
        }
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
    calls.guarded(|| (calls.share.watch.is_canceled)()).unwrap_or(true)
}

unsafe extern "C" fn progress_callback(
    _: *mut WhisperSysContext,
    _: *mut WhisperSysState,
    percent: c_int,
    data: *mut c_void,
) {
    // SAFETY: `install` has set this function and this pointer together.
    let calls = unsafe { &*data.cast::<Calls<'_>>() };
    let Share { watch, from, to } = calls.share;
    // The last step of whisper.cpp may go over 100.
    let part = percent.clamp(0, 100) as f32 / 100.0;
    calls.guarded(|| (watch.progress)(from + (to - from) * part));
}
