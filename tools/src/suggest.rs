//! «Did you mean»: what a mistyped name was meant to be.

use mesh_control::call::{Members, Networks, ServerList};

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

/// An argument with the wrong name in it put right: the whole of it, what is behind `=`, or one in a list.
pub(crate) fn replace(arg: &str, wrong: &str, right: &str) -> String {
    if arg == wrong {
        return right.to_owned();
    }
    let (option, value) = match arg.split_once('=') {
        Some((option, value)) => (Some(option), value),
        None => (None, arg),
    };
    let value: Vec<&str> = value
        .split(',')
        .map(|one| if one == wrong { right } else { one })
        .collect();
    let value = value.join(",");
    option.map_or_else(|| value.clone(), |option| format!("{option}={value}"))
}

/// The nearest of `here`, if it is near: at most two slips of the hand, and fewer than half of the letters.
fn nearest(wrong: &str, here: &[String]) -> Option<String> {
    let wrong = wrong.to_lowercase();
    let slips = |right: &String| (slips(&wrong, &right.to_lowercase()), right.clone());
    let (count, right) = here.iter().map(slips).min()?;
    let most = right.chars().count().saturating_sub(1).min(2);
    (count <= most).then_some(right)
}

/// How many slips (a letter too many, one missing, a wrong one, two swapped) lead from one word to the other: the
/// optimal string alignment distance. Words are compared by their first 64 letters.
fn slips(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) =
        (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for (i, letter) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, other) in b.iter().enumerate() {
            let at = |back: usize, column: usize| {
                rows.len()
                    .checked_sub(back)
                    .and_then(|row| rows.get(row))
                    .and_then(|row| row.get(column))
                    .copied()
            };
            let changed = at(1, j).map(|before| before + usize::from(letter != other));
            let missing = at(1, j + 1).map(|before| before + 1);
            let extra = row.last().map(|before| before + 1);
            let swapped =
                (i > 0 && j > 0 && a.get(i - 1) == Some(other) && b.get(j - 1) == Some(letter))
                    .then(|| at(2, j - 1).map(|before| before + 1))
                    .flatten();
            row.extend(
                [changed, missing, extra, swapped]
                    .into_iter()
                    .flatten()
                    .min(),
            );
        }
        rows.push(row);
    }
    rows.last()
        .and_then(|row| row.last())
        .copied()
        .unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_hand_are_counted() {
        for (a, b, count) in [
            ("bob", "bob", 0),
            ("bbo", "bob", 1),
            ("carl", "carol", 1),
            ("dvae", "dave", 1),
            ("", "abc", 3),
        ] {
            assert_eq!(slips(a, b), count, "{a} {b}");
        }
    }

    #[test]
    fn only_a_name_that_is_near_is_suggested() {
        let here = ["alice", "bob", "carol"].map(str::to_owned);
        assert_eq!(nearest("Bbo", &here).as_deref(), Some("bob"));
        assert_eq!(nearest("crol", &here).as_deref(), Some("carol"));
        assert_eq!(nearest("xyz", &here), None);
        assert_eq!(nearest("bob", &[]), None);
    }

    #[test]
    fn the_wrong_name_is_put_right_wherever_it_stands() {
        assert_eq!(replace("bbo", "bbo", "bob"), "bob");
        assert_eq!(replace("--to=carol,bbo", "bbo", "bob"), "--to=carol,bob");
        assert_eq!(replace("bbob", "bbo", "bob"), "bbob");
    }
}
