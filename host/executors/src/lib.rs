//! The worker's side of the sandbox: starts, feeds and watches executor processes.
