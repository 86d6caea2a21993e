//! Live control: people step into running conversations, one at a time, on every vendor that allows it.
//!
//! Somebody takes a conversation over and gets a lease; commands need it. A command is taken once its event is durable, and then
//! carried out by the vendor's own means ([`vendor`]); what became of it is an event too. Who does not renew the lease loses it.
//!
//! - [`conversation`] and [`reader`]: what the log says of running conversations, as far as it takes to steer them.
//! - [`order`] and [`ending`]: the rules, decided over a [`scene`] of one conversation that the [`store`] holds locked.
//! - [`announcer`]: tells the log, in order, whatever happened.
//! - [`work`]: carries commands out at vendors, and ends what ends by itself.
//! - [`subscribe`]: hands own agents their commands.
//!
//! It runs in the process that runs notification: both speak to the world outside.

pub mod announcer;
pub mod bell;
pub mod command;
pub mod control;
pub mod conversation;
pub mod convert;
pub mod credentials;
pub mod ending;
pub mod error;
pub mod grpc;
pub mod lease;
pub mod lookup;
pub mod order;
pub mod reader;
pub mod scene;
mod settings;
pub mod share;
pub mod store;
pub mod subscribe;
pub mod timing;
pub mod vendor;
pub mod work;

use std::sync::Arc;

use anyhow::Context;
use colloquy_log_client::{Appender, UnknownEvents};
use colloquy_proto::control::v1::control_service_server::SERVICE_NAME;
use colloquy_service::{Progress, Service, Task};
use colloquy_storage::{Database, DatabaseUrl, Durability};
use colloquy_types::Provider;

pub use control::Vendors;
pub use settings::{Deps, Settings};
pub use timing::Timing;

/// What the service's database and its reader are called.
pub const NAME: &str = "control";

/// Opens the database, and returns the service with its tasks.
///
/// # Errors
/// When the database cannot be opened, or outbound requests cannot be set up.
pub async fn build(settings: Settings, deps: Deps) -> anyhow::Result<Service> {
    let vendors = vendor::all(settings.outbound.clone()).context("cannot set up calls to vendors")?;
    build_over(settings, deps, vendors.into_iter().collect(), Timing::default()).await
}

/// Does the same over vendors of the caller's choice; own agents are added.
///
/// # Errors
/// When the database cannot be opened.
pub async fn build_over(settings: Settings, deps: Deps, mut vendors: Vendors, timing: Timing) -> anyhow::Result<Service> {
    vendors.insert(Provider::Native, Arc::new(vendor::native::OwnAgents));
    // Leases and commands are kept nowhere else.
    let database = Database::open(&settings.database, NAME, Durability::Full, &store::migrations()).await?;
    let store = store::open(&database);
    let progress = Progress::starting_at(store.position().await?);
    let Deps { clock, stop, ingestion, conversations } = deps;
    let reader = Arc::new(reader::Reader::new(Arc::clone(&store), Arc::clone(&clock), UnknownEvents::of(&database)));
    let bell = bell::Bell::new();
    let log = Appender::new(ingestion.clone());
    let control = Arc::new(control::Control {
        announcer: announcer::Announcer::new(Arc::clone(&store), log, Arc::clone(&clock), bell.clone()),
        lookup: lookup::Lookup::new(Arc::clone(&store), conversations, Arc::clone(&clock)),
        credentials: credentials::Credentials::new(ingestion.clone()),
        store,
        vendors,
        clock: Arc::clone(&clock),
        bell,
        timing,
    });
    let checks = vec![database.observe(NAME), colloquy_log_client::check(store::READER, ingestion.clone(), clock)];
    Ok(Service {
        name: NAME,
        grpc_names: vec![SERVICE_NAME],
        routes: tonic::service::Routes::new(grpc::Handler::server(Arc::clone(&control), stop.clone())),
        tasks: vec![
            Task::new("control reader", colloquy_log_client::run(reader, ingestion, progress, stop.clone())),
            Task::new("control worker", work::worker::run(Arc::clone(&control), stop.clone())),
            Task::new("control sweeper", work::sweeper::run(control, stop)),
        ],
        checks,
    })
}

/// Brings the database up to date.
///
/// # Errors
/// When it cannot be opened or migrated.
pub async fn migrate(url: &DatabaseUrl) -> anyhow::Result<()> {
    Database::open(url, NAME, Durability::Full, &store::migrations()).await?.close().await;
    Ok(())
}
