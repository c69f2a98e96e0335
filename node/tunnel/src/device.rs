//! Where inner packets come from and go to.

use std::io;

use mesh_os::tun::Tun;

/// The room in bytes that must be free in front of each packet in a buffer; what stands there is the device's.
pub const HEADROOM: usize = mesh_os::tun::HEADROOM;

/// A source and sink of IP packets: a TUN, or in tests some memory.
pub trait Device: Send + Sync + 'static {
    /// Waits for packets and fills as many buffers as have arrived, each from [`HEADROOM`] on; `sizes` gets the lengths
    /// of the packets. Returns how many; 0 after [`Device::stop`], and then always.
    ///
    /// # Errors
    /// When the device is gone.
    fn receive(&self, buffers: &mut [Vec<u8>], sizes: &mut [usize]) -> io::Result<usize>;

    /// Delivers packets. Each buffer is [`HEADROOM`] bytes and a packet; contents and order may be changed on the way.
    ///
    /// # Errors
    /// When the device is gone. A packet that it does not take is lost.
    fn send(&self, buffers: &mut [Vec<u8>]) -> io::Result<()>;

    /// Makes [`Device::receive`] return 0 from now on.
    fn stop(&self);
}

impl Device for Tun {
    fn receive(&self, buffers: &mut [Vec<u8>], sizes: &mut [usize]) -> io::Result<usize> {
        Self::receive(self, buffers, sizes)
    }

    fn send(&self, buffers: &mut [Vec<u8>]) -> io::Result<()> {
        Self::send(self, buffers)
    }

    fn stop(&self) {
        Self::stop(self);
    }
}
