//! The one error a person sees: what failed, why, and the next command to type.

use serde::{Deserialize, Serialize};

/// What a failed call answers. `message` says what failed and why, in one line and without a full stop; `hint` is a
/// command to type next, without the leading arrow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind of failure it is; decides the exit code.
    pub code: Code,
    /// What failed and why.
    pub message: String,
    /// A command to type next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether the same call with the passphrase of the user key ([`WithKey`](crate::call::WithKey)) may succeed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub needs_passphrase: bool,
}

impl Error {
    /// An error without a hint.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
            needs_passphrase: false,
        }
    }

    /// What a call answers that needs the user key, which is under a passphrase.
    pub fn passphrase(message: impl Into<String>) -> Self {
        Self {
            needs_passphrase: true,
            ..Self::new(Code::NotPermitted, message)
        }
    }

    /// The same error with the command to type next.
    #[must_use]
    pub fn hint(mut self, command: impl Into<String>) -> Self {
        self.hint = Some(command.into());
        self
    }
}

/// Kinds of failure. The exit codes are a promise to scripts: [`Code::exit`] is the only place that knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Something went wrong that no other kind describes.
    Failed,
    /// What was asked for does not make sense: a malformed name, port or ticket.
    Usage,
    /// The daemon does not run. Made by the client alone.
    NotRunning,
    /// The caller or this member may not do that.
    NotPermitted,
    /// No network, member, invite, offer or event of that name.
    NotFound,
    /// Taken, used up, expired or revoked.
    Conflict,
    /// Nobody answered in time.
    Unreachable,
    /// A signature, a hash or the ledger does not verify.
    Verification,
    /// Signed and stored, but no other device has it yet although the caller chose to wait.
    LocalOnly,
    /// A check that was asked for found something unhealthy.
    Unhealthy,
}

impl Code {
    /// Every kind, in the order of the exit codes.
    pub const ALL: [Self; 10] = [
        Self::Failed,
        Self::Usage,
        Self::NotRunning,
        Self::NotPermitted,
        Self::NotFound,
        Self::Conflict,
        Self::Unreachable,
        Self::Verification,
        Self::LocalOnly,
        Self::Unhealthy,
    ];

    /// The exit code of a command that failed this way: 1 to 10.
    pub const fn exit(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotRunning => 3,
            Self::NotPermitted => 4,
            Self::NotFound => 5,
            Self::Conflict => 6,
            Self::Unreachable => 7,
            Self::Verification => 8,
            Self::LocalOnly => 9,
            Self::Unhealthy => 10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_exit_code_from_one_to_ten() {
        let codes: Vec<u8> = Code::ALL.iter().map(|code| code.exit()).collect();
        assert_eq!(codes, (1..=10).collect::<Vec<u8>>());
    }
}
