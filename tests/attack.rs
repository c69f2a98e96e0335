//! Attacks on the QUIC library, as a stranger makes them: they end a process without the guard, and none with it.
//!
//! The victim is an example of this package: `cargo build -p mesh-tests --examples` makes it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a failed expectation of a test is a panic, and figures help to read a failure"
)]

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use iroh::endpoint::{Connection, PortmapperConfig, RelayMode, presets};
use iroh::{Endpoint, EndpointAddr, EndpointId, SecretKey, TransportAddr};
use mesh_tests::attack::retry::Responder;
use mesh_tests::attack::victim::{ALPN, Victim};

/// The tokens of Retry packets that are tried, by their length.
const TOKENS: [usize; 12] = [
    16, 400, 512, 513, 1000, 1100, 1165, 1200, 1300, 1400, 1420, 1440,
];
/// An abort comes at once; this is for a busy machine.
const SETTLE: Duration = Duration::from_secs(2);
const SIGABRT: i32 = 6;

/// A decent client with a connection that was there before the attacks.
struct Friend {
    _endpoint: Endpoint,
    connection: Connection,
    runtime: tokio::runtime::Runtime,
}

impl Friend {
    fn of(victim: &Victim) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let id: EndpointId = victim.id.parse().unwrap();
        let address = EndpointAddr::from_parts(id, [TransportAddr::Ip(victim.address)]);
        let (endpoint, connection) = runtime.block_on(async {
            let endpoint = Endpoint::builder(presets::Minimal)
                .crypto_provider(mesh_guard::provider())
                .relay_mode(RelayMode::Disabled)
                .portmapper_config(PortmapperConfig::Disabled)
                .clear_address_lookup()
                .bind()
                .await
                .unwrap();
            let connection = endpoint.connect(address, ALPN.as_bytes()).await.unwrap();
            (endpoint, connection)
        });
        Self {
            _endpoint: endpoint,
            connection,
            runtime,
        }
    }

    /// Asks over the old connection, and checks the answer.
    fn asks(&self, text: &str) {
        let answer = async {
            let (mut question, mut answer) = self.connection.open_bi().await.unwrap();
            question.write_all(text.as_bytes()).await.unwrap();
            question.finish().unwrap();
            answer.read_to_end(1024).await.unwrap()
        };
        let within = async { tokio::time::timeout(Duration::from_secs(10), answer).await };
        let answer = self.runtime.block_on(within).expect("no answer");
        assert_eq!(answer, text.as_bytes());
    }
}

fn aborted(status: Option<ExitStatus>) -> bool {
    status.is_some_and(|status| status.signal() == Some(SIGABRT))
}

/// Lets the victim dial a responder that knows no key and sends a token of so many bytes.
fn retry(victim: &mut Victim, token: usize) -> (bool, Option<ExitStatus>) {
    let responder = Responder::bind().unwrap();
    victim.dial(SecretKey::generate().public(), responder.address());
    let came = responder.answer(token, &[0], SETTLE);
    (came, victim.ended(SETTLE))
}

#[test]
fn a_long_retry_token_ends_a_process_without_the_guard() {
    let mut ended = Vec::new();
    for token in TOKENS {
        let (came, status) = retry(&mut Victim::start(false), token);
        eprintln!("bare, token of {token}: token came back {came}, ended {status:?}");
        if aborted(status) {
            ended.push(token);
        }
    }
    assert!(!ended.is_empty(), "no token ended the process");
    assert!(!ended.contains(&16), "{ended:?}");
}

#[test]
fn a_retry_token_of_any_length_leaves_a_guarded_process_alive() {
    leaves_alive(TOKENS);
}

fn leaves_alive(tokens: impl IntoIterator<Item = usize>) {
    let mut victim = Victim::start(true);
    let friend = Friend::of(&victim);
    for token in tokens {
        let (came, status) = retry(&mut victim, token);
        eprintln!("guarded, token of {token}: token came back {came}, ended {status:?}");
        assert_eq!(status, None, "a token of {token} ended the process");
        friend.asks(&format!("after a token of {token}"));
    }
}
