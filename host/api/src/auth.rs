//! Who asks: a token, and through it one tenant and some scopes.
//!
//! A token is `lvg_<id>_<secret>`. Only the SHA-256 of the secret is stored, so that a stolen store
//! opens nothing; it is compared in constant time, and whatever is wrong with a token is answered
//! alike. It is looked up for each request, so a revoked one ends at once.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use lovage_core::{AuditEntry, Digest, Scope, Tenant, TenantId, Timestamp, Token};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::api::Api;
use crate::problem::{Code, Problem};

/// What every token begins with, so that one that leaks is recognised.
const PREFIX: &str = "lvg_";

/// Bytes of the longest header that may be a token.
const TOKEN_BYTES_MAX: usize = 256;

/// Whoever makes a request.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) tenant: Arc<Tenant>,
    token: Token,
}

impl Caller {
    /// Goes on only if the token may do this.
    pub(crate) fn needs(&self, scope: Scope) -> Result<(), Problem> {
        if self.token.may(scope) {
            return Ok(());
        }
        Err(Problem::new(Code::ScopeMissing, format!("it needs the scope {scope}"))
            .with("scope", scope.as_str().into()))
    }

    pub(crate) fn id(&self) -> &str {
        &self.token.id
    }

    /// What the caller did to something of its own tenant, for the audit log.
    pub(crate) fn did(&self, action: &str, subject: &str, at: Timestamp) -> AuditEntry {
        self.did_to(self.tenant.id.clone(), action, subject, at)
    }

    /// What the caller did to something of a tenant.
    pub(crate) fn did_to(
        &self,
        tenant: TenantId,
        action: &str,
        subject: &str,
        at: Timestamp,
    ) -> AuditEntry {
        AuditEntry {
            at,
            actor: format!("token {}", self.token.id),
            tenant,
            action: action.into(),
            subject: subject.into(),
            detail: String::new(),
        }
    }
}

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (id, secret) = header.and_then(bearer).ok_or_else(refused)?;
        let stored = api.ports.records.token(id).await?;
        let now = api.ports.clock.now();
        let token = check(stored, secret, now).ok_or_else(refused)?;
        let tenant = api.ports.tenants.now().get(&token.tenant).cloned().ok_or_else(refused)?;
        api.rates.request(&token.id, now)?;
        Ok(Self { tenant, token })
    }
}

/// The stored token, if this is its secret and it is good now. An unknown id costs the same hash and
/// the same comparison.
fn check(stored: Option<Token>, secret: &str, now: Timestamp) -> Option<Token> {
    let is = secret_hash(secret);
    let should = stored.as_ref().map_or(Digest::from_bytes([0; 32]), |token| token.secret_hash);
    let fits = bool::from(is.as_bytes().ct_eq(should.as_bytes()));
    stored.filter(|token| fits && token.is_good(now))
}

fn bearer(header: &str) -> Option<(&str, &str)> {
    let text = header.strip_prefix("Bearer ").filter(|text| text.len() <= TOKEN_BYTES_MAX)?;
    text.strip_prefix(PREFIX)?.split_once('_')
}

fn refused() -> Problem {
    Problem::new(Code::TokenInvalid, "send `Authorization: Bearer lvg_…` with a token that is good")
}

fn secret_hash(secret: &str) -> Digest {
    Digest::from_bytes(Sha256::digest(secret).into())
}

/// A new token: what its owner is told once, its id, and what is stored of its secret.
///
/// # Errors
/// When this machine has no randomness.
pub(crate) fn new_token() -> Result<(String, String, Digest), Problem> {
    let (mut id, mut secret) = ([0; 8], [0; 32]);
    for part in [&mut id[..], &mut secret[..]] {
        rustix::rand::getrandom(part, rustix::rand::GetRandomFlags::empty())
            .map_err(|_| Problem::new(Code::Internal, "this machine has no randomness"))?;
    }
    let (id, secret) = (hex::encode(id), hex::encode(secret));
    Ok((format!("{PREFIX}{id}_{secret}"), id, secret_hash(&secret)))
}

#[cfg(test)]
mod tests {
    use lovage_core::{Scope, TenantId, Timestamp, Token};

    use super::{bearer, check, new_token};

    #[test]
    fn a_token_is_good_with_its_secret_and_until_it_ends() {
        let (text, id, secret_hash) = new_token().unwrap();
        let header = format!("Bearer {text}");
        let (read, secret) = bearer(&header).unwrap();
        assert_eq!(read, id);
        let token = Token {
            id,
            tenant: TenantId::default(),
            scopes: vec![Scope::TasksRead],
            secret_hash,
            label: String::new(),
            created_at: Timestamp::from_micros(0),
            expires_at: Timestamp::from_micros(10),
            revoked_at: None,
        };
        let good = |token: &Token, secret: &str, now| {
            check(Some(token.clone()), secret, Timestamp::from_micros(now)).is_some()
        };
        assert!(good(&token, secret, 9));
        assert!(!good(&token, secret, 10));
        assert!(!good(&token, &secret_hash.to_string(), 9), "what is stored opens nothing");
        let revoked = Token { revoked_at: Some(Timestamp::from_micros(1)), ..token };
        assert!(!good(&revoked, secret, 9));
        assert!(check(None, secret, Timestamp::from_micros(0)).is_none());
        for header in ["", "Bearer", "Bearer x", "bearer lvg_a_b", "Basic lvg_a_b", "Bearer lvg_a"]
        {
            assert!(bearer(header).is_none(), "{header}");
        }
    }
}
