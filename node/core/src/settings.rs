//! Settings of a network: registers that its admins write and every device follows.
//!
//! Each is read by something; a key that nothing reads is not offered. A value that this release does not understand, as
//! a later one may have written it, counts as the default.

use mesh_ledger::state::State;

use crate::plan::Refusal;

/// A setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// After how many events an admin's device seals their order.
    CheckpointEvery,
    /// What happens to packets that nothing allows.
    DefaultRefuse,
}

/// A value that a setting cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadValue(&'static str);

/// The fewest and the most events between two checkpoints that can be set.
const CHECKPOINT_EVERY: std::ops::RangeInclusive<u64> = 10..=100_000;

impl Setting {
    /// All, by key.
    pub const ALL: [Self; 2] = [Self::CheckpointEvery, Self::DefaultRefuse];

    /// Its key, a DNS label.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::CheckpointEvery => "checkpoint-every",
            Self::DefaultRefuse => "default-refuse",
        }
    }

    /// The setting with a key.
    #[must_use]
    pub fn of(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|setting| setting.key() == key)
    }

    /// What holds when nobody set it.
    #[must_use]
    pub const fn default(self) -> &'static str {
        match self {
            Self::CheckpointEvery => "1000",
            Self::DefaultRefuse => "reject",
        }
    }

    /// What it does, in one sentence.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::CheckpointEvery => {
                "after how many events an admin's device seals their order, 10 to 100000"
            }
            Self::DefaultRefuse => {
                "what happens to packets that no offer allows: reject tells the sender, drop does not"
            }
        }
    }

    /// Whether a value can be set.
    ///
    /// # Errors
    /// [`BadValue`] says what can.
    pub fn check(self, value: &str) -> Result<(), BadValue> {
        match self {
            Self::CheckpointEvery => checkpoint_every(value).map(|_| ()).ok_or(BadValue(
                "checkpoint-every takes a number of events, 10 to 100000",
            )),
            Self::DefaultRefuse => refusal(value)
                .map(|_| ())
                .ok_or(BadValue("default-refuse takes reject or drop")),
        }
    }

    /// The value in force: what was set and is understood, or else the default.
    #[must_use]
    pub fn value(self, state: &State) -> &str {
        self.set(state)
            .filter(|value| self.check(value).is_ok())
            .unwrap_or(self.default())
    }

    fn set(self, state: &State) -> Option<&str> {
        let mut settings = state.settings.iter();
        settings
            .find(|(key, _)| key.as_str() == self.key())
            .map(|(_, value)| value.as_str())
    }
}

/// After how many events their order is sealed.
#[must_use]
pub fn checkpoints(state: &State) -> u64 {
    checkpoint_every(Setting::CheckpointEvery.value(state)).unwrap_or(1000)
}

/// What happens to packets that nothing allows.
#[must_use]
pub fn refuses(state: &State) -> Refusal {
    refusal(Setting::DefaultRefuse.value(state)).unwrap_or_default()
}

fn checkpoint_every(value: &str) -> Option<u64> {
    // One way to write each number.
    let number: u64 = value.parse().ok()?;
    (number.to_string() == value && CHECKPOINT_EVERY.contains(&number)).then_some(number)
}

fn refusal(value: &str) -> Option<Refusal> {
    match value {
        "reject" => Some(Refusal::Reject),
        "drop" => Some(Refusal::Drop),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_default_can_be_set_and_every_key_is_found() {
        for setting in Setting::ALL {
            assert_eq!(setting.check(setting.default()), Ok(()));
            assert_eq!(Setting::of(setting.key()), Some(setting));
            let key: Result<mesh_ledger::text::Label, _> = setting.key().parse();
            assert!(key.is_ok());
        }
        assert_eq!(Setting::of("dns"), None);
    }

    #[test]
    fn values_that_mean_nothing_are_refused() {
        let refused = |setting: Setting, values: &[&str]| {
            values.iter().all(|value| setting.check(value).is_err())
        };
        assert!(refused(
            Setting::CheckpointEvery,
            &["", "9", "100001", "-10", "+20", "020", "1e3", "many"]
        ));
        assert!(refused(Setting::DefaultRefuse, &["", "Reject", "accept"]));
        assert_eq!(checkpoint_every("10"), Some(10));
    }
}
