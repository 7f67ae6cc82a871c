//! What this worker holds, as far as it knows itself.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lovage_core::Receipt;

/// The session of the moment and the messages in its hands. Receipts are never used twice, over all
/// sessions of one worker, so a late one names nothing.
///
/// Messages are kept (as shares of what was delivered, not as copies) because one that is handed back
/// is handed back with a mark of redelivery, which is made here and not inside Redis.
#[derive(Debug, Default)]
pub(super) struct Custody {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    session: Option<Session>,
    /// The number of the next receipt.
    next: u64,
    held: HashMap<u64, Bytes>,
    lost: Vec<Receipt>,
    rotation: usize,
}

#[derive(Debug)]
struct Session {
    id: String,
    begun: bool,
    /// Where a call began whose answer never came.
    doubt: Option<u64>,
}

/// What the next reservation has to say.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    pub(super) session: String,
    pub(super) begun: bool,
    pub(super) next: u64,
    pub(super) doubt: Option<u64>,
}

impl Custody {
    /// The session, a new one if there is none.
    pub(super) fn ticket(&self) -> Ticket {
        let mut state = self.state();
        let State { session, next, .. } = &mut *state;
        let session = session.get_or_insert_with(|| Session {
            id: uuid::Uuid::new_v4().simple().to_string(),
            begun: false,
            doubt: None,
        });
        Ticket {
            session: session.id.clone(),
            begun: session.begun,
            next: *next,
            doubt: session.doubt,
        }
    }

    /// How often something was taken: queues take turns by it.
    pub(super) fn rotation(&self) -> usize {
        self.state().rotation
    }

    /// The session's name, once the server knows it.
    pub(super) fn session(&self) -> Option<String> {
        let state = self.state();
        state.session.as_ref().filter(|session| session.begun).map(|session| session.id.clone())
    }

    /// The server knows the session now.
    pub(super) fn begun(&self, id: &str) {
        self.if_current(id, |state| {
            if let Some(session) = &mut state.session {
                session.begun = true;
            }
        });
    }

    /// A call that may take `most` messages is about to be made: until [`took`](Self::took), nobody
    /// knows whether it has.
    pub(super) fn about_to_take(&self, ticket: &Ticket, most: u64) {
        self.if_current(&ticket.session, |state| {
            state.next = ticket.next.saturating_add(most);
            if let Some(session) = &mut state.session {
                session.doubt.get_or_insert(ticket.next);
            }
        });
    }

    /// The session has taken these, and the next receipt has this number. `false` when the session
    /// was lost meanwhile: they are somebody else's then.
    pub(super) fn took(&self, id: &str, next: u64, taken: &[(u64, Bytes)]) -> bool {
        self.if_current(id, |state| {
            state.next = next;
            state.rotation = state.rotation.wrapping_add(usize::from(!taken.is_empty()));
            state.held.extend(taken.iter().cloned());
            if let Some(session) = &mut state.session {
                session.doubt = None;
            }
        })
    }

    /// The message of a receipt that is held.
    pub(super) fn message(&self, receipt: Receipt) -> Option<Bytes> {
        self.state().held.get(&receipt.0).cloned()
    }

    /// These are over.
    pub(super) fn closed(&self, receipts: impl Iterator<Item = Receipt>) {
        let mut state = self.state();
        for receipt in receipts {
            state.held.remove(&receipt.0);
        }
    }

    /// The server knows the session no more: all it held is lost.
    pub(super) fn lose(&self, id: &str) {
        self.if_current(id, |state| {
            state.session = None;
            let mut lost: Vec<_> = state.held.drain().map(|(number, _)| Receipt(number)).collect();
            lost.sort_unstable();
            state.lost.append(&mut lost);
        });
    }

    /// What was lost since the last time.
    pub(super) fn take_lost(&self) -> Vec<Receipt> {
        std::mem::take(&mut self.state().lost)
    }

    /// The session has ended by its own will.
    pub(super) fn left(&self, id: &str) {
        self.if_current(id, |state| {
            state.session = None;
            state.held.clear();
        });
    }

    fn if_current(&self, id: &str, change: impl FnOnce(&mut State)) -> bool {
        let mut state = self.state();
        let current = state.session.as_ref().is_some_and(|session| session.id == id);
        if current {
            change(&mut state);
        }
        current
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use lovage_core::Receipt;

    use super::Custody;

    #[test]
    fn receipts_are_never_used_twice_over_all_sessions() {
        let custody = Custody::default();
        let first = custody.ticket();
        custody.begun(&first.session);
        custody.about_to_take(&first, 10);
        assert!(custody.took(&first.session, 2, &[(0, Bytes::new()), (1, Bytes::new())]));
        custody.lose(&first.session);
        let second = custody.ticket();
        assert!(second.session != first.session && !second.begun);
        assert_eq!(second.next, 2);
        assert_eq!(custody.take_lost(), [Receipt(0), Receipt(1)]);
        assert_eq!(custody.take_lost(), []);
    }

    #[test]
    fn a_call_without_an_answer_stays_in_doubt_until_one_is_answered() {
        let custody = Custody::default();
        let first = custody.ticket();
        custody.about_to_take(&first, 10);
        let second = custody.ticket();
        assert_eq!((second.doubt, second.next), (Some(0), 10));
        custody.about_to_take(&second, 5);
        assert_eq!(custody.ticket().doubt, Some(0), "the oldest doubt counts");
        custody.took(&second.session, 15, &[]);
        assert_eq!(custody.ticket().doubt, None);
    }

    #[test]
    fn what_a_lost_session_took_is_not_held() {
        let custody = Custody::default();
        let ticket = custody.ticket();
        custody.lose(&ticket.session);
        assert!(!custody.took(&ticket.session, 1, &[(0, Bytes::new())]));
        assert_eq!(custody.message(Receipt(0)), None);
    }
}
