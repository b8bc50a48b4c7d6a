//! What findings mean, and what to do: by the names that verdicts have.

mod rules;

/// A finding in words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    pub(super) headline: &'static str,
    pub(super) meaning: &'static str,
    pub(super) action: &'static str,
}

/// A result in words.
pub(super) fn result(result: &str) -> &'static str {
    match result {
        "pass" => "PASS, everything asked for was shown and accepted",
        "fail" => "FAIL, the machine is not trusted until it shows evidence that passes",
        _ => "ERROR, the evidence could not be judged; this is not a pass",
    }
}

/// The words for a finding; general ones for a name that is not known.
pub(super) fn of(component: &str, event: &str) -> Words {
    let all = || TABLE.iter().chain(&rules::TABLE);
    let find = |event: &str| all().find(|(known, name, _)| *known == component && *name == event);
    // Most registers share their words, and so do device-mapper's records.
    let family = || {
        let register = find("invalid_pcr").filter(|_| event.starts_with("invalid_pcr_"));
        register.or_else(|| find("validation.dm").filter(|_| event.starts_with("validation.dm.")))
    };
    find(event).or_else(family).map_or(UNKNOWN, |(_, _, words)| *words)
}

const fn words(headline: &'static str, meaning: &'static str, action: &'static str) -> Words {
    Words { headline, meaning, action }
}

/// For what has no words of its own.
pub(super) const UNKNOWN: Words = words(
    "A check failed",
    "the check's name is not known to this version",
    "go by the text; update attestry to have it explained",
);

const CHANGE: &str =
    "if the change was planned, add it to the policy; if not, take the machine out of service and look at what changed";
const TAMPER: &str =
    "treat the machine as compromised: isolate it, keep the evidence (attestry-audit export), look for who had root";
const POLICY: &str = "correct the policy; try it on this evidence before it is used: attestry policy try";
const RETRY: &str =
    "if it heals by itself in the next round, nothing; if it stays, restart the agent, then look at the machine";

/// Component, event, words.
const TABLE: [(&str, &str, Words); 52] = [
    (
        "qoute_validation",
        "quote_validation",
        words(
            "The TPM's quote is not believed",
            "its signature, nonce, selection of registers or clock is not what was asked for: another TPM, an old quote, or a fault on the way",
            "see which in the text; if the TPM was replaced or cleared, enrol the machine anew; otherwise treat it as compromised",
        ),
    ),
    (
        "qoute_validation",
        "invalid_data",
        words(
            "The answer cannot be read",
            "the agent sent something that is no quote: a version that does not fit, a proxy in between, or somebody testing",
            RETRY,
        ),
    ),
    (
        "qoute_validation",
        "no_pubkey",
        words("The agent did not show its key", "without it no payload can be delivered", "restart the agent"),
    ),
    (
        "qoute_validation",
        "invalid_hash_alg",
        words(
            "The agent uses a hash algorithm that is not accepted",
            "its TPM's bank is too weak, or not the one configured",
            "configure the agent for an accepted bank, or accept this one: attestry tenant update --hash-algs",
        ),
    ),
    (
        "qoute_validation",
        "invalid_enc_alg",
        words(
            "The machine's EK is of a kind that is not accepted",
            "the TPM's key is not one of those allowed for this machine",
            "accept it: attestry tenant update --enc-algs",
        ),
    ),
    (
        "qoute_validation",
        "invalid_sign_alg",
        words(
            "The quote is signed by a scheme that is not accepted",
            "the AK's scheme is not one of those allowed for this machine",
            "accept it: attestry tenant update --sign-algs",
        ),
    ),
    (
        "qoute_validation",
        "invalid_ima_entry_nb",
        words(
            "The measurement list has a gap",
            "the agent did not send the entries that follow the last known one, and not the whole list either",
            RETRY,
        ),
    ),
    (
        "pcr_validation",
        "invalid_pcr",
        words(
            "A register has another value than policy allows",
            "something that is measured into it changed: firmware, boot loader, configuration, or a value somebody extended",
            CHANGE,
        ),
    ),
    (
        "pcr_validation",
        "missing_pcrs",
        words(
            "Registers that policy names were not quoted",
            "what was not shown counts as wrong",
            "have the agent quote them, or take them out of the policy",
        ),
    ),
    (
        "pcr_validation",
        "missing_pcr_16",
        words(
            "The payload key is not bound to the quote",
            "the agent did not extend the hash of its key into PCR 16",
            "restart the agent",
        ),
    ),
    (
        "internal",
        "findings_cut",
        words(
            "There were more findings than a verdict keeps",
            "the first ones are kept, the others counted",
            "mend what the others say first; for all of them run: attestry policy try on the evidence",
        ),
    ),
    (
        "measured_boot",
        "parser.missing_log",
        words(
            "No boot log came",
            "the policy asks what booted, and the machine did not say",
            "check that /sys/kernel/security/tpm0/binary_bios_measurements is there and that the agent may read it",
        ),
    ),
    (
        "measured_boot",
        "parser.log.base64decode",
        words("The boot log is not readable", "it was damaged on the way", RETRY),
    ),
    (
        "measured_boot",
        "parser.tpm2_eventlog.error",
        words(
            "The boot log is malformed",
            "firmware wrote something that is no event log, or somebody changed it",
            "look at the log: attestry inspect boot-log FILE; update the firmware if it wrote that",
        ),
    ),
    (
        "measured_boot",
        "parser.invalid_pcrs_hashes",
        words(
            "The boot log has not the quoted bank's digests",
            "firmware does not measure into the bank that is quoted",
            "switch the bank on in the firmware's setup, or have another one quoted",
        ),
    ),
    (
        "measured_boot",
        "missing_pcrs",
        words(
            "A register the boot policy relies on was not quoted",
            "what was not shown counts as wrong",
            "have the agent quote it",
        ),
    ),
    (
        "measured_boot",
        "invalid_pcr",
        words(
            "The boot log is not the one of this boot",
            "the log's events do not give the register's value: the log was changed, events are missing, or something extended the register later",
            "reboot the machine; if it stays, treat it as compromised",
        ),
    ),
    (
        "measured_boot",
        "accept_all",
        words(
            "Events were not judged",
            "the policy in force accepts every event and only compares registers",
            "give the machine a policy: attestry policy create measured-boot",
        ),
    ),
    (
        "measured_boot",
        "policy_command_line_not_accepted",
        words(
            "The kernel was started with a command line that is not accepted",
            "somebody changed the boot loader's configuration, or chose something in its menu",
            CHANGE,
        ),
    ),
    (
        "measured_boot",
        "policy_data_not_measured",
        words(
            "An event says something else than was measured",
            "the log's text was changed: its digest does not fit. Firmware with faults does this too",
            TAMPER,
        ),
    ),
    (
        "measured_boot",
        "policy_digest_not_accepted",
        words(
            "Something was loaded that the policy does not know",
            "a boot loader, kernel, initrd or section has another digest: an update that is not in the policy yet, or a replaced file",
            CHANGE,
        ),
    ),
    (
        "measured_boot",
        "policy_everything_is_rejected",
        words("The policy rejects every machine", "it was set so", "give the machine another policy"),
    ),
    (
        "measured_boot",
        "policy_grub_command_not_accepted",
        words(
            "GRUB ran a command that is not accepted",
            "its configuration was changed, or somebody typed at its prompt",
            CHANGE,
        ),
    ),
    (
        "measured_boot",
        "policy_key_not_accepted",
        words(
            "Secure Boot trusts a key that is not accepted",
            "somebody enrolled a key, or firmware was updated with new ones, or an image was verified with another key",
            CHANGE,
        ),
    ),
    (
        "measured_boot",
        "policy_key_required",
        words(
            "A revocation is missing",
            "the machine's dbx is older than the policy demands: revoked boot loaders start there",
            "update dbx: fwupdmgr update",
        ),
    ),
    (
        "measured_boot",
        "policy_missing",
        words(
            "Something the policy requires was not measured",
            "a boot stage was left out, or the machine boots in another way",
            CHANGE,
        ),
    ),
    (
        "measured_boot",
        "policy_not_a_tpm_log",
        words(
            "The log is of a confidential guest, not of a TPM",
            "no TPM quotes these registers",
            "give the TPM's log",
        ),
    ),
    (
        "measured_boot",
        "policy_nothing_is_accepted",
        words("The policy accepts nothing", "it has no alternative", POLICY),
    ),
    (
        "measured_boot",
        "policy_nothing_stated_for_bank",
        words(
            "The policy has no digests of the quoted bank",
            "digests of other banks do not count",
            "make the policy for this bank: attestry policy create measured-boot --bank",
        ),
    ),
    (
        "measured_boot",
        "policy_pcr_value_not_accepted",
        words("A register's value is not one of those accepted", "firmware or its configuration changed", CHANGE),
    ),
    (
        "measured_boot",
        "policy_repeated",
        words(
            "Something that is measured once was measured again",
            "a log was put together, or firmware has a fault",
            TAMPER,
        ),
    ),
    (
        "measured_boot",
        "policy_secure_boot_state",
        words(
            "Secure Boot is not in the state required",
            "somebody switched it in the firmware's setup",
            "find out who, set it back and reboot",
        ),
    ),
    (
        "measured_boot",
        "policy_unexplained_event",
        words(
            "Something was measured that the policy does not explain",
            "what is measured beside the known things could be anything, so it fails",
            CHANGE,
        ),
    ),
    (
        "ima",
        "validation.boot_aggregate",
        words(
            "The measurement list is not tied to this boot",
            "its first entry is not the sum of this boot's registers: the list is of another boot or machine",
            TAMPER,
        ),
    ),
    (
        "ima",
        "validation.ima-buf.digest",
        words(
            "A recorded buffer is not what its digest says",
            "the list was changed after the kernel wrote it",
            TAMPER,
        ),
    ),
    (
        "ima",
        "list_gap",
        words(
            "The measurement list has a gap",
            "entries between the last known one and the first sent are missing",
            RETRY,
        ),
    ),
    (
        "ima",
        "list_missing",
        words(
            "Nothing was measured since the machine started",
            "IMA is off or has no rules, or the agent does not send its list",
            "check the kernel's command line and rules: ima_policy=tcb, /etc/ima/ima-policy",
        ),
    ),
    (
        "ima",
        "validation.no_validator",
        words(
            "The list has entries of a kind that is not judged",
            "the kernel's template is one that no check exists for",
            "use a template of the kernel's own, such as ima-ng or ima-sig",
        ),
    ),
    (
        "ima",
        "validation.ima-ng.not_in_allowlist",
        words(
            "A file was run, or a key loaded, that no policy knows",
            "a program was installed or built on the machine, or somebody brought it",
            "find the package: dpkg -S or rpm -qf with the path; if it belongs there add it to the policy, if not treat the machine as compromised",
        ),
    ),
    (
        "ima",
        "parser.entry",
        words("The measurement list cannot be read", "an entry has not the form kernels write", RETRY),
    ),
    (
        "ima",
        "pcr_mismatch",
        words(
            "The measurement list is not what the TPM attests",
            "no beginning of the list gives the quoted register: entries were changed, left out or added",
            TAMPER,
        ),
    ),
    (
        "ima",
        "prefix_rewritten",
        words("The list's past was changed", "entries that were authentic in an earlier round are others now", TAMPER),
    ),
    (
        "ima",
        "quote_progress",
        words(
            "The register does not keep up with the list",
            "the list was ahead of the register in the last round and the register did not catch up: entries were made up",
            RETRY,
        ),
    ),
    (
        "ima",
        "validation.ima-ng.runtime_policy_hash",
        words(
            "A known file has other contents",
            "it was updated and the policy not, or somebody changed it",
            "verify the package: dpkg --verify or rpm -V; if it was an update add its digests to the policy, if not treat the machine as compromised",
        ),
    ),
    (
        "ima",
        "validator.ima-sig.invalid_signature",
        words(
            "A file's signature is not one of a trusted key",
            "it was signed by somebody else, or changed after it was signed",
            "compare the file with its package; add the signer's key to the policy if it should be trusted",
        ),
    ),
    (
        "ima",
        "validation.ima_hash",
        words(
            "An entry of the list is not what its digest says",
            "the list was changed, or policy names another algorithm for it",
            "check ima.log_hash_alg of the policy; if it is right treat the machine as compromised",
        ),
    ),
    (
        "ima",
        "validation.tomtou",
        words(
            "A file was open for writing while it was measured",
            "what was measured may not be what ran: a log file or database that is read by root, or an attack",
            "if the file is data, let violations on it pass by x-attestry.violations; if it is a program, look for who wrote it",
        ),
    ),
    (
        "ima",
        "validation.ima_pcr",
        words(
            "An entry is of another register",
            "the kernel's rules measure into more than one register (pcr=)",
            "measure into one register, or treat the machine as compromised if its rules do not say so",
        ),
    ),
    (
        "ima",
        "excluded",
        words(
            "Entries passed only since an exclude pattern hides them",
            "nothing was held against them, and nothing is known about them",
            "check that the count is what you expect; lint the policy: attestry policy lint",
        ),
    ),
    (
        "ima",
        "violations_ignored",
        words(
            "Violations were let pass",
            "the policy says so for their paths, and the paths are not covered by the register",
            "check that the count is what you expect",
        ),
    ),
    (
        "internal",
        "notices_cut",
        words(
            "There were more notices than a verdict keeps",
            "notices fail nothing; the first ones are kept, the others counted",
            "for all of them run: attestry policy try on the evidence",
        ),
    ),
    (
        "pcr_validation",
        "invalid_pcr_16",
        words(
            "The payload key is not the one the TPM attests",
            "PCR 16 holds the hash of another key: the agent was restarted in between, or somebody put their own key in its place",
            "restart the agent; if it stays, treat the machine as compromised",
        ),
    ),
];
