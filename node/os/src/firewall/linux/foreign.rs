//! What firewalls of others do to packets that come in.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use super::{PLACES, Path};

/// Chains of others that drop what comes in by default, and have no rule of their own that lets these UDP ports in, as
/// `inet filter input`. A chain that such a chain jumps to is not followed: it may let them in.
pub async fn closed_chains(ports: &[u16]) -> Vec<String> {
    let Some(nft) = PLACES.into_iter().find(|path| Path::new(path).exists()) else {
        return Vec::new();
    };
    let listing = Command::new(nft)
        .args(["-j", "list", "ruleset"])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    match listing.await {
        Ok(listing) if listing.status.success() => serde_json::from_slice(&listing.stdout)
            .map(|ruleset| closed(&ruleset, ports))
            .unwrap_or_default(),
        // Without the right to look, nothing is known.
        _ => Vec::new(),
    }
}

fn closed(ruleset: &Value, ports: &[u16]) -> Vec<String> {
    let items = ruleset["nftables"].as_array();
    let items = || items.into_iter().flatten();
    let drops = |chain: &&Value| {
        chain["hook"] == "input" && chain["type"] == "filter" && chain["policy"] == "drop"
    };
    items()
        .map(|item| &item["chain"])
        .filter(drops)
        .filter(|chain| {
            let same = |rule: &&Value| {
                ["family", "table"]
                    .iter()
                    .all(|key| rule[key] == chain[key])
                    && rule["chain"] == chain["name"]
            };
            let rules: Vec<&Value> = items().map(|item| &item["rule"]).filter(same).collect();
            !ports
                .iter()
                .all(|port| rules.iter().any(|rule| lets_in(rule, *port)))
        })
        .filter_map(|chain| {
            let word = |key: &str| chain[key].as_str();
            Some(format!(
                "{} {} {}",
                word("family")?,
                word("table")?,
                word("name")?
            ))
        })
        .collect()
}

/// Whether a rule accepts new datagrams for a UDP port from anywhere, or all of them, or asks another chain.
fn lets_in(rule: &Value, port: u16) -> bool {
    let empty = Vec::new();
    let steps = rule["expr"].as_array().unwrap_or(&empty);
    let has = |word: &str| steps.iter().any(|step| step.get(word).is_some());
    if !(has("accept") || has("jump") || has("goto")) {
        return false;
    }
    let matches = steps.iter().filter_map(|step| step.get("match"));
    matches.fold(true, |passes, condition| {
        let left = &condition["left"]["payload"];
        passes
            && left["protocol"] == "udp"
            && left["field"] == "dport"
            && holds(&condition["right"], port)
    })
}

fn holds(right: &Value, port: u16) -> bool {
    let one = |value: &Value| {
        let range = value["range"].as_array().map(Vec::as_slice);
        match range {
            Some([from, to]) => {
                let within = |from: u64, to: u64| (from..=to).contains(&u64::from(port));
                from.as_u64()
                    .zip(to.as_u64())
                    .is_some_and(|(from, to)| within(from, to))
            }
            _ => value.as_u64() == Some(u64::from(port)),
        }
    };
    match right["set"].as_array() {
        Some(set) => set.iter().any(one),
        None => one(right),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ruleset(rules: &[Value]) -> Value {
        let chain = json!({"chain": {"family": "inet", "table": "filter", "name": "input", "type": "filter", "hook": "input", "policy": "drop"}});
        let rule = |expr: &Value| json!({"rule": {"family": "inet", "table": "filter", "chain": "input", "expr": expr}});
        let items: Vec<Value> = std::iter::once(chain)
            .chain(rules.iter().map(rule))
            .collect();
        json!({"nftables": items})
    }

    fn udp(right: &Value) -> Value {
        json!([
            {"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": right}},
            {"accept": null}
        ])
    }

    #[test]
    fn a_chain_that_drops_by_default_is_closed_until_each_port_is_let_in() {
        let ports = [51820, 51821];
        let found = |rules: &[Value]| closed(&ruleset(rules), &ports).len();
        let established = json!([
            {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}},
            {"accept": null}
        ]);
        assert_eq!(
            closed(&ruleset(&[established]), &ports),
            ["inet filter input"]
        );
        assert_eq!(found(&[udp(&json!(51820))]), 1);
        assert_eq!(found(&[udp(&json!(51820)), udp(&json!(51821))]), 0);
        assert_eq!(
            found(&[udp(&json!({"set": [51820, {"range": [51821, 51830]}]}))]),
            0
        );
        assert_eq!(found(&[json!([{"accept": null}])]), 0);
        assert_eq!(found(&[json!([{"jump": {"target": "services"}}])]), 0);
        assert_eq!(closed(&json!({}), &ports), Vec::<String>::new());
    }
}
