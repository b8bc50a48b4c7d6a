//! The vendor certificates that EK certificates may chain to: files in `DIR/trust`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use evidence::ek_certificate::{Certificate, TrustStore};

use crate::{
    cli::{TrustArguments, TrustCommand},
    failure::Failure,
    output::outln,
    site::Site,
};

/// Largest certificate file: the whole of the vendors' intermediates is a third of a MiB.
const FILE_BYTES_MAX: u64 = 4 << 20;

pub(crate) fn run(arguments: &TrustArguments) -> Result<(), Failure> {
    match &arguments.command {
        TrustCommand::Add { files, data } => add(&Site::new(&data.data).trust(), files),
        TrustCommand::List { data, json } => list(&Site::new(&data.data).trust(), json.json),
    }
}

/// Checks every file before the first is copied, so that a bad one leaves nothing behind.
fn add(folder: &Path, files: &[PathBuf]) -> Result<(), Failure> {
    let mut checked = Vec::with_capacity(files.len());
    for file in files {
        let name = file
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| Failure::usage(format!("{} is no file name in UTF-8", file.display())))?;
        let bytes = read(file)?;
        let certificates = load(&mut TrustStore::new(), name, &bytes)?;
        checked.push((folder.join(name), bytes, certificates));
    }
    let create = |error| Failure::system(format_args!("create {}", folder.display()), error);
    fs::create_dir_all(folder).map_err(create)?;
    for (target, bytes, certificates) in checked {
        let temporary = target.with_extension("tmp");
        let write = |error| Failure::system(format_args!("write {}", target.display()), error);
        fs::write(&temporary, bytes).map_err(write)?;
        fs::rename(&temporary, &target).map_err(write)?;
        outln!("added {} ({certificates} certificates)", target.display());
    }
    Ok(())
}

fn list(folder: &Path, json: bool) -> Result<(), Failure> {
    let mut store = TrustStore::new();
    for file in files(folder)? {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        load(&mut store, &name, &read(&file)?)?;
    }
    if json {
        let describe = |kind: &str, certificate: &Certificate| {
            serde_json::json!({
                "kind": kind,
                "subject": certificate.subject(),
                "issuer": certificate.issuer(),
                "serial": certificate.serial(),
                "sha256": hex::encode(openssl::sha::sha256(certificate.der())),
            })
        };
        let roots = store.roots().iter().map(|certificate| describe("root", certificate));
        let intermediates = store.intermediates().iter().map(|certificate| describe("intermediate", certificate));
        outln!("{}", serde_json::Value::from_iter(roots.chain(intermediates)));
        return Ok(());
    }
    for (kind, certificates) in [("root", store.roots()), ("intermediate", store.intermediates())] {
        for certificate in certificates {
            outln!("{kind:<12}  {}  (serial {})", certificate.subject(), certificate.serial());
        }
    }
    if store.roots().is_empty() {
        eprintln!("no root is trusted yet; add one with: attestry trust add FILE");
    }
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let read = |error| Failure::system(format_args!("read {}", folder.display()), error);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.is_file() && path.extension().is_none_or(|extension| extension != "tmp") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error| Failure::system(format_args!("read {}", file.display()), error);
    let bytes = fs::metadata(file).map_err(failed)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(Failure::new(format!("{} has {bytes} bytes; expected at most {FILE_BYTES_MAX}", file.display())));
    }
    fs::read(file).map_err(failed)
}

fn load(store: &mut TrustStore, name: &str, bytes: &[u8]) -> Result<usize, Failure> {
    store.add(name, bytes).map_err(|error| {
        Failure::system(format_args!("use {name} as certificates"), error)
            .remedy("expected PEM or DER X.509 certificates")
    })
}
