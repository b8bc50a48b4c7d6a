//! Runtime policies.

use evidence::runtime_policy::{Extension, ViolationChoice};
use regex::Regex;

use super::{Remark, Severity};
use crate::policy::document::{Lists, RuntimeDocument};

pub(super) fn lint(document: &RuntimeDocument) -> Vec<Remark> {
    let mut remarks = Vec::new();
    emptiness(document, &mut remarks);
    for pattern in &document.excludes {
        let found = exclude(pattern);
        // What hides everything hides the listed files too.
        if found.as_ref().is_none_or(|remark| remark.severity > Severity::Error) {
            remarks.extend(exclude_of_listed(pattern, document));
        }
        remarks.extend(found);
    }
    digests("digests", &document.digests, &mut remarks);
    digests("keyrings", &document.keyrings, &mut remarks);
    digests("ima-buf", &document.ima_buf, &mut remarks);
    listed_paths(document, &mut remarks);
    keyrings(document, &mut remarks);
    own(document, &mut remarks);
    remarks
}

fn emptiness(document: &RuntimeDocument, remarks: &mut Vec<Remark>) {
    let learns = [".ima", "_ima", ".evm", "_evm"].iter().any(|keyring| document.keyrings.contains_key(*keyring));
    if document.digests.is_empty() && document.verification_keys.is_empty() && !learns {
        remarks.push(Remark::error(
            "empty-policy",
            "digests",
            "no file is listed and no key of file signatures is trusted, so every program fails",
            "make the policy from a root file system, packages or a list: attestry policy create runtime",
        ));
    }
    if document.ima.log_hash_alg == "sha1" {
        remarks.push(Remark::note(
            "sha1-list",
            "ima.log_hash_alg",
            "the lists' template digests are SHA-1, the kernel's default; what is quoted in a SHA-256 bank is computed anew",
            "nothing needs doing where the SHA-256 bank is quoted and the kernel is 5.8 or later",
        ));
    }
}

/// What one pattern hides that it should not.
fn exclude(pattern: &str) -> Option<Remark> {
    let Ok(regex) = Regex::new(&format!("^(?:{pattern})")) else {
        // Refused when the policy was read, unless it goes by bytes that are not UTF-8.
        return None;
    };
    let hidden: Vec<&str> = PROGRAMS.into_iter().filter(|path| regex.is_match(path)).collect();
    if let Some(first) = hidden.first() {
        let text = format!("hides programs and libraries, {first} among them, from being judged");
        return Some(Remark::error(
            "broad-exclude",
            pattern,
            text,
            "exclude single files of data, never folders of programs",
        ));
    }
    if regex.is_match("memfd:x") {
        let text = "hides programs that are run from memory without a file";
        return Some(Remark::warning(
            "memfd-exclude",
            pattern,
            text,
            "leave memfd: out, or list the digests that are known",
        ));
    }
    let writable = WRITABLE.into_iter().find(|folder| regex.is_match(&format!("{folder}/x")));
    if let Some(folder) = writable {
        let text = format!("hides programs that anybody put into {folder}, which users or services can write to");
        return Some(Remark::warning(
            "writable-exclude",
            pattern,
            text,
            "mount the folder noexec, and exclude single files; a file moved out of it within its file system is not measured again",
        ));
    }
    if let Some(path) = SCRIPTS.into_iter().find(|path| regex.is_match(path)) {
        let text = format!("hides scripts and what decides what is run, {path} among them");
        return Some(Remark::warning("script-exclude", pattern, text, "exclude single files of data"));
    }
    let is_open = !["$", ".*", ".+", "/", "/)?", "\\z"].iter().any(|end| pattern.trim_end_matches(')').ends_with(end));
    is_open.then(|| {
        let text =
            "fits at the start of paths alone, so that it hides longer names and whole folders of that beginning too";
        Remark::warning("open-exclude", pattern, text, "end it in $ for one file, or in /.* for a folder")
    })
}

/// Whether a pattern takes from listed files what listing them is for.
fn exclude_of_listed(pattern: &str, document: &RuntimeDocument) -> Option<Remark> {
    let regex = Regex::new(&format!("^(?:{pattern})")).ok()?;
    if regex.is_match("boot_aggregate") {
        let text = "hides boot_aggregate, which ties the list to the registers that firmware and boot loader filled";
        return Some(Remark::error("boot-aggregate-hidden", pattern, text, "leave boot_aggregate out of excludes"));
    }
    let mut hidden = document.digests.keys().filter(|path| regex.is_match(path));
    let first = hidden.next()?;
    let text = format!("{} listed files may have any other contents too, {first} the first", hidden.count() + 1);
    Some(Remark::warning(
        "exclude-of-listed",
        pattern,
        text,
        "take the files out of one of both, most likely the pattern",
    ))
}

fn digests(member: &'static str, lists: &Lists, remarks: &mut Vec<Remark>) {
    let is_weak = |digest: &String| digest.len() == 40 || digest.starts_with("sha1:");
    let weak: Vec<&String> =
        lists.iter().filter(|(_, digests)| digests.iter().any(is_weak)).map(|(path, _)| path).collect();
    if let Some(first) = weak.first() {
        remarks.push(Remark::warning(
            "sha1-digest",
            member,
            format!(
                "{} entries have SHA-1 digests, {first:?} the first: another file can be made to have the same",
                weak.len()
            ),
            "boot with ima_hash=sha256 and make the policy with --algorithm sha256",
        ));
    }
    let many = lists.iter().filter(|(_, digests)| digests.len() > DIGESTS_MANY);
    for (path, digests) in many.take(MANY_SHOWN_MAX) {
        remarks.push(Remark::warning(
            "many-digests",
            format!("{member} {path}"),
            format!("{} digests are allowed here: old, vulnerable versions stay allowed for ever", digests.len()),
            "make the policy anew from what is installed; entries seen before are judged by the policy of then",
        ));
    }
}

fn listed_paths(document: &RuntimeDocument, remarks: &mut Vec<Remark>) {
    if !document.digests.is_empty() && !document.digests.contains_key("boot_aggregate") {
        remarks.push(Remark::note(
            "no-boot-aggregate",
            "digests",
            "boot_aggregate is not listed, so that it counts only where the verifier can compute it; elsewhere every machine fails",
            "have registers 0 to 9 quoted by giving the machines a measured-boot policy",
        ));
    }
    if document.digests.contains_key("boot_aggregate") {
        remarks.push(Remark::note(
            "boot-aggregate",
            "digests boot_aggregate",
            "boot_aggregate differs from machine to machine; the verifier computes it from quoted registers 0 to 9",
            "take it out, and have registers 0 to 9 quoted by giving the machines a measured-boot policy",
        ));
    }
    let relative = document.digests.keys().find(|path| !path.starts_with('/') && *path != "boot_aggregate");
    if let Some(path) = relative {
        remarks.push(Remark::note(
            "relative-path",
            format!("digests {path}"),
            "the path does not start at the root; only pseudo files of the kernel are measured under such names",
            "list files under the path the kernel sees, after links are followed",
        ));
    }
    let writable = document
        .digests
        .keys()
        .find(|path| WRITABLE.iter().any(|folder| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))));
    if let Some(path) = writable {
        remarks.push(Remark::note(
            "writable-path",
            format!("digests {path}"),
            "the file stands in a folder that users or services can write to",
            "run programs from folders only packages write to",
        ));
    }
    let interpreters: Vec<&str> = document
        .digests
        .keys()
        .filter_map(|path| path.rsplit('/').next())
        .filter(|name| INTERPRETERS.iter().any(|interpreter| is_version_of(name, interpreter)))
        .collect();
    if let Some(first) = interpreters.first() {
        remarks.push(Remark::note(
            "interpreter",
            "digests",
            format!(
                "{} interpreters may run, {first} among them: scripts given to them as arguments are not programs to the kernel, and are measured only by rules that measure what is read",
                interpreters.len()
            ),
            "check the kernel's rules: attestry policy lint --ima-rules /etc/ima/ima-policy",
        ));
    }
}

/// `python3.11` is a version of `python`; `bashbug` none of `bash`.
fn is_version_of(name: &str, interpreter: &str) -> bool {
    name.strip_prefix(interpreter).is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.' || c == '-'))
}

fn keyrings(document: &RuntimeDocument, remarks: &mut Vec<Remark>) {
    for name in &document.ima.ignored_keyrings {
        let place = format!("ima.ignored_keyrings {name}");
        let remedy = "list the keys that may be loaded: attestry policy create runtime --ima-list FILE --keyrings";
        remarks.push(if name == "*" {
            Remark::error("all-keyrings-ignored", place, "any key may be loaded into any keyring unjudged", remedy)
        } else {
            Remark::warning("keyring-ignored", place, "any key may be loaded into this keyring unjudged", remedy)
        });
    }
}

fn own(document: &RuntimeDocument, remarks: &mut Vec<Remark>) {
    if document.own.pcr_extension == Extension::DangerPaddedSha1 {
        remarks.push(Remark::warning(
            "padded-sha1",
            "x-attestry.pcr-extension",
            "the whole list rests on SHA-1's resistance to collisions",
            "update the machines to Linux 5.8 or later and take this out",
        ));
    }
    for rule in document.own.violations.iter().filter(|rule| rule.choice != ViolationChoice::Fail) {
        let hides = Regex::new(&format!("^(?:{})$", rule.path))
            .is_ok_and(|regex| PROGRAMS.iter().any(|path| regex.is_match(path)));
        let text = "violations are not covered by the register: a machine that lies can give its own this path";
        let remedy = "choose fail, or name single files of data such as logs";
        let place = format!("x-attestry.violations {}", rule.path);
        remarks.push(if hides {
            Remark::error(
                "violation-of-programs",
                place,
                format!("programs may change while they are measured; {text}"),
                remedy,
            )
        } else {
            Remark::note("violation-let-pass", place, text, remedy)
        });
    }
    for (name, patterns) in &document.own.critical_data {
        for pattern in patterns
            .iter()
            .filter(|pattern| Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|regex| regex.is_match("anything")))
        {
            remarks.push(Remark::error(
                "broad-critical-data",
                format!("x-attestry.critical-data {name} {pattern}"),
                "any content is allowed",
                "write out what does not change, such as the target's type and root hash",
            ));
        }
    }
}

/// Paths nobody may hide: programs, libraries, modules, loaders and what starts them.
const PROGRAMS: [&str; 23] = [
    "/usr/bin/x",
    "/usr/bin/bash",
    "/usr/bin/python3",
    "/usr/bin/sudo",
    "/usr/sbin/sshd",
    "/usr/lib/x86_64-linux-gnu/libc.so.6",
    "/usr/sbin/x",
    "/usr/local/bin/x",
    "/usr/local/sbin/x",
    "/usr/lib/x.so",
    "/usr/lib64/x.so",
    "/usr/lib/x86_64-linux-gnu/x.so.1",
    "/usr/lib/modules/6.1.0/kernel/x.ko",
    "/usr/lib/systemd/systemd",
    "/usr/libexec/x",
    "/bin/x",
    "/sbin/x",
    "/lib/x.so",
    "/lib64/x.so",
    "/opt/x/bin/x",
    "/boot/vmlinuz",
    "/etc/ld.so.preload",
    "/root/x",
];
/// Paths of what interpreters and services run, where reads are measured.
const SCRIPTS: [&str; 6] = [
    "/usr/share/x/x.py",
    "/usr/lib/python3/dist-packages/x.py",
    "/etc/cron.d/x",
    "/etc/init.d/x",
    "/etc/profile.d/x.sh",
    "/etc/systemd/system/x.service",
];
/// Folders that users or services can write to.
const WRITABLE: [&str; 9] =
    ["/tmp", "/var/tmp", "/dev/shm", "/run", "/home/x", "/var/lib/x", "/var/cache/x", "/srv/x", "/var/www/x"];
/// Programs that run what they read.
const INTERPRETERS: [&str; 14] =
    ["awk", "bash", "busybox", "dash", "gawk", "gdb", "lua", "mawk", "node", "perl", "php", "python", "ruby", "zsh"];
/// Digests of one path beyond which it looks like a history of versions.
const DIGESTS_MANY: usize = 8;
/// Remarks on that at most.
const MANY_SHOWN_MAX: usize = 20;
