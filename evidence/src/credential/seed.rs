//! Sharing a seed with a TPM through its EK, and deriving keys from it.

use openssl::bn::{BigNum, BigNumContext};
use openssl::derive::Deriver;
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::error::ErrorStack;
use openssl::hash::{Hasher, MessageDigest};
use openssl::pkey::{PKey, PKeyRef, Private, Public};
use openssl::rsa::Padding;
use openssl::sign::Signer;
use zeroize::{Zeroize, Zeroizing};

use super::{CredentialRandomness, sized};
use crate::algorithm::HashAlgorithm;
use crate::crypto::{CryptoUnavailable, unavailable};
use crate::public::{EccCurve, Ek};

/// A seed, and the bytes the TPM recovers it from.
type SharedSeed = (Zeroizing<Vec<u8>>, Vec<u8>);

/// RSA: the seed is random and encrypted with OAEP, the EK's name hash in both places, label "IDENTITY" and a zero byte.
pub(super) fn share_rsa(ek: &Ek, randomness: &CredentialRandomness) -> Result<SharedSeed, CryptoUnavailable> {
    let hash = ek.public().name_algorithm();
    let (seed, rest) = randomness.split_at(hash.digest_bytes());
    let (oaep_seed, _) = rest.split_at(hash.digest_bytes());
    let encrypted = encrypt_oaep(ek.key(), hash.message_digest(), seed, oaep_seed);
    Ok((Zeroizing::new(seed.to_vec()), encrypted.map_err(unavailable("encrypt a seed with RSA-OAEP"))?))
}

pub(super) fn encrypt_oaep(
    key: &PKeyRef<Public>,
    md: MessageDigest,
    message: &[u8],
    oaep_seed: &[u8],
) -> Result<Vec<u8>, ErrorStack> {
    let rsa = key.rsa()?;
    let modulus_bytes = rsa.size() as usize;
    let padded = oaep(md, modulus_bytes, message, oaep_seed)?;
    let mut encrypted = vec![0; modulus_bytes];
    rsa.public_encrypt(&padded, &mut encrypted, Padding::NONE)?;
    Ok(encrypted)
}

/// EME-OAEP (RFC 8017 §7.1.1) with the seed given, which openssl's own padding does not allow.
///
/// The modulus has at least 256 bytes, two digests at most 128, so the message always fits.
fn oaep(
    md: MessageDigest,
    modulus_bytes: usize,
    message: &[u8],
    oaep_seed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, ErrorStack> {
    let label_hash = openssl::hash::hash(md, IDENTITY_LABEL)?;
    let zeros = modulus_bytes.saturating_sub(message.len() + 2 * md.size() + 2);
    let mut block = Zeroizing::new(Vec::with_capacity(modulus_bytes));
    block.extend_from_slice(&label_hash);
    block.resize(label_hash.len() + zeros, 0);
    block.push(1);
    block.extend_from_slice(message);
    xor(&mut block, &mgf1(md, oaep_seed, modulus_bytes.saturating_sub(md.size() + 1))?);
    let mut masked_seed = Zeroizing::new(oaep_seed.to_vec());
    xor(&mut masked_seed, &mgf1(md, &block, md.size())?);
    Ok(Zeroizing::new([&[0], masked_seed.as_slice(), block.as_slice()].concat()))
}

/// RFC 8017 §B.2.1.
fn mgf1(md: MessageDigest, seed: &[u8], length: usize) -> Result<Zeroizing<Vec<u8>>, ErrorStack> {
    let mut mask = Zeroizing::new(Vec::with_capacity(length + md.size()));
    let mut counter = 0_u32;
    while mask.len() < length {
        let mut hasher = Hasher::new(md)?;
        hasher.update(seed)?;
        hasher.update(&counter.to_be_bytes())?;
        mask.extend_from_slice(&hasher.finish()?);
        counter += 1;
    }
    mask.truncate(length);
    Ok(mask)
}

fn xor(into: &mut [u8], with: &[u8]) {
    for (to, from) in into.iter_mut().zip(with) {
        *to ^= from;
    }
}

/// ECC: one-pass ECDH with an ephemeral key, the seed is KDFe over the shared x coordinate.
pub(super) fn share_ecc(
    ek: &Ek,
    curve: EccCurve,
    randomness: &CredentialRandomness,
) -> Result<SharedSeed, CryptoUnavailable> {
    let hash = ek.public().name_algorithm();
    let work = || {
        let group = EcGroup::from_curve_name(curve.nid())?;
        let ephemeral = ephemeral_key(&group, curve, randomness)?;
        let (x, y) = coordinates(&group, ephemeral.public_key(), curve)?;
        let (ek_x, _) = coordinates(&group, ek.key().ec_key()?.public_key(), curve)?;
        let ephemeral = PKey::from_ec_key(ephemeral)?;
        let mut deriver = Deriver::new(&ephemeral)?;
        deriver.set_peer(ek.key())?;
        let shared_x = Zeroizing::new(deriver.derive_to_vec()?);
        let seed = kdfe(hash, &shared_x, &x, &ek_x)?;
        Ok((seed, [sized(&x), sized(&y)].concat()))
    };
    work().map_err(unavailable("share a seed by ECDH"))
}

/// A private key in 1..n from 64 bits more than the order has, so that the reduction leaves no bias worth the name.
///
/// Source: FIPS 186-5, A.2.1.
fn ephemeral_key(
    group: &EcGroup,
    curve: EccCurve,
    randomness: &CredentialRandomness,
) -> Result<EcKey<Private>, ErrorStack> {
    let (bytes, _) = randomness.split_at(curve.coordinate_bytes() + 8);
    let mut context = BigNumContext::new_secure()?;
    let mut order = BigNum::new()?;
    group.order(&mut order, &mut context)?;
    order.sub_word(1)?;
    let wide = BigNum::from_slice(bytes)?;
    let mut private = BigNum::new_secure()?;
    private.nnmod(&wide, &order, &mut context)?;
    private.add_word(1)?;
    let mut public = EcPoint::new(group)?;
    public.mul_generator2(group, &private, &mut context)?;
    let key = EcKey::from_private_components(group, &private, &public);
    // openssl clears a number on request only.
    let mut wide = wide;
    wide.clear();
    private.clear();
    key
}

fn coordinates(
    group: &EcGroup,
    point: &openssl::ec::EcPointRef,
    curve: EccCurve,
) -> Result<(Vec<u8>, Vec<u8>), ErrorStack> {
    let (mut x, mut y, mut context) = (BigNum::new()?, BigNum::new()?, BigNumContext::new()?);
    point.affine_coordinates(group, &mut x, &mut y, &mut context)?;
    let size = i32::try_from(curve.coordinate_bytes()).unwrap_or(i32::MAX);
    Ok((x.to_vec_padded(size)?, y.to_vec_padded(size)?))
}

/// KDFe (SP 800-56A §5.8.1) for one digest's worth: H(counter, Z, label, party U's x, party V's x).
fn kdfe(hash: HashAlgorithm, z: &[u8], u: &[u8], v: &[u8]) -> Result<Zeroizing<Vec<u8>>, ErrorStack> {
    let mut hasher = Hasher::new(hash.message_digest())?;
    hasher.update(&1_u32.to_be_bytes())?;
    for part in [z, IDENTITY_LABEL, u, v] {
        hasher.update(part)?;
    }
    Ok(Zeroizing::new(hasher.finish()?.to_vec()))
}

/// KDFa (SP 800-108 in counter mode): HMAC(key, counter, label, 0, context, bits).
pub(super) fn kdfa(
    hash: HashAlgorithm,
    key: &[u8],
    label: &str,
    context: &[u8],
    length: usize,
) -> Result<Zeroizing<Vec<u8>>, CryptoUnavailable> {
    // Lengths here are at most 64 bytes.
    let bits = u32::try_from(length * 8).unwrap_or(u32::MAX).to_be_bytes();
    let mut out = Zeroizing::new(Vec::with_capacity(length + hash.digest_bytes()));
    let mut counter = 0_u32;
    while out.len() < length {
        counter += 1;
        let mut block = hmac(hash, key, &[&counter.to_be_bytes(), label.as_bytes(), &[0], context, &bits])?;
        out.extend_from_slice(&block);
        block.zeroize();
    }
    out.truncate(length);
    Ok(out)
}

pub(super) fn hmac(hash: HashAlgorithm, key: &[u8], parts: &[&[u8]]) -> Result<Vec<u8>, CryptoUnavailable> {
    let work = || {
        let key = PKey::hmac(key)?;
        let mut signer = Signer::new(hash.message_digest(), &key)?;
        parts.iter().try_for_each(|part| signer.update(part))?;
        signer.sign_to_vec()
    };
    work().map_err(unavailable("compute an HMAC"))
}

/// The label of OAEP and KDFe, with the zero byte that ends it.
const IDENTITY_LABEL: &[u8] = b"IDENTITY\0";
