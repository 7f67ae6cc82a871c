//! What runs beside a worker: its events, the commands that it obeys, what it keeps of itself.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use lovage_api::Cancel;
use lovage_core::TenantMeter;
use lovage_core::ports::{Broker, Clock, Fanout, KeptMessages, ResultBackend, SharedRates};
use lovage_executors::Executors;
use lovage_worker::{
    Control, ControlParts, Events, Facts, Identity, Modules, Observer, OperationSettings,
    Operations, Shutdown, mingle,
};
use serde_json::{Value, json};
use tracing::warn;

use crate::canceller::Canceller;
use crate::commands::config::masked;
use crate::config::{Config, OperationsConfig};
use crate::metrics::{self, Metrics, MetricsPorts};

/// What a worker's surroundings are made of.
pub(crate) struct OperatingPorts {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) kept: Arc<dyn KeptMessages>,
    pub(crate) results: Arc<dyn ResultBackend>,
    pub(crate) executors: Arc<Executors>,
    pub(crate) modules: Arc<Modules>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) fanout: Option<Arc<dyn Fanout>>,
    pub(crate) shared_rates: Option<Arc<dyn SharedRates>>,
    pub(crate) meter: Arc<dyn TenantMeter>,
    /// Calls that there is room for at most.
    pub(crate) slots_max: usize,
    pub(crate) shutdown: Shutdown,
}

/// What runs beside a worker.
pub(crate) struct Operating {
    config: OperationsConfig,
    operations: Arc<Operations>,
    /// Others may subscribe to them.
    pub(crate) events: Arc<Events>,
    control: Arc<Control>,
    clock: Arc<dyn Clock>,
    fanout: Option<Arc<dyn Fanout>>,
    metrics: Option<Arc<Metrics>>,
}

/// How long revocations are gathered before they are written: many come together.
const SAVE_PAUSE: Duration = Duration::from_millis(100);

impl Operating {
    pub(crate) fn new(config: &Config, ports: OperatingPorts) -> Self {
        let OperatingPorts { executors, clock, fanout, kept, .. } = ports;
        let settings = OperationSettings {
            slots: config.operations.autoscale.map_or(config.slots, |(least, _)| least),
            slots_max: ports.slots_max,
            queues: config.queues.clone(),
            rates: config.operations.rates.clone(),
            shared_rates: ports.shared_rates,
            meter: ports.meter,
        };
        let operations = Arc::new(Operations::new(settings));
        let events = Arc::new(Events::new(
            Identity {
                hostname: config.hostname.clone(),
                utcoffset: utcoffset(&*clock),
                pid: std::process::id(),
            },
            Arc::clone(&operations),
            Arc::clone(&clock),
            fanout.clone(),
            config.operations.task_events,
        ));
        let metrics = config.operations.metrics.map(|_| {
            Arc::new(Metrics::new(MetricsPorts {
                broker: Arc::clone(&ports.broker),
                kept,
                clock: Arc::clone(&clock),
                operations: Arc::clone(&operations),
                modules: Arc::clone(&ports.modules),
                processes: processes(Arc::clone(&executors)),
                hostname: config.hostname.clone(),
            }))
        });
        let control = Arc::new(Control::new(ControlParts {
            operations: Arc::clone(&operations),
            events: Arc::clone(&events),
            broker: ports.broker,
            sandbox: Arc::clone(&executors) as _,
            results: ports.results,
            modules: ports.modules,
            clock: Arc::clone(&clock),
            shutdown: ports.shutdown,
            accept: config.accept.clone(),
            facts: facts(config, executors, &*clock),
        }));
        let config = config.operations.clone();
        Self { config, operations, events, control, clock, fanout, metrics }
    }

    /// What the main path asks.
    pub(crate) fn operations(&self) -> Arc<Operations> {
        Arc::clone(&self.operations)
    }

    /// What ends calls for the API.
    pub(crate) fn canceller(&self) -> Arc<dyn Cancel> {
        Arc::new(Canceller {
            control: Arc::clone(&self.control),
            fanout: self.fanout.clone(),
            clock: Arc::clone(&self.clock),
        })
    }

    /// Everybody who is told of what happens.
    pub(crate) fn observers(&self, other: Option<Arc<dyn Observer>>) -> Vec<Arc<dyn Observer>> {
        let events: Arc<dyn Observer> = Arc::clone(&self.events) as _;
        let metrics = self.metrics.clone().map(|metrics| metrics as Arc<dyn Observer>);
        [events].into_iter().chain(metrics).chain(other).collect()
    }

    /// Takes over what is known from before, and begins to listen: commands are heard from now on.
    pub(crate) async fn begin(&self) {
        if let Some(path) = &self.config.state_db
            && let Ok(text) = std::fs::read_to_string(path)
            && !self.operations.revoked.restore(&text, self.clock.now())
        {
            warn!(path = %path.display(), "The state file cannot be read; it is written anew");
        }
        if let Some(fanout) = self.fanout.as_ref().filter(|_| self.config.remote_control)
            && let Err(failed) = fanout.listen().await
        {
            let error = &failed as &dyn std::error::Error;
            warn!(error, "Cannot listen for commands yet; trying again");
        }
    }

    /// Works beside the worker, until it is dropped.
    ///
    /// # Errors
    /// When the address of the metrics cannot be had.
    pub(crate) async fn serve(&self) -> anyhow::Result<Infallible> {
        let controlled = async {
            if let Some(fanout) = self.fanout.as_ref().filter(|_| self.config.remote_control) {
                self.control.serve(&**fanout).await;
            }
        };
        let mingled = async {
            if let Some(fanout) = self.fanout.as_ref().filter(|_| self.config.mingle) {
                mingle(&**fanout, &self.events, &self.operations, &*self.clock).await;
            }
        };
        let told = self.events.serve(self.config.heartbeat);
        let beside = async {
            tokio::join!(controlled, mingled, told, self.save(), self.control.follow_load());
            Ok(())
        };
        tokio::try_join!(beside, self.serve_metrics())?;
        std::future::pending().await
    }

    /// Says that the worker ends, and keeps what the next one must know.
    pub(crate) async fn end(&self) {
        self.events.farewell().await;
        if let Some(path) = &self.config.state_db {
            write(path, &self.operations.revoked.to_text());
        }
    }

    async fn serve_metrics(&self) -> anyhow::Result<()> {
        let (Some(address), Some(served)) = (self.config.metrics, &self.metrics) else {
            return Ok(());
        };
        metrics::serve(address, Arc::clone(served)).await
    }

    /// Keeps what is revoked whenever something is added.
    async fn save(&self) {
        let Some(path) = &self.config.state_db else { return };
        loop {
            self.operations.revoked.changed().await;
            tokio::time::sleep(SAVE_PAUSE).await;
            write(path, &self.operations.revoked.to_text());
        }
    }
}

/// Writes a file so that there is always a whole one.
fn write(path: &Path, text: &str) {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path));
    if let Err(error) = written {
        warn!(path = %path.display(), %error, "Cannot keep what is revoked");
    }
}

/// Hours by which this machine's time is west of UTC.
fn utcoffset(clock: &dyn Clock) -> i32 {
    let now = jiff::Timestamp::from_microsecond(clock.now().as_micros()).unwrap_or_default();
    -TimeZone::system().to_offset(now).seconds() / 3_600
}

fn facts(config: &Config, executors: Arc<Executors>, clock: &dyn Clock) -> Facts {
    Facts {
        started: clock.now(),
        conf: config.operations.conf.clone(),
        conf_with_defaults: config.operations.conf_with_defaults.clone(),
        broker: broker(&config.broker_url),
        report: report(config),
        processes: processes(executors),
        autoscale: config.operations.autoscale,
        time_limits: (
            config.limits.soft_time.unwrap_or_default().as_secs_f64(),
            config.limits.time.as_secs_f64(),
        ),
    }
}

/// What tells the executor processes that live now.
fn processes(executors: Arc<Executors>) -> Box<dyn Fn() -> Vec<u32> + Send + Sync> {
    Box::new(move || executors.states().iter().filter_map(|executor| executor.process).collect())
}

fn report(config: &Config) -> String {
    use std::fmt::Write as _;

    let system = rustix::system::uname();
    let mut text = format!(
        "\nsoftware -> celery:5.7 as spoken by lovage:{}\nplatform -> system:{} arch:{}\n            kernel version:{}\n\
         settings -> transport:{} results:{}\n\n",
        env!("CARGO_PKG_VERSION"),
        system.sysname().to_string_lossy(),
        system.machine().to_string_lossy(),
        system.release().to_string_lossy(),
        config.broker_url.split(':').next().unwrap_or_default(),
        config.result_backend.as_deref().map_or_else(|| "disabled".into(), masked),
    );
    for (name, value) in &config.operations.conf {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}: {value}");
    }
    text
}

/// A broker as kombu describes a connection, without secrets.
fn broker(url: &str) -> Value {
    let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
    let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, address) = place.rsplit_once('@').unwrap_or(("", place));
    let user = user.split(':').next().filter(|user| !user.is_empty());
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    json!({
        "hostname": host, "userid": user, "virtual_host": path.split('?').next(),
        "port": port.parse::<u16>().ok(), "insist": false, "ssl": scheme.ends_with("ss"),
        "transport": scheme, "connect_timeout": 4, "transport_options": {}, "login_method": null,
        "uri_prefix": null, "heartbeat": 120.0, "failover_strategy": "round-robin",
        "alternates": [], "credential_provider": null,
    })
}

#[cfg(test)]
mod tests {
    use super::broker;

    #[test]
    fn a_broker_is_described_without_its_password() {
        let told = broker("redis://me:s3cret@host:6380/5?x=1");
        assert_eq!((&told["hostname"], &told["port"]), (&"host".into(), &6380.into()));
        assert_eq!((&told["userid"], &told["virtual_host"]), (&"me".into(), &"5".into()));
        assert!(!told.to_string().contains("s3cret"));
    }
}
