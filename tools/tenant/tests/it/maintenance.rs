//! Planned maintenance, announced by an operator.

use std::{fs, process::Command};

use serde_json::Value;

use crate::{
    process::{program, succeed, text},
    site::{Site, kinds},
};

#[test]
fn maintenance_is_announced_shown_and_on_record_before_the_next_quote() {
    let site = Site::start(None);
    let machine = site.attested("node-1", 1);
    for (arguments, code, said) in [
        (&["--for", "0h"][..], 2, "expected a length"),
        (&["--from", "2026-12-01T22:00:00", "--for", "1h"], 2, "expected a time"),
        (&[], 2, "required"),
        (&["--for", "1h", "--to", "2026-12-01T22:00:00Z"], 2, "cannot be used with"),
        (&["--for", "31d"], 1, "30 days"),
        (&["--from", "2020-01-01T00:00:00Z", "--to", "2020-01-01T01:00:00Z"], 1, "was over"),
    ] {
        let refused = site.tenant(&[&["maintenance", "node-1", "--reason", "new fans"], arguments].concat());
        assert_eq!(refused.status.code(), Some(code), "{arguments:?}: {}", text(&refused));
        assert!(text(&refused).contains(said), "{arguments:?}: {}", text(&refused));
    }
    let announced = site.tenant(&["maintenance", "node-1", "--for", "2h", "--reason", "new fans"]);
    assert!(announced.status.success(), "{}", text(&announced));
    assert!(text(&announced).contains(": new fans"), "{}", text(&announced));
    let status = site.status(&machine);
    let shown = |member: &str| status.pointer(&format!("/maintenance/0/{member}")).and_then(Value::as_u64).unwrap();
    assert_eq!(shown("to") - shown("from"), 7_200_000);

    let passes = site.passes(&machine);
    site.wait_for_passes(&machine, passes + 2);
    let bundle = site.export(&machine, "bundle");
    let (code, report) = site.verify(&machine, &bundle);
    assert_eq!(code, 0, "{report:#}");
    let kinds = kinds(&bundle);
    let maintenance: Vec<u64> = kinds.iter().filter(|(_, kind)| kind == "maintenance").map(|(seq, _)| *seq).collect();
    let [seq] = maintenance.as_slice() else { panic!("{kinds:?}") };
    assert!(kinds.iter().any(|(later, kind)| later > seq && kind == "quote"), "{kinds:?}");
    let inspected = fs::read_dir(bundle.join("entries")).unwrap().find_map(|entry| {
        let mut command = Command::new(program("attestry"));
        let output = succeed(command.args(["inspect", "entry", "--json"]).arg(entry.unwrap().path()));
        let value: Value = serde_json::from_str(&output).unwrap();
        (value.get("kind").unwrap() == "maintenance").then_some(value)
    });
    assert_eq!(inspected.unwrap().pointer("/body/reason").unwrap(), "new fans");
}
