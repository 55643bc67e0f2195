//! The catalogue as a text file: a line for each recording, under headings.

use std::fmt;
use std::path::Path;

use crate::outcome::Outcome;

pub struct Section {
    pub title: String,
    pub recordings: Vec<Recording>,
}

pub struct Recording {
    pub section: String,
    pub outcome: Outcome,
    pub file_name: String,
    pub content_type: String,
    pub description: String,
    /// Makes the file with bash, as the head of the catalogue describes.
    pub command: String,
}

impl Recording {
    pub fn is_about(&self, text: &str) -> bool {
        [&self.section, &self.file_name, &self.description].iter().any(|field| field.contains(text))
    }
}

impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.section, self.file_name, self.description)
    }
}

pub fn read(path: &Path) -> Vec<Section> {
    let text = std::fs::read_to_string(path).expect("the catalogue");
    let mut sections: Vec<Section> = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            sections.push(Section { title: title.to_owned(), recordings: Vec::new() });
        } else if !line.starts_with('#') && !line.trim().is_empty() {
            let section = sections.last_mut().expect("a heading before the first recording");
            let recording = recording(&section.title, line);
            assert!(
                section.recordings.iter().all(|other| other.file_name != recording.file_name),
                "{recording} stands twice in its section"
            );
            section.recordings.push(recording);
        }
    }
    sections
}

fn recording(section: &str, line: &str) -> Recording {
    let fields: Vec<&str> = line.splitn(4, '|').map(str::trim).collect();
    let [outcome, file, description, command] = fields[..] else {
        panic!("four fields with | between them are wanted: {line}");
    };
    let (file_name, content_type) =
        file.split_once(' ').unwrap_or((file, "application/octet-stream"));
    Recording {
        section: section.to_owned(),
        outcome: outcome.parse().unwrap_or_else(|why| panic!("{why}: {line}")),
        file_name: file_name.to_owned(),
        content_type: content_type.to_owned(),
        description: description.to_owned(),
        command: command.to_owned(),
    }
}
