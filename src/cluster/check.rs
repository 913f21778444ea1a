//! The checks of a server: its version, its role, the rights of this user.
//!
//! Owns these rules and their texts, each in one line that says what to do.

use redis::{Cmd, RedisError, Value, cmd};

use super::connection::Connection;
use super::fault::{Cause, Fault, words};
use super::wire::Keys;

/// The oldest Redis whose streams have the needed commands.
const OLDEST_REDIS: (u32, u32) = (7, 0);

/// The oldest Valkey; it was made from Redis 7.2.
const OLDEST_VALKEY: (u32, u32) = (7, 2);

/// The facts that a server tells about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Its name and version, and where it is: `Redis 7.0.15 at 10.0.0.9:6379`.
    pub(super) version: String,
    /// For how long it has been running, in milliseconds; 0 if it does not say.
    pub(super) up_ms: u64,
    /// Its `maxmemory-policy`, if that evicts keys when memory is full.
    pub(super) evicts_by: Option<String>,
}

/// Asks a server for its version, its role and its policy.
///
/// # Errors
///
/// It is too old, it is a replica, or this user may not use `INFO`.
pub(super) fn facts(connection: &mut Connection) -> Result<Facts, Fault> {
    let info = match connection.ask(&cmd("INFO"))? {
        Ok(Value::BulkString(info)) => String::from_utf8_lossy(&info).into_owned(),
        Ok(Value::VerbatimString { text, .. }) => text,
        Ok(other) => return Err(Fault::unexpected("INFO", &other)),
        Err(error) if error.code() == Some("NOAUTH") => {
            let text = "the engine wants a password: give it in --engine-password-file";
            return Err(Fault::Refused(text.into()));
        }
        Err(error) => return Err(Fault::Refused(missing("INFO", &error))),
    };
    judge(&info)
}

/// Judges the answer to `INFO`.
fn judge(info: &str) -> Result<Facts, Fault> {
    let field = |name: &str| {
        let lines = info.lines().filter_map(|line| line.split_once(':'));
        let mut values = lines.filter(|(key, _)| *key == name);
        values.next().map(|(_, value)| value.trim())
    };
    let (name, version, oldest) = match (field("valkey_version"), field("redis_version")) {
        (Some(version), _) => ("Valkey", version, OLDEST_VALKEY),
        (None, Some(version)) => ("Redis", version, OLDEST_REDIS),
        (None, None) => {
            let text = "the engine does not say which version of Redis it is";
            return Err(Fault::Refused(text.into()));
        }
    };
    let version = version.chars().filter(|c| !c.is_control()).take(40);
    let version: String = version.collect();
    if parse(&version).is_none_or(|version| version < oldest) {
        return Err(Fault::Refused(format!(
            "the engine is {name} {version}, which is too old: Redis 7.0 or Valkey 7.2 or later is \
             needed"
        )));
    }
    if let Some(role) = field("role").filter(|role| *role != "master") {
        let role = match role {
            "slave" | "replica" => "a replica",
            _ => "no master",
        };
        let text = format!("the server is {role}");
        return Err(Fault::Broken(Cause::Replica, text));
    }
    if field("loading") == Some("1") {
        return Err(Fault::Broken(
            Cause::Unready,
            "the server is loading".into(),
        ));
    }
    let up_s = field("uptime_in_seconds").and_then(|seconds| seconds.parse::<u64>().ok());
    let evicts_by = field("maxmemory_policy").filter(|policy| *policy != "noeviction");
    Ok(Facts {
        version: format!("{name} {version}"),
        up_ms: 1_000 * up_s.unwrap_or(0).min(u64::from(u32::MAX)),
        evicts_by: evicts_by.map(|policy| policy.chars().take(40).collect()),
    })
}

/// The first two numbers of a version.
fn parse(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next().flatten().unwrap_or(0)))
}

/// Commands that this user needs, with arguments with which they change nothing. Redis checks the
/// rights of a command before it looks at the arguments.
fn probes(Keys { log, meta, once }: &Keys, has_replicas: bool) -> Vec<Cmd> {
    let command = |words: &[&str]| {
        let mut command = Cmd::new();
        for word in words {
            command.arg(word);
        }
        command
    };
    let wait = [&["WAIT", "0", "1"][..]];
    let all = [
        // No entry can have this id.
        &["XADD", log, "NOMKSTREAM", "0-0", "b", ""][..],
        &["XREAD", "COUNT", "1", "STREAMS", log, "$"],
        &["XINFO", "STREAM", log],
        // Before the first entry there is nothing.
        &["XTRIM", log, "MINID", "0-0"],
        &["EXISTS", log],
        &["HMGET", meta, "term"],
        // A field without its value.
        &["HSET", meta, "term", "1", "run"],
        &["GET", once],
        // Only if there is one, and there is none.
        &["SET", once, "", "XX", "PX", "1"],
        &["TIME"],
        &["SCRIPT", "LOAD", "return 1"],
        // No script has this name.
        &["EVALSHA", "0000000000000000000000000000000000000000", "0"],
    ];
    let wait = wait.into_iter().filter(|_| has_replicas);
    all.into_iter().chain(wait).map(command).collect()
}

/// Tries every command that is needed.
///
/// # Errors
///
/// The user may not use them: all of them are named. Or the server does not know one.
pub(super) fn rights(connection: &mut Connection, keys: &Keys, waits: bool) -> Result<(), Fault> {
    let mut refused = Vec::new();
    let mut first = String::new();
    for probe in probes(keys, waits) {
        let name = probe.args_iter().find_map(|arg| match arg {
            redis::Arg::Simple(name) => Some(String::from_utf8_lossy(name).to_lowercase()),
            _ => None,
        });
        let Err(error) = connection.ask(&probe)? else {
            continue;
        };
        let words = words(&error);
        // Operators take commands away, or rename them. Any other error is about the arguments, and
        // expected: they are wrong on purpose.
        if words.starts_with("ERR unknown command") {
            let name = name.unwrap_or_default();
            return Err(Fault::Refused(format!(
                "the engine has no command {name}, which is needed: see rename-command in its settings"
            )));
        }
        if error.code() == Some("NOPERM") {
            refused.push(format!("+{}", name.unwrap_or_default()));
            first = words;
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    Err(Fault::Refused(format!(
        "the engine does not let this user do what is needed: ACL SETUSER NAME {} ~{}* ({first})",
        refused.join(" "),
        keys.log.trim_end_matches("log"),
    )))
}

/// The text for a command that is refused.
pub(super) fn missing(command: &str, error: &RedisError) -> String {
    format!("the engine refuses {command}: {}", words(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(lines: &[&str]) -> Result<Facts, Fault> {
        judge(&lines.join("\r\n"))
    }

    #[test]
    fn server_that_is_too_old_is_refused() {
        for lines in [
            &["redis_version:6.2.14", "role:master"][..],
            &["redis_version:5", "role:master"],
            &["redis_version:unknown", "role:master"],
            &["redis_version:7.2.4", "valkey_version:7.1.0", "role:master"],
        ] {
            let Err(Fault::Refused(text)) = info(lines) else {
                panic!("{lines:?} is refused");
            };
            assert!(text.contains("which is too old"), "{text}");
        }
        assert!(matches!(info(&["role:master"]), Err(Fault::Refused(_))));
    }

    #[test]
    fn versions_and_policies_are_found() {
        let redis = info(&["# Server", "redis_version:7.0.15", "role:master"]).unwrap();
        assert_eq!((&*redis.version, redis.evicts_by), ("Redis 7.0.15", None));
        let valkey = ["redis_version:7.2.4", "valkey_version:8.1.0", "role:master"];
        assert_eq!(info(&valkey).unwrap().version, "Valkey 8.1.0");
        let next = ["redis_version:10.0.0", "maxmemory_policy:allkeys-lru"];
        assert_eq!(
            info(&next).unwrap().evicts_by.as_deref(),
            Some("allkeys-lru")
        );
    }

    #[test]
    fn replica_and_loading_server_are_tried_again() {
        for (line, cause) in [
            ("role:slave", Cause::Replica),
            ("loading:1", Cause::Unready),
        ] {
            let judged = info(&["redis_version:7.0.15", line]);
            assert!(matches!(judged, Err(Fault::Broken(found, _)) if found == cause));
        }
    }
}
