//! X.509 certificates: what goes into them.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKeyRef, Private};
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName, SubjectKeyIdentifier,
};
use openssl::x509::{X509, X509Builder, X509Name, X509NameRef, X509Ref};

use super::{Leaf, Usage};
use crate::router::Role;
use crate::tls::Identity;

/// An authority's own certificate, signed by itself.
pub(super) fn authority(key: &PKeyRef<Private>, common_name: &str) -> Result<X509, ErrorStack> {
    let name = subject(common_name, None)?;
    let mut builder = begin(key, &name, &name, AUTHORITY_DAYS)?;
    builder.append_extension(BasicConstraints::new().critical().ca().pathlen(0).build()?)?;
    builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
    let identifier = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None))?;
    builder.append_extension(identifier)?;
    builder.sign(key, MessageDigest::sha256())?;
    Ok(builder.build())
}

/// A server's or client's certificate, signed by `authority`.
pub(super) fn leaf(authority: &Identity, key: &PKeyRef<Private>, leaf: &Leaf) -> Result<X509, ErrorStack> {
    let name = subject(&leaf.common_name, role_ou(leaf.usage))?;
    let issuer = authority.certificate();
    let mut builder = begin(key, &name, issuer.subject_name(), LEAF_DAYS)?;
    append_leaf_extensions(&mut builder, key, leaf, Some(issuer))?;
    builder.sign(authority.key(), MessageDigest::sha256())?;
    Ok(builder.build())
}

/// A certificate that vouches for itself alone.
pub(super) fn self_signed(key: &PKeyRef<Private>, leaf: &Leaf) -> Result<X509, ErrorStack> {
    let name = subject(&leaf.common_name, None)?;
    let mut builder = begin(key, &name, &name, LEAF_DAYS)?;
    append_leaf_extensions(&mut builder, key, leaf, None)?;
    builder.sign(key, MessageDigest::sha256())?;
    Ok(builder.build())
}

/// Whether `certificate` names exactly the subject, hosts and addresses of `leaf`.
pub(super) fn names(certificate: &X509Ref, leaf: &Leaf) -> bool {
    let alternatives = certificate.subject_alt_names();
    let (mut dns, mut addresses) = (Vec::new(), Vec::new());
    for name in alternatives.iter().flatten() {
        dns.extend(name.dnsname().map(str::to_owned));
        addresses.extend(name.ipaddress().and_then(address));
    }
    sole_entry(certificate, Nid::COMMONNAME).as_deref() == Some(leaf.common_name.as_str())
        && sole_entry(certificate, Nid::ORGANIZATIONALUNITNAME).as_deref() == role_ou(leaf.usage)
        && dns == leaf.dns_names
        && addresses == leaf.addresses
}

fn sole_entry(certificate: &X509Ref, nid: Nid) -> Option<String> {
    let mut entries = certificate.subject_name().entries_by_nid(nid);
    let entry = entries.next()?.data().to_string().ok()?;
    entries.next().is_none().then_some(entry)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

const fn role_ou(usage: Usage) -> Option<&'static str> {
    match usage {
        Usage::Client(role) => role.ou(),
        Usage::Server => None,
    }
}

fn subject(common_name: &str, ou: Option<&str>) -> Result<X509Name, ErrorStack> {
    let mut name = X509Name::builder()?;
    name.append_entry_by_nid(Nid::COMMONNAME, common_name)?;
    if let Some(ou) = ou {
        name.append_entry_by_nid(Nid::ORGANIZATIONALUNITNAME, ou)?;
    }
    Ok(name.build())
}

fn begin(
    key: &PKeyRef<Private>,
    subject: &X509NameRef,
    issuer: &X509NameRef,
    days: u32,
) -> Result<X509Builder, ErrorStack> {
    let mut builder = X509::builder()?;
    builder.set_version(/* X.509 v3 */ 2)?;
    let serial = serial()?;
    builder.set_serial_number(&serial)?;
    builder.set_subject_name(subject)?;
    builder.set_issuer_name(issuer)?;
    builder.set_pubkey(key)?;
    builder.set_not_before(&*back_dated()?)?;
    builder.set_not_after(&*Asn1Time::days_from_now(days)?)?;
    Ok(builder)
}

/// The start of a certificate's life: a little ago, for peers whose clock is behind ours.
fn back_dated() -> Result<Asn1Time, ErrorStack> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let start = now.saturating_sub(BACK_DATED);
    Asn1Time::from_unix(i64::try_from(start.as_secs()).unwrap_or_default())
}

/// 64 random bits, so that nobody can tell a certificate's bytes before it is signed.
fn serial() -> Result<Asn1Integer, ErrorStack> {
    let mut serial = BigNum::new()?;
    serial.rand(64, MsbOption::MAYBE_ZERO, /* odd */ false)?;
    serial.to_asn1_integer()
}

fn append_leaf_extensions(
    builder: &mut X509Builder,
    key: &PKeyRef<Private>,
    leaf: &Leaf,
    issuer: Option<&X509Ref>,
) -> Result<(), ErrorStack> {
    builder.append_extension(BasicConstraints::new().critical().build()?)?;
    let mut key_usage = KeyUsage::new();
    key_usage.critical().digital_signature();
    if key.id() == Id::RSA {
        // TLS 1.2 peers without ephemeral key exchange look for it.
        key_usage.key_encipherment();
    }
    builder.append_extension(key_usage.build()?)?;
    let mut extended = ExtendedKeyUsage::new();
    match leaf.usage {
        Usage::Client(Role::Admin | Role::Auditor | Role::Service) => extended.client_auth(),
        Usage::Server => extended.server_auth(),
    };
    builder.append_extension(extended.build()?)?;
    let mut alternatives = SubjectAlternativeName::new();
    for name in &leaf.dns_names {
        alternatives.dns(name);
    }
    for address in &leaf.addresses {
        alternatives.ip(&address.to_string());
    }
    let context = builder.x509v3_context(issuer, None);
    let alternatives = alternatives.build(&context)?;
    let own = SubjectKeyIdentifier::new().build(&context)?;
    let authority = issuer.map(|_| AuthorityKeyIdentifier::new().keyid(true).build(&context)).transpose()?;
    builder.append_extension(alternatives)?;
    builder.append_extension(own)?;
    if let Some(authority) = authority {
        builder.append_extension(authority)?;
    }
    Ok(())
}

/// How far a peer's clock may be behind: an hour covers a machine that has just booted and mistakes
/// local time for UTC by one zone, or has not met its time server yet.
const BACK_DATED: Duration = Duration::from_secs(60 * 60);

/// Ten years, as Keylime's authority has.
const AUTHORITY_DAYS: u32 = 3650;

/// One year, as Keylime's certificates have.
const LEAF_DAYS: u32 = 365;
