//! Requests, written by hand, and what came back.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) replayed: bool,
}

impl Answer {
    /// The stable code of a problem.
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// The body, of a request that must have gone well.
    pub(crate) fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{}: {}", self.status, self.body);
        self.body
    }
}

/// Somebody who asks.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) url: String,
    pub(crate) token: String,
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_mins(3);

impl Client {
    pub(crate) fn new(url: &str, token: &str) -> Self {
        Self { url: url.into(), token: token.into() }
    }

    /// The same with another token.
    pub(crate) fn with(&self, token: &str) -> Self {
        Self { token: token.into(), ..self.clone() }
    }

    /// A connection.
    pub(crate) fn connect(&self) -> TcpStream {
        let host = self.url.trim_start_matches("http://");
        let stream = TcpStream::connect(host).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        stream
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, Some(body))
    }

    /// One request, with a body in JSON if there is one.
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        self.send(method, path, &bytes, &[])
    }

    /// What a request is answered with first: of an answer that never ends there is no more.
    pub(crate) fn status(&self, method: &str, path: &str, bytes: &[u8]) -> u16 {
        let mut stream = self.connect();
        let head = self.head(method, path, bytes.len()) + "\r\n";
        stream.write_all(&[head.as_bytes(), bytes].concat()).expect("a request");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("a status line");
        line.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status")
    }

    /// An upload.
    pub(crate) fn push(&self, path: &str, wasm: &[u8]) -> Answer {
        self.send("PUT", &format!("/v1/modules/{path}"), wasm, &[])
    }

    /// The head of a request whose body has so many bytes.
    pub(crate) fn head(&self, method: &str, path: &str, length: usize) -> String {
        let authorization = match &*self.token {
            "" => String::new(),
            token => format!("authorization: Bearer {token}\r\n"),
        };
        format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{authorization}\
             content-length: {length}\r\n"
        )
    }

    /// One request with these bytes and headers. Whoever is refused before the body was asked for
    /// does not send it.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        bytes: &[u8],
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut head = self.head(method, path, bytes.len());
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        let is_asked_first = bytes.len() > 1 << 16;
        head.push_str(if is_asked_first { "expect: 100-continue\r\n\r\n" } else { "\r\n" });
        let mut stream = self.connect();
        stream.write_all(head.as_bytes()).expect("a head");
        let mut reader = BufReader::new(stream.try_clone().expect("a connection"));
        if !is_asked_first {
            stream.write_all(bytes).expect("a body");
        }
        let mut answer = read_answer(&mut reader);
        if answer.status == 100 {
            // What refuses the body half-way answers all the same.
            let _ = stream.write_all(bytes);
            answer = read_answer(&mut reader);
        }
        answer
    }
}

fn read_answer(reader: &mut BufReader<TcpStream>) -> Answer {
    let mut line = String::new();
    reader.read_line(&mut line).expect("a status line");
    let status = line.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status");
    let (mut length, mut replayed) = (None, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a header");
        let line = line.trim_end().to_ascii_lowercase();
        let Some((name, value)) = line.split_once(": ") else { break };
        match name {
            "content-length" => length = value.parse().ok(),
            "idempotency-replayed" => replayed = true,
            _ => {}
        }
    }
    let mut text = String::new();
    if status != 100 && length != Some(0) {
        let mut body = reader.take(length.unwrap_or(u64::MAX));
        body.read_to_string(&mut text).expect("a body");
    }
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer { status, body, replayed }
}
