//! TUN on Linux, with the packet runs of `IFF_VNET_HDR` split and merged by `tun-rs`.

mod merge;

use std::io;
use std::sync::{Mutex, PoisonError};

use mesh_core::plan::InterfaceName;
use tun_rs::{DeviceBuilder, InterruptEvent, SyncDevice, VIRTIO_NET_HDR_LEN};

use self::merge::Merging;
use super::{Options, TunError};

/// The room in bytes in front of each packet in a buffer, for the header that tells the kernel about runs.
pub const HEADROOM: usize = VIRTIO_NET_HDR_LEN;

/// A TUN interface. One thread may read while another writes. It goes away when this is dropped, and with the process.
pub struct Tun {
    device: SyncDevice,
    name: String,
    index: u32,
    offload: bool,
    interrupt: InterruptEvent,
    /// Where a run of packets lands before it is split. Only the reading thread takes it.
    landing: Mutex<Vec<u8>>,
    /// The merging state. Only writers take it.
    merging: Mutex<Merging>,
}

impl Tun {
    /// Makes the interface. It has no address and is down.
    ///
    /// # Errors
    /// See [`TunError`].
    pub fn create(name: InterfaceName, options: Options) -> Result<Self, TunError> {
        // The kernel puts the first free number in the place of %d.
        let name = match name {
            InterfaceName::FirstFree => "mesh%d".to_owned(),
            InterfaceName::Number(number) => format!("mesh{number}"),
        };
        let build = |offload| {
            let builder = DeviceBuilder::new()
                .name(name.clone())
                .inherit_enable_state();
            builder
                .with(|options| {
                    options.offload(offload);
                })
                .build_sync()
        };
        let made = match build(options.offload) {
            Ok(device) => Ok((device, options.offload)),
            Err(error) if options.offload && error.raw_os_error() == Some(libc::EINVAL) => {
                tracing::warn!(%error, "the kernel offers no packet runs on TUN; going without");
                build(false).map(|device| (device, false))
            }
            Err(error) => Err(error),
        };
        let (device, offload) = made.map_err(|error| explain(&name, error))?;
        Self::adopt(device, offload).map_err(|source| TunError::Failed { name, source })
    }

    fn adopt(device: SyncDevice, offload: bool) -> io::Result<Self> {
        device.set_nonblocking(true)?;
        Ok(Self {
            name: device.name()?,
            index: device.if_index()?,
            offload,
            device,
            interrupt: InterruptEvent::new()?,
            landing: Mutex::new(vec![0; VIRTIO_NET_HDR_LEN + 65_535]),
            merging: Mutex::default(),
        })
    }

    /// Its name, `mesh` and a number.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its index in the system's list of interfaces.
    #[must_use]
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// Whether the kernel hands over and takes runs of packets.
    #[must_use]
    pub const fn offload(&self) -> bool {
        self.offload
    }

    /// Waits for packets and takes as many as have come and surely fit. Each buffer gets one from [`HEADROOM`] on, and
    /// `sizes` its length. Returns how many; 0 after [`Tun::stop`], and then always.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn receive(&self, buffers: &mut [Vec<u8>], sizes: &mut [usize]) -> io::Result<usize> {
        let mut landing = self.landing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count = 0;
        loop {
            let (Some(buffers), Some(sizes)) = (buffers.get_mut(count..), sizes.get_mut(count..))
            else {
                return Ok(count);
            };
            if count > 0 && buffers.len() < LONGEST_RUN {
                return Ok(count);
            }
            match self
                .device
                .recv_multiple(&mut landing, buffers, sizes, HEADROOM)
            {
                Ok(got) => count += got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if count > 0 {
                        return Ok(count);
                    }
                    match self.device.wait_readable_intr(&self.interrupt) {
                        Ok(()) => {}
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                            if self.interrupt.is_trigger() {
                                return Ok(0);
                            }
                        }
                        Err(error) => return Err(error),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A run that cannot be split is lost, as a packet may be; the interface itself reports with an errno.
                Err(error) if error.raw_os_error().is_none() => {
                    tracing::debug!(%error, "a packet from the interface was unusable");
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Delivers packets to this host; each buffer is [`HEADROOM`] bytes and a packet. Neighbouring segments of one
    /// connection are merged on the way. What the buffers hold afterwards is nobody's business; their capacity stays.
    ///
    /// # Errors
    /// When the interface is gone or down. A packet that the kernel does not take is lost.
    pub fn send(&self, buffers: &mut [Vec<u8>]) -> io::Result<()> {
        self.merging
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .send(&self.device, buffers)
    }

    /// Makes [`Tun::receive`] return 0 from now on.
    pub fn stop(&self) {
        if let Err(error) = self.interrupt.trigger() {
            tracing::error!(%error, "the thread that reads the interface could not be woken");
        }
    }
}

impl std::fmt::Debug for Tun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tun")
            .field("name", &self.name)
            .field("offload", &self.offload)
            .finish_non_exhaustive()
    }
}

fn explain(name: &str, error: io::Error) -> TunError {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => TunError::NotPermitted(error),
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => TunError::NoDriver(error),
        Some(libc::EBUSY | libc::EEXIST) => TunError::Taken {
            name: name.to_owned(),
            source: error,
        },
        _ => TunError::Failed {
            name: name.to_owned(),
            source: error,
        },
    }
}

/// A run of 64 KiB has at most this many packets unless somebody chose segments below 512 bytes; then it is lost when it
/// does not fit, and the sender tries again with less.
const LONGEST_RUN: usize = 128;
