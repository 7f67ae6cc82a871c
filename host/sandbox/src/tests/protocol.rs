//! What an executor does with frames that make no sense.

use lovage_core::frames::{Entry, ModuleNumber, PROTOCOL, Run, ToExecutor, append};
use lovage_core::{Death, JobNumber, Limits};
use proptest::prelude::*;

use crate::ServeError;
use crate::testing::{ADD, Executor, death, sample};

#[test]
fn the_end_of_the_socket_is_the_end() {
    Executor::silent().end().unwrap();
    Executor::with(1, &[]).end().unwrap();
}

#[test]
fn a_worker_of_another_version_is_refused() {
    let mut executor = Executor::silent();
    let protocol = PROTOCOL + 1;
    executor.say(&ToExecutor::Hello { protocol, slots: 1, memory_bytes_max: 1 << 20 });
    assert!(matches!(executor.end(), Err(ServeError::Version(version)) if version == protocol));
}

#[test]
fn a_job_before_the_greeting_and_a_number_used_twice_are_errors() {
    let run = || {
        let entry = Entry::Task(Box::new(sample("any", "[]")));
        let limits = Limits::default();
        ToExecutor::Run(Run {
            job: JobNumber(1),
            module: ModuleNumber(0),
            entry,
            limits,
            share: None,
        })
    };
    let mut executor = Executor::silent();
    executor.say(&run());
    assert!(matches!(executor.end(), Err(ServeError::Protocol(_))));
    let mut executor = Executor::with(2, &["start-spin.wat"]);
    executor.say(&run());
    executor.say(&run());
    assert!(matches!(executor.end(), Err(ServeError::Protocol(_))));
}

#[test]
fn what_cannot_be_begun_is_no_attempt() {
    let mut executor = Executor::with(1, &["bench.wasm"]);
    let report = executor.run(7, "bench.add", "[1, 2]", Limits::default());
    assert_eq!(death(&report).0, Death::NotStarted);
    let first = executor.begin(0, "bench.sleep", "[50]", Limits::default());
    let second = executor.run(0, "bench.add", "[1, 2]", Limits::default());
    assert_eq!(death(&second).0, Death::NotStarted);
    executor.wait(first);
}

#[test]
fn files_that_are_no_native_code_are_not_loaded() {
    let mut executor = Executor::with(1, &[]);
    assert!(executor.load(0, "many-memories.wat").is_some());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"\x7fELF and then nothing").unwrap();
    for path in [file.path().to_str().unwrap(), "/nowhere", ""] {
        let module = ModuleNumber(1);
        executor.say(&ToExecutor::Load { module, path });
        executor.hear(|said| {
            matches!(said, lovage_core::frames::FromExecutor::Loaded { error: Some(_), .. })
        });
    }
    executor.end().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn garbage_ends_an_executor_with_an_error_and_no_panic(
        greeted in any::<bool>(),
        garbage in proptest::collection::vec(any::<u8>(), 1..200),
        framed in any::<bool>(),
    ) {
        let mut executor = Executor::silent();
        if greeted {
            executor.say(&ToExecutor::Hello { protocol: PROTOCOL, slots: 1, memory_bytes_max: 1 << 20 });
        }
        let mut bytes = garbage.clone();
        if framed {
            bytes = u32::try_from(garbage.len()).unwrap().to_le_bytes().to_vec();
            bytes.extend_from_slice(&garbage);
        }
        executor.say_bytes(&bytes);
        // Whatever it makes of it, the thread does not panic.
        let _ = executor.end();
    }

    #[test]
    fn flipped_bits_in_honest_frames_are_survived(place in 0_usize..400, bit in 0_u8..8) {
        let mut executor = Executor::with(1, &[ADD]);
        let mut bytes = Vec::new();
        let entry = Entry::Task(Box::new(sample("any", "[1, 2, 3]")));
        let limits = Limits { time: std::time::Duration::from_millis(50), ..Limits::default() };
        let run =
            Run { job: JobNumber(1), module: ModuleNumber(0), entry, limits, share: None };
        append(&mut bytes, &ToExecutor::Run(run)).unwrap();
        let place = place % bytes.len();
        bytes[place] ^= 1 << bit;
        executor.say_bytes(&bytes);
        let _ = executor.end();
    }
}
