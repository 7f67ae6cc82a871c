//! From a verdict to all that has to be made true for it.

use lovage_core::{
    Child, ChordMember, ChordMembers, ChordWork, Closing, Disposal, Failure, Invocation, Json,
    Kept, KeptKind, ParkReason, QueueName, ResultRecord, Settlement, TaskState, Timestamp,
    UNKNOWN_TASK, Verdict,
};

use crate::Undecoded;
use crate::canvas::{complete_chord, members_of};
use crate::fields::Fields;
use crate::follow_ups::{FollowUps, Source};
use crate::next_attempt::next_attempt;
use crate::opened::Opened;
use crate::reason::{TENANT_MISMATCH, reason_of};
use crate::routing::TaskRoute;
use crate::signature::{Signature, list};
use crate::told::record;

/// What closing a call depends on besides the call: the worker's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseSettings {
    /// Whether failures are kept even of calls whose results nobody wants
    /// (`task_store_errors_even_if_ignored`), of all tasks; a task's manifest may ask for its own.
    pub store_errors_even_if_ignored: bool,
    /// Whether result documents name the task, its arguments and its worker (`result_extended`).
    pub extended: bool,
    /// Whether callers are told when an attempt begins (`task_track_started`), of all tasks; a task's
    /// manifest may ask for its own.
    pub track_started: bool,
    /// The worker's node name, such as `celery@box`.
    pub hostname: String,
    /// Where a call goes that names no queue (`task_default_queue`).
    pub default_queue: QueueName,
    /// Where calls of certain tasks go that name no place themselves (`task_routes`).
    pub routes: Vec<TaskRoute>,
    /// Whether the result backend counts the members of chords. Where it does not, a chord leaves with a
    /// call of `celery.chord_unlock`, which asks for its members' results.
    pub chords_are_counted: bool,
}

impl Default for CloseSettings {
    fn default() -> Self {
        Self {
            store_errors_even_if_ignored: false,
            extended: false,
            track_started: false,
            hostname: "celery@localhost".into(),
            default_queue: "celery".into(),
            routes: Vec::new(),
            chords_are_counted: true,
        }
    }
}

/// All that settling this verdict has to make true, the ledger's part aside.
pub fn close(verdict: &Verdict, settings: &CloseSettings) -> Closing {
    let close = Close { verdict, settings };
    let disposal = match &verdict.settlement {
        Settlement::Bury(failure) => return close.bury(failure),
        Settlement::Park(reason) => return close.park(reason),
        Settlement::Retry { failure, at, options } => {
            return close.retry(failure, *at, options.as_ref());
        }
        Settlement::Succeed { result, calls } => {
            let source = close.source();
            let leaving = source.after_success(result, calls);
            let state = TaskState::Success(result.clone());
            let children = leaving.children.clone();
            let own = close.wanted().then(|| close.record(state.clone(), children));
            let mut results: Vec<_> = own.into_iter().collect();
            let chords = close.chords(&leaving, Some(&state));
            results.extend(leaving.results);
            let closing = close.closing(results, leaving.publications, Disposal::Acknowledge);
            return Closing { chords, ..closing };
        }
        Settlement::Ignore { calls } => return close.unseen(close.source().outbox(calls)),
        Settlement::Replace { signature, calls } => {
            let mut leaving = close.source().outbox(calls);
            close.source().replacement(signature, &mut leaving);
            return close.unseen(leaving);
        }
        Settlement::Drop(reason) => {
            let state = TaskState::Revoked(reason.as_str());
            let results = close.errors_wanted().then(|| close.record(state.clone(), Vec::new()));
            let results = results.into_iter().collect();
            let chords = close.chords(&FollowUps::default(), Some(&state));
            let closing = close.closing(results, Vec::new(), Disposal::Acknowledge);
            return Closing { chords, ..closing };
        }
        Settlement::Release(at) => Disposal::Release(*at),
        // If the delivery is still ours it may be the only copy; if not, this does nothing.
        Settlement::Forget => Disposal::Release(None),
    };
    close.closing(Vec::new(), Vec::new(), disposal)
}

/// The closing of a message that cannot be read: it is kept whole, under the error's code.
pub fn quarantine(undecoded: &Undecoded, at: Timestamp) -> Closing {
    let Undecoded { delivery, error } = undecoded;
    let opened = Opened::of(&delivery.message).ok();
    let mut fields = Fields::default();
    if let Some(opened) = &opened {
        fields.headers(opened.headers);
    }
    let kept = Kept {
        kind: KeptKind::Quarantined,
        reason: error.code().into(),
        detail: error.to_string(),
        task_id: fields.id().ok().map(|id| (&*id).into()),
        task: fields.task().ok().map(|task| (&*task).into()),
        queue: delivery.queue.clone(),
        digest: None,
        traceback: None,
        retries: fields.retries().unwrap_or(0),
        deliveries: delivery.deliveries,
        at,
        ledger_key: None,
    };
    Closing::only(delivery.receipt, Disposal::Keep(Box::new(kept)))
}

/// What a chord's last member sends for it: the body with all results, or, when one of them failed,
/// the news of that to the body's caller and its errbacks. `members` is what
/// [counting](lovage_core::Counted::Complete) came to.
///
/// What it returns is to be settled with the member's own closing; whether the chord failed.
pub fn chord_closing(
    verdict: &Verdict,
    settings: &CloseSettings,
    member: &ChordMember,
    members: &ChordMembers,
) -> (Closing, bool) {
    let close = Close { verdict, settings };
    let mut leaving = FollowUps::default();
    let of = (&member.group, &member.body);
    let failed = complete_chord(&close.source(), &mut leaving, of, members);
    let mut chords = ChordWork { members: leaving.members, ..ChordWork::default() };
    let starts = leaving.chords.iter();
    chords.starts.extend(starts.map(|start| (start.group.clone(), start.members)));
    let chords = Some(Box::new(chords)).filter(|work| !work.is_empty());
    let closing = close.closing(leaving.results, leaving.publications, Disposal::Acknowledge);
    (Closing { chords, ..closing }, failed)
}

/// The failure of a call whose arguments are not a list, or whose keyword arguments are not a map:
/// the same `TypeError` that the caller would get from Python.
pub fn arguments_error(invocation: &Invocation) -> Option<Failure> {
    let Invocation { task, args, kwargs, .. } = invocation;
    let message = if !args.is_array() {
        let kind = python_type(args);
        format!("{task}() argument after * must be an iterable, not {kind}")
    } else if !kwargs.is_object() {
        format!("{task}() argument after ** must be a mapping, not {}", python_type(kwargs))
    } else {
        return None;
    };
    Some(Failure::new("builtins", "TypeError", &message))
}

fn python_type(value: &Json) -> &'static str {
    match value.as_str().trim_ascii().as_bytes() {
        [b'{', ..] => "dict",
        [b'[', ..] => "list",
        [b'"', ..] => "str",
        [b't' | b'f', ..] => "bool",
        b"null" => "NoneType",
        number if number.iter().any(|byte| b".eEIN".contains(byte)) => "float",
        _ => "int",
    }
}

/// A verdict on its way to a closing.
struct Close<'a> {
    verdict: &'a Verdict,
    settings: &'a CloseSettings,
}

impl<'a> Close<'a> {
    /// First the call's own failure, then the same for every later link of its chain: somebody may
    /// wait for the last of them. Then the errbacks. The message is kept as a dead letter.
    fn bury(&self, failure: &Failure) -> Closing {
        let mut results = Vec::new();
        if self.errors_wanted() {
            results.push(self.record(TaskState::Failure(failure.clone()), Vec::new()));
            results.extend(self.later_links(failure));
        }
        let leaving = self.source().after_failure(failure);
        let chords = self.chords(&leaving, Some(&TaskState::Failure(failure.clone())));
        let kept = Kept {
            traceback: failure.traceback.clone(),
            ..self.kept(KeptKind::Dead, reason_of(failure), failure.to_string())
        };
        let closing = self.closing(results, leaving.publications, Disposal::Keep(Box::new(kept)));
        Closing { chords, ..closing }
    }

    /// What left with a call of whose end nobody is told.
    fn unseen(&self, leaving: FollowUps) -> Closing {
        let chords = self.chords(&leaving, None);
        let closing = self.closing(Vec::new(), leaving.publications, Disposal::Acknowledge);
        Closing { chords, ..closing }
    }

    /// What chords have to hear of a call that ended so, or that ended and counts for nothing.
    fn chords(&self, leaving: &FollowUps, state: Option<&TaskState>) -> Option<Box<ChordWork>> {
        let invocation = &self.verdict.invocation;
        if leaving.chords.is_empty()
            && leaving.joining.is_empty()
            && leaving.members.is_empty()
            && invocation.links.chord.is_none()
            && invocation.links.chain.is_none()
        {
            return None;
        }
        let mut work = ChordWork { members: leaving.members.clone(), ..ChordWork::default() };
        work.starts.extend(leaving.chords.iter().map(|it| (it.group.clone(), it.members)));
        if let Some(group) = &invocation.group {
            work.joining.extend(leaving.joining.iter().map(|id| (group.clone(), id.clone())));
        }
        if let Some(state) = state {
            if let (Some(body), Some(group)) = (&invocation.links.chord, &invocation.group) {
                work.members.push(ChordMember {
                    group: group.clone(),
                    id: invocation.id.clone(),
                    index: invocation.group_index,
                    state: state.clone(),
                    body: body.clone(),
                });
            }
            if let (TaskState::Failure(_), Some(chain)) = (state, &invocation.links.chain) {
                work.members.extend(members_of(chain.as_part(), state));
            }
        }
        Some(Box::new(work)).filter(|work| !work.is_empty())
    }

    /// An unknown task is reported as Celery reports it, wanted or not. The other reasons are not
    /// failures: the call may still succeed, so its caller is told nothing.
    fn park(&self, reason: &ParkReason) -> Closing {
        let name = self.verdict.invocation.task.as_str();
        let (reason, detail, results) = match reason {
            ParkReason::UnknownTask => {
                let failure = Failure::new("celery.exceptions", "NotRegistered", name);
                let record = self.record(TaskState::Failure(failure), Vec::new());
                let detail = format!("no module implements task {name}");
                (UNKNOWN_TASK, detail, vec![record])
            }
            ParkReason::AmbiguousStep(step) => {
                let detail = format!("step {step} was begun before and may have happened");
                ("ambiguous-step", detail, Vec::new())
            }
            ParkReason::CrashLoop => {
                let detail = "worker after worker died under it".to_owned();
                let failure = Failure::new("billiard.exceptions", "WorkerLostError", &detail);
                let record = self.record(TaskState::Failure(failure), Vec::new());
                ("crash-loop", detail, vec![record])
            }
            ParkReason::Mismatch => {
                let detail = "the key was used before, with other arguments".to_owned();
                (MISMATCH, detail, self.mismatch())
            }
            // Nobody is told: the id may be another tenant's call.
            ParkReason::TenantMismatch => {
                let detail = "the message names another tenant than its queue's".into();
                (TENANT_MISMATCH, detail, Vec::new())
            }
            ParkReason::Unsupported(what) => {
                let detail = "what follows the call cannot be sent by this version".into();
                (what.as_str(), detail, Vec::new())
            }
        };
        let is_dead = matches!(reason, MISMATCH | TENANT_MISMATCH);
        let kind = if is_dead { KeptKind::Dead } else { KeptKind::Parked };
        let kept = self.kept(kind, reason, detail);
        self.closing(results, Vec::new(), Disposal::Keep(Box::new(kept)))
    }

    /// What the caller of a mismatch is told: nothing where the key is the call's id, because the
    /// result under that id is the other call's.
    fn mismatch(&self) -> Vec<ResultRecord> {
        let text = "the idempotency key was used before, with other arguments";
        let failure = Failure::new("lovage.exceptions", "IdempotencyMismatch", text);
        let explicit = self.verdict.key_is_explicit;
        explicit.then(|| self.record(TaskState::Failure(failure), Vec::new())).into_iter().collect()
    }

    /// The next attempt leaves, and the caller sees that it will.
    fn retry(&self, failure: &Failure, at: Timestamp, options: Option<&Json>) -> Closing {
        let Verdict { invocation, at: now, .. } = self.verdict;
        let Some(publication) = next_attempt(invocation, self.settings, at, *now, options) else {
            return self.closing(Vec::new(), Vec::new(), Disposal::Release(Some(at)));
        };
        let children = vec![Child::Task(invocation.id.clone())];
        let results =
            self.wanted().then(|| self.record(TaskState::Retry(failure.clone()), children));
        let results = results.into_iter().collect();
        self.closing(results, vec![publication], Disposal::Acknowledge)
    }

    fn source(&self) -> Source<'a> {
        let Verdict { invocation, at, .. } = self.verdict;
        Source { invocation, settings: self.settings, now: *at }
    }

    fn closing(
        &self,
        results: Vec<ResultRecord>,
        publications: Vec<lovage_core::Publication>,
        disposal: Disposal,
    ) -> Closing {
        let receipt = self.verdict.invocation.delivery.receipt;
        Closing { receipt, ledger: None, results, publications, chords: None, disposal }
    }

    /// Whether anybody wants the result: the call says, or else its task.
    fn wanted(&self) -> bool {
        let by_task = || self.verdict.task.as_ref().is_some_and(|task| task.ignore_result);
        !self.verdict.invocation.ignore_result.unwrap_or_else(by_task)
    }

    /// Whether a failure is told: by the task's own word, the worker's, or because all is wanted.
    fn errors_wanted(&self) -> bool {
        let task = self.verdict.task.as_ref();
        self.settings.store_errors_even_if_ignored
            || task.is_some_and(|task| task.store_errors_even_if_ignored)
            || self.wanted()
    }

    fn record(&self, state: TaskState, children: Vec<Child>) -> ResultRecord {
        let Verdict { invocation, at, .. } = self.verdict;
        record(invocation, self.settings, state, children, *at)
    }

    /// The failure under the id of every later link, with the place to answer to that it names.
    fn later_links(&self, failure: &Failure) -> Vec<ResultRecord> {
        let chain = self.verdict.invocation.links.chain.as_ref();
        let links = chain.and_then(|chain| list(chain.as_part())).unwrap_or_default();
        let record = |link: &Signature<'_>| {
            let task_id = link.awaited_id()?;
            let text = |name| link.option_text(name);
            Some(ResultRecord {
                state: TaskState::Failure(failure.clone()),
                at: self.verdict.at,
                group: text("group_id").map(|id| (&*id).into()),
                parent_id: None,
                children: Vec::new(),
                reply_to: text("reply_to").map(|to| Box::from(&*to)),
                correlation_id: Some(task_id.as_str().into()),
                extended: None,
                tenant: None,
                life: None,
                task_id,
            })
        };
        links.iter().filter_map(record).collect()
    }

    fn kept(&self, kind: KeptKind, reason: &str, detail: String) -> Kept {
        let Verdict { invocation, digest, at, .. } = self.verdict;
        Kept {
            kind,
            reason: reason.into(),
            detail,
            task_id: Some(invocation.id.clone()),
            task: Some(invocation.task.clone()),
            queue: invocation.queue().clone(),
            digest: *digest,
            traceback: None,
            retries: invocation.retries,
            deliveries: invocation.delivery.deliveries,
            at: *at,
            ledger_key: None,
        }
    }
}

/// The reason under which a message is kept whose key was used before, with other arguments. It is
/// no parked call: nobody can make it right.
const MISMATCH: &str = "idempotency-mismatch";
