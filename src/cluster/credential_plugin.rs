//! What may be said of credentials that cannot be had. kube's errors quote the command line of a credential plugin and its
//! environment, which holds secrets, and what it printed, which is a token.

use std::error::Error;
use std::io;

use kube::client::AuthError;
use kube::config::AuthInfo;

use crate::error_chain::causes;
use crate::excerpt::excerpt;

/// How much of a plugin's standard error a message quotes, and of the kubeconfig's hint.
const QUOTED_CHARACTERS: usize = 200;

/// The `exec` plugin of a kubeconfig's user.
#[derive(Debug, Clone)]
pub(super) struct CredentialPlugin {
    command: String,
    install_hint: Option<String>,
}

/// Why there are no credentials, without any secret.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct CredentialError(String);

impl CredentialPlugin {
    /// That of this user; the name is of use only in errors, and only a user with a plugin has its errors.
    pub(super) fn of(user: &AuthInfo) -> Self {
        let exec = user.exec.as_ref();
        let of_provider = || user.auth_provider.as_ref()?.config.get("cmd-path").cloned();
        Self {
            command: exec.and_then(|exec| exec.command.clone()).or_else(of_provider).unwrap_or_default(),
            install_hint: exec.and_then(|exec| exec.install_hint.clone()),
        }
    }

    /// What may be said where an error is one of credentials; `None` for any other error.
    pub(super) fn error(&self, error: &(dyn Error + 'static)) -> Option<CredentialError> {
        let chain = std::iter::once(error).chain(causes(error));
        chain.into_iter().find_map(|error| error.downcast_ref()).map(|error| CredentialError(self.sentence(error)))
    }

    fn sentence(&self, error: &AuthError) -> String {
        let plugin = format!("the credential plugin {:?} of the kubeconfig", self.command);
        match error {
            AuthError::AuthExecStart(error) => {
                let is_missing = error.kind() == io::ErrorKind::NotFound;
                match self.install_hint.as_deref().map(one_line).filter(|_| is_missing) {
                    Some(hint) => format!("{plugin} cannot be started: {error}; {hint}"),
                    None => format!("{plugin} cannot be started: {error}"),
                }
            }
            AuthError::AuthExecRun { out, .. } => match one_line(&String::from_utf8_lossy(&out.stderr)) {
                stderr if stderr.is_empty() => format!("{plugin} failed with {}", out.status),
                stderr => format!("{plugin} failed with {}: {stderr}", out.status),
            },
            AuthError::AuthExecParse(_) => format!("{plugin} did not print an ExecCredential"),
            AuthError::ExecPluginFailed => format!("{plugin} printed an ExecCredential without a status"),
            AuthError::ReadTokenFile(error, path) => {
                format!("the token file {} cannot be read: {error}", path.display())
            }
            AuthError::MissingCommand
            | AuthError::ExecMissingClusterInfo
            | AuthError::InvalidBasicAuth(_)
            | AuthError::InvalidBearerToken(_)
            | AuthError::UnrefreshableTokenResponse => {
                format!("the credentials of the kubeconfig cannot be used: {error}")
            }
            // Their texts may quote tokens, keys or what a command printed.
            _ => "the credentials of the kubeconfig cannot be used".to_owned(),
        }
    }
}

fn one_line(text: &str) -> String {
    excerpt(&text.split_whitespace().collect::<Vec<_>>().join(" "), QUOTED_CHARACTERS)
}
