//! Logging in as a service account, with a token of its own. Control plane only.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::command::{Ran, run_with};
use super::control_plane::ADMIN;
use super::ground::Ground;

/// A service account, logged in.
pub struct LoggedIn {
    /// Who it is to the API server.
    pub user: String,
    /// In the account's namespace, as a pod is.
    pub kubeconfig: PathBuf,
}

impl Ground {
    /// Logs in as a service account that exists.
    pub async fn log_in(&self, namespace: &str, name: &str) -> LoggedIn {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let review = self.request("POST", &path, Some(json!({"spec": {}}))).await.unwrap();
        let kubeconfig = std::fs::read(self.real().kubeconfig_in(ADMIN, namespace)).unwrap();
        let mut kubeconfig: Value = serde_json::from_slice(&kubeconfig).unwrap();
        kubeconfig["users"][0]["user"] = json!({"token": review["status"]["token"]});
        let path = self.directory().join(format!("{namespace}.{name}.kubeconfig"));
        std::fs::write(&path, kubeconfig.to_string()).unwrap();
        let user = format!("system:serviceaccount:{namespace}:{name}");
        LoggedIn { user, kubeconfig: path }
    }
}

impl LoggedIn {
    /// Runs `pushroll` as this account, without a mount: none is named, and there is none where it looks by default.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, &[]).await
    }

    /// As [`Self::run`], with these environment variables and no others.
    pub async fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
        let kubeconfig = ("KUBECONFIG", self.kubeconfig.to_str().unwrap());
        let environment: Vec<_> = environment.iter().copied().chain([kubeconfig]).collect();
        run_with(arguments, &environment, "").await
    }
}
