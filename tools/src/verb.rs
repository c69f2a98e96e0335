//! One file per verb: its arguments, and what it does with them.

pub(crate) mod admin;
pub(crate) mod completions;
pub(crate) mod create;
pub(crate) mod dns;
pub(crate) mod down;
pub(crate) mod id;
pub(crate) mod invite;
pub(crate) mod join;
pub(crate) mod kick;
pub(crate) mod leave;
pub(crate) mod log;
pub(crate) mod member;
pub(crate) mod networks;
pub(crate) mod offers;
pub(crate) mod ping;
pub(crate) mod server;
pub(crate) mod service;
pub(crate) mod share;
pub(crate) mod status;
pub(crate) mod sync;
pub(crate) mod unshare;
pub(crate) mod up;
pub(crate) mod version;
pub(crate) mod watch;
pub(crate) mod why;
