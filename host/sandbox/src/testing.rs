//! An executor in a thread of the test, and the worker's side of its socket.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::Duration;

use lovage_core::frames::{
    Attempt, Entry, FromExecutor, HostCall, HostReply, ModuleNumber, PROTOCOL, Run, Share,
    ToExecutor, append, decode, first,
};
use lovage_core::{Death, JobNumber, Limits, Outcome, Report, TaskId};

use crate::{ServeError, compile, serve};

/// A module written by hand whose task returns `null`.
pub(crate) const ADD: &str = include_str!("../../../guest-examples/hostile/wat/liar.wat");

/// An executor, and what is known of its jobs.
pub(crate) struct Executor {
    socket: UnixStream,
    input: Vec<u8>,
    thread: JoinHandle<Result<(), ServeError>>,
    jobs: u64,
    limits: HashMap<JobNumber, Limits>,
    reports: HashMap<JobNumber, Report>,
    /// How host calls are answered.
    pub(crate) answer: fn(&HostCall<'_>) -> HostReply,
    /// The calls that came.
    pub(crate) calls: Vec<String>,
    /// With whom the next attempts share an instance.
    pub(crate) share: Option<Share<'static>>,
}

impl Executor {
    /// An executor with that many slots that has these modules, numbered from 0.
    pub(crate) fn with(slots: u32, modules: &[&str]) -> Self {
        let mut executor = Self::silent();
        executor.say(&ToExecutor::Hello { protocol: PROTOCOL, slots, memory_bytes_max: 128 << 20 });
        executor.hear(|said| matches!(said, FromExecutor::Ready { protocol: PROTOCOL }));
        for (number, module) in (0..).zip(modules) {
            assert_eq!(executor.load(number, module), None, "{module}");
        }
        executor
    }

    /// An executor that was not greeted.
    pub(crate) fn silent() -> Self {
        let (socket, theirs) = UnixStream::pair().unwrap();
        socket.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let thread = std::thread::spawn(move || serve(theirs));
        Self {
            socket,
            input: Vec::new(),
            thread,
            jobs: 0,
            limits: HashMap::new(),
            reports: HashMap::new(),
            answer: |_| HostReply::Done,
            calls: Vec::new(),
            share: None,
        }
    }

    pub(crate) fn say(&mut self, frame: &ToExecutor<'_>) {
        let mut bytes = Vec::new();
        append(&mut bytes, frame).unwrap();
        self.say_bytes(&bytes);
    }

    pub(crate) fn say_bytes(&mut self, bytes: &[u8]) {
        // An executor that has had enough does not listen any more.
        let _ = self.socket.write_all(bytes);
    }

    /// Loads a module; what was wrong with it.
    pub(crate) fn load(&mut self, number: u32, module: &str) -> Option<String> {
        let path = native(module);
        let module = ModuleNumber(number);
        self.say(&ToExecutor::Load { module, path: path.to_str().unwrap() });
        let mut problem = None;
        self.hear(|said| match said {
            FromExecutor::Loaded { module: which, error } if *which == module => {
                problem = error.map(String::from);
                true
            }
            _ => false,
        });
        problem
    }

    pub(crate) fn begin(
        &mut self,
        module: u32,
        task: &str,
        args: &str,
        limits: Limits,
    ) -> JobNumber {
        let mut bytes = Vec::new();
        let job = self.prepare(&mut bytes, module, (task, args), limits);
        self.say_bytes(&bytes);
        job
    }

    /// Adds a job to a batch that is not sent yet.
    pub(crate) fn prepare(
        &mut self,
        batch: &mut Vec<u8>,
        module: u32,
        (task, args): (&str, &str),
        limits: Limits,
    ) -> JobNumber {
        self.jobs += 1;
        let job = JobNumber(self.jobs);
        self.limits.insert(job, limits);
        let entry = if task.is_empty() {
            Entry::Describe
        } else {
            Entry::Task(Box::new(sample(task, args)))
        };
        append(
            batch,
            &ToExecutor::Run(Run {
                job,
                module: ModuleNumber(module),
                entry,
                limits,
                share: self.share,
            }),
        )
        .unwrap();
        job
    }

    /// Runs a task to its end.
    pub(crate) fn run(&mut self, module: u32, task: &str, args: &str, limits: Limits) -> Report {
        let job = self.begin(module, task, args, limits);
        self.wait(job)
    }

    /// Waits for a job's report.
    pub(crate) fn wait(&mut self, job: JobNumber) -> Report {
        while !self.reports.contains_key(&job) {
            self.hear(|_| true);
        }
        self.reports.remove(&job).unwrap()
    }

    /// Whether a job's report has come.
    pub(crate) fn has_ended(&self, job: JobNumber) -> bool {
        self.reports.contains_key(&job)
    }

    /// Reads frames until one is the one that is looked for. Reports and calls are seen to.
    pub(crate) fn hear(&mut self, mut is_it: impl FnMut(&FromExecutor<'_>) -> bool) {
        loop {
            while let Some((frame, length)) = first(&self.input).unwrap() {
                let frame = frame.to_vec();
                self.input.drain(..length);
                let said: FromExecutor<'_> = decode(&frame).unwrap();
                match &said {
                    FromExecutor::Done(done) => {
                        let limits = self.limits.remove(&done.job).unwrap();
                        self.reports.insert(done.job, done.report(&TaskId::from("id"), &limits));
                    }
                    FromExecutor::Call { job, call, request } => {
                        self.calls.push(format!("{request:?}"));
                        let reply = (self.answer)(request);
                        self.say(&ToExecutor::Reply { job: *job, call: *call, reply });
                    }
                    _ => {}
                }
                if is_it(&said) {
                    return;
                }
            }
            let mut chunk = vec![0; 65_536];
            let read = self.socket.read(&mut chunk).unwrap();
            assert_ne!(read, 0, "the executor closed its socket");
            self.input.extend_from_slice(&chunk[..read]);
        }
    }

    /// Closes the socket and returns how the executor ended.
    pub(crate) fn end(self) -> Result<(), ServeError> {
        self.socket.shutdown(std::net::Shutdown::Write).unwrap();
        self.thread.join().unwrap()
    }
}

/// An attempt with a bit of everything.
pub(crate) fn sample<'a>(task: &'a str, args: &'a str) -> Attempt<'a> {
    Attempt {
        task,
        args,
        kwargs: "{}",
        id: "id",
        root_id: Some("root"),
        parent_id: None,
        group: None,
        nesting: 0,
        in_chord: false,
        retries: 0,
        max_retries: Some(3),
        key: "key",
        queue: "celery",
        eta: None,
        expires: None,
        redelivered: false,
        headers: "{}",
    }
}

/// What a job died of, and what is said about it.
pub(crate) fn death(report: &Report) -> (Death, String) {
    match &report.outcome {
        Outcome::Killed { death, failure } => (*death, failure.arguments.to_string()),
        other => panic!("it did not die: {other:?}"),
    }
}

/// The native code of an example (`bench.wasm`), of a hostile one (`fill.wat`) or of a text.
pub(crate) fn native(module: &str) -> PathBuf {
    static MADE: OnceLock<std::sync::Mutex<HashMap<String, PathBuf>>> = OnceLock::new();
    static DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();

    let mut made = MADE.get_or_init(Default::default).lock().unwrap();
    if let Some(path) = made.get(module) {
        return path.clone();
    }
    let directory = DIRECTORY.get_or_init(|| tempfile::tempdir().unwrap());
    let path = directory.path().join(format!("{}.native", made.len()));
    let (code, _) = compile::compile(&wasm(module)).unwrap_or_else(|error| panic!("{error}"));
    std::fs::write(&path, code).unwrap();
    made.insert(module.into(), path.clone());
    path
}

/// The WebAssembly of an example.
pub(crate) fn wasm(module: &str) -> Vec<u8> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    if Path::new(module).extension() == Some("wasm".as_ref()) {
        let target = option_env!("CARGO_TARGET_DIR").map(PathBuf::from);
        let target = target.unwrap_or_else(|| PathBuf::from(root).join("target"));
        let path = target.join("guests").join(module);
        return std::fs::read(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; run `make guests`", path.display()));
    }
    if Path::new(module).extension() == Some("wat".as_ref()) {
        let path = PathBuf::from(root).join("guest-examples/hostile/wat").join(module);
        return wat::parse_file(path).unwrap();
    }
    wat::parse_str(module).unwrap()
}
