//! The systemd units of meshd and mesh-server, as `mesh service install` writes them.

use std::path::Path;

use clap::ValueEnum;

/// A program that can be a service.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// The daemon of this machine
    Meshd,
    /// A server for networks
    MeshServer,
}

impl Program {
    /// Its file's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Meshd => "meshd",
            Self::MeshServer => "mesh-server",
        }
    }

    /// Its unit: `executable run`, with `options` behind.
    pub(crate) fn unit(self, executable: &Path, options: &[String]) -> String {
        let executable = executable.to_string_lossy();
        let words = [executable.as_ref(), "run"].into_iter();
        let command: Vec<String> = words
            .chain(options.iter().map(String::as_str))
            .map(word)
            .collect();
        let template = match self {
            Self::Meshd => MESHD,
            Self::MeshServer => MESH_SERVER,
        };
        template.replace("@COMMAND@", &command.join(" "))
    }
}

/// A word as systemd reads it in `ExecStart=`.
fn word(word: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in word.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '%' | '$' => quoted.extend([letter, letter]),
            // A line of its own could be a setting of its own.
            letter if letter.is_control() => {}
            letter => quoted.push(letter),
        }
    }
    quoted + "\""
}

/// It needs the network's settings, port 53 of its own addresses, and the control socket's group; and, where no
/// systemd-resolved runs, /etc/resolv.conf.
const MESHD: &str = "\
[Unit]
Description=mesh, a peer-to-peer WireGuard mesh VPN
After=network.target dbus.service systemd-resolved.service

[Service]
Type=notify
ExecStart=@COMMAND@
Restart=always
RestartSec=1
TimeoutStopSec=20
LimitCORE=0
UMask=0077
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER
NoNewPrivileges=yes
DevicePolicy=closed
DeviceAllow=/dev/net/tun rw
ProtectSystem=yes
ProtectHome=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
";

/// Its standard output is the text with the permit, which is not for the journal.
const MESH_SERVER: &str = "\
[Unit]
Description=mesh-server, sealed copies of mesh networks and a relay
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStart=@COMMAND@
StandardOutput=null
Restart=always
RestartSec=1
TimeoutStopSec=20
LimitCORE=0
DynamicUser=yes
StateDirectory=mesh-server
StateDirectoryMode=0700
UMask=0077
LimitNOFILE=65536
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes
PrivateDevices=yes
ProtectSystem=strict
ProtectHome=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_runs_the_program_with_its_options_as_they_were_typed() {
        let options = ["--host".to_owned(), "50% $x \"y\"\nUser=root".to_owned()];
        let unit = Program::MeshServer.unit(Path::new("/usr/local/bin/mesh-server"), &options);
        let command = unit.lines().find(|line| line.starts_with("ExecStart="));
        assert_eq!(
            command,
            Some(
                r#"ExecStart="/usr/local/bin/mesh-server" "run" "--host" "50%% $$x \"y\"User=root""#
            )
        );
    }
}
