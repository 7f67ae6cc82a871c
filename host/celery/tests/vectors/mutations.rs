//! Hostile input: recorded messages with bytes changed.

use std::time::{Duration, Instant};

use lovage_celery::{Accept, CloseSettings, close, decode, mark_redelivered, quarantine};
use lovage_core::{Failure, Json, Message, Settlement, Timestamp, Verdict};

use crate::load::{delivery, sent, vectors};

const MUTATIONS: usize = 100_000;

/// A small generator with a fixed seed: a failure is the same failure every time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % bound
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        const TOKENS: [&[u8]; 12] = [
            b"\"", b"{", b"[", b"]", b"}", b"null", b"NaN", b"\\ud800", b"1e999", b"\xff", b"-1",
            b"[[[[",
        ];
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len().max(1)).min(bytes.len());
            match self.below(5) {
                0 if at < bytes.len() => bytes[at] = u8::try_from(self.below(256)).unwrap(),
                1 => bytes.truncate(at.max(1)),
                2 => {
                    let end = (at + self.below(30)).min(bytes.len());
                    bytes.drain(at..end);
                }
                3 => {
                    let token = TOKENS[self.below(TOKENS.len())];
                    bytes.splice(at..at, token.iter().copied());
                }
                _ => {
                    let end = (at + self.below(60)).min(bytes.len());
                    let copy = bytes[at..end].to_vec();
                    bytes.splice(at..at, copy);
                }
            }
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for vector in vectors("msg-").values().chain(vectors("bad-").values()) {
        for message in vector["redis"]["messages"].as_array().into_iter().flatten() {
            seeds.push(message["raw"].as_str().unwrap().as_bytes().to_vec());
        }
        let pushed = vector["raw_pushed"].as_str().map(str::to_owned);
        let sent = vector["transcript"].is_array().then(|| sent(vector, "producer->broker"));
        seeds.extend(pushed.into_iter().chain(sent.into_iter().flatten()).map(String::into_bytes));
    }
    // The two that are ten times as long as all others would take most of the time.
    seeds.retain(|seed| seed.len() < 8_000);
    seeds
}

/// Bodies are base64, in which a changed byte says little: these are changed inside it.
fn mutate_inside(chance: &mut Chance, seed: &[u8]) -> Option<Vec<u8>> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    let text = std::str::from_utf8(seed).ok()?;
    let (before, rest) = text.split_once("{\"body\": \"")?;
    let (body, after) = rest.split_once('"')?;
    let mut body = STANDARD.decode(body).ok()?;
    chance.mutate(&mut body);
    Some(format!("{before}{{\"body\": \"{}\"{after}", STANDARD.encode(body)).into_bytes())
}

#[test]
fn no_message_makes_reading_or_closing_fail_otherwise_than_with_an_error() {
    let accept = Accept::from_names(["json", "msgpack", "yaml"]).unwrap();
    let seeds = seeds();
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let (mut read, mut refused) = (0, 0);
    let mut slowest = Duration::ZERO;
    for number in 0..MUTATIONS {
        let seed = &seeds[number % seeds.len()];
        let inside = if number % 2 == 0 { mutate_inside(&mut chance, seed) } else { None };
        let bytes = inside.unwrap_or_else(|| {
            let mut bytes = seed.clone();
            chance.mutate(&mut bytes);
            bytes
        });
        let start = Instant::now();
        if let Some(marked) = mark_redelivered(&bytes) {
            assert!(marked.len() <= bytes.len() + 48);
        }
        match decode(delivery(Message::Envelope(bytes.clone().into())), &accept) {
            Ok(invocation) => {
                read += 1;
                close_every_way(Verdict {
                    invocation,
                    task: None,
                    digest: None,
                    key_is_explicit: false,
                    settlement: Settlement::Forget,
                    at: Timestamp::from_micros(1),
                });
            }
            Err(undecoded) => {
                refused += 1;
                assert_eq!(undecoded.delivery.message, Message::Envelope(bytes.into()));
                quarantine(&undecoded, Timestamp::from_micros(1));
            }
        }
        slowest = slowest.max(start.elapsed());
    }
    assert!(read > MUTATIONS / 20 && refused > MUTATIONS / 20, "{read} read, {refused} refused");
    assert!(slowest < Duration::from_secs(1), "one took {slowest:?}");
}

/// Whatever leaves must itself be readable: nothing malformed is passed on.
fn close_every_way(mut verdict: Verdict) {
    let at = Timestamp::from_micros(9);
    let failure = Failure::new("builtins", "ValueError", "x");
    for settlement in [
        Settlement::Succeed { result: Json::null(), calls: Vec::new() },
        Settlement::Bury(failure.clone()),
        Settlement::Retry { failure, at, options: None },
    ] {
        verdict.settlement = settlement;
        let closing = close(&verdict, &CloseSettings::default());
        for record in &closing.results {
            Json::parse(lovage_celery::result_document(record)).unwrap();
        }
        for publication in closing.publications {
            Json::parse(publication.parts.headers.as_str()).unwrap();
            Json::parse(publication.parts.properties.as_str()).unwrap();
        }
    }
}
