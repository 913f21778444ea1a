//! Support of the tests of the instruments.

use std::path::Path;
use std::process::Command;
use std::sync::Once;

static BUILT: Once = Once::new();

/// encke lies beside the tools, where they look for it too. `cargo test --workspace` has built it;
/// `cargo test -p encke-tools` alone may not have.
pub(crate) fn build_encke(tool: &str) {
    BUILT.call_once(|| {
        if Path::new(tool).with_file_name("encke").exists() {
            return;
        }
        let mut command = Command::new(env!("CARGO"));
        command.args(["build", "--package", "encke", "--bin", "encke"]);
        if !cfg!(debug_assertions) {
            command.arg("--release");
        }
        command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        let status = command.status().unwrap();
        assert!(status.success(), "encke does not build: {status}");
    });
}
