//! Whether a store can be used: reachable, readable, writable; and where not, the permission that is missing.

use super::{ConfigMapStore, FIELD_MANAGER};
use crate::cluster::{ApiError, Verb};
use serde::Serialize;
use serde_json::json;

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Whether it works.
    pub works: bool,
    /// What was found, or what the API server said.
    pub detail: String,
}

/// What a store can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// The API server answers.
    pub reachable: Verified,
    /// The ConfigMap can be read.
    pub readable: Verified,
    /// It can be written, or created where it is missing. Tried as a dry run: nothing is changed.
    pub writable: Verified,
}

impl Verification {
    /// Whether everything works.
    pub fn works(&self) -> bool {
        self.reachable.works && self.readable.works && self.writable.works
    }
}

impl ConfigMapStore {
    /// Tries each thing a store needs, and changes nothing.
    pub async fn verify(&self) -> Verification {
        let read = self.cluster.get_config_map(&self.namespace, &self.name).await;
        let is_answer = |error: &ApiError| !matches!(error, ApiError::Unreachable(_) | ApiError::TimedOut(_));
        let reachable = match &read {
            Err(error) if !is_answer(error) => Verified { works: false, detail: error.to_string() },
            Ok(_) | Err(_) => works("the API server answers"),
        };
        if !reachable.works {
            let unknown = || Verified { works: false, detail: "not known: the API server does not answer".to_owned() };
            return Verification { reachable, readable: unknown(), writable: unknown() };
        }
        let readable = match &read {
            Ok(Some(object)) => works(&format!("{} keys", object.data.len() + object.binary_data.len())),
            Ok(None) => works("it does not exist yet; a set creates it"),
            Err(error) => Verified { works: false, detail: error.to_string() },
        };
        let writable = match &read {
            Ok(Some(object)) if object.immutable => {
                Verified { works: false, detail: format!("the ConfigMap {self} is immutable") }
            }
            Ok(None) => self.try_dry(Verb::Create).await,
            Ok(Some(_)) | Err(_) => self.try_dry(Verb::Patch).await,
        };
        Verification { reachable, readable, writable }
    }

    async fn try_dry(&self, verb: Verb) -> Verified {
        match self.cluster.dry_run_config_map(verb, &self.namespace, &self.name, FIELD_MANAGER, json!({})).await {
            Ok(()) => works(if verb == Verb::Create { "it can be created" } else { "it can be changed" }),
            Err(error) => Verified { works: false, detail: error.to_string() },
        }
    }
}

fn works(detail: &str) -> Verified {
    Verified { works: true, detail: detail.to_owned() }
}
