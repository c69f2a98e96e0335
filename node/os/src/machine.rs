//! A plan, carried out; changed; undone.
//!
//! The order is that of safety: rules before addresses, addresses before the interface is up; and the journal before the
//! rules, since those outlive a killed process; and last the system's resolver, which is told of a name server only when it
//! can be reached, and has notes of its own. Taking back goes the other way. [`recover`] reads the journal and the notes and
//! removes what is left.

mod journal;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use mesh_core::plan::Plan;

use self::journal::Journal;
use crate::dirs::DirsError;
use crate::firewall::{self, FirewallError};
use crate::link::{LinkError, Links};
use crate::resolver::{self, ResolverError, ResolverState, Way};
use crate::tun::{self, Tun, TunError};

/// How to carry plans out.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the journal is kept: the daemon's run folder.
    pub run: PathBuf,
    /// How to make the interface.
    pub tun: tun::Options,
    /// Whether to write rules into the native firewall. Without, the filter in the process is all there is.
    pub firewall: bool,
    /// Which resolver is ours to change; none is without.
    pub resolver: Option<resolver::Options>,
}

/// Why a plan could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The interface could not be made.
    #[error(transparent)]
    Tun(#[from] TunError),
    /// The interface could not be set up.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The journal could not be kept.
    #[error("the journal of changes to this machine could not be kept")]
    Journal(#[from] DirsError),
    /// The native firewall could not be cleared.
    #[error(transparent)]
    Firewall(#[from] FirewallError),
    /// The system's resolver could not be put back.
    #[error(transparent)]
    Resolver(#[from] ResolverError),
}

/// Whether the native firewall follows the plan.
#[derive(Debug)]
pub enum FirewallState {
    /// It does.
    InForce,
    /// It was not asked to.
    Off,
    /// It does not; the filter in the process holds all the same.
    Absent(FirewallError),
}

/// A plan that is in force.
#[derive(Debug)]
pub struct Applied {
    tun: Arc<Tun>,
    plan: Plan,
    links: Links,
    journal: Journal,
    options: Options,
    firewall: FirewallState,
    resolver: ResolverState,
}

/// Carries a plan out: an interface, its rules, its addresses, its routes. Needs a tokio runtime. If it fails, nothing is
/// left. That the native firewall or the resolver does not follow is no failure: see [`Applied::firewall`] and
/// [`Applied::resolver`].
///
/// # Errors
/// See [`MachineError`].
pub async fn apply(plan: &Plan, options: &Options) -> Result<Applied, MachineError> {
    let links = Links::open()?;
    let tun = Arc::new(Tun::create(plan.interface, options.tun)?);
    let journal = Journal::open(&options.run, tun.name())?;
    let mut applied = Applied {
        tun,
        plan: Plan {
            addresses: vec![],
            routes: vec![],
            resolver: None,
            ..plan.clone()
        },
        links,
        journal,
        options: options.clone(),
        firewall: FirewallState::Off,
        resolver: ResolverState::Off,
    };
    let wanted = Plan {
        interface: applied.plan.interface,
        ..plan.clone()
    };
    let done = async {
        applied.journal.note()?;
        applied.rules(&wanted).await;
        applied.settings(&wanted).await?;
        let up = applied.links.up(applied.tun.index(), wanted.mtu).await;
        up?;
        // Routes can only be made once the interface is up.
        applied.routes(&wanted).await?;
        applied.names(&wanted).await
    };
    match done.await {
        Ok(()) => Ok(applied),
        Err(error) => {
            if let Err(undone) = applied.undo().await {
                tracing::error!(
                    error = &undone as &dyn std::error::Error,
                    "a failed change could not be taken back"
                );
            }
            Err(error)
        }
    }
}

/// Removes what a process that was killed left of plans carried out with these options, and says of which interfaces. To be
/// called before anything else is applied, by the only daemon that uses the folder.
///
/// # Errors
/// See [`MachineError`]. What was not removed stays in the journal.
pub async fn recover(options: &Options) -> Result<Vec<String>, MachineError> {
    let mut removed = BTreeSet::new();
    let names = match &options.resolver {
        Some(resolver) => resolver::recover(resolver, &options.run).await,
        None => Ok(vec![]),
    };
    for journal in Journal::left(&options.run)? {
        // If an interface has the name, it is somebody else's by now, and so is the table: ours went with our process.
        if Links::open()?.find(journal.interface()).await?.is_none() {
            match firewall::remove(journal.interface()).await {
                Ok(()) => drop(removed.insert(journal.interface().to_owned())),
                Err(FirewallError::Missing) => {}
                Err(error) => return Err(error.into()),
            }
        }
        journal.clear()?;
    }
    // Last, so that one damaged file does not keep the rules where they are.
    removed.extend(names?);
    Ok(removed.into_iter().collect())
}

impl Applied {
    /// The interface's other end, for the packet threads.
    #[must_use]
    pub const fn tun(&self) -> &Arc<Tun> {
        &self.tun
    }

    /// The interface's name.
    #[must_use]
    pub fn interface(&self) -> &str {
        self.tun.name()
    }

    /// The plan that is in force.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether the native firewall follows.
    #[must_use]
    pub const fn firewall(&self) -> &FirewallState {
        &self.firewall
    }

    /// Whether the system's resolver follows.
    #[must_use]
    pub const fn resolver(&self) -> &ResolverState {
        &self.resolver
    }

    /// Goes over to another plan; what is equal is left alone. The interface keeps its name.
    ///
    /// # Errors
    /// See [`MachineError`]; what was done by then stays, and another update takes it from there.
    pub async fn update(&mut self, plan: &Plan) -> Result<(), MachineError> {
        if plan.rules != self.plan.rules || matches!(self.firewall, FirewallState::Absent(_)) {
            self.rules(plan).await;
        }
        self.settings(plan).await?;
        if plan.mtu != self.plan.mtu {
            self.links.up(self.tun.index(), plan.mtu).await?;
            self.plan.mtu = plan.mtu;
        }
        self.routes(plan).await?;
        self.names(plan).await
    }

    /// Changes the interface in a way that means nothing, for those who watch the machine for changes.
    ///
    /// # Errors
    /// See [`MachineError`].
    pub async fn stir(&self) -> Result<(), MachineError> {
        Ok(self.links.stir(self.tun.index()).await?)
    }

    /// Takes everything back: names, addresses, routes, the interface, and last the rules. The packet threads must have
    /// been stopped.
    ///
    /// # Errors
    /// See [`MachineError`]; [`recover`] can finish what failed.
    pub async fn undo(mut self) -> Result<(), MachineError> {
        let names = self.forget_names().await;
        self.links.delete(self.tun.index()).await?;
        if !matches!(self.firewall, FirewallState::Off) {
            match firewall::remove(self.tun.name()).await {
                Err(FirewallError::Missing) | Ok(()) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.journal.clear()?;
        Ok(names?)
    }

    async fn rules(&mut self, plan: &Plan) {
        self.plan.rules = plan.rules.clone();
        if self.options.firewall {
            self.firewall = match firewall::replace(self.tun.name(), &plan.rules).await {
                Ok(()) => FirewallState::InForce,
                Err(error) => FirewallState::Absent(error),
            };
        }
    }

    async fn settings(&mut self, plan: &Plan) -> Result<(), MachineError> {
        let index = self.tun.index();
        for old in self.plan.addresses.clone() {
            if !plan.addresses.contains(&old) {
                self.links.remove_address(index, old).await?;
                self.plan.addresses.retain(|address| *address != old);
            }
        }
        for new in &plan.addresses {
            if !self.plan.addresses.contains(new) {
                self.links.add_address(index, *new).await?;
                self.plan.addresses.push(*new);
            }
        }
        Ok(())
    }

    async fn routes(&mut self, plan: &Plan) -> Result<(), MachineError> {
        let index = self.tun.index();
        for old in self.plan.routes.clone() {
            if !plan.routes.contains(&old) {
                self.links.remove_route(index, old).await?;
                self.plan.routes.retain(|route| *route != old);
            }
        }
        for new in &plan.routes {
            if !self.plan.routes.contains(new) {
                self.links.add_route(index, *new).await?;
                self.plan.routes.push(*new);
            }
        }
        Ok(())
    }

    /// Points the system's resolver at what the plan names, and back to it if somebody changed that.
    async fn names(&mut self, plan: &Plan) -> Result<(), MachineError> {
        let (Some(options), Some(wanted)) = (&self.options.resolver, &plan.resolver) else {
            return Ok(self.forget_names().await?);
        };
        let (name, index) = (self.tun.name(), self.tun.index());
        let told = matches!(self.resolver, ResolverState::InForce(Way::Resolved));
        if told && self.plan.resolver == plan.resolver {
            return Ok(());
        }
        self.plan.resolver.clone_from(&plan.resolver);
        self.resolver = match resolver::set(options, &self.options.run, name, index, wanted).await {
            Ok(way) => ResolverState::InForce(way),
            Err(error) => ResolverState::Failed(error),
        };
        Ok(())
    }

    async fn forget_names(&mut self) -> Result<(), ResolverError> {
        if let Some(options) = &self.options.resolver
            && self.plan.resolver.is_some()
        {
            resolver::unset(options, &self.options.run, self.tun.name()).await?;
        }
        self.plan.resolver = None;
        self.resolver = ResolverState::Off;
        Ok(())
    }
}
