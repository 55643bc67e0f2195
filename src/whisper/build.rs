//! What whisper.cpp was built with, whether that is as fast as it could be, and whether this processor
//! can run it at all.

use std::sync::OnceLock;

/// What whisper.cpp was built with, in its own words.
pub fn system_info() -> &'static str {
    // It is put together in a buffer that all callers share, so it is asked for once.
    static INFO: OnceLock<&str> = OnceLock::new();
    INFO.get_or_init(whisper_rs::print_system_info)
}

/// Whether the fast matrix kernels (`GGML_LLAMAFILE`) are built in.
pub fn has_fast_kernels() -> bool {
    names_feature(system_info(), "LLAMAFILE")
}

/// Why this build is slower here than it needs to be, in a sentence that says what to do; `None`
/// when it is not.
pub fn slow_build() -> Option<&'static str> {
    let info = system_info();
    if processor().iter().any(|(name, has)| *name == "AVX2" && *has && !names_feature(info, name)) {
        return Some(
            "built without AVX2: transcription takes ten times as long; build again with \
             GGML_NATIVE=ON and without SOURCE_DATE_EPOCH in the environment",
        );
    }
    if !has_fast_kernels() {
        return Some(
            "built without the fast matrix kernels: transcription takes 1.6 times as long; build \
             again with GGML_LLAMAFILE=ON in the environment",
        );
    }
    None
}

/// An instruction set that whisper.cpp was built for and this processor does not have: using the model
/// would end the process.
pub(super) fn missing_feature() -> Option<&'static str> {
    missing(system_info(), processor())
}

fn missing(info: &str, processor: &[(&'static str, bool)]) -> Option<&'static str> {
    let lacking = |(name, has): &&(&'static str, bool)| !has && names_feature(info, name);
    processor.iter().find(lacking).map(|(name, _)| *name)
}

/// whisper.cpp's names of instruction sets, and whether this processor has them.
#[cfg(target_arch = "x86_64")]
fn processor() -> &'static [(&'static str, bool)] {
    static FEATURES: OnceLock<[(&str, bool); 9]> = OnceLock::new();
    FEATURES.get_or_init(|| {
        [
            ("SSE3", is_x86_feature_detected!("sse3")),
            ("AVX", is_x86_feature_detected!("avx")),
            ("AVX2", is_x86_feature_detected!("avx2")),
            ("F16C", is_x86_feature_detected!("f16c")),
            ("FMA", is_x86_feature_detected!("fma")),
            ("BMI2", is_x86_feature_detected!("bmi2")),
            ("AVX512", is_x86_feature_detected!("avx512f")),
            ("AVX512_VBMI", is_x86_feature_detected!("avx512vbmi")),
            ("AVX512_VNNI", is_x86_feature_detected!("avx512vnni")),
        ]
    })
}

/// Elsewhere nothing is known, and nothing is held against the build.
#[cfg(not(target_arch = "x86_64"))]
fn processor() -> &'static [(&'static str, bool)] {
    &[]
}

fn names_feature(info: &str, name: &str) -> bool {
    info.split(['|', ':'])
        .filter_map(|pair| pair.split_once('='))
        .any(|(feature, value)| feature.trim() == name && value.trim() == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "WHISPER : COREML = 0 | OPENVINO = 0 | CPU : SSE3 = 1 | AVX2 = 1 | ";

    #[test]
    fn features_are_found_by_their_whole_name() {
        assert!(names_feature(INFO, "SSE3"));
        assert!(names_feature(INFO, "AVX2"));
        assert!(!names_feature(INFO, "AVX"));
        assert!(!names_feature(INFO, "COREML"));
        assert!(!names_feature(INFO, "LLAMAFILE"));
    }

    #[test]
    fn this_build_is_a_fast_one() {
        assert!(has_fast_kernels(), "{}", system_info());
        assert_eq!(slow_build(), None);
    }

    #[test]
    fn a_build_for_another_processor_is_known() {
        assert_eq!(missing(INFO, &[("SSE3", true), ("AVX2", false)]), Some("AVX2"));
        assert_eq!(missing(INFO, &[("SSE3", true), ("AVX2", true), ("AVX512", false)]), None);
        assert_eq!(missing_feature(), None);
    }
}
