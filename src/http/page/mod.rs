//! The pages for people, and the browser client that they and other pages use. All of it is compiled in;
//! each page is one response, which asks nobody for anything else.

mod document;
mod table;

use std::sync::LazyLock;

use tiny_http::Request;

use self::document::{Document, escaped, guarded};
use super::overview::Overview;
use super::problem::Problem;
use super::reply::Reply;
use super::{header, health};
use crate::shared::Shared;

const CLIENT: &str = include_str!("ringback.js");
const CLIENT_TYPES: &str = include_str!("ringback.d.ts");
/// What all pages look like.
const STYLE: &str = include_str!("style.css");
/// The task that the teaching view can send bursts to.
const DEMO: &str = "demo";

static HOME: LazyLock<Document> = LazyLock::new(|| {
    let script = format!("{CLIENT}\n{}", without_import(include_str!("page.js")));
    Document::new(include_str!("index.html"), STYLE, &script)
});

static QUEUE: LazyLock<Document> = LazyLock::new(|| {
    let style = format!("{STYLE}\n{}", include_str!("queue.css"));
    Document::new(include_str!("queue.html"), &style, include_str!("queue.js"))
});

/// A page's script for the place behind the client's own: there is nothing to import then.
fn without_import(script: &str) -> String {
    let imports = |line: &&str| line.starts_with("import ") && line.contains("\"./ringback.js\"");
    script.lines().filter(|line| !imports(line)).flat_map(|line| [line, "\n"]).collect()
}

/// `GET /`: the page for who asks for one, which is browsers; else a word in plain text.
pub(crate) fn home(shared: &Shared, request: &Request) -> Reply {
    let reply = if header::asks_for_html(header::all(request, "Accept")) {
        let options =
            shared.tasks.names().map(|name| format!("<option>{}</option>", escaped(name)));
        HOME.reply(&[("TASKS", options.collect())])
    } else {
        health::hello(shared)
    };
    reply.with("Vary", "Accept")
}

/// `GET /queue`: the teaching view. Without a key, where one is asked for, it is empty, and its script
/// shows the key that the browser keeps.
pub(crate) fn queue(shared: &Shared) -> Result<Reply, Problem> {
    let mut filling = if shared.config.api_keys.is_empty() {
        table::filled(&Overview::take(shared)?)
    } else {
        table::kept_back()
    };
    let burst = if shared.tasks.get(DEMO).is_some() { include_str!("burst.html") } else { "" };
    filling.push(("BURST", burst.to_owned()));
    Ok(QUEUE.reply(&filling))
}

/// `GET /ringback.js`: the browser client.
pub(crate) fn client() -> Reply {
    guarded(Reply::bytes(200, "text/javascript; charset=utf-8", CLIENT))
}

/// `GET /ringback.d.ts`: its types.
pub(crate) fn client_types() -> Reply {
    guarded(Reply::bytes(200, "text/plain; charset=utf-8", CLIENT_TYPES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_in_the_page_and_not_imported() {
        let script = without_import("import { A } from \"./ringback.js\";\n\nlet a = 1;\n");
        assert_eq!(script, "\nlet a = 1;\n");
        assert!(include_str!("page.js").contains("./ringback.js"));
        assert!(!without_import(include_str!("page.js")).contains("./ringback.js"));
    }
}
