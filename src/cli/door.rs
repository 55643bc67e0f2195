//! The flags of `ringback serve` that say who may come in, and how much each may take.

use std::path::{Path, PathBuf};

use ringback::{ApiKey, Builder, CorsOrigin};

use super::Failure;

/// Who may use the server, and how much of it.
#[derive(Debug, clap::Args)]
pub(super) struct DoorArgs {
    /// Let in who shows this key (Authorization: Bearer), and nobody else; may be given several times
    /// (in the variable: after a space). Whoever lists the machine's processes sees it here.
    #[arg(
        long = "api-key",
        env = "RINGBACK_API_KEY",
        hide_env_values = true,
        value_delimiter = ' ',
        value_name = "KEY"
    )]
    api_keys: Vec<String>,

    /// A file with keys, one on a line; lines that are empty or begin with # are left out.
    #[arg(long, env = "RINGBACK_API_KEY_FILE", value_name = "FILE")]
    api_key_file: Option<PathBuf>,

    /// Let everybody in though the server has no key and listens beyond loopback.
    #[arg(long, env = "RINGBACK_INSECURE")]
    insecure: bool,

    /// A name that the server goes by, such as that of a proxy in front of it; may be given several
    /// times. On loopback, requests for other names than localhost are refused.
    #[arg(long = "host", env = "RINGBACK_HOST", value_delimiter = ' ', value_name = "NAME")]
    hosts: Vec<String>,

    /// Let the pages of this site use the server, such as https://app.example; * is all sites. May be
    /// given several times.
    #[arg(
        long = "cors-origin",
        env = "RINGBACK_CORS_ORIGIN",
        value_delimiter = ' ',
        value_name = "ORIGIN"
    )]
    cors_origins: Vec<CorsOrigin>,

    /// Jobs of one client (a key, else an address) that may wait; further ones are refused with 429
    /// [default: half of --max-queued, all while listening on loopback only].
    #[arg(long, env = "RINGBACK_PER_CLIENT", value_name = "JOBS",
          value_parser = clap::value_parser!(u32).range(1..))]
    per_client: Option<u32>,

    /// Requests a second of one client; further ones are refused with 429. 0 is any number [default:
    /// 1000, any number while listening on loopback only].
    #[arg(long, env = "RINGBACK_RATE", value_name = "REQUESTS")]
    rate: Option<u32>,
}

impl DoorArgs {
    /// Sets `builder` to what was typed.
    pub(super) fn set_up(&self, mut builder: Builder) -> Result<Builder, Failure> {
        for key in self.keys()? {
            builder = builder.api_key(key);
        }
        if self.insecure {
            builder = builder.insecure();
        }
        for name in &self.hosts {
            builder = builder.host(name);
        }
        for origin in &self.cors_origins {
            builder = builder.cors_origin(origin.clone());
        }
        if let Some(jobs) = self.per_client {
            builder = builder.per_client(jobs as usize);
        }
        if let Some(requests) = self.rate {
            builder = builder.rate(requests);
        }
        Ok(builder)
    }

    /// Not read by the argument parser, whose message would repeat a wrong key.
    fn keys(&self) -> Result<Vec<ApiKey>, Failure> {
        let given = self
            .api_keys
            .iter()
            .map(|key| key.parse().map_err(|error| Failure::usage(format!("--api-key: {error}"))));
        let mut keys: Vec<ApiKey> = given.collect::<Result<_, _>>()?;
        if let Some(path) = &self.api_key_file {
            keys.extend(keys_in(path)?);
        }
        Ok(keys)
    }
}

/// The keys in a file. One without any would open the server to everybody.
fn keys_in(path: &Path) -> Result<Vec<ApiKey>, Failure> {
    let failed = |why: String| Failure::usage(format!("--api-key-file {}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let lines = text.lines().map(str::trim).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let keys: Vec<ApiKey> = lines
        .map(|(n, line)| line.parse().map_err(|error| failed(format!("line {}: {error}", n + 1))))
        .collect::<Result<_, _>>()?;
    if keys.is_empty() {
        return Err(failed("there is no key in it; make one with: openssl rand -hex 32".into()));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 2] = ["0123456789abcdef", "fedcba9876543210"];

    fn keys_of(contents: &str) -> Result<Vec<ApiKey>, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys");
        std::fs::write(&path, contents).expect("a file");
        keys_in(&path).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_file_has_a_key_on_each_line() {
        let [one, two] = KEYS;
        let keys = keys_of(&format!("# ann\n{one}\n\n  # bob\r\n {two} \r\n")).expect("keys");
        assert_eq!(keys, KEYS.map(|key| key.parse().expect("a key")));
    }

    #[test]
    fn a_file_without_a_key_does_not_open_the_server() {
        assert!(keys_of("# none yet\n").unwrap_err().contains("no key in it"));
        let error = keys_of("0123456789abcdef\ntoo-short-a-key\n").unwrap_err();
        assert!(error.contains("line 2") && !error.contains("too-short"), "{error}");
        assert!(keys_in(Path::new("/nowhere/keys")).is_err());
    }
}
