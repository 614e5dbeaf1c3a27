//! A push that is kept for a part is carried out although the scope is written in another way meanwhile.

use std::time::Duration;

use super::ready;
use super::stage::{Permission, Stage, kept};
use crate::support::fixtures::{PushMessage, daemon_set};
use crate::support::ground::Ground;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_embedded(a_push_kept_for_a_namespace_is_done_by_a_scope_of_all);
    suite.on_embedded(a_push_kept_for_all_namespaces_is_done_by_a_scope_of_some);
}

async fn a_push_kept_for_a_namespace_is_done_by_a_scope_of_all(ground: Ground) {
    let stage = Stage::of(ground).await;
    let before = stage.service(&Permission::missing(), Duration::ZERO).start().await;
    ready(&before).await;
    assert_eq!(before.push(&PushMessage::now(&stage.image, 1)).await.status, 200);
    assert_eq!((stage.generations().await, stage.kept().await.len()), ((2, 1), 3));

    let service = stage.service(&Permission::there(), Duration::ZERO);
    let service = service.configure(|config| config.policy.namespaces = Vec::new()).start().await;
    ready(&service).await;
    eventually("what was kept is done", async || stage.kept().await.is_empty().then_some(())).await;
    assert_eq!(stage.generations().await, (2, 2));
}

async fn a_push_kept_for_all_namespaces_is_done_by_a_scope_of_some(ground: Ground) {
    let image = ground.image("web");
    let agent = daemon_set(ground.namespace(), "agent", &image);
    ground.create(&agent).await;
    let service = |permission: Permission, namespaces: Vec<String>| {
        let service = ground.service_in_process();
        let service =
            service.faults(move |request| std::future::ready(permission.passage(request.uri.contains("/daemonsets"))));
        service.configure(|config| {
            config.policy.namespaces = namespaces;
            config.cache.unseen_grace = Duration::ZERO;
            config.waiting.deferred_poll = Duration::from_millis(20);
        })
    };
    let before = service(Permission::missing(), Vec::new()).start().await;
    ready(&before).await;
    assert_eq!(before.push(&PushMessage::now(&image, 1)).await.status, 200);
    assert_eq!((ground.generation(&agent).await, kept(&ground).await.len()), (1, 1));

    let after = service(Permission::there(), vec![ground.namespace().to_owned()]).start().await;
    ready(&after).await;
    eventually("what was kept is done", async || kept(&ground).await.is_empty().then_some(())).await;
    assert_eq!(ground.generation(&agent).await, 2);
}
