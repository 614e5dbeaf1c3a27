//! A LIST of the pods of a restart.

use std::ops::ControlFlow;

use super::pods::{Pushed, RestartOf, SeenImage, SeenPods};
use crate::cluster::{ApiError, Cluster, PAGE_ITEMS};

/// Looks at all pods of a restart, and compares them with each pushed image.
pub(super) async fn look_at_pods(
    cluster: &Cluster,
    restart: RestartOf<'_>,
    selector: &str,
    pushed: impl IntoIterator<Item = Pushed>,
) -> Result<(SeenPods, Vec<SeenImage>), ApiError> {
    let mut pods = SeenPods::default();
    let mut images: Vec<_> = pushed.into_iter().map(SeenImage::new).collect();
    let add = |pod| {
        if restart.has(&pod) {
            pods.add(&pod);
            images.iter_mut().for_each(|image| image.add(&pod));
        }
        ControlFlow::Continue(())
    };
    cluster.list_pods(&restart.workload.namespace, selector, PAGE_ITEMS, add).await?;
    Ok((pods, images))
}
