//! The real program as a process that is going to be killed.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use xbr_store::kill_point::{Step, VARIABLE};

/// The topic of the one feed.
pub(crate) const TOPIC: &str = "io.crossbar.example";

/// The folder of one seller: its keys, configuration, store and logs.
pub(crate) struct Folder {
    folder: TempDir,
    starts: u32,
}

/// A running program.
pub(crate) struct Program {
    child: Child,
}

impl Folder {
    pub(crate) fn new(url: &str, market_maker: &str, delegate_secret: &[u8; 32]) -> Self {
        let folder = TempDir::new().unwrap();
        let mut key = File::options();
        let key = key.write(true).create_new(true).mode(0o600).open(folder.path().join("seller.key"));
        writeln!(key.unwrap(), "{}", hex::encode(delegate_secret)).unwrap();
        let config = format!(
            r#"
                [seller]
                key_file = "seller.key"
                market_maker = "{market_maker}"
                [market]
                url = "{url}"
                realm = "realm1"
                [store]
                path = "seller.db"
                [[api]]
                id = "627f1b5c-58c2-43b1-8422-a34f7d3f5a04"
                prefix = "{TOPIC}"
                price = "35"
                count = 2
                [[feed]]
                source = "stdin"
                api = "627f1b5c-58c2-43b1-8422-a34f7d3f5a04"
                uri = "{TOPIC}"
            "#
        );
        fs::write(folder.path().join("seller.toml"), config).unwrap();
        Self { folder, starts: 0 }
    }

    /// Starts the program, which ends itself at a step if one is given, and publishes these lines.
    pub(crate) fn start(&mut self, kill: Option<(Step, u32)>, lines: &[String]) -> Program {
        self.starts += 1;
        let log = File::create(self.log(self.starts)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_xbr-seller"));
        command.args(["run", "--config", "seller.toml"]).current_dir(self.folder.path()).env_clear();
        if let Some((step, count)) = kill {
            command.env(VARIABLE, format!("{}:{count}", step.name()));
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut text = lines.join("\n");
        text.push('\n');
        // So few that the pipe takes them all; a program that has gone has no use for them.
        let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
        Program { child }
    }

    fn log(&self, start: u32) -> PathBuf {
        self.folder.path().join(format!("start{start}.log"))
    }

    /// What the last program has logged.
    pub(crate) fn last_log(&self) -> String {
        fs::read_to_string(self.log(self.starts)).unwrap()
    }

    /// A copy of the store as the last program has left it, so that looking at it changes nothing.
    pub(crate) fn copy(&self) -> Option<(TempDir, PathBuf)> {
        let copy = TempDir::new().unwrap();
        let copied = |suffix: &str| {
            let name = format!("seller.db{suffix}");
            fs::copy(self.folder.path().join(&name), copy.path().join(&name)).is_ok()
        };
        let there = copied("") && copied(".master");
        copied("-wal");
        let path = copy.path().join("seller.db");
        there.then_some((copy, path))
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Program {
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// `SIGKILL`, from outside.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
    }

    /// Waits for the end of a program that was killed, by itself or from outside.
    pub(crate) fn killed(mut self) -> bool {
        self.child.wait().unwrap().signal() == Some(9)
    }

    /// Tells it to stop in order.
    pub(crate) fn terminate(&self) {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
    }

    /// Waits for the end of a program that was told to stop.
    pub(crate) fn exit_code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A test that fails leaves nobody behind.
        self.kill();
        let _ = self.child.wait();
    }
}
