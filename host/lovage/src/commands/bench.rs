//! `lovage bench`: how many calls of a task a worker does on this broker, and how long one takes.
//!
//! The calls are Celery messages in a queue of the bench's own, which only a worker that it starts
//! itself takes from: nobody else's work is counted, and nobody else does any of it. All calls are
//! there before the worker is; what it took for them is told by the results' own times.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use lovage_core::ports::{Broker, Clock as _, ResultBackend};
use lovage_core::{Json, OutboxCall, QueueName, TaskId, Timestamp};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::call::{empty_call, is_over};
use crate::cli::BenchArguments;
use crate::config::Config;
use crate::wiring::{self, SystemClock};

/// Calls that are sent in one step.
const SENT_AT_ONCE: usize = 500;

/// Between two looks at a result, while a call is waited for.
const POLL: Duration = Duration::from_micros(500);

/// How long the next result may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// Ticks of a second in which Linux tells processes' times.
const TICKS_PER_S: f64 = 100.0;

/// Measures and prints. Exits with 1 when a call did not succeed.
///
/// # Errors
/// When the broker or the results cannot be reached, or no worker can be started.
pub(crate) fn run(arguments: &BenchArguments) -> anyhow::Result<ExitCode> {
    let mut layers = super::layers(&arguments.common)?;
    layers.flag("worker.modules", arguments.modules.as_deref());
    let config = Config::read(&layers)?;
    if config.modules.is_none() {
        bail!("name the folder of the task's module by --modules or worker.modules");
    }
    super::block_on(measure(&config, arguments))
}

async fn measure(config: &Config, arguments: &BenchArguments) -> anyhow::Result<ExitCode> {
    let (broker, results) = wiring::client(config).await?;
    let Some(results) = results else { bail!("a bench counts results: name a result backend") };
    let bench = Bench {
        queue: format!("lovage.bench.{}", uuid::Uuid::new_v4().simple()).into(),
        broker: &*broker,
        results: &*results,
        arguments,
        config,
    };
    let ids = bench.send(arguments.calls).await?;
    let worker = bench.worker()?;
    let (moments, failed) = bench.ends(&ids).await?;
    let cpu_s = worker.cpu_s();
    let mut trips = Vec::new();
    for _ in 0..arguments.single {
        trips.push(bench.round_trip().await?);
    }
    drop(worker);
    broker.leave().await.ok();
    tell(arguments, &moments, cpu_s, &mut trips, failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

struct Bench<'a> {
    queue: QueueName,
    broker: &'a dyn Broker,
    results: &'a dyn ResultBackend,
    arguments: &'a BenchArguments,
    config: &'a Config,
}

impl Bench<'_> {
    /// Sends so many calls; returns their ids.
    async fn send(&self, count: usize) -> anyhow::Result<Vec<TaskId>> {
        let args = Json::parse(&*self.arguments.args).context("--args is no JSON")?;
        let now = SystemClock.now();
        let mut ids = Vec::with_capacity(count);
        while ids.len() < count {
            let mut batch = Vec::with_capacity(SENT_AT_ONCE);
            while batch.len() < SENT_AT_ONCE && ids.len() < count {
                let call = OutboxCall {
                    args: args.clone(),
                    queue: Some(self.queue.clone()),
                    ..empty_call(&self.arguments.task)
                };
                let (queue, host) = (&self.config.default_queue, &self.config.hostname);
                batch.push(lovage_celery::call_message(&call, now, queue, host));
                ids.push(call.id);
            }
            self.broker.publish(&batch).await.context("cannot send the calls")?;
        }
        Ok(ids)
    }

    /// A worker on the bench's queue alone, ready.
    fn worker(&self) -> anyhow::Result<Worker> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let mut command = Command::new(program);
        command.args(["worker", "--without-mingle", "-Q", self.queue.as_str()]);
        let words = [
            ("-c", Some(&self.arguments.concurrency)),
            ("--modules", self.arguments.modules.as_ref()),
            ("-b", self.arguments.common.broker.as_ref()),
            ("--result-backend", self.arguments.common.result_backend.as_ref()),
        ];
        for (flag, value) in words {
            if let Some(value) = value {
                command.arg(flag).arg(value);
            }
        }
        if let Some(file) = &self.arguments.common.config {
            command.arg("--config").arg(file);
        }
        let child = command.stdout(Stdio::piped()).spawn().context("cannot start a worker")?;
        let mut worker = Worker(child);
        let lines = worker.0.stdout.take().map(|stdout| BufReader::new(stdout).lines());
        let ready = lines.into_iter().flatten().map_while(Result::ok);
        if !ready.into_iter().any(|line| line.contains("ready:")) {
            bail!("the worker ended before it was ready");
        }
        Ok(worker)
    }

    /// When each call ended, in order, and how many did not succeed.
    async fn ends(&self, ids: &[TaskId]) -> anyhow::Result<(Vec<Timestamp>, usize)> {
        let (mut moments, mut failed) = (Vec::with_capacity(ids.len()), 0);
        // The last one first: whoever asks for each while the worker works is in its way.
        for id in ids.iter().rev() {
            let document: Value = serde_json::from_str(&self.wait(id).await?)?;
            failed += usize::from(document.get("status") != Some(&"SUCCESS".into()));
            let done = document.get("date_done").and_then(Value::as_str);
            moments.extend(done.and_then(lovage_celery::parse_timestamp));
        }
        moments.sort_unstable();
        Ok((moments, failed))
    }

    async fn wait(&self, id: &TaskId) -> anyhow::Result<String> {
        let begun = Instant::now();
        loop {
            let document = self.results.load(id).await.context("cannot read the result")?;
            match document.filter(|document| is_over(document)) {
                Some(document) => return Ok(document),
                None if begun.elapsed() > PATIENCE => bail!("no result of {id} for two minutes"),
                None => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// One call alone, from being sent to its result.
    async fn round_trip(&self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        for id in self.send(1).await? {
            self.wait(&id).await?;
        }
        Ok(begun.elapsed())
    }
}

/// A worker that ends with the bench.
struct Worker(Child);

impl Worker {
    /// CPU time of the worker and its executors so far.
    fn cpu_s(&self) -> f64 {
        let own = self.0.id();
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let all = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let ticks = all.filter_map(|process| {
            let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
            let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
            let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
            let is_ours = process == own || number(1)? == u64::from(own);
            is_ours.then_some(number(11)? + number(12)?)
        });
        #[expect(clippy::cast_precision_loss, reason = "a bench runs for minutes, not for ages")]
        let ticks = ticks.sum::<u64>() as f64;
        ticks / TICKS_PER_S
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let process = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        // One that ended by itself cannot be told to.
        if process.is_none_or(|process| kill_process(process, Signal::TERM).is_err()) {
            self.0.kill().ok();
        }
        self.0.wait().ok();
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of calls and microseconds of a bench are small"
)]
fn tell(
    arguments: &BenchArguments,
    moments: &[Timestamp],
    cpu_s: f64,
    trips: &mut [Duration],
    failed: usize,
) {
    let seconds = match (moments.first(), moments.last()) {
        (Some(first), Some(last)) => last.until(*first).as_secs_f64(),
        _ => 0.0,
    };
    let rate = moments.len().saturating_sub(1) as f64 / seconds.max(1e-6);
    let cpu_us = cpu_s / arguments.calls.max(1) as f64 * 1e6;
    trips.sort_unstable();
    let at = |part: usize| trips.get(trips.len() * part / 100).map_or(0.0, Duration::as_secs_f64);
    let (p50, p99) = (at(50) * 1e3, at(99) * 1e3);
    if arguments.json {
        let figures = json!({
            "task": arguments.task, "calls": arguments.calls, "failed": failed,
            "tasks_per_s": rate, "cpu_us": cpu_us, "round_trip_ms": {"p50": p50, "p99": p99},
        });
        println!("{figures}");
        return;
    }
    println!("{} calls of {}, {failed} of which failed", arguments.calls, arguments.task);
    println!("{rate:>12.0} tasks/s");
    println!("{cpu_us:>12.1} µs of CPU a task, worker and executors, their start included");
    println!("{p50:>12.2} ms from a call to its result, median of {} alone", trips.len());
    println!("{p99:>12.2} ms, 99th percentile");
}
