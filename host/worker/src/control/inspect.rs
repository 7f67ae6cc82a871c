//! What can be asked of a worker.

use lovage_celery::{format_timestamp, request_info};
use lovage_core::{Json, QueueSource, RetryPolicy, TaskId, TaskSpec, Timestamp, write_json_string};
use serde_json::{Map, Value, json};

use super::Control;
use super::answer::{ok, value};
use super::arguments::Arguments;
use super::facts::{memory, resources};
use crate::operations::Begun;

/// Celery's priority of a call that waits for its time; tools show it.
const SCHEDULED_PRIORITY: u8 = 6;

/// What `registered` shows of a task if nobody says what.
const TASK_ITEMS: [&str; 3] = ["exchange", "routing_key", "rate_limit"];

impl Control {
    /// Answers a question; `None` when it is none.
    pub(super) fn inspect(&self, method: &str, arguments: &Map<String, Value>) -> Option<Json> {
        let arguments = Arguments(arguments);
        Some(match method {
            "ping" => ok("pong"),
            "active" | "dump_active" => self.active(arguments.flag("safe")),
            "reserved" | "dump_reserved" => self.reserved(),
            "scheduled" | "dump_schedule" => self.scheduled(),
            "revoked" | "dump_revoked" => value(&self.revoked().into()),
            "registered" | "dump_tasks" => value(&self.registered(arguments).into()),
            "stats" => value(&self.stats()),
            "query_task" => self.query(&arguments.texts("ids")),
            "active_queues" => {
                value(&self.parts.operations.sources.now().iter().map(queue).collect())
            }
            "conf" | "dump_conf" => {
                let facts = &self.parts.facts;
                let all = arguments.flag("with_defaults");
                let conf = if all { &facts.conf_with_defaults } else { &facts.conf };
                value(&Value::Object(conf.clone()))
            }
            "report" => ok(&self.parts.facts.report),
            "clock" => value(&json!({"clock": self.parts.events.ticks().now()})),
            "hello" => self.hello(arguments),
            "memsample" => value(&memory().into()),
            "memdump" => value(&format!("- rss: {}.\n", memory()).into()),
            "objgraph" => super::error("ImportError('Requires the objgraph library')"),
            _ => return None,
        })
    }

    fn hostname(&self) -> &str {
        &self.parts.events.identity().hostname
    }

    fn active(&self, safe: bool) -> Json {
        let active = self.parts.operations.roster.active();
        let infos: Vec<_> =
            active.iter().map(|(job, begun)| self.info(job, Some(begun), safe)).collect();
        Json::array(infos.iter())
    }

    fn reserved(&self) -> Json {
        let reserved = self.parts.operations.roster.reserved();
        let infos: Vec<_> = reserved.iter().map(|job| self.info(job, None, false)).collect();
        Json::array(infos.iter())
    }

    fn info(&self, job: &lovage_core::Job, begun: Option<&Begun>, safe: bool) -> Json {
        let pid = self.parts.events.identity().pid;
        let begun = begun.map(|begun| (begun.at, pid));
        request_info(&job.invocation, self.hostname(), begun, safe)
    }

    fn scheduled(&self) -> Json {
        let scheduled = self.parts.operations.roster.scheduled(self.now());
        let entries = scheduled.iter().map(|(at, invocation)| {
            let request = request_info(invocation, self.hostname(), None, false);
            let eta = format_timestamp(*at);
            let text = format!(
                "{{\"eta\": \"{eta}\", \"priority\": {SCHEDULED_PRIORITY}, \"request\": {}}}",
                request.as_str()
            );
            Json::parse(text).unwrap_or_else(|_| Json::null())
        });
        let entries: Vec<_> = entries.collect();
        Json::array(entries.iter())
    }

    fn query(&self, ids: &[&str]) -> Json {
        let roster = &self.parts.operations.roster;
        let mut found = Vec::new();
        for (job, begun) in roster.active() {
            found.push((job.invocation.id.clone(), "active", self.info(&job, Some(&begun), false)));
        }
        for job in roster.reserved() {
            found.push((job.invocation.id.clone(), "reserved", self.info(&job, None, false)));
        }
        for (_, call) in roster.scheduled(self.now()) {
            let info = request_info(&call, self.hostname(), None, false);
            found.push((call.id.clone(), "scheduled", info));
        }
        found.retain(|(id, ..)| ids.contains(&id.as_str()));
        let mut text = String::from("{");
        for (position, (id, state, info)) in found.iter().enumerate() {
            text.push_str(if position > 0 { ", " } else { "" });
            write_json_string(&mut text, id.as_str());
            text.push_str(": [\"");
            text.push_str(state);
            text.push_str("\", ");
            text.push_str(info.as_str());
            text.push(']');
        }
        text.push('}');
        Json::parse(text).unwrap_or_else(|_| Json::null())
    }

    fn revoked(&self) -> Vec<String> {
        let ids = self.parts.operations.revoked.ids(self.now());
        ids.iter().map(ToString::to_string).collect()
    }

    fn registered(&self, arguments: Arguments<'_>) -> Vec<String> {
        let asked = arguments.texts("taskinfoitems");
        let items = if asked.is_empty() { TASK_ITEMS.to_vec() } else { asked };
        let shown = |task: &TaskSpec| {
            let item = |name: &&str| Some(format!("{name}={}", self.item(task, name)?));
            let items: Vec<_> = items.iter().filter_map(item).collect();
            match &*items {
                [] => task.name.to_string(),
                items => format!("{} [{}]", task.name, items.join(" ")),
            }
        };
        self.parts.modules.specs().iter().map(|task| shown(task)).collect()
    }

    /// An attribute of a task as Celery would show it, if it is set.
    fn item(&self, task: &TaskSpec, name: &str) -> Option<String> {
        let seconds =
            |millis: u64| format!("{}", std::time::Duration::from_millis(millis).as_secs_f64());
        match name {
            "name" => Some(task.name.to_string()),
            "rate_limit" => {
                let rate = self.parts.operations.rate(&task.name, task.rate_limit.as_deref());
                rate.map(|rate| rate.to_string())
            }
            "max_retries" => {
                let retries = RetryPolicy::requested(task.retry.as_ref()).max_retries;
                retries.map(|retries| retries.to_string())
            }
            "ignore_result" => Some(if task.ignore_result { "True" } else { "False" }.into()),
            "acks_late" => Some("True".into()),
            "queue" => task.queue.clone(),
            "time_limit" => task.limits.time_ms.map(seconds),
            "soft_time_limit" => task.limits.soft_time_ms.map(seconds),
            "doc" | "__doc__" => task.doc.clone(),
            _ => None,
        }
    }

    fn stats(&self) -> Value {
        let operations = &self.parts.operations;
        let facts = &self.parts.facts;
        let (soft, hard) = facts.time_limits;
        let total: Map<_, _> = operations
            .roster
            .totals()
            .into_iter()
            .map(|(task, count)| (task.to_string(), count.into()))
            .collect();
        let processed = operations.roster.processed();
        let processes = (facts.processes)();
        let mut stats = json!({
            "total": total,
            "pid": self.parts.events.identity().pid,
            "clock": self.parts.events.ticks().now().to_string(),
            "uptime": self.now().until(facts.started).as_secs(),
            "pool": {
                "implementation": "lovage:wasm",
                "max-concurrency": operations.slots.size(),
                "processes": processes,
                "max-tasks-per-child": "N/A",
                "put-guarded-by-semaphore": false,
                "timeouts": [soft, hard],
                "writes": {
                    "total": processed, "avg": "", "all": "", "raw": "", "strategy": "fair",
                    "inqueues": {"total": processes.len(), "active": 0},
                },
            },
            "broker": facts.broker,
            "prefetch_count": operations.slots.size(),
            "rusage": resources(),
        });
        if let (Some((least, most)), Some(stats)) = (*self.autoscale(), stats.as_object_mut()) {
            let scaler =
                json!({"max": most, "min": least, "current": operations.slots.size(), "qty": 0});
            stats.insert("autoscaler".into(), scaler);
        }
        stats
    }

    /// What a worker that starts asks its neighbours.
    fn hello(&self, arguments: Arguments<'_>) -> Json {
        if arguments.text("from_node") == Some(self.hostname()) {
            return Json::null();
        }
        let ids: Vec<TaskId> = match arguments.value("revoked") {
            Some(Value::Array(ids)) => {
                ids.iter().filter_map(Value::as_str).map(Into::into).collect()
            }
            Some(Value::Object(ids)) => ids.keys().map(|id| id.as_str().into()).collect(),
            _ => Vec::new(),
        };
        if !ids.is_empty() {
            self.parts.operations.revoked.add(ids, self.now());
        }
        value(&json!({"revoked": self.revoked(), "clock": self.parts.events.ticks().next()}))
    }

    pub(super) fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }
}

/// A queue with everything that kombu says of one.
fn queue(source: &QueueSource) -> Value {
    json!({
        "name": source.queue.as_str(),
        "exchange": {
            "name": source.exchange, "type": source.exchange_type, "arguments": null,
            "durable": true, "passive": false, "auto_delete": false, "delivery_mode": null,
            "no_declare": false,
        },
        "routing_key": source.routing_key, "queue_arguments": null, "binding_arguments": null,
        "consumer_arguments": null, "durable": true, "exclusive": false, "auto_delete": false,
        "no_ack": false, "alias": null, "bindings": [], "no_declare": null, "expires": null,
        "message_ttl": null, "max_length": null, "max_length_bytes": null, "max_priority": null,
    })
}
