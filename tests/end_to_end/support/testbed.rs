//! The programs that the tests start, as `tests/testbed/build` builds them.

use std::path::PathBuf;

/// Set by `make test`: the folder of the testbed's binaries.
pub const BINARIES: &str = "PUSHROLL_TESTBED";

/// The folder of the testbed's binaries.
pub fn testbed() -> Result<PathBuf, String> {
    std::env::var_os(BINARIES).map_or_else(build, |binaries| Ok(PathBuf::from(binaries)))
}

/// For `cargo test -- --ignored` without `make`.
fn build() -> Result<PathBuf, String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed/build");
    let output = std::process::Command::new(script).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}
