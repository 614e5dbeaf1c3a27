//! List and watch of a kind: kube's watcher, over a client of ours that limits times, counts calls and keeps the
//! [`Pulse`].
//!
//! Bookmarks and the end of a watch request are the signs of life of a quiet watch. kube's watcher does not pass them
//! on, so we take them from the bytes of the answers.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt as _};
use http::{Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Frame;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::client::Body;
use kube::core::DynamicResourceScope;
use kube::runtime::watcher::{self, watcher};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::error::ApiError;
use super::gate::WaitLimits;
use super::metrics::{RequestLabels, Verb};
use super::pulse::Pulse;
use super::request::{BoxError, CALL_LIMIT, Cluster, LIST_LIMIT, WholeAnswer, date};
use super::watched_object::WatchedObject;
use super::workload_object::WorkloadObject;
use crate::clock::parse_date;
use crate::error_chain::causes;
use crate::workload::{WorkloadKind, WorkloadRef};

/// How long the first watch request after a LIST lasts, in seconds. At its end we know what happened during the LIST.
const CATCH_UP_SECONDS: u32 = 2;

/// What a watch delivers, beginning with a LIST.
#[derive(Debug)]
pub enum WatchEvent {
    /// An object of the LIST.
    Listed(WorkloadRef, WatchedObject),
    /// The LIST is whole.
    ListDone,
    /// An object is new or has changed.
    Applied(WorkloadRef, WatchedObject),
    /// An object is gone.
    Deleted(WorkloadRef),
    /// A request failed or broke off. The watch continues where it was and has lost nothing, if it is not too late.
    Interrupted(ApiError),
}

/// Events, until the first error. After it the watch must be started again.
pub type WatchEvents = BoxStream<'static, Result<WatchEvent, ApiError>>;

/// An object in the form that kube's watcher needs: it reads the resourceVersion. It is encoded as soon as it is read, for
/// a page has hundreds. Without `KEEP_LABELS` only our own labels are kept.
#[derive(Debug, Clone)]
struct Watched<const KEEP_LABELS: bool> {
    metadata: ObjectMeta,
    namespace: Arc<str>,
    name: Arc<str>,
    object: WatchedObject,
}

impl Cluster {
    /// Lists and watches a kind, in one namespace or in all. A watch request lasts `request`, in whole seconds, and
    /// is opened again. Without `keep_labels` only our own labels of an object are kept. `pulse` notes times of the API
    /// server's clock only while that agrees with ours within `margin`.
    pub fn watch_workloads(
        &self,
        kind: WorkloadKind,
        namespace: Option<&str>,
        pulse: &Arc<Pulse>,
        request: Duration,
        margin: Duration,
        keep_labels: bool,
    ) -> WatchEvents {
        if keep_labels {
            self.watch_objects::<true>(kind, namespace, pulse, request, margin)
        } else {
            self.watch_objects::<false>(kind, namespace, pulse, request, margin)
        }
    }

    fn watch_objects<const KEEP_LABELS: bool>(
        &self,
        kind: WorkloadKind,
        namespace: Option<&str>,
        pulse: &Arc<Pulse>,
        request: Duration,
        margin: Duration,
    ) -> WatchEvents {
        pulse.begin();
        let seconds = u32::try_from(request.as_secs()).unwrap_or(u32::MAX).max(1);
        let client = self.client_with_pulse(kind, Arc::clone(pulse), seconds.min(CATCH_UP_SECONDS), margin);
        let api: Api<Watched<KEEP_LABELS>> = match namespace {
            None => Api::all_with(client, &kind),
            Some(namespace) => Api::namespaced_with(client, namespace, &kind),
        };
        let events = watcher(api, watcher::Config::default().timeout(seconds));
        let events = events.filter_map(move |event| async move {
            match event {
                Ok(watcher::Event::Init) => None,
                Ok(watcher::Event::InitApply(watched)) => {
                    Some(Ok(WatchEvent::Listed(watched.workload(kind), watched.object)))
                }
                Ok(watcher::Event::InitDone) => Some(Ok(WatchEvent::ListDone)),
                Ok(watcher::Event::Apply(watched)) => {
                    Some(Ok(WatchEvent::Applied(watched.workload(kind), watched.object)))
                }
                Ok(watcher::Event::Delete(watched)) => Some(Ok(WatchEvent::Deleted(watched.workload(kind)))),
                Err(error) => {
                    let resumes = matches!(error, watcher::Error::WatchStartFailed(_) | watcher::Error::WatchFailed(_));
                    Some(match api_error(error) {
                        error @ (ApiError::Forbidden(_)
                        | ApiError::Unauthorized(_)
                        | ApiError::NotFound(_)
                        | ApiError::Expired(_)
                        // An event that cannot be read is lost.
                        | ApiError::Unreadable(_)) => Err(error),
                        error if resumes => Ok(WatchEvent::Interrupted(error)),
                        error => Err(error),
                    })
                }
            }
        });
        events.boxed()
    }

    fn client_with_pulse(
        &self,
        kind: WorkloadKind,
        pulse: Arc<Pulse>,
        catch_up_seconds: u32,
        margin: Duration,
    ) -> kube::Client {
        let cluster = self.clone();
        let service = tower::service_fn(move |mut request: Request<Body>| {
            let (cluster, pulse) = (cluster.clone(), Arc::clone(&pulse));
            async move {
                let is_watch = request.uri().query().is_some_and(|query| query.split('&').any(|p| p == "watch=true"));
                let verb = if is_watch { Verb::Watch } else { Verb::List };
                let mut labels = RequestLabels { verb, resource: kind.into(), code: 0 };
                if !is_watch {
                    return cluster.page(request, &pulse, margin, &mut labels).await;
                }
                if pulse.is_catching_up() {
                    *request.uri_mut() = shorter(request.uri(), catch_up_seconds)?;
                }
                let answer = cluster.open(request, &pulse, margin, &mut labels.code).await;
                cluster.metrics().requests.get_or_create(&labels).inc();
                answer
            }
        });
        kube::Client::new(service, "default")
    }

    /// Opens a watch request. It needs no permit, and waits for the end of a pause no longer than a call does.
    async fn open(
        &self,
        request: Request<Body>,
        pulse: &Arc<Pulse>,
        margin: Duration,
        code: &mut u16,
    ) -> Result<Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError> {
        self.gate().wait_for_pause(WaitLimits::of(CALL_LIMIT)).await?;
        let answered = tokio::time::timeout(CALL_LIMIT, self.send(request)).await;
        let response = answered.map_err(|_| ApiError::TimedOut(CALL_LIMIT))??;
        *code = response.status().as_u16();
        self.gate().note_pause(response.status(), response.headers());
        let is_open = response.status().is_success();
        if is_open {
            pulse.opened(self.server_clock().passed(margin));
        }
        let pulse = is_open.then(|| Arc::clone(pulse));
        Ok(response.map(|body| PulseBody { body, pulse }.boxed_unsync()))
    }

    /// One page of the LIST, read to its end within its time limit.
    async fn page(
        &self,
        request: Request<Body>,
        pulse: &Pulse,
        margin: Duration,
        labels: &mut RequestLabels,
    ) -> Result<Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError> {
        let sent = self.send_whole(request, LIST_LIMIT, WaitLimits::of(LIST_LIMIT), labels).await?;
        let WholeAnswer { answer, first_after, .. } = sent;
        // The API server's clock showed this or a later time when we asked.
        let date = date(&answer).and_then(parse_date).filter(|_| self.server_clock().agrees_within(margin));
        pulse.listing_since(date.and_then(|date| date.checked_sub(first_after).ok()));
        Ok(answer.map(|body| Full::new(body).map_err(BoxError::from).boxed_unsync()))
    }
}

/// The same request, with a shorter timeout.
fn shorter(uri: &Uri, seconds: u32) -> Result<Uri, BoxError> {
    let is_timeout = |parameter: &str| parameter.starts_with("timeoutSeconds=");
    let parameters = uri.query().unwrap_or_default().split('&').filter(|parameter| !is_timeout(parameter));
    let query: Vec<&str> = parameters.filter(|parameter| !parameter.is_empty()).collect();
    Ok(format!("{}?{}&timeoutSeconds={seconds}", uri.path(), query.join("&")).parse()?)
}

/// The body of a watch request, each frame of which is a sign of life.
struct PulseBody {
    body: Body,
    pulse: Option<Arc<Pulse>>,
}

impl hyper::body::Body for PulseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        match (&polled, &self.pulse) {
            (Some(Ok(_)), Some(pulse)) => pulse.sign(),
            // The body may be polled again after its end.
            (None, Some(_)) => self.pulse.take().iter().for_each(|pulse| pulse.ended()),
            _ => {}
        }
        Poll::Ready(polled.map(|frame| frame.map_err(BoxError::from)))
    }
}

/// Errors of our client, such as a broken connection, are among the sources; the API server refuses with a `Status`.
fn api_error(error: watcher::Error) -> ApiError {
    let refused = |status: &kube::core::Status| ApiError::from_refusal(status.code, false, status.message.clone());
    let cause = match error {
        watcher::Error::WatchError(status) => return refused(&status),
        watcher::Error::NoResourceVersion => {
            return ApiError::Unreadable("an object has no resourceVersion".to_owned());
        }
        watcher::Error::InitialListFailed(cause)
        | watcher::Error::WatchStartFailed(cause)
        | watcher::Error::WatchFailed(cause) => cause,
    };
    match &cause {
        kube::Error::Api(status) => refused(status),
        kube::Error::SerdeError(error) => ApiError::Unreadable(error.to_string()),
        cause => match causes(cause).find_map(|source| source.downcast_ref::<ApiError>()) {
            Some(ApiError::TimedOut(limit)) => ApiError::TimedOut(*limit),
            Some(ApiError::Unreachable(reason)) => ApiError::Unreachable(reason.clone()),
            Some(ApiError::TooBusy(reason)) => ApiError::TooBusy(reason.clone()),
            _ => super::request::unreachable(cause),
        },
    }
}

// === impl Watched ===

impl<const KEEP_LABELS: bool> Watched<KEEP_LABELS> {
    fn workload(&self, kind: WorkloadKind) -> WorkloadRef {
        WorkloadRef::new(Arc::clone(&self.namespace), kind, Arc::clone(&self.name))
    }
}

impl<'de, const KEEP_LABELS: bool> Deserialize<'de> for Watched<KEEP_LABELS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = WorkloadObject::deserialize(deserializer)?;
        if !KEEP_LABELS {
            object.metadata.labels.retain(|key, _| key.starts_with("pushroll.dev/"));
        }
        let resource_version = Some(object.metadata.resource_version.clone());
        Ok(Self {
            metadata: ObjectMeta { resource_version, ..ObjectMeta::default() },
            namespace: object.metadata.namespace.as_str().into(),
            name: object.metadata.name.as_str().into(),
            object: WatchedObject::new(&object).map_err(D::Error::custom)?,
        })
    }
}

impl<const KEEP_LABELS: bool> kube::Resource for Watched<KEEP_LABELS> {
    type DynamicType = WorkloadKind;
    type Scope = DynamicResourceScope;

    fn kind(kind: &WorkloadKind) -> Cow<'_, str> {
        kind.as_str().into()
    }

    fn group(_: &WorkloadKind) -> Cow<'_, str> {
        "apps".into()
    }

    fn version(_: &WorkloadKind) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural(kind: &WorkloadKind) -> Cow<'_, str> {
        kind.plural().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
