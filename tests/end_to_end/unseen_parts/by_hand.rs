//! The commands, where a part of the scope is forbidden: what is seen is done, and the part is named.

use serde_json::{Value, json};

use super::stage::{Permission, Stage};
use crate::support::command::{Ran, run};
use crate::support::ground::Ground;
use crate::support::proxy::ApiProxy;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(commands_do_what_they_can_and_name_the_unseen_part);
}

async fn commands_do_what_they_can_and_name_the_unseen_part(ground: Ground) {
    let (stage, permission) = (Stage::of(ground).await, Permission::missing());
    let proxy = ApiProxy::start(&stage.ground, permission.of_namespace(&stage.gone)).await;
    let (namespaces, no_mount) = (stage.namespaces().join(","), stage.ground.directory().join("no-mount"));
    let of_all = ["--kubeconfig", proxy.kubeconfig().to_str().unwrap(), "--namespaces", &namespaces];
    let run_with = async |arguments: &[&str], mount: bool| {
        let mount = ["--cache-dir", no_mount.to_str().unwrap()].into_iter().filter(|_| mount);
        run(&arguments.iter().copied().chain(of_all).chain(mount).collect::<Vec<_>>()).await
    };
    let run = async |arguments: &[&str]| run_with(arguments, true).await;
    let names_it = |ran: &Ran, code: i32| {
        assert!(ran.code == code && ran.stderr.contains(&stage.unseen()), "{ran:?}");
    };
    let unseen = |answer: &Value| {
        let unseen = answer["unseen_parts"].as_array().or(answer["source"]["unseen_parts"].as_array());
        assert_eq!(unseen.unwrap_or_else(|| panic!("{answer}")).len(), 3, "{answer}");
    };

    for (command, code) in [("lookup", 0), ("explain", 0)] {
        names_it(&run(&[command, &stage.image]).await, code);
        let ran = run(&[command, &stage.image, "-o", "json"]).await;
        names_it(&ran, code);
        unseen(&ran.json());
        assert_eq!(ran.json()["workloads"].as_array().unwrap().len(), 1, "{ran:?}");
        let ran = run(&[command, &stage.ground.image("unknown")]).await;
        names_it(&ran, 3);
        assert!(ran.stderr.contains("no workload that can be seen runs"), "{ran:?}");
    }
    let ran = run(&["restart", &stage.image, "-o", "json"]).await;
    names_it(&ran, 1);
    unseen(&ran.json());
    assert_eq!(stage.generations().await, (2, 1), "what is seen is restarted");
    names_it(&run(&["restart", &stage.ground.image("unknown")]).await, 1);

    let ran = run(&["rebuild", "-o", "json"]).await;
    names_it(&ran, 1);
    unseen(&ran.json());
    assert_eq!(ran.json()["result"], "changed");
    let document = stage.ground.cache_document().await.unwrap();
    let entries = json!([{"name": "web", "namespace": stage.ground.namespace()}]);
    assert!(document["images"][&stage.image] == entries && document["parts"].is_array(), "{document}");
    names_it(&run(&["rebuild", "--dry-run", "--immutable"]).await, 1);

    let could_not = "could not be seen when the document was written";
    let ran = run_with(&["check"], false).await;
    assert!(ran.code == 0 && ran.stdout.contains("part_unseen") && ran.stdout.contains(could_not), "{ran:?}");
    let ran = run_with(&["check", "--max-age", "1h"], false).await;
    assert!(ran.code == 3 && ran.stdout.contains("nothing is known"), "{ran:?}");
    let ran = run_with(&["check", "--deep"], false).await;
    assert!(ran.code == 3 && ran.stdout.contains(&stage.unseen()), "{ran:?}");
    // Of the document alone, without a scan.
    let ran = run(&["lookup", &stage.image]).await;
    assert!(ran.code == 0 && ran.stderr.contains("could not be seen when the index was made"), "{ran:?}");
    let mut volume = stage.ground.volume();
    volume.show(&document);
    let mounted = volume.directory().to_str().unwrap();
    let ran = run_mounted(&stage, mounted).await;
    assert!(ran.code == 0 && ran.stderr.contains("could not be seen when the index was made"), "{ran:?}");
    unseen(&ran.json());

    permission.set(true);
    let ran = run(&["rebuild", "-o", "name"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "changed\n"), "{ran:?}");
    let ran = run(&["restart", &stage.image]).await;
    assert_eq!((ran.code, stage.generations().await), (0, (3, 2)), "{ran:?}");
}

async fn run_mounted(stage: &Stage, mounted: &str) -> Ran {
    run(&["lookup", "--no-api", "--cache-dir", mounted, &stage.image, "-o", "json"]).await
}
