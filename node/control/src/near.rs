//! What a mistyped word was meant to be.

/// The nearest of `here`, if it is near: at most two slips of the hand, and fewer than half of the letters.
pub fn nearest(wrong: &str, here: &[String]) -> Option<String> {
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
}
