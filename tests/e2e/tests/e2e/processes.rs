//! Processes as the kernel shows them.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// The executors of a worker.
pub(crate) fn executors(worker: u32) -> Vec<u32> {
    let mut found = children(worker);
    found.retain(|pid| is_executor(*pid));
    found
}

/// A process and its children.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    [vec![pid], children(pid)].concat()
}

/// Kills a process that a test started, or that such a process started.
pub(crate) fn kill(pid: u32) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process id");
    kill_process(pid, Signal::KILL).expect("it runs");
}

fn children(parent: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").expect("a /proc").flatten();
    let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut found: Vec<u32> = ids.filter(|pid| parent_of(*pid) == Some(parent)).collect();
    found.sort_unstable();
    found
}

/// Whether a process is there and has not ended.
pub(crate) fn runs(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| fields.first().is_some_and(|state| state != "Z"))
}

/// Bytes that a worker and its executors hold, each shared page counted by its share.
pub(crate) fn held_bytes(worker: u32) -> u64 {
    let family = executors(worker).into_iter().chain([worker]);
    family.map(|pid| proportional_set_size(pid).unwrap_or(0)).sum()
}

fn proportional_set_size(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1_024)
}

fn is_executor(pid: u32) -> bool {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    words.split(|byte| *byte == 0).any(|word| word == b"executor")
}

fn parent_of(pid: u32) -> Option<u32> {
    stat(pid)?.get(1)?.parse().ok()
}

/// The fields of a process behind its name, which may itself hold spaces.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}
