//! A document that a command reads and does not use: the command says so, whatever the format of its result.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::command::run;
use crate::support::documents::{document, names};
use crate::support::fixtures::{config_map, deployment};
use crate::support::ground::Ground;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_document_that_cannot_be_used_is_named_by_each_command);
    suite.on_both(of_two_forms_the_one_that_does_not_count_is_named);
    suite.on_both(a_command_on_the_machine_of_a_person_expects_no_mount);
}

/// A directory as the kubelet makes it, with these files.
fn mounted(ground: &Ground, files: &[(&str, &[u8])]) -> PathBuf {
    let directory = ground.directory().join("mounted");
    std::fs::create_dir_all(directory.join("..1")).unwrap();
    for (name, content) in files {
        std::fs::write(directory.join("..1").join(name), content).unwrap();
    }
    std::os::unix::fs::symlink("..1", directory.join("..data")).unwrap();
    directory
}

async fn a_document_that_cannot_be_used_is_named_by_each_command(ground: Ground) {
    let image = ground.image("web");
    let web = deployment(ground.namespace(), "web", &image);
    ground.create(&web).await;
    let cache = config_map(ground.namespace(), "deployment-image-cache", "cache.json", "{\"images\": {");
    ground.create(&cache).await;
    let directory = mounted(&ground, &[("cache.json", b"damaged")]);
    let (user, directory) = (ground.fresh_user(), directory.to_str().unwrap());
    let name = format!("{}/deployment/web\n", ground.namespace());
    for command in [&["lookup", &image][..], &["explain", &image], &["restart", &image, "--dry-run"]] {
        for format in ["table", "name"] {
            let ran = ground.run_as(&user, &[command, &["--cache-dir", directory, "-o", format]].concat()).await;
            assert_eq!(ran.code, 0, "{command:?}: {ran:?}");
            assert!(format == "table" || ran.stdout == name, "{command:?}: {ran:?}");
            for says in [
                format!("the mount was passed over: the document mounted at {directory} is unusable"),
                format!("the configmap was passed over: the ConfigMap {}/deployment-image-cache", ground.namespace()),
            ] {
                assert!(ran.stderr.contains(&says), "{command:?} {format}: {says} in {ran:?}");
            }
        }
        let ran = ground.run_as(&user, &[command, &["--cache-dir", directory, "-o", "json"]].concat()).await;
        let failed = ran.json()["source"]["failed_tiers"].as_array().unwrap().clone();
        assert_eq!(failed.iter().map(|tier| &tier["tier"]).collect::<Vec<_>>(), ["mount", "configmap"], "{ran:?}");
    }
    let ran = ground.run_as(&user, &["rebuild", "--namespaces", ground.namespace()]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "changed\n"), "{ran:?}");
    assert!(ran.stderr.contains("the document there was passed over: the ConfigMap"), "{ran:?}");
}

async fn of_two_forms_the_one_that_does_not_count_is_named(ground: Ground) {
    let image = ground.image("web");
    let workload = deployment(ground.namespace(), "plain", &image);
    ground.create(&workload).await;
    let plain = document(&[(&image, &[&workload])]).to_string();
    let mut cache = config_map(ground.namespace(), "deployment-image-cache", "cache.json", &plain);
    cache["binaryData"] = json!({"cache.json.gz": "AAAA"});
    ground.create(&cache).await;
    let directory = mounted(&ground, &[("cache.json", plain.as_bytes()), ("cache.json.gz", b"\0\0\0")]);
    let (user, mount) = (ground.fresh_user(), directory.to_str().unwrap());
    let says = "passed over: cache.json.gz of ";
    for ran in [
        run(&["lookup", &image, "--no-api", "--cache-dir", mount]).await,
        ground.run_as(&user, &["lookup", &image]).await,
        ground.run_as(&user, &["explain", &image]).await,
    ] {
        assert!(ran.code == 0 && ran.stdout.contains("plain"), "{ran:?}");
        assert_eq!(ran.stderr.matches(says).count(), 1, "{ran:?}");
    }
    let ran = ground.run_as(&user, &["check", "--cache-dir", mount, "-o", "json"]).await;
    let findings = ran.json()["findings"].as_array().unwrap().clone();
    let found: Vec<&Value> = findings.iter().filter(|finding| finding["code"] == "passed_over").collect();
    assert_eq!((ran.code, found.len()), (0, 2), "in the ConfigMap and in the mount: {ran:?}");
    assert!(found.iter().all(|finding| finding["severity"] == "warning" && finding["remedy"].is_string()), "{found:?}");
    let service = ground.service().mount(&directory).start_ready().await;
    assert_eq!(names(&service.lookup(&image).await), ["plain"]);
    let warnings = service.status().await["tiers"]["mount"]["warnings"].to_string();
    assert!(warnings.contains(says), "{warnings}");
}

async fn a_command_on_the_machine_of_a_person_expects_no_mount(ground: Ground) {
    let image = ground.image("web");
    ground.create(&deployment(ground.namespace(), "web", &image)).await;
    let kubeconfig = ground.kubeconfig(&ground.fresh_user());
    let to = ["--kubeconfig", kubeconfig.to_str().unwrap(), "-n", ground.namespace()];
    for command in [&["lookup", &image][..], &["explain", &image]] {
        let ran = run(&[command, &to].concat()).await;
        assert!(ran.code == 0 && !ran.stderr.contains("the mount was passed over"), "{command:?}: {ran:?}");
    }
}
