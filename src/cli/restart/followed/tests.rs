use super::*;
use crate::workload::WorkloadKind;

#[tokio::test]
async fn a_rollout_that_cannot_be_followed_has_an_unknown_ending() {
    let workload = |name: &str| WorkloadRef::new("shop", WorkloadKind::Deployment, name);
    let rollout = |name: &str| Rollout {
        workload: workload(name),
        ending: Ending::Complete,
        reason: "1 of 1 pods are new and available".to_owned(),
    };
    let mut following = Following::default();
    following.add(workload("db"), async { panic!("of the test") });
    following.add(workload("web"), std::future::ready(rollout("web")));
    let ended = following.ended().await;
    assert_eq!(ended.len(), 2, "{ended:?}");
    assert_eq!((&ended[0].workload, ended[0].ending), (&workload("db"), Ending::Unknown), "{ended:?}");
    assert!(ended[0].reason.contains("is not known"), "{ended:?}");
    assert_eq!(ended[1], rollout("web"));
}
