//! The system's resolver on a real kernel: `resolv.conf` in folders of the test's own, and systemd-resolved played on a
//! message bus of the test's own.

#![allow(clippy::unwrap_used)]

mod lab;
mod played;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use lab::{Namespace, run, runtime};
use mesh_core::plan::{InterfaceName, Plan, Resolver, Ruleset, Subnet};
use mesh_os::machine::{Applied, Options, apply, recover};
use mesh_os::resolver::{self, ResolverState, Way};
use mesh_os::tun;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use played::{Bus, PlayedResolved};

const USERS: &[u8] = b"# from the router\nsearch lan\nnameserver 192.168.1.1\noptions edns0";

/// A root with an `etc`, and the options of a daemon that keeps to it.
struct Root {
    folder: tempfile::TempDir,
    options: Options,
}

impl Root {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("etc")).unwrap();
        let options = Options {
            run: folder.path().join("run"),
            tun: tun::Options::default(),
            firewall: false,
            resolver: Some(resolver::Options {
                root: folder.path().to_owned(),
                bus: resolver::Bus::None,
            }),
        };
        fs::create_dir(&options.run).unwrap();
        Self { folder, options }
    }

    fn with(text: &[u8]) -> Self {
        let root = Self::new();
        fs::write(root.file(), text).unwrap();
        root
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self) -> PathBuf {
        self.path().join("etc/resolv.conf")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    /// The lines of this keyword that count.
    fn lines(&self, keyword: &str) -> Vec<String> {
        let text = self.text();
        let lines = text.lines().filter(|line| line.starts_with(keyword));
        lines.map(str::to_owned).collect()
    }

    async fn up(&self, plan: &Plan) -> Applied {
        let applied = apply(plan, &self.options).await.unwrap();
        let way = Way::File(self.file());
        let is = matches!(applied.resolver(), ResolverState::InForce(by) if *by == way);
        assert!(is, "{:?}", applied.resolver());
        applied
    }

    async fn recover(&self) -> Vec<String> {
        recover(&self.options).await.unwrap()
    }

    /// Nothing of ours is in the folder of the file, nor is anything noted.
    fn assert_clean(&self) {
        let names = |folder: &Path| -> Vec<_> {
            let entries = fs::read_dir(folder).unwrap().flatten();
            entries
                .map(|entry| entry.file_name())
                .filter(|name| name != "applied")
                .collect()
        };
        assert!(
            names(&self.path().join("etc"))
                .iter()
                .all(|name| name == "resolv.conf")
        );
        let noted = names(&self.options.run);
        let files = noted
            .iter()
            .filter(|name| self.options.run.join(name).is_file());
        assert_eq!(files.count(), 0, "{noted:?}");
    }
}

/// A network of this name at `10.N.0.1`.
fn plan(name: &str, n: u8) -> Plan {
    let domains = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
    Plan {
        interface: InterfaceName::FirstFree,
        mtu: 1280,
        addresses: vec![Subnet::new([10, n, 0, 1].into(), 24).unwrap()],
        routes: vec![],
        rules: Ruleset::default(),
        resolver: Some(Resolver {
            servers: vec![[10, n, 0, 1].into(), "fd77::1".parse().unwrap()],
            search: domains(&["mesh.internal", &format!("{name}.mesh.internal")]),
            routed: domains(&[&format!("0.{n}.10.in-addr.arpa")]),
        }),
    }
}

#[test]
fn the_file_names_our_server_first_follows_changes_and_is_put_back_byte_for_byte() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.enter();
    let root = Root::with(USERS);
    fs::set_permissions(root.file(), fs::Permissions::from_mode(0o664)).unwrap();
    std::os::unix::fs::chown(root.file(), Some(7), Some(8)).unwrap();
    runtime().block_on(async {
        let mut applied = root.up(&plan("home", 7)).await;
        assert_eq!(
            root.lines("nameserver"),
            ["nameserver 10.7.0.1", "nameserver 192.168.1.1"]
        );
        assert_eq!(
            root.lines("search"),
            ["search lan mesh.internal home.mesh.internal"]
        );
        assert_eq!(root.lines("options"), ["options edns0"]);
        let metadata = fs::metadata(root.file()).unwrap();
        assert_eq!(
            (metadata.mode() & 0o7777, metadata.uid(), metadata.gid()),
            (0o664, 7, 8)
        );

        applied.update(&plan("home", 9)).await.unwrap();
        assert_eq!(root.lines("nameserver")[0], "nameserver 10.9.0.1");
        applied
            .update(&Plan {
                resolver: None,
                ..plan("home", 9)
            })
            .await
            .unwrap();
        assert_eq!(root.text().as_bytes(), USERS);
        assert!(matches!(applied.resolver(), ResolverState::Off));
        applied.update(&plan("home", 9)).await.unwrap();
        assert_ne!(root.text().as_bytes(), USERS);
        applied.undo().await.unwrap();
    });
    assert_eq!(root.text().as_bytes(), USERS);
    root.assert_clean();
}

#[test]
fn two_networks_share_the_file_and_leave_it_in_any_order() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.enter();
    for first_leaves_first in [true, false] {
        let root = Root::with(USERS);
        runtime().block_on(async {
            let home = root.up(&plan("home", 7)).await;
            let work = root.up(&plan("work", 8)).await;
            assert_eq!(
                root.lines("search"),
                ["search lan mesh.internal home.mesh.internal work.mesh.internal"]
            );
            assert_eq!(
                root.lines("nameserver").len(),
                2,
                "each of ours answers for both"
            );
            let (first, second, left, server) = if first_leaves_first {
                (home, work, "work", "10.8.0.1")
            } else {
                (work, home, "home", "10.7.0.1")
            };
            first.undo().await.unwrap();
            assert_eq!(
                root.lines("search"),
                [format!("search lan mesh.internal {left}.mesh.internal")]
            );
            assert_eq!(root.lines("nameserver")[0], format!("nameserver {server}"));
            second.undo().await.unwrap();
        });
        assert_eq!(root.text().as_bytes(), USERS);
        root.assert_clean();
    }
}

#[test]
fn what_a_killed_process_left_in_the_file_is_taken_out_at_the_next_start_and_after_a_reboot() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.enter();
    for reboot in [false, true] {
        let root = Root::with(USERS);
        runtime().block_on(async {
            drop(root.up(&plan("home", 7)).await);
            assert_ne!(root.text().as_bytes(), USERS);
            if reboot {
                fs::remove_dir_all(&root.options.run).unwrap();
                fs::create_dir(&root.options.run).unwrap();
            } else {
                let noted = fs::metadata(root.options.run.join("resolv.conf.json")).unwrap();
                assert_eq!(noted.mode() & 0o777, 0o600);
            }
            let left = root.recover().await;
            assert_eq!(left.len(), usize::from(!reboot));
            assert_eq!(root.text().as_bytes(), USERS);
            root.assert_clean();
            assert!(root.recover().await.is_empty());
            root.up(&plan("home", 7)).await.undo().await.unwrap();
        });
        assert_eq!(root.text().as_bytes(), USERS);
    }
}

#[test]
fn a_damaged_note_is_named_and_keeps_nothing_else_from_being_removed() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.enter();
    let root = Root::with(USERS);
    let options = Options {
        firewall: true,
        ..root.options.clone()
    };
    runtime().block_on(async {
        drop(apply(&plan("home", 7), &options).await.unwrap());
        fs::write(root.options.run.join("resolv.conf.json"), "{").unwrap();
        let error = recover(&options).await.unwrap_err().to_string();
        assert!(error.contains("resolv.conf.json is damaged"), "{error}");
        assert_eq!(run("nft list tables"), "", "the rules are gone");
    });
}

#[test]
fn a_kill_between_the_note_and_the_change_loses_nothing() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.enter();
    let root = Root::with(USERS);
    runtime().block_on(async {
        let mut applied = root.up(&plan("home", 7)).await;
        let first = root.text();
        applied.update(&plan("home", 9)).await.unwrap();
        // As if the second change had been noted and not made; then as if the first had not been made either.
        for text in [first.as_bytes(), USERS] {
            fs::write(root.file(), text).unwrap();
            let note = fs::read(root.options.run.join("resolv.conf.json")).unwrap();
            root.recover().await;
            assert_eq!(root.text().as_bytes(), USERS);
            fs::write(root.options.run.join("resolv.conf.json"), note).unwrap();
        }
        root.recover().await;
        drop(applied);
    });
}

#[test]
fn what_somebody_writes_meanwhile_stays() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.enter();
    runtime().block_on(async {
        // A line more.
        let root = Root::with(USERS);
        let mut applied = root.up(&plan("home", 7)).await;
        fs::write(root.file(), root.text() + "\nnameserver 9.9.9.9\n").unwrap();
        applied.update(&plan("home", 8)).await.unwrap();
        let servers = [
            "nameserver 10.8.0.1",
            "nameserver 192.168.1.1",
            "nameserver 9.9.9.9",
        ];
        assert_eq!(root.lines("nameserver"), servers);
        fs::write(root.file(), root.text() + "# by hand\n").unwrap();
        applied.undo().await.unwrap();
        let kept = [USERS, b"\nnameserver 9.9.9.9\n# by hand\n"].concat();
        assert_eq!(root.text().as_bytes(), kept);
        root.assert_clean();

        // All of it anew, as a DHCP client does: ours comes back with the next update, and theirs stays at the end.
        let root = Root::with(USERS);
        let mut applied = root.up(&plan("home", 7)).await;
        let theirs = "nameserver 172.16.0.1\n";
        fs::write(root.file(), theirs).unwrap();
        applied.update(&plan("home", 7)).await.unwrap();
        assert_eq!(
            root.lines("nameserver"),
            ["nameserver 10.7.0.1", "nameserver 172.16.0.1"]
        );
        applied.undo().await.unwrap();
        assert_eq!(root.text(), theirs);

        // Anew, and nothing follows but the end.
        let applied = root.up(&plan("home", 7)).await;
        fs::write(root.file(), "search x\n").unwrap();
        applied.undo().await.unwrap();
        assert_eq!(root.text(), "search x\n");

        // Gone.
        let applied = root.up(&plan("home", 7)).await;
        fs::remove_file(root.file()).unwrap();
        applied.undo().await.unwrap();
        assert!(!root.file().exists());
        root.assert_clean();
    });
}

#[test]
fn a_file_that_is_mounted_on_its_own_is_written_in_place() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.enter();
    let root = Root::with(USERS);
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).unwrap();
    mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none).unwrap();
    mount(
        Some(&root.file()),
        &root.file(),
        none,
        MsFlags::MS_BIND,
        none,
    )
    .unwrap();
    let other = root.path().join("other");
    fs::write(&other, "").unwrap();
    let busy = fs::rename(&other, root.file()).unwrap_err();
    assert_eq!(
        busy.raw_os_error(),
        Some(libc::EBUSY),
        "this is the case that is meant"
    );
    fs::remove_file(&other).unwrap();
    let inode = fs::metadata(root.file()).unwrap().ino();
    runtime().block_on(async {
        let applied = root.up(&plan("home", 7)).await;
        assert_eq!(root.lines("nameserver")[0], "nameserver 10.7.0.1");
        applied.undo().await.unwrap();
        assert_eq!(
            root.text().as_bytes(),
            USERS,
            "nothing of the longer text is left behind it"
        );
        drop(root.up(&plan("home", 7)).await);
        root.recover().await;
    });
    assert_eq!(root.text().as_bytes(), USERS);
    assert_eq!(fs::metadata(root.file()).unwrap().ino(), inode);
    root.assert_clean();
}

#[test]
fn a_link_is_made_again_and_what_it_points_to_is_not_written() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.enter();
    for to in ["../managed", "/managed"] {
        for killed in [false, true] {
            let root = Root::new();
            let managed = root.path().join("managed");
            fs::write(&managed, USERS).unwrap();
            symlink(to, root.file()).unwrap();
            runtime().block_on(async {
                let mut applied = root.up(&plan("home", 7)).await;
                assert!(root.file().symlink_metadata().unwrap().is_file());
                assert_eq!(
                    root.lines("nameserver"),
                    ["nameserver 10.7.0.1", "nameserver 192.168.1.1"]
                );
                // Its owner goes on writing it, and that is followed.
                fs::write(&managed, "nameserver 172.16.0.1\n").unwrap();
                applied.update(&plan("home", 7)).await.unwrap();
                assert_eq!(
                    root.lines("nameserver"),
                    ["nameserver 10.7.0.1", "nameserver 172.16.0.1"]
                );
                if killed {
                    drop(applied);
                    root.recover().await;
                } else {
                    applied.undo().await.unwrap();
                }
            });
            assert_eq!(fs::read_link(root.file()).unwrap(), Path::new(to));
            assert_eq!(
                fs::read_to_string(&managed).unwrap(),
                "nameserver 172.16.0.1\n"
            );
            root.assert_clean();
        }
    }
}

#[test]
fn a_link_that_leads_out_of_the_root_is_neither_read_nor_written() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.enter();
    let (root, outside) = (Root::new(), tempfile::tempdir().unwrap());
    let secret = outside.path().join("secret");
    fs::write(&secret, "nameserver 6.6.6.6\n").unwrap();
    let up = "../".repeat(secret.components().count() + 4);
    let to = format!("{up}{}", secret.strip_prefix("/").unwrap().display());
    symlink(&to, root.file()).unwrap();
    assert_eq!(root.text(), "nameserver 6.6.6.6\n", "the link leads there");
    runtime().block_on(async {
        let applied = root.up(&plan("home", 7)).await;
        assert!(!root.text().contains("6.6.6.6"));
        applied.undo().await.unwrap();
    });
    assert_eq!(fs::read_link(root.file()).unwrap(), Path::new(&to));
    assert_eq!(fs::read_to_string(&secret).unwrap(), "nameserver 6.6.6.6\n");
}

#[test]
fn a_missing_file_is_made_for_everybody_to_read_and_is_gone_again() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.enter();
    for killed in [false, true] {
        let root = Root::new();
        runtime().block_on(async {
            let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
            let applied = root.up(&plan("home", 7)).await;
            nix::sys::stat::umask(before);
            assert_eq!(fs::metadata(root.file()).unwrap().mode() & 0o7777, 0o644);
            assert_eq!(root.lines("nameserver")[0], "nameserver 10.7.0.1");
            if killed {
                drop(applied);
                root.recover().await;
            } else {
                applied.undo().await.unwrap();
            }
        });
        assert!(!root.file().exists());
        root.assert_clean();
    }
}

#[test]
fn what_is_no_plain_file_is_left_alone_and_named() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.enter();
    let root = Root::new();
    run(&format!("mkfifo {}", root.file().display()));
    runtime().block_on(async {
        let applied = apply(&plan("home", 7), &root.options).await.unwrap();
        let ResolverState::Failed(error) = applied.resolver() else {
            panic!("{:?}", applied.resolver())
        };
        assert!(error.to_string().contains("not a plain file"), "{error}");
        applied.undo().await.unwrap();
    });
    fs::remove_file(root.file()).unwrap();
    let long = vec![b'#'; 100_000];
    fs::write(root.file(), &long).unwrap();
    runtime().block_on(async {
        let applied = apply(&plan("home", 7), &root.options).await.unwrap();
        assert!(matches!(applied.resolver(), ResolverState::Failed(_)));
        drop(applied);
    });
    assert_eq!(fs::read(root.file()).unwrap(), long);
}

/// Options that name a message bus.
fn with_bus(root: &Root, bus: &Bus) -> Options {
    let mut options = root.options.clone();
    options.resolver.as_mut().unwrap().bus = resolver::Bus::At(bus.address());
    options
}

#[test]
fn resolved_is_told_of_the_interface_and_forgets_it_at_the_end() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.enter();
    let root = Root::with(b"nameserver 127.0.0.53\n");
    let bus = Bus::start(root.path());
    let played = PlayedResolved::on(&bus);
    let options = with_bus(&root, &bus);
    runtime().block_on(async {
        let mut applied = apply(&plan("home", 7), &options).await.unwrap();
        let told = matches!(applied.resolver(), ResolverState::InForce(Way::Resolved));
        assert!(told, "{:?}", applied.resolver());
        let index = nix::net::if_::if_nametoindex("mesh0").unwrap();
        let calls = played.calls();
        let has = |call: &str| {
            let call = call.replace('#', &index.to_string());
            assert!(calls.contains(&call), "{call} is not in {calls:#?}");
        };
        has("SetLinkDNS # 10.7.0.1 fd77::1");
        has("SetLinkDomains # mesh.internal home.mesh.internal ~0.7.10.in-addr.arpa");
        has("SetLinkDefaultRoute # false");
        has("SetLinkDNSSEC # no");
        assert_eq!(
            root.text(),
            "nameserver 127.0.0.53\n",
            "the file leads there already"
        );

        // Nothing changed, nothing is told.
        applied.update(&plan("home", 7)).await.unwrap();
        assert_eq!(played.calls(), calls);
        applied.undo().await.unwrap();
        assert_eq!(played.calls().last(), Some(&format!("RevertLink {index}")));

        // A killed process: the next one has it forgotten, once.
        let applied = apply(&plan("home", 7), &options).await.unwrap();
        let index = nix::net::if_::if_nametoindex("mesh0").unwrap();
        drop(applied);
        let before = played.calls().len();
        assert_eq!(recover(&options).await.unwrap(), ["mesh0"]);
        assert_eq!(played.calls()[before..], [format!("RevertLink {index}")]);
        assert!(recover(&options).await.unwrap().is_empty());
        assert_eq!(played.calls().len(), before + 1);
    });
    assert_eq!(root.text(), "nameserver 127.0.0.53\n");
}

#[test]
fn resolved_is_not_told_where_programs_do_not_ask_it_or_it_does_not_run() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.enter();
    let root = Root::with(USERS);
    let bus = Bus::start(root.path());
    let options = with_bus(&root, &bus);
    runtime().block_on(async {
        let played = PlayedResolved::on(&bus);
        let applied = apply(&plan("home", 7), &options).await.unwrap();
        let by_file = matches!(applied.resolver(), ResolverState::InForce(Way::File(_)));
        assert!(by_file, "{:?}", applied.resolver());
        applied.undo().await.unwrap();
        assert_eq!(played.calls(), Vec::<String>::new());
        drop(played);

        fs::write(root.file(), "nameserver 127.0.0.53\n").unwrap();
        let applied = apply(&plan("home", 7), &options).await.unwrap();
        let by_file = matches!(applied.resolver(), ResolverState::InForce(Way::File(_)));
        assert!(by_file, "{:?}", applied.resolver());
        applied.undo().await.unwrap();
    });
    assert_eq!(root.text(), "nameserver 127.0.0.53\n");
}

#[test]
fn a_resolved_that_refuses_is_a_named_problem_and_no_failure() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.enter();
    let root = Root::new();
    let bus = Bus::start(root.path());
    let played = PlayedResolved::on(&bus);
    played.refuse();
    runtime().block_on(async {
        let applied = apply(&plan("home", 7), &with_bus(&root, &bus))
            .await
            .unwrap();
        let ResolverState::Failed(error) = applied.resolver() else {
            panic!("{:?}", applied.resolver())
        };
        assert!(error.to_string().contains("not today"), "{error}");
        assert!(run("ip address show mesh0").contains("10.7.0.1/24"));
    });
}
