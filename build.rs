//! Generates the gRPC code from `proto/`.

use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new("proto");
    let files = [
        "rescind/v1/distribution.proto",
        "rescind/v1/check.proto",
        "rescind/v1/admin.proto",
        "envoy/service/auth/v3/external_auth.proto",
    ];
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=build.rs");
    let mut descriptors = protox::compile(files, [root])?;
    // Comments of vendored files hold indented examples, which rustdoc would take for Rust and run.
    for file in descriptors.file.iter_mut().filter(|file| file.package() != "rescind.v1") {
        file.source_code_info = None;
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure()
        .bytes(".rescind.v1")
        .include_file("protocols.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
