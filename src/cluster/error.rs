//! The errors of a call to the API server, by what they mean to the caller.

use http::StatusCode;
use serde::Deserialize;

use crate::excerpt::excerpt;

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
    /// Refused by admission (a policy, a webhook or a built-in plugin), or because the object is invalid. It may be
    /// accepted later: policies and webhooks come and go.
    #[error("refused by the API server: {0}")]
    Denied(String),
    /// 404, and not from admission.
    #[error("not found: {0}")]
    NotFound(String),
    /// 409: the object has changed since it was read, or exists already.
    #[error("conflict: {0}")]
    Conflict(String),
    /// 410: a list's `continue` token has expired.
    #[error("expired: {0}")]
    Expired(String),
    /// 429, or 503 with `Retry-After`: try again later, and there is no time for that.
    #[error("the API server is too busy: {0}")]
    TooBusy(String),
    /// No call was made: we make as many already as we may.
    #[error(
        "no turn at the API server within {waited:.1?}: it sees at most {concurrency} calls at once (--concurrency)"
    )]
    NoPermit {
        /// How long the call has waited.
        waited: std::time::Duration,
        /// How many are made at once.
        concurrency: usize,
    },
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

/// The part of `meta/v1.Status` that distinguishes errors.
#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    message: String,
}

/// How much is quoted of an answer that is no `Status`.
const MESSAGE_CHARACTERS: usize = 200;

impl ApiError {
    /// From an answer that is not 2xx. `is_write` matters because admission judges only writes.
    ///
    /// An answer that is not a Kubernetes `Status` comes from something in between (a proxy, a load balancer) or from a
    /// broken API server. It is never taken for a refusal by admission.
    pub(super) fn from_answer(status: StatusCode, is_write: bool, body: &[u8]) -> Self {
        let code = status.as_u16();
        let parsed: Status = serde_json::from_slice(body).unwrap_or_default();
        if parsed.kind != "Status" {
            let message = excerpt(String::from_utf8_lossy(body).trim(), MESSAGE_CHARACTERS);
            return Self::Failed { code, message };
        }
        Self::from_refusal(code, is_write, parsed.message)
    }

    /// The API server's own message if there is one, else the whole sentence.
    pub(super) fn message(&self) -> String {
        match self {
            Self::TooBusy(message) | Self::Failed { message, .. } => message.clone(),
            other => other.to_string(),
        }
    }

    /// From the code and the message of a `Status`. Admission may answer with any code, so its words are looked at first.
    pub(super) fn from_refusal(code: u16, is_write: bool, message: String) -> Self {
        if is_write && is_admission_refusal(&message) {
            return Self::Denied(message);
        }
        match code {
            401 => Self::Unauthorized(message),
            403 if !is_write || is_rbac_refusal(&message) => Self::Forbidden(message),
            400 | 403 | 405 | 413 | 415 | 422 if is_write => Self::Denied(message),
            404 => Self::NotFound(message),
            409 => Self::Conflict(message),
            410 => Self::Expired(message),
            429 => Self::TooBusy(message),
            code => Self::Failed { code, message },
        }
    }
}

/// Whether the body of an answer to a write is a refusal by admission, whatever the status of the answer is.
pub(super) fn is_refused_by_admission(body: &[u8]) -> bool {
    let status: Status = serde_json::from_slice(body).unwrap_or_default();
    status.kind == "Status" && is_admission_refusal(&status.message)
}

/// The API server writes `admission webhook "W" denied the request: M` or `... without explanation` (Kubernetes:
/// `apiserver/pkg/admission/plugin/webhook/errors/statuserror.go`), and `ValidatingAdmissionPolicy 'P' with binding 'B'
/// denied request: M` (`.../plugin/policy/validating/dispatcher.go`). W, P and M are free text. The code is the webhook's
/// or the policy's choice.
fn is_admission_refusal(message: &str) -> bool {
    let by_webhook = message.contains("admission webhook \"") && message.contains("denied the request");
    by_webhook || (message.contains("AdmissionPolicy '") && message.contains("denied request"))
}

/// RBAC writes `User "U" cannot VERB resource "R" in API group "G"`
/// (Kubernetes: `apiserver/pkg/endpoints/handlers/responsewriters/errors.go`). The messages of admission are free text.
fn is_rbac_refusal(message: &str) -> bool {
    message.contains("User \"") && message.contains("\" cannot ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16, is_write: bool, message: &str) -> ApiError {
        let body = serde_json::json!({"kind": "Status", "message": message}).to_string();
        ApiError::from_answer(StatusCode::from_u16(code).unwrap(), is_write, body.as_bytes())
    }

    #[test]
    fn rbac_is_told_from_admission() {
        let rbac = r#"deployments.apps "web" is forbidden: User "u" cannot patch resource "deployments" in API group "apps" in the namespace "n""#;
        assert!(matches!(answer(403, true, rbac), ApiError::Forbidden(_)));
        assert!(matches!(answer(403, true, r#"admission webhook "x" denied the request: no"#), ApiError::Denied(_)));
        assert!(matches!(answer(422, true, "denied request: no"), ApiError::Denied(_)));
        assert!(matches!(answer(500, true, "failed calling webhook"), ApiError::Failed { code: 500, .. }));
    }

    #[test]
    fn admission_refuses_with_any_code() {
        let by_policy = "deployments.apps \"web\" is forbidden: ValidatingAdmissionPolicy 'freeze' with binding 'freeze' \
                         denied request: changes are frozen";
        for code in [400, 401, 403, 404, 409, 410, 413, 422, 429, 500, 503, 504] {
            for message in [r#"admission webhook "x" denied the request: no such team"#, by_policy] {
                assert!(matches!(answer(code, true, message), ApiError::Denied(_)), "{code} {message}");
                assert!(!matches!(answer(code, false, message), ApiError::Denied(_)), "{code} {message}");
            }
        }
        assert!(matches!(answer(404, true, "deployments.apps \"web\" not found"), ApiError::NotFound(_)));
        assert!(matches!(answer(409, true, "the object has been modified"), ApiError::Conflict(_)));
    }

    #[test]
    fn nothing_is_final_that_admission_did_not_say() {
        assert!(matches!(answer(403, false, "no"), ApiError::Forbidden(_)));
        assert!(matches!(answer(400, false, "no"), ApiError::Failed { code: 400, .. }));
        for code in [403, 404, 409, 422] {
            let error = ApiError::from_answer(StatusCode::from_u16(code).unwrap(), true, b"<html>blocked</html>");
            assert!(matches!(&error, ApiError::Failed { code: found, .. } if *found == code), "{error}");
            assert!(error.to_string().contains("<html>blocked"), "{error}");
        }
    }
}
