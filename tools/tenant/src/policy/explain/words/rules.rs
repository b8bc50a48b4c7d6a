//! Words for the rules of TPM policies, for signatures and for mapped devices.

use super::{Words, words};

/// Component, event, words.
pub(super) const TABLE: [(&str, &str, Words); 14] = [
    (
        "qoute_validation",
        "firmware_denied",
        words(
            "The TPM runs a firmware that the policy denies",
            "the version is signed by the TPM itself and stands on the TPM policy's list of versions not to be trusted",
            "update the TPM's firmware as its vendor says, and enrol the machine anew if its keys change",
        ),
    ),
    (
        "qoute_validation",
        "clock_unsafe",
        words(
            "The TPM calls its clock unsafe",
            "the machine lost power without an orderly shutdown; for up to an hour the clock may repeat",
            "nothing if it was a power failure; if it goes on look for who cuts the power",
        ),
    ),
    (
        "qoute_validation",
        "clock_reset",
        words(
            "The machine rebooted, and the policy does not let that pass as it is",
            "the TPM's reset count has grown since the last accepted quote; the policy forbids it, or wants a boot log of this start that passes",
            "with a boot log missing or wrong see its own finding; if the reboot was planned and is forbidden, enrol the machine anew",
        ),
    ),
    (
        "qoute_validation",
        "clock_resets",
        words(
            "The machine rebooted more often than the policy allows between two quotes",
            "starts in between were seen by nobody: another system may have run in one of them",
            "find out what the machine did; then enrol it anew",
        ),
    ),
    (
        "qoute_validation",
        "clock_restart",
        words(
            "The machine was suspended and resumed",
            "its memory was without power or in somebody's hands meanwhile",
            "switch suspending off on machines that must not, or let it pass: restarts in the TPM policy",
        ),
    ),
    (
        "qoute_validation",
        "weak_hash",
        words(
            "The quote's hash is weaker than the policy asks",
            "bank and signature are of an algorithm below hash-bits-min",
            "configure the agent for a stronger bank, or lower the floor",
        ),
    ),
    (
        "qoute_validation",
        "weak_key",
        words(
            "The attestation key is shorter than the policy asks",
            "it is below rsa-bits-min or ecc-bits-min",
            "have the agent make a larger key and enrol the machine anew, or lower the floor",
        ),
    ),
    (
        "pcr_validation",
        "bank_not_listed",
        words(
            "The quote is of a bank that the policy has no values for",
            "register values are given by bank, and none for this one",
            "configure the agent for a bank with values, or add this bank's to the TPM policy",
        ),
    ),
    (
        "ima",
        "validation.evm-sig.invalid_signature",
        words(
            "A file's signed attributes are not believed",
            "owner, mode, label or content is not what was signed, the key is not trusted, or the list's template does not record what was signed",
            "verify the package; if the key is missing add it to verification-keys or list it under keyrings .evm; if the template is not evm-sig boot with ima_template=evm-sig or list the file",
        ),
    ),
    (
        "ima",
        "validation.ima-modsig.invalid_signature",
        words(
            "A module's appended signature is not believed",
            "the module is not what was signed, or the key is not one of the policy's",
            "if the module is yours sign it with a key of verification-keys, or list its digest; if not treat the machine as compromised",
        ),
    ),
    (
        "ima",
        "validation.dm",
        words(
            "A mapped device is not what the policy says",
            "another table, target or name was loaded, or something happened to the device that its rule does not allow",
            "compare dmsetup table with the rule the text names; if the change was planned change dm_policy",
        ),
    ),
    (
        "ima",
        "validation.dm.parsing_failed",
        words(
            "A device-mapper record cannot be read",
            "the target is of a kind that dm_policy cannot describe, or has characters it does not take",
            "judge such devices by ima-buf digests or x-attestry.critical-data instead of dm_policy",
        ),
    ),
    (
        "ima",
        "validation.dm.required_policy_not_in_use",
        words(
            "A device that the policy requires is not there",
            "no device was loaded and resumed as the rule says since the machine started",
            "look at what was mounted in its place; if the rule came later than the start, it counts from the next start on",
        ),
    ),
    (
        "ima",
        "validation.dm.device_invalid_state",
        words(
            "A mapped device is not in order",
            "it was not resumed with the table that was loaded, or something forbidden happened to it before",
            "see its other findings; a device that is just being set up heals in the next round",
        ),
    ),
];
