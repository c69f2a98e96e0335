//! `mesh get`, `mesh get KEY`

use mesh_control::{Code, Error, call};

use crate::context::Context;
use crate::render;

/// Show the settings of a network, or the value of one
#[derive(clap::Args)]
pub struct Args {
    /// The setting; without it, all
    key: Option<String>,
}

pub(crate) async fn run(args: Args, context: &mut Context) -> Result<(), Error> {
    let network = context.network();
    let settings = context.call(call::Settings { network }).await;
    let settings = context.suggest(settings, &[]).await?;
    let Some(key) = args.key else {
        return context.print("settings", &settings, render::settings);
    };
    let mut all = settings.settings.iter();
    let Some(setting) = all.find(|setting| setting.key == key) else {
        let error = format!("there is no setting {key:?}");
        return Err(Error::new(Code::NotFound, error).hint("mesh get"));
    };
    context.print("setting", setting, |setting, _| render::setting(setting))
}
