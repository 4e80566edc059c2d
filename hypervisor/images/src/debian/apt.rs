//! A private apt: riscv64, its own lists and an empty system, beside the machine's own.
//!
//! Nothing of the machine's apt changes and no root is needed. From the machine come the mirror,
//! the keyring and the `Acquire` settings (a proxy, say); its hooks are left out, because they
//! work on the machine's own directories.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::process::Runner;
use super::sources::{self, Source};
use super::{FetchError, FetchOptions, Package, Progress};

/// Where Debian's packages put the archive's keys; newer releases use the second name.
const KEYRINGS: &[&str] = &[
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

/// The name prefixes of the packages that a kernel consists of, by Debian release.
const KERNEL_PARTS: &[&str] = &["linux-image-", "linux-modules-", "linux-binary-"];

/// The most packages that are looked at on the way from a kernel's name to its files.
const MAX_PACKAGES: usize = 16;

/// The private apt.
#[derive(Debug)]
pub(super) struct Apt<'a> {
    runner: Runner<'a>,
    suite: &'a str,
    keyring: PathBuf,
}

/// What `apt-cache show` says of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stanza {
    pub(super) package: Package,
    pub(super) depends: Vec<String>,
    size: u64,
    /// SHA-256 of the package file, vouched for by the signed index.
    sha256: String,
}

impl<'a> Apt<'a> {
    /// Lays out the directories under `runner.dir` and writes the configuration to `config`.
    pub(super) fn set_up(
        runner: Runner<'a>,
        config: &'a Path,
        options: &'a FetchOptions,
    ) -> Result<Apt<'a>, FetchError> {
        if !usable_suite(&options.suite) {
            return Err(FetchError::Suite(options.suite.clone()));
        }
        let machine = Runner { apt_config: None, ..runner };
        let source = find_source(machine, options)?;
        let keyring = find_keyring(&source)?;
        let dir = quotable(runner.dir, &['"', '\\'])?;
        let keys = quotable(&keyring, &['"', '\\', ' ', '[', ']', '#'])?;
        let dump = machine.run("apt-config", &[OsStr::new("dump")], &mut |_| {})?;
        let acquire = acquire_settings(&dump);

        for below in ["lists/partial", "cache/archives/partial", "parts"] {
            let path = runner.dir.join(below);
            fs::create_dir_all(&path).map_err(|error| FetchError::file(&path, error))?;
        }
        let entry =
            format!("deb [arch=riscv64 signed-by={keys}] {} {} main\n", source.uri, options.suite);
        write(&runner.dir.join("sources.list"), &entry)?;
        write(&runner.dir.join("status"), "")?;
        write(config, &configuration(dir, &acquire))?;
        let runner = Runner { apt_config: Some(config), ..runner };
        Ok(Apt { runner, suite: &options.suite, keyring })
    }

    /// Fetches the package index and checks the archive's signature.
    pub(super) fn update(&self, progress: &mut dyn FnMut(Progress<'_>)) -> Result<(), FetchError> {
        // Without the option, apt-get calls a failed fetch of an index a success.
        let strict = "APT::Update::Error-Mode=any";
        let args = ["update", "-q=1", "-o", strict, "-o", "APT::Status-Fd=1"].map(OsStr::new);
        let done = self.runner.run("apt-get", &args, &mut |line| tell(line, progress));
        done.map(drop).map_err(|error| self.explain(error))
    }

    /// The newest kernel's packages: from its constant name to those that hold the files.
    pub(super) fn kernel_packages(&self) -> Result<Vec<Stanza>, FetchError> {
        let mut wanted = vec!["linux-image-riscv64".to_owned()];
        let mut packages = Vec::new();
        let mut next = 0;
        while let Some(name) = wanted.get(next).cloned() {
            let stanza = self.show(&name)?;
            for name in &stanza.depends {
                let part = KERNEL_PARTS.iter().any(|prefix| name.starts_with(prefix));
                if part && !wanted.contains(name) && wanted.len() < MAX_PACKAGES {
                    wanted.push(name.clone());
                }
            }
            // The first package is only a name for the newest version.
            if next > 0 {
                packages.push(stanza);
            }
            next += 1;
        }
        Ok(packages)
    }

    /// One package as the index has it.
    pub(super) fn show(&self, name: &str) -> Result<Stanza, FetchError> {
        let args = ["show", "--no-all-versions", name].map(OsStr::new);
        let missing = || FetchError::NoPackage { name: name.to_owned() };
        match self.runner.run("apt-cache", &args, &mut |_| {}) {
            Ok(text) => stanza(&text).ok_or_else(missing),
            Err(FetchError::Tool { .. }) => Err(missing()),
            Err(error) => Err(error),
        }
    }

    /// Downloads packages, going on with what an interrupted run left, and gives their files.
    pub(super) fn download(
        &self,
        stanzas: &[Stanza],
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Vec<PathBuf>, FetchError> {
        for stanza in stanzas {
            self.remove_damaged(stanza)?;
        }
        let names: Vec<String> = stanzas.iter().map(|stanza| stanza.package.exact()).collect();
        let fixed = ["download", "-q=1", "-o", "APT::Status-Fd=1"];
        let args: Vec<&OsStr> =
            fixed.into_iter().chain(names.iter().map(String::as_str)).map(OsStr::new).collect();
        self.runner
            .run("apt-get", &args, &mut |line| tell(line, progress))
            .map_err(|error| self.explain(error))?;
        let found = stanzas.iter().map(|stanza| {
            let missing = || FetchError::NoPackage { name: stanza.package.exact() };
            find_file(self.runner.dir, &stanza.package).ok_or_else(missing)
        });
        found.collect()
    }

    /// apt checks what it downloads, but takes a file that is there by its length alone.
    fn remove_damaged(&self, stanza: &Stanza) -> Result<(), FetchError> {
        let Some(path) = find_file(self.runner.dir, &stanza.package) else { return Ok(()) };
        let failed = |error| FetchError::file(&path, error);
        if fs::metadata(&path).map_err(failed)?.len() < stanza.size {
            return Ok(());
        }
        let args = [OsStr::new("--"), path.as_os_str()];
        let sum = self.runner.run("sha256sum", &args, &mut |_| {})?;
        // A backslash in front says that the name behind the sum is escaped.
        if sum.trim_start_matches('\\').split_whitespace().next() != Some(&stanza.sha256) {
            fs::remove_file(&path).map_err(failed)?;
        }
        Ok(())
    }

    /// Finds the failures that have a remedy in apt's words.
    fn explain(&self, error: FetchError) -> FetchError {
        let FetchError::Tool { complaint, .. } = &error else { return error };
        let says = |words: &[&str]| words.iter().any(|word| complaint.contains(word));
        let suite = self.suite.to_owned();
        if says(&["NO_PUBKEY", "EXPKEYSIG", "BADSIG", "is not signed", "public key is not"]) {
            FetchError::Unverified { suite, keyring: self.keyring.clone() }
        } else if says(&["Mirror sync in progress", "Hash Sum mismatch"]) {
            FetchError::MirrorChanging { suite }
        } else if says(&["does not have a Release file"]) {
            FetchError::NoSuite { suite }
        } else {
            error
        }
    }
}

/// `apt-get download` names the file after the package, its version and its architecture.
fn find_file(dir: &Path, package: &Package) -> Option<PathBuf> {
    let version = package.version.replace(':', "%3a");
    ["riscv64", "all"]
        .map(|arch| dir.join(format!("{}_{version}_{arch}.deb", package.name)))
        .into_iter()
        .find(|path| path.is_file())
}

fn find_source(machine: Runner<'_>, options: &FetchOptions) -> Result<Source, FetchError> {
    if let Some(uri) = &options.mirror {
        if !sources::usable_uri(uri) {
            return Err(FetchError::Mirror(uri.clone()));
        }
        return Ok(Source { uri: uri.clone(), signed_by: None });
    }
    let args = ["shell", "LIST", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d"];
    let shell = machine.run("apt-config", &args.map(OsStr::new), &mut |_| {})?;
    let path = |name: &str| {
        let value = shell.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("='"));
        PathBuf::from(value.and_then(|value| value.strip_suffix('\'')).unwrap_or_default())
    };
    let entries = sources::read_all(&path("LIST"), &path("PARTS"));
    sources::debian_archive(&entries).ok_or(FetchError::NoMirror)
}

fn find_keyring(source: &Source) -> Result<PathBuf, FetchError> {
    let usual = KEYRINGS.iter().map(PathBuf::from);
    let mut candidates = source.signed_by.clone().into_iter().chain(usual);
    candidates.find(|path| path.is_file()).ok_or(FetchError::NoKeyring)
}

fn configuration(dir: &str, acquire: &str) -> String {
    // apt drops root for a user that cannot reach the cache of whoever started us: not here.
    format!(
        r#"{acquire}Dir::State "{dir}";
Dir::State::status "{dir}/status";
Dir::State::lists "{dir}/lists";
Dir::State::extended_states "{dir}/extended_states";
Dir::Cache "{dir}/cache";
Dir::Etc::sourcelist "{dir}/sources.list";
Dir::Etc::sourceparts "{dir}/parts";
Dir::Etc::parts "{dir}/parts";
Dir::Etc::main "{dir}/parts/none";
Dir::Etc::preferences "{dir}/parts/none";
Dir::Etc::preferencesparts "{dir}/parts";
APT::Architecture "riscv64";
APT::Architectures {{ "riscv64"; }};
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
"#
    )
}

/// The machine's settings for fetching; which indexes it fetches is not our concern.
pub(super) fn acquire_settings(dump: &str) -> String {
    let wanted = |line: &&str| {
        line.starts_with("Acquire::")
            && !line.starts_with("Acquire::IndexTargets")
            && !line.starts_with("Acquire::Languages")
            && line.ends_with("\";")
            && line.matches('"').count() == 2
            && !line.contains('\\')
    };
    dump.lines().filter(wanted).flat_map(|line| [line, "\n"]).collect()
}

/// The first stanza of `apt-cache show`.
pub(super) fn stanza(text: &str) -> Option<Stanza> {
    let lines = || text.lines().take_while(|line| !line.trim().is_empty());
    let field = |name: &str| {
        lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned)
    };
    let (name, version) = (field("Package")?, field("Version")?);
    let depends = field("Depends").unwrap_or_default();
    let first_word = |one: &str| one.split_whitespace().next().map(str::to_owned);
    let depends = depends.split(',').filter_map(first_word).collect();
    let (size, sha256) = (field("Size")?.parse().ok()?, field("SHA256")?);
    Some(Stanza { package: Package { name, version }, depends, size, sha256 })
}

/// Lines of `APT::Status-Fd`: `dlstatus:<item>:<percent>:<words>`.
fn tell(line: &str, progress: &mut dyn FnMut(Progress<'_>)) {
    let mut parts = line.splitn(4, ':');
    if parts.next() == Some("dlstatus") {
        let percent = parts.nth(1).and_then(|percent| percent.split('.').next()?.parse().ok());
        if let Some(percent @ 0..=100) = percent {
            progress(Progress::Percent(percent));
        }
    } else if !line.trim().is_empty() {
        progress(Progress::Tool(line));
    }
}

fn usable_suite(suite: &str) -> bool {
    suite.starts_with(|c: char| c.is_ascii_alphanumeric())
        && suite.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
}

/// apt's configuration has no way to write a quote or a line break, nor a source list a space.
fn quotable<'p>(path: &'p Path, forbidden: &[char]) -> Result<&'p str, FetchError> {
    let plain = |c: char| !c.is_control() && !forbidden.contains(&c);
    let text = path.to_str().filter(|text| text.chars().all(plain));
    text.ok_or_else(|| FetchError::Path(path.to_owned()))
}

/// For the user's eyes only: the way through a proxy may hold a password.
fn write(path: &Path, text: &str) -> Result<(), FetchError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| FetchError::file(path, error))
}
