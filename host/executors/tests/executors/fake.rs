//! An executor without an engine: what it does with a task is in the task's name.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::process::ExitCode;

use lovage_core::frames::{
    self, Attempt, CallFrame, Done, End, Entry, FRAME_BYTES_MAX, FromExecutor, HostCall, OnDoubt,
    OutboxFrame, PROTOCOL, Run, ToExecutor,
};
use lovage_core::{Death, JobNumber, LogLevel, Usage};

/// The executor's side of the socket.
struct Fake {
    outgoing: Vec<u8>,
    /// Attempts that wait for an end, and whether they heed a `Cancel`.
    held: BTreeMap<JobNumber, bool>,
    /// Every death that a `Cancel` named.
    cancels: Vec<Death>,
    loaded: HashSet<frames::ModuleNumber>,
    /// Modules that it was told to forget.
    gone: HashSet<frames::ModuleNumber>,
}

/// Runs as an executor of this behaviour: `plain`, or one that fails at start.
pub(crate) fn run(behaviour: &str) -> ExitCode {
    lovage_executors::confine(lovage_executors::NICE).unwrap();
    let mut fake = Fake {
        outgoing: Vec::new(),
        held: BTreeMap::new(),
        cancels: Vec::new(),
        loaded: HashSet::new(),
        gone: HashSet::new(),
    };
    match behaviour.split_once(':').unwrap_or((behaviour, "")) {
        ("dead", _) => panic!("no executor\x1b[2J today"),
        ("mute", _) => fake.never_again(),
        ("talks", _) => {
            fake.say(&FromExecutor::Loaded { module: frames::ModuleNumber(0), error: None });
        }
        ("old", _) => fake.say(&FromExecutor::Ready { protocol: PROTOCOL + 1 }),
        // Ready the first time, then only once the file is there.
        ("until", path) if std::fs::exists(path).unwrap() => fake.ready(),
        ("until", _) => return ExitCode::FAILURE,
        ("plain", _) => fake.ready(),
        _ => panic!("unknown behaviour {behaviour}"),
    }
    fake.serve();
    ExitCode::SUCCESS
}

impl Fake {
    fn serve(&mut self) {
        let mut buffer = Vec::new();
        let mut chunk = vec![0; 1 << 17];
        loop {
            self.flush();
            let length = rustix::io::read(std::io::stdin(), &mut chunk).unwrap_or(0);
            if length == 0 {
                return;
            }
            buffer.extend_from_slice(&chunk[..length]);
            let mut at = 0;
            while let Some((frame, size)) = frames::first(&buffer[at..]).unwrap() {
                match frames::decode(frame).unwrap() {
                    ToExecutor::Hello { protocol, .. } => assert_eq!(protocol, PROTOCOL),
                    ToExecutor::Load { module, path } => {
                        assert!(path.starts_with('/'), "{path}");
                        assert!(self.loaded.insert(module), "loaded once");
                        self.gone.remove(&module);
                        let error = path.contains("unloadable").then_some("no such file");
                        if error.is_some() {
                            self.loaded.remove(&module);
                        }
                        self.say(&FromExecutor::Loaded { module, error });
                    }
                    ToExecutor::Unload { module } => {
                        assert!(self.loaded.remove(&module) && self.gone.insert(module));
                    }
                    ToExecutor::Run(run) => {
                        assert!(!self.gone.contains(&run.module), "it is loaded");
                        self.run(&run);
                    }
                    ToExecutor::Cancel { job, death } => {
                        self.cancels.push(death);
                        if self.held.get(&job) == Some(&true) {
                            self.held.remove(&job);
                            self.done(job, End::Killed(death, "\"cancelled\"", None));
                        }
                    }
                    ToExecutor::Reply { job, reply, .. } => {
                        let reply = format!("{:?}", format!("{reply:?}"));
                        self.done(job, End::Succeed(&reply));
                    }
                }
                at += size;
            }
            buffer.drain(..at);
        }
    }

    fn run(&mut self, run: &Run<'_>) {
        let job = run.job;
        let attempt = match &run.entry {
            Entry::Describe => return self.done(job, End::Succeed(r#"{"v": 1}"#)),
            Entry::Task(attempt) => attempt,
        };
        match attempt.task {
            "echo" => self.done(job, End::Succeed(attempt.args)),
            "attempt" => self.done(job, End::Succeed(&all_of(attempt))),
            "never-started" => self.done(job, End::Killed(Death::NotStarted, "\"-\"", None)),
            "hold" => drop(self.held.insert(job, true)),
            "hang" => drop(self.held.insert(job, false)),
            "release" => {
                for held in std::mem::take(&mut self.held).into_keys().rev() {
                    self.done(held, End::Succeed("\"released\""));
                }
                self.done(job, End::Succeed("null"));
            }
            "cancels" => {
                let cancels = format!("{:?}", format!("{:?}", self.cancels));
                self.done(job, End::Succeed(&cancels));
            }
            "call" => self.call(job, 0),
            "calls" => (0..100).for_each(|call| self.call(job, call)),
            "stranger-call" => self.call(JobNumber(77), 0),
            "self" => self.done(job, End::Succeed(&myself())),
            "logs" => self.log(job, 5_000),
            "outbox" => self.outbox(job, 1_000),
            "deaf" => self.never_again(),
            "die" => std::process::abort(),
            "done-and-die" => {
                self.done(job, End::Succeed("\"last words\""));
                self.flush();
                std::process::abort();
            }
            "stranger" => self.done(JobNumber(77), End::Succeed("null")),
            "twice" => (0..2).for_each(|_| self.done(job, End::Succeed("1"))),
            "ready" => self.ready(),
            "unasked" => {
                self.say(&FromExecutor::Loaded { module: frames::ModuleNumber(9), error: None });
            }
            "large" => {
                let length = u32::try_from(FRAME_BYTES_MAX + 1).unwrap();
                self.outgoing.extend_from_slice(&length.to_le_bytes());
            }
            "garbage" => self.outgoing.extend_from_slice(&[3, 0, 0, 0, 0xff, 0xff, 0xff]),
            "empty" => self.outgoing.extend_from_slice(&[0, 0, 0, 0]),
            task => panic!("unknown task {task}"),
        }
    }

    fn ready(&mut self) {
        self.say(&FromExecutor::Ready { protocol: PROTOCOL });
    }

    fn call(&mut self, job: JobNumber, call: u32) {
        let request = HostCall::StepBegin { name: "s", input: "1", doubt: OnDoubt::Retry };
        self.say(&FromExecutor::Call { job, call, request });
    }

    fn done(&mut self, job: JobNumber, end: End<'_>) {
        self.end(Done {
            job,
            end,
            usage: Usage::default(),
            outbox: Vec::new(),
            logs: Vec::new(),
            logs_dropped: 0,
        });
    }

    fn log(&mut self, job: JobNumber, lines: usize) {
        let logs = vec![(LogLevel::Info, "line", ""); lines];
        let (usage, outbox) = (Usage::default(), Vec::new());
        self.end(Done { job, end: End::Succeed("1"), usage, outbox, logs, logs_dropped: 7 });
    }

    fn outbox(&mut self, job: JobNumber, calls: usize) {
        let call = || {
            OutboxFrame::Call(CallFrame {
                task: "t",
                args: "[]",
                kwargs: "{}",
                queue: None,
                countdown: None,
                expires: None,
                priority: None,
                ignore_result: false,
                headers: None,
            })
        };
        let (usage, outbox) = (Usage::default(), (0..calls).map(|_| call()).collect());
        let logs = Vec::new();
        self.end(Done { job, end: End::Succeed("1"), usage, outbox, logs, logs_dropped: 0 });
    }

    fn end(&mut self, done: Done<'_>) {
        self.say(&FromExecutor::Done(Box::new(done)));
    }

    fn say(&mut self, frame: &FromExecutor<'_>) {
        frames::append(&mut self.outgoing, frame).unwrap();
    }

    fn flush(&mut self) {
        let mut rest = self.outgoing.as_slice();
        while !rest.is_empty() {
            let Ok(written) = rustix::io::write(std::io::stdin(), rest) else { break };
            rest = &rest[written..];
        }
        self.outgoing.clear();
    }

    /// Reads and says nothing any more, and stays.
    fn never_again(&mut self) -> ! {
        self.flush();
        loop {
            std::thread::park();
        }
    }
}

/// A JSON string of everything a task is told.
fn all_of(attempt: &Attempt<'_>) -> String {
    format!("{:?}", format!("{attempt:?}"))
}

/// A JSON array of what this process has and may: descriptors, environment, folder, limits.
fn myself() -> String {
    let mut texts = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        let entry = entry.unwrap();
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        let number = entry.file_name().into_string().unwrap();
        if !target.ends_with(format!("{}/fd", std::process::id())) {
            let kind: String =
                target.to_str().unwrap().chars().take_while(|at| *at != ':').collect();
            texts.push(format!("fd {number} {kind}"));
        }
    }
    texts.sort();
    #[expect(clippy::disallowed_methods, reason = "the test is that there is none")]
    texts.extend(std::env::vars_os().map(|(name, _)| format!("variable {}", name.display())));
    texts.push(format!("folder {}", std::env::current_dir().unwrap().display()));
    texts.push(format!("nice {}", rustix::process::getpriority_process(None).unwrap()));
    texts.push(format!("no new privileges {}", rustix::thread::no_new_privs().unwrap()));
    let own_group = rustix::process::getpgrp() == rustix::process::getpid();
    texts.push(format!("own group {own_group}"));
    for (name, limit) in
        [("core", rustix::process::Resource::Core), ("files", rustix::process::Resource::Nofile)]
    {
        let limit = rustix::process::getrlimit(limit);
        texts.push(format!("{name} {:?} {:?}", limit.current, limit.maximum));
    }
    let mut json = String::from("[");
    for text in &texts {
        let comma = if json.len() > 1 { ", " } else { "" };
        write!(json, "{comma}{text:?}").unwrap();
    }
    json + "]"
}
