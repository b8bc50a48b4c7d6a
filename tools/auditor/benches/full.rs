//! What it costs to judge every quote of a full proof again, beside bare openssl checks of the same signatures.
//!
//! One machine with a soft TPM whose AK is RSA-2048 or P-256; its quotes cover two registers under a static policy. Ours is
//! all that `attestry-audit verify --full` does with the proof's bytes: form, censuses, tree, chain, identity, nonces,
//! signatures, verdicts, appraisal. Theirs is openssl's check of each signature with a prepared key. Both run by turns and
//! are compared by the processor time they take, on however many processors: what one core would need.
#![expect(clippy::cast_precision_loss, clippy::indexing_slicing, reason = "rates; a benchmark fails by panicking")]

use std::{hint::black_box, time::Instant};

use evidence::ek_certificate::TrustStore;
use fixtures_bench::{Report, process::cpu_seconds};
use fixtures_histories::SyntheticLog;
use fixtures_softtpm::{Hash, KeyKind, SoftCa, SoftQuote, SoftTpm, Validity};
use ledger_history::interval::{Request, prove};
use ledger_protocol::{
    NonceInputs,
    body::{
        AgentPolicy, BankValues, Binding, ImaDelta, ImaState, NamedDigest, PolicyBody, QuoteBody, Verdict,
        VerdictResult,
    },
};
use messages::{AgentId, Digest};
use openssl::{
    hash::MessageDigest,
    pkey::{PKey, Public},
    sign::Verifier,
};
use serde_bytes::ByteBuf;
use tools_auditor::{
    interval::{Evidence, IntervalQuestion, verify},
    report::Conclusion,
    verify::Question,
};

type Failed = Box<dyn std::error::Error>;

/// PCR 15 by policy and PCR 16, which every quote has.
const MASK: u32 = 1 << 15 | 1 << 16;
const INTERVAL_MS: u64 = 2_000;
const SAMPLES: usize = 7;

fn main() -> Result<(), Failed> {
    // Cargo's test runs build benchmarks and start them with `--test`: one small sample will do.
    let trial = std::env::args().any(|argument| argument == "--test");
    let mut report = Report::new("full_proof");
    for (name, kind, quotes) in [("rsa2048", KeyKind::RSA_2048, 10_000), ("p256", KeyKind::P256, 5_000)] {
        measure(&mut report, name, kind, if trial { 20 } else { quotes }, if trial { 1 } else { SAMPLES })?;
    }
    report.write()?;
    Ok(())
}

fn measure(report: &mut Report, name: &str, kind: KeyKind, quotes: usize, samples: usize) -> Result<(), Failed> {
    let ca = SoftCa::root("bench manufacturer");
    let mut machine = Machine::enrol(SyntheticLog::new(0, 0), kind, &ca)?;
    let signed: Vec<SoftQuote> = (0..quotes).map(|_| machine.round()).collect::<Result<_, _>>()?;
    let Machine { mut log, agent, tpm, .. } = machine;
    log.close();
    let request = Request { full: true, ..log.request(&agent, log.now() - quotes as u64 * 3, log.now()) };
    let proof = prove(&log, &request)?.encode();
    let mut roots = TrustStore::new();
    roots.add("root.pem", &ca.pem())?;
    let (log_key, roots) = (log.log_key(), Some(&roots));
    let question = Question {
        log_key,
        roots,
        agent: None,
        from: None,
        to: None,
        policy_signers: None,
        witnesses: None,
        stamps: None,
    };
    let interval = IntervalQuestion { log_key, agent: Some(&agent), witnesses: None, authorities: None };
    let blob = |digest: &Digest| log.get_blob(digest);
    let key = PKey::public_key_from_der(&tpm.ak.key.public_key_to_der()?)?;
    let bare: Vec<(&SoftQuote, Vec<u8>)> = signed.iter().map(|quote| (quote, bare_signature(&key, quote))).collect();
    let (mut ratios, mut walls, mut per_s, mut bare_per_s) = (vec![], vec![], vec![], vec![]);
    let mut without = Vec::new();
    for _ in 0..samples {
        let (ours, ours_wall) = time(|| {
            let done = verify(&proof, &interval, Some(Evidence { blob: &blob, question: &question }));
            match done.conclusion {
                Conclusion::Verified => Ok(()),
                _ => Err(format!("the proof is not verified: {:?} {:?}", done.refused, done.checks)),
            }
        })?;
        let (theirs, theirs_wall) = time(|| {
            for (quote, signature) in &bare {
                let mut verifier = Verifier::new(MessageDigest::sha256(), &key).map_err(|error| error.to_string())?;
                let valid = verifier.verify_oneshot(signature, &quote.attest).map_err(|error| error.to_string())?;
                assert!(black_box(valid), "a soft TPM's signature");
            }
            Ok(())
        })?;
        let (structure, _) = time(|| {
            black_box(verify(&proof, &interval, None));
            Ok(())
        })?;
        ratios.push(ours / theirs);
        walls.push(ours_wall / theirs_wall);
        per_s.push(2.0 * quotes as f64 / ours);
        bare_per_s.push(quotes as f64 / theirs);
        without.push(2.0 * quotes as f64 / structure);
    }
    report.add(&format!("interval_full_signatures_ratio_{name}"), "1", ratios);
    report.add(&format!("interval_full_signatures_wall_ratio_{name}"), "1", walls);
    report.add(&format!("interval_full_{name}_entries_per_cpu_s"), "1/s", per_s);
    report.add(&format!("interval_full_{name}_unsigned_entries_per_cpu_s"), "1/s", without);
    report.add(&format!("bare_{name}_checks_per_cpu_s"), "1/s", bare_per_s);
    Ok(())
}

/// Processor time and wall time, in seconds.
fn time(work: impl FnOnce() -> Result<(), String>) -> Result<(f64, f64), Failed> {
    let (cpu, wall) = (cpu_seconds(), Instant::now());
    work()?;
    Ok(((cpu_seconds() - cpu).max(0.01), wall.elapsed().as_secs_f64()))
}

/// A machine in a log.
struct Machine {
    log: SyntheticLog,
    agent: AgentId,
    tpm: SoftTpm,
    binding: Digest,
    policy: Digest,
}

impl Machine {
    fn enrol(mut log: SyntheticLog, kind: KeyKind, ca: &SoftCa) -> Result<Self, Failed> {
        let tpm = SoftTpm::new(kind, 0);
        let agent: AgentId = "hypervisor-1".parse()?;
        let binding = Binding {
            version: 1,
            agent: agent.clone(),
            ek: ByteBuf::from(tpm.ek.tpm2b_public()),
            ak: ByteBuf::from(tpm.ak.tpm2b_public()),
            ek_certificate: Some(ByteBuf::from(ca.certify_ek(&tpm.ek.key, Validity::USUAL))),
            chain: Vec::new(),
        };
        let binding = log.put_blob(binding.encode());
        log.enrol_under(agent.as_str(), binding);
        let value = hex(tpm.read(Hash::Sha256, 15));
        let policy = log.put_blob(format!("{{\"15\": [\"{value}\"], \"mask\": \"0x8000\"}}").into_bytes());
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        let body = AgentPolicy {
            interval_ms: INTERVAL_MS,
            tolerance_ms: 10_000,
            hash_algs: names(&["sha256"]),
            enc_algs: names(&["rsa", "ecc"]),
            sign_algs: names(&["rsassa", "rsapss", "ecdsa"]),
            labels: vec![],
            policies: vec![NamedDigest { role: "tpm".into(), digest: policy }],
            binding,
        };
        log.append(Some(&agent), &PolicyBody::Agent(body));
        log.close();
        Ok(Self { log, agent, tpm, binding, policy })
    }

    /// One quote and its verdict, two seconds later, with a checkpoint for every minute.
    fn round(&mut self) -> Result<SoftQuote, Failed> {
        let Self { log, agent, tpm, binding, policy } = self;
        log.advance_ms(INTERVAL_MS);
        tpm.advance(INTERVAL_MS);
        if (log.now() / 2).is_multiple_of(30) {
            log.checkpoint();
        }
        let (beacon, salt) = (log.beacon(), Digest(openssl::sha::sha256(&log.now().to_be_bytes())));
        let nonce = NonceInputs { beacon, agent, head: log.head(agent), salt }.derive();
        let quote = tpm.quote(nonce.as_str().as_bytes(), Hash::Sha256, MASK);
        let values = quote.values.iter().map(|(index, value)| (u64::from(*index), ByteBuf::from(value.clone())));
        let body = QuoteBody {
            beacon,
            salt,
            attest: ByteBuf::from(quote.attest.clone()),
            signature: ByteBuf::from(quote.signature.clone()),
            pcrs: vec![BankValues { alg: u64::from(quote.bank.id()), values: values.collect() }],
            ima: ImaDelta::default(),
            boot_log: None,
        };
        let leaf = log.append(Some(agent), &body);
        let verdict = Verdict {
            quote: leaf,
            result: VerdictResult::Pass,
            findings: vec![],
            policies: vec![*policy],
            binding: *binding,
            appraiser: "bench".into(),
            ima_state: ImaState::default(),
        };
        log.append(Some(agent), &verdict);
        Ok(quote)
    }
}

/// The signature in openssl's form.
fn bare_signature(key: &PKey<Public>, quote: &SoftQuote) -> Vec<u8> {
    let body = quote.signature.get(4..).expect("algorithms and a TPM2B");
    let size = |bytes: &[u8]| usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    let first = &body[2..2 + size(body)];
    if key.rsa().is_ok() {
        return first.to_vec();
    }
    let number = |bytes| openssl::bn::BigNum::from_slice(bytes).expect("memory");
    let second = &body[4 + first.len()..];
    let signature = openssl::ecdsa::EcdsaSig::from_private_components(number(first), number(second));
    signature.and_then(|signature| signature.to_der()).expect("openssl encodes")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
