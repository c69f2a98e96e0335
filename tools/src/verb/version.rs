//! `mesh version`

use mesh_control::Error;
use serde::Serialize;

use crate::context::Context;
use crate::render::Line;

/// Show the versions of mesh and meshd
#[derive(clap::Args)]
pub struct Args {}

#[derive(Serialize)]
struct Versions {
    mesh: &'static str,
    protocol: u32,
    meshd: Option<String>,
}

pub(crate) async fn run(_: Args, context: &mut Context) -> Result<(), Error> {
    // A daemon that does not run or may not be asked is no error here: this is what one types to find out.
    let meshd = context
        .connect()
        .await
        .ok()
        .map(|client| client.version().to_owned());
    let versions = Versions {
        mesh: env!("CARGO_PKG_VERSION"),
        protocol: mesh_control::PROTOCOL,
        meshd,
    };
    context.print("version", &versions, |versions, _| {
        let meshd = versions.meshd.as_deref().unwrap_or("does not answer");
        vec![
            Line::plain(format!("mesh   {}", versions.mesh)),
            Line::plain(format!("meshd  {meshd}")),
        ]
    })
}
