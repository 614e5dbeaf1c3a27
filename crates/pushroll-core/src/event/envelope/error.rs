//! Why a request is no delivery.

/// Why a request is no Pub/Sub delivery.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Neither the body nor the headers are of any shape a delivery can have.
    #[error(
        "the body is no JSON object ({0}) and there is no x-goog-pubsub-* or ce-* header: send a Pub/Sub push, \
         wrapped or unwrapped, or a CloudEvent"
    )]
    NotADelivery(String),
    /// A wrapped message that Pub/Sub cannot have written.
    #[error("{field}: {problem}")]
    Malformed {
        /// Where, as a path into the body or the name of a header.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl EnvelopeError {
    pub(super) fn malformed(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Malformed { field, problem: problem.into() }
    }
}
