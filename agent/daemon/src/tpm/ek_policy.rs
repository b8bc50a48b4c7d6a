//! The session that satisfies an EK's policy, so that it may activate a credential or load a child.

use tss_esapi::Context;
use tss_esapi::constants::SessionType;
use tss_esapi::handles::{AuthHandle, KeyHandle, SessionHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{Digest, DigestList, SymmetricDefinition};

use super::TpmError;

/// Runs `work` with a session for `ek`, which is flushed after it whatever happens.
///
/// `PolicySecret(endorsement)` alone satisfies PolicyA of the low-range templates; the high-range templates have
/// PolicyB, which is `PolicyOR(PolicyA, PolicyC)`.
///
/// Source: TCG EK Credential Profile 2.5, annex B.6.
pub(super) fn with_session<T>(
    context: &mut Context,
    ek: KeyHandle,
    work: impl FnOnce(&mut Context, AuthSession) -> Result<T, TpmError>,
) -> Result<T, TpmError> {
    let (public, _, _) = context.read_public(ek).map_err(TpmError::during("read the EK"))?;
    let hash = public.name_hashing_algorithm();
    let session = context
        .start_auth_session(None, None, None, SessionType::Policy, SymmetricDefinition::AES_128_CFB, hash)
        .map_err(TpmError::during("start a policy session"))?
        .ok_or(TpmError::Command {
            operation: "start a policy session",
            source: tss_esapi::Error::WrapperError(tss_esapi::WrapperErrorKind::WrongValueFromTpm),
        })?;
    let done = satisfy(context, session, hash).and_then(|()| work(context, session));
    let flushed =
        context.flush_context(SessionHandle::from(session).into()).map_err(TpmError::during("flush a policy session"));
    done.and_then(|value| flushed.map(|()| value))
}

fn satisfy(context: &mut Context, session: AuthSession, hash: HashingAlgorithm) -> Result<(), TpmError> {
    let session = PolicySession::try_from(session).map_err(TpmError::during("use a policy session"))?;
    context
        .execute_with_session(Some(AuthSession::Password), |context| {
            let (none, empty) = (Default::default(), Default::default());
            context.policy_secret(session, AuthHandle::Endorsement, none, empty, Default::default(), None)
        })
        .map_err(TpmError::during("prove the endorsement hierarchy's authorisation"))?;
    let Some((a, c)) = policies(hash) else { return Ok(()) };
    let either = || -> tss_esapi::Result<DigestList> {
        let mut list = DigestList::new();
        list.add(Digest::try_from(a.as_slice())?)?;
        list.add(Digest::try_from(c.as_slice())?)?;
        Ok(list)
    };
    let either = either().map_err(TpmError::during("build the EK's policy"))?;
    context
        .execute_without_session(|context| context.policy_or(session, either))
        .map_err(TpmError::during("satisfy the EK's policy"))
}

/// PolicyA and PolicyC for the hash of a high-range template; `None` for the low-range ones.
fn policies(hash: HashingAlgorithm) -> Option<(Vec<u8>, Vec<u8>)> {
    let decode = |a: &str, c: &str| Some((hex::decode(a).ok()?, hex::decode(c).ok()?));
    match hash {
        HashingAlgorithm::Sha384 => decode(POLICY_A_SHA384, POLICY_C_SHA384),
        _ => None,
    }
}

/// `PolicySecret(TPM_RH_ENDORSEMENT)` in SHA-384.
const POLICY_A_SHA384: &str =
    "8bbf2266537c171cb56e403c4dc1d4b64f432611dc386e6f532050c3278c930e143e8bb1133824ccb431053871c6db53";
/// `PolicyAuthorizeNV` over the SHA-384 index, the other branch.
const POLICY_C_SHA384: &str =
    "d6032ce61f2fb3c240eb3cf6a33237ef2b6a16f4293c22b455e261cffd217ad5b4947c2d73e63005eed2dc2b3593d165";
