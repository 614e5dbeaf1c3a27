//! An error with its causes, as one sentence.

use std::error::Error;

/// `error: cause: cause of that`, without the causes that a message before them quotes already.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in causes(error) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// What caused an error, the direct cause first.
pub(crate) fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Failure {
        #[error("the disk is full")]
        Disk,
        #[error("not written: {0}")]
        Quoting(#[source] Box<Failure>),
        #[error("nothing is saved")]
        Silent(#[source] Box<Failure>),
    }

    #[test]
    fn each_cause_is_said_once() {
        let quoting = || Box::new(Failure::Quoting(Box::new(Failure::Disk)));
        assert_eq!(with_causes(&*quoting()), "not written: the disk is full");
        assert_eq!(with_causes(&Failure::Silent(quoting())), "nothing is saved: not written: the disk is full");
    }
}
