//! `cargo faults`: proves that the ledger's tests can fail. It copies the ledger, puts one fault at a time into the copy, and
//! demands that the tests there find it.
//!
//! The faults are a list in the tree (`faults/list.rs`): file, text, faulty text. A fault whose text is not found exactly
//! once, or that does not compile, is an error: the list follows the code.

mod list;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use crate::system::{self, Failure};

/// One mistake that somebody could make.
struct Fault {
    /// What it lets happen.
    what: &'static str,
    /// Below `ledger/src`.
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

/// The tests that a fault is tried with until some find it, the keenest first; and with how many random histories of each kind,
/// if not with as many as the tests themselves think right.
const STAGES: &[(&[&str], Option<&str>)] = &[
    (
        &[
            "--test",
            "named",
            "--test",
            "properties",
            "--test",
            "increment",
        ],
        Some("15"),
    ),
    (&["--lib"], Some("15")),
    (&["--lib", "--tests"], None),
];
/// Seconds after which tests that do not end have found their fault.
const PATIENCE: &str = "900";

/// Tries the faults that one of `only` chooses, or all: by number, from 1, as `7` or `10-19`, or by a part of the name or file.
pub(crate) fn run(only: &[String]) -> Result<(), Failure> {
    let chosen: Vec<(usize, &Fault)> = (1..)
        .zip(list::FAULTS)
        .filter(|(number, fault)| {
            only.is_empty() || only.iter().any(|only| chooses(only, *number, fault))
        })
        .collect();
    if chosen.is_empty() {
        return Err("no fault is called that".to_owned());
    }
    let copy = Copy::make()?;
    // The whole list, so that one that went stale is found in any portion.
    for fault in list::FAULTS {
        copy.faulty(fault)?;
    }
    let (mut missed, mut sound) = (Vec::new(), 0);
    for (number, fault) in &chosen {
        let whole = copy.read(fault.file)?;
        let faulty = copy.faulty(fault)?;
        let begun = Instant::now();
        let mut found = Vec::new();
        for (stage, (which, cases)) in STAGES.iter().enumerate() {
            // Before anything is made of their failing.
            if stage == sound {
                copy.sound(which, *cases)?;
                sound += 1;
            }
            copy.write(fault.file, &faulty)?;
            let tested = copy.tests(which, *cases);
            copy.write(fault.file, &whole)?;
            found = tested.map_err(|error| format!("{}: {error}", fault.what))?;
            if !found.is_empty() {
                break;
            }
        }
        let seconds = begun.elapsed().as_secs();
        match found.first() {
            Some(first) => println!(
                "{seconds:>5} s  caught  {number:>2} {}: {} ({first}{})",
                fault.file,
                fault.what,
                match found.len() {
                    1 => String::new(),
                    all => format!(" and {} more", all - 1),
                }
            ),
            None => {
                println!(
                    "{seconds:>5} s  MISSED  {number:>2} {}: {}",
                    fault.file, fault.what
                );
                missed.push(fault.what);
            }
        }
    }
    println!("{} of {} caught", chosen.len() - missed.len(), chosen.len());
    if missed.is_empty() {
        Ok(())
    } else {
        Err(format!("no test found: {}", missed.join("; ")))
    }
}

fn chooses(only: &str, number: usize, fault: &Fault) -> bool {
    let (first, last) = only.split_once('-').unwrap_or((only, only));
    match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) => (first..=last).contains(&number),
        _ => fault.what.contains(only) || fault.file.contains(only),
    }
}

/// A workspace with nothing but the ledger in it, in a folder that goes with it. What it builds stays below `target`, so that
/// the next run begins with it.
struct Copy(PathBuf);

impl Copy {
    fn make() -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("mesh-faults-{}", std::process::id()));
        let copy = Self(folder);
        fs::create_dir_all(&copy.0).map_err(|error| failed(&copy.0, &error))?;
        let root = system::root();
        let manifest = root.join("Cargo.toml");
        let text = fs::read_to_string(&manifest).map_err(|error| failed(&manifest, &error))?;
        let alone = text
            .split_once("members = [")
            .and_then(|(before, rest)| {
                let (_, after) = rest.split_once("\n]")?;
                // Compiled once for each fault, run for seconds.
                let after = after.replace(
                    "[profile.dev.package.mesh-ledger]\nopt-level = 1",
                    "[profile.dev.package.mesh-ledger]\nopt-level = 0",
                );
                Some(format!("{before}members = [\"ledger\"]{after}"))
            })
            .ok_or("the workspace's list of members has another form than expected")?;
        put(&copy.0.join("Cargo.toml"), &alone)?;
        for file in ["Cargo.lock", "clippy.toml"] {
            copy_all(&root.join(file), &copy.0.join(file))?;
        }
        for part in ["Cargo.toml", "clippy.toml", "src", "tests", "benches"] {
            let part = Path::new("ledger").join(part);
            copy_all(&root.join(&part), &copy.0.join(&part))?;
        }
        Ok(copy)
    }

    fn place(&self, file: &str) -> PathBuf {
        self.0.join("ledger/src").join(file)
    }

    fn read(&self, file: &str) -> Result<String, Failure> {
        let place = self.place(file);
        fs::read_to_string(&place).map_err(|error| failed(&place, &error))
    }

    fn write(&self, file: &str, text: &str) -> Result<(), Failure> {
        put(&self.place(file), text)
    }

    /// The file's text with the fault in it.
    fn faulty(&self, fault: &Fault) -> Result<String, Failure> {
        let text = self.read(fault.file)?;
        match text.matches(fault.from).count() {
            1 => Ok(text.replacen(fault.from, fault.to, 1)),
            count => Err(format!(
                "{}: the text of the fault \"{}\" stands {count} times in it, not once: bring tools/dev/src/faults/list.rs up \
                 to date",
                fault.file, fault.what
            )),
        }
    }

    /// Demands that tests pass without a fault.
    fn sound(&self, which: &[&str], cases: Option<&str>) -> Result<(), Failure> {
        let begun = Instant::now();
        let found = self.tests(which, cases)?;
        if !found.is_empty() {
            return Err(format!("without a fault, these fail: {}", found.join(", ")));
        }
        let seconds = begun.elapsed().as_secs();
        println!(
            "{seconds:>5} s  passed without a fault: {}",
            which.join(" ")
        );
        Ok(())
    }

    fn tests(&self, which: &[&str], cases: Option<&str>) -> Result<Vec<String>, Failure> {
        let built = self.cargo(&[which, &["--no-run"]].concat(), cases)?;
        if !built.status.success() {
            let mut error = "it does not compile".to_owned();
            let _ = write!(error, "\n{}", String::from_utf8_lossy(&built.stderr));
            return Err(error);
        }
        let ran = self.cargo(&[which, &["--quiet"]].concat(), cases)?;
        if ran.status.success() {
            return Ok(Vec::new());
        }
        if ran.status.code() == Some(124) {
            return Ok(vec!["the tests do not end".to_owned()]);
        }
        let text = String::from_utf8_lossy(&ran.stdout);
        let mut failed: Vec<String> = text
            .lines()
            .filter_map(|line| line.strip_prefix("---- ")?.strip_suffix(" stdout ----"))
            .map(str::to_owned)
            .collect();
        if failed.is_empty() {
            failed.push("the tests break off".to_owned());
        }
        Ok(failed)
    }

    fn cargo(&self, rest: &[&str], cases: Option<&str>) -> Result<Output, Failure> {
        let mut command = Command::new("timeout");
        command
            .arg(PATIENCE)
            .arg(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args([
                "test",
                "--offline",
                "--package",
                "mesh-ledger",
                "--features",
                "sqlite",
            ])
            .args(rest)
            .current_dir(&self.0)
            .env("CARGO_TARGET_DIR", system::root().join("target/faults"))
            .env("CARGO_PROFILE_DEV_DEBUG", "false");
        if let Some(cases) = cases {
            command.env("MESH_CASES", cases);
        }
        command
            .output()
            .map_err(|error| format!("cargo did not start: {error}"))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy_all(from: &Path, to: &Path) -> Result<(), Failure> {
    if !from.is_dir() {
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        }
        return fs::copy(from, to)
            .map(|_| ())
            .map_err(|error| failed(from, &error));
    }
    for entry in fs::read_dir(from).map_err(|error| failed(from, &error))? {
        let entry = entry.map_err(|error| failed(from, &error))?;
        copy_all(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

fn put(place: &Path, text: &str) -> Result<(), Failure> {
    fs::write(place, text).map_err(|error| failed(place, &error))
}

fn failed(place: &Path, error: &std::io::Error) -> Failure {
    format!("{}: {error}", place.display())
}
