//! A host for native tests: its time is set by the test, its steps are remembered over attempts, and
//! what a task sends, shows and logs is recorded.
//!
//! ```
//! use lovage::prelude::*;
//!
//! fn charge(ctx: &Ctx, order_id: u64) -> Result<u64, TaskError> {
//!     let receipt = ctx.step("charge", OnDoubt::Retry, &order_id, |_| Ok::<_, TaskError>(9))?;
//!     ctx.send("shop.mail", (order_id, receipt))?;
//!     Ok(receipt)
//! }
//!
//! let host = lovage::testing::Host::new();
//! assert_eq!(host.run(|ctx| charge(ctx, 7)), Ok(9));
//! assert_eq!(host.sent()[0].args, "[7,9]");
//! ```

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
    rc::Rc,
    time::Duration,
};

use crate::{
    Attempt, Ctx, HostError, TaskError, TimeLeft,
    host::{self, CallOptions},
    http::{ErrorKind, Response},
    log::Level,
    task,
};

/// A call that a task put in its outbox.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sent {
    /// The task that is called.
    pub task: String,
    /// Its arguments, a JSON array.
    pub args: String,
    /// Its arguments by name, a JSON object.
    pub kwargs: String,
    /// The queue, when the call names one.
    pub queue: Option<String>,
    /// The earliest start, counted from the success of the attempt.
    pub countdown: Option<Duration>,
    /// From when on it is no longer wanted.
    pub expires: Option<Duration>,
    /// Its priority, 0 to 9.
    pub priority: Option<u8>,
    /// Whether nobody wants the result.
    pub ignore_result: bool,
    /// More headers, a JSON object.
    pub headers: Option<String>,
    /// The signature that was sent, a JSON object; empty for a plain call.
    pub signature: String,
    /// Whether it joined the chord of its sender.
    pub in_chord: bool,
}

/// A request that a task made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exchange {
    /// The method.
    pub method: String,
    /// The URL.
    pub url: String,
    /// The headers that the task set.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Who answers requests; nobody, unless the test says who.
#[derive(Clone, Default)]
pub(crate) struct Answer(pub(crate) Option<Rc<Answerer>>);

type Answerer = dyn Fn(&Exchange) -> Result<Response, ErrorKind>;

impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Answer").field(&self.0.is_some()).finish()
    }
}

/// A fake host. Clones of it are the same host.
#[derive(Clone, Debug)]
pub struct Host {
    state: Rc<RefCell<State>>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) attempt: Attempt,
    pub(crate) time_left: TimeLeft,
    pub(crate) revoked: bool,
    pub(crate) steps: BTreeMap<String, StepState>,
    pub(crate) begun: BTreeSet<String>,
    pub(crate) outbox: Vec<Sent>,
    pub(crate) sent: Vec<Sent>,
    pub(crate) progress: Vec<(String, String)>,
    pub(crate) logs: Vec<(Level, String, String)>,
    pub(crate) answer: Answer,
    pub(crate) requests: Vec<Exchange>,
}

/// A step that was begun; without a value nobody knows how it ended.
#[derive(Debug)]
pub(crate) struct StepState {
    pub(crate) input: String,
    pub(crate) value: Option<String>,
}

impl Host {
    /// A host at the first attempt of a task whose id and key are `task-1`, with a minute left.
    pub fn new() -> Self {
        let attempt = Attempt {
            task_id: "task-1".to_owned(),
            max_retries: Some(3),
            idempotency_key: "task-1".to_owned(),
            queue: "celery".to_owned(),
            headers: "{}".to_owned(),
            ..Attempt::default()
        };
        let state = State {
            attempt,
            time_left: TimeLeft { soft: None, hard: Duration::from_mins(1) },
            revoked: false,
            steps: BTreeMap::new(),
            begun: BTreeSet::new(),
            outbox: Vec::new(),
            sent: Vec::new(),
            progress: Vec::new(),
            logs: Vec::new(),
            answer: Answer::default(),
            requests: Vec::new(),
        };
        Self { state: Rc::new(RefCell::new(state)) }
    }

    /// Changes what the host says about the attempt: its id, key, headers, retries.
    #[must_use]
    pub fn attempt(self, change: impl FnOnce(&mut Attempt)) -> Self {
        change(&mut self.state.borrow_mut().attempt);
        self
    }

    /// Sets the time that is left. It stands still.
    pub fn set_time_left(&self, soft: Option<Duration>, hard: Duration) {
        self.state.borrow_mut().time_left = TimeLeft { soft, hard };
    }

    /// Revokes the task.
    pub fn revoke(&self) {
        self.state.borrow_mut().revoked = true;
    }

    /// Answers the requests that tasks make. Without it they are denied, as on a worker that grants
    /// nothing.
    pub fn answer_http(&self, answer: impl Fn(&Exchange) -> Result<Response, ErrorKind> + 'static) {
        self.state.borrow_mut().answer = Answer(Some(Rc::new(answer)));
    }

    /// The requests that tasks made.
    pub fn requests(&self) -> Vec<Exchange> {
        self.state.borrow().requests.clone()
    }

    /// Runs one attempt of a task's function. Its calls leave if it succeeds; else the next attempt
    /// is a retry. Steps are remembered either way.
    ///
    /// # Errors
    /// What the function answers.
    pub fn run<T, E>(&self, attempt: impl FnOnce(&Ctx) -> Result<T, E>) -> Result<T, E> {
        let result = host::with_state(&self.state, || attempt(&Ctx::new()));
        let mut state = self.state.borrow_mut();
        state.begun.clear();
        let outbox = std::mem::take(&mut state.outbox);
        match &result {
            Ok(_) => state.sent.extend(outbox),
            Err(_) => state.attempt.retries += 1,
        }
        drop(state);
        result
    }

    /// Runs one attempt as a worker does: by the task's name, with the JSON texts of a message.
    ///
    /// # Errors
    /// What the task answers, or that there is none of this name.
    pub fn call(&self, task: &str, args: &str, kwargs: &str) -> Result<String, TaskError> {
        self.run(|_| task::run(task, args, kwargs))
    }

    /// The calls that left.
    pub fn sent(&self) -> Vec<Sent> {
        self.state.borrow().sent.clone()
    }

    /// The committed steps: names and JSON values.
    pub fn committed(&self) -> BTreeMap<String, String> {
        let state = self.state.borrow();
        let committed = state.steps.iter();
        committed.filter_map(|(name, step)| Some((name.clone(), step.value.clone()?))).collect()
    }

    /// The states that were shown: names and JSON values.
    pub fn progress(&self) -> Vec<(String, String)> {
        self.state.borrow().progress.clone()
    }

    /// The lines that were logged: level, message, and fields as a JSON object or nothing.
    pub fn logs(&self) -> Vec<(Level, String, String)> {
        self.state.borrow().logs.clone()
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    pub(crate) fn soft_limit_is_over(&self) -> bool {
        self.time_left.soft.is_some_and(|left| left.is_zero())
    }

    pub(crate) fn put(
        &mut self,
        task: &str,
        args: &str,
        kwargs: &str,
        options: CallOptions,
    ) -> Result<String, HostError> {
        if self.outbox.len() >= 100 {
            return Err(HostError::Limit("100 calls an attempt".to_owned()));
        }
        self.outbox.push(Sent {
            task: task.to_owned(),
            args: args.to_owned(),
            kwargs: kwargs.to_owned(),
            queue: options.queue,
            countdown: options.countdown,
            expires: options.expires,
            priority: options.priority,
            ignore_result: options.ignore_result,
            headers: options.headers,
            signature: String::new(),
            in_chord: false,
        });
        Ok(format!("{}-call-{}", self.attempt.task_id, self.sent.len() + self.outbox.len()))
    }

    /// A signature is recorded under the name of its task; its result's tuple is that of one call.
    pub(crate) fn put_signature(
        &mut self,
        signature: &str,
        in_chord: bool,
    ) -> Result<String, HostError> {
        let invalid = |error: serde_json::Error| HostError::Invalid(error.to_string());
        let value: serde_json::Value = serde_json::from_str(signature).map_err(invalid)?;
        let Some(task) = value.get("task").and_then(serde_json::Value::as_str) else {
            return Err(HostError::Invalid("a signature names its task".to_owned()));
        };
        let member = |name: &str, none: &str| {
            value.get(name).map_or_else(|| none.to_owned(), ToString::to_string)
        };
        let (args, kwargs) = (member("args", "[]"), member("kwargs", "{}"));
        let id = self.put(task, &args, &kwargs, CallOptions::default())?;
        if let Some(sent) = self.outbox.last_mut() {
            signature.clone_into(&mut sent.signature);
            sent.in_chord = in_chord;
        }
        Ok(serde_json::json!([[id, null], null]).to_string())
    }

    /// The request, as far as the attempt tells it.
    pub(crate) fn request(&self) -> String {
        let Attempt { task_id, root_id, parent_id, group_id, retries, queue, .. } = &self.attempt;
        serde_json::json!({
            "id": task_id, "root_id": root_id, "parent_id": parent_id, "group": group_id,
            "retries": retries, "delivery_info": {"routing_key": queue, "exchange": ""},
        })
        .to_string()
    }
}

/// The manifest of the module that this test is in.
pub fn manifest(module: &str) -> String {
    task::manifest(module)
}
