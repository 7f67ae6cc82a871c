//! Signatures of uploads: `Lovage-Signature: ed25519 <public key> <signature>`, both in hexadecimal.
//!
//! What is signed is the digest of the bytes, behind a fixed text so that the signature of anything
//! else can never be taken for one of a module.

use axum::http::HeaderMap;
use ed25519_dalek::{Signature, VerifyingKey};
use lovage_core::{Digest, SignaturePolicy, Tenant};
use tracing::warn;

use crate::problem::{Code, Problem};

/// Where the signature is.
pub(super) const HEADER: &str = "lovage-signature";

/// What stands before the digest in what is signed.
const PURPOSE: &str = "lovage:module:v1:";

/// The key that signed an upload, as far as the tenant wants to know.
pub(super) fn check(
    tenant: &Tenant,
    headers: &HeaderMap,
    digest: &Digest,
) -> Result<Option<String>, Problem> {
    if tenant.signatures == SignaturePolicy::Off {
        return Ok(None);
    }
    let checked = match headers.get(HEADER) {
        None => Err(Problem::new(Code::SignatureMissing, format!("send `{HEADER}`"))),
        Some(header) => verify(tenant, header.to_str().unwrap_or_default(), digest),
    };
    match (checked, tenant.signatures) {
        (Ok(key), _) => Ok(Some(key)),
        (Err(problem), SignaturePolicy::Warn) => {
            let (tenant, code) = (tenant.id.as_str(), problem.code.as_str());
            warn!(tenant, code, digest = digest.short(), "Took an upload without a good signature");
            Ok(None)
        }
        (Err(problem), _) => Err(problem),
    }
}

fn verify(tenant: &Tenant, header: &str, digest: &Digest) -> Result<String, Problem> {
    let refused = |why: &str| Problem::new(Code::SignatureInvalid, why);
    let words: Vec<&str> = header.split_whitespace().collect();
    let ["ed25519", key, signature] = *words else {
        return Err(refused("it is `ed25519 <public key> <signature>`, both in hexadecimal"));
    };
    let key = key.to_ascii_lowercase();
    if !tenant.signing_keys.contains(&key) {
        return Err(refused("the key is none of the tenant's"));
    }
    let bytes: Option<[u8; 32]> = hex::decode(&key).ok().and_then(|bytes| bytes.try_into().ok());
    let public = bytes.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
    let signature = hex::decode(signature).ok().and_then(|it| Signature::from_slice(&it).ok());
    let (Some(public), Some(signature)) = (public, signature) else {
        return Err(refused("the key or the signature is malformed"));
    };
    let message = format!("{PURPOSE}{digest}");
    let fits = public.verify_strict(message.as_bytes(), &signature);
    fits.map(|()| key).map_err(|_| refused("it is of other bytes, or by another key"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;
    use ed25519_dalek::{Signer as _, SigningKey};
    use lovage_core::{Digest, SignaturePolicy, Tenant};

    use super::{HEADER, PURPOSE, check};

    #[test]
    fn an_upload_is_taken_with_a_signature_by_a_key_of_the_tenant() {
        let (own, foreign) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let public = |key: &SigningKey| hex::encode(key.verifying_key().as_bytes());
        let digest = Digest::from_bytes([3; 32]);
        let signed = |key: &SigningKey, digest: &Digest| {
            let signature = key.sign(format!("{PURPOSE}{digest}").as_bytes());
            let text = format!("ed25519 {} {}", public(key), hex::encode(signature.to_bytes()));
            HeaderMap::from_iter([(HEADER.parse().unwrap(), text.parse().unwrap())])
        };
        let mut tenant = Tenant::new("acme".parse().unwrap());
        tenant.signing_keys = vec![public(&own)];
        assert_eq!(check(&tenant, &HeaderMap::new(), &digest).unwrap(), None);
        tenant.signatures = SignaturePolicy::Require;
        let code =
            |headers: &HeaderMap| check(&tenant, headers, &digest).map_err(|it| it.code.as_str());
        assert_eq!(code(&signed(&own, &digest)), Ok(Some(public(&own))));
        assert_eq!(code(&HeaderMap::new()), Err("signature-missing"));
        assert_eq!(code(&signed(&foreign, &digest)), Err("signature-invalid"));
        let other = Digest::from_bytes([4; 32]);
        assert_eq!(code(&signed(&own, &other)), Err("signature-invalid"));
        tenant.signatures = SignaturePolicy::Warn;
        assert_eq!(check(&tenant, &signed(&foreign, &digest), &digest).unwrap(), None);
    }
}
