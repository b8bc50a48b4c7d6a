//! The TPM: one piece of work at a time, each on a connection of its own.

use std::str::FromStr;
use std::sync::Arc;

use tokio::sync::Mutex;
use tss_esapi::Context;
use tss_esapi::handles::ObjectHandle;
use tss_esapi::structures::Auth;
use tss_esapi::tcti_ldr::TctiNameConf;
use zeroize::Zeroizing;

pub use algorithms::EkAlgorithm;
pub(crate) use attester::{Attester, Identification};
pub(crate) use error::TpmError;

mod activation;
mod algorithms;
mod attester;
mod ek;
mod ek_policy;
mod error;
mod leftovers;
mod nv;
mod quote;

/// A way to a TPM, shared by all who need it.
///
/// The connection is opened for a piece of work and closed after it, and with it goes everything the work loaded:
/// a software TPM serves one connection at a time, and so tpm2-tools can be used beside the agent.
#[derive(Clone)]
pub(crate) struct Tpm {
    endorsement_auth: Option<Arc<Zeroizing<Vec<u8>>>>,
    tcti: TctiNameConf,
    turn: Arc<Mutex<()>>,
}

impl Tpm {
    /// The TPM behind a TCTI such as `device:/dev/tpmrm0`, `swtpm:host=127.0.0.1,port=2321` or `tabrmd`;
    /// `endorsement_auth` is the authorisation of the endorsement hierarchy, if it has one.
    pub(crate) fn new(tcti: &str, endorsement_auth: Option<Zeroizing<Vec<u8>>>) -> Result<Self, TpmError> {
        let parsed = TctiNameConf::from_str(tcti).map_err(|source| TpmError::Tcti { tcti: tcti.to_owned(), source })?;
        Ok(Self { endorsement_auth: endorsement_auth.map(Arc::new), tcti: parsed, turn: Arc::default() })
    }

    /// Whether the TCTI leads to a resource manager, which gives each connection a TPM of its own.
    fn has_resource_manager(&self) -> bool {
        match &self.tcti {
            TctiNameConf::Device(device) => format!("{device:?}").contains("tpmrm"),
            TctiNameConf::Tabrmd(_) => true,
            TctiNameConf::Mssim(_) | TctiNameConf::Swtpm(_) => false,
        }
    }

    /// Does a piece of work in a thread where it may block, after those that came before.
    ///
    /// The work goes on to its end when the caller stops waiting.
    pub(crate) async fn work<T, F>(&self, work: F) -> Result<T, TpmError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Context) -> Result<T, TpmError> + Send + 'static,
    {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let this = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let mut context = this.open()?;
            let result = work(&mut context);
            // Dropping the context flushes what is still loaded; only then may the next one begin.
            drop(context);
            drop(turn);
            result
        });
        done.await.unwrap_or_else(|failure| Err(TpmError::Panicked { message: failure.to_string() }))
    }

    fn open(&self) -> Result<Context, TpmError> {
        let mut context = Context::new(self.tcti.clone()).map_err(|source| TpmError::Open { source })?;
        if let Some(auth) = &self.endorsement_auth {
            let auth = Auth::try_from(auth.to_vec()).map_err(TpmError::during("take the hierarchy's password"))?;
            context
                .tr_set_auth(ObjectHandle::Endorsement, auth)
                .map_err(TpmError::during("set the endorsement hierarchy's password"))?;
        }
        Ok(context)
    }
}
