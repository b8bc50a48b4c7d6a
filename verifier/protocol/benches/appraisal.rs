//! One round's answer judged whole, beside the bare openssl check of the same signature.
//!
//! The agent's answer is taken apart (base64 of quote and boot log), the quote authenticated under an RSA-2048 key, the
//! boot log recognised as the one judged before, and five new lines of a list of 10,000 entries are judged by a policy of
//! 100,000 digests. Both run in turns.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark fails by panicking")]

use std::{hint::black_box, time::Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use evidence::{
    algorithm::HashAlgorithm,
    ima::MeasurementState,
    public::{Ak, Public},
    runtime_policy::PolicyStack,
};
use fixtures_bench::Report;
use fixtures_softtpm::{
    Hash, KeyKind, SoftQuote, SoftTpm,
    measured::{self, BootEvent},
};
use messages::keylime::IntegrityQuote;
use openssl::{
    hash::MessageDigest,
    pkey::{PKey, Public as PublicHalf},
    sign::Verifier,
};
use verifier_protocol::{
    appraisal::{
        Appraisal, BootJudgement, BootReference, Evidence, Lists, Outcome, Reference, RuntimeReference, appraise,
        unread_list,
    },
    policy::{AlgorithmsAccepted, MeasuredBootPolicy, PCR_PAYLOAD_KEY, TpmPolicy, compile_runtime},
};

/// Turns taken; each is one sample of both.
const SAMPLES: usize = 101;
/// Appraisals in a turn: some 2 ms, far above the clock's grain and below the scheduler's patience.
const ROUNDS: usize = 20;
/// Entries of the list that are settled.
const SETTLED: usize = 10_000;
const NEW: usize = 5;
const POLICY_FILES: usize = 100_000;
/// Events of firmware that bring the boot log to some 42 KiB, as many real ones have.
const FIRMWARE_EVENTS: usize = 120;
const FIRMWARE_EVENT_BYTES: usize = 300;
const NONCE: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
const NK: &str = "-----BEGIN PUBLIC KEY-----\nsome key\n-----END PUBLIC KEY-----\n";

fn main() {
    let mut machine = Machine::new();
    let known = machine.judge(machine.answer(0), None, &unread_list(), 0);
    assert_eq!(known.outcome(), Outcome::Pass, "{:?}", known.findings());
    let state = known.ima_state().unwrap().clone();
    // The first round's quote has registers for `boot_aggregate` too; from the second on the same are asked for.
    let known = machine.judge(machine.answer(SETTLED), known.boot(), &state, SETTLED as u64);
    assert_eq!(known.outcome(), Outcome::Pass, "{:?}", known.findings());
    let state = known.ima_state().unwrap().clone();
    for number in SETTLED..SETTLED + NEW {
        machine.run(number);
    }
    let (next, from) = (machine.answer(SETTLED), SETTLED as u64);
    let bare = Bare::new(&machine.tpm, &machine.quote(from));

    let ours = || {
        // As the answers of many agents: each is there already and used up.
        let answers = vec![next.clone(); ROUNDS];
        let start = Instant::now();
        for answer in answers {
            let appraisal = black_box(machine.judge(answer, known.boot(), &state, from));
            assert_eq!(appraisal.outcome(), Outcome::Pass);
        }
        start.elapsed().as_secs_f64()
    };
    let theirs = || {
        let start = Instant::now();
        (0..ROUNDS).for_each(|_| bare.check());
        start.elapsed().as_secs_f64()
    };
    ours();
    theirs();
    let pairs: Vec<(f64, f64)> = (0..SAMPLES).map(|_| (ours(), theirs())).collect();
    #[expect(clippy::cast_precision_loss, reason = "a time")]
    let each = |seconds: &f64| seconds * 1e6 / ROUNDS as f64;
    let mut report = Report::new("appraisal");
    report.add("appraisal_us", "us", pairs.iter().map(|(ours, _)| each(ours)).collect());
    report.add("bare_rsa_verify_us", "us", pairs.iter().map(|(_, theirs)| each(theirs)).collect());
    report.add("appraisal_ratio", "1", pairs.iter().map(|(ours, theirs)| ours / theirs).collect());
    report.write().expect("target/bench is writable");
}

/// A machine under both policies.
struct Machine {
    accepted: AlgorithmsAccepted,
    ak: Ak,
    boot: MeasuredBootPolicy,
    events: Vec<BootEvent>,
    lines: Vec<String>,
    policy: TpmPolicy,
    runtime: PolicyStack,
    tpm: SoftTpm,
}

impl Machine {
    fn new() -> Self {
        let mut tpm = SoftTpm::new(KeyKind::RSA_2048, 0);
        tpm.measure(PCR_PAYLOAD_KEY, NK.as_bytes());
        let mut events = measured::boot(b"linux", "quiet");
        events.extend((0..FIRMWARE_EVENTS).map(firmware_event));
        for event in &events {
            tpm.extend(Hash::Sha256, event.register, &event.digest);
        }
        let accepted =
            AlgorithmsAccepted::from_names(&["sha256".to_owned()], &["rsa".to_owned()], &["rsassa".to_owned()])
                .unwrap();
        let mut machine = Self {
            ak: Ak::new(Public::from_tpm2b(&tpm.ak.tpm2b_public()).unwrap()).unwrap(),
            boot: MeasuredBootPolicy::parse(measured::boot_policy(&[b"linux"], "quiet").as_bytes()).unwrap(),
            policy: TpmPolicy::parse("{}", &[HashAlgorithm::Sha256]).unwrap(),
            runtime: runtime(),
            lines: Vec::new(),
            accepted,
            events,
            tpm,
        };
        machine.list(&measured::boot_aggregate(&measured::firmware_registers(&machine.events)));
        for number in 1..SETTLED {
            machine.run(number);
        }
        machine
    }

    fn run(&mut self, number: usize) {
        self.list(&measured::file(&path(number), &number.to_le_bytes()));
    }

    fn list(&mut self, entry: &measured::ImaEntry) {
        self.tpm.extend(Hash::Sha256, 10, &entry.digest);
        self.lines.push(entry.line.clone() + "\n");
    }

    fn reference<'a>(
        &'a self,
        before: Option<&'a BootJudgement>,
        state: &'a MeasurementState,
        asked_from: u64,
    ) -> Reference<'a> {
        Reference {
            ak: &self.ak,
            accepted: &self.accepted,
            previous_clock: None,
            policy: &self.policy,
            measured_boot: Some(BootReference { policy: &self.boot, before }),
            runtime: Some(RuntimeReference { current: &self.runtime, earlier: &[], state, asked_from }),
        }
    }

    /// A quote over what is asked for from this entry on.
    fn quote(&self, from: u64) -> SoftQuote {
        let mask = self.reference(None, &unread_list(), from).mask() | 1 << PCR_PAYLOAD_KEY;
        self.tpm.clone().quote(NONCE, Hash::Sha256, mask)
    }

    fn answer(&self, from: usize) -> IntegrityQuote {
        IntegrityQuote {
            quote: self.quote(from as u64).keylime_string(),
            hash_alg: "sha256".into(),
            enc_alg: "rsa".into(),
            sign_alg: "rsassa".into(),
            pubkey: Some(NK.into()),
            ima_measurement_list: Some(self.lines[from..].concat()),
            ima_measurement_list_entry: Some(from as u64),
            mb_measurement_list: Some(STANDARD.encode(measured::boot_log(&self.events))),
        }
    }

    fn judge(
        &self,
        answer: IntegrityQuote,
        before: Option<&BootJudgement>,
        state: &MeasurementState,
        from: u64,
    ) -> Appraisal {
        let evidence = Evidence::from_answer(&answer).unwrap();
        let lists = Lists::from_answer(answer);
        appraise(&self.reference(before, state, from), NONCE, &evidence, &lists)
    }
}

fn firmware_event(number: usize) -> BootEvent {
    /// `EV_EFI_ACTION`.
    const ACTION: u32 = 0x8000_0007;
    let data = format!("{number:0FIRMWARE_EVENT_BYTES$}").into_bytes();
    BootEvent { register: 1, event_type: ACTION, digest: openssl::sha::sha256(&data), data }
}

fn path(number: usize) -> String {
    format!("/usr/lib/x86_64-linux-gnu/package-{}/lib{number}.so", number / 50)
}

fn runtime() -> PolicyStack {
    let files: Vec<(String, [u8; 8])> =
        (0..POLICY_FILES).map(|number| (path(number), (number as u64).to_le_bytes())).collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(path, content)| (path.as_str(), content.as_slice())).collect();
    compile_runtime(measured::runtime_policy(&files, &["/tmp/.*"]).as_bytes()).unwrap()
}

/// The signature check alone: key parsed, signature in openssl's form.
struct Bare {
    key: PKey<PublicHalf>,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl Bare {
    fn new(tpm: &SoftTpm, quote: &SoftQuote) -> Self {
        let der = tpm.ak.key.public_key_to_der().unwrap();
        // Scheme, hash, size: 16 bits each, then the signature.
        let signature = quote.signature[6..].to_vec();
        Self { key: PKey::public_key_from_der(&der).unwrap(), message: quote.attest.clone(), signature }
    }

    fn check(&self) {
        let mut verifier = Verifier::new(MessageDigest::sha256(), &self.key).unwrap();
        assert!(black_box(verifier.verify_oneshot(&self.signature, &self.message)).unwrap());
    }
}
