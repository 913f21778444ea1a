//! Every seed through its target, on any toolchain.

use std::path::Path;

fn all_of(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(target);
    let mut count = 0;
    for file in std::fs::read_dir(&folder).expect("seeds of the target") {
        let path = file.expect("a file").path();
        let bytes = std::fs::read(&path).expect("a file that can be read");
        println!("{}", path.display());
        run(&bytes);
        count += 1;
    }
    assert!(
        count >= 10,
        "{count} seeds of {target} are too few to try anything"
    );
}

#[test]
fn head() {
    all_of("head", encke_fuzz::head);
}

#[test]
fn body() {
    all_of("body", encke_fuzz::body);
}

#[test]
fn params() {
    all_of("params", encke_fuzz::params);
}

#[test]
fn batch() {
    all_of("batch", encke_fuzz::batch);
}

#[test]
fn token() {
    all_of("token", encke_fuzz::token);
}

#[test]
fn engine() {
    all_of("engine", encke_fuzz::engine);
}

#[test]
fn ws() {
    all_of("ws", encke_fuzz::ws);
}

#[test]
fn cluster() {
    all_of("cluster", encke_fuzz::cluster);
}

#[test]
fn entry() {
    all_of("entry", encke_fuzz::entry);
}

#[test]
fn thaw() {
    all_of("thaw", |bytes| assert!(encke_fuzz::is_thawed(bytes)));
}
