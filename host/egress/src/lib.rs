//! The way to other machines: sends what guests want sent.
//!
//! A [`Client`] resolves a name once, keeps of its addresses those that guests may reach, connects to
//! one of them, and sends one HTTP/1.1 request over that connection, which nothing else uses: two
//! tasks never share one. Both ends of the exchange are taken for hostile, so everything about it is
//! bounded: times, headers, bodies.
//!
//! Deliberately absent: redirects, cookies, proxies from the environment, decompression, and whether
//! a task may send to that host at all, which was decided before.

mod connect;
mod exchange;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use lovage_core::http::{HttpError, HttpRequest, HttpResponse, Networks};
use lovage_core::ports::Egress;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use connect::Connector;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The certificates that it was to trust are none.
    #[error("there is no certificate in what is to be trusted")]
    NoCertificate,
    /// One of them cannot be read.
    #[error("a certificate that is to be trusted is malformed")]
    Certificate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// TLS cannot be had.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// Sends requests; see the crate's page.
pub struct Client {
    connector: Connector,
}

impl Client {
    /// A client that reaches the public, and these networks. It trusts the authorities that browsers
    /// trust, and those whose certificates are in `authorities`, a PEM text.
    ///
    /// # Errors
    /// When that text holds no certificates.
    pub fn new(networks: Networks, authorities: Option<&[u8]>) -> Result<Self, ClientError> {
        let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        if let Some(pem) = authorities {
            let known = roots.len();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| malformed(error.to_string()))?;
                roots.add(certificate).map_err(|error| malformed(error.to_string()))?;
            }
            if roots.len() == known {
                return Err(ClientError::NoCertificate);
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(ClientError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { connector: Connector::new(networks, Arc::new(tls)) })
    }
}

fn malformed(error: String) -> ClientError {
    ClientError::Certificate(error.into())
}

#[async_trait]
impl Egress for Client {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let limits = request.limits;
        let exchange = async {
            let connecting = self.connector.connect(&request.destination, limits.connect);
            let connection = tokio::time::timeout(limits.connect, connecting).await;
            let connection = connection.map_err(|_| HttpError::ConnectTimeout)??;
            exchange::exchange(connection, request).await
        };
        tokio::time::timeout(limits.total, exchange).await.map_err(|_| HttpError::Timeout)?
    }
}
