//! Model files: which are published, where they live on this machine, how they come here, and
//! whether they are whole.
//!
//! Models are files in whisper.cpp's ggml format called `ggml-NAME.bin`, in one folder. They are
//! downloaded by name ([`get`]), or made here from the formats that other programs keep them in
//! ([`import`]); either way nothing lies under the final name before it is whole and checked. The
//! SHA-256 of each is kept beside it, so that [`verify`] can tell later whether it still is what it
//! was. [`check_file`] looks only at a file's structure, which is quick, and is what stands between
//! a broken file and whisper.cpp, which ends the process on one.

mod bounded;
mod check;
mod convert;
mod ct2;
mod digest;
mod download;
mod error;
mod folder;
mod ggml;
mod hyper;
mod import;
mod known;
mod layout;
mod mel;
mod part;
mod safetensors;
mod silero;
mod tensor;
#[cfg(test)]
mod tests;
mod vocabulary;

pub use check::{ModelInfo, WhisperInfo, check_file};
pub use download::{GetOptions, Got, Origin, Progress, get};
pub use error::ModelError;
pub use folder::{
    DEFAULT_FOLDER, Here, Verified, file_of, leftovers_in, models_in, name_of, only_model, resolve,
    verify,
};
pub use import::{ImportOptions, Imported, Weights, import};
pub use known::{KNOWN, Known, known};
pub use tensor::TensorType;
