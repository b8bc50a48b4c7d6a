//! Digests gathered on all cores: one thread finds files and packages, the others hash them.

use std::{
    fs,
    io::{self, IsTerminal},
    num::NonZero,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use evidence::algorithm::HashAlgorithm;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    archive::{Found, FoundFile, UnreadableArchive, hash, usr_merged},
    deb,
    document::{Lists, add},
    initrd,
    repository::{self, ListedPackage, Packages, ReadPackage, Reading, RepositoryRejected, TrustedKeys},
    root, rpm,
};
use crate::failure::Failure;

/// What is to be read.
pub(super) struct Sources<'s> {
    pub(super) roots: &'s [PathBuf],
    pub(super) skips: &'s [String],
    pub(super) initrds: &'s [PathBuf],
    pub(super) debs: &'s [PathBuf],
    pub(super) rpms: &'s [PathBuf],
    /// Who must have signed the headers of `rpms`; `None` if nobody has to.
    pub(super) rpm_keys: Option<&'s TrustedKeys>,
    pub(super) deb_repositories: &'s [PathBuf],
    pub(super) rpm_repositories: &'s [PathBuf],
    pub(super) reading: Reading<'s>,
    pub(super) algorithm: HashAlgorithm,
    pub(super) usr_merge: bool,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) files: u64,
    pub(super) packages: u64,
    /// Files whose names are not UTF-8 and cannot stand in JSON.
    pub(super) unlistable: u64,
}

/// Something to hash.
enum Work {
    File(root::FoundFile),
    Deb(PathBuf),
    Initrd(PathBuf),
    Rpm(PathBuf),
    Listed(ListedPackage, ReadPackage),
}

/// What came of it.
enum News {
    Failed(Failure),
    Found { path: String, digest: String },
    PackageRead,
    PackageWaiting,
    Unlistable(String),
}

/// Reads all sources into `digests`; the first failure ends it.
pub(super) fn harvest(sources: &Sources<'_>, digests: &mut Lists) -> Result<Tally, Failure> {
    let (work_in, work_out) = sync_channel(QUEUE_MAX);
    let (news_in, news_out) = sync_channel(QUEUE_MAX);
    // Shared by the workers alone, so that it closes with the last of them.
    let work_out = Arc::new(Mutex::new(work_out));
    thread::scope(|scope| {
        let news = news_in.clone();
        scope.spawn(move || feed(sources, &work_in, &news));
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            let (work, news) = (Arc::clone(&work_out), news_in.clone());
            scope.spawn(move || work_off(&work, &news, sources));
        }
        drop((work_out, news_in));
        collect(news_out, digests)
    })
}

/// Takes the news until there is no more, or a failure among it; the other threads end when nobody listens.
fn collect(news: Receiver<News>, digests: &mut Lists) -> Result<Tally, Failure> {
    let progress = progress();
    let (mut tally, mut waiting) = (Tally::default(), 0_u64);
    for news in news {
        match news {
            News::Failed(failure) => {
                progress.finish_and_clear();
                return Err(failure);
            }
            News::Found { path, digest } => {
                tally.files += 1;
                progress.inc(1);
                add(digests, path, digest);
            }
            News::PackageRead => {
                tally.packages += 1;
                progress.set_message(format!(", {} of {waiting} packages and initrds", tally.packages));
            }
            News::PackageWaiting => waiting += 1,
            News::Unlistable(path) => {
                tally.unlistable += 1;
                progress.suspend(|| eprintln!("attestry: not listed, since its name is not UTF-8: {path:?}"));
            }
        }
    }
    progress.finish_and_clear();
    Ok(tally)
}

fn progress() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let progress = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} files ({per_sec}){msg}, {elapsed}") {
        progress.set_style(style);
    }
    progress.enable_steady_tick(Duration::from_millis(100));
    progress
}

/// Finds the work, packages first, since each of them takes longest.
fn feed(sources: &Sources<'_>, work: &SyncSender<Work>, news: &SyncSender<News>) {
    let fed = feed_packages(sources, work, news).and_then(|()| {
        sources.roots.iter().try_for_each(|root| {
            root::walk(root, sources.skips, &mut |step| match step {
                root::Step::File(file) => work.send(Work::File(file)).is_ok(),
                root::Step::Unlistable(path) => news.send(News::Unlistable(path)).is_ok(),
            })
        })
    });
    if let Err(failure) = fed {
        // Nobody listens after another failure.
        let _ = news.send(News::Failed(failure));
    }
}

fn feed_packages(sources: &Sources<'_>, work: &SyncSender<Work>, news: &SyncSender<News>) -> Result<(), Failure> {
    let feed = |package: Work| {
        let _ = news.send(News::PackageWaiting);
        work.send(package).is_ok()
    };
    for initrd in sources.initrds {
        feed(Work::Initrd(initrd.clone()));
    }
    for path in sources.debs {
        some_packages(path, "deb", &mut |path| feed(Work::Deb(path)))?;
    }
    for path in sources.rpms {
        some_packages(path, "rpm", &mut |path| feed(Work::Rpm(path)))?;
    }
    let repositories: [(&[PathBuf], ListPackages, ReadPackage); 2] = [
        (sources.deb_repositories, repository::debian, deb::read_from),
        (sources.rpm_repositories, repository::rpm, rpm::read_from),
    ];
    for (roots, list, read) in repositories {
        for root in roots {
            let listed = list(root, &sources.reading).map_err(|error| {
                Failure::system(format_args!("use the repository {}", root.display()), error)
                    .remedy("fetch it again from its distributor; do not use what is there until it checks")
            })?;
            // Nobody listens after a failure.
            let _ = listed.into_iter().all(|package| feed(Work::Listed(package, read)));
        }
    }
    Ok(())
}

type ListPackages = fn(&Path, &Reading<'_>) -> Result<Packages, RepositoryRejected>;

/// Tells the packages of one path, of which there must be one at least.
fn some_packages(path: &Path, ending: &str, tell: &mut dyn FnMut(PathBuf) -> bool) -> Result<(), Failure> {
    let mut any = false;
    packages(path, ending, 0, &mut |path| {
        any = true;
        tell(path)
    })?;
    if any {
        return Ok(());
    }
    let failure = Failure::new(format!("there is no package .{ending} below {}", path.display()));
    Err(failure.remedy("give the folder that the packages are in"))
}

/// Tells a package, or all below a folder; links to folders are not followed.
fn packages(path: &Path, ending: &str, depth: usize, tell: &mut dyn FnMut(PathBuf) -> bool) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::system(format_args!("read {}", path.display()), error);
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        tell(path.to_owned());
        return Ok(());
    }
    if depth > FOLDERS_MAX {
        return Err(Failure::new(format!("{} is more than {FOLDERS_MAX} folders deep", path.display())));
    }
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (kind, path) = (entry.file_type().map_err(failed)?, entry.path());
        let is_source = path.to_string_lossy().ends_with(".src.rpm");
        if kind.is_dir() {
            packages(&path, ending, depth + 1, tell)?;
        } else if path.extension().is_some_and(|found| found == ending) && !is_source && !tell(path) {
            break;
        }
    }
    Ok(())
}

/// Hashes until there is nothing left, or nobody listens.
fn work_off(work: &Mutex<Receiver<Work>>, news: &SyncSender<News>, sources: &Sources<'_>) {
    loop {
        // Another worker's panic leaves the receiver as it was.
        let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(next) = next else { break };
        let told = match hash_work(&next, news, sources) {
            Ok(()) if matches!(next, Work::File(_)) => Ok(()),
            Ok(()) => news.send(News::PackageRead),
            Err(failure) => news.send(News::Failed(failure)),
        };
        if told.is_err() {
            break;
        }
    }
}

fn hash_work(work: &Work, news: &SyncSender<News>, sources: &Sources<'_>) -> Result<(), Failure> {
    // Once nobody listens, the worker ends after this piece of work.
    let tell = |path, digest| drop(news.send(News::Found { path, digest }));
    let tell_file = |file, merged: bool| match file {
        FoundFile::Listed { path, digest } => tell(if merged { usr_merged(path) } else { path }, digest),
        FoundFile::Unlistable { name } => drop(news.send(News::Unlistable(name))),
    };
    let mut tell_packaged = |file| tell_file(file, sources.usr_merge);
    match work {
        Work::File(file) => {
            let Some(mut opened) = file.open()? else { return Ok(()) };
            let (digest, _) = hash(&mut opened, sources.algorithm, "the file")
                .map_err(|error| Failure::system(format_args!("hash {}", file.path), error))?;
            tell(file.path.clone(), digest);
            Ok(())
        }
        Work::Deb(path) => read(path, "a Debian package", deb::read, sources, &mut tell_packaged),
        Work::Initrd(path) => read(path, "an initrd", initrd::read, sources, &mut |file| tell_file(file, false)),
        Work::Rpm(path) => rpm::read(path, sources.algorithm, sources.rpm_keys, &mut tell_packaged)
            .map_err(|error| unreadable(path, "an RPM package", error)),
        Work::Listed(package, reader) => {
            let outcome = repository::read_listed(package, *reader, sources.algorithm, &mut tell_packaged);
            outcome.map_err(|error| unreadable(&package.path, "a package of a repository", error))
        }
    }
}

type ReadArchive = fn(&Path, HashAlgorithm, &mut Found<'_>) -> Result<(), UnreadableArchive>;

fn read(
    path: &Path,
    what: &str,
    reader: ReadArchive,
    sources: &Sources<'_>,
    found: &mut Found<'_>,
) -> Result<(), Failure> {
    reader(path, sources.algorithm, found).map_err(|error| unreadable(path, what, error))
}

fn unreadable(path: &Path, what: &str, error: UnreadableArchive) -> Failure {
    let remedy = match error {
        UnreadableArchive::Algorithm { .. } => {
            "give that algorithm with --algorithm if the machines' kernels measure with it, or list the installed files with --root"
        }
        _ => "fetch or make the file again, or leave it out",
    };
    Failure::system(format_args!("read {} as {what}", path.display()), error).remedy(remedy)
}

/// Enough for no thread to wait for another, few enough for open folders and memory not to count.
const QUEUE_MAX: usize = 256;
/// A repository's pool has four levels.
const FOLDERS_MAX: usize = 32;
