//! UDP sockets with what the standard library does not set: one family each, large buffers, and a wait that can be ended.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use self::linux::{Wait, bind};
