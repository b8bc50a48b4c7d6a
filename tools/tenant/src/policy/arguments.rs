//! The words of `attestry policy`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use evidence::algorithm::HashAlgorithm;

use crate::cli::JsonArgument;

#[derive(Args, Debug)]
pub(crate) struct PolicyToolsArguments {
    #[command(subcommand)]
    pub(crate) command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Makes a policy from what a good machine has
    Create(CreateArguments),
    /// Shows what was added, removed and changed between two policies; exit 1 if anything
    Diff(DiffArguments),
    /// Says in words what a verdict means and what to do about it
    Explain(ExplainArguments),
    /// Looks for holes and mistakes in a policy; exit 1 if there is an error
    Lint(LintArguments),
    /// Puts policies of one kind together
    Merge(MergeArguments),
    /// Signs a policy (DSSE envelope), or adds a signature to a signed one
    Sign(SignArguments),
    /// Judges recorded evidence by policies, without any server; exit 1 if it fails
    Try(TryArguments),
    /// Checks a signed policy's signature and gives the policy
    Verify(VerifyArguments),
}

#[derive(Args, Debug)]
pub(crate) struct CreateArguments {
    #[command(subcommand)]
    pub(crate) command: CreateCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CreateCommand {
    /// Makes a measured-boot policy from boot event logs
    MeasuredBoot(CreateMeasuredBootArguments),
    /// Makes a runtime policy from a root file system, packages, initrds and measurement lists
    Runtime(Box<CreateRuntimeArguments>),
}

/// Where a result goes.
#[derive(Args, Debug)]
pub(crate) struct OutputArguments {
    /// Write the result here, and a summary to standard output; without it, the result goes to standard output
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: JsonArgument,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  attestry policy create runtime --root / --excludes excludes.txt -o policy.json
  attestry policy create runtime --deb ./pool --deb linux-image.deb -o packages.json
  attestry policy create runtime --deb-repository /srv/mirror/debian --suite bookworm --architecture amd64 \\
      --repository-key /usr/share/keyrings/debian-archive-keyring.gpg -o debian.json
  attestry policy create runtime --ima-list ascii_runtime_measurements --keyrings --ima-buf -o policy.json

Symbolic links are never followed: the kernel measures files under their real path. Of a root file system,
/dev, /lost+found, /media, /mnt, /proc, /run, /sys and /tmp are passed over.")]
pub(crate) struct CreateRuntimeArguments {
    /// List the regular files of a root file system; can be given more than once
    #[arg(long = "root", value_name = "DIR")]
    pub(crate) roots: Vec<PathBuf>,
    /// Pass over this folder of the root file systems too
    #[arg(long = "skip", value_name = "PATH")]
    pub(crate) skips: Vec<String>,
    /// List the files of an initrd: cpio, plain or compressed with bzip2, gzip, lz4, lzma, xz or zstd
    #[arg(long = "initrd", value_name = "FILE")]
    pub(crate) initrds: Vec<PathBuf>,
    /// List what an IMA measurement list has, ASCII or binary
    #[arg(long = "ima-list", value_name = "FILE")]
    pub(crate) ima_lists: Vec<PathBuf>,
    /// List the files of a Debian package, or of all below a folder
    #[arg(long = "deb", value_name = "PATH")]
    pub(crate) debs: Vec<PathBuf>,
    /// List the files of an RPM package by its header, or of all below a folder
    #[arg(long = "rpm", value_name = "PATH")]
    pub(crate) rpms: Vec<PathBuf>,
    /// An OpenPGP public key, armored or not, that must have signed the packages of --rpm
    #[arg(long = "rpm-key", value_name = "FILE", requires = "rpms")]
    pub(crate) rpm_keys: Vec<PathBuf>,
    /// List all packages of a Debian repository on disk, by its signed indexes
    #[arg(long = "deb-repository", value_name = "DIR")]
    pub(crate) deb_repositories: Vec<PathBuf>,
    /// List all packages of an RPM repository on disk, by its signed metadata
    #[arg(long = "rpm-repository", value_name = "DIR")]
    pub(crate) rpm_repositories: Vec<PathBuf>,
    /// An OpenPGP public key, armored or not, that must have signed the repositories
    #[arg(long = "repository-key", value_name = "FILE")]
    pub(crate) repository_keys: Vec<PathBuf>,
    /// Take repositories that nobody has to have signed; digests are still checked
    #[arg(long, conflicts_with = "repository_keys")]
    pub(crate) danger_unsigned_repositories: bool,
    /// Take Debian repositories that are older than their owners stand by them (Valid-Until)
    #[arg(long)]
    pub(crate) danger_expired_repositories: bool,
    /// Only this suite of the Debian repositories, as its folder below dists is called
    #[arg(long = "suite", value_name = "NAME")]
    pub(crate) suites: Vec<String>,
    /// Only packages of this architecture of the repositories, and those for all
    #[arg(long = "architecture", value_name = "NAME")]
    pub(crate) architectures: Vec<String>,
    /// Import a flat list: a digest and a path a line, as sha256sum prints
    #[arg(long = "flat-list", value_name = "FILE")]
    pub(crate) flat_lists: Vec<PathBuf>,
    /// Start from this policy
    #[arg(long, value_name = "FILE")]
    pub(crate) base: Option<PathBuf>,
    /// Leave paths unjudged that this pattern fits at their start
    #[arg(long = "exclude", value_name = "REGEX")]
    pub(crate) excludes: Vec<String>,
    /// A file of such patterns, one a line
    #[arg(long = "excludes", value_name = "FILE")]
    pub(crate) exclude_lists: Vec<PathBuf>,
    /// List the keys that measurement lists show as loaded, by keyring
    #[arg(long)]
    pub(crate) keyrings: bool,
    /// List other buffers of measurement lists: kexec command lines, device-mapper and SELinux records
    #[arg(long)]
    pub(crate) ima_buf: bool,
    /// Leave keys of this keyring unjudged
    #[arg(long = "ignored-keyring", value_name = "NAME")]
    pub(crate) ignored_keyrings: Vec<String>,
    /// Allow files signed by this key: public key or certificate, PEM or DER
    #[arg(long = "verification-key", value_name = "FILE")]
    pub(crate) verification_keys: Vec<PathBuf>,
    /// The digests' algorithm: what the machines' kernels are told by ima_hash=
    #[arg(long, value_enum, default_value_t = Algorithm::Sha256)]
    pub(crate) algorithm: Algorithm,
    /// The algorithm of the measurement lists' template digests, sha1 unless the base policy says otherwise
    #[arg(long, value_enum, value_name = "ALGORITHM")]
    pub(crate) log_hash: Option<Algorithm>,
    /// Packages' files in /bin, /sbin and /lib* are there, not below /usr
    #[arg(long)]
    pub(crate) no_usr_merge: bool,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// An algorithm the kernel measures files with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Algorithm {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl From<Algorithm> for HashAlgorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha1 => Self::Sha1,
            Algorithm::Sha256 => Self::Sha256,
            Algorithm::Sha384 => Self::Sha384,
            Algorithm::Sha512 => Self::Sha512,
        }
    }
}

#[derive(Args, Debug)]
#[command(after_help = "Example:
  attestry policy create measured-boot --name 'rack server' binary_bios_measurements -o boot.json

One alternative is made of each log, of exactly what it shows; logs that give the same alternative share it.
Command lines become exact patterns: widen what differs between machines, such as a root UUID, by hand.")]
pub(crate) struct CreateMeasuredBootArguments {
    /// Boot event logs, as /sys/kernel/security/tpm0/binary_bios_measurements
    #[arg(required = true, value_name = "LOG")]
    pub(crate) logs: Vec<PathBuf>,
    /// Name of the alternatives; a number is added from the second on. The file's name if not given
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The bank the digests are of, which has to be the one quoted; the log's strongest if not given
    #[arg(long, value_enum)]
    pub(crate) bank: Option<Algorithm>,
    /// Write a reference state for Keylime's policy `example` in place of a declarative policy
    #[arg(long)]
    pub(crate) keylime: bool,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Args, Debug)]
pub(crate) struct MergeArguments {
    /// The policies, all runtime policies, all measured-boot policies or all reference states
    #[arg(required = true, num_args = 2.., value_name = "POLICY")]
    pub(crate) policies: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Args, Debug)]
pub(crate) struct DiffArguments {
    /// The policy before
    #[arg(value_name = "OLD")]
    pub(crate) old: PathBuf,
    /// The policy after
    #[arg(value_name = "NEW")]
    pub(crate) new: PathBuf,
    #[command(flatten)]
    pub(crate) json: JsonArgument,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:
  openssl ecparam -genkey -name prime256v1 -noout -out policy.key && chmod 600 policy.key
  attestry policy sign --key policy.key policy.json -o policy.dsse.json")]
pub(crate) struct SignArguments {
    /// The policy, or an envelope to add a signature to
    #[arg(value_name = "POLICY")]
    pub(crate) policy: PathBuf,
    /// Private key in PEM, without passphrase: ECDSA P-256 or P-384, or Ed25519
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// The key's certificate in PEM, to be carried in the envelope
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Args, Debug)]
pub(crate) struct VerifyArguments {
    /// The envelope
    #[arg(value_name = "POLICY")]
    pub(crate) policy: PathBuf,
    /// Trusted public key, signer's certificate or issuer's certificate, in PEM
    #[arg(long = "key", required = true, value_name = "FILE")]
    pub(crate) keys: Vec<PathBuf>,
    /// Write the policy that was signed here
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: JsonArgument,
}

#[derive(Args, Debug)]
pub(crate) struct LintArguments {
    /// Policies of any kind
    #[arg(value_name = "POLICY", required_unless_present = "ima_rules")]
    pub(crate) policies: Vec<PathBuf>,
    /// The machines' IMA rules (/etc/ima/ima-policy): what they do not measure, no policy can judge
    #[arg(long, value_name = "FILE")]
    pub(crate) ima_rules: Option<PathBuf>,
    /// Exit 1 on warnings too
    #[arg(long)]
    pub(crate) strict: bool,
    #[command(flatten)]
    pub(crate) json: JsonArgument,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  attestry policy try base.json site.json --ima-list ascii_runtime_measurements
  attestry policy try boot.json --boot-log binary_bios_measurements --pcrs pcrs.json
  attestry policy try policy.json --bundle ./bundle

PCRs are JSON {\"sha256\": {\"0\": \"hex\", …}}, as `attestry inspect boot-log --json` has under \"pcrs\". Registers
that are not given are taken from the evidence itself: then only the policy is judged, not the evidence.")]
pub(crate) struct TryArguments {
    /// Policies: runtime policies are layers, the lowest first; one of measured boot may be among them
    #[arg(required = true, value_name = "POLICY")]
    pub(crate) policies: Vec<PathBuf>,
    /// An IMA measurement list from its first entry on
    #[arg(long, value_name = "FILE")]
    pub(crate) ima_list: Option<PathBuf>,
    /// A boot event log
    #[arg(long, value_name = "FILE")]
    pub(crate) boot_log: Option<PathBuf>,
    /// Values of registers, as quoted
    #[arg(long, value_name = "FILE")]
    pub(crate) pcrs: Option<PathBuf>,
    /// A bundle of `attestry-audit export`: all its quotes, one after the other
    #[arg(long, value_name = "DIR", conflicts_with_all = ["ima_list", "boot_log", "pcrs"])]
    pub(crate) bundle: Option<PathBuf>,
    /// The bank to judge in
    #[arg(long, value_enum, default_value_t = Algorithm::Sha256)]
    pub(crate) bank: Algorithm,
    #[command(flatten)]
    pub(crate) json: JsonArgument,
}

#[derive(Args, Debug)]
pub(crate) struct ExplainArguments {
    /// A verdict entry (CBOR), a bundle's folder, or what `attestry policy try --json` printed
    #[arg(value_name = "PATH")]
    pub(crate) source: PathBuf,
    #[command(flatten)]
    pub(crate) json: JsonArgument,
}
