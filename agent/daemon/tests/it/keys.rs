//! EKs, AKs and quotes.

use agent_daemon::Config;
use agent_daemon::config::EkAlgorithm;
use evidence::algorithm::{HashAlgorithm, SignatureScheme};
use transport::server::Shutdown;

use crate::rig::Rig;

/// Registers with these algorithms, which takes EK certificate, credential and activation, and quotes.
async fn registers_and_quotes(ek: EkAlgorithm, scheme: SignatureScheme, hash: HashAlgorithm, lenient: bool) {
    let rig = Rig::new().await;
    rig.registrar.set(|book| book.lenient = lenient);
    let config = Config { ek_algorithm: ek, scheme, hash, ..rig.config() };
    let agent = rig.start(config).await;
    assert_eq!(agent.register.ekcert.is_none(), lenient);
    for mask in [0, 1, 0x40_8000, 0xff_ffff] {
        let _ = agent.verified_quote("aNonceOf20Characters", mask).await;
    }
    let results = agent.results("/v2.6/quotes/identity?nonce=abc").await;
    assert_eq!(results["sign_alg"], scheme.name());
    assert_eq!(results["enc_alg"], ek.encryption_algorithm().name());
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_rsa_ek_vouches_for_an_rsassa_ak() {
    registers_and_quotes(EkAlgorithm::Rsa2048, SignatureScheme::RsaSsa, HashAlgorithm::Sha256, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_rsa_ek_vouches_for_an_rsapss_ak_in_the_sha384_bank() {
    registers_and_quotes(EkAlgorithm::Rsa2048, SignatureScheme::RsaPss, HashAlgorithm::Sha384, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_rsa_ek_vouches_for_a_p256_ak() {
    registers_and_quotes(EkAlgorithm::Rsa2048, SignatureScheme::Ecdsa, HashAlgorithm::Sha256, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_p384_ek_vouches_for_a_p384_ak() {
    registers_and_quotes(EkAlgorithm::Ecc384, SignatureScheme::Ecdsa, HashAlgorithm::Sha256, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_p256_ek_made_from_its_template_vouches_for_a_p256_ak() {
    registers_and_quotes(EkAlgorithm::Ecc256, SignatureScheme::Ecdsa, HashAlgorithm::Sha256, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ek_that_was_evicted_is_made_again_from_its_template() {
    let rig = Rig::new().await;
    rig.tool("tpm2_evictcontrol", &["-C", "o", "-c", "0x81010001"]);
    let agent = rig.start(rig.config()).await;
    assert!(agent.register.ekcert.is_some(), "the certificate is for the key the template makes");
    let _ = agent.verified_quote("abc", 0xff).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ak_survives_a_restart_and_a_reboot() {
    let mut rig = Rig::new().await;
    let agent = rig.start(rig.config()).await;
    let (first, key) = (agent.register.aik_tpm.clone(), agent.results("/v2/keys/pubkey").await);
    let _ = agent.verified_quote("abc", 0).await;
    let before = agent.verified_quote("abc", 0).await;
    rig.tpm.reboot().unwrap();
    // The saved context died with the reset; the agent goes on with the key under the EK.
    let after = agent.verified_quote("abc", 0).await;
    assert!(after.clock_info().reset_count > before.clock_info().reset_count);
    agent.stop().await;
    let agent = rig.start(rig.config()).await;
    assert_eq!(agent.register.aik_tpm, first);
    assert_eq!(agent.results("/v2/keys/pubkey").await, key);
    assert_eq!(rig.registrar.activations(), 2);
    agent.stop().await;
}

async fn refused(config: Config) -> String {
    let (_handle, shutdown) = Shutdown::new();
    let error = agent_daemon::start(config, shutdown).await.unwrap_err();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tpm_or_other_settings_or_an_exposed_file_make_no_new_ak() {
    let rig = Rig::new().await;
    rig.start(rig.config()).await.stop().await;
    let path = rig.config().agent_data_path;
    let kept = std::fs::read(&path).unwrap();

    let other = Rig::new().await;
    let text = refused(Config { tcti: other.tpm.tcti(), ..rig.config() }).await;
    assert!(text.contains("this TPM's EK is") && text.contains("remove the file"), "{text}");
    let text = refused(Config { scheme: SignatureScheme::Ecdsa, ..rig.config() }).await;
    assert!(text.contains("rsassa with sha256, configured is ecdsa with sha256"), "{text}");
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let text = refused(rig.config()).await;
    assert!(text.contains("chmod 600"), "{text}");
    assert_eq!(std::fs::read(&path).unwrap(), kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpm_that_is_not_there_or_a_bank_it_lacks_is_named() {
    let rig = Rig::new().await;
    let text = refused(Config { tcti: "swtpm:host=127.0.0.1,port=1".to_owned(), ..rig.config() }).await;
    assert!(text.contains("cannot open the TPM"), "{text}");
    let text = refused(Config { tcti: "nonsense".to_owned(), ..rig.config() }).await;
    assert!(text.contains("is no TCTI"), "{text}");
    let text = refused(Config { ek_handle: Some(0x8101_0002), ..rig.config() }).await;
    assert!(text.contains("0x81010002 holds no rsa2048 EK"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extended_pcr_shows_in_the_next_quote() {
    let rig = Rig::new().await;
    let agent = rig.start(rig.config()).await;
    let value = |quote: &evidence::quote::AuthenticQuote| *quote.values().get(23.try_into().unwrap()).unwrap();
    let before = value(&agent.verified_quote("abc", 1 << 23).await);
    let extension = "11".repeat(32);
    rig.tool("tpm2_pcrextend", &[&format!("23:sha256={extension}")]);
    let after = value(&agent.verified_quote("abc", 1 << 23).await);
    let expected = before.algorithm().digest(&[before.as_bytes(), &[0x11; 32]].concat()).unwrap();
    assert_eq!(after, expected);
    // Somebody else writes PCR 16: the next quote binds NK again.
    rig.tool("tpm2_pcrextend", &[&format!("16:sha256={extension}")]);
    let _ = agent.verified_quote("abc", 0).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_quotes_leave_nothing_in_the_tpm_and_what_others_left_is_flushed_at_the_start() {
    let rig = Rig::new().await;
    rig.tool("tpm2_createprimary", &["-Q", "-C", "e", "-G", "ecc", "-c", "left.ctx"]);
    assert_ne!(rig.tool("tpm2_getcap", &["handles-transient"]).trim(), "");
    let agent = rig.start(rig.config()).await;
    for _ in 0..50 {
        let quote = || agent.results("/v2.6/quotes/integrity?nonce=abc&mask=0xff&partial=1");
        tokio::join!(quote(), quote(), quote(), quote());
    }
    for kind in ["handles-transient", "handles-loaded-session", "handles-saved-session"] {
        assert_eq!(rig.tool("tpm2_getcap", &[kind]).trim(), "", "{kind}");
    }
    agent.stop().await;
}
