//! Tool and daemon in conversation, and daemon with tools that misbehave, over real sockets.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mesh_control::call::{Call, Create, Invite, Join, Networks, ServerAdd};
use mesh_control::client::Client;
use mesh_control::fake::{Fake, Listening, examples};
use mesh_control::frame::{FromDaemon, FromTool, PROTOCOL};
use mesh_control::reply::{self, Reply};
use mesh_control::server::{Limits, PeerCredentials, Service, serve_within};
use mesh_control::state::{State, Update, Watch};
use mesh_control::view::{NetworkStatus, PeerReach};
use mesh_control::{Code, Error, MAX_CALL, Secret};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

struct World {
    socket: PathBuf,
    fake: Arc<Fake>,
    _listening: Listening,
    _folder: tempfile::TempDir,
}

fn world(fake: Fake) -> World {
    let folder = tempfile::tempdir().unwrap();
    let (socket, fake) = (folder.path().join("meshd.sock"), Arc::new(fake));
    let listening = fake.listen(&socket).unwrap();
    World {
        socket,
        fake,
        _listening: listening,
        _folder: folder,
    }
}

fn created() -> Reply {
    Reply::Created(reply::Created {
        network: examples::network(),
        recovery_words: Secret::new("wagon lunar"),
    })
}

fn create() -> Create {
    Create {
        name: "home".to_owned(),
        host: None,
        subnet: None,
        servers: Vec::new(),
    }
}

#[tokio::test]
async fn a_call_reaches_the_service_whole_and_its_answer_comes_back() {
    let world = world(Fake::default().on("create", Ok(created())));
    let mut client = Client::connect(&world.socket).await.unwrap();
    assert_eq!(client.version(), "0.0.0-fake");
    let answer = client.call(create()).await.unwrap();
    assert_eq!(answer.network, examples::network());
    assert_eq!(answer.recovery_words.reveal(), "wagon lunar");
    assert_eq!(world.fake.asked(), [Call::Create(create())]);
}

#[tokio::test]
async fn an_error_comes_back_with_its_kind_and_its_hint_and_the_connection_lives_on() {
    let error = Error::new(Code::Conflict, "a network home is here already").hint("mesh networks");
    let world = world(
        Fake::default()
            .on("create", Err(error.clone()))
            .on("create", Ok(created())),
    );
    let mut client = Client::connect(&world.socket).await.unwrap();
    assert_eq!(client.call(create()).await.unwrap_err(), error);
    assert!(client.call(create()).await.is_ok());
}

#[tokio::test]
async fn nobody_at_the_socket_means_that_the_daemon_does_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("meshd.sock");
    assert_eq!(
        Client::connect(&socket).await.err().unwrap().code,
        Code::NotRunning
    );
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert_eq!(
        Client::connect(&socket).await.err().unwrap().code,
        Code::NotRunning
    );
}

#[tokio::test]
async fn a_call_too_long_for_the_daemon_is_refused_before_it_is_sent() {
    let world = world(Fake::default());
    let mut client = Client::connect(&world.socket).await.unwrap();
    let join = Join {
        ticket: Secret::new("x".repeat(MAX_CALL)),
        host: None,
        wait_seconds: 1,
        carried: None,
    };
    assert_eq!(client.call(join).await.unwrap_err().code, Code::Usage);
    assert_eq!(world.fake.asked(), []);
}

#[tokio::test]
async fn a_watcher_is_told_the_state_and_then_what_changes() {
    let world = world(Fake::default());
    let home = State {
        networks: vec![examples::network_state()],
    };
    world.fake.show(home.clone());
    let client = Client::connect(&world.socket).await.unwrap();
    let mut watching = client.watch(Watch::default()).await.unwrap();
    assert_eq!(watching.state(), &home);
    let mut later = home.clone();
    later.networks[0].status.peers[0].rtt_us = Some(700);
    world.fake.show(later.clone());
    assert!(
        matches!(watching.next().await.unwrap(), Update::Peer { peer, .. } if peer.reach == PeerReach::Direct)
    );
    assert_eq!(watching.state(), &later);
}

#[tokio::test]
async fn a_watcher_of_one_network_is_told_of_no_other() {
    let world = world(Fake::default());
    world.fake.show(State {
        networks: vec![examples::network_state()],
    });
    for (asked, seen) in [("home", 1), ("c0ffee", 1), ("work", 0)] {
        let client = Client::connect(&world.socket).await.unwrap();
        let watching = client
            .watch(Watch {
                network: Some(asked.to_owned()),
            })
            .await
            .unwrap();
        assert_eq!(watching.state().networks.len(), seen, "{asked}");
    }
}

// Tools that misbehave.

struct Raw(BufReader<UnixStream>);

impl Raw {
    async fn connect(world: &World) -> Self {
        Self(BufReader::new(
            UnixStream::connect(&world.socket).await.unwrap(),
        ))
    }

    async fn greeted(world: &World) -> Self {
        let mut raw = Self::connect(world).await;
        raw.say(
            &serde_json::to_string(&FromTool::Hello {
                protocol: PROTOCOL,
                tool: "test".to_owned(),
            })
            .unwrap(),
        )
        .await;
        assert!(matches!(
            raw.hear().await,
            FromDaemon::Welcome {
                protocol: PROTOCOL,
                ..
            }
        ));
        raw
    }

    async fn say(&mut self, line: &str) {
        self.0
            .write_all(format!("{line}\n").as_bytes())
            .await
            .unwrap();
    }

    async fn hear(&mut self) -> FromDaemon {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        serde_json::from_str(&line).unwrap()
    }

    async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        matches!(self.0.read_to_end(&mut rest).await, Ok(0) | Err(_))
    }
}

#[tokio::test]
async fn a_call_the_daemon_does_not_know_fails_alone() {
    let world = world(Fake::default().on("create", Ok(created())));
    let mut raw = Raw::greeted(&world).await;
    raw.say(r#"{"call":{"id":7,"call":{"teleport":{}}}}"#).await;
    assert!(
        matches!(raw.hear().await, FromDaemon::Error { id: 7, error } if error.code == Code::Usage)
    );
    raw.say(r#"{"call":{"id":8,"call":{"create":{"name":"home","host":null,"subnet":null}}}}"#)
        .await;
    assert!(matches!(raw.hear().await, FromDaemon::Ok { id: 8, .. }));
}

#[tokio::test]
async fn another_protocol_is_refused_by_name() {
    let world = world(Fake::default());
    let mut raw = Raw::connect(&world).await;
    raw.say(r#"{"hello":{"protocol":99,"tool":"test"}}"#).await;
    assert!(matches!(raw.hear().await, FromDaemon::Refused(error) if error.message.contains("99")));
    assert!(raw.is_closed().await);
}

#[tokio::test]
async fn nonsense_and_endless_lines_end_the_connection_with_a_reason() {
    let world = world(Fake::default());
    let endless = "x".repeat(MAX_CALL + 1);
    for line in [
        "",
        "nonsense",
        "[]",
        "{}",
        r#"{"call":{}}"#,
        endless.as_str(),
    ] {
        let mut raw = Raw::greeted(&world).await;
        raw.say(line).await;
        assert!(
            matches!(raw.hear().await, FromDaemon::Refused(error) if error.code == Code::Usage)
        );
        assert!(raw.is_closed().await);
    }
}

/// Never answers `networks`, panics on `create`, and says when it was dropped.
struct Stubborn {
    begun: tokio::sync::mpsc::UnboundedSender<()>,
    dropped: tokio::sync::mpsc::UnboundedSender<()>,
}

struct TellDropped(tokio::sync::mpsc::UnboundedSender<()>);

impl Drop for TellDropped {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

impl Service for Stubborn {
    fn version(&self) -> String {
        "stubborn".to_owned()
    }

    async fn call(&self, _: PeerCredentials, call: Call) -> Result<Reply, Error> {
        assert!(!matches!(call, Call::Create(_)), "told to panic");
        let _tell = TellDropped(self.dropped.clone());
        let _ = self.begun.send(());
        std::future::pending().await
    }

    async fn watch(
        &self,
        _: PeerCredentials,
        _: Watch,
    ) -> Result<tokio::sync::watch::Receiver<Arc<State>>, Error> {
        Err(Error::new(Code::NotFound, "no network"))
    }
}

struct StubbornWorld {
    socket: PathBuf,
    begun: tokio::sync::mpsc::UnboundedReceiver<()>,
    dropped: tokio::sync::mpsc::UnboundedReceiver<()>,
    _folder: tempfile::TempDir,
}

fn stubborn(limits: Limits) -> StubbornWorld {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("meshd.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let ((begin, begun), (tell, dropped)) = (
        tokio::sync::mpsc::unbounded_channel(),
        tokio::sync::mpsc::unbounded_channel(),
    );
    let service = Arc::new(Stubborn {
        begun: begin,
        dropped: tell,
    });
    tokio::spawn(serve_within(
        limits,
        listener,
        service,
        std::future::pending(),
    ));
    StubbornWorld {
        socket,
        begun,
        dropped,
        _folder: folder,
    }
}

#[tokio::test]
async fn a_call_is_dropped_when_its_tool_goes_away() {
    let mut world = stubborn(Limits::default());
    let mut client = Client::connect(&world.socket).await.unwrap();
    let call = tokio::spawn(async move { client.call(Networks {}).await });
    world.begun.recv().await.unwrap();
    call.abort();
    world.dropped.recv().await.unwrap();
}

#[tokio::test]
async fn a_call_that_panics_is_an_error_of_that_call_alone() {
    let mut world = stubborn(Limits::default());
    let mut client = Client::connect(&world.socket).await.unwrap();
    assert_eq!(client.call(create()).await.unwrap_err().code, Code::Failed);
    let call = tokio::spawn(async move { client.call(Networks {}).await });
    world.begun.recv().await.unwrap();
    call.abort();
}

#[tokio::test]
async fn a_tool_beyond_the_limit_of_its_user_is_told_so() {
    let world = stubborn(Limits {
        per_user: 2,
        ..Limits::default()
    });
    let first = Client::connect(&world.socket).await.unwrap();
    let _second = Client::connect(&world.socket).await.unwrap();
    let refused = Client::connect(&world.socket).await.err().unwrap();
    assert!(refused.message.contains("too many"), "{refused}");
    drop(first);
    // The place is free once the server saw the first one go, which only another try can tell.
    let again = async {
        while Client::connect(&world.socket).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), again)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_tool_that_says_nothing_begins_a_line_or_is_idle_is_let_go_in_time() {
    let short = Duration::from_millis(50);
    let world = stubborn(Limits {
        hello: short,
        line: short,
        idle: short,
        ..Limits::default()
    });
    let hello = format!(
        "{}\n",
        serde_json::to_string(&FromTool::Hello {
            protocol: PROTOCOL,
            tool: String::new()
        })
        .unwrap()
    );
    for begin in [
        String::new(),
        "{\"hel".to_owned(),
        hello.clone(),
        format!("{hello}{{\"call\""),
    ] {
        let mut stream = UnixStream::connect(&world.socket).await.unwrap();
        stream.write_all(begin.as_bytes()).await.unwrap();
        let mut all = Vec::new();
        tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut all))
            .await
            .unwrap()
            .unwrap();
    }
}

#[tokio::test]
async fn a_tool_that_takes_no_answers_is_let_go_in_time() {
    let limits = Limits {
        write: Duration::from_millis(50),
        ..Limits::default()
    };
    let world = stubborn(limits);
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    stream
        .write_all(
            format!(
                "{}\n",
                serde_json::to_string(&FromTool::Hello {
                    protocol: PROTOCOL,
                    tool: String::new()
                })
                .unwrap()
            )
            .as_bytes(),
        )
        .await
        .unwrap();
    // Each of these is answered by an error that is never read; the daemon must not keep them for ever.
    let line = b"{\"call\":{\"id\":1,\"call\":{\"teleport\":{}}}}\n".repeat(100);
    let flood = async { while stream.write_all(&line).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(30), flood)
        .await
        .unwrap();
}

#[tokio::test]
async fn calls_are_frozen_on_the_wire() {
    let invite = Invite {
        network: None,
        uses: 1,
        expires_seconds: 86_400,
        to: None,
        note: None,
        tags: Vec::new(),
        countersign: false,
        wait_ms: None,
    };
    let line = FromTool::Call {
        id: 3,
        call: Call::Invite(invite),
    };
    assert_eq!(
        serde_json::to_string(&line).unwrap(),
        r#"{"call":{"id":3,"call":{"invite":{"network":null,"uses":1,"expires_seconds":86400,"to":null,"note":null,"countersign":false,"wait_ms":null}}}}"#
    );
    let add = FromTool::Call {
        id: 4,
        call: Call::ServerAdd(ServerAdd {
            network: None,
            server: Secret::new("vpn.example.org:7443#key/permit"),
            wait_ms: None,
        }),
    };
    assert_eq!(
        serde_json::to_string(&add).unwrap(),
        r#"{"call":{"id":4,"call":{"server_add":{"network":null,"server":"vpn.example.org:7443#key/permit","wait_ms":null}}}}"#
    );
    let error = FromDaemon::Error {
        id: 3,
        error: Error::new(Code::NotPermitted, "no").hint("mesh admin ls"),
    };
    assert_eq!(
        serde_json::to_string(&error).unwrap(),
        r#"{"error":{"id":3,"error":{"code":"not_permitted","message":"no","hint":"mesh admin ls"}}}"#
    );
}

#[test]
fn what_was_said_before_there_were_servers_is_still_understood() {
    let mut status = serde_json::to_value(examples::status()).unwrap();
    status.as_object_mut().unwrap().remove("servers").unwrap();
    let status: NetworkStatus = serde_json::from_value(status).unwrap();
    assert_eq!(status.servers, []);
    let invited = reply::Invited {
        network: "home".to_owned(),
        ticket: Secret::new("MESH:1:4KQ7RZ"),
        invite: examples::invite(),
        spread: examples::spread(),
        reach: Vec::new(),
        servers: Vec::new(),
        limits: Vec::new(),
        contacts: Vec::new(),
    };
    let mut old = serde_json::to_value(&invited).unwrap();
    old.as_object_mut().unwrap().remove("servers").unwrap();
    assert_eq!(
        serde_json::from_value::<reply::Invited>(old).unwrap(),
        invited
    );
}
