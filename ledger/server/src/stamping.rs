//! Has checkpoints stamped by time-stamping authorities, so that the log's own clock need not be
//! believed.
//!
//! One task for each authority: a slow or dead one keeps no other from stamping. A stamp is
//!
//! - *due* a period after the last, if the log has got entries since that are neither checkpoints,
//!   censuses nor timestamps: stamps do not feed on themselves;
//! - *renewed* before the first certificate behind it expires, also in a log that is silent. The new
//!   stamp is on a checkpoint that covers the entry which names the old token, so it shows that the
//!   old one was there while its certificate was good. It is kept only if it lasts longer.
//!
//! A token is verified, kept with what verifies it, put into the blob store and then named by a
//! `timestamp` entry, in this order; a start finishes what was interrupted.

mod exchange;

use std::ops::ControlFlow;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ledger_protocol::body::{Body, TimestampBody};
use ledger_protocol::{Entry, Kind};
use ledger_timestamp::{Authorities, GenTime, TimestampRequest, Token};
use messages::ledger::{AppendRequest, Group, GroupResult, IdempotencyKey, Item};
use messages::{Digest, UnixMillis};
use serde_bytes::ByteBuf;
use tokio::task::JoinHandle;
use transport::client::Client;
use transport::server::Shutdown;
use transport::tls::ClientTls;

use self::exchange::Stamped;
use crate::engine::{Ledger, Published, chain};
use crate::stamps::REQUEST;

/// Who stamps a log's checkpoints, and when.
#[derive(Clone, Debug)]
pub struct StampingConfig {
    authorities: Vec<StampingAuthority>,
    period: Duration,
    renew_before: Duration,
    tls: ClientTls,
    trusted: Arc<Authorities>,
}

/// Two authorities of one name would write the same files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two time-stamping authorities are named {name}; expected a name of its own for each")]
pub struct StampingNameTaken {
    /// The name.
    pub name: String,
}

impl StampingConfig {
    /// Has each of `authorities` stamp once in `period` while entries come, and `renew_before` a
    /// stamp's certificate expires. `tls` is for those that are asked by https. A token that does
    /// not lead to a root of `trusted` is refused.
    ///
    /// # Errors
    /// [`StampingNameTaken`].
    pub fn new(
        authorities: Vec<StampingAuthority>,
        period: Duration,
        renew_before: Duration,
        tls: ClientTls,
        trusted: Authorities,
    ) -> Result<Self, StampingNameTaken> {
        let mut names: Vec<&str> = authorities.iter().map(|authority| authority.name.as_str()).collect();
        names.sort_unstable();
        if let Some(name) = names.windows(2).find_map(|pair| pair.first().filter(|name| pair.last() == Some(name))) {
            return Err(StampingNameTaken { name: (*name).to_owned() });
        }
        Ok(Self { authorities, period, renew_before, tls, trusted: Arc::new(trusted) })
    }
}

/// A time-stamping authority as the operator knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StampingAuthority {
    name: String,
    url: String,
}

/// Why text names no authority.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no authority; expected NAME=URL with a name of 1 to {NAME_CHARS_MAX} of a-z, 0-9 and -, or URL")]
pub struct StampingAuthorityError {
    /// The text.
    pub found: String,
}

impl StampingAuthority {
    /// Whether it is asked over TLS.
    pub(crate) fn uses_tls(&self) -> bool {
        self.url.starts_with("https://")
    }
}

/// `NAME=URL`, or an address alone: then the name is its host's, with `-` for all that no name has.
impl FromStr for StampingAuthority {
    type Err = StampingAuthorityError;

    fn from_str(text: &str) -> Result<Self, StampingAuthorityError> {
        let error = || StampingAuthorityError { found: text.to_owned() };
        let host_name = text.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(name_of_host));
        let (name, url) = match host_name {
            Some(name) if is_address(text) => (name, text),
            _ => text.split_once('=').map(|(name, url)| (name.to_owned(), url)).ok_or_else(error)?,
        };
        // The name stands in file names, before a dot.
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(fits) || !is_address(url) {
            return Err(error());
        }
        Ok(Self { name, url: url.to_owned() })
    }
}

fn is_address(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

fn name_of_host(host: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    host.chars().take(NAME_CHARS_MAX).map(fit).collect()
}

/// Starts a task for each authority; they end when the shutdown starts.
pub(crate) fn spawn(ledger: &Arc<Ledger>, config: &StampingConfig, shutdown: &Shutdown) -> Vec<JoinHandle<()>> {
    let authorities = config.authorities.iter().map(|authority| {
        let stamper = Stamper {
            authority: authority.clone(),
            client: Client::new(config.tls.clone()),
            config: config.clone(),
            last: None,
            ledger: Arc::clone(ledger),
            looked: 0,
            not_before: UnixMillis(0),
            renewal_not_before: UnixMillis(0),
        };
        tokio::spawn(stamper.run(shutdown.clone()))
    });
    authorities.collect()
}

/// One authority's stamps on one log.
struct Stamper {
    authority: StampingAuthority,
    client: Client,
    config: StampingConfig,
    last: Option<Last>,
    ledger: Arc<Ledger>,
    /// Entries that were looked at for news since the last stamp.
    looked: u64,
    /// When the authority may be asked again.
    not_before: UnixMillis,
    /// When it may be asked again for a stamp that lasts longer.
    renewal_not_before: UnixMillis,
}

/// The latest stamp.
#[derive(Clone, Copy, Debug)]
struct Last {
    /// When it was made, not after now.
    at: UnixMillis,
    /// When the first certificate behind it expires.
    not_after: UnixMillis,
    /// Size of the checkpoint it is on.
    size: u64,
}

/// What is to be done.
#[derive(Debug)]
enum Due {
    Nothing,
    Renewal(Published),
    Stamp(Published),
}

/// Why there is no stamp; the next attempt may have more luck.
type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Stamper {
    async fn run(mut self, mut shutdown: Shutdown) {
        let mut begun = false;
        loop {
            let step = async {
                if !begun {
                    self.take_up().await?;
                    begun = true;
                }
                self.step().await
            };
            let done = tokio::select! {
                () = shutdown.started() => return,
                done = step => done,
            };
            if let Err(error) = done {
                let (authority, error) = (&self.authority.name, chain(&*error));
                tracing::warn!(authority, error, "a checkpoint was not stamped");
                self.not_before = self.after(RETRY.min(self.config.period));
            }
            tokio::select! {
                () = shutdown.started() => return,
                () = tokio::time::sleep(LOOK.min(self.config.period)) => {}
            }
        }
    }

    /// Takes up where an earlier process ended.
    async fn take_up(&mut self) -> Result<(), Failure> {
        let (ledger, authority) = (Arc::clone(&self.ledger), self.authority.name.clone());
        let latest = blocking(move || {
            let Some((size, token, logged)) = ledger.shared.stamps.latest(&authority)? else {
                return Ok(None);
            };
            let note = ledger.shared.blobs.get(&imprint_of(&ledger, size, &authority)?)?;
            Ok(Some((size, token, logged, note.ok_or("the blob of a note that was stamped is missing")?)))
        });
        let Some((size, token, logged, note)) = latest.await? else {
            return Ok(());
        };
        // A stamp of an authority that is not trusted any more is as good as none.
        let verified = match token.verify(&note, None, &self.config.trusted) {
            Ok(verified) => verified,
            Err(error) => {
                let (authority, error) = (&self.authority.name, chain(&error));
                tracing::warn!(authority, error, size, "the latest stamp is not believed; a new one is made");
                return Ok(());
            }
        };
        if !logged {
            self.log(size, &note, &token).await?;
        }
        self.stamped(size, verified.gen_time, verified.not_after);
        Ok(())
    }

    async fn step(&mut self) -> Result<(), Failure> {
        if self.ledger.shared.clock.now() < self.not_before {
            return Ok(());
        }
        match self.due().await? {
            Due::Nothing => Ok(()),
            Due::Stamp(published) => {
                let stamped = self.ask(&published).await?;
                self.keep(&published, stamped).await
            }
            Due::Renewal(published) => {
                let stamped = self.ask(&published).await?;
                let (old, new) = (self.last.map_or(0, |last| last.not_after.0 / 1000), stamped.verified.not_after);
                if new > old {
                    return self.keep(&published, stamped).await;
                }
                let authority = &self.authority.name;
                tracing::warn!(authority, old, new, "a stamp expires soon, and a new one would not last longer");
                self.renewal_not_before = self.after(RENEWAL_RETRY);
                Ok(())
            }
        }
    }

    async fn due(&mut self) -> Result<Due, Failure> {
        let Some(published) = self.ledger.shared.published() else {
            return Ok(Due::Nothing);
        };
        let Some(last) = self.last else {
            return Ok(Due::Stamp(published));
        };
        if published.size <= last.size {
            return Ok(Due::Nothing);
        }
        let now = self.ledger.shared.clock.now();
        if now.0 >= last.at.0.saturating_add(millis(self.config.period)) && self.has_news(published.size).await? {
            return Ok(Due::Stamp(published));
        }
        let expires_soon = now.0.saturating_add(millis(self.config.renew_before)) >= last.not_after.0;
        if expires_soon && now >= self.renewal_not_before {
            return Ok(Due::Renewal(published));
        }
        Ok(Due::Nothing)
    }

    /// Whether an entry below `size` that was not looked at is something else than a checkpoint,
    /// census or timestamp.
    async fn has_news(&mut self, size: u64) -> Result<bool, Failure> {
        let first = self.ledger.shared.pruned().map_or(0, |pruned| pruned.first);
        let (ledger, from) = (Arc::clone(&self.ledger), self.looked.max(first));
        if from >= size {
            return Ok(false);
        }
        let found = blocking(move || {
            let mut news = Ok(None);
            ledger.shared.segments.read(from, |index, bytes| {
                news = match Entry::decode(bytes) {
                    Ok(entry) if matches!(entry.kind, Kind::Census | Kind::Checkpoint | Kind::Timestamp) => Ok(None),
                    Ok(_) => Ok(Some(index)),
                    Err(error) => Err(error),
                };
                let done = !matches!(news, Ok(None)) || index + 1 >= size;
                if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            Ok(news?)
        });
        let news = found.await?;
        // What is news once is news until the next stamp.
        self.looked = news.unwrap_or(size);
        Ok(news.is_some())
    }

    async fn ask(&self, published: &Published) -> Result<Stamped, Failure> {
        Ok(exchange::ask(&self.client, &self.authority.url, &published.note, &self.config.trusted).await?)
    }

    async fn keep(&mut self, published: &Published, stamped: Stamped) -> Result<(), Failure> {
        let Stamped { stamp, token, verified } = stamped;
        let (ledger, authority, size) = (Arc::clone(&self.ledger), self.authority.name.clone(), published.size);
        let note = Arc::clone(&published.note);
        blocking(move || {
            // The note first: the next start looks for it when it finds the stamp.
            ledger.shared.blobs.put(&digest(&note), &note)?;
            Ok(ledger.shared.stamps.keep(size, &authority, &stamp)?)
        })
        .await?;
        self.log(size, &published.note, &token).await?;
        self.stamped(size, verified.gen_time, verified.not_after);
        let (authority, gen_time) = (&self.authority.name, verified.gen_time);
        tracing::info!(authority, size, %gen_time, revocation = ?verified.revocation, "a checkpoint was stamped");
        Ok(())
    }

    /// Names the token in an entry. Repeating it does nothing: the key of the batch is the token's.
    async fn log(&self, size: u64, note: &[u8], token: &Token) -> Result<(), Failure> {
        let body = TimestampBody {
            tree_size: size,
            note: digest(note),
            token: digest(token.to_der()),
            tsa: self.authority.name.clone(),
            gen_time: UnixMillis(token.info().gen_time.0),
        };
        let (ledger, name, bytes) = (Arc::clone(&self.ledger), body.token, token.to_der().to_vec());
        blocking(move || Ok(ledger.shared.blobs.put(&name, &bytes)?)).await?;
        let answer = self.ledger.append(request(&body)).await?;
        let [GroupResult::Appended(_)] = answer.results.as_slice() else {
            return Err(format!("the log did not take the timestamp: {:?}", answer.results).into());
        };
        let ledger = Arc::clone(&self.ledger);
        blocking(move || Ok(ledger.shared.stamps.mark_logged(size, &body.tsa, &body.token)?)).await
    }

    fn stamped(&mut self, size: u64, gen_time: GenTime, not_after: u64) {
        let now = self.ledger.shared.clock.now();
        let at = UnixMillis(gen_time.0).min(now);
        self.ledger.shared.metrics.stamped(&self.authority.name, at);
        self.last = Some(Last { at, not_after: UnixMillis(not_after.saturating_mul(1000)), size });
        self.looked = size;
    }

    fn after(&self, pause: Duration) -> UnixMillis {
        UnixMillis(self.ledger.shared.clock.now().0.saturating_add(millis(pause)))
    }
}

fn request(body: &TimestampBody) -> AppendRequest {
    let item = Item { kind: TimestampBody::KIND.number(), body: ByteBuf::from(body.encode()), after: None };
    let group = Group { agent: None, expected: None, items: vec![item] };
    let [key @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = body.token.0;
    AppendRequest { version: 1, idempotency_key: IdempotencyKey(key), groups: vec![group] }
}

/// The digest that a kept request asked to have stamped: the name of the note's blob.
fn imprint_of(ledger: &Ledger, size: u64, authority: &str) -> Result<Digest, Failure> {
    let request = ledger.shared.stamps.read(size, &format!("{authority}{REQUEST}"))?;
    let request = TimestampRequest::parse(&request.ok_or("the request of a stamp is missing")?)?;
    Ok(Digest::try_from(request.digest()).map_err(|_| "the request of a stamp is not over SHA-256")?)
}

fn digest(bytes: &[u8]) -> Digest {
    Digest(openssl::sha::sha256(bytes))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Runs what waits for the disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await?
}

/// Characters of an authority's name: it stands in file names and entries.
const NAME_CHARS_MAX: usize = 40;

/// How often to look whether a stamp is due, unless the period is shorter.
const LOOK: Duration = Duration::from_secs(1);

/// How long to leave an authority alone that did not stamp, unless the period is shorter.
const RETRY: Duration = Duration::from_secs(60);

/// How long to wait after a renewal that brought nothing: authorities change certificates within days.
const RENEWAL_RETRY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests;
