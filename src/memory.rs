//! Memory that was needed once: the allocator keeps it for the next time, unless it is asked.

/// Gives back to the system what is free. Takes a few milliseconds: for after something large.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn give_back() {
    // SAFETY: it takes no pointers, and glibc lets any thread call it at any time.
    unsafe { libc::malloc_trim(0) };
}

/// Other systems' allocators do so by themselves, or have no way to be asked.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_back() {}
