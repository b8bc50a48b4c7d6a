//! A site whose log is stamped by two authorities.

use std::{fs, process::Command, sync::Arc};

use fixtures_tsa::{Authority, Certificate, Served};
use tempfile::TempDir;

use crate::process::{Process, program, run, text, wait_until};

fn up(folder: &TempDir, arguments: &[String]) -> Command {
    let mut command = Command::new(program("attestry"));
    command.args(["up", "--origin", "test.example/log", "--registrar-port", "0", "--registrar-tls-port", "0"]);
    command.args(["--verifier-port", "0", "--ledger-port", "0", "--data"]).arg(folder.path().join("data"));
    command.args(arguments);
    command
}

#[test]
fn a_sites_log_is_stamped_by_each_authority_and_openssl_believes_the_stamps() {
    let folder = TempDir::new().unwrap();
    let authorities = [(); 2].map(|()| Arc::new(Authority::new(&Certificate::default())));
    let served = authorities.each_ref().map(|authority| Served::new(Arc::clone(authority)));
    let roots = folder.path().join("roots.pem");
    fs::write(&roots, authorities.each_ref().map(|authority| authority.read("ca.pem")).concat()).unwrap();
    let [named, by_host] = served.each_ref().map(Served::url);
    let arguments = ["--tsa", &format!("first={named}"), "--tsa", &by_host, "--tsa-interval", "1", "--tsa-ca"];
    let mut arguments = arguments.map(str::to_owned).to_vec();
    arguments.push(roots.display().to_string());
    let _site = Process::start(&mut up(&folder, &arguments), &folder.path().join("site.log"));
    for (name, authority) in ["first", "127-0-0-1"].into_iter().zip(&authorities) {
        let (size, response) = wait_until("a stamp that is logged", || {
            let sizes = fs::read_dir(folder.path().join("data/ledger/timestamps")).ok()?;
            sizes.flatten().find_map(|size| {
                let logged = size.path().join(format!("{name}.logged")).exists();
                let size_name = size.file_name().to_string_lossy().into_owned();
                logged.then(|| (size_name, fs::read(size.path().join(format!("{name}.tsr"))).unwrap()))
            })
        });
        let note = fs::read(folder.path().join("data/ledger/checkpoints").join(size)).unwrap();
        assert!(authority.openssl_believes(&response, &note), "{name}");
        assert!(!authority.openssl_believes(&response, b"another note"), "{name}");
    }
}

#[test]
fn authorities_that_cannot_be_used_are_refused_before_anything_starts() {
    let folder = TempDir::new().unwrap();
    let roots = folder.path().join("roots.pem");
    fs::write(&roots, Authority::new(&Certificate::default()).read("ca.pem")).unwrap();
    let roots = roots.display().to_string();
    for (arguments, code, said) in [
        (vec!["--tsa", "http://127.0.0.1:1/"], 2, "--tsa-ca"),
        (vec!["--tsa", "no address", "--tsa-ca", &roots], 2, "NAME=URL"),
        (vec!["--tsa", "https://127.0.0.1:1/", "--tsa-ca", &roots], 2, "--tsa-tls-ca"),
        (vec!["--tsa", "http://a.test/", "--tsa", "http://a.test/2", "--tsa-ca", &roots], 1, "a-test"),
        (vec!["--tsa", "http://a.test/", "--tsa-ca", "/nonexistent"], 1, "/nonexistent"),
    ] {
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        let ran = run(&mut up(&folder, &arguments));
        assert_eq!(ran.status.code(), Some(code), "{}", text(&ran));
        assert!(text(&ran).contains(said), "{}", text(&ran));
    }
}
