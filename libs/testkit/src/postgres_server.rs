//! A PostgreSQL cluster of one test's own, which can be hurt.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use crate::{ports, until};

const PATIENCE: Duration = Duration::from_secs(30);

/// A PostgreSQL server. Stopped and removed when dropped.
pub struct PostgresServer {
    programs: PathBuf,
    folder: TempDir,
    address: SocketAddr,
}

impl PostgresServer {
    /// Makes a cluster that takes at most `max_connections` and starts it.
    ///
    /// # Panics
    /// When PostgreSQL is not installed.
    pub async fn start(max_connections: u16) -> Self {
        // Not under TMPDIR: that may be closed to the postgres user, and a socket's path must stay short.
        let folder = tempfile::Builder::new().prefix("colloquy-postgres-").tempdir_in("/tmp").unwrap();
        let server = Self { programs: programs(), folder, address: ports::free_address() };
        if is_root() {
            let owned = Command::new("chown").arg("postgres").arg(server.folder.path()).status().unwrap();
            assert!(owned.success(), "{} cannot be given to postgres", server.folder.path().display());
        }
        let data = server.data();
        server
            .run("initdb", &["--pgdata", &data, "--username", "colloquy", "--auth", "trust", "--no-sync", "--encoding", "UTF8"]);
        let port = server.address.port();
        let socket = server.folder.path().display();
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{socket}'\nmax_connections = {max_connections}\n"
        );
        let file = server.folder.path().join("data/postgresql.conf");
        let given = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, given + &settings).unwrap();
        server.control(&["start"]);
        server.wait_until_answering().await;
        server
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns its database's URL.
    pub fn url(&self) -> String {
        self.url_through(self.address)
    }

    /// Returns its database's URL by way of a proxy.
    pub fn url_through(&self, address: SocketAddr) -> String {
        format!("postgres://colloquy@{address}/postgres")
    }

    /// Stops it as a crash would, connections and all, and starts it again after `down`.
    pub async fn restart_immediate(&self, down: Duration) {
        self.crash();
        tokio::time::sleep(down).await;
        self.restart().await;
    }

    /// Stops it as a crash would, connections and all.
    pub fn crash(&self) {
        self.control(&["--mode=immediate", "stop"]);
    }

    /// Starts it again after [`PostgresServer::crash`]; it then recovers from its log.
    pub async fn restart(&self) {
        self.control(&["start"]);
        self.wait_until_answering().await;
    }

    /// Returns a connection to it.
    pub async fn connect(&self) -> sqlx::Result<PgConnection> {
        PgConnection::connect(&self.url()).await
    }

    async fn wait_until_answering(&self) {
        until(PATIENCE, "PostgreSQL answers", || async { self.connect().await.is_ok() }).await;
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn control(&self, arguments: &[&str]) {
        let log = self.folder.path().join("server.log").display().to_string();
        let data = self.data();
        let mut all = vec!["--pgdata", &data, "--log", &log, "--wait", "--silent", "--timeout=30"];
        all.extend(arguments);
        self.run("pg_ctl", &all);
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let output = self.output(program, arguments);
        assert!(output.status.success(), "{program} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs one of its programs. PostgreSQL refuses to run as root, so root hands it to the user that its package made.
    fn output(&self, program: &str, arguments: &[&str]) -> Output {
        let path = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        // A server keeps what it is started with open: not the pipes of this test's own output.
        let errors = self.folder.path().join("errors.log");
        let file = std::fs::File::create(&errors).unwrap();
        command.args(arguments).current_dir("/").stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        let status = command.stderr(file).status().unwrap();
        Output { status, stdout: Vec::new(), stderr: std::fs::read(errors).unwrap_or_default() }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        let data = self.data();
        if Path::new(&data).join("postmaster.pid").exists() {
            self.output("pg_ctl", &["--pgdata", &data, "--mode=immediate", "--wait", "--silent", "stop"]);
        }
    }
}

fn is_root() -> bool {
    // What the kernel says of this process; there is no safe call for it in the standard library.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut user = status.lines().filter_map(|line| line.strip_prefix("Uid:"));
    user.next().and_then(|ids| ids.split_whitespace().next()).is_some_and(|id| id == "0")
}

/// Returns the folder with the programs of the newest PostgreSQL.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let mut found: Vec<PathBuf> = versions.filter(|folder| folder.join("initdb").exists()).collect();
    found.sort();
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    found
        .pop()
        .or_else(|| std::env::split_paths(&in_path).find(|folder| folder.join("initdb").exists()))
        .expect("PostgreSQL is installed; tests/run installs it")
}
