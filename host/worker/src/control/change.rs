//! What can be changed in a worker.

use lovage_core::ports::PortError;
use lovage_core::{Json, QueueSource, TaskName, TimeLimit};
use serde_json::{Map, Value};
use tracing::{info, warn};

use super::Control;
use super::answer::{Answer, error, ok, raised};
use super::arguments::Arguments;
use crate::operations::{Operations, Rate};

impl Control {
    /// Does what a command says.
    pub(super) async fn change(&self, method: &str, arguments: &Map<String, Value>) -> Answer {
        let arguments = Arguments(arguments);
        Answer::Given(match method {
            "revoke" => self.revoke(arguments, arguments.flag("terminate")).await,
            "terminate" => self.revoke(arguments, true).await,
            "revoke_by_stamped_headers" => self.revoke_stamped(arguments),
            "rate_limit" => self.rate_limit(arguments),
            "time_limit" => self.time_limit(arguments),
            "add_consumer" => self.add_queue(arguments).await,
            "cancel_consumer" => self.cancel_queue(arguments).await,
            "pool_grow" => self.grow(arguments, true),
            "pool_shrink" => self.grow(arguments, false),
            "autoscale" => self.set_autoscale(arguments),
            "pool_restart" => error(&raised("ValueError", "Pool restarts not enabled")),
            "enable_events" => self.want_events(true),
            "disable_events" => self.want_events(false),
            "heartbeat" => {
                self.parts.events.beat().await;
                Json::null()
            }
            "shutdown" => {
                warn!("Stopping warm, as somebody asked by remote control");
                self.parts.shutdown.warm();
                return Answer::Nothing;
            }
            // Gossip's elections are between Celery's own workers; a worker without gossip says null.
            "election" => Json::null(),
            _ => return Answer::Unknown,
        })
    }

    /// The task that a command names, if this worker knows it.
    fn task(&self, arguments: Arguments<'_>) -> Option<TaskName> {
        let name = arguments.text("task_name")?;
        self.parts
            .modules
            .specs()
            .iter()
            .find(|task| task.name.as_str() == name)
            .map(|task| task.name.clone())
    }

    fn rate_limit(&self, arguments: Arguments<'_>) -> Json {
        let text = match arguments.value("rate_limit") {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            None => String::new(),
            Some(other) => other.to_string(),
        };
        let rate = match Rate::parse(&text) {
            Ok(rate) => rate,
            Err(failed) => return error(&format!("Invalid rate limit string: {failed}")),
        };
        let Some(task) = self.task(arguments) else { return error("unknown task") };
        info!(task.name = %task, rate = text, "Changed a rate limit");
        self.parts.operations.set_rate(task, rate);
        let set = rate.is_some();
        ok(if set { "new rate limit set successfully" } else { "rate limit disabled successfully" })
    }

    fn time_limit(&self, arguments: Arguments<'_>) -> Json {
        let Some(task) = self.task(arguments) else { return error("unknown task") };
        let limit = TimeLimit { hard: arguments.seconds("hard"), soft: arguments.seconds("soft") };
        info!(task.name = %task, ?limit, "Changed time limits");
        self.parts.operations.time_limits.set(task, limit);
        ok("time limits set successfully")
    }

    async fn add_queue(&self, arguments: Arguments<'_>) -> Json {
        let name = arguments.text("queue").unwrap_or_default();
        let mut source = QueueSource::named(name.into());
        if let Some(exchange) = arguments.text("exchange") {
            source.exchange = exchange.into();
        }
        if let Some(kind) = arguments.text("exchange_type") {
            source.exchange_type = kind.into();
        }
        if let Some(key) = arguments.text("routing_key") {
            source.routing_key = key.into();
        }
        let Operations { sources, .. } = &*self.parts.operations;
        let changed = sources.join(&*self.parts.broker, vec![source]).await;
        self.changed_queues(changed, &format!("add consumer {name}"))
    }

    async fn cancel_queue(&self, arguments: Arguments<'_>) -> Json {
        let name = arguments.text("queue").unwrap_or_default();
        let Operations { sources, .. } = &*self.parts.operations;
        let changed = sources.leave(&*self.parts.broker, name.into()).await;
        self.changed_queues(changed, &format!("no longer consuming from {name}"))
    }

    fn changed_queues(&self, changed: Result<(), PortError>, done: &str) -> Json {
        if let Err(failed) = changed {
            warn!(error = &failed as &dyn std::error::Error, "Cannot change queues");
            return error(&raised("RuntimeError", &failed.to_string()));
        }
        let taken = self.parts.operations.sources.now();
        let names: Vec<_> = taken.iter().map(|it| it.queue.as_str()).collect();
        info!(queues = names.join(","), "Changed the queues to take from");
        ok(done)
    }

    fn grow(&self, arguments: Arguments<'_>, more: bool) -> Json {
        let word = if more { "grow" } else { "shrink" };
        if self.autoscale().is_some() {
            return error(&format!(
                "pool_{word} is not supported with autoscale. Adjust autoscale range instead."
            ));
        }
        let slots = &self.parts.operations.slots;
        let count = arguments.count("n").unwrap_or(1);
        let size = slots.size();
        let wanted = if more { size.saturating_add(count) } else { size.saturating_sub(count) };
        if wanted == 0 {
            return error(&raised("ValueError", "Can't shrink pool. All processes busy!"));
        }
        if wanted > slots.most() {
            let text = format!("this worker has room for {} calls at once", slots.most());
            return error(&raised("ValueError", &text));
        }
        info!(slots = slots.resize(wanted), "Changed how many calls are in work at once");
        ok(&format!("pool will {word}"))
    }

    fn set_autoscale(&self, arguments: Arguments<'_>) -> Json {
        let slots = &self.parts.operations.slots;
        let mut autoscale = self.autoscale();
        let Some((least, most)) = autoscale.as_mut() else {
            return error(&raised("ValueError", "Autoscale not enabled"));
        };
        let wanted_most = arguments.count("max").unwrap_or(*most).clamp(1, slots.most());
        let wanted_least = arguments.count("min").unwrap_or(*least).clamp(1, wanted_most);
        (*least, *most) = (wanted_least, wanted_most);
        slots.resize(slots.size().clamp(wanted_least, wanted_most));
        ok(&format!("autoscale now max={wanted_most} min={wanted_least}"))
    }

    fn want_events(&self, wanted: bool) -> Json {
        let changed = self.parts.events.want(wanted);
        ok(match (changed, wanted) {
            (true, true) => "task events enabled",
            (true, false) => "task events disabled",
            (false, true) => "task events already enabled",
            (false, false) => "task events already disabled",
        })
    }
}
