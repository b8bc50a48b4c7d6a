//! Asks an authority, and gathers what its token can be verified with later.

use http::{Method, StatusCode};
use ledger_timestamp::{
    Authorities, MalformedResponse, TimestampRefused, TimestampRequest, TimestampResponse, Token, TokenRejected,
    VerifiedToken, crl_addresses,
};
use openssl::error::ErrorStack;
use openssl::x509::{X509, X509Crl};
use transport::client::{Answer, Client, ClientError, Outgoing};

use crate::engine::chain;
use crate::entropy;
use crate::stamps::Stamp;

/// A stamp that is believed.
#[derive(Debug)]
pub(super) struct Stamped {
    pub(super) stamp: Stamp,
    pub(super) token: Token,
    pub(super) verified: VerifiedToken,
}

/// Why an authority's answer is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum StampFailed {
    #[error("the authority did not answer")]
    Client(#[source] ClientError),
    #[error("the authority's certificates cannot be kept")]
    Chain(#[source] ErrorStack),
    #[error("the authority's answer is malformed")]
    Malformed(#[source] MalformedResponse),
    #[error("no random number for a request")]
    Nonce(#[source] ErrorStack),
    #[error("the authority refused")]
    Refused(#[source] TimestampRefused),
    #[error("the authority's token is not believed")]
    Rejected(#[source] TokenRejected),
    #[error("the authority answered {status}, expected 200")]
    Status { status: StatusCode },
}

/// Has `note` stamped. The answer must be a token of a trusted authority over exactly these bytes
/// and in answer to exactly this request; revocation lists that can be had are gathered and heeded.
pub(super) async fn ask(
    client: &Client,
    url: &str,
    note: &[u8],
    trusted: &Authorities,
) -> Result<Stamped, StampFailed> {
    let nonce = entropy::timestamp_nonce().map_err(StampFailed::Nonce)?;
    let request = TimestampRequest::new(&openssl::sha::sha256(note), nonce);
    let mut outgoing = Outgoing::new(Method::POST, url).with_body(TimestampRequest::MEDIA_TYPE, request.to_der());
    outgoing.answer_bytes_max = TimestampResponse::BYTES_MAX;
    let Answer { status, body, .. } = client.request(outgoing).await.map_err(StampFailed::Client)?;
    if status != StatusCode::OK {
        return Err(StampFailed::Status { status });
    }
    let response = TimestampResponse::parse(&body).map_err(StampFailed::Malformed)?;
    let token = response.into_token().map_err(StampFailed::Refused)?;
    let verify = |authorities: &Authorities| token.verify(note, request.nonce(), authorities);
    let verified = verify(trusted).map_err(StampFailed::Rejected)?;
    let lists = revocation_lists(client, &verified.chain).await;
    let mut authorities = trusted.clone();
    for list in &lists {
        // Only lists that could be read were gathered.
        let _ = authorities.add_revocation_list(list);
    }
    let verified = verify(&authorities).map_err(StampFailed::Rejected)?;
    let chain = pem(&verified.chain).map_err(StampFailed::Chain)?;
    let stamp = Stamp { chain, lists, request: request.to_der(), response: token.to_response() };
    Ok(Stamped { stamp, token, verified })
}

/// The lists that the certificates below the root name, in DER. What cannot be had is not there:
/// the stamp says so (its revocation is unknown) and is better than none.
async fn revocation_lists(client: &Client, chain: &[X509]) -> Vec<Vec<u8>> {
    let mut addresses: Vec<String> = chain.iter().flat_map(|certificate| crl_addresses(certificate)).collect();
    addresses.sort();
    addresses.dedup();
    addresses.truncate(LISTS_MAX);
    let mut lists = Vec::new();
    for address in addresses {
        match revocation_list(client, &address).await {
            Ok(list) => lists.push(list),
            Err(reason) => tracing::warn!(address, reason, "a revocation list was not had"),
        }
    }
    lists
}

async fn revocation_list(client: &Client, address: &str) -> Result<Vec<u8>, String> {
    let mut outgoing = Outgoing::new(Method::GET, address);
    outgoing.answer_bytes_max = LIST_BYTES_MAX;
    let answer = client.request(outgoing).await.map_err(|error| chain(&error))?;
    if answer.status != StatusCode::OK {
        return Err(format!("the server answered {}, expected 200", answer.status));
    }
    let list = X509Crl::from_der(&answer.body).or_else(|_| X509Crl::from_pem(&answer.body));
    list.and_then(|list| list.to_der()).map_err(|error| chain(&error))
}

fn pem(certificates: &[X509]) -> Result<String, ErrorStack> {
    let mut pem = String::new();
    for certificate in certificates {
        pem.push_str(&String::from_utf8_lossy(&certificate.to_pem()?));
    }
    Ok(pem)
}

/// Lists that are fetched for one stamp: more than any chain has issuers.
const LISTS_MAX: usize = 8;

/// Bytes of a list: authorities that stamp revoke little, their issuers' lists stay below 1 MiB.
const LIST_BYTES_MAX: usize = 8 << 20;
