//! What is printed: a report for one rung, a row of a table for all of them.

use std::fmt::{Display, Write};
use std::time::Duration;

use crate::ledger::{Ledger, Way};

/// What a rung has shown, in words.
pub struct Row(Vec<(&'static str, String)>);

impl Row {
    /// The head of the table.
    pub const HEAD: &'static str = "\
| rung | answered | refused | gave up | wait p50, p99 | finished | a second | came back | by | threads | memory | lost by `kill -9` |
|---|---|---|---|---|---|---|---|---|---|---|---|";

    /// `lost` is how many were lost by a kill, and of how many.
    pub fn new(name: &str, ledger: &Ledger, lost: Option<(usize, usize)>) -> Row {
        let finished = (!ledger.finished.is_empty()).then_some(ledger.finished.len());
        let per_second = ledger.finished_per_second().map(|rate| format!("{rate:.0}"));
        let wait = [0.5, 0.99].map(|share| milliseconds(ledger.wait(share))).join(", ");
        let ways: Vec<&str> = ledger.ways.keys().map(|way| word(*way)).collect();
        let ways = if ways.is_empty() { "nobody".to_owned() } else { ways.join(", ") };
        Row(vec![
            ("rung", name.to_owned()),
            ("answered", ledger.answered.to_string()),
            ("refused", ledger.refused.to_string()),
            ("gave up", ledger.gave_up.to_string()),
            ("wait p50, p99", wait),
            ("finished", or_dash(finished)),
            ("a second", or_dash(per_second)),
            ("came back", ledger.returned.len().to_string()),
            ("by", ways),
            ("threads", or_dash(ledger.threads)),
            ("memory", or_dash(ledger.memory.map(|kib| format!("{} MB", kib / 1000)))),
            ("lost by `kill -9`", or_dash(lost.map(|(lost, of)| format!("{lost} of {of}")))),
        ])
    }

    pub fn markdown(&self) -> String {
        let cells: Vec<&str> = self.0.iter().map(|(_, cell)| cell.as_str()).collect();
        format!("| {} |", cells.join(" | "))
    }

    /// A line for each number.
    pub fn report(&self) -> String {
        let mut report = String::new();
        for (name, cell) in &self.0 {
            writeln!(report, "{name:18} {cell}").expect("invariant: a String takes everything");
        }
        report
    }
}

fn word(way: Way) -> &'static str {
    match way {
        Way::Reply => "reply",
        Way::Callback => "callback",
        Way::Poll => "poll",
    }
}

fn milliseconds(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1000.0;
    if milliseconds < 10.0 {
        format!("{milliseconds:.1} ms")
    } else {
        format!("{milliseconds:.0} ms")
    }
}

fn or_dash(cell: Option<impl Display>) -> String {
    cell.map_or_else(|| "–".to_owned(), |cell| cell.to_string())
}
