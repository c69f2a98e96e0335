//! The small internet of the demo: one segment outside, and homes behind routers.

use std::path::Path;

use crate::machine::Machine;
use crate::system::Failure;

/// What is outside of homes: 203.0.113.0/24.
pub(super) struct Internet {
    switch: Machine,
}

/// A segment behind a router: 192.168.1.0/24, as in most homes.
pub(super) struct Home {
    switch: Machine,
    _router: Machine,
}

/// How a router translates.
#[derive(Clone, Copy)]
pub(super) enum Nat {
    /// As routers at home do: a machine has one address outside, and who was asked can answer.
    Home,
    /// As in many offices and hotels: another port outside for each destination, so that nobody can be told one.
    Symmetric,
}

impl Internet {
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self {
            switch: Machine::switch()?,
        })
    }

    /// Plugs a machine in.
    pub(super) fn plug(&self, machine: &Machine, address: &str) -> Result<(), Failure> {
        machine.plug(&self.switch, address)
    }

    /// A home with that address outside.
    pub(super) fn home(&self, name: &str, address: &str, nat: Nat) -> Result<Home, Failure> {
        let (switch, router) = (Machine::switch()?, Machine::new(name, Path::new("/"))?);
        router.plug_as("inside", &switch, GATEWAY)?;
        router.plug_as("outside", &self.switch, address)?;
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        let _ = router.output(&["sh", "-c", forward])?;
        let masquerade = match nat {
            Nat::Home => "masquerade",
            Nat::Symmetric => "masquerade random,fully-random",
        };
        // What nobody inside asked for is dropped, as every router does.
        let rules = format!(
            "table ip router {{
                chain translate {{ type nat hook postrouting priority srcnat; oifname outside {masquerade}; }}
                chain arriving {{ type filter hook input priority filter; iifname outside ct state new drop; }}
                chain passing {{ type filter hook forward priority filter;
                    iifname outside ct state != {{ established, related }} drop; }}
            }}"
        );
        let output = router.output(&["nft", &rules])?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            return Err(format!("the router of {name}: {}", why.trim()));
        }
        Ok(Home {
            switch,
            _router: router,
        })
    }
}

impl Home {
    /// Plugs a machine in; if it was plugged in elsewhere it is no longer.
    pub(super) fn plug(&self, machine: &Machine, address: &str) -> Result<(), Failure> {
        // It fails where there is nothing to unplug.
        let _ = machine.output(&["ip", "link", "delete", "eth0"])?;
        machine.plug(&self.switch, address)?;
        machine.run(&format!("ip route replace default via {GATEWAY}"))
    }
}

const GATEWAY: &str = "192.168.1.254";
