//! Tasks that mean harm, or might as well: each must end by its own limit, and only itself.

use std::{hint::black_box, process, time::Duration};

use lovage::prelude::*;

/// Uses the processor for ever. Ends by fuel, CPU time or wall-clock time.
#[lovage::task(name = "hostile.spin")]
fn spin() {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns).wrapping_add(1);
    }
}

/// Takes memory for ever, and touches all of it.
#[lovage::task(name = "hostile.memory")]
fn memory() {
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    loop {
        hoard.push(black_box(vec![1; 1 << 20]));
    }
}

/// Calls itself until the stack ends, with frames too large for the compiler to fold.
#[lovage::task(name = "hostile.recursion")]
fn recursion() -> u64 {
    #[expect(unconditional_recursion, reason = "that is the point")]
    fn descend(depth: u64) -> u64 {
        let frame = black_box([depth; 16]);
        descend(black_box(depth + 1)) + frame.iter().sum::<u64>()
    }
    descend(0)
}

/// Returns a result of `bytes` bytes.
#[lovage::task(name = "hostile.output")]
fn output(bytes: usize) -> String {
    "x".repeat(bytes)
}

/// Returns a result that is no JSON.
#[lovage::task(name = "hostile.invalid")]
fn invalid() -> Json {
    Json::from_text("{\"half\": ")
}

/// Returns `depth` lists inside each other.
#[lovage::task(name = "hostile.nested")]
fn nested(depth: usize) -> Json {
    Json::from_text("[".repeat(depth) + &"]".repeat(depth))
}

/// Fails with a message of `bytes` bytes, and characters that play with terminals.
#[lovage::task(name = "hostile.failure")]
fn failure(bytes: usize) -> Result<(), TaskError> {
    Err(TaskError::fail("\u{1b}[2J\r\n".to_owned() + &"x".repeat(bytes)).exception("../Error\n"))
}

/// Writes `lines` log lines of `bytes` bytes through the host.
#[lovage::task(name = "hostile.logs")]
fn logs(lines: u64, bytes: usize) -> u64 {
    let line = "\u{1b}[31m".to_owned() + &"x".repeat(bytes);
    (0..lines).for_each(|_| lovage::info!("{line}"));
    lines
}

/// Writes to standard output and error for ever.
#[lovage::task(name = "hostile.streams")]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "that is the point")]
fn streams() {
    loop {
        println!("{}", "x".repeat(4_096));
        eprintln!("{}", "x".repeat(4_096));
    }
}

/// Calls the host for ever.
#[lovage::task(name = "hostile.calls")]
fn calls(ctx: &Ctx) {
    while !black_box(ctx.revoked()) {}
}

/// Puts calls in the outbox until the host refuses; answers how many it took.
#[lovage::task(name = "hostile.outbox")]
fn outbox(ctx: &Ctx) -> u64 {
    let mut taken = 0;
    while ctx.send("hostile.spin", ()).is_ok() {
        taken += 1;
    }
    taken
}

/// Waits `ms` milliseconds, again and again, and heeds no soft limit.
#[lovage::task(name = "hostile.stubborn")]
#[expect(clippy::disallowed_methods, reason = "a guest yields to its host by waiting")]
fn stubborn(ms: u64) {
    loop {
        std::thread::sleep(Duration::from_millis(ms));
    }
}

/// Panics.
#[lovage::task(name = "hostile.panic")]
#[expect(clippy::panic, reason = "that is the point")]
fn panic() {
    panic!("out of order");
}

/// Leaves in the middle, as a program would.
#[lovage::task(name = "hostile.exit")]
#[expect(clippy::disallowed_methods, reason = "that is the point")]
fn exit(code: i32) {
    process::exit(code);
}

lovage::module!();

#[cfg(test)]
mod tests {
    use lovage::testing::Host;

    #[test]
    fn those_that_end_by_themselves_do() {
        let host = Host::new();
        assert_eq!(host.call("hostile.outbox", "[]", "{}").unwrap(), "100");
        assert_eq!(host.call("hostile.nested", "[2]", "{}").unwrap(), "[[]]");
        assert_eq!(host.call("hostile.output", "[3]", "{}").unwrap(), "\"xxx\"");
    }
}
