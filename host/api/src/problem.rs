//! What goes wrong, as RFC 9457 has it: a stable code for programs, a sentence for people, and a page
//! for each code in `docs/errors`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lovage_core::ports::PortError;
use lovage_core::{NameError, ShelfError};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tracing::error;
use utoipa::ToSchema;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:ident, $title:literal;)*) => {
        /// A stable code; programs may depend on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code itself.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The status that goes with it.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// What it means, in a few words that never change.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// The code of this text.
            pub fn of(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.as_str() == text)
            }
        }
    };
}

codes! {
    /// The request has not the form that it must have.
    MalformedRequest = "malformed-request", BAD_REQUEST, "The request is malformed";
    /// A name that cannot be one.
    InvalidName = "invalid-name", BAD_REQUEST, "The name cannot be one";
    /// No token, or none that is good. All reasons look alike.
    TokenInvalid = "token-invalid", UNAUTHORIZED, "The token is missing or not good";
    /// The token may not do this.
    ScopeMissing = "scope-missing", FORBIDDEN, "The token may not do this";
    /// The tenant has as much as it may have.
    QuotaExceeded = "quota-exceeded", FORBIDDEN, "The tenant has as much as it may have";
    /// There is no such thing, or it is somebody else's.
    NotFound = "not-found", NOT_FOUND, "There is no such thing";
    /// The address exists, for other methods.
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "The method is not for this address";
    /// The body took too long.
    TooSlow = "too-slow", REQUEST_TIMEOUT, "The body took too long to arrive";
    /// Somebody else changed the same meanwhile, again and again.
    Busy = "changed-meanwhile", CONFLICT, "Somebody else changed the same meanwhile";
    /// A channel points to it.
    VersionInUse = "version-in-use", CONFLICT, "The version answers calls";
    /// It may do more than the version that answers calls.
    PermissionsChanged = "permissions-changed", CONFLICT, "The version may do more than the live one";
    /// Another module implements the task.
    TaskTaken = "task-taken", CONFLICT, "Another module implements the task";
    /// Nothing to promote, or nothing to go back to.
    Nowhere = "nowhere-to-go", CONFLICT, "There is no version to go to";
    /// The call is not kept: there is nothing to run again.
    NotKept = "not-kept", CONFLICT, "The call is not kept";
    /// The call is over.
    TaskOver = "task-over", CONFLICT, "The call is over";
    /// The tenant is written in the configuration file.
    TenantConfigured = "tenant-configured", CONFLICT, "The tenant is set in the configuration";
    /// The tenants cannot be together.
    TenantConflict = "tenant-conflict", CONFLICT, "The tenant stands against another";
    /// More bytes than are taken.
    BodyTooLarge = "body-too-large", PAYLOAD_TOO_LARGE, "The body has more bytes than are taken";
    /// What was compressed becomes too large.
    DecompressionBomb = "decompression-bomb", PAYLOAD_TOO_LARGE, "The body grows too much";
    /// A content encoding that is not read.
    UnsupportedEncoding = "unsupported-encoding", UNSUPPORTED_MEDIA_TYPE, "The encoding is not read";
    /// The key was used for another call.
    IdempotencyMismatch = "idempotency-mismatch", UNPROCESSABLE_ENTITY, "The key names another call";
    /// The bytes are no WebAssembly.
    ModuleMalformed = "module-malformed", UNPROCESSABLE_ENTITY, "The bytes are no WebAssembly";
    /// A part is larger than any honest module's.
    ModuleTooLarge = "module-too-large", UNPROCESSABLE_ENTITY, "The module is too large";
    /// It imports what is not offered or granted.
    ImportNotGranted = "import-not-granted", UNPROCESSABLE_ENTITY, "An import is not granted";
    /// It wants what the tenant is not granted.
    CapabilityNotGranted = "capability-not-granted", UNPROCESSABLE_ENTITY, "A capability is not granted";
    /// It exports nothing that could be run.
    NoEntry = "no-entry", UNPROCESSABLE_ENTITY, "The module has no tasks";
    /// It could not be made a component.
    ContractMismatch = "contract-mismatch", UNPROCESSABLE_ENTITY, "The module does not fit the contract";
    /// It does not compile.
    ModuleInvalid = "module-invalid", UNPROCESSABLE_ENTITY, "The module does not compile";
    /// Compiling takes more than is allowed.
    CompileTooExpensive = "compile-too-expensive", UNPROCESSABLE_ENTITY, "Compiling takes too much";
    /// It died describing itself.
    DescribeFailed = "describe-failed", UNPROCESSABLE_ENTITY, "The module does not describe itself";
    /// What it says of itself is malformed.
    ManifestInvalid = "manifest-invalid", UNPROCESSABLE_ENTITY, "The manifest is malformed";
    /// It says of itself what it does not carry.
    ManifestMismatch = "manifest-mismatch", UNPROCESSABLE_ENTITY, "The manifests differ";
    /// The upload must be signed.
    SignatureMissing = "signature-missing", UNPROCESSABLE_ENTITY, "The upload is not signed";
    /// The signature is not good.
    SignatureInvalid = "signature-invalid", UNPROCESSABLE_ENTITY, "The signature is not good";
    /// The bytes on disk are not those that were uploaded.
    Tampered = "tampered", UNPROCESSABLE_ENTITY, "The bytes are not those that were uploaded";
    /// Too many requests, or too many uploads.
    RateLimited = "rate-limited", TOO_MANY_REQUESTS, "Too many requests";
    /// It cannot be done here.
    NotHere = "not-available", NOT_IMPLEMENTED, "This host cannot do that";
    /// A fault of ours.
    Internal = "internal", INTERNAL_SERVER_ERROR, "The host failed";
    /// A store or a broker cannot be reached now.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "A store or the broker cannot be reached";
    /// The compiler process failed, by no fault of the module.
    CompilerFailed = "compiler-failed", SERVICE_UNAVAILABLE, "The compiler failed";
}

/// A problem, on its way to whoever asked.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What it is.
    pub code: Code,
    /// What it is here and now.
    pub detail: String,
    /// What else a program may want to know.
    pub more: Map<String, Value>,
    /// Seconds after which to try again.
    pub retry_after: Option<u64>,
}

/// A problem as it is written (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Problem")]
pub struct ProblemBody {
    /// The page of the code.
    #[serde(rename = "type")]
    kind: String,
    /// What it means, in words that never change.
    title: String,
    /// The status.
    status: u16,
    /// What it is here and now.
    detail: String,
    /// The stable code.
    code: String,
}

impl Problem {
    /// A problem of this code.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), more: Map::new(), retry_after: None }
    }

    /// There is no such thing, or it is somebody else's: nobody can tell which.
    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no such {what}"))
    }

    /// The same with something else that a program may want to know.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.into(), value);
        self
    }

    /// The same, to be tried again after so many seconds.
    #[must_use]
    pub fn after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let mut body = json!({
            "type": format!("/docs/errors/{}", self.code.as_str()),
            "title": self.code.title(),
            "status": status.as_u16(),
            "detail": self.detail,
            "code": self.code.as_str(),
        });
        if let Value::Object(members) = &mut body {
            members.extend(self.more);
        }
        let json = HeaderValue::from_static("application/problem+json");
        let mut response =
            (status, [(header::CONTENT_TYPE, json)], body.to_string()).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}

impl From<PortError> for Problem {
    fn from(error: PortError) -> Self {
        error!(error = &error as &dyn std::error::Error, "The API cannot reach what it needs");
        if error.is_transient() {
            Self::new(Code::Unavailable, "try again in a moment").after(1)
        } else {
            Self::new(Code::Internal, "the host's log says more")
        }
    }
}

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        Self::new(Code::InvalidName, error.to_string())
    }
}

impl From<ShelfError> for Problem {
    fn from(error: ShelfError) -> Self {
        let code = match &error {
            ShelfError::NoModule(_) => return Self::not_found("module"),
            ShelfError::NoVersion(_) => return Self::not_found("version"),
            ShelfError::Nowhere(_) => Code::Nowhere,
            ShelfError::InUse(_) => Code::VersionInUse,
            ShelfError::TaskTaken { .. } => Code::TaskTaken,
            ShelfError::PermissionsChanged(_) => Code::PermissionsChanged,
            ShelfError::Quota { .. } => Code::QuotaExceeded,
        };
        let problem = Self::new(code, error.to_string());
        match error {
            ShelfError::PermissionsChanged(changes) => problem.with("changes", json!(changes)),
            _ => problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn every_code_has_a_page_and_every_page_a_code() {
        let pages = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
        let mut found: Vec<String> = std::fs::read_dir(pages)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter_map(|name| name.strip_suffix(".md").map(Into::into))
            .filter(|name| name != "README")
            .collect();
        found.sort();
        let mut codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str().to_owned()).collect();
        codes.sort();
        assert_eq!(found, codes);
    }
}
