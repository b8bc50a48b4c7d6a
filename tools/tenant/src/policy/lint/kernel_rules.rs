//! The kernel's own IMA rules: what they leave out is in no list, so that no policy can find it.
//!
//! Source: Linux, `Documentation/ABI/testing/ima_policy`. The first rule that fits an access decides.

use super::Remark;

pub(super) fn lint(text: &str) -> Vec<Remark> {
    let rules: Vec<Rule<'_>> =
        text.lines().enumerate().filter_map(|(number, line)| Rule::parse(number, line)).collect();
    let mut remarks: Vec<Remark> = rules.iter().filter_map(hole).collect();
    let measures = |functions: &[&str]| rules.iter().any(|rule| rule.measures(functions));
    for (functions, code, text, remedy) in WANTED {
        if !measures(functions) {
            remarks.push(Remark::warning(code, functions.join(" or "), text, remedy));
        }
    }
    let reads = rules.iter().any(|rule| {
        rule.measures(&["FILE_CHECK", "PATH_CHECK"])
            && rule.get("mask").is_some_and(|mask| mask.ends_with("MAY_READ"))
            && !rule.is_narrow()
    });
    if !reads {
        remarks.push(Remark::warning(
            "scripts-not-measured",
            "FILE_CHECK mask=MAY_READ",
            "scripts given to interpreters as arguments (python x.py) are read, not executed, and so are not measured",
            "add: measure func=FILE_CHECK mask=MAY_READ euid=0; or let interpreters ask the kernel (AT_EXECVE_CHECK), or enforce by IPE",
        ));
    }
    remarks.push(Remark::note(
        "moved-files",
        "",
        "a file that was measured is not measured again after it is renamed or moved within its file system, and content may change under programs that keep it mapped",
        "mount what users can write to noexec, and run programs from dm-verity or fs-verity",
    ));
    remarks
}

/// A rule that takes something out.
fn hole(rule: &Rule<'_>) -> Option<Remark> {
    if rule.action != "dont_measure" {
        return None;
    }
    let place = format!("line {}", rule.line);
    if let Some(magic) = rule.get("fsmagic") {
        let number = u64::from_str_radix(magic.trim_start_matches("0x"), 16).ok();
        let (_, name) = WRITABLE_FILE_SYSTEMS.into_iter().find(|(known, _)| Some(*known) == number)?;
        return Some(Remark::warning(
            "unmeasured-file-system",
            place,
            format!("programs on {name} are not measured, and programs can be put there"),
            "measure it, or mount every such file system noexec, /tmp, /dev/shm and /run among them",
        ));
    }
    if let Some(fs) = rule.get("fsname").or_else(|| rule.get("fsuuid")) {
        let text = format!("programs on the file systems {fs} are not measured");
        return Some(Remark::warning("unmeasured-file-system", place, text, "measure it, or mount it noexec"));
    }
    if let Some(label) = rule.get("obj_type").or_else(|| rule.get("obj_user")).or_else(|| rule.get("obj_role")) {
        let text =
            format!("files labelled {label} are not measured, and whoever may write them can make programs of them");
        return Some(Remark::warning("unmeasured-label", place, text, "measure executions before this rule"));
    }
    if rule.conditions.is_empty() || rule.get("func").is_some_and(|function| EXECUTIONS.contains(&function)) {
        return Some(Remark::error("unmeasured-programs", place, "programs are not measured", "take the rule out"));
    }
    None
}

struct Rule<'t> {
    line: usize,
    action: &'t str,
    conditions: Vec<(&'t str, &'t str)>,
}

impl<'t> Rule<'t> {
    fn parse(number: usize, line: &'t str) -> Option<Self> {
        let line = line.trim();
        let mut words = line.split_whitespace();
        let action = words.next().filter(|action| !action.starts_with('#'))?;
        let conditions = words.filter_map(|word| word.split_once('=')).collect();
        Some(Self { line: number + 1, action, conditions })
    }

    fn get(&self, name: &str) -> Option<&'t str> {
        self.conditions.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn measures(&self, functions: &[&str]) -> bool {
        self.action == "measure" && self.get("func").is_some_and(|function| functions.contains(&function))
    }

    /// Whether it holds for some labels or file systems only.
    fn is_narrow(&self) -> bool {
        self.conditions
            .iter()
            .any(|(name, _)| name.starts_with("obj_") || name.starts_with("subj_") || name.starts_with("fs"))
    }
}

/// File systems that programs can be written to, by their magic numbers (`linux/magic.h`).
const WRITABLE_FILE_SYSTEMS: [(u64, &str); 5] = [
    (0x0102_1994, "tmpfs"),
    (0x8584_58f6, "ramfs"),
    (0x794c_7630, "overlayfs, where containers live,"),
    (0x6573_5546, "FUSE"),
    (0x6969, "NFS"),
];
const EXECUTIONS: [&str; 4] = ["BPRM_CHECK", "MMAP_CHECK", "FILE_MMAP", "MODULE_CHECK"];

type Wanted = (&'static [&'static str], &'static str, &'static str, &'static str);

/// What every set of rules should measure.
const WANTED: [Wanted; 7] = [
    (&["BPRM_CHECK"], "no-programs", "programs that are started are not measured", "add: measure func=BPRM_CHECK"),
    (
        &["MMAP_CHECK", "FILE_MMAP"],
        "no-libraries",
        "libraries that are mapped to be run are not measured",
        "add: measure func=MMAP_CHECK mask=MAY_EXEC",
    ),
    (&["MODULE_CHECK"], "no-modules", "kernel modules are not measured", "add: measure func=MODULE_CHECK"),
    (&["FIRMWARE_CHECK"], "no-firmware", "firmware of devices is not measured", "add: measure func=FIRMWARE_CHECK"),
    (
        &["KEXEC_KERNEL_CHECK"],
        "no-kexec",
        "a kernel started by kexec is not measured",
        "add: measure func=KEXEC_KERNEL_CHECK, KEXEC_INITRAMFS_CHECK and KEXEC_CMDLINE",
    ),
    (
        &["POLICY_CHECK"],
        "no-rules",
        "a change of these rules leaves no trace: whoever loads others goes unseen",
        "add: measure func=POLICY_CHECK, and list the rules' digest in the policy",
    ),
    (
        &["KEY_CHECK"],
        "no-keys",
        "keys loaded into keyrings are not measured",
        "add: measure func=KEY_CHECK keyrings=.ima|.evm|.secondary_trusted_keys template=ima-buf",
    ),
];
