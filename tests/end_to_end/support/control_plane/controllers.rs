//! The clients of the API server that make a cluster of it: the controllers, the
//! scheduler, and kwok, which plays the nodes.

use std::path::{Path, PathBuf};

use super::api_server::authority;

pub(super) const CONTROLLER_MANAGER: &str = "kube-controller-manager";
pub(super) const SCHEDULER: &str = "kube-scheduler";
pub(super) const KWOK: &str = "kwok";

/// A label of pods that kwok leaves alone: a test writes their status and removes them.
pub const PLAYED_BY_A_TEST: &str = "testbed.pushroll.dev/kubelet";

/// What rollouts need, and `node-lifecycle-controller`, without which every
/// node keeps its taint `NoSchedule`.
const CONTROLLERS: [&str; 12] = [
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "daemonset-controller",
    "cronjob-controller",
    "job-controller",
    "endpointslice-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "node-lifecycle-controller",
];

/// The binaries and their arguments. Each logs in as a user of its own name.
pub(super) fn arguments(
    binaries: &Path,
    directory: &Path,
    kubeconfig: impl Fn(&str) -> PathBuf,
) -> [(&'static str, Vec<String>); 3] {
    let log_in = |user: &str| format!("--kubeconfig={}", kubeconfig(user).display());
    // No ports (`--secure-port=0`): that they work is seen by what they do.
    let common = ["--secure-port=0", "--leader-elect=false", "--kube-api-qps=1000", "--kube-api-burst=2000"];

    let mut controller_manager = vec![
        log_in(CONTROLLER_MANAGER),
        format!("--controllers={}", CONTROLLERS.join(",")),
        format!("--root-ca-file={}", authority(directory).display()),
        // A machine that is busy or was suspended is no dead node.
        "--node-monitor-grace-period=1h".to_owned(),
    ];
    controller_manager.extend(common.map(str::to_owned));

    let mut scheduler = vec![log_in(SCHEDULER)];
    scheduler.extend(common.map(str::to_owned));

    let kwok = vec![
        log_in(KWOK),
        format!("--config={}", binaries.join("stages.yaml").display()),
        "--manage-all-nodes=true".to_owned(),
        "--node-ip=127.0.0.1".to_owned(),
        "--cidr=10.1.0.0/16".to_owned(),
        format!("--disregard-status-with-label-selector={PLAYED_BY_A_TEST}"),
    ];
    [(CONTROLLER_MANAGER, controller_manager), (SCHEDULER, scheduler), (KWOK, kwok)]
}
