//! What may happen, and how proptest makes it up.

use proptest::collection::vec;
use proptest::prelude::*;

/// How many tags there are that a push can move, and a workload can run.
pub const TAGS: usize = 3;
/// The most workloads of a case.
pub const WORKLOADS: usize = 3;
/// The most replicas of a case.
pub const REPLICAS: usize = 3;

/// One case: a small cluster, and what happens to it.
#[derive(Debug, Clone)]
pub struct Plan {
    pub replicas: usize,
    /// Whether a part that cannot be seen holds up pushes: `--unseen-grace` is an hour, or nothing.
    pub waits_for_unseen: bool,
    pub may_list_pods: bool,
    pub workloads: Vec<WorkloadPlan>,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone)]
pub struct WorkloadPlan {
    pub kind: Kind,
    /// What its containers run; one that two run is one image.
    pub tags: Vec<usize>,
    /// `pushroll.dev/cooldown: 30s`
    pub has_cooldown: bool,
    /// It belongs to a controller, by its `ownerReferences`.
    pub has_controller: bool,
    pub exists_at_first: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Deployment,
    StatefulSet,
    DaemonSet,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Deployment, Self::StatefulSet, Self::DaemonSet];

    /// As in a path.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
            Self::DaemonSet => "daemonsets",
        }
    }
}

/// What happens next. Numbers are places in what there is, and begin anew behind its end.
#[derive(Debug, Clone)]
pub enum Step {
    /// The registry moves a tag and publishes a message.
    Publish { tag: usize, content: Content },
    /// That, and it is delivered and answered without a fault.
    Push { tag: usize, content: Content, replica: usize },
    /// Pub/Sub delivers a message, for the first time or again, whatever became of it before.
    Deliver { message: usize, replica: usize },
    /// As the last, of the message that was published last.
    DeliverNewest { replica: usize },
    /// A call that waits at the gate goes its way.
    Release { call: usize, fate: Fate },
    /// All calls arrive, one after the other, until nothing is under way.
    Drain,
    /// A replica dies and is started again. What it has sent may still arrive.
    Crash { replica: usize },
    /// A replica looks for what waits.
    Look { replica: usize },
    /// Somebody else does something to a workload.
    Edit { workload: usize, edit: Edit },
    /// Seconds pass.
    Time(u8),
    /// What the watches of a replica tell is held up, or comes again. Nothing, without `--watch`.
    Stall { replica: usize, is_stalled: bool },
    /// Whether the API server refuses each restart of a workload from now on.
    Refuse { workload: usize, refusal: Option<Refusal> },
    /// What becomes of each restart of a workload from now on.
    Meddle { workload: usize, meddling: Option<Meddling> },
    /// Whether the workloads of a kind may be seen and changed from now on.
    Forbid { kind: Kind, is_forbidden: bool },
    /// A replica looks for what it could not see.
    LookForUnseen { replica: usize },
    /// The rollout of a workload is complete: its old pods are gone.
    RollOut { workload: usize },
}

/// How the API server refuses a restart that it could make.
#[derive(Debug, Clone, Copy)]
pub enum Refusal {
    /// A webhook or a policy says so, with this code.
    Webhook(u16),
    Policy(u16),
    /// A code of a webhook, with a message of its own: as if the object were gone, or had changed.
    NotFound,
    Conflict,
    /// The object itself is invalid.
    Invalid,
}

/// What others do to a restart in the request itself, or right after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meddling {
    /// Admission keeps our annotations of the pod template as they were.
    KeepAnnotations,
    /// It removes them.
    RemoveAnnotations,
    /// It removes our record alone.
    RemoveRecord,
    /// It annotates the workload.
    Annotate,
    /// The workload's controller puts the pod template back. Nothing, where it has none.
    PutBack,
}

impl Meddling {
    /// Whether no restart comes of a PATCH while it lasts.
    pub fn prevents_restarts(self) -> bool {
        matches!(self, Self::KeepAnnotations | Self::RemoveAnnotations)
    }

    /// Whether a restart leaves no record on the pod template.
    pub fn removes_record(self) -> bool {
        self.prevents_restarts() || self == Self::RemoveRecord
    }
}

/// What a tag points to from now on.
#[derive(Debug, Clone, Copy)]
pub enum Content {
    /// Something new.
    Fresh,
    /// What it points to already.
    Same,
    /// What it pointed to before that.
    Back,
}

/// How a call fares.
#[derive(Debug, Clone, Copy)]
pub enum Fate {
    /// It arrives, and so does the answer.
    Arrive,
    /// It never arrives: 503.
    Refuse,
    /// It arrives, and the connection breaks before the answer.
    LoseAnswer,
    /// It arrives, and the answer does not come while faults last.
    WithholdAnswer,
}

#[derive(Debug, Clone)]
pub enum Edit {
    Scale(u8),
    Annotate(u8),
    AnnotatePods(u8),
    Pause(bool),
    /// A container runs another tag from now on, or the same.
    Image {
        container: usize,
        tag: usize,
    },
    /// `kubectl rollout restart`
    Restart,
    /// `kubectl rollout undo`, to so many revisions ago.
    Undo(usize),
    /// The same, before the rollout away from that revision has replaced its pods: they stay.
    UndoAtOnce(usize),
    OptOut(bool),
    Delete,
    Create,
}

pub fn plans(steps: usize) -> impl Strategy<Value = Plan> {
    let workloads = vec(workload(), 1..=WORKLOADS);
    (1..=REPLICAS, any::<bool>(), prop::bool::weighted(0.8), workloads, vec(step(), 1..=steps)).prop_map(
        |(replicas, waits_for_unseen, may_list_pods, workloads, steps)| Plan {
            replicas,
            waits_for_unseen,
            may_list_pods,
            workloads,
            steps,
        },
    )
}

fn workload() -> impl Strategy<Value = WorkloadPlan> {
    let (has_cooldown, has_controller) = (prop::bool::weighted(0.3), prop::bool::weighted(0.3));
    (kind(), vec(0..TAGS, 1..=2), has_cooldown, has_controller, prop::bool::weighted(0.9)).prop_map(
        |(kind, tags, has_cooldown, has_controller, exists_at_first)| WorkloadPlan {
            kind,
            tags,
            has_cooldown,
            has_controller,
            exists_at_first,
        },
    )
}

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(Kind::ALL.as_slice())
}

fn step() -> impl Strategy<Value = Step> {
    let content = prop_oneof![6 => Just(Content::Fresh), 1 => Just(Content::Same), 4 => Just(Content::Back)];
    let fate = prop_oneof![
        12 => Just(Fate::Arrive), 1 => Just(Fate::Refuse), 2 => Just(Fate::LoseAnswer), 2 => Just(Fate::WithholdAnswer)
    ];
    // The first tag is the busiest, so that pushes meet.
    let tag = || prop_oneof![3 => Just(0), 1 => 0..TAGS];
    prop_oneof![
        5 => (tag(), content.clone()).prop_map(|(tag, content)| Step::Publish { tag, content }),
        5 => (tag(), content, 0..REPLICAS).prop_map(|(tag, content, replica)| Step::Push { tag, content, replica }),
        6 => (0..6_usize, 0..REPLICAS).prop_map(|(message, replica)| Step::Deliver { message, replica }),
        4 => (0..REPLICAS).prop_map(|replica| Step::DeliverNewest { replica }),
        16 => (0..6_usize, fate).prop_map(|(call, fate)| Step::Release { call, fate }),
        4 => Just(Step::Drain),
        2 => (0..REPLICAS).prop_map(|replica| Step::Crash { replica }),
        2 => (0..REPLICAS).prop_map(|replica| Step::Look { replica }),
        8 => (0..WORKLOADS, edit()).prop_map(|(workload, edit)| Step::Edit { workload, edit }),
        3 => (1..=40_u8).prop_map(Step::Time),
        1 => (0..REPLICAS, any::<bool>()).prop_map(|(replica, is_stalled)| Step::Stall { replica, is_stalled }),
        3 => (0..WORKLOADS, prop::option::of(refusal())).prop_map(|(workload, refusal)| Step::Refuse { workload, refusal }),
        4 => (0..WORKLOADS, prop::option::weighted(0.8, meddling()))
            .prop_map(|(workload, meddling)| Step::Meddle { workload, meddling }),
        3 => (kind(), any::<bool>()).prop_map(|(kind, is_forbidden)| Step::Forbid { kind, is_forbidden }),
        2 => (0..REPLICAS).prop_map(|replica| Step::LookForUnseen { replica }),
        8 => (0..WORKLOADS).prop_map(|workload| Step::RollOut { workload }),
    ]
}

fn refusal() -> impl Strategy<Value = Refusal> {
    let code = || prop::sample::select([400, 403, 404, 409, 422, 429, 500, 503].as_slice());
    prop_oneof![
        code().prop_map(Refusal::Webhook),
        code().prop_map(Refusal::Policy),
        Just(Refusal::NotFound),
        Just(Refusal::Conflict),
        Just(Refusal::Invalid),
    ]
}

fn meddling() -> impl Strategy<Value = Meddling> {
    prop_oneof![
        1 => Just(Meddling::KeepAnnotations),
        2 => Just(Meddling::RemoveAnnotations),
        2 => Just(Meddling::RemoveRecord),
        1 => Just(Meddling::Annotate),
        3 => Just(Meddling::PutBack),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        // What is no change of the pods is a conflict, and nothing else.
        6 => (0..4_u8).prop_map(Edit::Scale),
        5 => any::<u8>().prop_map(Edit::Annotate),
        2 => any::<u8>().prop_map(Edit::AnnotatePods),
        2 => any::<bool>().prop_map(Edit::Pause),
        5 => (0..2_usize, 0..TAGS).prop_map(|(container, tag)| Edit::Image { container, tag }),
        3 => Just(Edit::Restart),
        4 => (1..4_usize).prop_map(Edit::Undo),
        4 => (1..4_usize).prop_map(Edit::UndoAtOnce),
        1 => any::<bool>().prop_map(Edit::OptOut),
        1 => Just(Edit::Delete),
        3 => Just(Edit::Create),
    ]
}
