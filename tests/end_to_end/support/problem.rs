//! Errors as RFC 9457 has them.

use serde_json::Value;

use super::http::Answer;

impl Answer {
    /// The answer is a problem of this status, complete, and says something of use. Gives its members.
    pub fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.headers["content-type"], "application/problem+json", "{}", self.text());
        let problem = self.json();
        assert_eq!(problem["status"], status, "{problem}");
        for member in ["type", "title", "detail"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.trim().is_empty()), "{member}: {problem}");
        }
        assert_eq!(self.headers.contains_key("retry-after"), status == 503, "Retry-After: {:?}", self.headers);
        problem
    }
}
