//! A measurement list of 100,000 entries: read whole once, then only what is new, while other machines go on.

use std::{fs, path::Path, process::Command};

use fixtures_softtpm::measured::{boot, runtime_policy};
use serde_json::Value;

use crate::{
    machine::Machine,
    process::{program, succeed, text, wait_until},
    site::{Site, indices, kinds},
};

/// A server that has been up for a year.
const FILES: usize = 100_000;
const CONTENT: &[u8] = b"installed";

/// What a quote's entry says of the list: where it begins, and how many lines came.
fn lists(bundle: &Path) -> Vec<(u64, u64)> {
    let quotes = indices(bundle, "quote");
    let inspected = quotes.iter().map(|index| {
        let entry = bundle.join(format!("entries/{index}.cbor"));
        let shown = succeed(Command::new(program("attestry")).args(["inspect", "entry", "--json"]).arg(entry));
        let value: Value = serde_json::from_str(&shown).unwrap();
        let number = |name: &str| value.pointer(&format!("/body/ima/{name}")).unwrap().as_u64().unwrap();
        (number("from"), number("count"))
    });
    inspected.collect()
}

fn finding(site: &Site, machine: &Machine) -> Value {
    wait_until("a finding", || site.status(machine).get("last_finding").filter(|found| !found.is_null()).cloned())
}

#[test]
fn a_long_list_is_taken_once_then_what_is_new_and_holds_nobody_up() {
    let site = Site::start(None);
    let mut machine = site.machine("node-1");
    machine.boot(&boot(b"linux 6.1", "ro"));
    let names: Vec<String> = (0..FILES).map(|number| format!("/usr/lib/{number}.so")).collect();
    machine.run_all(&names, CONTENT);
    let other = site.attested("node-2", 1);
    let mut files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), CONTENT)).collect();
    files.push(("/usr/bin/tool", b"tool"));
    let policy = site.folder.path().join("runtime.json");
    fs::write(&policy, runtime_policy(&files, &[])).unwrap();
    site.enrol(&mut machine);
    let added = site.tenant(&["add", &machine.id, "--runtime-policy", policy.to_str().unwrap()]);
    assert!(added.status.success(), "{}", text(&added));
    // While the first round is on its way, which takes seconds here, and in the next ones.
    site.wait_for_passes(&machine, 3);
    machine.run("/usr/bin/tool", b"tool");
    let passes = site.passes(&machine);
    site.wait_for_passes(&machine, passes + 2);

    let bundle = site.export(&machine, "bundle");
    let sent = lists(&bundle);
    let whole = FILES as u64 + 1;
    assert_eq!(sent.first(), Some(&(0, whole)), "the boot aggregate and every file");
    let later = sent.get(1..).unwrap();
    // The one line comes again while the list is ahead of the register, as the kernel's is for a moment.
    assert!(later.iter().all(|one| [(whole, 0), (whole, 1), (whole + 1, 0)].contains(one)), "{later:?}");
    assert!(later.contains(&(whole, 1)) && later.ends_with(&[(whole + 1, 0)]), "{later:?}");

    // The other machine went on between this one's policy and its first verdict, and never waited long enough to miss.
    let others = site.export(&other, "others");
    let between = |index: &&u64| {
        let (policy, verdict) = (indices(&bundle, "policy"), indices(&bundle, "verdict"));
        policy.first().unwrap() < *index && *index < verdict.first().unwrap()
    };
    assert!(indices(&others, "quote").iter().filter(between).count() > 0);
    assert!(kinds(&others).iter().all(|(_, kind)| kind != "miss"));

    machine.run("/usr/lib/7.so", b"trojan");
    let told = finding(&site, &machine);
    let place = format!("entry {} \"/usr/lib/7.so\"", whole + 1);
    assert_eq!(told.get("place").unwrap(), place.as_str(), "{told}");
    assert_eq!(told.get("layer").unwrap(), "runtime");
    assert_eq!(site.status(&other).get("attestation_status").unwrap(), "PASS");
    let bundle = site.export(&machine, "failed");
    let (code, report) = site.verify(&machine, &bundle);
    assert_eq!(code, 0, "{report:#}");
}
