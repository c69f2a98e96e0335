//! The ledger as tools see it.

pub(crate) use mesh_control::audit::{consequences, event_ref, names, state};
