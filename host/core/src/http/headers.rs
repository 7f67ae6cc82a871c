//! Which headers a guest may set.

use super::{HEADER_BYTES_MAX, HEADERS_MAX};

/// Why a request's headers are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// It belongs to the connection, which is not the guest's.
    #[error("the header {0} is not for a task to set")]
    Forbidden(String),
    /// Its name or its value has what no header may have.
    #[error("the header {0:?} is malformed")]
    Malformed(String),
    /// It says another length than the body has, or says it twice.
    #[error("the header content-length is not the body's length")]
    Length,
    /// They are too many, or have too many bytes.
    #[error("the headers are too large")]
    TooLarge,
}

/// Whether a header says something about a connection, and not about what travels on it.
pub fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// The headers of a guest's request as they are sent: names in small letters, and without the
/// `content-length`, which is that of the body whatever the guest says.
///
/// # Errors
/// When one could be read as the end of this request and the beginning of another, or says where it
/// goes: that is not the guest's to say.
pub fn request_headers(
    headers: &[(&str, &[u8])],
    body_bytes: usize,
) -> Result<Vec<(String, Vec<u8>)>, HeaderFault> {
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > HEADER_BYTES_MAX || headers.len() > HEADERS_MAX {
        return Err(HeaderFault::TooLarge);
    }
    let mut kept = Vec::with_capacity(headers.len());
    let mut lengths = 0;
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        if name.is_empty() || !name.bytes().all(is_token) || !value.iter().copied().all(is_text) {
            return Err(HeaderFault::Malformed(name.chars().take(80).collect()));
        }
        if is_hop_by_hop(&name) || matches!(&*name, "host" | "expect") {
            return Err(HeaderFault::Forbidden(name));
        }
        if name == "content-length" {
            lengths += 1;
            if lengths > 1 || *value != body_bytes.to_string().as_bytes() {
                return Err(HeaderFault::Length);
            }
            continue;
        }
        kept.push((name, value.to_vec()));
    }
    Ok(kept)
}

/// What a name is made of (RFC 9110, `token`).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What a value is made of: no end of a line, and no other control character but the tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::{HeaderFault, request_headers};

    #[test]
    fn what_a_request_says_is_kept_and_its_length_is_ours() {
        let headers: [(&str, &[u8]); 2] = [("X-Order", b"1"), ("Content-Length", b"3")];
        let kept = request_headers(&headers, 3).unwrap();
        assert_eq!(kept, [("x-order".to_owned(), b"1".to_vec())]);
    }

    #[test]
    fn what_would_smuggle_is_refused() {
        let refused = |name: &str, value: &[u8]| request_headers(&[(name, value)], 3).unwrap_err();
        for name in ["Host", "connection", "Transfer-Encoding", "TE", "upgrade", "expect"] {
            assert!(matches!(refused(name, b"x"), HeaderFault::Forbidden(_)), "{name}");
        }
        for (name, value) in
            [("a b", &b"x"[..]), ("", b"x"), ("a:", b"x"), ("a", b"x\r\nhost: b"), ("a", b"\0")]
        {
            assert!(matches!(refused(name, value), HeaderFault::Malformed(_)), "{name}");
        }
        for length in [&b"4"[..], b"+3", b"03", b"3, 3"] {
            assert_eq!(refused("content-length", length), HeaderFault::Length);
        }
        let twice: [(&str, &[u8]); 2] = [("content-length", b"3"), ("content-length", b"3")];
        assert_eq!(request_headers(&twice, 3), Err(HeaderFault::Length));
        let long = vec![b'x'; 64 << 10];
        assert_eq!(refused("a", &long), HeaderFault::TooLarge);
        let many: [(&str, &[u8]); 257] = [("a", b""); 257];
        assert_eq!(request_headers(&many, 0), Err(HeaderFault::TooLarge));
    }
}
