//! One round: challenge, evidence, appraisal, record.

use std::sync::Arc;

use evidence::{attest::Attest, runtime_policy::PolicyStack};
use http::{Method, StatusCode};
use ledger_protocol::{NonceInputs, body::ImaDelta};
use messages::{
    Digest, UnixMillis,
    envelope::Envelope,
    keylime::{AgentVersions, IntegrityQuote, VERSIONS_SUPPORTED},
    ledger::{BLOB_BYTES_MAX, Head, Item},
};
use openssl::sha::sha256;
use transport::client::{Answer, ClientError, Outgoing};
use verifier_protocol::{
    appraisal::{Appraisal, Evidence, ListPart, Lists, MeasurementText, Outcome, Reference, appraise},
    session::{Input, Judged, KeyStep, Loss},
};

use super::{Agent, judging::Basis};
use crate::{
    appraisers::{self, Room, Stopping},
    entries::{self, Challenge, Logs},
    entropy,
    error_chain::chain,
    store::{Algorithms, ClockRow},
    terms,
};

/// A round whose evidence has come.
pub(super) struct Round {
    appraisal: Appraisal,
    challenge: Challenge,
    evidence: Evidence,
    head: Head,
    lists: Lists,
    /// For the lists, if they are long, until they are recorded.
    room: Option<Room>,
}

/// An answer to a challenge.
struct Answered {
    challenge: Challenge,
    evidence: Evidence,
    head: Head,
    lists: Lists,
    nonce: String,
}

/// What an answer is judged by, apart from the agent, whose task need not wait on the same thread.
struct Question {
    basis: Basis,
    clock: Option<ClockRow>,
    /// The entry the list was asked for from.
    from: u64,
    nonce: String,
    reference: Arc<terms::Reference>,
}

impl Question {
    fn judge(&self, evidence: &Evidence, lists: &Lists) -> Appraisal {
        let earlier = self.basis.earlier();
        let reference = reference(&self.reference, self.clock, &self.basis, &earlier, self.from);
        appraise(&reference, self.nonce.as_bytes(), evidence, lists)
    }
}

fn reference<'a>(
    terms: &'a terms::Reference,
    clock: Option<ClockRow>,
    basis: &'a Basis,
    earlier: &'a [&'a PolicyStack],
    from: u64,
) -> Reference<'a> {
    Reference {
        ak: &terms.ak,
        accepted: &terms.accepted,
        previous_clock: clock.map(ClockRow::info),
        policy: &terms.policy,
        measured_boot: basis.boot(),
        runtime: basis.runtime(earlier, from),
    }
}

/// Which lists the ledger's blob store has already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LogsKept {
    boot_log: Option<Digest>,
    ima: Option<Digest>,
    /// The next IMA entry to ask for when no policy judges the list.
    ima_next: u64,
    policy: bool,
}

impl Round {
    /// The payload key that the evidence showed, PEM.
    pub(super) fn payload_key(&self) -> Option<&str> {
        self.evidence.payload_key()
    }
}

impl Agent {
    /// Asks for a quote with a nonce made of the latest checkpoint, the chain and fresh randomness,
    /// and appraises the answer. Recording it is another step.
    pub(super) async fn challenge(&mut self) -> Input {
        self.round = None;
        match self.asked().await {
            Ok(judged) => Input::EvidenceArrived(judged),
            Err(input) => input,
        }
    }

    async fn asked(&mut self) -> Result<Judged, Input> {
        self.head().await?;
        self.check_enrolment()?;
        self.follow_names().await?;
        self.load_policies().await?;
        let basis = self.judging.basis();
        let judged_from = self.judging.next_entry();
        let mut from = judged_from.unwrap_or(self.logs_kept.ima_next);
        let mut answered = self.put_challenge(&basis, from).await?;
        if judged_from.is_some() && from != 0 && self.was_reset(&answered.evidence) {
            // The list has begun anew. What was asked for is of before; nothing of the answer is used.
            from = 0;
            answered = self.put_challenge(&basis, from).await?;
        }
        let (answered, room) = self.given_room(answered, &basis, from).await?;
        let Answered { challenge, evidence, head, lists, nonce } = answered;
        let lists = self.bounded(lists);
        let question = Question { basis, clock: self.clock, from, nonce, reference: Arc::clone(&self.reference) };
        let (appraisal, evidence, lists, room) = if room.is_some() {
            let judge = move || (question.judge(&evidence, &lists), evidence, lists, room);
            self.services.appraisers.run(judge).await.map_err(stopping)?
        } else {
            (question.judge(&evidence, &lists), evidence, lists, room)
        };
        let judged = Judged {
            event: appraisal.first_event(),
            outcome: appraisal.outcome(),
            recipient: evidence.payload_key().map(|pem| Digest(sha256(pem.as_bytes()))),
        };
        self.round = Some(Round { appraisal, challenge, evidence, head, lists, room });
        Ok(judged)
    }

    /// Finds room for long lists. Where there is none they are given up, the round waits its turn without them, and asks
    /// again with a fresh nonce: nothing is lost, and waiting takes no memory.
    async fn given_room(
        &mut self,
        mut answered: Answered,
        basis: &Basis,
        from: u64,
    ) -> Result<(Answered, Option<Room>), Input> {
        let Some(bytes) = appraisers::long_bytes(&answered.lists) else { return Ok((answered, None)) };
        let services = Arc::clone(&self.services);
        if let Some(room) = services.appraisers.room_now(bytes) {
            return Ok((answered, Some(room)));
        }
        tracing::info!(agent = %self.id, bytes, "an agent's lists wait for room among those of others");
        drop(answered);
        // A list grows meanwhile.
        let room =
            services.appraisers.room(bytes.saturating_add(appraisers::SHORT_BYTES_MAX)).await.map_err(stopping)?;
        answered = self.put_challenge(basis, from).await?;
        match appraisers::long_bytes(&answered.lists) {
            Some(bytes) if !room.holds(bytes) => {
                let text = "the agent's lists have outgrown the room they waited for; they are asked for again";
                Err(Input::LedgerUnavailable(text.to_owned()))
            }
            Some(_) => Ok((answered, Some(room))),
            None => Ok((answered, None)),
        }
    }

    /// Sends a fresh challenge, asking for the list from entry `from` on.
    async fn put_challenge(&mut self, basis: &Basis, from: u64) -> Result<Answered, Input> {
        let head = self.head().await?;
        self.check_enrolment()?;
        let beacon = self.services.ledger.beacon().await;
        let beacon = beacon.map_err(|error| Input::LedgerUnavailable(chain(&error)))?;
        let salt = entropy::random::<32>().map(|salt| Digest(*salt));
        let salt = salt.map_err(|error| Input::LedgerUnavailable(format!("no random bytes for a nonce: {error}")))?;
        let challenge = Challenge { beacon, salt };
        let nonce = NonceInputs { beacon, agent: &self.id, head, salt }.derive().as_str().to_owned();
        let mask = reference(&self.reference, self.clock, basis, &[], from).mask();
        let query = format!("nonce={nonce}&mask={mask:#x}&partial=0&ima_ml_entry={from}");
        let answer = self.fetch(&query).await.map_err(|(loss, text)| Input::EvidenceLost(loss, text))?;
        let evidence = Evidence::from_answer(&answer);
        let evidence = evidence.map_err(|error| Input::EvidenceLost(Loss::NoQuote, error.to_string()))?;
        Ok(Answered { challenge, evidence, head, lists: Lists::from_answer(answer), nonce })
    }

    /// Whether the quote speaks of another start of the machine than the last one accepted. Decides only
    /// what is asked for next; the quote that comes then is what counts.
    fn was_reset(&self, evidence: &Evidence) -> bool {
        let found = Attest::parse(evidence.attest()).ok().map(|attest| attest.clock_info.reset_count);
        found.is_some() && found != self.clock.map(|clock| clock.reset_count)
    }

    /// Whether the chain still enrols the TPM that the terms are about. The place is as good as the head: an
    /// enrolment that comes later moves the chain's end, and nothing of this round is appended then.
    fn check_enrolment(&mut self) -> Result<(), Input> {
        let refused = match (self.enrolled, self.terms.terms.bound.binding) {
            (Some(enrolled), Some(bound)) if enrolled == bound => return Ok(()),
            (Some(enrolled), _) => {
                format!("the agent is now enrolled under the binding {enrolled}; update or delete it")
            }
            (None, _) => "the agent is not enrolled; delete it, or let it register again".to_owned(),
        };
        // Read again the next time: nothing else would bring the chain's news.
        self.head = None;
        Err(Input::LedgerRefused(refused))
    }

    /// Appends quote and verdict, and the key's step, in one group; blobs first.
    pub(super) async fn record_round(&mut self, step: Option<KeyStep>) -> Input {
        // Nothing to record: as if another had taken the place.
        let Some(mut round) = self.round.take() else {
            return Input::Conflict;
        };
        let input = match self.append_round(&round, step).await {
            Ok(verdict) => {
                self.verdict = verdict;
                let current = self.terms.terms.runtime.as_ref().map(|chosen| chosen.kept.content);
                self.judging.settle(&round.appraisal, current);
                if let Some(clock) = round.appraisal.clock() {
                    self.clock = Some(ClockRow::of(&clock));
                }
                if round.appraisal.outcome() != Outcome::Pass {
                    self.finding = round.appraisal.findings().into_iter().next().map(|finding| finding.text);
                }
                self.algorithms = Algorithms {
                    hash: printable(round.evidence.hash_alg()),
                    enc: printable(round.evidence.enc_alg()),
                    sign: printable(round.evidence.sign_alg()),
                };
                Input::Recorded(Some(verdict))
            }
            Err(input) => input,
        };
        // The ledger has them, or they are asked for again.
        (round.lists, round.room) = (Lists::default(), None);
        self.round = Some(round);
        input
    }

    async fn append_round(&mut self, round: &Round, step: Option<KeyStep>) -> Result<Digest, Input> {
        let logs = self.keep_lists(&round.lists).await?;
        let binding = self.terms.terms.bound.binding.unwrap_or_default();
        let policies = self.terms.terms.policies().iter().map(|policy| policy.digest).collect();
        let mut items: Vec<Item> = vec![
            entries::quote(&round.challenge, &round.evidence, &logs),
            entries::verdict(&round.appraisal, policies, binding),
        ];
        if let Some(step) = step {
            let event = round.appraisal.first_event().unwrap_or_default();
            items.push(entries::key_step(step, self.key_id(), &event));
        }
        let receipts = self.append(round.head, items).await?;
        // Where the list began is the agent's word.
        self.logs_kept.ima_next = logs.ima.from.saturating_add(logs.ima.count);
        Ok(receipts.get(1).map(|verdict| verdict.leaf_hash).unwrap_or_default())
    }

    async fn keep_lists(&mut self, lists: &Lists) -> Result<Logs, Input> {
        if !self.logs_kept.policy {
            self.keep(self.terms.terms.tpm_policy.clone().into_bytes()).await?;
            self.logs_kept.policy = true;
        }
        let from = self.judging.next_entry().unwrap_or(self.logs_kept.ima_next);
        let mut logs = Logs { ima: ImaDelta { from, ..ImaDelta::default() }, boot_log: None };
        if let Some(log) = lists.boot_log.present() {
            let digest = Digest(sha256(log));
            // Resent whole each time; stored once.
            if self.logs_kept.boot_log != Some(digest) {
                self.keep_list(log.clone()).await?;
                self.logs_kept.boot_log = Some(digest);
            }
            logs.boot_log = Some(digest);
        }
        if let Some(MeasurementText { first_entry, text }) = lists.ima.present() {
            let count = text.lines().count() as u64;
            let delta = (count > 0).then(|| Digest(sha256(text.as_bytes())));
            // The same again while the machine fails on it.
            if delta.is_some() && self.logs_kept.ima != delta {
                self.keep_list(text.clone().into_bytes()).await?;
                self.logs_kept.ima = delta;
            }
            logs.ima = ImaDelta { from: *first_entry, count, delta };
        }
        Ok(logs)
    }

    /// Takes lists that the agent may not have kept for lists that did not come: nothing is judged that
    /// cannot be recorded.
    fn bounded(&mut self, mut lists: Lists) -> Lists {
        if let Some(log) = lists.boot_log.present()
            && self.logs_kept.boot_log != Some(Digest(sha256(log)))
            && !self.allows(log.len())
        {
            lists.boot_log = ListPart::Unusable(TOO_FAST.to_owned());
        }
        if let Some(MeasurementText { text, .. }) = lists.ima.present()
            && self.logs_kept.ima != Some(Digest(sha256(text.as_bytes())))
            && !self.allows(text.len())
        {
            lists.ima = ListPart::Unusable(TOO_FAST.to_owned());
        }
        lists
    }

    /// Whether the agent may have so much more kept. What is left out is named by no entry.
    fn allows(&mut self, bytes: usize) -> bool {
        let allowed = self.list_allowance.has(bytes, self.services.clock.now());
        if !allowed {
            tracing::warn!(agent = %self.id, bytes, "an agent's lists grow faster than they are kept; one is left out");
        }
        allowed
    }

    async fn keep_list(&mut self, list: Vec<u8>) -> Result<Digest, Input> {
        let bytes = list.len();
        let kept = self.keep(list).await?;
        self.list_allowance.spend(bytes);
        Ok(kept)
    }

    async fn keep(&self, bytes: Vec<u8>) -> Result<Digest, Input> {
        let kept = self.services.ledger.put_blob(bytes).await;
        kept.map_err(|error| Input::LedgerUnavailable(chain(&error)))
    }

    pub(super) async fn record_miss(&mut self, due: UnixMillis, attempts: u32, loss: Loss, text: &str) -> Input {
        match self.append_one(entries::miss(due, attempts, loss, text)).await {
            Ok(_) => Input::Recorded(None),
            Err(input) => input,
        }
    }

    async fn fetch(&mut self, query: &str) -> Result<IntegrityQuote, (Loss, String)> {
        let answer = self.ask_for_quote(query).await?;
        let answer = match api_version_refused(&answer) {
            true => {
                self.renegotiate().await?;
                self.ask_for_quote(query).await?
            }
            false => answer,
        };
        let text = || format!("the agent answered {}", answer.status);
        let long = answer.body.len() > appraisers::SHORT_BYTES_MAX;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::REQUEST_TIMEOUT => return Err((Loss::Unreachable, text())),
            status if status.is_server_error() => return Err((Loss::Unreachable, text())),
            _ => return Err((Loss::Refused, text())),
        }
        let parse = move || serde_json::from_slice::<Envelope<IntegrityQuote>>(&answer.body);
        // Long lists would hold up other agents already by being unescaped.
        let envelope = if long {
            let parsed = tokio::task::spawn_blocking(parse).await;
            parsed.map_err(|error| (Loss::NoQuote, format!("the answer was not read: {error}")))?
        } else {
            parse()
        };
        envelope.map(|envelope| envelope.results).map_err(|error| {
            let place = format!("line {} column {}", error.line(), error.column());
            (Loss::NoQuote, format!("the answer is not the JSON of a quote ({place})"))
        })
    }

    /// Always with the payload key: an agent that was restarted has a new one.
    async fn ask_for_quote(&self, query: &str) -> Result<Answer, (Loss, String)> {
        let url = format!("{}/quotes/integrity?{query}", self.terms.terms.base_url(&self.api_version));
        let outgoing = Outgoing { answer_bytes_max: ANSWER_BYTES_MAX, ..self.outgoing(Method::GET, url) };
        self.client.request(outgoing).await.map_err(lost)
    }

    pub(super) fn outgoing(&self, method: Method, url: String) -> Outgoing {
        Outgoing { timeout: self.services.polling.request_timeout, ..Outgoing::new(method, url) }
    }

    /// Finds the highest version both speak; never a lower one once a quote has passed, which would
    /// let the agent choose weaker rules.
    async fn renegotiate(&mut self) -> Result<(), (Loss, String)> {
        let url = self.terms.terms.base_url("2");
        let url = format!("{}/version", url.trim_end_matches("/v2"));
        let answer = self.client.request(self.outgoing(Method::GET, url)).await.map_err(lost)?;
        let versions: Envelope<AgentVersions> = serde_json::from_slice(&answer.body)
            .map_err(|_| (Loss::Refused, "the agent refuses the API version and names no other".to_owned()))?;
        let AgentVersions { supported_version, supported_versions } = versions.results;
        let rank = |version: &str| VERSIONS_SUPPORTED.iter().position(|known| *known == version);
        let offered = supported_versions.iter().chain([&supported_version]);
        let best = offered.filter_map(|version| rank(version)).max();
        let floor = if self.session.record().attestation_count > 0 { rank(&self.api_version) } else { None };
        match best.filter(|best| Some(*best) >= floor).and_then(|best| VERSIONS_SUPPORTED.get(best)) {
            Some(version) => {
                self.api_version = (*version).to_owned();
                Ok(())
            }
            None => Err((Loss::Refused, "the agent offers no API version that can be used".to_owned())),
        }
    }
}

/// What an agent without this API version says (HTTP 400).
fn api_version_refused(answer: &Answer) -> bool {
    let says = |text: &str| {
        let text = text.to_ascii_lowercase();
        text.contains("api version") && text.contains("not supported")
    };
    answer.status == StatusCode::BAD_REQUEST && std::str::from_utf8(&answer.body).is_ok_and(says)
}

pub(super) fn lost(error: ClientError) -> (Loss, String) {
    let loss = match &error {
        ClientError::AnswerTooLong { .. } => Loss::NoQuote,
        ClientError::CertificateRefused { .. }
        | ClientError::Connect { .. }
        | ClientError::Protocol { .. }
        | ClientError::Timeout { .. }
        | ClientError::Tls { .. }
        | ClientError::TlsSetup { .. }
        | ClientError::Url { .. }
        | ClientError::WrongCertificate { .. } => Loss::Unreachable,
    };
    (loss, chain(&error))
}

/// A name of an algorithm as the agent gave it, fit for a status.
fn printable(name: &str) -> String {
    name.chars().filter(char::is_ascii_graphic).take(ALGORITHM_CHARS_MAX).collect()
}

fn stopping(stopping: Stopping) -> Input {
    Input::LedgerUnavailable(stopping.to_string())
}

const TOO_FAST: &str = "the agent's lists grow faster than they are kept; this one is neither kept nor judged";
/// A boot log and an IMA list, each as large as a blob may be, and base64's third on top.
const ANSWER_BYTES_MAX: usize = BLOB_BYTES_MAX / 3 * 8;
/// The longest name, `ecschnorr`, has nine.
const ALGORITHM_CHARS_MAX: usize = 16;
