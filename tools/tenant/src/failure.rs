//! What goes wrong, with its remedy and its exit code.

use std::{error::Error, fmt, path::Path, process::ExitCode};

/// A failed command: what was being done, why it failed, and what helps.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
    remedy: Option<String>,
    code: u8,
}

impl Failure {
    /// A request that a server or a check refused: exit code 1.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), cause: None, remedy: None, code: 1 }
    }

    /// Arguments that make no sense together: exit code 2, as clap's own.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self { code: 2, ..Self::new(what) }
    }

    /// Something of the system that did not work: `cannot {doing}`.
    pub(crate) fn system(doing: impl fmt::Display, cause: impl Error + Send + Sync + 'static) -> Self {
        Self::new(format!("cannot {doing}")).because(cause)
    }

    pub(crate) fn because(self, cause: impl Error + Send + Sync + 'static) -> Self {
        Self { cause: Some(Box::new(cause)), ..self }
    }

    /// The file it is about, in front.
    pub(crate) fn at(self, path: &Path) -> Self {
        Self { what: format!("{}: {}", path.display(), self.what), ..self }
    }

    /// What the reader can do about it.
    pub(crate) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }

    /// Prints the failure, its causes and its remedy to standard error.
    pub(crate) fn report(&self) {
        eprintln!("attestry: {self}");
        if let Some(remedy) = &self.remedy {
            eprintln!("  remedy: {remedy}");
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        let mut cause: Option<&dyn Error> = self.cause.as_ref().map(|cause| cause.as_ref() as &dyn Error);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
