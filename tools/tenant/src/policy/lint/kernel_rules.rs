//! The kernel's own IMA rules: what they leave out is in no list, so that no policy can find it.
//!
//! Source: Linux, `Documentation/ABI/testing/ima_policy`. The first rule that fits an access decides.

use super::Remark;

pub(super) fn lint(text: &str) -> Vec<Remark> {
    let rules: Vec<Rule<'_>> =
        text.lines().enumerate().filter_map(|(number, line)| Rule::parse(number, line)).collect();
    let mut remarks: Vec<Remark> =
        rules.iter().enumerate().filter_map(|(number, rule)| hole(rule, rules.get(..number)?, &rules)).collect();
    for (functions, code, text, remedy) in WANTED {
        let place = functions.join(" or ");
        if rules.iter().any(|rule| rule.measures(functions) && !rule.is_narrow()) {
            continue;
        }
        remarks.push(match rules.iter().find(|rule| rule.measures(functions)) {
            Some(narrow) => {
                let text = format!("line {} measures only some of them; of the others, {text}", narrow.line);
                Remark::warning(code, place, text, remedy)
            }
            None => Remark::warning(code, place, text, remedy),
        });
    }
    let reads = rules.iter().any(|rule| {
        rule.measures(&["FILE_CHECK", "PATH_CHECK"])
            && rule.get("mask").is_some_and(|mask| mask.ends_with("MAY_READ"))
            && !rule.is_labelled()
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

/// A rule that takes something out that the rules `before` it have not measured already.
fn hole(rule: &Rule<'_>, before: &[Rule<'_>], all: &[Rule<'_>]) -> Option<Remark> {
    if rule.action != "dont_measure" {
        return None;
    }
    // What no rule measures at all is told of elsewhere.
    let is_open = |function: &&str| {
        let measures = |rules: &[Rule<'_>]| rules.iter().any(|rule| rule.measures(&[function]) && !rule.is_narrow());
        rule.get("func").is_none_or(|of| of == *function) && !measures(before) && measures(all)
    };
    let takes_everything = rule.conditions.iter().all(|(name, _)| *name == "func");
    let takes_programs = rule.get("func").is_none_or(|of| EXECUTIONS.contains(&of));
    if takes_everything && takes_programs && EXECUTIONS.iter().any(is_open) {
        let place = format!("line {}", rule.line);
        return Some(Remark::error("unmeasured-programs", place, "programs are not measured", "take the rule out"));
    }
    EXECUTIONS.iter().chain(&READS).find(|function| is_open(function))?;
    let place = format!("line {}", rule.line);
    if let Some(magic) = rule.get("fsmagic") {
        let number = u64::from_str_radix(magic.trim_start_matches("0x"), 16).ok();
        if number.is_some_and(|number| PSEUDO_FILE_SYSTEMS.contains(&number)) {
            return None;
        }
        let known = WRITABLE_FILE_SYSTEMS.into_iter().find(|(known, _)| Some(*known) == number);
        let name = known.map_or_else(|| format!("file systems of magic number {magic}"), |(_, name)| name.to_owned());
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
    let (name, value) =
        rule.conditions.iter().find(|(name, _)| NARROWING.iter().any(|prefix| name.starts_with(prefix)))?;
    let text = format!("what {name}={value} fits is not measured, whatever it runs");
    Some(Remark::warning("unmeasured-users", place, text, "take the rule out, or measure executions before it"))
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

    /// Whether it holds for some users, labels, file systems or keyrings only. Only root loads modules, keys and rules.
    fn is_narrow(&self) -> bool {
        let by_root = self.get("func").is_some_and(|function| !EXECUTIONS.contains(&function) || function == MODULES);
        self.conditions.iter().any(|(name, value)| match *name {
            "keyrings" => !value.split('|').any(|keyring| keyring == ".ima"),
            "uid" | "euid" if *value == "0" => !by_root,
            _ => NARROWING.iter().any(|prefix| name.starts_with(prefix)),
        })
    }

    /// Whether it holds for some labels or file systems only.
    fn is_labelled(&self) -> bool {
        self.conditions.iter().any(|(name, _)| LABELS.iter().any(|prefix| name.starts_with(prefix)))
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
/// File systems without files that anybody could put there and run (`linux/magic.h`): proc, sysfs, debugfs, devpts,
/// binfmt_misc, securityfs, SELinux, Smack, cgroup, cgroup2, nsfs, efivarfs, tracefs, pstore, configfs, bpf.
const PSEUDO_FILE_SYSTEMS: [u64; 16] = [
    0x9fa0,
    0x6265_6572,
    0x6462_6720,
    0x1cd1,
    0x4249_4e4d,
    0x7363_6673,
    0xf97c_ff8c,
    0x4341_5d53,
    0x0027_e0eb,
    0x6367_7270,
    0x6e73_6673,
    0xde5e_81e4,
    0x7472_6163,
    0x6165_676c,
    0x6265_6570,
    0xcafe_4a11,
];
const MODULES: &str = "MODULE_CHECK";
const EXECUTIONS: [&str; 4] = ["BPRM_CHECK", "MMAP_CHECK", "FILE_MMAP", MODULES];
/// Reads, which scripts are measured by.
const READS: [&str; 2] = ["FILE_CHECK", "PATH_CHECK"];
const LABELS: [&str; 3] = ["obj_", "subj_", "fs"];
/// Conditions by their beginnings that hold for a part of all accesses.
const NARROWING: [&str; 9] = ["obj_", "subj_", "fs", "uid", "euid", "gid", "egid", "fowner", "fgroup"];

type Wanted = (&'static [&'static str], &'static str, &'static str, &'static str);

/// What every set of rules should measure.
const WANTED: [Wanted; 10] = [
    (&["BPRM_CHECK"], "no-programs", "programs that are started are not measured", "add: measure func=BPRM_CHECK"),
    (
        &["MMAP_CHECK", "MMAP_CHECK_REQPROT", "FILE_MMAP"],
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
        "add: measure func=KEXEC_KERNEL_CHECK",
    ),
    (
        &["KEXEC_INITRAMFS_CHECK"],
        "no-kexec",
        "the initrd of a kernel started by kexec is not measured",
        "add: measure func=KEXEC_INITRAMFS_CHECK",
    ),
    (
        &["KEXEC_CMDLINE"],
        "no-kexec",
        "the command line of a kernel started by kexec is not measured",
        "add: measure func=KEXEC_CMDLINE",
    ),
    (
        &["CRITICAL_DATA"],
        "no-critical-data",
        "what the kernel keeps in memory, as SELinux's rules and device-mapper tables, is not measured",
        "add: measure func=CRITICAL_DATA",
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
