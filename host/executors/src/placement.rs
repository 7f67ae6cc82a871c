//! Which executor an attempt goes to.

/// An executor that could take an attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    /// Its place among the executors.
    pub(crate) seat: usize,
    /// Attempts in it.
    pub(crate) in_flight: usize,
    /// Whether the last attempt it was given was of the same module.
    pub(crate) warm: bool,
}

/// The executor with the fewest attempts; among nearly equal ones that which ran the module last,
/// because its pool and its caches hold it.
///
/// "Nearly" is an eighth, so an idle executor is always taken before a busy one, however warm.
pub(crate) fn choose(candidates: impl Iterator<Item = Candidate>) -> Option<usize> {
    candidates
        .min_by_key(|candidate| {
            let handicap = if candidate.warm { 0 } else { candidate.in_flight / 8 };
            (candidate.in_flight + handicap, !candidate.warm)
        })
        .map(|candidate| candidate.seat)
}

#[cfg(test)]
mod tests {
    use super::{Candidate, choose};

    fn seats(seats: &[(usize, bool)]) -> Option<usize> {
        let seats = seats.iter().enumerate();
        choose(seats.map(|(seat, &(in_flight, warm))| Candidate { seat, in_flight, warm }))
    }

    #[test]
    fn the_one_with_fewest_attempts_is_taken() {
        assert_eq!(seats(&[(40, true), (20, false), (30, true)]), Some(1));
        assert_eq!(seats(&[]), None);
    }

    #[test]
    fn the_warm_one_is_taken_while_the_difference_is_small() {
        assert_eq!(seats(&[(3, false), (3, true)]), Some(1));
        assert_eq!(seats(&[(64, false), (72, true)]), Some(1));
        assert_eq!(seats(&[(64, false), (73, true)]), Some(0));
    }

    #[test]
    fn an_idle_one_is_taken_before_a_warm_one_that_is_busy() {
        assert_eq!(seats(&[(1, true), (0, false)]), Some(1));
    }
}
