//! A Redis Cluster: servers of which each has a part of the slots.
//!
//! Owns who has a slot, and the steps by which it is moved or its server is replaced, so that tests
//! choose the moment: no server is promoted by itself.

use super::{Server, text, wait_until};
use crate::{free_ports, needs};

/// All slots.
const SLOTS: &str = "0 16383";

/// Keys that are moved at a time: their names fit into an answer.
const KEYS: usize = 20;

/// Servers of a Redis Cluster that know each other.
#[derive(Debug)]
pub struct Clustered {
    /// The servers.
    pub servers: Vec<Server>,
}

impl Clustered {
    /// Three servers of a test, of which the first has all slots. `None` where Redis is not
    /// installed: then the test is to end.
    ///
    /// # Panics
    ///
    /// They do not find each other; or Redis is not installed, in CI.
    pub fn of_test() -> Option<Clustered> {
        let start = || Clustered::start().expect("they start");
        needs("redis-server", "redis-server").then(start)
    }

    fn start() -> Result<Clustered, String> {
        let mut servers: Vec<Server> = Vec::new();
        let mut first = String::new();
        for _ in 0..3 {
            let [clients, bus] = free_ports().map_err(text)?;
            let bus = bus.port().to_string();
            let enabled = ["--cluster-enabled", "yes", "--cluster-port", &bus];
            let promoted = ["--cluster-replica-no-failover", "yes"];
            let args = [&enabled[..], &promoted].concat();
            let server = Server::start(&[], clients.port(), &args)?;
            match servers.is_empty() {
                true => first = format!("{} {} {bus}", clients.ip(), clients.port()),
                false => server.tell(&format!("CLUSTER MEET {first}"))?,
            }
            servers.push(server);
        }
        servers[0].tell(&format!("CLUSTER ADDSLOTSRANGE {SLOTS}"))?;
        let all = Clustered { servers };
        let info = ["cluster_state:ok", "cluster_known_nodes:3"];
        all.until_all_say("CLUSTER INFO", &info)?;
        Ok(all)
    }

    /// The slot of a key.
    ///
    /// # Errors
    ///
    /// The first server does not answer.
    pub fn slot_of(&self, key: &str) -> Result<u16, String> {
        number(&self.servers[0], &format!("CLUSTER KEYSLOT {key}"))
    }

    /// Moves the slot of a key, with all keys that are in it, as `redis-cli --cluster reshard` does:
    /// while it goes on, some of them are here and some there.
    ///
    /// # Errors
    ///
    /// A server refuses.
    pub fn move_slot_of(&self, key: &str, from: usize, to: usize) -> Result<(), String> {
        let slot = self.slot_of(key)?;
        let (source, target) = (&self.servers[from], &self.servers[to]);
        let (from, to) = (self.id(from)?, self.id(to)?);
        target.tell(&format!("CLUSTER SETSLOT {slot} IMPORTING {from}"))?;
        source.tell(&format!("CLUSTER SETSLOT {slot} MIGRATING {to}"))?;
        let (ip, port) = (target.address.ip(), target.address.port());
        loop {
            let keys = source.ask(&format!("CLUSTER GETKEYSINSLOT {slot} {KEYS}"));
            let keys = keys.map_err(text)?;
            // A list: its length, and for each key its length and itself.
            let keys: Vec<&str> = keys.lines().skip(2).step_by(2).collect();
            if keys.is_empty() {
                break;
            }
            let keys = keys.join(" ");
            source.tell(&format!("MIGRATE {ip} {port} \"\" 0 5000 KEYS {keys}"))?;
        }
        for server in [target, source] {
            server.tell(&format!("CLUSTER SETSLOT {slot} NODE {to}"))?;
        }
        Ok(())
    }

    /// Makes a server without slots the replica of another one, and waits until it is.
    ///
    /// # Errors
    ///
    /// It refuses, or has not become that in time.
    pub fn follow(&self, replica: usize, master: usize) -> Result<(), String> {
        let id = self.id(master)?;
        self.servers[replica].tell(&format!("CLUSTER REPLICATE {id}"))?;
        self.wait_for_replica(replica, master)
    }

    /// Waits until a server is a replica of another one, and all know it: else they do not vote for it.
    ///
    /// # Errors
    ///
    /// It has not become that in time.
    pub fn wait_for_replica(&self, replica: usize, master: usize) -> Result<(), String> {
        let replica = &self.servers[replica];
        wait_until("the server has not become a replica", || {
            replica.is_replica()
        })?;
        // Its line has the id of its master; all others begin with their own.
        let known = format!(" {} ", self.id(master)?);
        self.until_all_say("CLUSTER NODES", &[&known])
    }

    /// Promotes a replica, which has everything that its master has: clients wait meanwhile.
    ///
    /// # Errors
    ///
    /// It refuses, or was not promoted in time.
    pub fn fail_over_to(&self, replica: usize) -> Result<(), String> {
        self.promote(replica, "CLUSTER FAILOVER")
    }

    /// Promotes a replica whose master is gone.
    ///
    /// # Errors
    ///
    /// It refuses, or was not promoted in time.
    pub fn replace_by(&self, replica: usize) -> Result<(), String> {
        self.promote(replica, "CLUSTER FAILOVER TAKEOVER")
    }

    fn promote(&self, replica: usize, command: &str) -> Result<(), String> {
        let replica = &self.servers[replica];
        replica.tell(command)?;
        wait_until("the replica was not promoted", || replica.is_master())
    }

    fn id(&self, place: usize) -> Result<String, String> {
        field(&self.servers[place], "CLUSTER MYID", 1)
    }

    /// Waits until all servers answer a command with these lines.
    fn until_all_say(&self, command: &str, lines: &[&str]) -> Result<(), String> {
        let says = |server: &Server| {
            let answer = server.ask(command);
            answer.is_ok_and(|answer| lines.iter().all(|line| answer.contains(line)))
        };
        wait_until("the servers do not know each other", || {
            self.servers.iter().all(says)
        })
    }
}

/// A line of what a server answers.
fn field(server: &Server, command: &str, line: usize) -> Result<String, String> {
    let answer = server.ask(command).map_err(text)?;
    let line = answer.lines().nth(line).map(str::to_owned);
    line.ok_or_else(|| format!("{command} was answered {answer:?}"))
}

/// The number that a server answers.
fn number(server: &Server, command: &str) -> Result<u16, String> {
    let answer = server.ask(command).map_err(text)?;
    let number = answer
        .strip_prefix(':')
        .and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| format!("{command} was answered {answer:?}"))
}
