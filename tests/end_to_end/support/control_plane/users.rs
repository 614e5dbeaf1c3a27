//! Who may log in to a control plane, and the kubeconfigs to do it with.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

/// May do everything.
pub const ADMIN: &str = "admin";

/// The service account that `deploy/` runs pushroll as.
pub const SERVICE_ACCOUNT: &str = "system:serviceaccount:pushroll:pushroll";

/// The users `test-0`, `test-1`, ...: each may do everything, and each test
/// takes one of its own, so that the audit log tells the tests' calls apart.
pub(super) const TEST_USERS: usize = 4000;

/// The users `limited-0`, `limited-1`, ...: each may do what a test allows.
pub(super) const LIMITED_USERS: usize = 10;

/// The token that `user` logs in with.
pub(super) fn token(user: &str) -> String {
    format!("token-{}", file_name(user))
}

/// The file for `--token-auth-file`: token, user, uid, groups.
pub(super) fn token_file(daemons: &[&str]) -> String {
    let test_users = (0..TEST_USERS).map(|number| format!("test-{number}"));
    let masters = [ADMIN]
        .iter()
        .chain(daemons)
        .map(|user| (*user).to_owned())
        .chain(test_users)
        .map(|user| (user, ",\"system:masters\""));
    let service_account = (
        SERVICE_ACCOUNT.to_owned(),
        ",\"system:serviceaccounts,system:serviceaccounts:pushroll,system:authenticated\"",
    );
    let limited = (0..LIMITED_USERS).map(|number| (format!("limited-{number}"), ""));
    let mut file = String::new();
    for (user, groups) in masters.chain([service_account]).chain(limited) {
        // Writing to a String cannot fail.
        let _ = writeln!(file, "{},{user},{user}{groups}", token(&user));
    }
    file
}

/// Writes a kubeconfig into `directory`, and returns its path.
pub(super) fn write_kubeconfig(
    directory: &Path,
    url: &str,
    authority: &[u8],
    user: &str,
    namespace: &str,
) -> anyhow::Result<PathBuf> {
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "testbed", "cluster": {
            "server": url,
            "certificate-authority-data": STANDARD.encode(authority),
        }}],
        "users": [{ "name": user, "user": { "token": token(user) } }],
        "contexts": [{ "name": "testbed", "context": {
            "cluster": "testbed", "user": user, "namespace": namespace,
        }}],
        "current-context": "testbed",
    });
    let path = directory.join(format!("{}.{namespace}.kubeconfig", file_name(user)));
    // Renamed into place: several tests may ask for the same one at once.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(&serde_json::to_vec_pretty(&kubeconfig)?)?;
    file.persist(&path)?;
    Ok(path)
}

fn file_name(user: &str) -> String {
    user.replace(':', "-")
}
