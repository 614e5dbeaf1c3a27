//! The readers of the version before, frozen: its types as they were, which ignore unknown fields. They change with no
//! version; what they cannot read, a replica of that version cannot.

use std::collections::BTreeMap;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// The record on the pod template: by the image's normalised `REPOSITORY:TAG`.
pub(super) type Record = BTreeMap<String, RecordedPush>;

#[derive(Debug, Deserialize)]
pub(super) struct RecordedPush {
    #[serde(default)]
    pub(super) digest: Option<Digest>,
    #[serde(default)]
    pub(super) published: Option<Timestamp>,
    #[serde(default)]
    pub(super) message_id: Option<String>,
}

/// `ALGORITHM:HEX`
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Digest(pub(super) String);

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let hex = text.strip_prefix("sha256:").filter(|hex| hex.len() == 64);
        let is_digest = hex.is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if is_digest { Ok(Self(text)) } else { Err(text) }
    }
}

/// The record of a workload, and the time of its last restart.
pub(super) fn record(workload: &Value) -> (Record, Timestamp) {
    let annotations = &workload["spec"]["template"]["metadata"]["annotations"];
    let text = |key: &str| annotations[key].as_str().unwrap_or_else(|| panic!("no {key}: {workload}"));
    let record = serde_json::from_str(text("pushroll.dev/pushes")).unwrap();
    (record, text("kubectl.kubernetes.io/restartedAt").parse().unwrap())
}

/// The document. Of another version than 1 nothing was read.
#[derive(Debug, Deserialize)]
pub(super) struct Document {
    #[serde(default)]
    pub(super) version: Option<u32>,
    #[serde(default)]
    pub(super) as_of: Option<Timestamp>,
    #[serde(default)]
    pub(super) scope: Option<Scope>,
    pub(super) images: BTreeMap<String, Vec<Entry>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Scope {
    #[serde(default)]
    pub(super) namespaces: Option<Vec<String>>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) namespace: String,
    #[serde(default = "deployment")]
    pub(super) kind: String,
}

fn deployment() -> String {
    "Deployment".to_owned()
}

impl Document {
    /// From a ConfigMap: the plain form, else the compressed one.
    pub(super) fn of(config_map: &Value) -> Self {
        let json = config_map["data"]["cache.json"].as_str().map_or_else(
            || {
                let base64 = config_map["binaryData"]["cache.json.gz"].as_str().unwrap();
                let mut json = String::new();
                GzDecoder::new(STANDARD.decode(base64).unwrap().as_slice()).read_to_string(&mut json).unwrap();
                json
            },
            str::to_owned,
        );
        let document: Self = serde_json::from_str(&json).unwrap();
        assert!(document.version.is_none_or(|version| version <= 1), "{:?}", document.version);
        document
    }

    /// Who runs an image: `kind/name`, sorted.
    pub(super) fn who_runs(&self, image: &str) -> Vec<String> {
        let mut entries: Vec<&Entry> = self.images.get(image).into_iter().flatten().collect();
        entries.sort();
        entries.into_iter().map(|entry| format!("{}/{}", entry.kind, entry.name)).collect()
    }
}

/// An immutable version of the cache: the cache that it is a version of, and since when it is the current one.
pub(super) fn version(config_map: &Value) -> (String, Timestamp) {
    assert_eq!(config_map["immutable"], true, "{config_map}");
    let metadata = &config_map["metadata"];
    let cache = metadata["labels"]["pushroll.dev/cache"].as_str().unwrap().to_owned();
    let hash = metadata["name"].as_str().unwrap().strip_prefix(&format!("{cache}-")).unwrap();
    assert!(
        hash.len() == 10 && hash.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)),
        "{hash}"
    );
    let since = metadata["annotations"]["pushroll.dev/current-since"].as_str().unwrap();
    (cache, since.parse().unwrap())
}

/// A Lease: its holder, and for how many seconds it holds it.
pub(super) fn lease(lease: &Value) -> (String, u64) {
    let spec = &lease["spec"];
    let _: Timestamp = spec["renewTime"].as_str().unwrap().parse().unwrap();
    (spec["holderIdentity"].as_str().unwrap().to_owned(), spec["leaseDurationSeconds"].as_u64().unwrap())
}
