//! The tree keeps its shape: crate edges, licences, one of each cryptographic crate, the platform seam, small files.
#![allow(
    clippy::unwrap_used,
    reason = "a failed expectation of a test is a panic"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};
use mesh_tests::licence;

/// Which workspace crates a workspace crate may name. The crate boundary is the I/O boundary, so an edge more is a
/// decision about the design, not a detail.
const ALLOWED_EDGES: &[(&str, &[&str])] = &[
    ("mesh-ledger", &[]),
    ("mesh-core", &["mesh-ledger"]),
    ("mesh-guard", &[]),
    ("mesh-control", &["mesh-ledger"]),
    ("mesh-os", &["mesh-core"]),
    ("mesh-tunnel", &["mesh-core", "mesh-os"]),
    (
        "meshd",
        &[
            "mesh-ledger",
            "mesh-core",
            "mesh-os",
            "mesh-tunnel",
            "mesh-control",
            "mesh-guard",
        ],
    ),
    ("mesh-server", &["mesh-guard", "mesh-ledger"]),
    ("mesh", &["mesh-control", "mesh-ledger"]),
    ("mesh-dev", &["mesh-control", "mesh-ledger"]),
    (
        "mesh-tests",
        &[
            "mesh-ledger",
            "mesh-core",
            "mesh-os",
            "mesh-tunnel",
            "mesh-control",
            "mesh-guard",
            "meshd",
            "mesh-server",
            "mesh",
            "mesh-dev",
        ],
    ),
];

/// Crates that bring a clock, a socket, a file or chance into a crate that must stay a function of its arguments.
const NOT_IN_LOGIC: &[&str] = &[
    "async-trait",
    "futures-util",
    "getrandom",
    "iroh",
    "libc",
    "mio",
    "netwatch",
    "nftables",
    "nix",
    "rand",
    "rtnetlink",
    "rustix",
    "socket2",
    "tokio",
    "tun-rs",
];

/// Licences whose terms a binary under MIT OR Apache-2.0 can meet by shipping the notices.
const LICENCES: &[&str] = &[
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    // webpki-roots: the list of root certificates is data, and this is the permissive licence for data.
    "CDLA-Permissive-2.0",
];

/// Crates whose licence asks for more, which is met: used as they are published, where their source is too, and named in the
/// README.
const LICENCES_OF: &[(&str, &str)] = &[
    // What asks routers by UPnP is built on it.
    ("attohttpc", "MPL-2.0"),
];

/// Words in crate names that mean a second TLS or a C++ build.
const NOT_IN_TREE: &[&str] = &["openssl", "aws-lc", "cmake", "native-tls"];

/// `openssl-probe` only looks for certificate folders; it contains and links no OpenSSL.
const NOT_WHAT_THEY_SEEM: &[&str] = &["openssl-probe"];

/// Crates that compute or feed cryptography: two versions are twice the code to trust.
const CRYPTO: &[&str] = &[
    "aead",
    "aes",
    "aes-gcm",
    "blake2",
    "blake3",
    "block-buffer",
    "chacha20",
    "chacha20poly1305",
    "cipher",
    "crypto-common",
    "curve25519-dalek",
    "digest",
    "ed25519",
    "ed25519-dalek",
    "fiat-crypto",
    "getrandom",
    "ghash",
    "hkdf",
    "hmac",
    "inout",
    "opaque-debug",
    "p256",
    "poly1305",
    "polyval",
    "rand_chacha",
    "rand_core",
    "ring",
    "rsa",
    "rustls",
    "rustls-webpki",
    "sha1",
    "sha2",
    "sha3",
    "signature",
    "spake2",
    "subtle",
    "universal-hash",
    "webpki",
    "x25519-dalek",
    "zeroize",
];

/// The cryptographic crates that stand more than once in the tree, and why.
const DUPLICATES: &[(&str, &str)] = &[
    ("block-buffer", "below the two digest"),
    (
        "chacha20",
        "0.9 below chacha20poly1305 0.10, 0.10 below rand 0.10, which automerge and iroh use",
    ),
    (
        "crypto-common",
        "0.1 below aead, cipher and digest 0.10, 0.2 below digest 0.11",
    ),
    (
        "curve25519-dalek",
        "5 for ed25519-dalek 3, 4 for x25519-dalek 2, which boringtun exposes in its interface",
    ),
    (
        "digest",
        "0.10 for boringtun's blake2 and hmac, 0.11 for curve25519-dalek 5 and its sha2",
    ),
    (
        "fiat-crypto",
        "below the two curve25519-dalek; a backend for other targets than ours",
    ),
    (
        "getrandom",
        "0.2 for ring and rand_core 0.6, 0.3 for ahash below tun-rs, 0.4 for automerge, iroh, tempfile",
    ),
    (
        "rand_core",
        "0.6 for boringtun, x25519-dalek 2 and crypto-common 0.1, 0.10 for rand 0.10",
    ),
    ("sha2", "0.10 for spake2 0.4, 0.11 for ed25519-dalek 3"),
];

const MAX_LINES: usize = 700;
const MAX_BYTES: u64 = 1_000_000;

#[test]
fn workspace_crates_import_only_along_the_allowed_edges() {
    let allowed: BTreeMap<_, _> = ALLOWED_EDGES.iter().copied().collect();
    let metadata = metadata();
    let members: BTreeSet<_> = metadata
        .workspace_packages()
        .iter()
        .map(|package| package.name.to_string())
        .collect();
    let listed: BTreeSet<_> = allowed.keys().map(ToString::to_string).collect();
    assert_eq!(
        members, listed,
        "ALLOWED_EDGES must name each crate of the workspace, and no other"
    );

    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        for dependency in &package.dependencies {
            let inside = members.contains(&dependency.name);
            if inside && !allowed[package.name.as_str()].contains(&dependency.name.as_str()) {
                wrong.push(format!("{} -> {}", package.name, dependency.name));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "edges the design does not allow: {wrong:#?}"
    );
}

#[test]
fn logic_crates_name_no_crate_that_does_input_or_output() {
    let mut wrong = Vec::new();
    for package in metadata().workspace_packages() {
        if !["mesh-ledger", "mesh-core"].contains(&package.name.as_str()) {
            continue;
        }
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind == DependencyKind::Normal)
        {
            // SQLite is the one store, behind a feature that only the daemon turns on.
            let store = dependency.name == "rusqlite";
            if NOT_IN_LOGIC.contains(&dependency.name.as_str()) || (store && !dependency.optional) {
                wrong.push(format!("{} -> {}", package.name, dependency.name));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "I/O in crates that must have none: {wrong:#?}"
    );
}

#[test]
fn every_dependency_has_a_licence_we_may_use() {
    let metadata = metadata();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let expression = package.license.as_deref().unwrap_or_default();
        let known = LICENCES_OF.contains(&(package.name.as_str(), expression));
        if !known && !licence::permits(expression, LICENCES) {
            wrong.push(format!(
                "{} {}: {expression:?}",
                package.name, package.version
            ));
        }
    }
    assert!(
        metadata.packages.len() > 100,
        "the metadata lists the whole tree"
    );
    assert!(wrong.is_empty(), "licences not in the list: {wrong:#?}");
}

#[test]
fn the_tree_holds_no_openssl_no_aws_lc_and_no_cmake() {
    let wrong: Vec<_> = locked()
        .into_keys()
        .filter(|name| NOT_IN_TREE.iter().any(|word| name.contains(word)))
        .filter(|name| !NOT_WHAT_THEY_SEEM.contains(&name.as_str()))
        .collect();
    assert!(
        wrong.is_empty(),
        "crates that must stay out of the tree: {wrong:?}"
    );
}

#[test]
fn a_cryptographic_crate_stands_once_in_the_tree_or_has_a_reason() {
    let reasons: BTreeMap<_, _> = DUPLICATES.iter().copied().collect();
    let locked = locked();
    let twice: BTreeMap<_, _> = locked
        .iter()
        .filter(|(name, versions)| CRYPTO.contains(&name.as_str()) && versions.len() > 1)
        .collect();
    let wrong: Vec<_> = twice
        .iter()
        .filter(|(name, _)| !reasons.contains_key(name.as_str()))
        .collect();
    assert!(
        wrong.is_empty(),
        "cryptographic crates that stand twice without a reason: {wrong:#?}"
    );
    let stale: Vec<_> = reasons
        .keys()
        .filter(|name| !twice.contains_key(&(**name).to_owned()))
        .collect();
    assert!(
        stale.is_empty(),
        "reasons for duplicates that are gone; delete them: {stale:?}"
    );
}

#[test]
fn only_the_platform_seam_knows_which_system_it_runs_on() {
    let word = concat!("target", "_os");
    let wrong: Vec<_> = sources()
        .into_iter()
        .filter(|path| !path.starts_with("node/os"))
        .filter(|path| {
            std::fs::read_to_string(root().join(path))
                .unwrap()
                .contains(word)
        })
        .collect();
    assert!(wrong.is_empty(), "{word} outside node/os: {wrong:?}");
}

#[test]
fn source_files_stay_short_enough_to_read() {
    let long: Vec<_> = sources()
        .into_iter()
        .map(|path| {
            (
                std::fs::read_to_string(root().join(&path))
                    .unwrap()
                    .lines()
                    .count(),
                path,
            )
        })
        .filter(|(lines, _)| *lines > MAX_LINES)
        .collect();
    assert!(
        long.is_empty(),
        "files of more than {MAX_LINES} lines: {long:?}"
    );
}

#[test]
fn nothing_large_is_committed() {
    let large: Vec<_> = committed()
        .into_iter()
        .filter_map(|path| {
            Some((
                std::fs::symlink_metadata(root().join(&path)).ok()?.len(),
                path,
            ))
        })
        .filter(|(bytes, _)| *bytes > MAX_BYTES)
        .collect();
    assert!(
        large.is_empty(),
        "files of more than {MAX_BYTES} bytes: {large:?}"
    );
}

/// The tree as built here. Other systems' crates are left out, so that a bare machine need not download them.
fn metadata() -> Metadata {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(vec![
            "--locked".to_owned(),
            "--filter-platform".to_owned(),
            platform,
        ])
        .exec()
        .unwrap()
}

/// Every crate of the lock file, for all systems, with its versions.
fn locked() -> BTreeMap<String, Vec<String>> {
    let text = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in text.split("[[package]]").skip(1) {
        let field = |key: &str| {
            let start = format!("{key} = \"");
            package
                .lines()
                .find_map(|line| line.strip_prefix(&start)?.strip_suffix('"'))
                .unwrap()
                .to_owned()
        };
        found
            .entry(field("name"))
            .or_default()
            .push(field("version"));
    }
    assert!(found.len() > 100, "the lock file lists the whole tree");
    found
}

fn sources() -> Vec<PathBuf> {
    let found: Vec<_> = committed()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    assert!(found.len() > 10, "the tree holds sources");
    found
        .into_iter()
        .filter(|path| root().join(path).exists())
        .collect()
}

/// Files git knows, and new ones it would take.
fn committed() -> Vec<PathBuf> {
    let output = Command::new("git")
        // A checkout owned by another user than the one who tests is no danger here: nothing of it is run.
        .args([
            "-c",
            "safe.directory=*",
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .unwrap()
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
