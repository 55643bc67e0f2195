//! Transcription without a server: `transcribe FILE MODEL [json|srt|vtt|...]` prints what is said
//! in FILE.

use std::error::Error;
use std::fs::File;
use std::path::Path;

use ringback::audio::{DEFAULT_LIMIT, Reader};
use ringback::whisper::{Engine, Options, Watch};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, model, rest @ ..] = arguments.as_slice() else {
        return Err("usage: transcribe FILE MODEL [text|json|srt|vtt|verbose_json]".into());
    };
    let engine = Engine::load(Path::new(model), 1)?;
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    eprintln!("{} on {threads} threads", engine.describe());
    let format = rest.first().map_or("text", String::as_str);
    let mut recording = Reader::open(File::open(file)?, DEFAULT_LIMIT)?;
    let transcript =
        engine.transcribe(&mut recording, &Options::default(), threads, &Watch::NONE)?;
    let written = transcript.write(format).ok_or("that is no format")?;
    print!("{written}{}", if written.ends_with('\n') { "" } else { "\n" });
    Ok(())
}
