//! Activating a credential: recovering a registrar's secret, which shows that AK and EK are in one TPM.

use evidence::credential::Credential;
use tss_esapi::Context;
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{EncryptedSecret, IdObject};
use zeroize::Zeroizing;

use super::{TpmError, ek_policy};

/// Recovers the secret in `credential`.
pub(super) fn activate(
    context: &mut Context,
    ek: KeyHandle,
    ak: KeyHandle,
    credential: &Credential,
) -> Result<Zeroizing<Vec<u8>>, TpmError> {
    let id_object = IdObject::try_from(content(credential.id_object())).map_err(TpmError::during(ACTIVATE))?;
    let secret =
        EncryptedSecret::try_from(content(credential.encrypted_secret())).map_err(TpmError::during(ACTIVATE))?;
    ek_policy::with_session(context, ek, |context, session| {
        let sessions = (Some(AuthSession::Password), Some(session), None);
        let recovered = context
            .execute_with_sessions(sessions, |context| context.activate_credential(ak, ek, id_object, secret))
            .map_err(TpmError::during(ACTIVATE))?;
        Ok(Zeroizing::new(recovered.value().to_vec()))
    })
}

/// A TPM2B without its size.
fn content(sized: &[u8]) -> &[u8] {
    sized.get(2..).unwrap_or_default()
}

const ACTIVATE: &str = "activate the credential";
