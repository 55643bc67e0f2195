//! What ringback adds to whisper.cpp: `overhead FILE MODEL [ROUNDS] [THREADS]` transcribes FILE
//! through the engine (decoding, pool, callbacks and all) and through a bare `whisper_full` on the
//! same samples, by turns, and prints the times in seconds and their ratios.

use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::time::Instant;

use ringback::audio::{DEFAULT_LIMIT, Reader};
use ringback::whisper::{Engine, Options, Watch, system_info};
use whisper_rs::{
    FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters, WhisperState,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, model, rest @ ..] = arguments.as_slice() else {
        return Err("usage: overhead FILE MODEL [ROUNDS] [THREADS]".into());
    };
    let rounds: usize = rest.first().map_or(Ok(10), |rounds| rounds.parse())?;
    let threads: usize = rest.get(1).map_or(Ok(1), |threads| threads.parse())?;
    println!("{}", system_info());

    let engine = Engine::load(Path::new(model), 1)?;
    let mut parameters = WhisperContextParameters::default();
    parameters.flash_attn(false);
    let context = WhisperContext::new_with_params(model, parameters)?;
    let mut state = context.create_state()?;
    let samples = open(file)?.read_to_end()?;

    // The first round of each makes its buffers, and is not counted.
    bare(&mut state, &samples, threads)?;
    ours(&engine, file, threads)?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        without.push(bare(&mut state, &samples, threads)?);
        with.push(ours(&engine, file, threads)?);
    }
    println!("bare: best {:.3} median {:.3} {without:.3?}", best(&without), median(&without));
    println!("ours: best {:.3} median {:.3} {with:.3?}", best(&with), median(&with));
    let (best, median) = (best(&with) / best(&without), median(&with) / median(&without));
    println!("ratio of the best {best:.3}, of the medians {median:.3}");
    Ok(())
}

fn open(file: &str) -> Result<Reader, Box<dyn Error>> {
    Ok(Reader::open(File::open(file)?, DEFAULT_LIMIT)?)
}

fn bare(state: &mut WhisperState, samples: &[f32], threads: usize) -> Result<f64, Box<dyn Error>> {
    let mut parameters = FullParams::new(SamplingStrategy::Greedy { best_of: 5 });
    parameters.set_language(Some("en"));
    parameters.set_n_threads(i32::try_from(threads)?);
    parameters.set_no_context(true);
    parameters.set_print_progress(false);
    let began = Instant::now();
    state.full(parameters, samples)?;
    Ok(began.elapsed().as_secs_f64())
}

fn ours(engine: &Engine, file: &str, threads: usize) -> Result<f64, Box<dyn Error>> {
    let options = Options { language: "en".parse().ok(), ..Options::default() };
    let began = Instant::now();
    engine.transcribe(&mut open(file)?, &options, threads, &Watch::NONE)?;
    Ok(began.elapsed().as_secs_f64())
}

/// What a busy machine disturbs least.
fn best(times: &[f64]) -> f64 {
    times.iter().copied().fold(f64::INFINITY, f64::min)
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}
