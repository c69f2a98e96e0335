//! The ledger as tools see it.

pub(crate) use mesh_control::audit::{event_ref, names, state};
