//! An engine behind TLS, whose certificate is checked.

use std::path::Path;
use std::process::{Command, Stdio};

use encke_test_rig::{Directory, free_ports};

use crate::encke::Encke;
use crate::nodes::{poll_all, publish};
use crate::redis;

/// The files of an authority, and of a server that it vouches for.
struct Files(Directory);

impl Files {
    fn new() -> Files {
        let files = Files(Directory::new());
        let names = "subjectAltName=DNS:localhost,IP:127.0.0.1";
        files.make("ca", "encke tests", &["-addext", "keyUsage=keyCertSign"]);
        let ca = ["-CA", "ca.crt", "-CAkey", "ca.key"];
        let leaf = ["-addext", "basicConstraints=critical,CA:FALSE"];
        files.make(
            "redis",
            "localhost",
            &[&ca[..], &leaf, &["-addext", names]].concat(),
        );
        files
    }

    /// A key, and its certificate.
    fn make(&self, name: &str, subject: &str, args: &[&str]) {
        let status = Command::new("openssl")
            .current_dir(self.0.root())
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            ])
            .args([
                "-keyout",
                &format!("{name}.key"),
                "-out",
                &format!("{name}.crt"),
            ])
            .args(["-subj", &format!("/CN={subject}")])
            .args(args)
            .stderr(Stdio::null())
            .status();
        assert!(status.expect("openssl is installed").success(), "{name}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("it is UTF-8")
}

#[test]
fn engine_behind_tls_is_used_if_its_certificate_is_good() {
    let files = Files::new();
    let [ca, crt, key] = ["ca.crt", "redis.crt", "redis.key"].map(|name| files.0.path(name));
    let [address] = free_ports().expect("a port");
    let port = address.port().to_string();
    let Some(_server) = redis(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        text(&crt),
        "--tls-key-file",
        text(&key),
        "--tls-ca-cert-file",
        text(&ca),
        "--tls-auth-clients",
        "no",
    ]) else {
        return;
    };
    let url = format!("rediss://localhost:{port}");
    let mut trusting = Encke::start_trusting(&ca, &["--engine", &url]);
    trusting.until_readyz(200);
    let id = publish(&mut trusting, "news", "hidden");
    assert_eq!(poll_all(&mut trusting, "news", "earliest", 1)[0].0, id);

    // Another authority of the same name.
    files.make("other", "encke tests", &[]);
    let other = files.0.path("other.crt");
    let distrusting = Encke::start_trusting(&other, &["--engine", &url]);
    let line = distrusting.line_with("this node is not ready until it answers");
    assert!(line.to_lowercase().contains("certificate"), "{line}");
}
