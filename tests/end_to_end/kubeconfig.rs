//! A kubeconfig as kubectl takes it: credential plugins, proxies, lists of files. No message shows a secret.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::command::{Ran, run_with};
use crate::support::fixtures::{PushMessage, deployment};
use crate::support::ground::Ground;
use crate::support::suite::Suite;

const SECRET: &str = "hunter2";

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_credential_plugin_that_fails_shows_no_secret);
    suite.on_both(a_credential_plugin_that_fails_later_shows_no_secret);
    suite.on_both(missing_files_of_a_list_are_skipped);
    suite.on_both(a_proxy_is_used_but_where_no_proxy_says_otherwise);
}

/// The kubeconfig of a fresh user, changed.
fn changed(ground: &Ground, name: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
    let text = std::fs::read(ground.kubeconfig(&ground.fresh_user())).unwrap();
    let mut kubeconfig = serde_json::from_slice(&text).unwrap();
    change(&mut kubeconfig);
    let path = ground.directory().join(name);
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    path
}

fn with_plugin(ground: &Ground, command: &str, script: &str) -> PathBuf {
    changed(ground, "plugin.kubeconfig", |kubeconfig| {
        kubeconfig["users"][0]["user"] = json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": command,
            "args": ["-c", script, SECRET],
            "env": [{"name": "CLIENT_SECRET", "value": SECRET}],
            "installHint": "install it from\n the shop",
            "interactiveMode": "Never",
        }});
    })
}

async fn rebuild(kubeconfig: &Path, environment: &[(&str, &str)]) -> Ran {
    let environment: Vec<_> =
        environment.iter().copied().chain([("KUBECONFIG", kubeconfig.to_str().unwrap())]).collect();
    run_with(&["rebuild", "--dry-run"], &environment, "").await
}

async fn a_credential_plugin_that_fails_shows_no_secret(ground: Ground) {
    let token = format!("printf '{{\"token\": \"{SECRET}\", '");
    let cases = [
        ("sh", "echo 'no luck' >&2; exit 3", vec!["\"sh\"", "exit status: 3", "no luck"]),
        ("sh", "kill -9 $$", vec!["\"sh\"", "signal: 9"]),
        ("sh", token.as_str(), vec!["\"sh\"", "ExecCredential"]),
        (
            "sh",
            "echo '{\"apiVersion\": \"client.authentication.k8s.io/v1\", \"kind\": \"ExecCredential\"}'",
            vec!["\"sh\"", "status"],
        ),
        ("no-such-plugin", "", vec!["\"no-such-plugin\"", "cannot be started", "install it from the shop"]),
    ];
    for (command, script, expected) in cases {
        let ran = rebuild(&with_plugin(&ground, command, script), &[]).await;
        assert_eq!(ran.code, 1, "{script}: {}", ran.stderr);
        assert!(!ran.stderr.contains(SECRET) && !ran.stderr.contains("CLIENT_SECRET"), "{script}: {}", ran.stderr);
        for part in expected {
            assert!(ran.stderr.contains(part), "{script}: {part} is not in {}", ran.stderr);
        }
    }
    // A long text of the plugin's own is cut short.
    let ran = rebuild(&with_plugin(&ground, "sh", "head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1"), &[]).await;
    assert!(ran.stderr.len() < 1000, "{}", ran.stderr.len());
}

/// Under `serve`, when the token has expired: in the answer on the public listener, and in the log.
async fn a_credential_plugin_that_fails_later_shows_no_secret(ground: Ground) {
    let image = ground.image("web");
    ground.create(&deployment(ground.namespace(), "web", &image)).await;
    let user: Value = serde_json::from_slice(&std::fs::read(ground.kubeconfig(&ground.fresh_user())).unwrap()).unwrap();
    let credential = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": user["users"][0]["user"]["token"], "expirationTimestamp": "2020-01-01T00:00:00Z"},
    });
    let broken = ground.directory().join("broken");
    let script = format!("test ! -e {} && echo '{credential}'", broken.display());
    let kubeconfig = with_plugin(&ground, "sh", &script);
    let service = ground.service().kubeconfig(&kubeconfig).arguments(["--namespaces", ground.namespace()]);
    let service = service.start_ready().await;
    std::fs::write(&broken, "").unwrap();
    let answer = service.push(&PushMessage::now(&image, 1)).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("the credential plugin \\\"sh\\\" of the kubeconfig failed"), "{}", answer.text());
    let log = Value::from(service.log()).to_string();
    for text in [answer.text(), log] {
        assert!(!text.contains(SECRET), "{text}");
    }
}

async fn missing_files_of_a_list_are_skipped(ground: Ground) {
    let whole = changed(&ground, "whole.kubeconfig", |_| {});
    let part = |name: &str, has_users: bool| {
        let mut kubeconfig: Value = serde_json::from_slice(&std::fs::read(&whole).unwrap()).unwrap();
        kubeconfig
            .as_object_mut()
            .unwrap()
            .retain(|key, _| ["apiVersion", "kind"].contains(&key.as_str()) || (key == "users") == has_users);
        let path = ground.directory().join(name);
        std::fs::write(&path, kubeconfig.to_string()).unwrap();
        path
    };
    let (users, rest) = (part("users.kubeconfig", true), part("rest.kubeconfig", false));
    let (whole, users, rest) = (whole.display(), users.display(), rest.display());
    for list in [format!("/not/there:{whole}"), format!("{whole}:/not/there"), format!(":{users}:/not/there:{rest}")] {
        let ran = rebuild(Path::new(&list), &[]).await;
        assert_eq!(ran.code, 0, "{list}: {}", ran.stderr);
    }
    // As kubectl, which goes on to the pod's service account: there is none here.
    for list in ["/not/there:/nor/there", "/dev/null"] {
        let ran = rebuild(Path::new(list), &[("HOME", "/nowhere")]).await;
        assert_eq!(ran.code, 1);
        assert!(ran.stderr.contains("there is no Kubernetes to talk to"), "{}", ran.stderr);
    }
}

async fn a_proxy_is_used_but_where_no_proxy_says_otherwise(ground: Ground) {
    let plain = changed(&ground, "plain.kubeconfig", |_| {});
    let nobody = format!("http://someone:{SECRET}@127.0.0.2:9");
    for (is_of_kubeconfig, environment, is_used) in [
        (false, both("PROXY"), true),
        (false, both("BARE"), true),
        (false, with("PROXY", "127.0.0.2,localhost"), true),
        (false, with("PROXY", "127.0.0.1"), false),
        (false, with(&nobody, "*"), false),
        (false, with(&nobody, "localhost,127.0.0.0/8"), false),
        (true, vec![], true),
        (true, vec![("NO_PROXY", "*")], true),
        (true, both(&nobody), true),
    ] {
        // One for each: a program that has ended may still have a connection on its way.
        let proxy = Proxy::start();
        let of_kubeconfig = changed(&ground, "proxy.kubeconfig", |kubeconfig| {
            kubeconfig["clusters"][0]["cluster"]["proxy-url"] = json!(proxy.url);
        });
        let kubeconfig = if is_of_kubeconfig { &of_kubeconfig } else { &plain };
        let value = |value: &str| value.replace("PROXY", &proxy.url).replace("BARE", &proxy.bare);
        let environment: Vec<_> = environment.iter().map(|(name, text)| (*name, value(text))).collect();
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let ran = rebuild(kubeconfig, &environment).await;
        assert_eq!(ran.code, 0, "{environment:?}: {}", ran.stderr);
        assert_eq!(proxy.tunnels.load(Ordering::SeqCst) > 0, is_used, "{environment:?}");
    }
    for scheme in ["http:", "socks5:", "socks5h:", "https:", "nothing:"] {
        let ran = rebuild(&plain, &both(&nobody.replace("http:", scheme))).await;
        assert_eq!(ran.code, 1, "{scheme}");
        assert!(!ran.stderr.contains(SECRET), "{}", ran.stderr);
    }
    let ran = rebuild(&plain, &both(&format!("http://someone:{SECRET} @"))).await;
    assert!(ran.code == 1 && !ran.stderr.contains(SECRET), "{}", ran.stderr);
}

/// The embedded API has no TLS.
fn both(url: &str) -> Vec<(&str, &str)> {
    vec![("HTTPS_PROXY", url), ("HTTP_PROXY", url)]
}

fn with<'a>(url: &'a str, exceptions: &'a str) -> Vec<(&'a str, &'a str)> {
    [both(url), vec![("NO_PROXY", exceptions)]].concat()
}

/// A proxy that knows CONNECT alone.
/// A proxy that counts its tunnels.
struct Proxy {
    url: String,
    /// Without its scheme.
    bare: String,
    tunnels: Arc<AtomicUsize>,
}

impl Proxy {
    fn start() -> Self {
        // Another address than the API server's, which is 127.0.0.1.
        let listener = TcpListener::bind(("127.0.0.2", 0)).unwrap();
        let bare = format!("someone:{SECRET}@{}", listener.local_addr().unwrap());
        let proxy = Self { url: format!("http://{bare}"), bare, tunnels: Arc::default() };
        let tunnels = Arc::clone(&proxy.tunnels);
        std::thread::spawn(move || serve_tunnels(&listener, &tunnels));
        proxy
    }
}

fn serve_tunnels(listener: &TcpListener, tunnels: &Arc<AtomicUsize>) {
    for client in listener.incoming().map_while(Result::ok) {
        let tunnels = Arc::clone(tunnels);
        std::thread::spawn(move || {
            let head = read_head(&client);
            let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap();
            assert!(head.to_ascii_lowercase().contains("proxy-authorization: basic "), "{head}");
            let server = TcpStream::connect(target).unwrap();
            tunnels.fetch_add(1, Ordering::SeqCst);
            (&client).write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = io::copy(&mut from_client, &mut to_server);
                let _ = to_server.shutdown(Shutdown::Write);
            });
            let _ = io::copy(&mut &server, &mut &client);
            let _ = client.shutdown(Shutdown::Both);
        });
    }
}

fn read_head(mut client: &TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}
