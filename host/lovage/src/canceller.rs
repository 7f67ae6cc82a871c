//! Ends calls for the API, in the words of remote control: every worker is told as if a person had.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lovage_api::Cancel;
use lovage_celery::{ControlRequest, control_question};
use lovage_core::ports::{Clock, Fanout, PortError};
use lovage_core::{Question, TaskId};
use lovage_worker::Control;
use serde_json::{Value, json};

/// Tells the worker of this process first, then all others.
pub(crate) struct Canceller {
    pub(crate) control: Arc<Control>,
    /// The way to the others; a file has none, but then they are asked when they take the call.
    pub(crate) fanout: Option<Arc<dyn Fanout>>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// How long a worker that was away may still heed a cancellation.
const LASTS: Duration = Duration::from_secs(10);

#[async_trait]
impl Cancel for Canceller {
    async fn cancel(&self, id: &TaskId, terminate: bool) -> Result<(), PortError> {
        let named = json!({ "task_id": [id.as_str()], "terminate": terminate });
        let Value::Object(arguments) = named else { return Ok(()) };
        let request = ControlRequest {
            method: "revoke".into(),
            arguments,
            destination: Vec::new(),
            pattern: None,
            reply_to: None,
            ticket: None,
            clock: Some(1),
        };
        self.control.obey(&request).await;
        let Some(fanout) = &self.fanout else { return Ok(()) };
        let parts = control_question(&request, self.clock.now().after(LASTS));
        let wait = Duration::ZERO;
        fanout.ask(Question { parts, mailbox: None, wait, answers_max: None }).await.map(drop)
    }
}
