//! The teaching view as the server writes it: what there is to know, in tables, for who has no
//! script. `queue.js` keeps them up to date for everybody else.

use std::time::Duration;

use super::document::escaped;
use crate::http::overview::{Deliveries, Overview, WorkerLine};
use crate::job::Timestamp;
use crate::tally::PerEvent;

/// What stands in the place of a number that is not told.
const UNTOLD: &str = "–";

/// Names in the page, and the HTML that they stand for.
pub(super) type Filling = Vec<(&'static str, String)>;

/// The numbers.
pub(super) fn filled(now: &Overview) -> Filling {
    let (rates, totals) = (&now.rates.per_second, &now.totals);
    let mut filling: Filling = [
        ("phase", now.phase.to_string()),
        ("queued", now.queue.queued.to_string()),
        ("bound", now.queue.bound.to_string()),
        ("running", now.queue.running.to_string()),
        ("waiting", now.waiting.to_string()),
        ("pending", now.deliveries.pending.to_string()),
        ("in-flight", now.deliveries.in_flight.to_string()),
        ("next-retry", next_retry(&now.deliveries, now.at)),
    ]
    .into();
    filling.extend(RATES.into_iter().zip(texts(rates)));
    filling.extend(TOTALS.into_iter().zip(texts(totals)));
    filling.push(("WORKERS", workers(now)));
    filling.push(("KEYS", String::new()));
    filling
}

/// No numbers, for a server that shows them only to who has a key.
pub(super) fn kept_back() -> Filling {
    let numbers =
        ["phase", "queued", "bound", "running", "waiting", "pending", "in-flight", "next-retry"];
    let names = numbers.into_iter().chain(RATES).chain(TOTALS);
    let mut filling: Filling = names.map(|name| (name, UNTOLD.to_owned())).collect();
    filling.push(("WORKERS", row_of_all("Not told without a key.")));
    let notice = "<noscript><p class=\"notice\">This server asks for a key, which this page can only \
                  show with JavaScript. From a shell: <code>GET /queue.json</code>.</p></noscript>";
    filling.push(("KEYS", notice.to_owned()));
    filling
}

const RATES: [&str; 4] = ["accepted-rate", "refused-rate", "finished-rate", "delivered-rate"];
const TOTALS: [&str; 4] = ["accepted-total", "refused-total", "finished-total", "delivered-total"];

fn texts<T: ToString>(events: &PerEvent<T>) -> [String; 4] {
    let PerEvent { accepted, refused, finished, delivered } = events;
    [accepted, refused, finished, delivered].map(ToString::to_string)
}

/// What is due and not on its way waits for its host, which has failed too often to be asked now.
fn next_retry(deliveries: &Deliveries, now: Timestamp) -> String {
    match deliveries.next_attempt_at {
        Some(at) => format!("in {}", span(at, now)),
        None if deliveries.pending > deliveries.in_flight => "when its host is tried again".into(),
        None => "none".into(),
    }
}

fn workers(now: &Overview) -> String {
    if now.workers.is_empty() {
        return row_of_all("None is at work yet, or any more.");
    }
    now.workers.iter().map(|worker| row(worker, now.at)).collect()
}

fn row_of_all(text: &str) -> String {
    format!("<tr><td colspan=\"7\">{text}</td></tr>")
}

fn row(worker: &WorkerLine, now: Timestamp) -> String {
    let mut html = format!("<tr><th scope=\"row\">{}</th>", worker.name);
    let progress = worker.progress.map(|progress| format!("{:.0} %", progress * 100.0));
    for (class, text) in [
        ("", worker.state.to_string()),
        ("", span(now, worker.since)),
        ("", worker.job.map(|job| job.to_string()).unwrap_or_default()),
        (" class=\"name\"", worker.task.clone().unwrap_or_default()),
        ("", worker.attempt.map(|attempt| attempt.to_string()).unwrap_or_default()),
        ("", progress.unwrap_or_default()),
    ] {
        html.push_str(&format!("<td{class}>{}</td>", escaped(&text)));
    }
    html + "</tr>"
}

/// The time from one moment to a later one, in whole seconds and larger.
fn span(later: Timestamp, earlier: Timestamp) -> String {
    let whole = Duration::from_secs(later.since(earlier).as_secs());
    humantime::format_duration(whole).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::overview::WorkerState;
    use crate::job::JobId;

    #[test]
    fn the_next_retry_has_a_time_or_waits_for_its_host() {
        let now = Timestamp::from_micros(0);
        let told = |pending, in_flight, at: Option<i64>| {
            let next_attempt_at = at.map(Timestamp::from_micros);
            next_retry(&Deliveries { pending, in_flight, next_attempt_at }, now)
        };
        assert_eq!(told(2, 1, Some(5_000_000)), "in 5s");
        assert_eq!(told(2, 1, None), "when its host is tried again");
        assert_eq!(told(1, 1, None), "none");
        assert_eq!(told(0, 0, None), "none");
    }

    #[test]
    fn whatever_a_task_is_called_it_is_text() {
        let html = row(
            &WorkerLine {
                name: "worker-1".into(),
                state: WorkerState::Working,
                since: Timestamp::from_micros(0),
                job: Some(JobId::new()),
                task: Some("\"><script>alert('x')</script><!--WORKERS-->".into()),
                attempt: Some(2),
                progress: Some(0.5),
            },
            Timestamp::from_micros(61_900_000),
        );
        assert!(html.contains("&lt;script&gt;"), "{html}");
        assert!(!html.contains("<script") && !html.contains("<!--"), "{html}");
        assert!(html.contains("<td>1m 1s</td>") && html.contains("<td>50 %</td>"), "{html}");
    }
}
