//! Chords: counting members, and sending the body with whoever is last.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use lovage_celery::{CloseSettings, chord_closing};
use lovage_core::ports::{Chords, PortError};
use lovage_core::{Closing, Counted, TaskId, Verdict};
use tracing::{debug, warn};

use crate::backoff::Backoff;

/// When it is asked again whether somebody else has sent a body.
const CONTENDED: Duration = Duration::from_millis(500);

/// How often the right to send a body is extended while its member is not settled.
const HOLD: Duration = Duration::from_secs(2);

/// Bodies that are members themselves, of chords that are: deeper ones are left alone.
const DEPTH_MAX: usize = 32;

/// Counts the members of chords for one worker.
#[derive(Clone)]
pub(crate) struct Counting {
    chords: Option<Arc<dyn Chords>>,
}

/// A chord whose body leaves with a closing: to be ended when that is settled.
pub(crate) struct Ended {
    group: TaskId,
    token: String,
    failed: bool,
}

impl Counting {
    /// Counts where the result backend counts; where it does not, there is nothing to do.
    pub(crate) fn new(chords: Option<Arc<dyn Chords>>) -> Self {
        Self { chords }
    }

    /// Tells chords of a verdict before it is made true, and puts into its closing what the last
    /// member of one sends. A crash in between repeats it: members count once, and the right to send
    /// a body is only lent.
    pub(crate) async fn prepare(
        &self,
        verdict: &Verdict,
        settings: &CloseSettings,
        closing: &mut Closing,
    ) -> Vec<Ended> {
        let mut ended = Vec::new();
        let Some(chords) = &self.chords else { return ended };
        for _ in 0..DEPTH_MAX {
            let Some(work) = closing.chords.take() else { break };
            for (group, members) in &work.starts {
                insist(|| chords.start(group, *members)).await;
            }
            for (group, member) in &work.joining {
                insist(|| chords.join(group, member)).await;
            }
            for member in &work.members {
                let counted = loop {
                    match insist(|| chords.count(member)).await {
                        Counted::Contended => tokio::time::sleep(CONTENDED).await,
                        counted => break counted,
                    }
                };
                let Counted::Complete { token, members } = counted else { continue };
                let (more, failed) = chord_closing(verdict, settings, member, &members);
                closing.results.extend(more.results);
                closing.publications.extend(more.publications);
                merge(closing, more.chords);
                ended.push(Ended { group: member.group.clone(), token, failed });
            }
        }
        ended
    }

    /// Waits for a closing to be settled, and keeps the right to send the bodies in it meanwhile: a
    /// store that cannot be reached for a while must not make somebody else send them, too.
    pub(crate) async fn hold<T>(&self, ended: &[Ended], settling: impl Future<Output = T>) -> T {
        let Some(chords) = self.chords.as_ref().filter(|_| !ended.is_empty()) else {
            return settling.await;
        };
        let mut settling = pin!(settling);
        loop {
            if let Ok(settled) = tokio::time::timeout(HOLD, &mut settling).await {
                return settled;
            }
            for Ended { group, token, .. } in ended {
                if let Err(error) = chords.hold(group, token).await {
                    debug!(error = &error as &dyn std::error::Error, "Cannot hold a chord");
                }
            }
        }
    }

    /// Ends the chords whose bodies have left. That one could not be ended harms nobody: its members
    /// are counted, and what is left of it expires.
    pub(crate) async fn end(&self, ended: Vec<Ended>) {
        let Some(chords) = &self.chords else { return };
        for Ended { group, token, failed } in ended {
            if let Err(error) = chords.end(&group, &token, failed).await {
                warn!(error = &error as &dyn std::error::Error, "A chord could not be ended");
            }
        }
    }
}

fn merge(closing: &mut Closing, more: Option<Box<lovage_core::ChordWork>>) {
    let Some(more) = more else { return };
    match &mut closing.chords {
        None => closing.chords = Some(more),
        Some(work) => {
            work.starts.extend(more.starts);
            work.joining.extend(more.joining);
            work.members.extend(more.members);
        }
    }
}

/// Asks until it is answered: the call keeps its slot, as one that cannot be settled does.
async fn insist<T, F: Future<Output = Result<T, PortError>>>(ask: impl Fn() -> F) -> T {
    let mut backoff = Backoff::new();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => {
                if backoff.is_first() {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "Cannot count a chord; trying again"
                    );
                }
                tokio::time::sleep(backoff.next()).await;
            }
        }
    }
}
