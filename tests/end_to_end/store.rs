//! `pushroll store`: the key-value store over a ConfigMap, from the command line and with many writers.

use std::sync::Arc;

use pushroll::clock::Clock;
use pushroll::cluster::connect::{ConnectOptions, connect};
use pushroll::cluster::{Cluster, ClusterMetrics};
use pushroll::configmap_store::{ConfigMapStore, Values};
use serde_json::json;

use crate::support::command::{Ran, run_with};
use crate::support::fixtures::config_map;
use crate::support::ground::Ground;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_store_is_used_from_the_command_line);
    suite.on_both(what_others_wrote_into_a_config_map_stays);
    suite.on_both(a_key_stays_in_the_member_that_it_is_in);
    suite.on_both(a_store_says_what_it_cannot_do);
    suite.on_control_plane(a_store_that_a_quota_forbids_is_not_writable);
    suite.on_both(writers_of_different_keys_never_lose_a_set);
}

async fn store(ground: &Ground, arguments: &[&str]) -> Ran {
    let arguments: Vec<&str> = std::iter::once("store").chain(arguments.iter().copied()).collect();
    ground.run_as(&ground.fresh_user(), &arguments).await
}

async fn a_store_is_used_from_the_command_line(ground: Ground) {
    let exit_and_stdout = async |arguments: &[&str]| {
        let ran = store(&ground, arguments).await;
        (ran.code, ran.stdout)
    };
    let is = |code: i32, text: &str| (code, text.to_owned());
    assert_eq!(exit_and_stdout(&["keys", "settings"]).await, is(0, ""), "a missing ConfigMap is empty");
    assert_eq!(exit_and_stdout(&["get", "settings", "a"]).await, is(3, ""));
    assert_eq!(exit_and_stdout(&["set", "settings", "a", "1"]).await, is(0, "changed\n"));
    assert_eq!(exit_and_stdout(&["set", "settings", "a", "1"]).await, is(0, "unchanged\n"));
    assert_eq!(exit_and_stdout(&["force-set", "settings", "b", "-2"]).await, is(0, ""));
    assert_eq!(exit_and_stdout(&["get", "settings", "b"]).await, is(0, "-2"));
    assert_eq!(exit_and_stdout(&["keys", "settings"]).await, is(0, "a\nb\n"));
    assert_eq!(exit_and_stdout(&["keys", "settings", "-o", "json"]).await.0, 0);
    let file = ground.directory().join("value");
    std::fs::write(&file, b"\xff\0binary").unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(exit_and_stdout(&["set", "settings", "c", "--from-file", file]).await, is(0, "changed\n"));
    let raw = store(&ground, &["raw", "settings"]).await.json();
    assert_eq!(raw["data"], json!({"a": "1", "b": "-2"}));
    assert_eq!(raw["binaryData"], json!({"c": "/wBiaW5hcnk="}));
    assert_eq!(exit_and_stdout(&["delete", "settings", "a"]).await, is(0, ""));
    assert_eq!(exit_and_stdout(&["delete", "settings", "a"]).await, is(3, ""));
    assert_eq!(exit_and_stdout(&["verify", "settings"]).await.0, 0);
    assert_eq!(exit_and_stdout(&["truncate", "settings"]).await, is(0, "2 removed\n"));
    assert_eq!(exit_and_stdout(&["keys", "settings"]).await, is(0, ""));

    let kubeconfig = ground.kubeconfig(&ground.fresh_user());
    let environment =
        [("MAPSTORE_CLUSTER_CONFIG_PATH", kubeconfig.to_str().unwrap()), ("NAMESPACE", ground.namespace())];
    let ran = run_with(&["store", "set", "settings", "from-stdin"], &environment, "line\n").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "changed\n"), "{}", ran.stderr);
    assert_eq!(exit_and_stdout(&["get", "settings", "from-stdin"]).await, is(0, "line\n"));
}

async fn what_others_wrote_into_a_config_map_stays(ground: Ground) {
    let mut manifest = config_map(ground.namespace(), "shared", "theirs", "kept");
    manifest["metadata"]["labels"] = json!({"owner": "them"});
    manifest["metadata"]["annotations"] = json!({"note": "theirs"});
    ground.create(&manifest).await;
    assert_eq!(store(&ground, &["set", "shared", "ours", "1"]).await.code, 0);
    assert_eq!(store(&ground, &["delete", "shared", "ours"]).await.code, 0);
    let object = ground.get(&manifest).await;
    assert_eq!(object["data"], json!({"theirs": "kept"}));
    assert_eq!(object["metadata"]["labels"], json!({"owner": "them"}));
    assert_eq!(object["metadata"]["annotations"], json!({"note": "theirs"}));
}

async fn a_key_stays_in_the_member_that_it_is_in(ground: Ground) {
    let mut manifest = config_map(ground.namespace(), "mixed", "text", "1");
    manifest["binaryData"] = json!({"binary": "MQ==", "other": "/wA="});
    ground.create(&manifest).await;
    let set = async |key: &str, value: &str| {
        let ran = store(&ground, &["set", "mixed", key, value]).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "changed\n"), "{ran:?}");
    };
    set("text", "2").await;
    set("binary", "2").await;
    set("other", "text now").await;
    set("new", "3").await;
    let object = ground.get(&manifest).await;
    assert_eq!(object["data"], json!({"text": "2", "new": "3"}));
    assert_eq!(object["binaryData"], json!({"binary": "Mg==", "other": "dGV4dCBub3c="}));
    let raw = store(&ground, &["raw", "mixed"]).await.json();
    assert_eq!((&raw["data"], &raw["binaryData"]), (&object["data"], &object["binaryData"]));
    assert_eq!(store(&ground, &["set", "mixed", "binary", "2"]).await.stdout, "unchanged\n");
    // Only a value that is no text moves.
    let file = ground.directory().join("value");
    std::fs::write(&file, b"\xff").unwrap();
    let from_file = ["set", "mixed", "text", "--from-file", file.to_str().unwrap()];
    assert_eq!(store(&ground, &from_file).await.stdout, "changed\n");
    let object = ground.get(&manifest).await;
    assert_eq!((&object["data"], &object["binaryData"]["text"]), (&json!({"new": "3"}), &json!("/w==")));
}

async fn a_store_that_a_quota_forbids_is_not_writable(ground: Ground) {
    ground.forbid_config_maps().await;
    let verified = store(&ground, &["verify", "settings", "-o", "json"]).await;
    assert_eq!(verified.code, 1, "{verified:?}");
    let writable = verified.json()["writable"].clone();
    assert!(writable["works"] == false && writable["detail"].to_string().contains("exceeded quota"), "{writable}");
}

async fn a_store_says_what_it_cannot_do(ground: Ground) {
    let mut manifest = config_map(ground.namespace(), "frozen", "a", "1");
    manifest["immutable"] = json!(true);
    ground.create(&manifest).await;
    let refused = async |arguments: &[&str], part: &str| {
        let ran = store(&ground, arguments).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
        assert!(ran.stderr.contains(part), "{ran:?}");
    };
    refused(&["set", "frozen", "a", "2"], "is immutable: delete it, or write to another one").await;
    refused(&["delete", "frozen", "a"], "is immutable").await;
    refused(&["set", "settings", "a b", "1"], "is not a key: it has other characters").await;
    refused(&["get", "settings", ""], "is not a key: it is empty").await;
    let verified = store(&ground, &["verify", "frozen", "-o", "json"]).await;
    assert_eq!(verified.code, 1);
    assert_eq!(
        (verified.json()["readable"]["works"].clone(), verified.json()["writable"]["works"].clone()),
        (json!(true), json!(false))
    );
    let full = ground.directory().join("full");
    std::fs::write(&full, vec![b'x'; 1_048_576]).unwrap();
    let full = full.to_str().unwrap();
    assert_eq!(store(&ground, &["set", "large", "a", "--from-file", full]).await.code, 0);
    refused(&["set", "large", "b", "1"], "would be 1048577 bytes in all").await;
}

/// Four stores of their own stand for four processes: they share nothing but the API server.
const WRITERS: usize = 20;
const WRITERS_OF_A_PROCESS: usize = 5;
const SETS: usize = 50;
/// Of a process that writes, and does nothing else: the kubeconfig, the namespace, its first writer.
const WRITER: &str = "PUSHROLL_TEST_WRITER";

/// What this program does when a test has started it as a writer.
pub fn write_if_told() -> bool {
    let Ok(told) = std::env::var(WRITER) else { return false };
    let told: Vec<&str> = told.split('\n').collect();
    let [kubeconfig, namespace, first] = told[..] else { panic!("{told:?}") };
    let first: usize = first.parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(store_of(kubeconfig, namespace).await);
        let mut writers = tokio::task::JoinSet::new();
        for writer in first..first + WRITERS_OF_A_PROCESS {
            let store = Arc::clone(&store);
            writers.spawn(async move {
                for set in 0..SETS {
                    let value = format!("{writer} {set}").into_bytes();
                    assert!(store.set(&Values::from([(format!("key-{writer}-{set}"), value)])).await.unwrap());
                }
            });
        }
        writers.join_all().await;
    });
    true
}

async fn store_of(kubeconfig: &str, namespace: &str) -> ConfigMapStore {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let options = ConnectOptions { kubeconfig: Some(kubeconfig.into()), ..ConnectOptions::default() };
    let cluster = Cluster::new(connect(&options).await.unwrap(), Clock::system(), ClusterMetrics::default());
    ConfigMapStore::new(cluster, namespace, "crowded")
}

/// From several processes, each with several writers.
async fn writers_of_different_keys_never_lose_a_set(ground: Ground) {
    let mut processes = Vec::new();
    for first in (0..WRITERS).step_by(WRITERS_OF_A_PROCESS) {
        let kubeconfig = ground.kubeconfig(&ground.fresh_user());
        let told = format!("{}\n{}\n{first}", kubeconfig.display(), ground.namespace());
        let program = std::env::current_exe().unwrap();
        processes.push(std::process::Command::new(program).env(WRITER, told).spawn().unwrap());
    }
    let ended = tokio::task::spawn_blocking(move || {
        processes.iter_mut().map(|process| process.wait().unwrap()).collect::<Vec<_>>()
    });
    assert!(ended.await.unwrap().iter().all(|status| status.success()));
    let store = store_of(ground.kubeconfig(&ground.fresh_user()).to_str().unwrap(), ground.namespace()).await;
    let snapshot = store.snapshot().await.unwrap().unwrap();
    assert_eq!(snapshot.values.len(), WRITERS * SETS);
    for writer in 0..WRITERS {
        for set in 0..SETS {
            assert_eq!(snapshot.values[&format!("key-{writer}-{set}")], format!("{writer} {set}").into_bytes());
        }
    }
}
