//! What tasks may send to other machines.

use std::path::PathBuf;

use lovage_core::http::{HttpLimits, Network};
use lovage_worker::HttpSettings;

use super::parse::Reader;

/// What tasks may send, and where it may arrive.
#[derive(Debug, Clone)]
pub(crate) struct HttpConfig {
    /// What is granted, and its limits.
    pub(crate) settings: HttpSettings,
    /// Private networks that may be reached.
    pub(crate) networks: Vec<Network>,
    /// Certificate authorities that are trusted beside the usual ones.
    pub(crate) authorities: Option<PathBuf>,
}

impl HttpConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let authorities = reader.text("http.authorities");
        let limits = HttpLimits {
            requests: u32::try_from(reader.count("http.requests")).unwrap_or(u32::MAX),
            request_bytes: reader.bytes_u32("http.request_bytes"),
            response_bytes: reader.bytes_u32("http.response_bytes"),
            connect: reader.seconds("http.connect_timeout"),
            total: reader.seconds("http.timeout"),
        };
        let at_once = reader.count("http.concurrency");
        if at_once == 0 {
            reader.problem("http.concurrency", "must be above 0");
        }
        for (path, bytes) in [
            ("http.request_bytes", limits.request_bytes),
            ("http.response_bytes", limits.response_bytes),
        ] {
            if bytes > BODY_BYTES_MAX {
                reader.problem(path, "must be 32 MiB at most");
            }
        }
        Self {
            settings: HttpSettings { granted: reader.all("http.allow"), limits, at_once },
            networks: reader.all("http.networks"),
            authorities: Some(authorities).filter(|path| !path.is_empty()).map(Into::into),
        }
    }
}

/// What a body may be allowed to have: it travels in one frame, with room to spare.
const BODY_BYTES_MAX: u32 = 32 << 20;

#[cfg(test)]
mod tests {
    use crate::config::{Config, Layers};

    #[test]
    fn nothing_is_granted_unless_it_is_said() {
        let http = Config::read(&Layers::default()).unwrap().http;
        assert!(http.settings.granted.is_empty() && http.networks.is_empty());
        assert_eq!(http.settings.limits, lovage_core::http::HttpLimits::default());
    }

    #[test]
    fn hosts_and_networks_that_are_none_are_told() {
        let mut layers = Layers::default();
        layers
            .flag("http.allow", Some("api.bank.example, a/b"))
            .flag("http.networks", Some("10.0.0.0/33"))
            .flag("http.response_bytes", Some("64MiB"))
            .flag("http.concurrency", Some("0"));
        let text = Config::read(&layers).unwrap_err().to_string();
        for key in ["http.allow", "http.networks", "http.response_bytes", "http.concurrency"] {
            assert!(text.contains(key), "{text}");
        }
    }
}
