//! A page as it is kept: one HTML text with its style and its script in it, and the policy by which a
//! browser runs these and nothing else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;

use crate::http::reply::Reply;

/// A page.
pub(super) struct Document {
    html: String,
    policy: String,
}

impl Document {
    /// From its parts: `/*STYLE*/` and `/*SCRIPT*/` in `html` stand for the other two.
    pub(super) fn new(html: &str, style: &str, script: &str) -> Document {
        let html = html.replace("/*STYLE*/", style).replace("/*SCRIPT*/", script);
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; \
             media-src blob:; img-src data:; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'",
            hash(inside(&html, "script")),
            hash(inside(&html, "style")),
        );
        Document { html, policy }
    }

    /// The page, with `<!--NAME-->` replaced by each name's HTML.
    pub(super) fn reply(&self, filling: &[(&str, String)]) -> Reply {
        let html = filling.iter().fold(self.html.clone(), |html, (name, content)| {
            html.replace(&format!("<!--{name}-->"), content)
        });
        guarded(Reply::bytes(200, "text/html; charset=utf-8", html))
            .with("Content-Security-Policy", &self.policy)
            .with("Referrer-Policy", "no-referrer")
            .with("Permissions-Policy", "microphone=(self)")
            .with("Cross-Origin-Opener-Policy", "same-origin")
    }
}

/// A reply that is what its content type says, and is for pages of this server.
pub(super) fn guarded(reply: Reply) -> Reply {
    reply
        .with("X-Content-Type-Options", "nosniff")
        .with("Cross-Origin-Resource-Policy", "same-origin")
}

/// What the only element of this name holds.
fn inside<'a>(html: &'a str, element: &str) -> &'a str {
    let (_, rest) = html.split_once(&format!("<{element}")).unwrap_or_default();
    let (_, rest) = rest.split_once('>').unwrap_or_default();
    let (content, after) = rest.split_once(&format!("</{element}>")).unwrap_or_default();
    assert!(!content.is_empty(), "invariant: the page has something in <{element}>");
    assert!(!after.contains(&format!("<{element}")), "invariant: the page has one <{element}>");
    content
}

/// As a policy names what it lets run.
fn hash(content: &str) -> String {
    format!("sha256-{}", STANDARD.encode(digest::digest(&digest::SHA256, content.as_bytes())))
}

/// A text as HTML that shows it, in an element or in a quoted attribute.
pub(super) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_a_text() {
        assert_eq!(
            escaped("</td><script>alert('\"&')</script><!--X-->"),
            "&lt;/td&gt;&lt;script&gt;alert(&#39;&quot;&amp;&#39;)&lt;/script&gt;&lt;!--X--&gt;"
        );
    }

    #[test]
    fn a_policy_names_what_is_in_the_page() {
        let html =
            "<style>/*STYLE*/</style><p><!--X--></p><script type=\"module\">/*SCRIPT*/</script>";
        let page = Document::new(html, "p { color: red }", "alert(1)");
        assert!(page.html.contains("<script type=\"module\">alert(1)</script>"));
        // printf 'alert(1)' | openssl dgst -sha256 -binary | base64
        let alert = "'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='";
        assert!(page.policy.contains(&format!("script-src {alert};")), "{}", page.policy);
    }
}
