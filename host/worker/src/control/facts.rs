//! What a worker says of itself that it did not find out by working.

use lovage_core::Timestamp;
use serde_json::{Map, Value, json};

/// What does not change while a worker works, and the processes that its guests run in.
pub struct Facts {
    /// When it started.
    pub started: Timestamp,
    /// Its configuration where it is not the default, without secrets.
    pub conf: Map<String, Value>,
    /// The same with every default.
    pub conf_with_defaults: Map<String, Value>,
    /// Where its broker is, without secrets, as Celery's `stats` tells it.
    pub broker: Value,
    /// The report that people send along with a question.
    pub report: String,
    /// The executor processes that live now.
    pub processes: Box<dyn Fn() -> Vec<u32> + Send + Sync>,
    /// The least and the most slots, where they follow the load.
    pub autoscale: Option<(usize, usize)>,
    /// The soft and the hard time limit of every call, in seconds.
    pub time_limits: (f64, f64),
}

/// What this process has used, as Celery's `stats` tells it: what the system does not tell is 0.
pub(super) fn resources() -> Value {
    // Fields after the program's name, which may hold anything and ends at the last parenthesis.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().collect())
        .unwrap_or_default();
    let field = |number: usize| {
        fields.get(number - 3).and_then(|text| text.parse::<u32>().ok()).unwrap_or(0)
    };
    let seconds = |ticks: u32| f64::from(ticks) / TICKS_PER_SECOND;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.and_then(|it| it.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    json!({
        "utime": seconds(field(14)), "stime": seconds(field(15)), "maxrss": line("VmHWM"),
        "ixrss": 0, "idrss": 0, "isrss": 0, "minflt": field(10), "majflt": field(12), "nswap": 0,
        "inblock": 0, "oublock": 0, "msgsnd": 0, "msgrcv": 0, "nsignals": 0,
        "nvcsw": line("voluntary_ctxt_switches"), "nivcsw": line("nonvoluntary_ctxt_switches"),
    })
}

/// Memory that this process has now, as people read it.
pub(super) fn memory() -> String {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|text| text.parse::<u32>().ok());
    format!("{:.2}MB", f64::from(pages.unwrap_or(0)) * PAGE_MIB)
}

/// Clock ticks in a second, as Linux counts them on every machine.
const TICKS_PER_SECOND: f64 = 100.0;

/// A page of memory, in MiB.
const PAGE_MIB: f64 = 4.0 / 1_024.0;
