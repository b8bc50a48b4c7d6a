//! EVM's portable signatures and signatures appended to modules.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use openssl::cms::{CMSOptions, CmsContentInfo};
use openssl::md::Md;
use openssl::pkcs7::{Pkcs7, Pkcs7Flags};
use openssl::pkey::{PKey, Private};
use openssl::stack::Stack;
use openssl::x509::X509;

use super::builder::{attribute, bytes_field, digest, digest_field, name_field, sha256};
use super::signing::{certificate, ec, public, rsa, sign};
use super::*;

const PATH: &str = "/usr/bin/signed";
const CONTENT: &[u8] = b"content";

/// The fields of an `evm-sig` entry.
#[derive(Clone)]
struct Inode {
    names: &'static str,
    values: Vec<Vec<u8>>,
    uid: u32,
    gid: u32,
    mode: u16,
}

impl Inode {
    /// As a package installs it: SELinux label, hash of the content, owner root.
    fn of(content: &[u8]) -> Self {
        let ima = [&[4, 4], sha256(content).as_slice()].concat();
        Self {
            names: "security.selinux|security.ima",
            values: vec![b"system_u:object_r:bin_t:s0\0".to_vec(), ima],
            uid: 0,
            gid: 0,
            mode: 0o100_755,
        }
    }

    /// The hash the kernel signs and checks.
    fn hash(&self, md: MessageDigest) -> Vec<u8> {
        let mut signed = self.values.concat();
        signed.extend_from_slice(&[0; 12]);
        signed.extend_from_slice(&self.uid.to_le_bytes());
        signed.extend_from_slice(&self.gid.to_le_bytes());
        signed.extend_from_slice(&self.mode.to_le_bytes());
        signed.extend_from_slice(&[0; 2]);
        digest(md, &signed)
    }

    fn signed(&self, key: &PKey<Private>) -> Vec<u8> {
        attribute(5, 2, 4, public(key).id().0, &sign(key, Md::sha256(), &self.hash(MessageDigest::sha256())))
    }

    /// Version 3: over type, algorithm and the hash.
    fn signed_v3(&self, key: &PKey<Private>) -> Vec<u8> {
        let file_id = [&[5, 4], self.hash(MessageDigest::sha256()).as_slice()].concat();
        attribute(5, 3, 4, public(key).id().0, &sign(key, Md::sha256(), &sha256(&file_id)))
    }

    fn push(&self, list: &mut ListBuilder, content: &[u8], signature: &[u8]) {
        let lengths: Vec<u8> =
            self.values.iter().flat_map(|value| u32::try_from(value.len()).unwrap().to_le_bytes()).collect();
        let number = |bytes: &[u8], text: String| (bytes.to_vec(), text);
        list.push(
            "evm-sig",
            &[
                digest_field("", content),
                name_field(PATH),
                bytes_field(signature),
                name_field(self.names),
                bytes_field(&lengths),
                bytes_field(&self.values.concat()),
                number(&self.uid.to_le_bytes(), self.uid.to_string()),
                number(&self.gid.to_le_bytes(), self.gid.to_string()),
                number(&self.mode.to_le_bytes(), self.mode.to_string()),
            ],
        );
    }

    fn events(&self, signature: &[u8], stack: &PolicyStack) -> Vec<Event> {
        let mut list = ListBuilder::default();
        self.push(&mut list, CONTENT, signature);
        events(&Round::whole(&list).appraise(stack, &state(HashAlgorithm::Sha256)))
    }
}

fn trusting(keys: &[Vec<u8>]) -> PolicyStack {
    let pubkeys: Vec<String> = keys.iter().map(|der| STANDARD.encode(der)).collect();
    let keyring = serde_json::json!({"meta": {"version": 1}, "keyids": [], "pubkeys": pubkeys});
    stack(&serde_json::json!({"verification-keys": keyring.to_string()}))
}

fn der(key: &PKey<Private>) -> Vec<u8> {
    key.public_key_to_der().unwrap()
}

const EVM_REFUSED: [Event; 2] = [Event::EvmSignature, Event::NotInAllowlist];

#[test]
fn a_file_whose_attributes_a_policy_key_signed_is_allowed() {
    for key in [rsa(), ec()] {
        let (inode, stack) = (Inode::of(CONTENT), trusting(&[der(&key)]));
        assert_eq!(inode.events(&inode.signed(&key), &stack), []);
        assert_eq!(inode.events(&inode.signed_v3(&key), &stack), []);
        assert_eq!(inode.events(&inode.signed(&key), &trusting(&[der(&ec())])), EVM_REFUSED);
    }
}

#[test]
fn a_signed_file_with_another_owner_mode_label_or_content_is_refused() {
    let key = ec();
    let (stack, good) = (trusting(&[der(&key)]), Inode::of(CONTENT));
    let signature = good.signed(&key);
    let other_label = vec![b"system_u:object_r:shadow_t:s0\0".to_vec(), good.values[1].clone()];
    let changes = [
        ("uid", Inode { uid: 1000, ..good.clone() }),
        ("gid", Inode { gid: 1000, ..good.clone() }),
        ("setuid", Inode { mode: 0o104_755, ..good.clone() }),
        ("label", Inode { values: other_label, ..good.clone() }),
        ("content's digest", Inode::of(b"other")),
    ];
    for (name, changed) in changes {
        assert_eq!(changed.events(&signature, &stack), EVM_REFUSED, "{name}");
    }
    for byte in 0..signature.len() {
        let mut changed = signature.clone();
        changed[byte] ^= 1;
        assert_eq!(good.events(&changed, &stack), EVM_REFUSED, "byte {byte}");
    }
}

#[test]
fn attributes_that_do_not_stand_for_the_content_are_refused_although_they_are_signed() {
    let key = ec();
    let stack = trusting(&[der(&key)]);
    let good = Inode::of(CONTENT);
    let label = good.values[0].clone();
    let with_ima = |ima: Vec<u8>| Inode { values: vec![label.clone(), ima], ..good.clone() };
    let cases = [
        ("of another file", Inode::of(b"other")),
        ("no security.ima", Inode { names: "security.selinux|security.imx", ..good.clone() }),
        ("security.ima twice", Inode { names: "security.ima|security.ima", ..good.clone() }),
        ("more names than values", Inode { names: "security.selinux|security.ima|security.x", ..good.clone() }),
        ("an HMAC", with_ima(vec![2; 21])),
        ("nothing in it", with_ima(Vec::new())),
        ("another algorithm's number", with_ima([&[4, 5], sha256(CONTENT).as_slice()].concat())),
        ("a signature of another file", with_ima(file_signature(&key, b"other"))),
        ("a stranger's signature", with_ima(file_signature(&ec(), CONTENT))),
    ];
    for (name, inode) in cases {
        assert_eq!(inode.events(&inode.signed(&key), &stack), EVM_REFUSED, "{name}");
    }
    let signed = with_ima(file_signature(&key, CONTENT));
    assert_eq!(signed.events(&signed.signed(&key), &stack), []);
}

fn file_signature(key: &PKey<Private>, content: &[u8]) -> Vec<u8> {
    attribute(3, 2, 4, public(key).id().0, &sign(key, Md::sha256(), &sha256(content)))
}

/// A key with its certificate, which is another each time it is made.
struct Certified {
    key: PKey<Private>,
    certificate: Vec<u8>,
}

impl Certified {
    fn new(key: PKey<Private>) -> Self {
        Self { certificate: certificate(&key), key }
    }

    /// An attribute of type 3 or 5 over a hash, by the certificate's key identifier.
    fn attribute(&self, kind: u8, hash: &[u8]) -> Vec<u8> {
        let id = FileKey::from_der(&self.certificate).unwrap().id();
        attribute(kind, 2, 4, id.0, &sign(&self.key, Md::sha256(), hash))
    }
}

/// A key that is loaded to a keyring, and a file behind it whose attributes it signed.
fn loaded(keyring: &str, signer: &Certified) -> ListBuilder {
    let (mut list, inode) = (ListBuilder::default(), Inode::of(CONTENT));
    list.buffer(keyring, &signer.certificate);
    inode.push(&mut list, CONTENT, &signer.attribute(5, &inode.hash(MessageDigest::sha256())));
    list
}

fn listing(keyrings: &[&str], signer: &Certified) -> PolicyStack {
    let listed = keyrings.iter().map(|keyring| ((*keyring).to_owned(), listed(&signer.certificate)));
    stack(&serde_json::json!({"keyrings": listed.collect::<serde_json::Map<_, _>>()}))
}

fn told(list: &ListBuilder, stack: &PolicyStack) -> Vec<Event> {
    events(&Round::whole(list).appraise(stack, &state(HashAlgorithm::Sha256)))
}

#[test]
fn keys_loaded_to_the_evm_keyring_are_learned_for_attributes_if_they_are_listed() {
    for key in [rsa(), ec()].map(Certified::new) {
        for keyring in [".evm", "_evm"] {
            assert_eq!(told(&loaded(keyring, &key), &listing(&[keyring], &key)), []);
        }
        // In the other order the key is not known yet.
        assert_eq!(told(&loaded(".evm", &key).select([1, 0]), &listing(&[".evm"], &key)), EVM_REFUSED);
        // A key that nobody listed is a finding and not learned.
        let unlisted = [&[Event::NotInAllowlist], EVM_REFUSED.as_slice()].concat();
        assert_eq!(told(&loaded(".evm", &key), &stack(&serde_json::json!({}))), unlisted);
        assert_eq!(
            told(&loaded(".evm", &key), &listing(&[".evm"], &Certified::new(ec()))),
            [&[Event::RuntimePolicyHash], EVM_REFUSED.as_slice()].concat()
        );
        // Ignored keyrings raise no finding, and no trust.
        for ignored in [".evm", "*"] {
            let ima = serde_json::json!({"ignored_keyrings": [ignored], "log_hash_alg": "sha1", "dm_policy": null});
            assert_eq!(told(&loaded(".evm", &key), &stack(&serde_json::json!({"ima": ima}))), EVM_REFUSED);
        }
    }
}

#[test]
fn keys_count_for_the_signatures_of_their_keyring_only() {
    let key = Certified::new(ec());
    let own = key.attribute(3, &sha256(CONTENT));
    let file_refused = [Event::SignatureInvalid, Event::NotInAllowlist];
    // The kernel takes files' keys from .ima, EVM's from .evm, and neither from anywhere else.
    for (keyring, attributes, file) in [(".ima", false, true), (".evm", true, false), (".platform", false, false)] {
        let (mut signed_attributes, mut signed_file) = (loaded(keyring, &key), ListBuilder::default());
        signed_file.buffer(keyring, &key.certificate).signed(PATH, CONTENT, &own);
        let stack = listing(&[keyring], &key);
        let expected: &[Event] = if attributes { &[] } else { &EVM_REFUSED };
        assert_eq!(told(&signed_attributes, &stack), expected, "{keyring}");
        let expected: &[Event] = if file { &[] } else { &file_refused };
        assert_eq!(told(&signed_file, &stack), expected, "{keyring}");
        // Of a module's appended signature too.
        let pkcs7 = appended(&key.key, &X509::from_der(&key.certificate).unwrap(), CONTENT, CMSOptions::NOATTR);
        signed_attributes.entries.truncate(1);
        signed_attributes.entries.extend(module(CONTENT, "sha256", MessageDigest::sha256(), &pkcs7).entries);
        let expected: &[Event] = if file { &[] } else { &MODULE_REFUSED };
        assert_eq!(told(&signed_attributes, &stack), expected, "{keyring}");
    }
    // Where security.ima in the attributes is a signature itself, each of the two needs a key of its own keyring.
    let mut inode = Inode::of(CONTENT);
    inode.values[1] = own;
    let signature = key.attribute(5, &inode.hash(MessageDigest::sha256()));
    let mut list = ListBuilder::default();
    list.buffer(".evm", &key.certificate).buffer(".ima", &key.certificate);
    inode.push(&mut list, CONTENT, &signature);
    let stack = listing(&[".evm", ".ima"], &key);
    assert_eq!(told(&list, &stack), []);
    assert_eq!(told(&list.select([0, 2]), &stack), EVM_REFUSED);
    assert_eq!(told(&list.select([1, 2]), &stack), EVM_REFUSED);
}

#[test]
fn learned_evm_keys_are_kept_between_rounds_and_lost_with_a_reset() {
    let key = Certified::new(ec());
    let (list, stack) = (loaded(".evm", &key), listing(&[".evm"], &key));
    let first = Round::whole(&list.select([0])).appraise(&stack, &state(HashAlgorithm::Sha256));
    assert!(first.passed());
    let stored = MeasurementState::decode(&first.state.encode()).unwrap();
    assert!(Round { from: 1, ..Round::whole(&list) }.appraise(&stack, &stored).passed());
    let only_signed = list.select([1]);
    let reset = Round { reset_count: 2, ..Round::whole(&only_signed) };
    assert_eq!(events(&reset.appraise(&stack, &stored)), EVM_REFUSED);
    // A key that follows an entry that failed is not kept, since the entry in front of it is asked for again.
    let mut failed = ListBuilder::default();
    failed.file("/usr/bin/unlisted", b"x");
    failed.entries.extend(list.entries.clone());
    let told = Round::whole(&failed).appraise(&stack, &state(HashAlgorithm::Sha256));
    assert_eq!(events(&told), [Event::NotInAllowlist]);
    assert_eq!(told.state.next_entry(), 0);
    let nothing_learned = state(HashAlgorithm::Sha256).encode().len();
    assert!(told.state.encode().len() < nothing_learned + key.certificate.len(), "the key was kept");
}

#[test]
fn states_of_earlier_versions_are_read_without_what_they_do_not_know() {
    let key = Certified::new(ec());
    let list = loaded(".ima", &key).select([0]);
    let state = Round::whole(&list).appraise(&listing(&[".ima"], &key), &state(HashAlgorithm::Sha256)).state;
    let encoded = state.encode();
    assert_eq!(&encoded[..8], b"ATIMAST3");
    // Behind the keys of .ima: no key of .evm, and no device but what devices always have.
    let devices = encoded.len() - state_tail(&encoded, &key.certificate);
    let before_evm = &encoded[..devices];
    let mut version_2 = [before_evm, &encoded[devices + 4..]].concat();
    version_2[7] = b'2';
    let mut version_1 = before_evm.to_vec();
    version_1[7] = b'1';
    for old in [&version_2, &version_1] {
        assert_eq!(MeasurementState::decode(old).unwrap().encode(), encoded);
    }
    for version in [b'0', b'4'] {
        version_1[7] = version;
        assert!(matches!(MeasurementState::decode(&version_1), Err(MalformedState::Magic)));
    }
}

/// How many bytes follow a learned key in a stored state.
fn state_tail(state: &[u8], key: &[u8]) -> usize {
    let at = state.windows(key.len()).position(|window| window == key).unwrap();
    state.len() - at - key.len()
}

#[test]
fn evms_signature_in_an_entry_that_lacks_the_attributes_is_named_and_does_not_count() {
    // What Linux records in ima-sig of a file whose security.ima is no signature and whose security.evm is one.
    let (key, inode) = (ec(), Inode::of(CONTENT));
    let signature = inode.signed(&key);
    let mut list = ListBuilder::default();
    list.signed(PATH, CONTENT, &signature);
    list.signed_v2("ima", PATH, CONTENT, &signature);
    for (stack, word) in [(trusting(&[der(&key)]), "trusted"), (trusting(&[der(&ec())]), "unknown")] {
        let told = Round::whole(&list).appraise(&stack, &state(HashAlgorithm::Sha256));
        assert_eq!(events(&told), [EVM_REFUSED, EVM_REFUSED].concat());
        for (finding, template) in told.findings.kept().iter().step_by(2).zip(["ima-sig", "ima-sigv2"]) {
            assert_eq!(
                finding.found,
                format!(
                    "EVM's signature of {word} key {}, over owner, mode and attributes that template {template} does not record",
                    public(&key).id()
                )
            );
            assert!(finding.expected.contains("template evm-sig"), "{}", finding.expected);
        }
    }
    // One that cannot be read says so.
    let mut broken = ListBuilder::default();
    broken.signed(PATH, CONTENT, &signature[..signature.len() - 1]);
    let told = Round::whole(&broken).appraise(&trusting(&[der(&key)]), &state(HashAlgorithm::Sha256));
    assert_eq!(events(&told), EVM_REFUSED);
    assert!(told.findings.kept()[0].found.contains("cannot be checked"), "{:?}", told.findings);
    // It takes nothing from a file that is listed, nor from one that an exclude hides.
    let listing = stack(&serde_json::json!({"digests": {PATH: listed(CONTENT)}}));
    assert!(Round::whole(&list).appraise(&listing, &state(HashAlgorithm::Sha256)).passed());
}

#[test]
fn entries_of_what_is_no_file_have_empty_attributes() {
    let empty = || (Vec::new(), String::new());
    let mut list = ListBuilder::default();
    let mut fields = vec![digest_field("", b"boot"), name_field("boot_aggregate")];
    fields.extend(std::iter::repeat_with(empty).take(7));
    list.push("evm-sig", &fields);
    let stack = stack(&serde_json::json!({"digests": {"boot_aggregate": listed(b"boot")}}));
    assert!(Round::whole(&list).appraise(&stack, &state(HashAlgorithm::Sha256)).passed());
}

#[test]
fn violations_with_room_for_sha1_only_are_read() {
    let mut list = ListBuilder::default();
    let digest = [b"sha256:\0".as_slice(), &[0; 20]].concat();
    list.push("ima-ng", &[(digest, format!("sha256:{}", "0".repeat(40))), name_field("/var/log/x")]);
    list.entries[0].recorded = vec![0; 20];
    let told = Round::whole(&list).appraise(&stack(&serde_json::json!({})), &state(HashAlgorithm::Sha256));
    assert_eq!(events(&told), [Event::Violation]);
    // Without being a violation it is only a digest that nobody lists.
    list.entries[0].recorded = builder::digest(MessageDigest::sha1(), &list.entries[0].data);
    let told = Round::whole(&list).appraise(&stack(&serde_json::json!({})), &state(HashAlgorithm::Sha256));
    assert_eq!(events(&told), [Event::NotInAllowlist]);
}

/// An `ima-modsig` entry of a module with this content and this signature behind it.
fn module(content: &[u8], algorithm: &str, md: MessageDigest, pkcs7: &[u8]) -> ListBuilder {
    let d_modsig = digest(md, content);
    let field = [format!("{algorithm}:\0").as_bytes(), &d_modsig].concat();
    let whole = [content, pkcs7, b"~Module signature appended~\n"].concat();
    let mut list = ListBuilder::default();
    list.push(
        "ima-modsig",
        &[
            digest_field("", &whole),
            name_field("/lib/modules/x.ko"),
            (Vec::new(), String::new()),
            (field, format!("{algorithm}:{}", builder::hex(&d_modsig))),
            bytes_field(pkcs7),
        ],
    );
    list
}

/// As `sign-file` makes it: detached, without attributes and certificates.
fn appended(key: &PKey<Private>, certificate: &X509, content: &[u8], options: CMSOptions) -> Vec<u8> {
    let options = options | CMSOptions::DETACHED | CMSOptions::BINARY | CMSOptions::CMS_NOCERTS;
    CmsContentInfo::sign(Some(certificate), Some(key), None, Some(content), options).unwrap().to_der().unwrap()
}

fn module_events(list: &ListBuilder, stack: &PolicyStack) -> Vec<Event> {
    events(&Round::whole(list).appraise(stack, &state(HashAlgorithm::Sha256)))
}

const MODULE_REFUSED: [Event; 2] = [Event::ModuleSignature, Event::NotInAllowlist];

#[test]
fn a_module_signed_by_a_policy_key_is_allowed() {
    for key in [rsa(), ec()] {
        let certificate_der = certificate(&key);
        let x509 = X509::from_der(&certificate_der).unwrap();
        for options in [CMSOptions::NOATTR, CMSOptions::NOATTR | CMSOptions::USE_KEYID] {
            let pkcs7 = appended(&key, &x509, CONTENT, options);
            let list = module(CONTENT, "sha256", MessageDigest::sha256(), &pkcs7);
            assert_eq!(module_events(&list, &trusting(std::slice::from_ref(&certificate_der))), []);
            assert_eq!(module_events(&list, &trusting(&[certificate(&ec())])), MODULE_REFUSED);
        }
        // A bare key is found for a signer named by issuer and serial number.
        let pkcs7 = appended(&key, &x509, CONTENT, CMSOptions::NOATTR);
        let list = module(CONTENT, "sha256", MessageDigest::sha256(), &pkcs7);
        assert_eq!(module_events(&list, &trusting(&[der(&ec()), der(&key)])), []);
        assert_eq!(module_events(&list, &trusting(&[der(&ec())])), MODULE_REFUSED);
    }
}

#[test]
fn a_modules_signature_over_anything_else_is_refused() {
    let key = ec();
    let certificate_der = certificate(&key);
    let x509 = X509::from_der(&certificate_der).unwrap();
    let stack = trusting(&[certificate_der]);
    let good = appended(&key, &x509, CONTENT, CMSOptions::NOATTR);
    let sha256 = MessageDigest::sha256();
    let attached = {
        let options = CMSOptions::NOATTR | CMSOptions::BINARY | CMSOptions::CMS_NOCERTS;
        CmsContentInfo::sign(Some(&x509), Some(&key), None, Some(CONTENT), options).unwrap().to_der().unwrap()
    };
    let cases = [
        ("another module", module(b"other", "sha256", sha256, &good)),
        ("another algorithm's digest", module(CONTENT, "sha512", MessageDigest::sha512(), &good)),
        ("signed attributes of another digest", {
            let pkcs7 = appended(&key, &x509, CONTENT, CMSOptions::empty());
            module(CONTENT, "sha256", sha256, &pkcs7)
        }),
        ("its own content", module(CONTENT, "sha256", sha256, &attached)),
        ("cut", module(CONTENT, "sha256", sha256, &good[..good.len() - 1])),
        ("longer", module(CONTENT, "sha256", sha256, &[good.as_slice(), &[0]].concat())),
        ("no PKCS #7", module(CONTENT, "sha256", sha256, b"0")),
    ];
    for (name, list) in cases {
        assert_eq!(module_events(&list, &stack), MODULE_REFUSED, "{name}");
    }
    let mut refused = 0;
    for byte in 0..good.len() {
        let mut changed = good.clone();
        changed[byte] ^= 1;
        let told = module_events(&module(CONTENT, "sha256", sha256, &changed), &stack);
        // What names the signer's algorithm and versions says nothing that the key and the digest do not say.
        assert!(told == MODULE_REFUSED || told.is_empty());
        refused += usize::from(told == MODULE_REFUSED);
    }
    assert!(refused > good.len() / 2, "{refused} of {}", good.len());
}

#[test]
fn signed_attributes_count_by_the_digest_the_kernel_made_of_them() {
    // The kernel records the hash of the attributes, after it held the message digest in them against the content.
    let key = ec();
    let certificate_der = certificate(&key);
    let x509 = X509::from_der(&certificate_der).unwrap();
    let pkcs7 = appended(&key, &x509, CONTENT, CMSOptions::empty());
    // Signed attributes are signed as a SET; in the message they stand under [0].
    let attributes = signed_attributes(&pkcs7);
    let list = module(&attributes, "sha256", MessageDigest::sha256(), &pkcs7);
    assert_eq!(module_events(&list, &trusting(&[certificate_der])), []);
}

fn signed_attributes(pkcs7: &[u8]) -> Vec<u8> {
    // contentType 1.2.840.113549.1.9.3 is the first attribute; [0] and its length stand in front of it.
    let oid = [0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3];
    let at = pkcs7.windows(oid.len()).position(|window| window == oid).unwrap();
    let start = (0..at).rev().find(|start| pkcs7[*start] == 0xa0).unwrap();
    let (header, length) = match pkcs7[start + 1] {
        0x81 => (3, usize::from(pkcs7[start + 2])),
        0x82 => (4, usize::from(pkcs7[start + 2]) << 8 | usize::from(pkcs7[start + 3])),
        short => (2, usize::from(short)),
    };
    let mut attributes = pkcs7[start..start + header + length].to_vec();
    attributes[0] = 0x31;
    attributes
}

#[test]
fn a_message_of_the_older_standard_is_read_too() {
    let key = rsa();
    let certificate_der = certificate(&key);
    let x509 = X509::from_der(&certificate_der).unwrap();
    let flags = Pkcs7Flags::DETACHED | Pkcs7Flags::BINARY | Pkcs7Flags::NOATTR;
    let pkcs7 = Pkcs7::sign(&x509, &key, &Stack::new().unwrap(), CONTENT, flags).unwrap().to_der().unwrap();
    let list = module(CONTENT, "sha256", MessageDigest::sha256(), &pkcs7);
    assert_eq!(module_events(&list, &trusting(&[certificate_der])), []);
}
