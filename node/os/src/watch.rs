//! Being told when the machine's interfaces or addresses change, so that paths are looked for again at once.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use self::linux::Watch;

/// What changed, on the interface with this index. Our own interfaces are told of too: the caller knows their indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It came, went, or went up or down.
    Link(u32),
    /// It gained or lost an address.
    Address(u32),
}
