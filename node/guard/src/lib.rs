//! Keeps from the QUIC library the packets that would end the process.
//!
//! iroh's QUIC library (noq-proto 1.4) writes the acknowledgements of every path into one packet, and does not ask whether
//! they fit. If they do not fit it panics while it holds a lock, and the panic ends the process. Three things fill a packet:
//!
//! - Packet numbers with wide gaps. Each gap is a range of the acknowledgement, and a wide one takes nine bytes.
//! - Many paths at once, each with its own ranges.
//! - A token that the other side chose, in a Retry packet or a NEW_TOKEN frame. It stands in front of the acknowledgement.
//!
//! The library asks a cryptographic provider to open and to seal each packet. [`provider`] is such a provider. It passes
//! everything on to *ring*, and keeps books in between:
//!
//! - [`room`] knows how many bytes the library's acknowledgements take at most. A packet that would make them too long does
//!   not open. To the library it is a packet that got lost.
//! - A long token in a packet that leaves closes that attempt to connect: nothing that comes for it opens any more, so that
//!   nothing is acknowledged beside the token. The attempt ends by its time limit.
//!
//! Both hold for every sender: a stranger, a peer, a host at an address that is dialled, a relay.
//!
//! # How keys find their books
//!
//! A connection changes its keys while it lasts, and the provider is not told to which connection a key belongs. Keys of one
//! connection are derived from one secret, step by step. [`lineage`] follows these steps: a derived secret carries a number
//! behind its bytes, and keys with one number share one book.
//!
//! # What it refuses to do
//!
//! - No I/O, no thread, no decision about peers. It opens fewer packets than *ring* would, never more.
//! - No change of a packet, a key or a signature.
//!
//! It can go when the library bounds what it writes (n0-computer/noq#367, #799) and the tokens that it takes. Until then
//! `tests/attack.rs` shows what happens without it.

mod frames;
mod hkdf;
mod key;
pub mod lineage;
pub mod room;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use rustls::crypto::{CipherSuiteCommon, CryptoProvider, ring};
use rustls::{SupportedCipherSuite, Tls13CipherSuite};

static REFUSED: AtomicU64 = AtomicU64::new(0);

/// Returns the provider for every QUIC endpoint of this program. It is made once.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let made = PROVIDER.get_or_init(|| {
        let mut provider = ring::default_provider();
        for suite in &mut provider.cipher_suites {
            *suite = guarded(*suite);
        }
        Arc::new(provider)
    });
    made.clone()
}

/// Returns how many packets this program's guard has refused so far.
pub fn refused() -> u64 {
    REFUSED.load(Ordering::Relaxed)
}

/// Wraps a suite that QUIC can use. rustls wants suites that live as long as the program, so they are leaked; once.
fn guarded(suite: SupportedCipherSuite) -> SupportedCipherSuite {
    let SupportedCipherSuite::Tls13(suite) = suite else {
        return suite;
    };
    let Some(quic) = suite.quic else {
        return SupportedCipherSuite::Tls13(suite);
    };
    let hkdf: &'static hkdf::Followed = Box::leak(Box::new(hkdf::Followed(suite.hkdf_provider)));
    let quic: &'static key::Guarded = Box::leak(Box::new(key::Guarded(quic)));
    SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
        common: CipherSuiteCommon {
            suite: suite.common.suite,
            hash_provider: suite.common.hash_provider,
            confidentiality_limit: suite.common.confidentiality_limit,
        },
        hkdf_provider: hkdf,
        aead_alg: suite.aead_alg,
        quic: Some(quic),
    })))
}
