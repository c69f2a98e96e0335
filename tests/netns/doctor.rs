//! `mesh doctor` finds what is in the way, and what it says to type mends it.

use serde_json::Value;

use crate::world::{LONG, Mesh, text};

#[test]
fn a_firewall_of_the_machine_that_drops_what_comes_in_is_named_and_mended_by_what_is_said() {
    let mesh = Mesh::new("doctor", &["alice", "bob"]);
    let bob = &mesh.nodes[1];
    bob.reaches(mesh.nodes[0].addresses().0, LONG);
    let _ = bob.mesh(&["doctor"]).ok();
    let rules = "table inet filter {
        chain input {
            type filter hook input priority filter; policy drop;
            ct state established,related accept
            iifname lo accept
        }
    }";
    let _ = bob.run("nft", &[rules]).ok();

    let told = bob.mesh(&["--json", "doctor"]).exits(10).json();
    let firewall = finding(&told, "firewall");
    assert_eq!(firewall["ok"], false);
    assert!(
        text(&firewall, "text").contains("inet filter input"),
        "{firewall}"
    );

    let _ = bob.run("sh", &["-c", &text(&firewall, "hint")]).ok();
    let told = bob.mesh_json(&["doctor"]);
    assert_eq!(finding(&told, "firewall")["ok"], true, "{told}");
}

fn finding(told: &Value, about: &str) -> Value {
    let findings = told["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["about"] == about);
    found
        .unwrap_or_else(|| panic!("nothing about {about} in {told}"))
        .clone()
}
