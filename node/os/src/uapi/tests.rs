#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net as std_net;

use super::*;

#[tokio::test]
async fn a_request_is_answered_and_nobody_else_can_come_near() {
    let world = World::new();
    let server = world.start("mesh0").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&world.folder()), 0o700);
    assert_eq!(mode(&world.socket("mesh0")), 0o600);
    let mut client = world.connect("mesh0").await;
    for _ in 0..2 {
        assert_eq!(
            ask(&mut client, b"get=1\n\n").await,
            "request=7\nerrno=0\n\n"
        );
    }
    assert_eq!(ask(&mut client, b"no\n\n").await, refused(libc::EPROTO));
    // Two at once, and an empty one.
    client.write_all(b"get=1\n\nget=1\n\n\n").await.unwrap();
    assert_eq!(hear(&mut client, 3).await, {
        "request=7\nerrno=0\n\n".repeat(2) + "request=1\nerrno=0\n\n"
    });
    drop(server);
    assert!(!world.socket("mesh0").exists());
}

#[tokio::test]
async fn a_socket_that_a_killed_process_left_is_replaced_and_a_living_one_is_not() {
    let world = World::new();
    fs::create_dir_all(world.folder()).unwrap();
    for left in ["mesh0", "mesh1", "wg0"] {
        drop(std_net::UnixListener::bind(world.socket(left)).unwrap());
        assert!(world.socket(left).exists());
    }
    let server = world.start("mesh0").unwrap();
    assert!(matches!(world.start("mesh0"), Err(UapiError::Taken(_))));
    let mut client = world.connect("mesh0").await;
    assert_eq!(
        ask(&mut client, b"get=1\n\n").await,
        "request=7\nerrno=0\n\n"
    );
    // What is left of ours goes; what lives, and what is another program's, stays.
    assert_eq!(sweep(&world.folder()).unwrap(), ["mesh1"]);
    assert!(world.socket("mesh0").exists() && world.socket("wg0").exists());
    // A file of another kind is not ours to remove.
    fs::write(world.socket("mesh2"), "precious").unwrap();
    assert!(matches!(world.start("mesh2"), Err(UapiError::Folder(_))));
    assert_eq!(
        fs::read_to_string(world.socket("mesh2")).unwrap(),
        "precious"
    );
    drop(server);
}

#[tokio::test]
async fn a_socket_of_somebody_else_in_its_place_is_not_removed() {
    let world = World::new();
    let server = world.start("mesh0").unwrap();
    fs::remove_file(world.socket("mesh0")).unwrap();
    let other = std_net::UnixListener::bind(world.socket("mesh0")).unwrap();
    drop(server);
    assert!(world.socket("mesh0").exists());
    drop(other);
}

#[tokio::test]
async fn a_folder_that_others_can_write_to_and_a_name_that_leaves_it_are_refused() {
    let world = World::new();
    fs::create_dir_all(world.folder()).unwrap();
    for name in ["", "../mesh0", ".", "a-name-that-is-long"] {
        assert!(
            matches!(world.start(name), Err(UapiError::Name(_))),
            "{name}"
        );
    }
    fs::set_permissions(world.folder(), Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(
        world.start("mesh0"),
        Err(UapiError::Folder(DirsError::TooOpen { mode: 0o777, .. }))
    ));
    fs::set_permissions(world.folder(), Permissions::from_mode(0o755)).unwrap();
    assert!(world.start("mesh0").is_ok(), "others may look");
}

#[tokio::test]
async fn an_endless_request_is_refused_at_its_bound() {
    let world = World::new();
    let _server = world.start("mesh0").unwrap();
    let mut client = world.connect("mesh0").await;
    let line = [&[b'x'; 1023][..], b"\n"].concat();
    for _ in 0..MAX_REQUEST / line.len() {
        client.write_all(&line).await.unwrap();
    }
    let mut said = String::new();
    client.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, refused(libc::E2BIG), "and it is closed");
}

#[tokio::test]
async fn whoever_connects_and_says_nothing_keeps_others_out_for_a_moment_only() {
    let world = World::new();
    let (_place, listener) = Place::take(&world.folder(), "mesh0").unwrap();
    let listener = UnixListener::from_std(listener).unwrap();
    let patience = Duration::from_millis(200);
    let serving = tokio::spawn(serve(listener, Arc::new(answer), patience));
    let mut mute = Vec::new();
    for _ in 0..CONVERSATIONS {
        let mut client = world.connect("mesh0").await;
        client.write_all(b"get=1\n").await.unwrap();
        mute.push(client);
    }
    let mut client = world.connect("mesh0").await;
    let answered = ask(&mut client, b"get=1\n\n");
    assert_eq!(
        timeout(Duration::from_secs(10), answered).await.unwrap(),
        "request=7\nerrno=0\n\n"
    );
    for mut client in mute {
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0, "it was closed");
    }
    serving.abort();
}

struct World(tempfile::TempDir);

impl World {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("run/wireguard")
    }

    fn socket(&self, interface: &str) -> PathBuf {
        self.folder().join(format!("{interface}.sock"))
    }

    fn start(&self, interface: &str) -> Result<Server, UapiError> {
        Server::start(&self.folder(), interface, answer)
    }

    async fn connect(&self, interface: &str) -> UnixStream {
        UnixStream::connect(self.socket(interface)).await.unwrap()
    }
}

async fn answer(request: Zeroizing<Vec<u8>>) -> Answer {
    if request.starts_with(b"no") {
        return Err(Refusal::Protocol);
    }
    Ok(Zeroizing::new(format!("request={}\n", request.len())))
}

async fn ask(client: &mut UnixStream, request: &[u8]) -> String {
    client.write_all(request).await.unwrap();
    hear(client, 1).await
}

/// So many answers.
async fn hear(client: &mut UnixStream, answers: usize) -> String {
    let mut said = Vec::new();
    let count = |said: &[u8]| said.windows(2).filter(|pair| pair == b"\n\n").count();
    while count(&said) < answers {
        assert!(client.read_buf(&mut said).await.unwrap() > 0);
    }
    String::from_utf8(said).unwrap()
}

fn refused(number: i32) -> String {
    format!("errno=-{number}\n\n")
}
