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

/// A test of each target by its name.
macro_rules! targets {
    ($($target:ident)*) => {$(
        #[test]
        fn $target() {
            all_of(stringify!($target), encke_fuzz::$target);
        }
    )*};
}

targets! { head body params batch token engine ws cluster entry }

#[test]
fn thaw() {
    all_of("thaw", |bytes| assert!(encke_fuzz::is_thawed(bytes)));
}
