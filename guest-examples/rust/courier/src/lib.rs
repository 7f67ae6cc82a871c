//! A courier: it brings notes to where it is sent, and tries again where nobody opens.

use lovage::http::{self, ErrorKind};
use lovage::prelude::*;
use serde::Serialize;

/// What came back.
#[derive(Debug, PartialEq, Serialize)]
struct Answer {
    status: u16,
    location: Option<String>,
    body: String,
}

/// Sends one request, and answers what came back, whatever its status.
#[lovage::task(
    name = "courier.send",
    capabilities("http:127.0.0.1:*", "http:localhost:*", "http:[::1]:*")
)]
fn send(
    method: String,
    url: String,
    body: Option<String>,
    header: Option<(String, String)>,
) -> Result<Answer, TaskError> {
    let mut request = http::request(method, url).body(body.unwrap_or_default());
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    let answer = request.send()?;
    let location = answer.header("location").map(str::to_owned);
    Ok(Answer { status: answer.status(), location, body: answer.text() })
}

/// Sends requests one after another until one is refused; answers how many were not.
#[lovage::task(name = "courier.flood", capabilities("http:127.0.0.1:*"))]
fn flood(url: String, most: u32) -> Result<u32, TaskError> {
    for number in 0..most {
        match http::get(&url).send() {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Limit => return Ok(number),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(most)
}

/// Delivers a note: twice where the first attempt finds nobody, and always as the same note.
#[lovage::task(
    name = "courier.deliver",
    retry(max = 5, backoff = "fixed", delay = "100ms"),
    capabilities("http:127.0.0.1:*")
)]
fn deliver(ctx: &Ctx, url: String, note: String) -> Result<u16, TaskError> {
    http::post(&url).body("ring").send()?;
    let status = ctx.step("deliver", OnDoubt::Retry, &note, |_| {
        let answer = http::post(&url).json(&note).send()?.error_for_status();
        answer.map(|answer| answer.status()).map_err(|error| {
            if error.is_transient() { TaskError::retry(error) } else { error.into() }
        })
    })?;
    Ok(status)
}

lovage::module!();

#[cfg(test)]
mod tests {
    use lovage::http::{ErrorKind, Response};
    use lovage::testing::Host;

    use super::*;

    #[test]
    fn a_note_is_delivered_when_somebody_opens() {
        let host = Host::new();
        let arguments = || ("http://127.0.0.1:1/door".to_owned(), "a note".to_owned());
        host.answer_http(|_| Ok(Response::new(503, "")));
        let (url, note) = arguments();
        assert!(host.run(|ctx| deliver(ctx, url, note)).unwrap_err().is_retry());
        host.answer_http(|_| Ok(Response::new(201, "")));
        let (url, note) = arguments();
        assert_eq!(host.run(|ctx| deliver(ctx, url, note)), Ok(201));
        let bodies: Vec<_> = host.requests().into_iter().map(|it| it.body).collect();
        assert_eq!(bodies, [&b"ring"[..], b"\"a note\"", b"ring", b"\"a note\""]);
    }

    #[test]
    fn what_is_denied_is_rejected() {
        let host = Host::new();
        let denied = || http::get("http://127.0.0.1").send();
        assert_eq!(host.run(|_| denied()).unwrap_err().kind(), ErrorKind::Denied);
        let send = || send("GET".into(), "http://127.0.0.1".into(), None, None);
        assert!(host.run(|_| send()).unwrap_err().is_rejected());
    }
}
