//! One LIST in place of many GETs.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{Calls, MANY, create, idle, name, names, with_code};
use crate::support::documents::document;
use crate::support::fixtures::{PushMessage, codes, deployment};
use crate::support::ground::Ground;
use crate::support::http::get;
use crate::support::proxy::{ApiProxy, ApiRequest, Passage};
use crate::support::suite::Suite;

pub(super) fn tests(suite: &mut Suite) {
    suite.on_both(of_many_workloads_one_list_replaces_the_gets);
    suite.on_both(what_changes_after_the_list_is_looked_at_again);
    suite.on_both(few_of_very_many_workloads_are_looked_at_one_by_one);
    suite.on_both(where_a_list_is_refused_each_workload_is_looked_at);
    suite.on_embedded(a_list_that_hangs_leaves_time_for_gets);
    suite.on_embedded(a_list_of_several_pages_shows_all);
}

async fn of_many_workloads_one_list_replaces_the_gets(ground: Ground) {
    let image = ground.image("web");
    create(&ground, &[&image], MANY).await;
    let service = ground.service().arguments(["--hold", "60s"]).start_ready().await;
    let push = PushMessage::now(&image, 1);
    for (code, patched) in [("runs_image", names(0..MANY)), ("already_restarted", names([]))] {
        let before = service.api_calls().len();
        let answer = service.push(&push).await;
        assert_eq!((answer.status.as_u16(), with_code(&answer, code)), (200, MANY), "{}", answer.text());
        let calls = Calls::of(&service, before);
        assert_eq!((calls.lists.len(), calls.patched()), (1, patched), "{:?}", calls.lists);
        assert!(calls.lists[0].contains("limit=") && !calls.lists[0].contains("resourceVersion"), "{:?}", calls.lists);
        assert_eq!(calls.gets_without_conflicts(), names([]));
    }
    // What people ask for costs no more.
    let before = service.api_calls().len();
    let explained = get(&format!("{}/v1/explain?image={image}", service.admin)).await;
    assert_eq!(explained.json()["workloads"].as_array().unwrap().len(), MANY, "{}", explained.text());
    let calls = Calls::of(&service, before);
    assert_eq!((calls.lists.len(), calls.gets, calls.patches), (1, names([]), vec![]));
}

/// Between the LIST and the PATCHes a workload gets another image, one opts out, one is deleted, one is deleted and
/// created again, and one gets a label.
async fn what_changes_after_the_list_is_looked_at_again(ground: Ground) {
    let image = ground.image("web");
    create(&ground, &[&image], MANY).await;
    let images = [image.clone()];
    let manifest = |number| idle(&ground, number, &images);
    let [moved, opts_out, gone, again, labelled] = [3, 4, 5, 6, 7].map(manifest);
    let edited = Arc::new(OnceCell::new());
    let editor = ground.clone();
    let proxy = ApiProxy::start(&ground, move |request| {
        let (ground, edited) = (editor.clone(), Arc::clone(&edited));
        let [moved, opts_out, gone, again, labelled] = [&moved, &opts_out, &gone, &again, &labelled].map(Value::clone);
        async move {
            if request.is_patch() {
                let edit = async {
                    let containers = json!([{"name": "main", "image": "registry.example/another:1"}]);
                    let image = json!({"spec": {"template": {"spec": {"containers": containers}}}});
                    ground.patch(&moved, "someone", image).await;
                    let opt_out = json!({"metadata": {"annotations": {"pushroll.dev/restart": "false"}}});
                    ground.patch(&opts_out, "someone", opt_out).await;
                    ground.delete(&gone).await;
                    ground.delete(&again).await;
                    ground.create(&again).await;
                    ground.patch(&labelled, "someone", json!({"metadata": {"labels": {"team": "blue"}}})).await;
                };
                edited.get_or_init(|| edit).await;
            }
            Passage::Forward
        }
    })
    .await;
    let service = ground.service().arguments(["--hold", "60s"]).through(&proxy).start_ready().await;
    let before = service.api_calls().len();
    let answer = service.push(&PushMessage::now(&image, 1)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let codes = codes(&answer.json());
    let code = |number| codes[&name(number)].1.as_str();
    assert_eq!([3, 4, 5, 6, 7].map(code), ["image_changed", "opted_out", "gone", "runs_image", "runs_image"]);
    assert_eq!(with_code(&answer, "runs_image"), MANY - 3, "{}", answer.text());
    let calls = Calls::of(&service, before);
    assert_eq!(calls.lists.len(), 1, "{:?}", calls.lists);
    assert!(calls.gets.is_superset(&names([3, 4, 6, 7])), "{:?}", calls.gets);
    assert!(calls.gets_without_conflicts().is_subset(&names(3..=7)), "{:?}", calls.gets);
}

/// A LIST of all would be the dearer way.
async fn few_of_very_many_workloads_are_looked_at_one_by_one(ground: Ground) {
    let (image, other) = (ground.image("web"), ground.image("other"));
    create(&ground, &[&image], MANY).await;
    let of_web: Vec<Value> = (0..MANY).map(|number| idle(&ground, number, std::slice::from_ref(&image))).collect();
    // Of these there is only the entry in the index.
    let others: Vec<Value> =
        (0..MANY * 10).map(|number| deployment(ground.namespace(), &format!("other-{number}"), &other)).collect();
    let [of_web, others] = [&of_web, &others].map(|workloads| workloads.iter().collect::<Vec<_>>());
    let mut volume = ground.volume();
    volume.show(&document(&[(&image, &of_web), (&other, &others)]));
    let service = ground.service().arguments(["--hold", "60s"]).mount(volume.directory()).start_ready().await;
    let before = service.api_calls().len();
    let answer = service.push(&PushMessage::now(&image, 1)).await;
    assert_eq!((answer.status.as_u16(), with_code(&answer, "runs_image")), (200, MANY), "{}", answer.text());
    let calls = Calls::of(&service, before);
    assert_eq!((calls.gets, calls.lists.len()), (names(0..MANY), 0));
}

async fn where_a_list_is_refused_each_workload_is_looked_at(ground: Ground) {
    let image = ground.image("web");
    create(&ground, &[&image], MANY).await;
    let proxy = ApiProxy::start(&ground, |request| async move {
        if is_list_of_one_namespace(&request) { Passage::Refuse(403, "no") } else { Passage::Forward }
    })
    .await;
    let service = ground.service().arguments(["--hold", "60s"]).through(&proxy).start_ready().await;
    let before = service.api_calls().len();
    let answer = service.push(&PushMessage::now(&image, 1)).await;
    assert_eq!((answer.status.as_u16(), with_code(&answer, "runs_image")), (200, MANY), "{}", answer.text());
    assert_eq!(Calls::of(&service, before).gets, names(0..MANY));
}

async fn a_list_that_hangs_leaves_time_for_gets(ground: Ground) {
    let image = ground.image("web");
    create(&ground, &[&image], MANY).await;
    let proxy = ApiProxy::start(&ground, |request| async move {
        if is_list_of_one_namespace(&request) { Passage::Hang } else { Passage::Forward }
    })
    .await;
    let service = ground.service().arguments(["--hold", "4s"]).through(&proxy).start_ready().await;
    let push = PushMessage::now(&image, 1);
    let mut deliveries = 1;
    while service.push(&push).await.status != 200 {
        deliveries += 1;
        assert!(deliveries < 20, "it gets no further");
    }
    assert_eq!(service.patched().len(), MANY);
}

async fn a_list_of_several_pages_shows_all(ground: Ground) {
    const PAGES: usize = 620;
    let image = ground.image("web");
    create(&ground, &[&image], PAGES).await;
    let service = ground.service().arguments(["--hold", "60s"]).start_ready().await;
    let before = service.api_calls().len();
    let answer = service.push(&PushMessage::now(&image, 1)).await;
    assert_eq!((answer.status.as_u16(), with_code(&answer, "runs_image")), (200, PAGES), "{}", answer.text());
    let calls = Calls::of(&service, before);
    assert_eq!((calls.lists.len(), calls.gets, calls.patches.len()), (2, names([]), PAGES), "{:?}", calls.lists);
}

fn is_list_of_one_namespace(request: &ApiRequest) -> bool {
    let path = request.uri.split('?').next().unwrap_or_default();
    request.method == Method::GET && path.starts_with("/apis/apps/v1/namespaces/") && path.ends_with("/deployments")
}
