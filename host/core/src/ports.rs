//! The seams to the outside. Every input and output of a worker goes through one of these.
//!
//! An error across a port says only whether to try again: on any error nothing is settled, the
//! lease runs out, and the delivery comes again. What a guest does is never an error here.

mod demand;
mod error;
mod kept;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::frames::{HostCall, HostReply};
use crate::http::{HttpError, HttpRequest, HttpResponse};
use crate::{
    ChordMember, Claim, Claimed, Closing, Counted, Death, Delivery, Disposal, Grant, Job,
    JobNumber, Json, LedgerKey, LedgerWrite, Message, Module, Notice, Publication, Question,
    QueueName, QueueSource, Receipt, Record, Recorded, Renewed, Report, ResultRecord, StepBegin,
    StepBegun, StepEnd, TaskId, TaskName, TaskSpec, TenantId, Timestamp,
};

pub use demand::{Demand, Share};
pub use error::PortError;
pub use kept::{Custody, KeptMessages};

/// Where deliveries come from, on behalf of one worker session.
///
/// A session holds a lease on everything it has received and not closed. [`renew`](Self::renew)
/// extends all of it at once; when a session fails to, its deliveries go back to their queues.
#[async_trait]
pub trait Broker: Send + Sync {
    /// Takes up to `most` deliveries, waiting at most `wait` for the first. Called by one consumer,
    /// one call at a time, and never dropped half-way: what was taken is always returned.
    ///
    /// # Errors
    /// When the broker cannot be reached; nothing was taken then, or its lease runs out.
    async fn receive(&self, most: usize, wait: Duration) -> Result<Vec<Delivery>, PortError>;

    /// Takes what is there for these shares, in their order, without waiting: what a worker that
    /// works for several tenants calls instead of [`receive`](Self::receive). Never dropped half-way.
    ///
    /// From the first share's queues come at most as many deliveries as it says, then from the
    /// second's, and so on until the demand is met. Within a share priorities come first, and queues
    /// take turns. What was on its way from an earlier call may come from any queue. A broker that
    /// is sent messages in advance keeps them apart by queue until somebody asks for that queue.
    ///
    /// A broker that leaves this out takes from all of its queues alike: it shares nothing fairly.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    async fn take(&self, demand: &Demand<'_>) -> Result<Vec<Delivery>, PortError> {
        self.receive(demand.most, Duration::ZERO).await
    }

    /// Returns when there may be something to [`take`](Self::take) for this demand. Only its queues
    /// count: what waits in others ends no wait. The caller drops it whenever it has waited enough.
    ///
    /// A broker that leaves this out is asked again every half second.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    async fn watch(&self, _demand: &Demand<'_>) -> Result<(), PortError> {
        std::future::pending().await
    }

    /// Some of the queues that there are, as far as the broker tells; asked every second by a worker
    /// that looks for new queues of its tenants. A broker with very many keys may need several calls
    /// until it has named each queue. One that cannot tell names none: there a tenant's queues have
    /// to be configured by their full names.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    async fn queues(&self) -> Result<Vec<QueueName>, PortError> {
        Ok(Vec::new())
    }

    /// Sends messages and returns when the broker has taken responsibility for all of them. May be
    /// repeated: receivers tell a double by its id.
    ///
    /// # Errors
    /// When one was not taken; any of the others may have been.
    async fn publish(&self, messages: &[Publication]) -> Result<(), PortError>;

    /// Ends deliveries, each as its disposal says; answers in the same order. A receipt that is no
    /// longer held is `Ok`: whoever has the delivery now closes it. May be repeated.
    async fn close(&self, batch: &[(Receipt, Disposal)]) -> Vec<Result<(), PortError>>;

    /// Extends the session's lease; called about every third of it. Returns what the session lost
    /// because it came too late: those jobs must not be settled.
    ///
    /// # Errors
    /// When the broker cannot be reached; the lease goes on running out.
    async fn renew(&self) -> Result<Vec<Receipt>, PortError>;

    /// Gives the deliveries of dead sessions back to their queues, and wakes what is due; called
    /// every few seconds by every worker. Returns how long it may be until the next thing is due.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    async fn sweep(&self) -> Result<Duration, PortError>;

    /// Changes which queues are taken from, from the next [`receive`](Self::receive) or
    /// [`take`](Self::take) on at the latest; what was taken before stays ours. It is told all of
    /// them, those it takes from already, too. Called when somebody asks for it by remote control, and
    /// when a queue of a tenant is first seen.
    ///
    /// # Errors
    /// When the broker cannot be reached, or refuses a queue; those it had are taken from still.
    async fn take_from(&self, queues: &[QueueSource]) -> Result<(), PortError> {
        let what = format!("{} queues cannot be changed while the worker runs", queues.len());
        Err(PortError::Permanent { what, source: None })
    }

    /// How many calls may be in work at once from now on. Called before each look for work: a broker
    /// that delivers ahead has no more delivered, and gives back what is too much.
    fn resize(&self, slots: usize) {
        let _ = slots;
    }

    /// How many messages wait in each queue that is taken from, as far as the broker tells; nothing
    /// where it does not. For whoever watches, never on the main path.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    async fn waiting(&self) -> Result<Vec<(QueueName, u64)>, PortError> {
        Ok(Vec::new())
    }

    /// Ends the session: whatever it still holds goes back to its queue at once.
    ///
    /// # Errors
    /// When the broker cannot be reached; the lease runs out then.
    async fn leave(&self) -> Result<(), PortError>;
}

/// What workers and those who look after them tell each other beside the queues: events, commands,
/// answers. Nothing of it is kept: who does not listen at the moment misses it.
#[async_trait]
pub trait Fanout: Send + Sync {
    /// Sends notices in this order. Called for a batch of events, and for each answer.
    ///
    /// # Errors
    /// When the broker cannot be reached; any of them may have been sent. Events are not sent again.
    async fn tell(&self, notices: &[Notice]) -> Result<(), PortError>;

    /// Begins to listen for commands: those that are sent after this are heard. May be repeated.
    ///
    /// # Errors
    /// When the broker cannot be reached, or another worker of this name listens there.
    async fn listen(&self) -> Result<(), PortError>;

    /// The next command that somebody sent to all workers; waits for it. Called by one listener, one
    /// call at a time; one that is dropped loses no command.
    ///
    /// # Errors
    /// When the broker cannot be reached; commands sent meanwhile are missed.
    async fn command(&self) -> Result<Message, PortError>;

    /// The exchange that answers come to; a question has to name it.
    fn answers_exchange(&self) -> String;

    /// Sends a command to all workers, and returns their answers when the wait is over. Called by
    /// people's tools, and once by a worker that starts.
    ///
    /// # Errors
    /// When the broker cannot be reached; the command may have been sent.
    async fn ask(&self, question: Question) -> Result<Vec<Message>, PortError>;
}

/// Limits on how often things begin, shared by all workers of one store.
#[async_trait]
pub trait SharedRates: Send + Sync {
    /// Asks for the next place under the limit `name` of one every `interval`, by the store's clock.
    /// A place at most `patience` away is taken; one further away is not. Returns how far it is.
    ///
    /// # Errors
    /// When the store cannot be reached; a place may have been taken.
    async fn take(
        &self,
        name: &str,
        interval: Duration,
        patience: Duration,
    ) -> Result<Duration, PortError>;
}

/// Makes verdicts true.
///
/// The order is the whole of our delivery guarantee: first the ledger, which a redelivery is checked
/// against, then the result, then what leaves, the broker last. An adapter that owns all of it makes it true in one step; otherwise the same verbs run in
/// order. Each may be repeated, because a crash between them repeats them.
#[async_trait]
pub trait Settle: Send + Sync {
    /// Settles a batch; answers in the same order. On an error that delivery is not closed.
    async fn settle(&self, batch: &[Closing]) -> Vec<Result<(), PortError>>;

    /// Whether a closing is true as a whole or not at all. Then there is no half of it for anybody to
    /// finish, and the ledger needs no verdict but that of a key whose result is promised to others.
    fn is_one_step(&self) -> bool {
        false
    }
}

/// A ledger and a result backend that share a database, where settling is in order otherwise.
#[async_trait]
pub trait Records: Send + Sync {
    /// Records each closing in the ledger and stores its results, in one step; answers in the same
    /// order. Of one whose grant is lost nothing is stored. One that
    /// [ends with its results](Closing::ends_with_its_results) is recorded as settled, the others as
    /// [`Ledger::record`] does. May be repeated.
    async fn record(&self, batch: &[Closing]) -> Vec<Result<Recorded, PortError>>;
}

/// Where callers look for results.
#[async_trait]
pub trait ResultBackend: Send + Sync {
    /// Stores documents; answers in the same order. A stored success is never overwritten, and that
    /// is `Ok`. May be repeated.
    async fn store(&self, batch: &[ResultRecord]) -> Vec<Result<(), PortError>>;

    /// The stored document of a task as Celery's JSON (`{"status": …, "result": …, …}`), `None` when
    /// there is none. Asked by whoever waits for a result, never on the main path.
    ///
    /// # Errors
    /// When the backend cannot be reached.
    async fn load(&self, task: &TaskId) -> Result<Option<String>, PortError>;

    /// Deletes what has expired, where the backend does not do so by itself; what
    /// `celery.backend_cleanup` asks for once a day.
    ///
    /// # Errors
    /// When the backend cannot be reached; some may be gone.
    async fn expire(&self, now: Timestamp) -> Result<(), PortError> {
        let _ = now;
        Ok(())
    }
}

/// Where the members of chords are counted, in the layout that Celery's own workers use.
#[async_trait]
pub trait Chords: Send + Sync {
    /// Notes how many members a chord has; called before they leave. May be repeated.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn start(&self, group: &TaskId, members: u64) -> Result<(), PortError>;

    /// Has a chord wait for one member more; called before it leaves. May be repeated.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn join(&self, group: &TaskId, member: &TaskId) -> Result<(), PortError>;

    /// Counts a member that is over, once for its id; whoever counts the last one sends the body. May
    /// be repeated: a sender that died is replaced after a few seconds.
    ///
    /// # Errors
    /// When the store cannot be reached; the member may be counted.
    async fn count(&self, member: &ChordMember) -> Result<Counted, PortError>;

    /// Extends the right to send a body, as long as it takes to settle the member that it leaves with;
    /// called every two seconds meanwhile. May be repeated.
    ///
    /// # Errors
    /// When the store cannot be reached; the right goes on running out.
    async fn hold(&self, group: &TaskId, token: &str) -> Result<(), PortError>;

    /// Ends a chord whose body has left; with an error, its members' entries stay until they expire.
    /// May be repeated.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn end(&self, group: &TaskId, token: &str, failed: bool) -> Result<(), PortError>;
}

/// What a call's right to run, and its end, are checked against, on behalf of one worker session.
///
/// The states of a record and what each operation does to it are told in the module of
/// [`Record`]. Every operation is one atomic step of the store, and every one may be
/// repeated: a repetition is answered as the first time.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Claims deliveries; answers in the same order. Called once for each batch that was received.
    ///
    /// # Errors
    /// When the store cannot be reached, or the session's lease is over; then it is to be renewed
    /// first. Some of the claims may have been granted: repeating them finds that out.
    async fn claim(&self, batch: &[Claim]) -> Result<Vec<Claimed>, PortError>;

    /// Records what becomes of calls before anybody hears of it; answers in the same order. Only
    /// called where settling is not one step: there an adapter's part of that step records.
    async fn record(&self, batch: &[LedgerWrite]) -> Vec<Result<Recorded, PortError>>;

    /// Records that everybody has heard of what was [recorded](Self::record); answers in the same
    /// order. That a grant is lost does not matter then: somebody else is further.
    async fn settle(&self, batch: &[LedgerWrite]) -> Vec<Result<Recorded, PortError>>;

    /// Begins a step of a running call; what it answers is durable before it is answered.
    ///
    /// # Errors
    /// When the store cannot be reached; the step may have been begun.
    async fn begin_step(&self, grant: &Grant, step: &StepBegin) -> Result<StepBegun, PortError>;

    /// Ends a step that this grant began.
    ///
    /// # Errors
    /// When the store cannot be reached; the step may have been ended.
    async fn end_step(
        &self,
        grant: &Grant,
        name: &str,
        end: &StepEnd,
    ) -> Result<Recorded, PortError>;

    /// Extends the session's lease, by the store's clock; called about every third of it. One call
    /// is enough for everything the session has claimed.
    ///
    /// # Errors
    /// When the store cannot be reached; the lease goes on running out.
    async fn renew(&self) -> Result<Renewed, PortError>;

    /// What is known of a key. For people.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn get(&self, key: &LedgerKey) -> Result<Option<Record>, PortError>;

    /// Forgets records, so that their calls can be run again; with their steps, if asked, so that
    /// these are repeated too. Returns how many there were. For people: it breaks every promise
    /// about these keys.
    ///
    /// # Errors
    /// When the store cannot be reached; some may be gone.
    async fn purge(&self, keys: &[LedgerKey], steps: bool) -> Result<usize, PortError>;

    /// Ends the session: whatever it still holds is free at once, and no crash is counted for it.
    ///
    /// # Errors
    /// When the store cannot be reached; the lease runs out then.
    async fn leave(&self) -> Result<(), PortError>;
}

/// What a task's name is resolved to.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The module.
    pub module: Arc<Module>,
    /// The task's entry in the module's manifest.
    pub task: Arc<TaskSpec>,
}

/// Which module implements which task. Asked once a message, so it answers from memory.
#[async_trait]
pub trait Registry: Send + Sync {
    /// The module that implements a tenant's task for this call, if one does. The same call is
    /// answered alike for as long as the tenant's channels stay as they are.
    fn resolve(&self, tenant: &TenantId, task: &TaskName, call: &TaskId) -> Option<Resolved>;

    /// Counts changes: as long as it stays the same, what nobody knew nobody knows now.
    fn generation(&self) -> u64;

    /// Returns when everything answers that was pushed before this was called, or cannot. Called for
    /// a call that nobody knows, before it is given up; many may ask at once, and cost one look. Where
    /// nobody pushes there is nothing to wait for.
    async fn refresh(&self) {}
}

/// Where guests run.
#[async_trait]
pub trait Sandbox: Send + Sync {
    /// Runs one attempt to its end, whatever that is; ends within the job's time limit and a
    /// second. Dropping the future cancels the attempt.
    async fn run(&self, number: JobNumber, job: &Job) -> Report;

    /// The same in an executor that nothing else is in: for those whose executor died under them, so
    /// that whoever felled it falls alone, and its neighbours clear themselves. They take turns.
    async fn run_alone(&self, number: JobNumber, job: &Job) -> Report;

    /// Ends an attempt early, to report this death. Unknown numbers are passed over: it has ended.
    fn cancel(&self, number: JobNumber, death: Death);

    /// Asks a compiled module for its manifest, in the tightest sandbox.
    ///
    /// # Errors
    /// What it died of, when it did not answer with a JSON value.
    async fn describe(&self, module: &Module) -> Result<Json, Report>;
}

/// What the host does for guests while they run. Called once for each host call that needs more
/// than the executor itself knows.
#[async_trait]
pub trait HostServices: Send + Sync {
    /// Answers one call of the attempt `number`. Wrong calls are replies, too.
    async fn call(&self, number: JobNumber, call: HostCall<'_>) -> HostReply;
}

/// The way to other machines, for what guests want sent.
#[async_trait]
pub trait Egress: Send + Sync {
    /// Sends one request and returns its answer whole; redirects are answers. The host was allowed by
    /// its name; whether its address is one that tasks may reach, this asks for each it connects to.
    /// Ends within the request's limits. Dropping the future ends the connection.
    ///
    /// # Errors
    /// With why there is no answer; the request may have been received.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError>;
}

/// What time it is.
pub trait Clock: Send + Sync {
    /// Now, by this machine's clock.
    fn now(&self) -> Timestamp;
}
