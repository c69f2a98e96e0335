//! What becomes otherwise by an act.

use serde::{Deserialize, Serialize};

use super::EventRef;

/// What becomes otherwise in a network by acts, beyond what they say themselves. Members are named, invites are short ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consequences {
    /// How many events have no effect any more.
    pub acts_voided: u32,
    /// Those, in the network's order; at most 100.
    pub void: Vec<VoidAct>,
    /// How many events had no effect and have one now.
    pub acts_revived: u32,
    /// Who is no member any more.
    pub members_gone: Vec<String>,
    /// Who is a member again, or now.
    pub members_back: Vec<String>,
    /// Members who have no office any more.
    pub office_gone: Vec<String>,
    /// Who has an office again, or now.
    pub office_back: Vec<String>,
    /// Invites that let nobody in any more.
    pub invites_gone: Vec<String>,
    /// Invites that let somebody in again.
    pub invites_back: Vec<String>,
    /// The new owner, if there is one.
    pub owner: Option<String>,
}

/// An event that has no effect any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoidAct {
    /// Which event.
    pub event: EventRef,
    /// Name of the device that signed it.
    pub by: String,
    /// What it does, in words: `kicks dave`.
    pub text: String,
    /// Why it has no effect.
    pub reason: String,
}
