//! From a verdict to all that has to be made true for it.

use lovage_core::{
    Child, Closing, Death, Disposal, Extended, Failure, Invocation, Json, Kept, KeptKind,
    ParkReason, QueueName, ResultRecord, Settlement, TaskState, Timestamp, UNKNOWN_TASK, Verdict,
};

use crate::Undecoded;
use crate::fields::Fields;
use crate::follow_ups::{FollowUps, Source};
use crate::next_attempt::next_attempt;
use crate::opened::Opened;
use crate::result::stamps_of;
use crate::routing::TaskRoute;
use crate::signature::{Signature, list};

/// What closing a call depends on besides the call: the worker's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseSettings {
    /// Whether failures are kept even of calls whose results nobody wants
    /// (`task_store_errors_even_if_ignored`), of all tasks; a task's manifest may ask for its own.
    pub store_errors_even_if_ignored: bool,
    /// Whether result documents name the task, its arguments and its worker (`result_extended`).
    pub extended: bool,
    /// The worker's node name, such as `celery@box`.
    pub hostname: String,
    /// Where a call goes that names no queue (`task_default_queue`).
    pub default_queue: QueueName,
    /// Where calls of certain tasks go that name no place themselves (`task_routes`).
    pub routes: Vec<TaskRoute>,
}

impl Default for CloseSettings {
    fn default() -> Self {
        Self {
            store_errors_even_if_ignored: false,
            extended: false,
            hostname: "celery@localhost".into(),
            default_queue: "celery".into(),
            routes: Vec::new(),
        }
    }
}

/// All that settling this verdict has to make true, the ledger's part aside.
pub fn close(verdict: &Verdict, settings: &CloseSettings) -> Closing {
    let close = Close { verdict, settings };
    let disposal = match &verdict.settlement {
        Settlement::Bury(failure) => return close.bury(failure),
        Settlement::Park(reason) => return close.park(reason),
        Settlement::Retry { failure, at } => return close.retry(failure, *at),
        Settlement::Succeed { result, calls } => {
            let source = close.source();
            let FollowUps { publications, children } = source.after_success(result, calls);
            let state = TaskState::Success(result.clone());
            let results = close.wanted().then(|| close.record(state, children));
            let results = results.into_iter().collect();
            return close.closing(results, publications, Disposal::Acknowledge);
        }
        Settlement::Drop(reason) => {
            let state = TaskState::Revoked(reason.as_str());
            let results = close.errors_wanted().then(|| close.record(state, Vec::new()));
            let results = results.into_iter().collect();
            return close.closing(results, Vec::new(), Disposal::Acknowledge);
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

/// Why the call must not be run yet: what follows it cannot be sent by this version, so that it
/// would be done by halves. To be asked before a call is admitted; the text is a reason to park it.
pub fn unsupported(invocation: &Invocation) -> Option<&'static str> {
    let links = &invocation.links;
    let plain = |link: &Json| {
        list(link.as_part()).is_some_and(|links| links.iter().all(Signature::is_plain))
    };
    if links.chord.is_some() {
        return Some("unsupported-chord");
    }
    if links.callbacks.as_ref().is_some_and(|callbacks| !plain(callbacks)) {
        return Some("unsupported-callback");
    }
    if links.errbacks.as_ref().is_some_and(|errbacks| !plain(errbacks)) {
        return Some("unsupported-errback");
    }
    // Only the next link is sent from here; the others travel on in its message.
    let next_is_plain = |chain: &Json| {
        list(chain.as_part()).is_some_and(|links| links.last().is_none_or(Signature::is_plain))
    };
    let chain = links.chain.as_ref().is_some_and(|chain| !next_is_plain(chain));
    chain.then_some("unsupported-chain")
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
        let FollowUps { publications, .. } = self.source().after_failure();
        let kept = Kept {
            traceback: failure.traceback.clone(),
            ..self.kept(KeptKind::Dead, reason_of(failure), failure.to_string())
        };
        self.closing(results, publications, Disposal::Keep(Box::new(kept)))
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
    fn retry(&self, failure: &Failure, at: Timestamp) -> Closing {
        let Verdict { invocation, at: now, .. } = self.verdict;
        let Some(publication) = next_attempt(invocation, self.settings, at, *now) else {
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
        Closing { receipt, ledger: None, results, publications, disposal }
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
        let correlation_id = invocation.correlation_id.clone();
        ResultRecord {
            task_id: invocation.id.clone(),
            state,
            at: *at,
            group: invocation.group.clone(),
            parent_id: invocation.parent_id.clone(),
            children,
            reply_to: invocation.reply_to.clone(),
            correlation_id: correlation_id.or_else(|| Some(invocation.id.as_str().into())),
            extended: self.settings.extended.then(|| Box::new(self.extended())),
        }
    }

    fn extended(&self) -> Extended {
        let invocation = &self.verdict.invocation;
        Extended {
            name: invocation.task.clone(),
            args: invocation.args.clone(),
            kwargs: invocation.kwargs.clone(),
            worker: self.settings.hostname.clone(),
            retries: invocation.retries,
            queue: invocation.queue().clone(),
            stamps: stamps_of(&invocation.headers),
        }
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

/// The reason under which a message is kept that names another tenant than the one that owns its queue.
const TENANT_MISMATCH: &str = "tenant-mismatch";

/// Each way to die that can be told by its exception alone.
const DEATHS: [Death; 12] = [
    Death::OutOfFuel,
    Death::OutOfMemory,
    Death::TimedOut,
    Death::OutOfCpuTime,
    Death::StackOverflow,
    Death::Trapped,
    Death::Exited,
    Death::OutputTooLarge,
    Death::ArgumentsTooLarge,
    Death::TooManyHostCalls,
    Death::InvalidResult,
    Death::ExecutorLost,
];

/// The word under which a dead letter is filtered: how it died, or that it failed by itself.
fn reason_of(failure: &Failure) -> &'static str {
    let matches = |death: &&Death| {
        let (module, name) = death.exception();
        name == failure.exception_type && failure.exception_module.as_deref() == Some(module)
    };
    match failure.exception_type.as_str() {
        "ArgumentsInvalid" if is_ours(failure) => "arguments-invalid",
        "TenantMismatch" if is_ours(failure) => TENANT_MISMATCH,
        _ => DEATHS.iter().find(matches).map_or("failed", |death| death.as_str()),
    }
}

fn is_ours(failure: &Failure) -> bool {
    failure.exception_module.as_deref() == Some("lovage.exceptions")
}
