//! Every reachable state, breadth first.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use crate::world::{Rules, World};

/// Explores all states; returns how many there are.
///
/// # Errors
/// With the first broken promise and the shortest way to it; also when some state cannot come to its
/// end without a further fault.
pub(crate) fn explore(rules: Rules) -> Result<usize, String> {
    let start = Rc::new(World::start(&rules));
    let mut numbers = HashMap::from([(Rc::clone(&start), 0)]);
    let mut states = vec![(start, None)];
    let mut queue = VecDeque::from([0]);
    let mut backwards: Vec<Vec<usize>> = vec![Vec::new()];
    while let Some(number) = queue.pop_front() {
        let world = Rc::clone(&states[number].0);
        for (choice, (_, next)) in world.successors(&rules).into_iter().enumerate() {
            let next = Rc::new(next);
            let faulty = next.faults < world.faults;
            let broken = next.broken(&world, &rules);
            let next_number = *numbers.entry(Rc::clone(&next)).or_insert_with(|| {
                states.push((next, Some((number, choice))));
                backwards.push(Vec::new());
                queue.push_back(states.len() - 1);
                states.len() - 1
            });
            if let Some(broken) = broken {
                return Err(format!("{broken}\n{}", way(&states, next_number, &rules)));
            }
            if !faulty {
                backwards[next_number].push(number);
            }
        }
    }
    let mut ends = vec![false; states.len()];
    let finished = states.iter().enumerate().filter(|(_, (world, _))| world.is_finished());
    let mut queue: Vec<usize> = finished.map(|(number, _)| number).collect();
    while let Some(number) = queue.pop() {
        if !std::mem::replace(&mut ends[number], true) {
            queue.extend(&backwards[number]);
        }
    }
    match ends.iter().position(|ends| !ends) {
        Some(stuck) => Err(format!("stuck for ever\n{}", way(&states, stuck, &rules))),
        None => Ok(states.len()),
    }
}

/// A state, and where it was reached from first: a state's number and which of its successors.
type Reached = (Rc<World>, Option<(usize, usize)>);

/// The steps that lead to a state, and the state.
fn way(states: &[Reached], mut number: usize, rules: &Rules) -> String {
    let last = format!("{:#?}", states[number].0);
    let mut names = Vec::new();
    while let Some((before, choice)) = states[number].1 {
        names.push(states[before].0.successors(rules).swap_remove(choice).0);
        number = before;
    }
    names.reverse();
    format!("{}\n{last}", names.join("\n"))
}
