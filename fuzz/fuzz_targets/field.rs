//! A header's value, as each of the kinds there are: media types and other values with parameters,
//! `Idempotency-Key`, `Prefer`, `If-None-Match`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringback::fuzzing::header_value;

fuzz_target!(|bytes: &[u8]| {
    let read = header_value(bytes);
    if let Some(essence) = &read.essence {
        assert!(essence.len() <= 127 && essence.is_ascii() && essence.matches('/').count() == 1);
        assert_eq!(read.value.as_ref(), Some(essence));
        assert_eq!(header_value(essence.as_bytes()).essence.as_ref(), Some(essence), "read again");
    }
    if let Some(key) = &read.key {
        assert!((1..=255).contains(&key.len()));
        assert!(key.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{key:?}");
        let quoted = format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""));
        assert_eq!(
            header_value(quoted.as_bytes()).key.as_ref(),
            Some(key),
            "quoted and read again"
        );
    }
    assert!(read.wait.is_none_or(|seconds| seconds <= 60));
    if let Some(name) = &read.name {
        assert!(name.len() < bytes.len());
        let escape = |&byte: &u8| match byte {
            b'"' | b'\\' => vec![b'\\', byte],
            _ => vec![byte],
        };
        let quoted: Vec<u8> = name.iter().flat_map(escape).collect();
        let again = header_value(&[b"form-data; name=\"", &quoted[..], b"\""].concat());
        assert_eq!(again.name.as_ref(), Some(name), "quoted and read again");
    }
    assert!(
        !read.matches || bytes.contains(&b'*') || bytes.windows(4).any(|four| four == b"\"1f\"")
    );
});
