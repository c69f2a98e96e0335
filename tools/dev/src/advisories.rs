//! Compares what this workspace is built from with the list of known weaknesses, if `cargo audit` is there and reaches it.

use std::process::Stdio;

use serde_json::Value;

use crate::system::{self, Failure};

/// Advisories that are known and harmless here, each with the reason.
const ACCEPTED: &[(&str, &str)] = &[(
    "RUSTSEC-2024-0436",
    "`paste` is unmaintained; it runs while the netlink crates are built, and not afterwards",
)];

/// Fails on an advisory that is not accepted. Says so where nothing could be compared.
pub(crate) fn check() -> Result<(), Failure> {
    println!("\n=== advisories");
    let output = system::cargo(&["audit", "--json"])
        .stderr(Stdio::null())
        .output()
        .map_err(|error| format!("cargo did not start: {error}"))?;
    // Without the program, or without a list, there is no report.
    let Ok(report) = serde_json::from_slice::<Value>(&output.stdout) else {
        println!(
            "=== advisories: SKIPPED, for `cargo audit` is not here or reaches no list; SECURITY.md says what to watch by hand"
        );
        return Ok(());
    };
    let found = not_accepted(&report);
    if found.is_empty() {
        println!("=== advisories: none but those that are accepted");
        return Ok(());
    }
    Err(format!(
        "known weaknesses in what this is built from:\n{}",
        found.join("\n")
    ))
}

/// The advisories of a report of `cargo audit` that are not accepted, a line each.
fn not_accepted(report: &Value) -> Vec<String> {
    let weaknesses = report["vulnerabilities"]["list"].as_array();
    let warnings = report["warnings"].as_object();
    let warnings = warnings.into_iter().flat_map(|kinds| kinds.values());
    let warnings = warnings.filter_map(Value::as_array).flatten();
    let mut found = Vec::new();
    for entry in weaknesses.into_iter().flatten().chain(warnings) {
        let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        let id = text(&entry["advisory"]["id"]);
        if ACCEPTED.iter().any(|(accepted, _)| *accepted == id) {
            continue;
        }
        let (name, version) = (&entry["package"]["name"], &entry["package"]["version"]);
        let title = text(&entry["advisory"]["title"]);
        found.push(format!("{id} {} {}: {title}", text(name), text(version)));
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn weaknesses_and_warnings_count_and_accepted_ones_do_not() {
        let entry = |id: &str| {
            json!({
                "advisory": {"id": id, "title": "a title"},
                "package": {"name": "some", "version": "1.0.0"},
            })
        };
        let report = json!({
            "vulnerabilities": {"list": [entry("RUSTSEC-2030-0001")]},
            "warnings": {"unmaintained": [entry("RUSTSEC-2024-0436"), entry("RUSTSEC-2030-0002")]},
        });
        assert_eq!(
            not_accepted(&report),
            [
                "RUSTSEC-2030-0001 some 1.0.0: a title",
                "RUSTSEC-2030-0002 some 1.0.0: a title",
            ]
        );
        assert!(not_accepted(&json!({"vulnerabilities": {"list": []}})).is_empty());
    }
}
