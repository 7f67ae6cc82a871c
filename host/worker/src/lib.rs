//! Use cases of a worker: the main path of a message, slots, drain.
