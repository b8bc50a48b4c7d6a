#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

const BLOB: [u8; 14] = [0xba, 0xdc, 0xc0, 0xde, 0, 0, 0, 1, 0, 1, 7, 0, 1, 9];

fn machine() -> Registration {
    Registration::new("node".parse().unwrap(), Backoff::new(1_000, 60_000))
}

fn success(bytes: &[u8]) -> Answer {
    Answer::Success(bytes.to_vec())
}

fn refused(status: u16) -> Answer {
    Answer::Refused { status, reason: String::new() }
}

fn unreachable() -> Answer {
    Answer::Unreachable { reason: "refused".to_owned() }
}

/// Brings a machine to where the registrar owes its word on the tag.
fn activating() -> Registration {
    let mut machine = machine();
    machine.handle(Input::Due, 0);
    machine.handle(Input::RegistrationAnswered(success(&BLOB)), 0);
    let effects = machine.handle(Input::CredentialRecovered(Zeroizing::new(b"credential".to_vec())), 0);
    let expected = activation_tag(b"credential", &"node".parse().unwrap()).unwrap();
    assert!(matches!(effects.as_slice(), [Effect::SendTag(tag)] if *tag == expected));
    machine
}

fn waits(effects: &[Effect]) -> u64 {
    match effects {
        [Effect::Tell(_), Effect::WaitMs(ms)] => *ms,
        other => panic!("expected a setback and a wait, got {other:?}"),
    }
}

#[test]
fn the_straight_way_ends_registered() {
    let mut machine = activating();
    assert!(matches!(machine.handle(Input::ActivationAnswered(success(b"")), 0).as_slice(), [Effect::Registered]));
    assert!(machine.handle(Input::Due, 0).is_empty());
}

#[test]
fn an_absent_registrar_is_asked_again_with_growing_pauses_up_to_the_limit() {
    let mut machine = machine();
    let mut delays = Vec::new();
    for _ in 0..40 {
        assert!(matches!(machine.handle(Input::Due, 0).as_slice(), [Effect::Register]));
        delays.push(waits(&machine.handle(Input::RegistrationAnswered(unreachable()), 0)));
    }
    assert_eq!(delays.get(..8).unwrap(), [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    assert_eq!(delays.last(), Some(&60_000));
}

#[test]
fn randomness_takes_at_most_half_of_a_pause() {
    for fresh in [0, 1, 499, 500, 501, u64::MAX] {
        let mut machine = machine();
        machine.handle(Input::Due, 0);
        let delay = waits(&machine.handle(Input::RegistrationAnswered(unreachable()), fresh));
        assert!((500..=1_000).contains(&delay), "{fresh}: {delay}");
    }
}

#[test]
fn a_refusal_waits_longest_and_a_fault_of_the_server_does_not() {
    for (status, expected) in [(400, 60_000), (403, 60_000), (500, 1_000), (503, 1_000), (429, 1_000)] {
        let mut machine = machine();
        machine.handle(Input::Due, 0);
        let effects = machine.handle(Input::RegistrationAnswered(refused(status)), 0);
        assert_eq!(waits(&effects), expected, "{status}");
    }
}

#[test]
fn an_agent_forgotten_before_activation_registers_again() {
    let mut machine = activating();
    let effects = machine.handle(Input::ActivationAnswered(refused(404)), 0);
    assert!(matches!(effects.as_slice(), [Effect::Tell(Setback::Forgotten), Effect::WaitMs(1_000)]));
    assert!(matches!(machine.handle(Input::Due, 0).as_slice(), [Effect::Register]));
}

#[test]
fn a_credential_for_another_tpm_or_of_no_form_is_a_setback() {
    let mut machine = machine();
    machine.handle(Input::Due, 0);
    machine.handle(Input::RegistrationAnswered(success(&BLOB)), 0);
    assert_eq!(waits(&machine.handle(Input::CredentialRefused, 0)), 60_000);
    machine.handle(Input::Due, 0);
    assert_eq!(waits(&machine.handle(Input::RegistrationAnswered(success(b"junk")), 0)), 60_000);
}

#[test]
fn answers_to_no_question_change_nothing() {
    let mut machine = machine();
    assert!(machine.handle(Input::RegistrationAnswered(success(&BLOB)), 0).is_empty());
    assert!(machine.handle(Input::ActivationAnswered(success(b"")), 0).is_empty());
    assert!(machine.handle(Input::CredentialRecovered(Zeroizing::new(Vec::new())), 0).is_empty());
    let mut machine = activating();
    assert!(machine.handle(Input::RegistrationAnswered(refused(403)), 0).is_empty());
    assert!(matches!(machine.handle(Input::ActivationAnswered(success(b"")), 0).as_slice(), [Effect::Registered]));
}

#[test]
fn debug_output_holds_no_credential() {
    let input = Input::CredentialRecovered(Zeroizing::new(b"AAAA".to_vec()));
    assert_eq!(format!("{input:?}"), "CredentialRecovered(secret)");
}
