//! «Did you mean»: what a mistyped name was meant to be.

use mesh_control::call::{Members, Networks, ServerList};
use mesh_control::near::nearest;

use crate::context::Context;

/// The name that is not here, and the one here that is most like it.
pub(crate) async fn meant(context: &mut Context, names: &[&str]) -> Option<(String, String)> {
    let networks: Vec<String> = context
        .call(Networks {})
        .await
        .ok()?
        .networks
        .into_iter()
        .map(|network| network.name)
        .collect();
    if let Some(network) = context.network()
        && !networks.contains(&network)
        && let Some(right) = nearest(&network, &networks)
    {
        return Some((network, right));
    }
    let members = context
        .call(Members {
            network: context.network(),
        })
        .await
        .ok()?;
    let here: Vec<String> = members
        .members
        .into_iter()
        .flat_map(|member| {
            member
                .devices
                .into_iter()
                .map(|device| device.name)
                .chain([member.name])
        })
        .collect();
    let wrong = names
        .iter()
        .find(|name| !here.iter().any(|known| known == *name))?;
    nearest(wrong, &here).map(|right| ((*wrong).to_owned(), right))
}

/// The server of the list whose address or host is most like what was typed.
pub(crate) async fn meant_server(context: &mut Context, typed: &str) -> Option<String> {
    let list = ServerList {
        network: context.network(),
    };
    let servers = context.call(list).await.ok()?.servers;
    let here: Vec<String> = servers
        .into_iter()
        .flat_map(|server| {
            let host = server
                .address
                .rsplit_once(':')
                .map(|(host, _)| host.to_owned());
            host.into_iter().chain([server.address])
        })
        .collect();
    nearest(typed, &here)
}

/// An argument with the wrong name in it put right: the whole of it, what is behind `=`, one in a list, or what is before a
/// port.
pub(crate) fn replace(arg: &str, wrong: &str, right: &str) -> String {
    if arg == wrong {
        return right.to_owned();
    }
    let (option, value) = match arg.split_once('=') {
        Some((option, value)) => (Some(option), value),
        None => (None, arg),
    };
    let value: Vec<String> = value
        .split(',')
        .map(|one| match one.strip_prefix(wrong) {
            Some("") => right.to_owned(),
            // A port behind the name.
            Some(port) if port.starts_with(':') => format!("{right}{port}"),
            _ => one.to_owned(),
        })
        .collect();
    let value = value.join(",");
    option.map_or_else(|| value.clone(), |option| format!("{option}={value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wrong_name_is_put_right_wherever_it_stands() {
        assert_eq!(replace("bbo", "bbo", "bob"), "bob");
        assert_eq!(replace("--to=carol,bbo", "bbo", "bob"), "--to=carol,bob");
        assert_eq!(replace("bbo:22", "bbo", "bob"), "bob:22");
        assert_eq!(replace("bbob", "bbo", "bob"), "bbob");
    }
}
