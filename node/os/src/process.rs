//! What keeps a process' memory to itself: it holds keys.

use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, setrlimit};

/// Keeps this process' memory out of core dumps, and from other processes of its user. A child that runs another program
/// inherits that it dumps no core, and not the rest.
///
/// # Errors
/// What the system said, if it refused.
pub fn keep_memory() -> std::io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    set_dumpable(false)?;
    Ok(())
}
