//! The settings of who may push.

use axum::http::Uri;
use axum::http::uri::{InvalidUri, Scheme};
use clap::Args;

use super::{AuthConfig, GOOGLE_JWKS_URL};
use crate::arguments::switch;
use crate::server::local_callers::is_local;

/// Who may push. The default names nobody, and [`Self::config`] refuses it.
#[derive(Debug, Clone, Args)]
pub struct AuthArgs {
    /// An audience that a push's token may have: the subscription's, else its endpoint's URL; several with commas
    #[arg(long, value_delimiter = ',', value_name = "AUDIENCES", value_parser = audience, env = "PUSHROLL_AUDIENCE")]
    pub audience: Vec<String>,
    /// A service account that a push's token may be of, by its email; several with commas
    #[arg(long, value_delimiter = ',', value_name = "EMAILS", value_parser = email, env = "PUSHROLL_SERVICE_ACCOUNT")]
    pub service_account: Vec<String>,
    /// Where the keys are that tokens are signed with, a JWKS; https, but on loopback
    #[arg(long, value_name = "URL", default_value_t = Self::default().jwks_url, value_parser = jwks_url, env = "PUSHROLL_JWKS_URL")]
    pub jwks_url: Uri,
    /// Take pushes from anyone who can reach the public listener
    #[arg(long, env = "PUSHROLL_INSECURE_NO_AUTH", value_parser = switch)]
    pub insecure_no_auth: bool,
}

/// Why it is not clear who may push.
#[derive(Debug, thiserror::Error)]
pub enum AuthArgsError {
    /// Anyone, and yet somebody is named.
    #[error(
        "--insecure-no-auth takes pushes from anyone, --audience and --service-account do not: give the one or the other"
    )]
    Contradictory,
    /// Nobody is named.
    #[error(
        "it is not known whose pushes to take: name the subscription's audience (its endpoint's URL, unless it has \
         another) with --audience or PUSHROLL_AUDIENCE, and the email of its service account with --service-account or \
         PUSHROLL_SERVICE_ACCOUNT; --insecure-no-auth takes them from anyone"
    )]
    Missing,
}

impl AuthArgs {
    /// Whether nothing is said of who may push, so that a service which pulls needs no public listener.
    pub fn is_unset(&self) -> bool {
        self.audience.is_empty() && self.service_account.is_empty() && !self.insecure_no_auth
    }

    /// `None`: anyone may push.
    ///
    /// # Errors
    /// [`AuthArgsError`]
    pub fn config(self) -> Result<Option<AuthConfig>, AuthArgsError> {
        let names_somebody = !self.audience.is_empty() || !self.service_account.is_empty();
        match self.insecure_no_auth {
            true if names_somebody => Err(AuthArgsError::Contradictory),
            true => Ok(None),
            false if self.audience.is_empty() || self.service_account.is_empty() => Err(AuthArgsError::Missing),
            false => Ok(Some(AuthConfig {
                audiences: self.audience,
                service_accounts: self.service_account,
                jwks_url: self.jwks_url,
            })),
        }
    }
}

impl Default for AuthArgs {
    fn default() -> Self {
        Self {
            audience: Vec::new(),
            service_account: Vec::new(),
            jwks_url: Uri::from_static(GOOGLE_JWKS_URL),
            insecure_no_auth: false,
        }
    }
}

fn audience(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(char::is_whitespace) {
        return Err("expected audiences, separated by commas alone".to_owned());
    }
    Ok(text.to_owned())
}

fn email(text: &str) -> Result<String, String> {
    let has_both_parts = text.split_once('@').is_some_and(|(name, domain)| !name.is_empty() && !domain.is_empty());
    if !has_both_parts || text.contains(char::is_whitespace) {
        return Err(
            "expected emails such as NAME@PROJECT.iam.gserviceaccount.com, separated by commas alone".to_owned()
        );
    }
    Ok(text.to_owned())
}

/// A caller that can change the keys on their way can make tokens of its own.
fn jwks_url(text: &str) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|error: InvalidUri| error.to_string())?;
    let host = url.host().ok_or("expected a URL such as https://www.googleapis.com/oauth2/v3/certs")?;
    if url.scheme() == Some(&Scheme::HTTPS) || url.scheme() == Some(&Scheme::HTTP) && is_local(host) {
        Ok(url)
    } else {
        Err("expected https; http is for loopback alone".to_owned())
    }
}
