//! What the service manager hears.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::programs::Running;
use crate::world::World;

/// The manager's socket.
struct Manager(UnixDatagram);

impl Manager {
    fn new(world: &World) -> Self {
        let socket = UnixDatagram::bind(world.path("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self(socket)
    }

    /// The next message with something in it; gives all messages up to it.
    fn hears(&self, part: &str) -> Vec<String> {
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let Ok(length) = self.0.recv(&mut buffer) else { panic!("{part} is not said: {heard:?}") };
            heard.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
            if heard.last().is_some_and(|message| message.contains(part)) {
                return heard;
            }
        }
    }
}

#[test]
fn the_manager_hears_of_the_start_of_life_of_reloads_and_of_the_stop() {
    let world = World::new("");
    let manager = Manager::new(&world);
    let _market = world.market();
    let mut command = world.command(&["run", "--config", "seller.toml"]);
    command.env("NOTIFY_SOCKET", world.path("notify")).env("WATCHDOG_USEC", "400000");
    let seller = Running::start(command, "\"started\"");
    let before = manager.hears("READY=1");
    assert!(before.iter().all(|message| !message.contains("WATCHDOG")), "{before:?}");
    manager.hears("STATUS=selling");
    manager.hears("WATCHDOG=1");
    manager.hears("WATCHDOG=1");

    seller.signal("-HUP");
    let reloading = manager.hears("RELOADING=1").pop().unwrap();
    let since = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(since.unwrap().parse::<u64>().unwrap() > 0);
    manager.hears("READY=1");

    world.edit("seller.toml", "[store]", "[stores]");
    seller.signal("-HUP");
    manager.hears("RELOADING=1");
    let refused = manager.hears("READY=1").pop().unwrap();
    assert!(refused.contains("STATUS=the new configuration is refused"), "{refused}");
    manager.hears("WATCHDOG=1");

    seller.signal("-TERM");
    manager.hears("STOPPING=1");
    seller.stop();
}
