#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use fixtures_softtpm::SoftCa;

use super::*;

#[test]
fn files_that_come_and_go_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let trust = TrustDirectory::new(folder.path().to_owned());
    let (first, second) = (SoftCa::root("First"), SoftCa::root("Second"));
    let mut now = Instant::now();
    let mut roots = || {
        now += LOOK_INTERVAL;
        trust.current(now).roots().len()
    };
    assert_eq!(roots(), 0);
    fs::write(folder.path().join("first.pem"), first.pem()).unwrap();
    assert_eq!(roots(), 1);
    fs::write(folder.path().join("second.der"), second.der()).unwrap();
    assert_eq!(roots(), 2);
    fs::remove_file(folder.path().join("first.pem")).unwrap();
    assert_eq!(roots(), 1);
}

#[test]
fn a_file_that_is_no_certificate_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.pem"), "no certificate").unwrap();
    fs::write(folder.path().join("b.pem"), SoftCa::root("Good").pem()).unwrap();
    fs::write(folder.path().join("notes.txt"), SoftCa::root("Not asked for").pem()).unwrap();
    let trust = TrustDirectory::new(folder.path().to_owned());
    assert_eq!(trust.current(Instant::now()).roots().len(), 1);
}

#[test]
fn a_missing_folder_trusts_nobody_until_it_is_there() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("trust");
    let trust = TrustDirectory::new(folder.clone());
    let now = Instant::now();
    assert_eq!(trust.current(now).roots().len(), 0);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("root.crt"), SoftCa::root("Root").pem()).unwrap();
    assert_eq!(trust.current(now).roots().len(), 0, "looked at again too early");
    assert_eq!(trust.current(now + LOOK_INTERVAL).roots().len(), 1);
}
