//! All processes of one installation, and the addresses under which they know each other.

use std::any::Any;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use colloquy_testkit::ports;
use tempfile::TempDir;
use uuid::Uuid;

use crate::engine::{Engine, Suite};
use crate::member::Member;

/// The administrator key every installation is started with.
pub(crate) const ADMIN_KEY: &str = "e2e-administrator-key";

/// How much of a line of a log is shown.
const LONGEST_LINE: usize = 500;

/// The processes of one installation. They share a master key and nothing else but their engines.
pub struct Installation {
    // Dropped in this order: the processes end, what is beneath their folders is let go, and then the folders go.
    members: Vec<Member>,
    beneath: Vec<Box<dyn Any + Send + Sync>>,
    folder: TempDir,
}

impl Installation {
    /// Lays out the processes that `engine` stands for, with further environment variables for all of them. None is started.
    pub fn new(engine: &Engine, settings: &[(&str, &str)]) -> Self {
        let folder = TempDir::with_prefix("colloquy-").unwrap();
        let members = match engine {
            Engine::Sqlite => vec![alone(folder.path(), Vec::new())],
            Engine::Postgres(url) => vec![alone(folder.path(), vec![("COLLOQUY_DATABASE_URL", url.clone())])],
            Engine::Suite(suite) => apart(folder.path(), suite),
        };
        let mut installation = Self { members, beneath: Vec::new(), folder };
        for member in &mut installation.members {
            member.set("NO_COLOR", "1");
        }
        for member in &mut installation.members {
            for (name, value) in settings {
                member.set(name, *value);
            }
        }
        installation
    }

    /// Starts every process and waits until all are ready.
    pub async fn start(&mut self) {
        for member in &mut self.members {
            member.start();
        }
        for member in &mut self.members {
            member.ready().await;
        }
    }

    /// Returns the folder that holds the data folders of all processes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns every process.
    pub fn members(&mut self) -> &mut [Member] {
        &mut self.members
    }

    /// Returns every process, to look at.
    pub(crate) fn all(&self) -> &[Member] {
        &self.members
    }

    /// Returns the processes that run `service`.
    pub fn of<'a>(&'a mut self, service: &'a str) -> impl Iterator<Item = &'a mut Member> {
        self.members.iter_mut().filter(move |member| member.service() == Some(service))
    }

    /// Returns the process called `name`.
    pub fn member(&mut self, name: &str) -> &mut Member {
        self.members.iter_mut().find(|member| member.name() == name).unwrap_or_else(|| panic!("there is no {name}"))
    }

    /// Returns where the processes of `service` have been told to listen for gRPC.
    pub fn grpc_of(&self, service: &str) -> Vec<SocketAddr> {
        let members = self.members.iter().filter(|member| member.service() == Some(service));
        members.map(|member| member.setting("COLLOQUY_GRPC_ADDR").unwrap().parse().unwrap()).collect()
    }

    /// Makes the processes of `service` call `other` at `addresses`: from their next start.
    pub fn route(&mut self, service: &str, other: &str, addresses: &[SocketAddr]) {
        let (name, url) = (url_setting(other), url_of(addresses));
        for member in self.of(service) {
            member.set(&name, url.clone());
        }
    }

    /// Keeps what lies beneath the processes' folders, a mounted disk for example, until the processes have ended.
    pub fn keep(&mut self, beneath: impl Any + Send + Sync) {
        self.beneath.push(Box::new(beneath));
    }

    /// Returns what all processes wrote.
    pub fn log(&self) -> String {
        match self.members.as_slice() {
            [only] => only.log(),
            members => members.iter().map(|member| format!("==== {}\n{}\n", member.name(), member.log())).collect(),
        }
    }

    /// Returns the last lines of each process.
    pub fn last_words(&self, lines: usize) -> String {
        let tail = |member: &Member| {
            let log = member.log();
            let skipped = log.lines().count().saturating_sub(lines);
            let lines = log.lines().skip(skipped).map(|line| line.chars().take(LONGEST_LINE).collect::<String>());
            lines.map(|line| format!("{}: {line}\n", member.name())).collect::<String>()
        };
        self.members.iter().map(tail).collect()
    }
}

/// One process for everything. Its data folder is the installation's, and it listens on whatever ports are free.
fn alone(folder: &Path, mut settings: Vec<(&str, String)>) -> Member {
    settings.push(("COLLOQUY_BOOTSTRAP_API_KEY", ADMIN_KEY.to_owned()));
    let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value));
    let anywhere = ["HTTP", "GRPC", "METRICS"].map(|name| (format!("COLLOQUY_{name}_ADDR"), "127.0.0.1:0".to_owned()));
    Member::alone(folder, settings.chain(anywhere).collect())
}

/// A process for each service, and two of most where they share a log; a log in a data folder belongs to one process.
fn apart(folder: &Path, suite: &Suite) -> Vec<Member> {
    let many = if suite.log.is_some() { 2 } else { 1 };
    let counts = [
        ("access", 1),
        ("ingestion", many),
        ("conversation-store", many),
        ("transcript", many),
        ("analytics", many),
        ("notification", many),
        ("edge", 2),
    ];
    let places: Vec<(&'static str, usize, SocketAddr)> = counts
        .into_iter()
        .flat_map(|(service, count)| (1..=count).map(move |number| (service, number, ports::free_address())))
        .collect();
    let mut shared = vec![
        ("COLLOQUY_DATABASE_URL".to_owned(), suite.database_url.clone()),
        ("COLLOQUY_MASTER_KEY".to_owned(), format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())),
        ("COLLOQUY_BOOTSTRAP_API_KEY".to_owned(), ADMIN_KEY.to_owned()),
        ("COLLOQUY_METRICS_ADDR".to_owned(), "127.0.0.1:0".to_owned()),
        ("COLLOQUY_OBJECTS_URL".to_owned(), suite.objects_url.clone().unwrap_or_else(|| shared_folder(folder))),
    ];
    if let Some(log) = &suite.log {
        shared.push(("COLLOQUY_LOG_URL".to_owned(), log.url.clone()));
        shared.push(("COLLOQUY_LOG_STREAM".to_owned(), log.stream.clone()));
        shared.push(("COLLOQUY_LOG_REPLICAS".to_owned(), log.replicas.to_string()));
        shared.push(("COLLOQUY_LOG_ACK_WAIT_SECONDS".to_owned(), log.ack_wait_seconds.to_string()));
    }
    for service in ["access", "ingestion", "conversation-store", "transcript", "analytics", "notification"] {
        let replicas: Vec<SocketAddr> =
            places.iter().filter(|(name, ..)| *name == service).map(|(.., address)| *address).collect();
        shared.push((url_setting(service), url_of(&replicas)));
    }
    let member = |(service, number, grpc): (&'static str, usize, SocketAddr)| {
        let name = format!("{service}-{number}");
        let mut settings = shared.clone();
        settings.push(("COLLOQUY_GRPC_ADDR".to_owned(), grpc.to_string()));
        // Known before the start and kept over a restart, as an address that clients have been given.
        settings.push(("COLLOQUY_HTTP_ADDR".to_owned(), ports::free_address().to_string()));
        Member::of(service, &name, folder, settings)
    };
    places.into_iter().map(member).collect()
}

fn shared_folder(folder: &Path) -> String {
    let objects: PathBuf = folder.join("objects");
    format!("file://{}", objects.display())
}

fn url_setting(service: &str) -> String {
    format!("COLLOQUY_{}_URL", service.replace('-', "_").to_uppercase())
}

/// Returns the URL under which all replicas are reached.
fn url_of(addresses: &[SocketAddr]) -> String {
    format!("http://{}", addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(","))
}
