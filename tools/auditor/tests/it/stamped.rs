//! What time-stamping authorities add to a bundle, and what is said when they do not.

use fixtures_softtpm::KeyKind;
use fixtures_tsa::{Authority, Certificate};
use ledger_protocol::body::TimestampBody;
use ledger_timestamp::{Authorities, Nonce, TimestampRequest, TimestampResponse, Token};
use messages::UnixMillis;
use tools_auditor::{
    report::{CheckName, Conclusion, Outcome, Report},
    verify::{Question, verify},
};

use crate::machine::Story;

/// The token of an authority over `note`.
fn token(authority: &Authority, note: &[u8]) -> Token {
    let request = TimestampRequest::new(&openssl::sha::sha256(note), Nonce::new(&[7; 16]));
    TimestampResponse::parse(&authority.reply(&request.to_der())).unwrap().into_token().unwrap()
}

/// Has the log stamped as it is now; `change` may make the entry a lie.
fn stamp(story: &mut Story, authority: &Authority, change: impl FnOnce(&mut TimestampBody)) {
    let size = story.log.sign().tree_size;
    let note = story.log.notes[&size].clone();
    let token = token(authority, &note);
    let mut body = TimestampBody {
        tree_size: size,
        note: story.log.put_blob(&note),
        token: story.log.put_blob(token.to_der()),
        tsa: "tsa".to_owned(),
        gen_time: UnixMillis(token.info().gen_time.0),
    };
    change(&mut body);
    story.log.append(None, &body);
}

fn story() -> Story {
    let mut story = Story::begun(KeyKind::P256);
    story.machine.pass(&mut story.log);
    story.machine.pass(&mut story.log);
    story
}

fn trusted(authority: &Authority) -> Authorities {
    let mut authorities = Authorities::new();
    authorities.trust_pem(&authority.read("ca.pem")).unwrap();
    authorities
}

fn audit(story: &Story, stamps: Option<&Authorities>) -> Report {
    let (roots, log_key) = (story.roots(), story.log.signer.verifier());
    let (roots, witnesses, policy_signers) = (Some(&roots), None, None);
    let question = Question { log_key, roots, agent: None, from: None, to: None, policy_signers, witnesses, stamps };
    verify(&story.path(), &question)
}

fn outcome(report: &Report, name: CheckName) -> Outcome {
    report.check(name).unwrap().outcome
}

#[test]
fn a_trusted_stamp_bounds_the_time_from_above_apart_from_witnesses() {
    let (mut story, authority) = (story(), Authority::new(&Certificate::default()));
    stamp(&mut story, &authority, |_| {});
    story.export();
    let report = audit(&story, Some(&trusted(&authority)));
    assert_eq!(report.conclusion, Conclusion::Verified, "{:#?}", report.checks);
    let statement = report.statement.unwrap();
    assert!(statement.bounds.is_none(), "no witness has said anything");
    let stamped = statement.stamped.unwrap();
    let [stamp] = stamped.stamps.as_slice() else { panic!("{stamped:?}") };
    assert_eq!((stamp.authority.as_str(), stamp.revocation), ("test tsa", "unknown"));
    assert_eq!((stamped.all_before, stamped.first_quote_before), (Some(stamp.before), Some(stamp.before)));
    assert!(statement.clock.contains("time-stamps"));
    assert!(report.not_proven.iter().any(|line| line.contains("time-stamps")), "{:?}", report.not_proven);
}

#[test]
fn a_stamp_before_the_last_entry_bounds_the_first_quote_alone_and_that_is_said() {
    let (mut story, authority) = (story(), Authority::new(&Certificate::default()));
    stamp(&mut story, &authority, |_| {});
    story.machine.pass(&mut story.log);
    story.export();
    let report = audit(&story, Some(&trusted(&authority)));
    assert_eq!(outcome(&report, CheckName::Timestamps), Outcome::Unchecked);
    let stamped = report.statement.unwrap().stamped.unwrap();
    assert!(stamped.all_before.is_none() && stamped.first_quote_before.is_some());
}

#[test]
fn without_roots_a_stamp_proves_nothing_and_spoils_nothing() {
    let (mut story, authority) = (story(), Authority::new(&Certificate::default()));
    stamp(&mut story, &authority, |_| {});
    story.export();
    let report = audit(&story, None);
    assert_eq!(report.conclusion, Conclusion::Verified, "{:#?}", report.checks);
    assert!(report.statement.unwrap().stamped.is_none());
}

#[test]
fn a_stamp_of_an_authority_that_is_not_trusted_does_not_count() {
    let (mut story, authority) = (story(), Authority::new(&Certificate::default()));
    stamp(&mut story, &authority, |_| {});
    story.export();
    let stranger = Authority::new(&Certificate::default());
    let report = audit(&story, Some(&trusted(&stranger)));
    assert_eq!(report.conclusion, Conclusion::NotFullyChecked);
    assert_eq!(outcome(&report, CheckName::Timestamps), Outcome::Unchecked);
    assert!(report.statement.unwrap().stamped.is_none());
}

#[test]
fn a_log_that_misstates_its_stamp_is_caught_with_and_without_roots() {
    let authority = Authority::new(&Certificate::default());
    let later = |body: &mut TimestampBody| body.gen_time = UnixMillis(body.gen_time.0 - 1_000);
    let other_tree = |body: &mut TimestampBody| body.tree_size -= 1;
    for (name, change) in [("time", &later as &dyn Fn(&mut TimestampBody)), ("tree", &other_tree)] {
        let mut story = story();
        stamp(&mut story, &authority, change);
        story.export();
        for stamps in [None, Some(&trusted(&authority))] {
            let report = audit(&story, stamps);
            assert_eq!(outcome(&report, CheckName::Timestamps), Outcome::False, "{name}");
        }
    }
}

#[test]
fn a_token_over_another_note_is_a_false_log() {
    let (mut story, authority) = (story(), Authority::new(&Certificate::default()));
    let foreign = token(&authority, b"another note");
    let digest = story.log.put_blob(foreign.to_der());
    stamp(&mut story, &authority, |body| {
        body.token = digest;
        body.gen_time = UnixMillis(foreign.info().gen_time.0);
    });
    story.export();
    for stamps in [None, Some(&trusted(&authority))] {
        assert_eq!(outcome(&audit(&story, stamps), CheckName::Timestamps), Outcome::False);
    }
}

#[test]
fn a_revoked_authority_proves_no_time() {
    let (mut story, authority) = (story(), Authority::new(&Certificate::default()));
    stamp(&mut story, &authority, |_| {});
    story.export();
    let mut authorities = trusted(&authority);
    authorities.add_revocation_list(&authority.revocation_list(None)).unwrap();
    let stamped = audit(&story, Some(&authorities)).statement.unwrap().stamped.unwrap();
    assert_eq!(stamped.stamps[0].revocation, "checked");
    authorities.add_revocation_list(&authority.revocation_list(Some("keyCompromise"))).unwrap();
    let report = audit(&story, Some(&authorities));
    assert_eq!(outcome(&report, CheckName::Timestamps), Outcome::Unchecked);
}

#[test]
fn altered_files_of_a_stamp_are_found() {
    let (mut story, authority) = (story(), Authority::new(&Certificate::default()));
    stamp(&mut story, &authority, |_| {});
    story.export();
    let stamps: Vec<_> = std::fs::read_dir(story.path().join("timestamps")).unwrap().map(Result::unwrap).collect();
    assert_eq!(stamps.len(), 2);
    for file in stamps {
        let bytes = std::fs::read(file.path()).unwrap();
        let mut altered = bytes.clone();
        let middle = altered.len() / 2;
        altered[middle] ^= 1;
        std::fs::write(file.path(), &altered).unwrap();
        assert_eq!(audit(&story, None).conclusion, Conclusion::False, "{:?}", file.path());
        std::fs::write(file.path(), bytes).unwrap();
    }
    assert_eq!(audit(&story, None).conclusion, Conclusion::Verified);
}

#[test]
fn the_command_takes_roots_from_outside_and_tells_the_bound() {
    let (mut story, authority) = (story(), Authority::new(&Certificate::default()));
    stamp(&mut story, &authority, |_| {});
    let bundle = story.export();
    let folder = story.folder.path();
    let [tpm, tsa] = ["tpm.pem", "tsa.pem"].map(|name| folder.join(name));
    std::fs::write(&tpm, story.ca.pem()).unwrap();
    std::fs::write(&tsa, authority.read("ca.pem")).unwrap();
    let run = |tsa: &std::path::Path| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_attestry-audit"));
        command.arg("verify").arg(&bundle).args(["--log-key", &story.log.vkey()]).arg("--roots").arg(&tpm);
        let ran = command.arg("--tsa-ca").arg(tsa).output().unwrap();
        (ran.status.code(), String::from_utf8([ran.stdout, ran.stderr].concat()).unwrap())
    };
    let (code, told) = run(&tsa);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("all in the log before") && told.contains("by test tsa"), "{told}");
    let (code, told) = run(&folder.join("absent.pem"));
    assert_eq!(code, Some(2), "{told}");
}
