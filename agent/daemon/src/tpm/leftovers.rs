//! Objects and sessions that processes before us left in a TPM without a resource manager.

use tss_esapi::Context;
use tss_esapi::handles::{LoadedSessionTpmHandle, TpmHandle, TransientTpmHandle};

use super::{TpmError, nv};

/// Flushes all loaded transient objects and sessions, and says how many.
///
/// To be called only where no resource manager stands between: there our connection is the only one, so whatever is
/// loaded belongs to a connection that has ended, and a TPM with three slots would soon be full. A script that keeps
/// an object loaded between two runs of tpm2-tools loses it; contexts saved to files, which is what such scripts
/// use, stay valid.
pub(super) fn flush(context: &mut Context) -> Result<usize, TpmError> {
    let mut flushed = 0;
    for handle in nv::handles(context, TRANSIENT.0, TRANSIENT.1)? {
        let handle = TransientTpmHandle::new(handle).map_err(TpmError::during("name a transient object"))?;
        flush_one(context, TpmHandle::Transient(handle))?;
        flushed += 1;
    }
    for handle in nv::handles(context, LOADED_SESSIONS.0, LOADED_SESSIONS.1)? {
        let handle = LoadedSessionTpmHandle::new(handle).map_err(TpmError::during("name a session"))?;
        flush_one(context, TpmHandle::LoadedSession(handle))?;
        flushed += 1;
    }
    Ok(flushed)
}

fn flush_one(context: &mut Context, handle: TpmHandle) -> Result<(), TpmError> {
    let object = context.tr_from_tpm_public(handle).map_err(TpmError::during("look at what was left loaded"))?;
    context.flush_context(object).map_err(TpmError::during("flush what was left loaded"))
}

const TRANSIENT: (u32, u32) = (0x8000_0000, 0x80ff_ffff);
const LOADED_SESSIONS: (u32, u32) = (0x0200_0000, 0x02ff_ffff);
