//! NV memory: which indices there are, and what is in them.

use tss_esapi::Context;
use tss_esapi::abstraction::nv::read_full;
use tss_esapi::constants::CapabilityType;
use tss_esapi::handles::{NvIndexTpmHandle, TpmHandle};
use tss_esapi::interface_types::resource_handles::NvAuth;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::CapabilityData;

use super::TpmError;

/// Handles in use from `first` to `last`, ascending.
pub(super) fn handles(context: &mut Context, first: u32, last: u32) -> Result<Vec<u32>, TpmError> {
    let mut found: Vec<u32> = Vec::new();
    loop {
        let next = found.last().map_or(first, |handle| handle.saturating_add(1));
        let (data, more) = context
            .get_capability(CapabilityType::Handles, next, HANDLES_PER_QUESTION)
            .map_err(TpmError::during("list handles"))?;
        let CapabilityData::Handles(list) = data else { return Ok(found) };
        let before = found.len();
        found.extend(list.into_inner().into_iter().map(u32::from).filter(|handle| (next..=last).contains(handle)));
        if !more || found.len() == before {
            return Ok(found);
        }
    }
}

/// The content of an NV index, `None` if there is no such index; read with the index's own, empty, authorisation or
/// else with the owner's.
pub(super) fn read(context: &mut Context, index: u32) -> Result<Option<Vec<u8>>, TpmError> {
    if !handles(context, index, index)?.contains(&index) {
        return Ok(None);
    }
    let handle = NvIndexTpmHandle::new(index).map_err(TpmError::during("name an NV index"))?;
    let object =
        context.tr_from_tpm_public(TpmHandle::NvIndex(handle)).map_err(TpmError::during("look at an NV index"))?;
    let mut read = |auth| context.execute_with_session(Some(AuthSession::Password), |c| read_full(c, auth, handle));
    read(NvAuth::NvIndex(object.into()))
        .or_else(|_| read(NvAuth::Owner))
        .map(Some)
        .map_err(TpmError::during("read an NV index"))
}

/// A TPM returns what fits its buffer and says that there is more.
const HANDLES_PER_QUESTION: u32 = 64;
