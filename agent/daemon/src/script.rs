//! The payload's own script, off unless the operator names one.

use std::process::Stdio;

use crate::secure_folder::SecureFolder;

/// Why the script is not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScriptRefused {
    /// The agent runs as root.
    #[error(
        "the payload's script is not run as root; run the agent as another user, or set danger_payload_script_as_root"
    )]
    Root,
    /// It did not start.
    #[error("the payload's script cannot be started")]
    Start(#[source] std::io::Error),
}

/// Runs `script` with `sh` in the payload's folder, with nothing of the agent's environment, and logs how it ended.
pub(crate) async fn run(script: &str, folder: &SecureFolder, danger_as_root: bool) -> Result<(), ScriptRefused> {
    if rustix::process::geteuid().is_root() && !danger_as_root {
        return Err(ScriptRefused::Root);
    }
    let status = tokio::process::Command::new("/bin/sh")
        .arg(format!("./{script}"))
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await
        .map_err(ScriptRefused::Start)?;
    tracing::info!(script, %status, "the payload's script ended");
    Ok(())
}
