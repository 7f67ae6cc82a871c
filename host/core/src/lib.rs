//! The vocabulary of Lovage: what every other room of the house speaks.
//!
//! A message lives through five nouns, joined by five verbs:
//!
//! ```text
//! Delivery ─decode→ Invocation ─admit→ Job ─run→ Report ─decide→ Verdict ─settle→ acknowledged
//! ```
//!
//! * [`Delivery`]: what a broker hands over: bytes, a queue, a receipt.
//! * [`Invocation`]: a decoded call.
//! * [`Job`]: an admitted call: the module that answers it, and the limits it runs under.
//! * [`Report`]: what the sandbox says after one attempt.
//! * [`Verdict`]: an invocation and what becomes of it. [`decide`] makes it; nothing else does.
//!
//! Here are also the [`ports`] behind which all input and output lies, and the [`frames`] that a
//! worker and its executor processes exchange.
//!
//! Deliberately absent: input and output, an async runtime, Celery's wire words (they are in
//! `lovage-celery`), and any name of a broker, a store or an engine.

pub mod admin_ports;
pub mod fair;
pub mod frames;
pub mod http;
pub mod ports;

mod access;
mod chord;
mod custody;
mod delivery;
mod fanout;
mod ids;
mod invocation;
mod job;
mod json;
mod kept;
mod kept_page;
mod key;
mod ledger;
mod limits;
mod manifest;
mod metering;
mod module;
mod outbox;
mod report;
mod result;
mod retry;
mod settlement;
mod shelf;
mod tenant;
mod time;

pub use access::{
    AuditEntry, AuditRow, Scope, ScopeError, Submission, Submitted, Tampered, TaskCursor,
    TaskFilter, TaskPage, TaskRow, Token, verify_audit,
};
pub use chord::{ChordMember, ChordMembers, ChordWork, Counted};
pub use custody::{Due, Keeping, Waiting};
pub use delivery::{Delivery, Message, Parts, Receipt};
pub use fanout::{Notice, Question, QueueSource, Recipients};
pub use ids::{Digest, DigestError, ExecutorNumber, JobNumber, QueueName, TaskId, TaskName};
pub use invocation::{Invocation, Links, TimeLimit};
pub use job::{Job, Wait};
pub use json::{DEPTH_MAX, Json, JsonError, JsonPart, write_json_string};
pub use kept::{Kept, KeptEntry, KeptFilter, KeptId, KeptKind, KeptPage, UNKNOWN_TASK};
pub use kept_page::{KEPT_LOOK_MAX, KeptPager, read_kept};
pub use key::{KEY_BYTES_MAX, render_key};
pub use ledger::{
    Change, Claim, Claimant, Claimed, Decided, End, Fence, Grant, Hold, LedgerKey, LedgerWrite,
    NUMBER_MAX, Payload, Record, Recorded, Renewed, STEP_NAME_BYTES_MAX, STEP_VALUE_BYTES_MAX,
    SessionNumber, State, StepBegin, StepBegun, StepEnd, StepInput, StepRecord, decide_begin_step,
    decide_claim, decide_end_step, decide_write,
};
pub use limits::Limits;
pub use manifest::{Idempotency, LimitRequest, Manifest, ManifestError, REUSE_MAX, TaskSpec};
pub use metering::{Allowance, Spent, TenantMeter};
pub use module::{Module, Percentage, PercentageError};
pub use outbox::{OutboxCall, OutboxItem, outbox_caller, outbox_task_id};
pub use report::{Death, Failure, LogLevel, LogLine, Outcome, Report, Usage};
pub use result::{Child, Extended, ResultRecord, TaskState};
pub use retry::{
    Backoff, BreakerRequest, Budget, BudgetRequest, Cause, Causes, FailedAttempt, Jitter,
    PolicyError, RetryMarks, RetryPolicy, RetryRequest,
};
pub use settlement::{
    Closing, Disposal, DropReason, ParkReason, Publication, Settlement, Verdict, decide,
};
pub use shelf::{
    Canary, ModuleName, Placement, Rejection, Removal, Shelf, ShelfError, Shelved, Version,
    permission_changes,
};
pub use tenant::{
    Capabilities, Capability, CapabilityError, NameError, QueueGlob, QueueGlobError, Quotas,
    SignaturePolicy, Tenant, TenantId, TenantTable, Tenants, TenantsError, WEIGHT_MAX,
    is_plain_name,
};
pub use time::Timestamp;
