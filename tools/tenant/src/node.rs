//! What an operator's tool checks of a machine before it trusts it with half a key.

use evidence::{
    algorithm::{Digest as PcrDigest, HashAlgorithm},
    keylime::KeylimeQuote,
    pcr::{PcrBank, PcrIndex, PcrSelection},
    public::{Ak, Public},
    quote::Expected,
};
use ledger_protocol::body::Binding;
use messages::{
    AgentId, Digest,
    keylime::{IdentityQuote, RegisteredAgent},
};

use crate::failure::Failure;

/// The register that holds the hash of the agent's payload key.
const PAYLOAD_KEY_PCR: u8 = 16;

/// The machine's AK and the name of the record that binds it.
pub(crate) struct BoundNode {
    pub(crate) ak: Ak,
    pub(crate) binding: Digest,
}

/// Checks that the registrar's answer and the record in the ledger are about the same keys.
///
/// In order: the blob has the name the registrar gave (the ledger's client checks the hash of
/// what it fetches, this checks it again); it is a binding of this agent; its EK and AK are
/// those the registrar shows.
pub(crate) fn bind(
    agent: &AgentId,
    registered: &RegisteredAgent,
    name: Digest,
    blob: &[u8],
) -> Result<BoundNode, Failure> {
    let differs = |what: &str| {
        Failure::new(format!("the registrar's answer and the ledger's record of {agent} differ in {what}"))
            .remedy("do not provision this machine; compare both with the machine itself")
    };
    if Digest(openssl::sha::sha256(blob)) != name {
        return Err(differs("the record's hash"));
    }
    let binding = Binding::decode(blob)
        .map_err(|error| Failure::system(format_args!("read the binding record of {agent}"), error))?;
    if binding.agent != *agent {
        return Err(differs("the agent's id"));
    }
    if decode("ek_tpm", &registered.ek_tpm)? != binding.ek.as_slice() {
        return Err(differs("the EK"));
    }
    if decode("aik_tpm", &registered.aik_tpm)? != binding.ak.as_slice() {
        return Err(differs("the AK"));
    }
    let public = Public::from_tpm2b(&binding.ak)
        .map_err(|error| Failure::system(format_args!("read the AK of {agent}"), error))?;
    let ak = Ak::new(public).map_err(|error| Failure::system(format_args!("use the AK of {agent}"), error))?;
    Ok(BoundNode { ak, binding: name })
}

/// Checks an identity quote: fresh, signed by the bound AK, and PCR 16 names the payload key
/// that U is going to be encrypted to.
pub(crate) fn check_identity(node: &BoundNode, answer: &IdentityQuote, nonce: &str) -> Result<(), Failure> {
    let untrusted = |what: &str| {
        Failure::new(format!("the machine's identity quote {what}"))
            .remedy("another machine may be answering at this address; nothing was sent to it")
    };
    let quote = KeylimeQuote::parse(&answer.quote).map_err(|error| untrusted("cannot be read").because(error))?;
    let algorithm: HashAlgorithm =
        answer.hash_alg.parse().map_err(|error| untrusted("names an unknown hash").because(error))?;
    let index = PcrIndex::try_from(PAYLOAD_KEY_PCR).map_err(|error| untrusted("has no PCR 16").because(error))?;
    let selection = PcrSelection::from_indices(PcrBank(algorithm), [index]);
    let parsed = quote.quote().map_err(|error| untrusted("cannot be read").because(error))?;
    let expected = Expected { nonce: nonce.as_bytes(), selection: &selection, values: &quote.values };
    let authentic = parsed.verify(&node.ak, &expected).map_err(|error| untrusted("is not believed").because(error))?;
    let named = extended_once(algorithm, answer.pubkey.as_bytes())
        .map_err(|error| untrusted("cannot be compared").because(error))?;
    if authentic.values().get(index) != Some(&named) {
        return Err(untrusted("does not name the payload key that was sent with it (PCR 16)"));
    }
    Ok(())
}

/// The value of a register that was reset and extended once with the hash of `data`.
fn extended_once(algorithm: HashAlgorithm, data: &[u8]) -> Result<PcrDigest, evidence::crypto::CryptoUnavailable> {
    let measured = algorithm.digest(data)?;
    let zeros = PcrDigest::zero(algorithm);
    algorithm.digest(&[zeros.as_bytes(), measured.as_bytes()].concat())
}

fn decode(field: &str, text: &str) -> Result<Vec<u8>, Failure> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.decode(text).map_err(|error| Failure::system(format_args!("decode the registrar's {field}"), error))
}
