//! The catalogue as a page for people.

use std::fmt::Write;

use crate::catalogue::Section;
use crate::outcome::{Outcome, Text};

const HEAD: &str = "\
# Recordings

Every row was made with ffmpeg or sox and transcribed: `make zoo` does it again, and fails where an outcome differs. The
bytes decide what a recording is; its name and content type do not matter.

Made from [`tests/zoo/catalogue.txt`](../tests/zoo/catalogue.txt), which has the command for each row: change that, then type
`make zoo UPDATE=1`.
";

pub fn markdown(sections: &[Section]) -> String {
    let mut page = String::from(HEAD);
    for section in sections {
        write!(page, "\n## {}\n\n| recording | outcome |\n|---|---|\n", section.title)
            .expect("invariant: a string takes everything");
        for recording in &section.recordings {
            writeln!(page, "| {} | {} |", recording.description, words(&recording.outcome))
                .expect("invariant: a string takes everything");
        }
    }
    page
}

fn words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Failed(code) => format!("fails as `{code}`"),
        Outcome::Refused(code) => format!("refused as `{code}`"),
        Outcome::Heard { text, warnings } => {
            let text = match text {
                Text::Sentence => "transcribed",
                Text::Twice => "transcribed, both recordings",
                Text::Part => "transcribed in part",
                Text::Other(_) => unreachable!("no recording of the catalogue has it"),
            };
            let warnings: Vec<String> = warnings.iter().map(|code| format!("`{code}`")).collect();
            match warnings.is_empty() {
                true => text.to_owned(),
                false => format!("{text}, with the warning {}", warnings.join(" and ")),
            }
        }
    }
}
