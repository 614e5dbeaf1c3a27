//! The index: which spellings of an image are one image, what of a workload counts, and documents by hand.

use serde_json::{Value, json};

use crate::support::documents::{document, names};
use crate::support::fixtures::{PushMessage, config_map, daemon_set, deployment, digest, result_of, stateful_set};
use crate::support::ground::Ground;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_both(spellings_of_one_image_are_one_image);
    suite.on_both(names_that_only_look_alike_are_not_matched);
    suite.on_both(init_containers_and_image_volumes_count);
    suite.on_both(a_workload_pinned_by_digest_is_never_matched);
    suite.on_both(a_document_by_hand_is_followed_on_the_mount);
    suite.on_both(a_document_by_hand_in_the_config_map_is_read);
    suite.on_both(what_cannot_be_read_of_a_document_is_left_out);
}

/// As a pod template writes it, and as the registry or a person does; `N` is the test's own.
const SAME: [(&str, &str); 12] = [
    ("N", "docker.io/library/N:latest"),
    ("library/N:1", "index.docker.io/N:1"),
    ("registry-1.docker.io/N/app:1", "N/app:1"),
    ("N/one", "docker.io/N/one:latest"),
    ("gcr.io/N/app:1", "us-docker.pkg.dev/N/gcr.io/app:1"),
    ("us-docker.pkg.dev/N/gcr.io/app:2", "gcr.io/N/app:2"),
    ("us.gcr.io/N/team/app:1", "us-docker.pkg.dev/N/us.gcr.io/team/app:1"),
    ("europe-docker.pkg.dev/N/eu.gcr.io/app:1", "eu.gcr.io/N/app:1"),
    ("asia.gcr.io/N/app:1", "asia-docker.pkg.dev/N/asia.gcr.io/app:1"),
    ("gcr.io/example.com/N/app:1", "us-docker.pkg.dev/example.com/N/gcr.io/app:1"),
    ("Registry.Example:5000/N/app", "registry.example:5000/N/app:latest"),
    ("localhost:5000/N/app:1", "localhost:5000/N/app:1"),
];

async fn spellings_of_one_image_are_one_image(ground: Ground) {
    let own = |image: &str| image.replace('N', ground.namespace());
    let mut workloads = Vec::new();
    for (number, (written, _)) in SAME.iter().enumerate() {
        workloads.push(deployment(ground.namespace(), &format!("w{number}"), &own(written)));
        ground.create(workloads.last().unwrap()).await;
    }
    let service = ground.service().arguments(["--namespaces", ground.namespace()]).start_ready().await;
    for (number, (written, asked)) in SAME.iter().enumerate() {
        let expected = [format!("w{number}")];
        for spelling in [written, asked] {
            assert_eq!(names(&service.lookup(&own(spelling)).await), expected, "{written}, asked for {spelling}");
        }
        let answer = service.push(&PushMessage::now(&own(asked), 1)).await.json();
        assert_eq!(answer["outcome"], "restarted", "{written}: {answer}");
        assert_eq!(names(&answer), expected, "{written}");
    }
    for workload in &workloads {
        assert_eq!(ground.generation(workload).await, 2, "{workload}");
    }
}

async fn names_that_only_look_alike_are_not_matched(ground: Ground) {
    let own = |image: &str| image.replace('N', ground.namespace());
    let rows = [
        ("registry.example/N/a:1", "registry.example/N/a:10"),
        ("registry.example/N/b:10", "registry.example/N/b:1"),
        ("registry.example/N/c:1", "registry.example/N/c:latest"),
        ("registry.example/N/d:v1", "registry.example/N/d:V1"),
        ("registry.example/N/team/e:1", "registry.example/N/e:1"),
        ("registry.example/N/f:1", "registry.example:443/N/f:1"),
        ("gcr.io/N/g:1", "eu.gcr.io/N/g:1"),
        ("gcr.io/N/h:1", "europe-docker.pkg.dev/N/gcr.io/h:1"),
        ("gcr.io/N/i:1", "us-docker.pkg.dev/N/docker/i:1"),
    ];
    for (number, (written, _)) in rows.iter().enumerate() {
        ground.create(&deployment(ground.namespace(), &format!("w{number}"), &own(written))).await;
    }
    let service = ground.service().arguments(["--namespaces", ground.namespace()]).start_ready().await;
    for (written, asked) in rows {
        assert_eq!(names(&service.lookup(&own(written)).await).len(), 1, "{written}");
        assert_eq!(service.lookup(&own(asked)).await["workloads"], json!([]), "{written}, asked for {asked}");
        let answer = service.push(&PushMessage::now(&own(asked), 1)).await.json();
        assert_eq!(answer["outcome"], "not_in_use", "{written}, pushed {asked}: {answer}");
    }
}

async fn init_containers_and_image_volumes_count(ground: Ground) {
    let other = ground.image("other");
    let mut with_init = stateful_set(ground.namespace(), "init", &other);
    with_init["spec"]["template"]["spec"]["initContainers"] =
        json!([{"name": "first", "image": ground.image("migrate"), "imagePullPolicy": "Always"}]);
    let mut with_volume = daemon_set(ground.namespace(), "volume", &other);
    with_volume["spec"]["template"]["spec"]["volumes"] =
        json!([{"name": "model", "image": {"reference": ground.image("model"), "pullPolicy": "Always"}}]);
    let mut with_sidecar = deployment(ground.namespace(), "sidecar", &other);
    let containers = with_sidecar["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap();
    containers.push(json!({"name": "second", "image": ground.image("proxy"), "imagePullPolicy": "Always"}));
    for workload in [&with_init, &with_volume, &with_sidecar] {
        ground.create(workload).await;
    }
    let service = ground.service().start_ready().await;
    for (image, workload) in [("migrate", &with_init), ("model", &with_volume), ("proxy", &with_sidecar)] {
        let answer = service.push(&PushMessage::now(&ground.image(image), 1)).await.json();
        assert_eq!(answer["outcome"], "restarted", "{image}: {answer}");
        assert_eq!(names(&answer), [workload["metadata"]["name"].as_str().unwrap()], "{image}");
        assert_eq!(ground.generation(workload).await, 2, "{image}");
    }
}

async fn a_workload_pinned_by_digest_is_never_matched(ground: Ground) {
    let tagged = ground.image("web");
    let repository = tagged.strip_suffix(":1").unwrap();
    let by_digest = format!("{repository}@{}", digest(1));
    let by_both = format!("{tagged}@{}", digest(1));
    let pinned = deployment(ground.namespace(), "pinned", &by_digest);
    let pinned_too = deployment(ground.namespace(), "pinned-too", &by_both);
    ground.create(&pinned).await;
    ground.create(&pinned_too).await;
    let service = ground.service().start_ready().await;

    assert_eq!(service.lookup(&tagged).await["workloads"], json!([]));
    assert_eq!(names(&service.lookup(&by_digest).await), ["pinned", "pinned-too"]);
    let another = format!("{repository}@{}", digest(2));
    assert_eq!(service.lookup(&another).await["workloads"], json!([]));
    for byte in [1, 2] {
        let answer = service.push(&PushMessage::now(&tagged, byte)).await.json();
        says_that_it_is_pinned(&answer);
    }
    let watching = ground.service().arguments(["--watch"]).start_ready().await;
    watching.wait_for_status("the watch is live", |status| status["tiers"]["watch"]["live"] == true).await;
    says_that_it_is_pinned(&watching.push(&PushMessage::now(&tagged, 3)).await.json());
    assert_eq!((ground.generation(&pinned).await, ground.generation(&pinned_too).await), (1, 1));

    // Beside one that follows the tag.
    let web = deployment(ground.namespace(), "web", &tagged);
    ground.create(&web).await;
    for service in [&service, &watching] {
        let answer = eventually("the new one is known", async || {
            let answer = service.push(&PushMessage::now(&tagged, 4)).await.json();
            Some(answer).filter(|answer| names(answer).len() == 3)
        });
        let answer = answer.await;
        assert_eq!(
            (names(&answer), result_of(&answer, &pinned)["code"].clone()),
            (vec!["pinned".to_owned(), "pinned-too".to_owned(), "web".to_owned()], json!("pinned_by_digest"))
        );
    }
    assert_eq!((ground.generation(&pinned).await, ground.generation(&pinned_too).await), (1, 1));
}

fn says_that_it_is_pinned(answer: &Value) {
    assert_eq!(
        (&answer["outcome"], names(answer)),
        (&json!("skipped"), vec!["pinned".to_owned(), "pinned-too".to_owned()]),
        "{answer}"
    );
    for workload in answer["workloads"].as_array().unwrap() {
        assert_eq!(
            (&workload["action"], &workload["code"]),
            (&json!("skipped"), &json!("pinned_by_digest")),
            "{answer}"
        );
        assert!(workload["reason"].as_str().unwrap().contains("sha256:"), "{answer}");
    }
}

async fn a_document_by_hand_is_followed_on_the_mount(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let mut volume = ground.volume();
    // No head, and no kind: a Deployment.
    volume.show(&json!({"images": {&image: [{"name": "web", "namespace": ground.namespace()}]}}));
    let service = ground.service().mount(volume.directory()).start_ready().await;

    let found = service.lookup(&image).await;
    assert_eq!(found["workloads"], json!([{"namespace": ground.namespace(), "kind": "Deployment", "name": "web"}]));
    assert_eq!(found["source"], json!({"tier": "mount", "authoritative": false}));
    assert_eq!(service.push(&PushMessage::now(&image, 1)).await.json()["outcome"], "restarted");
    assert_eq!(ground.generation(&web).await, 2);
}

async fn a_document_by_hand_in_the_config_map_is_read(ground: Ground) {
    let image = ground.image("web");
    let by_hand = json!({"images": {&image: [{"name": "web", "namespace": ground.namespace()}]}}).to_string();
    ground.create(&config_map(ground.namespace(), "deployment-image-cache", "cache.json", &by_hand)).await;
    let service = ground.service().start_ready().await;

    let found = service.lookup(&image).await;
    assert_eq!((names(&found), &found["source"]["tier"]), (vec!["web".to_owned()], &json!("configmap")));
    // It is a hint: nobody runs the image, and the scan that a push causes knows.
    let answer = service.push(&PushMessage::now(&image, 1)).await.json();
    assert_eq!(answer["outcome"], "skipped", "{answer}");
    assert_eq!(answer["workloads"][0]["code"], "gone", "{answer}");
    service.wait_for_lookup(&image, &[]).await;
}

async fn what_cannot_be_read_of_a_document_is_left_out(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    let mut document = document(&[(&image, &[&web])]);
    let unknown = json!({"name": "job", "namespace": ground.namespace(), "kind": "CronTab"});
    document["images"][&image].as_array_mut().unwrap().push(unknown);
    document["images"]["Not An Image"] = json!([{"name": "x", "namespace": "y"}]);
    document["somebody_elses_field"] = json!({"x": [1]});
    let mut volume = ground.volume();
    volume.show(&document);
    let service = ground.service().mount(volume.directory()).start_ready().await;

    assert_eq!(names(&service.lookup(&image).await), ["web"]);
    let warnings = service.status().await["tiers"]["mount"]["warnings"].to_string();
    assert!(warnings.contains("CronTab") && warnings.contains("Not An Image"), "{warnings}");
}
