//! The pages for a browser: `/`, how the service is doing, and `/docs`, what can be asked of it.
//!
//! They hold nothing by themselves, so they need no key; what they show they ask for with the key that the reader gives them,
//! which stays in the tab.

use std::sync::LazyLock;

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// What both pages have.
const LOOK: &str = include_str!("../pages/look.css");
const KEY: &str = include_str!("../pages/key.js");

/// A page, and what it may do.
struct Page {
    html: String,
    policy: String,
}

static STATUS: LazyLock<Page> = LazyLock::new(|| Page::new(include_str!("../pages/status.html")));
static DOCS: LazyLock<Page> = LazyLock::new(|| Page::new(include_str!("../pages/docs.html")));

/// `GET /`.
pub(super) async fn status() -> Response {
    STATUS.answer()
}

/// `GET /docs`.
pub(super) async fn docs() -> Response {
    DOCS.answer()
}

impl Page {
    /// A page may run its own script, and ask this service; nothing else, wherever it came from.
    fn new(written: &str) -> Self {
        let html = written.replace("/*look*/\n", LOOK).replace("/*key*/\n", KEY);
        let (scripts, styles) = (hashes(&html, "<script>", "</script>"), hashes(&html, "<style>", "</style>"));
        let policy = format!(
            "default-src 'none'; script-src {scripts}; style-src {styles}; img-src data:; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        Self { html, policy }
    }

    fn answer(&self) -> Response {
        let headers = [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CONTENT_SECURITY_POLICY, self.policy.as_str()),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (CACHE_CONTROL, "no-cache"),
        ];
        (headers, self.html.clone()).into_response()
    }
}

/// The sums of all that stands between two tags, as a policy names them.
fn hashes(html: &str, start: &str, end: &str) -> String {
    let parts = html.split(start).skip(1).filter_map(|rest| rest.split_once(end));
    let sums = parts.map(|(inline, _)| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(inline))));
    sums.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_names_what_is_inline() {
        // Of the specification of Content-Security-Policy, level 3, section 8.3.
        let html = "<head><script>doSomething();</script><style>doSomething();</style></head>";
        let sum = "'sha256-RFWPLDbv2BY+rCkDzsE+0fr8ylGr2R2faWMhq4lfEQc='";
        let page = Page::new(html);
        assert!(page.policy.contains(&format!("script-src {sum}; style-src {sum};")), "{}", page.policy);
    }

    #[test]
    fn pages_ask_nobody_else() {
        for page in [&*STATUS, &*DOCS] {
            for outside in ["http://", "https://", "//cdn", "src=\"/", "@import"] {
                assert!(!page.html.contains(outside), "{outside}");
            }
        }
    }
}
