//! A client of the API, for people at a terminal.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use indicatif::ProgressBar;
use serde_json::Value;
use ureq::http::{Method, Request};
use ureq::{Agent, SendBody};

use crate::cli::Remote;
use crate::config::Surroundings;

/// Where the API that tenants reach is, unless somebody says otherwise.
const PUBLIC: &str = "http://127.0.0.1:5555";

/// Where that of admins is.
const ADMIN: &str = "http://127.0.0.1:5556";

/// Where `lovage serve` leaves its first token.
pub(crate) const ADMIN_TOKEN: &str = "admin-token";

/// How long the API may take to answer; compiling a large module takes a while.
const PATIENCE: Duration = Duration::from_mins(4);

/// Bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// An API, and who asks.
pub(crate) struct Client {
    agent: Agent,
    url: String,
    token: String,
    pub(crate) json: bool,
}

impl Client {
    /// A client of what tenants reach.
    ///
    /// # Errors
    /// When there is no token.
    pub(crate) fn public(remote: &Remote) -> anyhow::Result<Self> {
        Self::new(remote, "LOVAGE_URL", PUBLIC)
    }

    /// A client of what admins reach.
    ///
    /// # Errors
    /// When there is no token.
    pub(crate) fn admin(remote: &Remote) -> anyhow::Result<Self> {
        Self::new(remote, "LOVAGE_ADMIN_URL", ADMIN)
    }

    fn new(remote: &Remote, variable: &str, usual: &str) -> anyhow::Result<Self> {
        let environment = Surroundings::of_process();
        let said = |flag: &Option<String>, name: &str| {
            let variable = || environment.variable(name).and_then(|value| value.into_string().ok());
            flag.clone().or_else(variable)
        };
        let url = said(&remote.url, variable).unwrap_or_else(|| usual.into());
        let own = || std::fs::read_to_string(Path::new(".lovage").join(ADMIN_TOKEN)).ok();
        let token = said(&remote.token, "LOVAGE_TOKEN").or_else(own);
        let token = token.context("there is no token: set LOVAGE_TOKEN, or say --token")?;
        let config = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .build();
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { agent: config.into(), url, token: token.trim().into(), json: remote.json })
    }

    /// Asks, with a body in JSON if there is one.
    ///
    /// # Errors
    /// When the API cannot be reached, or answers with a problem: in its words.
    pub(crate) fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let request = self.request(method, path).header("content-type", "application/json");
        match body {
            Some(body) => self.run(request.body(body.to_string())?),
            None => self.run(request.body(())?),
        }
    }

    /// Uploads a file.
    ///
    /// # Errors
    /// As for [`ask`](Self::ask), or when the file cannot be read.
    pub(crate) fn upload(
        &self,
        path: &str,
        file: &Path,
        signature: Option<&str>,
        progress: &ProgressBar,
    ) -> anyhow::Result<Value> {
        let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        let bytes = opened.metadata()?.len();
        progress.set_length(bytes);
        let mut request = self
            .request(Method::PUT, path)
            .header("content-type", "application/wasm")
            .header("content-length", bytes)
            // Whoever is refused need not send it all, and hears why.
            .header("expect", "100-continue");
        if let Some(signature) = signature {
            request = request.header("lovage-signature", signature);
        }
        let mut reader = progress.wrap_read(opened);
        self.run(request.body(SendBody::from_reader(&mut reader))?)
    }

    fn request(&self, method: Method, path: &str) -> ureq::http::request::Builder {
        let url = format!("{}{path}", self.url);
        let bearer = format!("Bearer {}", self.token);
        Request::builder().method(method).uri(url).header("authorization", bearer)
    }

    fn run(&self, request: Request<impl ureq::AsSendBody>) -> anyhow::Result<Value> {
        let answered = self.agent.run(request);
        let mut answer = answered.with_context(|| format!("cannot ask {}", self.url))?;
        let status = answer.status();
        let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()?;
        let value = if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? };
        if status.is_success() {
            return Ok(value);
        }
        let member = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
        let mut what = format!("{} ({}): {}", member("title"), member("code"), member("detail"));
        for change in value.get("changes").and_then(Value::as_array).into_iter().flatten() {
            what.push_str("\n  ");
            what.push_str(change.as_str().unwrap_or_default());
        }
        if member("code") == "permissions-changed" {
            what.push_str("\n--accept takes it all the same");
        }
        bail!("{}", crate::inert::inert_lines(&what))
    }
}

/// A text of a name that may stand in an address.
pub(crate) fn quoted(name: &str) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let quote = |byte: u8| match Some(byte).filter(is_plain) {
        Some(plain) => char::from(plain).to_string(),
        None => format!("%{byte:02X}"),
    };
    name.bytes().map(quote).collect()
}

/// A member of an answer as text, a dash where there is none.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("-")
}

/// The elements of a list in an answer.
pub(crate) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The first digits of a digest.
pub(crate) fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_name_stays_one_part_of_an_address() {
        assert_eq!(quoted("shop-2.a"), "shop-2.a");
        assert_eq!(quoted("../a b?é"), "..%2Fa%20b%3F%C3%A9");
    }
}
