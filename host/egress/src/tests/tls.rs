//! Against a server that has a secret: a certificate of an authority that nobody but the test trusts.
//!
//! `tls/` was made by OpenSSL 3.0 for a hundred years: an authority, and a server of the name `safe.example`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use lovage_core::http::{HttpError, Network};
use lovage_core::ports::Egress as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, Stream};

use super::request;
use crate::Client;

const AUTHORITY: &[u8] = include_bytes!("tls/authority.pem");
const SERVER: &[u8] = include_bytes!("tls/server.pem");
const KEY: &[u8] = include_bytes!("tls/server.key");

/// A server that answers each connection with what it was asked for first; its port.
fn server() -> u16 {
    let chain = CertificateDer::pem_slice_iter(SERVER).collect::<Result<Vec<_>, _>>().unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(KEY).unwrap())
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = Stream::new(&mut connection, &mut stream);
            let mut head = [0; 4096];
            // Who does not trust the certificate hangs up.
            if let Ok(size) = stream.read(&mut head) {
                let line = head[..size].split(|byte| *byte == b'\r').next().unwrap();
                let length = line.len();
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").unwrap();
                stream.write_all(line).unwrap();
            }
        }
    });
    port
}

async fn ask(host: &str, port: u16, authorities: Option<&[u8]>) -> Result<String, HttpError> {
    let networks = ["127.0.0.0/8".parse::<Network>().unwrap()].into_iter().collect();
    let client = Client::new(networks, authorities).unwrap();
    // Every name is this machine's.
    let here = |_: &str, port| Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]);
    let client = Client { connector: client.connector.looking_up(here) };
    let request = request(&format!("https://{host}:{port}/rates")).unwrap();
    let answer = client.send(request).await?;
    Ok(String::from_utf8(answer.body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_server_is_trusted_by_its_name_and_its_authority() {
    let port = server();
    let answer = ask("safe.example", port, Some(AUTHORITY)).await;
    assert_eq!(answer.as_deref(), Ok("GET /rates HTTP/1.1"));
    let insecure = |answer| matches!(answer, Err(HttpError::Insecure(_)));
    assert!(insecure(ask("safe.example", port, None).await), "an authority that nobody knows");
    assert!(insecure(ask("other.example", port, Some(AUTHORITY)).await), "somebody else's name");
}
