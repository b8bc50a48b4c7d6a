//! A log served over TLS by a test: what is in a folder, in whatever manner it is told to.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use ledger_tlog::{
    frontier::Frontier,
    hash::leaf_hash,
    tile::{TILE_WIDTH, TileId, TilePath, TileSpan},
};
use openssl::ssl::{SslAcceptor, SslMethod, SslStream};
use transport::{
    ca::{Authority, KeyAlgorithm, Leaf},
    router::Role,
};

/// How paths with some beginning are answered, if not well.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Manner {
    /// A body that never ends.
    Endless,
    /// The connection is closed instead.
    Gone,
    /// The same bytes with one changed.
    Other,
    /// See there.
    Redirect,
    /// Ten bytes a second.
    Slow,
    /// With this status.
    Status(u16),
    /// The body ends before it is as long as was said, and with it the connection.
    Truncated,
    /// The body is longer than was said.
    WrongLength,
}

/// The server. It ends with this.
pub(crate) struct Liar {
    manners: Arc<Mutex<Vec<(String, Manner)>>>,
    stop: Arc<AtomicBool>,
    served: PathBuf,
    port: u16,
    pub(crate) tls: PathBuf,
}

impl Liar {
    /// Serves a log in `served`, with the certificates of a new authority in `tls`.
    pub(crate) fn new(served: PathBuf, tls: PathBuf) -> Self {
        let authority = Authority::open_or_create(&tls, "liar", KeyAlgorithm::EcP256).unwrap();
        let auditor = Leaf::client("auditor", Role::Auditor);
        authority.open_or_issue(&tls, "auditor", &auditor, KeyAlgorithm::EcP256).unwrap();
        let server = authority.issue(&Leaf::server("ledger", &[], &[]), KeyAlgorithm::EcP256).unwrap();
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
        acceptor.set_certificate(server.certificate()).unwrap();
        acceptor.set_private_key(server.key()).unwrap();
        let acceptor = acceptor.build();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (manners, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (of_all, stopped, folder) = (Arc::clone(&manners), Arc::clone(&stop), served.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                let (acceptor, manners, folder) = (acceptor.clone(), Arc::clone(&of_all), folder.clone());
                let Ok(stream) = stream else { continue };
                thread::spawn(move || answer(stream, &acceptor, &manners, &folder));
            }
        });
        Self { manners, stop, served, port, tls }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// From now on paths that begin so are answered so; the rest well.
    pub(crate) fn behave(&self, beginning: &str, manner: Manner) {
        *self.manners.lock().unwrap() = vec![(beginning.to_owned(), manner)];
    }

    pub(crate) fn behave_well(&self) {
        self.manners.lock().unwrap().clear();
    }

    /// Writes the hashes of the log's tree, which `write_mirror` leaves out.
    pub(crate) fn write_hashes(&self, entries: &[Vec<u8>]) {
        let mut levels: Vec<Vec<u8>> = Vec::new();
        let mut frontier = Frontier::new();
        for entry in entries {
            frontier.append(leaf_hash(entry), |level, _, hash| {
                levels.resize_with(levels.len().max(usize::from(level) + 1), Vec::new);
                levels[usize::from(level)].extend_from_slice(hash.as_bytes());
            });
        }
        for (level, hashes) in (0..).zip(&levels) {
            for (number, tile) in (0..).zip(hashes.chunks(32 * usize::from(TILE_WIDTH))) {
                let span = TileSpan::new(number, u16::try_from(tile.len() / 32).unwrap()).unwrap();
                let path = self.served.join(TilePath::Hashes(TileId::new(level, span).unwrap()).to_string());
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, tile).unwrap();
            }
        }
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Answers requests on a connection until one is not answered well.
fn answer(stream: TcpStream, acceptor: &SslAcceptor, manners: &Mutex<Vec<(String, Manner)>>, folder: &Path) {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let Ok(stream) = acceptor.accept(stream) else { return };
    let mut reader = BufReader::new(stream);
    while let Some(path) = asked(&mut reader) {
        let manner =
            manners.lock().unwrap().iter().find(|(beginning, _)| path.starts_with(beginning)).map(|(_, is)| *is);
        if !answer_one(reader.get_mut(), &path, manner, folder) {
            return;
        }
    }
}

/// The path that is asked for next.
fn asked(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    loop {
        let mut field = String::new();
        match reader.read_line(&mut field) {
            Ok(0) | Err(_) => return None,
            Ok(_) if field == "\r\n" => return line.split(' ').nth(1).map(str::to_owned),
            Ok(_) => {}
        }
    }
}

/// Whether the connection is of further use.
fn answer_one(stream: &mut SslStream<TcpStream>, path: &str, manner: Option<Manner>, folder: &Path) -> bool {
    let found = resource(folder, path);
    let head = |status: u16, length: usize| format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n");
    let Some(mut body) = found else {
        return stream.write_all(head(404, 0).as_bytes()).is_ok();
    };
    // The other side may have had enough before all is sent.
    let _ = match manner {
        None => stream.write_all(&[head(200, body.len()).as_bytes(), &body].concat()),
        Some(Manner::Other) => {
            let middle = body.len() / 2;
            body[middle] ^= 1;
            stream.write_all(&[head(200, body.len()).as_bytes(), &body].concat())
        }
        Some(Manner::Status(status)) => stream.write_all(head(status, 0).as_bytes()),
        Some(Manner::Gone) => Ok(()),
        Some(Manner::Redirect) => {
            let elsewhere = path.replacen("/", "/elsewhere/", 1);
            stream.write_all(format!("HTTP/1.1 302 X\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n").as_bytes())
        }
        Some(Manner::Truncated) => {
            let half = body.len() / 2;
            stream.write_all(&[head(200, body.len()).as_bytes(), &body[..half]].concat())
        }
        Some(Manner::WrongLength) => {
            let half = body.len() / 2;
            stream.write_all(&[head(200, half).as_bytes(), &body].concat())
        }
        Some(Manner::Endless) => {
            let begun = stream.write_all(b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\n");
            begun.and_then(|()| {
                loop {
                    stream.write_all(&[b'x'; 65_536])?;
                }
            })
        }
        Some(Manner::Slow) => {
            let begun = stream.write_all(head(200, body.len()).as_bytes());
            begun.and_then(|()| {
                body.iter().try_for_each(|byte| {
                    thread::sleep(Duration::from_millis(100));
                    stream.write_all(&[*byte])
                })
            })
        }
    };
    matches!(manner, None | Some(Manner::Other | Manner::Status(_)))
}

/// What a ledger has under a path, out of a folder as a mirror or an export has it.
fn resource(folder: &Path, path: &str) -> Option<Vec<u8>> {
    let path = path.strip_prefix('/')?.strip_prefix("elsewhere/").unwrap_or(path.strip_prefix('/')?);
    if let Some(query) = path.strip_prefix("ledger/v1/checkpoints?") {
        let number = |part: &str| part.split_once('=').and_then(|(_, number)| number.parse::<u64>().ok());
        let (from, to) = query.split_once('&')?;
        let (from, to) = (number(from)?, number(to)?);
        let names = fs::read_dir(folder.join("checkpoints")).ok()?;
        let sizes = names.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u64>().ok());
        let mut sizes: Vec<u64> = sizes.filter(|size| (from..=to).contains(size)).collect();
        sizes.sort_unstable();
        return Some(messages::cbor::encode(&sizes));
    }
    let path = path.strip_prefix("ledger/v1/").unwrap_or(path);
    fs::read(folder.join(path)).ok()
}
