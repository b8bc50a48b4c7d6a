//! An EK certificate.

use evidence::ek_certificate::EkCertificate;
use serde_json::{Value, json};

use crate::failure::Failure;

pub(super) fn inspect(bytes: &[u8]) -> Result<Value, Failure> {
    let certificate = EkCertificate::parse(bytes).map_err(|error| {
        Failure::system("read this as an EK certificate", error)
            .remedy("expected PEM, DER, or the bytes of a TPM's NV index")
    })?;
    let key = certificate.public_key();
    let irregularities: Vec<String> =
        certificate.irregularities().iter().map(|irregularity| format!("{irregularity:?}")).collect();
    Ok(json!({
        "subject": certificate.subject(),
        "issuer": certificate.issuer(),
        "serial": certificate.serial(),
        "not_before": seconds(certificate.not_before()),
        "not_after": seconds(certificate.not_after()),
        "key": format!("{} {} bits", if key.rsa().is_ok() { "RSA" } else { "EC" }, key.bits()),
        "sha256": hex::encode(openssl::sha::sha256(certificate.der())),
        "irregularities": irregularities,
        "der_bytes": certificate.der().len(),
    }))
}

fn seconds(since_1970: i64) -> Value {
    chrono::DateTime::from_timestamp(since_1970, 0).map_or_else(
        || Value::from(since_1970),
        |time| Value::from(time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)),
    )
}
