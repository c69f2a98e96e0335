/// The longest line a tool may send, in bytes, without its newline: 64 KiB.
pub const MAX_CALL: usize = 64 * 1024;
/// The longest line the daemon may send, in bytes, without its newline: 16 MiB.
pub const MAX_REPLY: usize = 16 * 1024 * 1024;
