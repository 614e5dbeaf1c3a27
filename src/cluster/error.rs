//! What an API server's refusal means to the caller.

use http::StatusCode;
use serde::Deserialize;

/// Why a call to the API server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No answer: no connection, or it broke.
    #[error("the API server cannot be reached: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("the API server did not answer within {0:?}")]
    TimedOut(std::time::Duration),
    /// 401: it does not know us.
    #[error("the API server does not accept our credentials: {0}")]
    Unauthorized(String),
    /// 403 by RBAC: the message names the missing permission.
    #[error("not permitted: {0}")]
    Forbidden(String),
    /// Refused by an admission policy or webhook, for good.
    #[error("refused by the API server: {0}")]
    Denied(String),
    /// 404.
    #[error("not found: {0}")]
    NotFound(String),
    /// 409: the object has changed since it was read, or exists already.
    #[error("conflict: {0}")]
    Conflict(String),
    /// 410: a list's `continue` token has expired.
    #[error("expired: {0}")]
    Expired(String),
    /// 429: try again later.
    #[error("the API server is too busy: {0}")]
    TooBusy(String),
    /// 5xx.
    #[error("the API server failed ({code}): {message}")]
    Failed {
        /// The status.
        code: u16,
        /// What it said.
        message: String,
    },
    /// An answer that is not what Kubernetes' API promises.
    #[error("the API server's answer cannot be read: {0}")]
    Unreadable(String),
}

/// The part of `meta/v1.Status` that tells errors apart.
#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    message: String,
}

impl ApiError {
    /// Whether the same call may succeed later without anything being changed in the request.
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Denied(_) | Self::NotFound(_))
    }

    /// From an answer that is not 2xx.
    pub(super) fn from_answer(status: StatusCode, body: &[u8]) -> Self {
        let message = match serde_json::from_slice::<Status>(body) {
            Ok(parsed) if !parsed.message.is_empty() => parsed.message,
            _ => String::from_utf8_lossy(&body[..body.len().min(300)]).trim().to_owned(),
        };
        match status.as_u16() {
            401 => Self::Unauthorized(message),
            403 if is_rbac_refusal(&message) => Self::Forbidden(message),
            400 | 403 | 405 | 413 | 415 | 422 => Self::Denied(message),
            404 => Self::NotFound(message),
            409 => Self::Conflict(message),
            410 => Self::Expired(message),
            429 => Self::TooBusy(message),
            code => Self::Failed { code, message },
        }
    }
}

/// RBAC writes `User "U" cannot VERB resource "R" in API group "G"`
/// (Kubernetes: `apiserver/pkg/endpoints/handlers/responsewriters/errors.go`); admission writes whatever its author did.
fn is_rbac_refusal(message: &str) -> bool {
    message.contains("User \"") && message.contains("\" cannot ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rbac_is_told_from_admission() {
        let answer = |code: u16, message: &str| {
            let body = serde_json::json!({"kind": "Status", "message": message}).to_string();
            ApiError::from_answer(StatusCode::from_u16(code).unwrap(), body.as_bytes())
        };
        let rbac = r#"deployments.apps "web" is forbidden: User "u" cannot patch resource "deployments" in API group "apps" in the namespace "n""#;
        assert!(matches!(answer(403, rbac), ApiError::Forbidden(_)));
        assert!(matches!(answer(403, r#"admission webhook "x" denied the request: no"#), ApiError::Denied(_)));
        assert!(matches!(answer(422, "denied request: no"), ApiError::Denied(_)));
        assert!(matches!(answer(500, "failed calling webhook"), ApiError::Failed { code: 500, .. }));
        assert!(answer(503, "x").is_transient() && !answer(422, "x").is_transient());
    }

    #[test]
    fn an_answer_that_is_no_status_is_quoted() {
        let error = ApiError::from_answer(StatusCode::BAD_GATEWAY, b"<html>bad gateway</html>");
        assert!(error.to_string().contains("<html>bad gateway"), "{error}");
    }
}
