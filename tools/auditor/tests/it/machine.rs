//! A machine with a soft TPM, and the rounds a verifier makes with it.

use evidence::{ek_certificate::TrustStore, runtime_policy::Signers};
use fixtures_softtpm::{Hash, KeyKind, SoftCa, SoftQuote, SoftTpm, Validity};
use ledger_protocol::{
    Beacon, NonceInputs,
    body::{
        AgentPolicy, BankValues, Binding, Enrol, Finding, ImaDelta, ImaState, KeyRelease, Label, NamedDigest,
        PolicyBody, QuoteBody, ReleasePhase, Verdict, VerdictResult,
    },
};
use messages::{AgentId, Digest};
use serde_bytes::ByteBuf;
use tools_auditor::{
    report::Report,
    verify::{Question, verify},
};

use crate::log::Log;

pub(crate) const INTERVAL_MS: u64 = 2_000;
pub(crate) const TOLERANCE_MS: u64 = 1_000;
/// PCR 15 by policy and PCR 16 for the payload key.
pub(crate) const MASK: u32 = 1 << 15 | 1 << 16;
pub(crate) const KEY_ID: Digest = Digest([7; 32]);
const PEM: &[u8] = b"-----BEGIN PUBLIC KEY-----\nnot looked at by an auditor\n-----END PUBLIC KEY-----\n";

/// A machine, its place in a log, and the operator's view of it.
pub(crate) struct Machine {
    pub(crate) agent: AgentId,
    pub(crate) tpm: SoftTpm,
    pub(crate) binding: Binding,
    pub(crate) policy: Digest,
    pub(crate) recipient: Digest,
}

/// A round's entries, before they are appended.
pub(crate) struct Round {
    pub(crate) quote: QuoteBody,
    pub(crate) result: VerdictResult,
    pub(crate) findings: Vec<Finding>,
}

impl Machine {
    pub(crate) fn new(id: &str, kind: KeyKind, number: usize, ca: &SoftCa) -> Self {
        let agent: AgentId = id.parse().unwrap();
        let mut tpm = SoftTpm::new(kind, number);
        tpm.reset_register(16);
        tpm.measure(16, PEM);
        let binding = Binding {
            version: 1,
            agent: agent.clone(),
            ek: ByteBuf::from(tpm.ek.tpm2b_public()),
            ak: ByteBuf::from(tpm.ak.tpm2b_public()),
            ek_certificate: Some(ByteBuf::from(ca.certify_ek(&tpm.ek.key, Validity::USUAL))),
            chain: Vec::new(),
        };
        let recipient = Digest(openssl::sha::sha256(PEM));
        Self { agent, tpm, binding, policy: Digest::ZERO, recipient }
    }

    pub(crate) fn enrol(&mut self, log: &mut Log) {
        let binding = log.put_blob(&self.binding.encode());
        let ek_certificate = u8::from(self.binding.ek_certificate.is_none());
        let registrar = "attestry-registrar/test".to_owned();
        log.append(Some(&self.agent), &Enrol { slot: 0, binding, ek_certificate, registrar });
    }

    /// The policy that asks for PCR 15 as it is now.
    pub(crate) fn set_policy(&mut self, log: &mut Log) {
        let value = hex::encode(self.tpm.read(Hash::Sha256, 15));
        self.policy = log.put_blob(format!("{{\"15\": [\"{value}\"], \"mask\": \"0x8000\"}}").as_bytes());
        let body = self.policy_body(self.policy);
        log.append(Some(&self.agent), &PolicyBody::Agent(body));
    }

    pub(crate) fn policy_body(&self, digest: Digest) -> AgentPolicy {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        AgentPolicy {
            interval_ms: INTERVAL_MS,
            tolerance_ms: TOLERANCE_MS,
            hash_algs: names(&["sha256", "sha384"]),
            enc_algs: names(&["rsa", "ecc", "ecc384"]),
            sign_algs: names(&["rsassa", "rsapss", "ecdsa"]),
            labels: vec![Label { name: "role".into(), value: "hypervisor".into() }],
            policies: vec![NamedDigest { role: "tpm".into(), digest }],
            binding: self.binding.digest(),
        }
    }

    /// The nonce of the chain's next entry.
    pub(crate) fn nonce(&self, log: &Log, beacon: Beacon, salt: Digest) -> String {
        NonceInputs { beacon, agent: &self.agent, head: log.head(&self.agent), salt }.derive().as_str().to_owned()
    }

    /// A quote in answer to the challenge of the chain's next entry.
    pub(crate) fn challenge(&mut self, log: &mut Log) -> Round {
        let beacon = log.sign();
        let salt = Digest(openssl::sha::sha256(&beacon.tree_size.to_be_bytes()));
        let nonce = self.nonce(log, beacon, salt);
        self.tpm.advance(INTERVAL_MS);
        let quote = self.tpm.quote(nonce.as_bytes(), Hash::Sha256, MASK);
        Round { quote: quote_body(beacon, salt, &quote), result: VerdictResult::Pass, findings: Vec::new() }
    }

    /// Appends a round; returns the verdict's leaf hash.
    pub(crate) fn record(&self, log: &mut Log, round: &Round) -> Digest {
        let quote = log.append(Some(&self.agent), &round.quote);
        log.append(Some(&self.agent), &self.verdict(quote, round))
    }

    pub(crate) fn verdict(&self, quote: Digest, round: &Round) -> Verdict {
        Verdict {
            quote,
            result: round.result,
            findings: round.findings.clone(),
            policies: vec![self.policy],
            binding: self.binding.digest(),
            appraiser: "attestry-verifier/test".into(),
            ima_state: ImaState::default(),
        }
    }

    /// A round that passes, after the interval.
    pub(crate) fn pass(&mut self, log: &mut Log) -> Digest {
        let round = self.challenge(log);
        let verdict = self.record(log, &round);
        log.now += INTERVAL_MS;
        log.noise();
        verdict
    }

    /// A round that fails for a changed register, after the interval.
    pub(crate) fn fail(&mut self, log: &mut Log) -> Digest {
        let round = Round { result: VerdictResult::Fail, findings: vec![wrong_register()], ..self.challenge(log) };
        let verdict = self.record(log, &round);
        log.now += INTERVAL_MS;
        verdict
    }

    pub(crate) fn release(&self, log: &mut Log, phase: ReleasePhase, verdict: Digest) -> Digest {
        let body = KeyRelease { phase, verdict, key_id: KEY_ID, recipient: self.recipient, reason: "test".to_owned() };
        log.append(Some(&self.agent), &body)
    }
}

pub(crate) fn wrong_register() -> Finding {
    let text = "PCR 15 of bank sha256: aa; expected bb; layer tpm_policy 00".to_owned();
    Finding { component: "pcr_validation".into(), event: "invalid_pcr_15".into(), severity: 6, text }
}

pub(crate) fn quote_body(beacon: Beacon, salt: Digest, quote: &SoftQuote) -> QuoteBody {
    let values = quote.values.iter().map(|(index, value)| (u64::from(*index), ByteBuf::from(value.clone()))).collect();
    QuoteBody {
        beacon,
        salt,
        attest: ByteBuf::from(quote.attest.clone()),
        signature: ByteBuf::from(quote.signature.clone()),
        pcrs: vec![BankValues { alg: u64::from(quote.bank.id()), values }],
        ima: ImaDelta::default(),
        boot_log: None,
    }
}

/// A whole story in a log: enrolled, three passes with a key release, a violation, withheld.
pub(crate) struct Story {
    pub(crate) log: Log,
    pub(crate) machine: Machine,
    pub(crate) ca: SoftCa,
    pub(crate) folder: tempfile::TempDir,
}

impl Story {
    /// Enrolled and with a policy, nothing judged yet.
    pub(crate) fn begun(kind: KeyKind) -> Self {
        let ca = SoftCa::root("test manufacturer");
        let mut log = Log::new(1);
        let mut machine = Machine::new("node-1", kind, 0, &ca);
        machine.enrol(&mut log);
        log.now += 500;
        log.noise();
        machine.set_policy(&mut log);
        log.now += 500;
        Self { log, machine, ca, folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn told() -> Self {
        let mut story = Self::begun(KeyKind::P256);
        let Self { log, machine, .. } = &mut story;
        let verdict = machine.pass(log);
        machine.release(log, ReleasePhase::Authorised, verdict);
        machine.release(log, ReleasePhase::Delivered, verdict);
        machine.pass(log);
        machine.pass(log);
        machine.tpm.measure(15, b"something unexpected");
        let verdict = machine.fail(log);
        machine.release(log, ReleasePhase::Revoked, verdict);
        machine.fail(log);
        story
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("bundle")
    }

    /// Writes the bundle of all the machine's entries.
    pub(crate) fn export(&mut self) -> std::path::PathBuf {
        let chosen = self.log.indices(&self.machine.agent);
        self.export_chosen(&chosen)
    }

    pub(crate) fn export_chosen(&mut self, chosen: &[u64]) -> std::path::PathBuf {
        let path = self.path();
        self.log.bundle(&self.machine.agent, chosen, &path);
        path
    }

    pub(crate) fn roots(&self) -> TrustStore {
        let mut roots = TrustStore::new();
        roots.add("root.pem", &self.ca.pem()).unwrap();
        roots
    }

    /// Verifies the exported bundle with the right key and roots.
    pub(crate) fn verify(&self) -> Report {
        self.verify_with(None)
    }

    /// The same with signers of policies that the auditor trusts.
    pub(crate) fn verify_with(&self, policy_signers: Option<&Signers>) -> Report {
        let roots = self.roots();
        let log_key = self.log.signer.verifier();
        let (roots, witnesses) = (Some(&roots), None);
        let question =
            Question { log_key, roots, agent: None, from: None, to: None, policy_signers, witnesses, stamps: None };
        verify(&self.path(), &question)
    }

    /// Exports and verifies.
    pub(crate) fn audit(&mut self) -> Report {
        self.export();
        self.verify()
    }
}
